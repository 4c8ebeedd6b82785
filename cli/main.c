/* SPDX-License-Identifier: Apache-2.0 */

/* bulkhead: the person's end. Everything but `up` speaks CRI over the socket, so it shows what the kubelet would see. */

#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"
#include "lib/strings.h"

#define CLI_SOCKET_DEFAULT "/run/bulkhead/bulkhead.sock"
#define CLI_ARENA_BYTES (256 * 1024 * 1024)

typedef struct CliRow {
        const char *name;
        const char *usage;
        const char *help;
        CliCommand command; /* NULL: up, which needs no connection */
        bool has_json;      /* has an answer to show with -o json */
} CliRow;

static const CliRow cli_rows[] = {
        {"up", "up [--foreground] [--config FILE] [--set KEY=VALUE]...", "start the suite and return when it is ready", NULL},
        {"run", "run [--name NAME] [--host-network] [--runtime HANDLER] IMAGE [COMMAND...]", "run a container in a pod of its own", run_pod, true},
        {"ps", "ps [-a] [-q]", "list containers", containers_list, true},
        {"pods", "pods [-q]", "list pods", pods_list, true},
        {"images", "images [-q]", "list images", images_list, true},
        {"pull", "pull [--creds USER:PASSWORD] IMAGE", "pull an image and show how far it is", images_pull, true},
        {"import", "import [--name REFERENCE] FILE", "import an OCI layout or docker archive (tar)", images_import, true},
        {"rmi", "rmi IMAGE...", "remove images", images_remove},
        {"logs", "logs [-f] [--tail N] CONTAINER", "print a container's log", containers_logs},
        {"exec", "exec [-i] [-t] [--tls-ca FILE] [--tls-server-name NAME] [--timeout SECONDS] CONTAINER -- COMMAND...", "run a command in a container (-it: a shell with a terminal)",
         containers_exec},
        {"attach", "attach [-i] [-t] [--tls-ca FILE] [--tls-server-name NAME] CONTAINER", "see what a container writes from now on (-i: write to it, too)", containers_attach},
        {"rm", "rm [-f] CONTAINER...", "remove containers (-f: also running ones)", containers_remove},
        {"rmp", "rmp [-f] POD...", "remove pods (-f: stop them first)", pods_remove},
        {"stats", "stats", "show what containers use", stats_list, true},
        {"info", "info", "show the runtime's condition and configuration", node_info, true},
        {"version", "version", "show versions", node_version, true},
};

int cli_fail(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        fputs("bulkhead: ", stderr);
        (void)vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
        return 1;
}

int cli_usage(const char *text)
{
        fprintf(stderr, "usage: bulkhead %s\n", text);
        return 2;
}

bool cli_connect(Cli *cli)
{
        if (cli->client)
                return true;
        int r = grpc_client_new(&cli->client, cli->socket);
        if (r == 0)
                return true;
        (void)cli_fail("nothing answers at %s: %s; start the suite with `bulkhead up`, or name its socket with --socket", cli->socket,
                       strerror(r < 0 ? -r : errno));
        return false;
}

bool cli_call(Cli *cli, const char *path, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
              uint64_t timeout_usec, ProtobufCMessage **ret)
{
        if (!cli_connect(cli))
                return false;
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        _cleanup_(grpc_reply_done) GrpcReply reply = GRPC_REPLY_INIT;
        if (decode_pack(request, &packed, &n) < 0 || grpc_client_call(cli->client, path, packed, n, timeout_usec, &reply) < 0) {
                (void)cli_fail("%s: the call could not be made", path);
                return false;
        }
        if (reply.status != GRPC_STATUS_OK) {
                /* What a server writes may hold what an image wrote: nothing of it controls the terminal. */
                for (char *p = reply.text; p && *p; p++)
                        if ((unsigned char)*p < 0x20 || *p == 0x7f)
                                *p = ' ';
                (void)cli_fail("%s", str_is_empty(reply.text) ? "the call failed without a reason" : reply.text);
                return false;
        }
        int r = decode_message(&cli->arena, reply_type, reply.bytes, reply.n_bytes, ret);
        if (r != 0)
                (void)cli_fail("%s: the answer cannot be read: %s", path, r > 0 ? decode_outcome_name(r) : strerror(-r));
        return r == 0;
}

static int cli_help(FILE *to)
{
        fprintf(to, "bulkhead %s, a container runtime for Kubernetes in confined daemons\n\n"
                    "usage: bulkhead [--socket PATH] [-o json] COMMAND ...\n\n", BULKHEAD_VERSION);
        for (size_t i = 0; i < ARRAY_SIZE(cli_rows); i++)
                fprintf(to, "  %-8s %s\n", cli_rows[i].name, cli_rows[i].help);
        fputs("\nThe socket speaks CRI v1: crictl and the kubelet work with it as well.\n", to);
        return to == stderr ? 2 : 0;
}

int main(int argc, char **argv)
{
        Cli cli = {.socket = getenv("BULKHEAD_SOCKET") ? getenv("BULKHEAD_SOCKET") : CLI_SOCKET_DEFAULT};
        int i = 1;
        for (; i < argc && argv[i][0] == '-'; i++) {
                if (str_equal(argv[i], "--socket") && i + 1 < argc)
                        cli.socket = argv[++i];
                else if (str_equal(argv[i], "-o") && i + 1 < argc && str_equal(argv[i + 1], "json"))
                        cli.json = argv[++i];
                else if (str_equal(argv[i], "--version"))
                        return puts("bulkhead " BULKHEAD_VERSION) < 0;
                else
                        return cli_help(str_equal(argv[i], "--help") || str_equal(argv[i], "-h") ? stdout : stderr);
        }
        if (i >= argc)
                return cli_help(stderr);
        if (str_has_prefix(cli.socket, "unix://"))
                cli.socket += strlen("unix://");
        argc -= i;
        argv += i;
        /* -o json is also taken behind the command, where crictl has it. */
        for (int k = 1; k + 1 < argc; k++) {
                if (str_equal(argv[k], "--"))
                        break;
                if (str_equal(argv[k], "-o") && str_equal(argv[k + 1], "json")) {
                        cli.json = true;
                        for (int m = k; m + 2 <= argc; m++)
                                argv[m] = argv[m + 2];
                        argc -= 2;
                        break;
                }
        }
        for (size_t row = 0; row < ARRAY_SIZE(cli_rows); row++) {
                if (!str_equal(argv[0], cli_rows[row].name))
                        continue;
                if (cli.json && !cli_rows[row].has_json)
                        return cli_fail("%s has no answer that -o json could show; leave that out", argv[0]) + 1;
                if (!cli_rows[row].command)
                        return up_main(argc, argv);
                decode_arena_init(&cli.arena, CLI_ARENA_BYTES);
                int code = cli_rows[row].command(&cli, argc, argv);
                if (code == 2)
                        (void)cli_usage(cli_rows[row].usage);
                decode_arena_done(&cli.arena);
                (void)grpc_client_free(cli.client);
                return code;
        }
        (void)cli_fail("\"%s\" is not a command", argv[0]);
        return cli_help(stderr);
}
