/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h" /* before stdio.h: fields of CRI messages are named stdout and stderr */

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/fd.h"
#include "lib/strings.h"

#define CONTAINERS_FOLLOW_USEC 200000

static const char *containers_state(Runtime__V1__ContainerState state)
{
        static const char *const names[] = {"Created", "Running", "Exited", "Unknown"};
        return (unsigned)state < ARRAY_SIZE(names) ? names[state] : "Unknown";
}

int containers_list(Cli *cli, int argc, char **argv)
{
        bool all = false, quiet = false;
        for (int i = 1; i < argc; i++) {
                if (str_equal(argv[i], "-a"))
                        all = true;
                else if (str_equal(argv[i], "-q"))
                        quiet = true;
                else if (str_equal(argv[i], "-aq"))
                        all = quiet = true;
                else
                        return 2;
        }
        Runtime__V1__ListContainersRequest request = RUNTIME__V1__LIST_CONTAINERS_REQUEST__INIT;
        Runtime__V1__ContainerFilter filter = RUNTIME__V1__CONTAINER_FILTER__INIT;
        Runtime__V1__ContainerStateValue running = RUNTIME__V1__CONTAINER_STATE_VALUE__INIT;
        running.state = RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
        if (!all) {
                filter.state = &running;
                request.filter = &filter;
        }
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_RUNTIME("ListContainers"), &request.base, &runtime__v1__list_containers_response__descriptor, CLI_TIMEOUT,
                      &message))
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Runtime__V1__ListContainersResponse *response = container_of(message, Runtime__V1__ListContainersResponse, base);
        static const char *const heads[] = {"CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD ID"};
        _cleanup_(table_freep) Table *table = table_new(heads, ARRAY_SIZE(heads));
        for (size_t i = 0; i < response->n_containers; i++) {
                const Runtime__V1__Container *container = response->containers[i];
                char id[14], pod[14], age[32], attempt[16], image[64];
                const char *name = container->image ? container->image->image : "";
                (void)snprintf(id, sizeof(id), "%.13s", container->id);
                (void)snprintf(pod, sizeof(pod), "%.13s", container->pod_sandbox_id);
                (void)snprintf(image, sizeof(image), str_has_prefix(name, "sha256:") ? "%.20s" : "%.63s", name);
                (void)snprintf(attempt, sizeof(attempt), "%u", container->metadata ? container->metadata->attempt : 0);
                const char *const cells[] = {id, image, table_age(age, container->created_at), containers_state(container->state),
                                             container->metadata ? container->metadata->name : "", attempt, pod};
                if (quiet)
                        puts(container->id);
                else
                        table_add(table, cells);
        }
        if (!quiet)
                table_print(table);
        return 0;
}

int containers_remove(Cli *cli, int argc, char **argv)
{
        bool force = argc > 1 && str_equal(argv[1], "-f");
        if (argc < 2 + force)
                return 2;
        int code = 0;
        for (int i = 1 + force; i < argc; i++) {
                ProtobufCMessage *message;
                if (!force) {
                        Runtime__V1__ContainerStatusRequest status = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
                        status.container_id = argv[i];
                        if (!cli_call(cli, CLI_RUNTIME("ContainerStatus"), &status.base,
                                      &runtime__v1__container_status_response__descriptor, CLI_TIMEOUT, &message)) {
                                code = 1;
                                continue;
                        }
                        const Runtime__V1__ContainerStatusResponse *response =
                                container_of(message, Runtime__V1__ContainerStatusResponse, base);
                        if (response->status && response->status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING) {
                                code = cli_fail("container %s is running; use rm -f to stop and remove it", argv[i]);
                                continue;
                        }
                }
                Runtime__V1__RemoveContainerRequest request = RUNTIME__V1__REMOVE_CONTAINER_REQUEST__INIT;
                request.container_id = argv[i];
                if (cli_call(cli, CLI_RUNTIME("RemoveContainer"), &request.base, &runtime__v1__remove_container_response__descriptor,
                             CLI_TIMEOUT, &message))
                        puts(argv[i]);
                else
                        code = 1;
        }
        return code;
}

