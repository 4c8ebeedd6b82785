/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the subcommands share: the connection, calls with errors told to the person, output as a table or JSON. */

#include "cli/grpc-client.h"
#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"

typedef struct Cli {
        const char *socket; /* borrowed */
        GrpcClient *client; /* owned; connected at the first call */
        bool json;          /* -o json */
        DecodeArena arena;  /* answers live here until the end */
} Cli;

/* A subcommand: argv[0] is its name. Returns the exit code: 0, 1 (it failed and was told), 2 (wrong usage, told). */
typedef int (*CliCommand)(Cli *cli, int argc, char **argv);

/* Calls /runtime.v1.<service>/<method>; false after an error that was printed, with what to do next. */
bool cli_call(Cli *cli, const char *path, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
              uint64_t timeout_usec, ProtobufCMessage **ret);
/* Connects (told when impossible). */
bool cli_connect(Cli *cli);
/* Prints "bulkhead: …" on standard error and returns 1. */
int cli_fail(const char *format, ...) _printf_(1, 2);
int cli_usage(const char *text);

#define CLI_TIMEOUT (120 * USEC_PER_SEC)
#define CLI_RUNTIME(method) "/runtime.v1.RuntimeService/" method
#define CLI_IMAGE(method) "/runtime.v1.ImageService/" method

/* json-message.c: the message as canonical protobuf JSON, indented, on standard output. */
int json_message_print(const ProtobufCMessage *message);

/* table.c: cells are copied; columns are as wide as their widest cell. */
typedef struct Table Table;
Table *table_new(const char *const *heads, size_t n);
Table *table_free(Table *table);
DEFINE_CLEANUP(Table, table_free)
/* Takes as many strings as there are columns. Bytes that are no printable ASCII become '?': answers can hold anything. */
void table_add(Table *table, const char *const *cells);
void table_print(const Table *table);
/* "3 minutes ago"; into a buffer of 32 bytes. */
const char *table_age(char to[32], int64_t nsec);
/* "12.3MB"; into a buffer of 32 bytes. */
const char *table_bytes(char to[32], uint64_t bytes);

/* stream.c: speaks what the URL of an exec or attach serves, with our standard streams, until it ends. The exit code. */
typedef struct StreamOptions {
        bool has_stdin, tty;
        const char *tls_ca;          /* of a URL with https: a file with the CAs that count, or with the certificate itself; NULL: the system's */
        const char *tls_server_name; /* what the certificate is made for; NULL: the address in the URL */
} StreamOptions;
int stream_run(const char *url, const StreamOptions *options);

/* The commands, by file. */
int pods_list(Cli *cli, int argc, char **argv);
int pods_remove(Cli *cli, int argc, char **argv);
int containers_list(Cli *cli, int argc, char **argv);
int containers_remove(Cli *cli, int argc, char **argv);
int containers_exec(Cli *cli, int argc, char **argv);
int containers_attach(Cli *cli, int argc, char **argv);
int containers_logs(Cli *cli, int argc, char **argv);
int images_list(Cli *cli, int argc, char **argv);
int images_pull(Cli *cli, int argc, char **argv);
int images_import(Cli *cli, int argc, char **argv);
int images_remove(Cli *cli, int argc, char **argv);
int node_info(Cli *cli, int argc, char **argv);
int node_version(Cli *cli, int argc, char **argv);
int stats_list(Cli *cli, int argc, char **argv);
int run_pod(Cli *cli, int argc, char **argv);
/* up.c */
int up_main(int argc, char **argv);
