/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/linkd/linkd.h"
#include <stdio.h>
#include <sys/stat.h>

int linkd_file_add(Linkd *linkd, const char *path, int fd)
{
        struct stat st;

        if (linkd->n_files == LINKD_FILES_MAX) {
                log_error("%s: there are more than %d configuration files", path, LINKD_FILES_MAX);
                linkd->files_refused = true;
                return 0;
        }
        if (fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        if (!S_ISREG(st.st_mode) || st.st_size > LINKD_FILE_BYTES_MAX) {
                log_error("%s: it is not a regular file of at most 1 MiB", path);
                linkd->files_refused = true;
                return 0;
        }

        LinkdFile *file = &linkd->files[linkd->n_files];
        _cleanup_free_ char *bytes = malloc((size_t)st.st_size + 1);
        if (!bytes)
                return error_origin(-ENOMEM);
        int r = fd_pread_full(fd, bytes, (size_t)st.st_size, 0);
        if (r)
                return fold(r);
        bytes[st.st_size] = '\0';
        (void)str_copy(file->path, sizeof(file->path), path);
        file->bytes = TAKE_PTR(bytes);
        file->n = (size_t)st.st_size;
        linkd->n_files++;
        return 0;
}

void linkd_files_drop(Linkd *linkd)
{
        while (linkd->n_files > 0) {
                LinkdFile *file = &linkd->files[--linkd->n_files];
                free(file->bytes);
                *file = (LinkdFile){0};
        }
        linkd->files_refused = false;
}

/* --set arguments come last, whatever files say; also after a reload. */
static int linkd_read_arguments(Linkd *linkd)
{
        for (int i = 1; i + 1 < linkd->argc; i += 2) {
                char name[CONFIG_PATH_MAX];

                if (!str_equal(linkd->argv[i], "--set"))
                        continue;
                _cleanup_free_ char *text = config_set_document(linkd->argv[i + 1]);
                (void)snprintf(name, sizeof(name), "--set %.200s", linkd->argv[i + 1]);
                if (!text || linkd->n_files == LINKD_FILES_MAX) {
                        log_error("%s: it is not of the form key=value", name);
                        return CONFIG_E_INVALID;
                }
                LinkdFile *file = &linkd->files[linkd->n_files++];
                (void)str_copy(file->path, sizeof(file->path), name);
                file->n = strlen(text);
                file->bytes = TAKE_PTR(text);
        }
        return 0;
}

int linkd_files_read(Linkd *linkd, LinkdConfig *ret)
{
        ConfigDocument documents[LINKD_FILES_MAX + 1];
        size_t n = 0;
        ConfigError error = {0};

        int r = linkd->files_refused ? CONFIG_E_INVALID : linkd_read_arguments(linkd);
        if (r)
                return r;
        /* Where systemd runs the node it owns the cgroups, too; the files may say otherwise. */
        static const char systemd[] = "cgroup: {driver: systemd}\n";
        if (linkd->systemd)
                documents[n++] = (ConfigDocument){"(systemd)", systemd, sizeof(systemd) - 1};
        for (size_t i = 0; i < linkd->n_files; i++)
                documents[n++] = (ConfigDocument){linkd->files[i].path, linkd->files[i].bytes, linkd->files[i].n};
        r = config_read(documents, n, ret, &error);
        if (r == CONFIG_E_INVALID)
                log_error("%s", error.text);
        return r < 0 ? fold(r) : r;
}

static void linkd_on_change(void *userdata, const char *key, const char *before, const char *after, bool applied)
{
        size_t *n_applied = userdata;

        *n_applied += applied;
        log_info("configuration: %s: %s -> %s%s", key, before, after,
                 applied ? "" : " (takes effect when the suite is started the next time)");
}

void linkd_reload(Linkd *linkd)
{
        LinkdConfig *next = malloc(sizeof(*next));
        size_t n_applied = 0;

        int r = next ? linkd_files_read(linkd, next) : error_origin(-ENOMEM);
        linkd_files_drop(linkd);
        if (r) {
                log_error("configuration: not reloaded%s%s; the last good one stays in force", r < 0 ? ": " : "",
                          r < 0 ? error_trace() : "");
        } else {
                config_apply(&linkd->memory->written, &linkd->memory->in_force, next, linkd_on_change, &n_applied);
                linkd->memory->in_force.fetch.allow_loopback = linkd->memory->in_force.imaged.allow_loopback;
                log_info("configuration: reloaded, %zu values changed", n_applied);
                log_set_level(linkd->memory->in_force.common.log_level);
                if (n_applied > 0)
                        linkd_configure_all(linkd);
                linkd_renew_tls(linkd);
        }
        free(next);
}
