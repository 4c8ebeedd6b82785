/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/cli.h"
#include "lib/strings.h"

int node_version(Cli *cli, int argc, char **argv)
{
        Runtime__V1__VersionRequest request = RUNTIME__V1__VERSION_REQUEST__INIT;
        ProtobufCMessage *message;
        if (argc != 1)
                return 2;
        if (!cli_call(cli, CLI_RUNTIME("Version"), &request.base, &runtime__v1__version_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Runtime__V1__VersionResponse *response = container_of(message, Runtime__V1__VersionResponse, base);
        printf("client:  bulkhead %s\nruntime: %s %s\nCRI:     %s\n", BULKHEAD_VERSION, response->runtime_name, response->runtime_version,
               response->runtime_api_version);
        return 0;
}

int node_info(Cli *cli, int argc, char **argv)
{
        Runtime__V1__StatusRequest request = RUNTIME__V1__STATUS_REQUEST__INIT;
        ProtobufCMessage *message;
        if (argc != 1)
                return 2;
        request.verbose = cli->json;
        if (!cli_call(cli, CLI_RUNTIME("Status"), &request.base, &runtime__v1__status_response__descriptor, CLI_TIMEOUT, &message))
                return 1;
        if (cli->json)
                return json_message_print(message);
        const Runtime__V1__StatusResponse *response = container_of(message, Runtime__V1__StatusResponse, base);
        for (size_t i = 0; response->status && i < response->status->n_conditions; i++) {
                const Runtime__V1__RuntimeCondition *condition = response->status->conditions[i];
                printf("%-14s %-5s %s%s%s\n", condition->type, condition->status ? "yes" : "no", condition->reason,
                       *condition->message ? ": " : "", condition->message);
        }
        for (size_t i = 0; i < response->n_runtime_handlers; i++)
                printf("%-14s %s\n", "handler", *response->runtime_handlers[i]->name ? response->runtime_handlers[i]->name : "(default)");
        return 0;
}
