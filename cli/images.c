/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "cli/progress.h"
#include "ipc/edges/gatewayd-imaged.pb-c.h"
#include "lib/strings.h"

#define IMAGES_STATE_DIR_DEFAULT "/var/lib/bulkhead"

int images_list(Cli *cli, int argc, char **argv)
{
        bool quiet = argc == 2 && str_equal(argv[1], "-q");
        if (argc > 1 && !quiet)
                return 2;
        Runtime__V1__ListImagesRequest request = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_IMAGE("ListImages"), &request.base, &runtime__v1__list_images_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Runtime__V1__ListImagesResponse *response = container_of(message, Runtime__V1__ListImagesResponse, base);
        static const char *const heads[] = {"IMAGE", "TAG", "IMAGE ID", "SIZE"};
        _cleanup_(table_freep) Table *table = table_new(heads, ARRAY_SIZE(heads));
        for (size_t i = 0; i < response->n_images; i++) {
                const Runtime__V1__Image *image = response->images[i];
                if (quiet) {
                        puts(image->id);
                        continue;
                }
                char id[14], size[32];
                (void)snprintf(id, sizeof(id), "%.13s", str_has_prefix(image->id, "sha256:") ? image->id + 7 : image->id);
                bool tagged = image->n_repo_tags > 0;
                for (size_t k = 0; k < (tagged ? image->n_repo_tags : 1); k++) {
                        _cleanup_free_ char *name = strdup(tagged ? image->repo_tags[k] : image->n_repo_digests ? image->repo_digests[0] : "<none>");
                        char *tag = name ? strrchr(name, tagged ? ':' : '@') : NULL;
                        if (tag)
                                *tag++ = '\0';
                        const char *const cells[] = {name, tagged && tag ? tag : "<none>", id, table_bytes(size, image->size)};
                        table_add(table, cells);
                }
        }
        if (!quiet)
                table_print(table);
        return 0;
}

int images_pull(Cli *cli, int argc, char **argv)
{
        Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
        Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
        Runtime__V1__AuthConfig auth = RUNTIME__V1__AUTH_CONFIG__INIT;
        int i = 1;
        if (i + 1 < argc && str_equal(argv[i], "--creds")) {
                char *colon = strchr(argv[i + 1], ':');
                if (!colon)
                        return 2;
                *colon = '\0';
                auth.username = argv[i + 1];
                auth.password = colon + 1;
                request.auth = &auth;
                i += 2;
        }
        if (i + 1 != argc)
                return 2;
        spec.image = argv[i];
        request.image = &spec;
        if (!cli_connect(cli))
                return 1;
        Progress progress = PROGRESS_NULL;
        if (!cli->json)
                progress_start(&progress, cli, argv[i]);
        ProtobufCMessage *message;
        bool pulled = cli_call(cli, CLI_IMAGE("PullImage"), &request.base, &runtime__v1__pull_image_response__descriptor, USEC_INFINITY, &message);
        progress_end(&progress, pulled);
        if (!pulled)
                return 1;
        if (cli->json)
                return json_message_print(message);
        printf("%s is here: %s\n", argv[i], container_of(message, Runtime__V1__PullImageResponse, base)->image_ref);
        return 0;
}

/* Copies the archive to where root places what may be imported; the daemons read nothing else of the host. */
static bool images_place(const char *file, const char *directory, const char *name)
{
        _cleanup_fd_ int from = open(file, O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (from < 0 || fstat(from, &st) < 0) {
                (void)cli_fail("%s cannot be read: %s", file, strerror(errno));
                return false;
        }
        if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
                (void)cli_fail("%s cannot be made: %s; import as root, on the node itself", directory, strerror(errno));
                return false;
        }
        _cleanup_fd_ int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_fd_ int to = dir_fd < 0 ? -1 : openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        off_t left = st.st_size;
        while (to >= 0 && left > 0) {
                ssize_t n = sendfile(to, from, NULL, (size_t)MIN2(left, (off_t)(64 * 1024 * 1024)));
                if (n <= 0)
                        break;
                left -= n;
        }
        if (to < 0 || left > 0) {
                (void)cli_fail("%s cannot be copied to %s: %s", file, directory, strerror(errno));
                if (to >= 0)
                        (void)unlinkat(dir_fd, name, 0);
                return false;
        }
        return true;
}

int images_import(Cli *cli, int argc, char **argv)
{
        const char *name = "", *state_dir = getenv("BULKHEAD_STATE_DIR") ? getenv("BULKHEAD_STATE_DIR") : IMAGES_STATE_DIR_DEFAULT;
        int i = 1;
        for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
                if (str_equal(argv[i], "--name"))
                        name = argv[i + 1];
                else if (str_equal(argv[i], "--state-dir"))
                        state_dir = argv[i + 1];
                else
                        return 2;
        }
        if (i + 1 != argc)
                return 2;
        const char *base = strrchr(argv[i], '/') ? strrchr(argv[i], '/') + 1 : argv[i];
        char directory[512], file[256], path[800];
        (void)snprintf(directory, sizeof(directory), "%s/import", state_dir);
        (void)snprintf(file, sizeof(file), "%d-%.200s", (int)getpid(), base);
        (void)snprintf(path, sizeof(path), "%s/%s", directory, file);
        if (!cli_connect(cli) || !images_place(argv[i], directory, file))
                return 1;
        Bulkhead__GatewaydImaged__ImportImageRequest request = BULKHEAD__GATEWAYD_IMAGED__IMPORT_IMAGE_REQUEST__INIT;
        request.file = file;
        request.name = (char *)name;
        ProtobufCMessage *message;
        bool imported = cli_call(cli, "/bulkhead.v1.Admin/ImportImage", &request.base,
                                 &bulkhead__gatewayd_imaged__import_image_response__descriptor, USEC_INFINITY, &message);
        (void)unlink(path);
        if (!imported)
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Bulkhead__GatewaydImaged__ImportImageResponse *response =
                container_of(message, Bulkhead__GatewaydImaged__ImportImageResponse, base);
        for (size_t k = 0; k < response->n_image_refs && k < response->n_names; k++)
                printf("%s is here: %s\n", response->names[k], response->image_refs[k]);
        return 0;
}

int images_remove(Cli *cli, int argc, char **argv)
{
        if (argc < 2)
                return 2;
        int code = 0;
        for (int i = 1; i < argc; i++) {
                Runtime__V1__RemoveImageRequest request = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
                Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
                spec.image = argv[i];
                request.image = &spec;
                ProtobufCMessage *message;
                if (cli_call(cli, CLI_IMAGE("RemoveImage"), &request.base, &runtime__v1__remove_image_response__descriptor, CLI_TIMEOUT, &message))
                        puts(argv[i]);
                else
                        code = 1;
        }
        return code;
}
