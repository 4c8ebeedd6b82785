/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/strings.h"

int pods_list(Cli *cli, int argc, char **argv)
{
        bool quiet = argc == 2 && str_equal(argv[1], "-q");
        if (argc > 1 && !quiet)
                return 2;
        Runtime__V1__ListPodSandboxRequest request = RUNTIME__V1__LIST_POD_SANDBOX_REQUEST__INIT;
        ProtobufCMessage *message;
        if (!cli_call(cli, CLI_RUNTIME("ListPodSandbox"), &request.base, &runtime__v1__list_pod_sandbox_response__descriptor, CLI_TIMEOUT,
                      &message))
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Runtime__V1__ListPodSandboxResponse *response = container_of(message, Runtime__V1__ListPodSandboxResponse, base);
        static const char *const heads[] = {"POD ID", "CREATED", "STATE", "NAME", "NAMESPACE", "ATTEMPT", "RUNTIME"};
        _cleanup_(table_freep) Table *table = table_new(heads, ARRAY_SIZE(heads));
        for (size_t i = 0; i < response->n_items; i++) {
                const Runtime__V1__PodSandbox *pod = response->items[i];
                char id[14], age[32], attempt[16];
                (void)snprintf(id, sizeof(id), "%.13s", pod->id);
                (void)snprintf(attempt, sizeof(attempt), "%u", pod->metadata ? pod->metadata->attempt : 0);
                const char *const cells[] = {
                        id,
                        table_age(age, pod->created_at),
                        pod->state == RUNTIME__V1__POD_SANDBOX_STATE__SANDBOX_READY ? "Ready" : "NotReady",
                        pod->metadata ? pod->metadata->name : "",
                        pod->metadata ? pod->metadata->namespace_ : "",
                        attempt,
                        *pod->runtime_handler ? pod->runtime_handler : "(default)",
                };
                if (quiet)
                        puts(pod->id);
                else
                        table_add(table, cells);
        }
        if (!quiet)
                table_print(table);
        return 0;
}

int pods_remove(Cli *cli, int argc, char **argv)
{
        bool force = argc > 1 && str_equal(argv[1], "-f");
        if (argc < 2 + force)
                return 2;
        int code = 0;
        for (int i = 1 + force; i < argc; i++) {
                ProtobufCMessage *message;
                Runtime__V1__StopPodSandboxRequest stop = RUNTIME__V1__STOP_POD_SANDBOX_REQUEST__INIT;
                stop.pod_sandbox_id = argv[i];
                Runtime__V1__RemovePodSandboxRequest remove_request = RUNTIME__V1__REMOVE_POD_SANDBOX_REQUEST__INIT;
                remove_request.pod_sandbox_id = argv[i];
                if ((force && !cli_call(cli, CLI_RUNTIME("StopPodSandbox"), &stop.base,
                                        &runtime__v1__stop_pod_sandbox_response__descriptor, CLI_TIMEOUT, &message)) ||
                    !cli_call(cli, CLI_RUNTIME("RemovePodSandbox"), &remove_request.base,
                              &runtime__v1__remove_pod_sandbox_response__descriptor, CLI_TIMEOUT, &message))
                        code = 1;
                else
                        puts(argv[i]);
        }
        return code;
}