/* "-i", "-t", "-it", "-ti", and what verifies a server; moves *i to the last word of it. False for anything else. */
static bool containers_stream_option(int argc, char **argv, int *i, StreamOptions *options)
{
        const char *word = argv[*i];

        if (*i + 1 < argc && (str_equal(word, "--tls-ca") || str_equal(word, "--tls-server-name"))) {
                *(str_equal(word, "--tls-ca") ? &options->tls_ca : &options->tls_server_name) = argv[++*i];
                return true;
        }
        if (word[0] != '-' || word[1] == '\0' || strspn(word + 1, "it") != strlen(word + 1))
                return false;
        options->has_stdin |= strchr(word, 'i') != NULL;
        options->tty |= strchr(word, 't') != NULL;
        return true;
}

static int containers_exec_stream(Cli *cli, const char *id, char **cmd, size_t n_cmd, const StreamOptions *options)
{
        Runtime__V1__ExecRequest request = RUNTIME__V1__EXEC_REQUEST__INIT;
        ProtobufCMessage *message;

        request.container_id = (char *)(uintptr_t)id;
        request.cmd = cmd;
        request.n_cmd = n_cmd;
        request.stdin = options->has_stdin;
        request.tty = options->tty;
        request.stdout = true;
        request.stderr = !options->tty;
        if (!cli_call(cli, CLI_RUNTIME("Exec"), &request.base, &runtime__v1__exec_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        return stream_run(container_of(message, Runtime__V1__ExecResponse, base)->url, options);
}

static int containers_exec_sync(Cli *cli, const char *id, char **cmd, size_t n_cmd, uint64_t timeout)
{
        Runtime__V1__ExecSyncRequest request = RUNTIME__V1__EXEC_SYNC_REQUEST__INIT;
        ProtobufCMessage *message;

        request.container_id = (char *)(uintptr_t)id;
        request.n_cmd = n_cmd;
        request.cmd = cmd;
        request.timeout = (int64_t)timeout;
        if (!cli_call(cli, CLI_RUNTIME("ExecSync"), &request.base, &runtime__v1__exec_sync_response__descriptor,
                      timeout ? (timeout + 10) * USEC_PER_SEC : USEC_INFINITY, &message))
                return 1;
        const Runtime__V1__ExecSyncResponse *response = container_of(message, Runtime__V1__ExecSyncResponse, base);
        (void)fd_write_full(STDOUT_FILENO, response->stdout.data, response->stdout.len);
        (void)fd_write_full(STDERR_FILENO, response->stderr.data, response->stderr.len);
        return response->exit_code & 0xff;
}

/* Without -i and -t the output is collected and has a timeout; with one of them it is a stream. */
int containers_exec(Cli *cli, int argc, char **argv)
{
        uint64_t timeout = 0;
        StreamOptions options = {0};
        int i = 1;
        for (; i < argc && argv[i][0] == '-'; i++) {
                if (str_equal(argv[i], "-s") || containers_stream_option(argc, argv, &i, &options))
                        continue;
                if (!str_equal(argv[i], "--timeout") || i + 1 >= argc || !u64_parse(argv[++i], 86400, &timeout))
                        return 2;
        }
        if (i >= argc)
                return 2;
        const char *id = argv[i++];
        if (i < argc && str_equal(argv[i], "--"))
                i++;
        bool is_stream = options.has_stdin || options.tty;
        if (i >= argc || (timeout > 0 && is_stream) || (!is_stream && (options.tls_ca || options.tls_server_name)))
                return 2;
        size_t n_cmd = (size_t)(argc - i);
        return is_stream ? containers_exec_stream(cli, id, argv + i, n_cmd, &options)
                         : containers_exec_sync(cli, id, argv + i, n_cmd, timeout);
}

int containers_attach(Cli *cli, int argc, char **argv)
{
        Runtime__V1__AttachRequest request = RUNTIME__V1__ATTACH_REQUEST__INIT;
        ProtobufCMessage *message;
        StreamOptions options = {0};
        int i = 1;

        while (i < argc && containers_stream_option(argc, argv, &i, &options))
                i++;
        if (i + 1 != argc)
                return 2;
        request.container_id = argv[i];
        request.stdin = options.has_stdin;
        request.tty = options.tty;
        request.stdout = true;
        request.stderr = !options.tty;
        if (!cli_call(cli, CLI_RUNTIME("Attach"), &request.base, &runtime__v1__attach_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        return stream_run(container_of(message, Runtime__V1__AttachResponse, base)->url, &options);
}

/* Where the last n lines of the text begin. */
static const char *containers_tail(const char *text, size_t n_text, uint64_t n)
{
        const char *p = text + n_text;
        if (p > text && p[-1] == '\n')
                p--;
        while (p > text) {
                if (p[-1] == '\n' && --n == 0)
                        break;
                p--;
        }
        return p;
}

/* Prints one CRI log line without its time, stream and tag; a P piece without a newline. */
static void containers_print_line(const char *line, size_t n)
{
        const char *field = line, *end = line + n;
        char stream = 'o', tag = 'F';
        for (int i = 0; i < 3; i++) {
                const char *space = memchr(field, ' ', (size_t)(end - field));
                if (!space)
                        return;
                if (i == 1)
                        stream = field + 3 < space && field[3] == 'e' ? 'e' : 'o';
                if (i == 2)
                        tag = *field;
                field = space + 1;
        }
        FILE *to = stream == 'e' ? stderr : stdout;
        (void)fwrite(field, 1, (size_t)(end - field), to);
        if (tag == 'F')
                fputc('\n', to);
}

static const Runtime__V1__ContainerStatus *containers_status(Cli *cli, const char *id)
{
        Runtime__V1__ContainerStatusRequest request = RUNTIME__V1__CONTAINER_STATUS_REQUEST__INIT;
        request.container_id = (char *)id;
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_RUNTIME("ContainerStatus"), &request.base, &runtime__v1__container_status_response__descriptor,
                      CLI_TIMEOUT, &message))
                return NULL;
        return container_of(message, Runtime__V1__ContainerStatusResponse, base)->status;
}

int containers_logs(Cli *cli, int argc, char **argv)
{
        bool follow = false;
        uint64_t tail = UINT64_MAX;
        const char *id = NULL;
        for (int i = 1; i < argc; i++) {
                if (str_equal(argv[i], "-f"))
                        follow = true;
                else if (str_equal(argv[i], "--tail") && i + 1 < argc && u64_parse(argv[i + 1], UINT32_MAX, &tail))
                        i++;
                else if (argv[i][0] != '-' && !id)
                        id = argv[i];
                else
                        return 2;
        }
        if (!id)
                return 2;
        const Runtime__V1__ContainerStatus *status = containers_status(cli, id);
        if (!status)
                return 1;
        if (str_is_empty(status->log_path))
                return cli_fail("container %s has no log: its pod was made without a log directory", id);
        _cleanup_fd_ int fd = open(status->log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
                return cli_fail("the log %s cannot be read: %s", status->log_path, strerror(errno));
        size_t n = (size_t)st.st_size, used = 0;
        _cleanup_free_ char *text = malloc(n + 1);
        if (!text || fd_pread_full(fd, text, n, 0) < 0)
                return cli_fail("the log %s cannot be read", status->log_path);
        const char *p = tail == 0 ? text + n : tail == UINT64_MAX ? text : containers_tail(text, n, tail);
        for (const char *newline; (newline = memchr(p, '\n', n - (size_t)(p - text))); p = newline + 1)
                containers_print_line(p, (size_t)(newline - p));
        used = (size_t)(p - text);

        while (follow) {
                (void)fflush(stdout);
                status = containers_status(cli, id);
                bool running = status && status->state == RUNTIME__V1__CONTAINER_STATE__CONTAINER_RUNNING;
                char chunk[64 * 1024];
                ssize_t got;
                while ((got = pread(fd, chunk, sizeof(chunk), (off_t)used)) > 0) {
                        const char *q = chunk, *end = chunk + got;
                        for (const char *newline; (newline = memchr(q, '\n', (size_t)(end - q))); q = newline + 1)
                                containers_print_line(q, (size_t)(newline - q));
                        if (q == chunk)
                                break;
                        used += (size_t)(q - chunk);
                }
                if (!running)
                        break;
                (void)usleep(CONTAINERS_FOLLOW_USEC);
        }
        return 0;
}
