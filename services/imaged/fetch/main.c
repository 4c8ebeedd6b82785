/* SPDX-License-Identifier: Apache-2.0 */
#include "ipc/decode.h"
#include "ipc/edges/imaged-fetch.rows.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/grpc-status.h"
#include "lib/log.h"
#include "policy/policy.h"
#include "services/imaged/fetch/fetch.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/prctl.h>

#define FETCH_CA_MAX (8 * 1024 * 1024)
#define FETCH_HOSTS_MAX (1024 * 1024)
#define FETCH_CA_DEFAULT "/etc/ssl/certs/ca-certificates.crt"

/* Asked for one URL. Re-checks every address it dials. At worst a taken-over imaged reads what this node's network can reach over
 * HTTP, and a taken-over child also its one credential. */
static int on_fetch(void *context, int edge_fd, HandRequest *request)
{
        const Fetcher *fetcher = context;
        DecodeArena arena;
        decode_arena_init(&arena, DECODE_BUDGET_MAX);
        ProtobufCMessage *message = NULL;
        int r = decode_message(&arena, request->row->body.type, request->frame.payload, request->frame.header.length, &message);
        if (r > 0)
                return hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT, "fetch: the request does not decode: %s", decode_outcome_name(r));
        if (r < 0)
                return fold(r);
        _cleanup_fd_ int pipe_fd = wire_frame_take_fd(&request->frame, 0);
        FetchTransfer *transfer = calloc(1, sizeof(*transfer));
        _cleanup_free_ void *owned = transfer;
        if (!transfer)
                return error_origin(-ENOMEM);
        transfer->fetcher = fetcher;
        transfer->request = container_of(message, FetchRequest, base);
        transfer->pipe_fd = pipe_fd;
        fetch_transfer_run(transfer);
        pipe_fd = fd_close(pipe_fd); /* the reader sees the end before it hears the answer */

        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        r = decode_pack(&transfer->response.base, &packed, &n);
        if (r < 0)
                return fold(r);
        return fold(hand_reply_packed(edge_fd, request, packed, n, NULL, 0));
}

/* Parsed once: 140 certificates are 10 ms, and every request is a process. */
static int fetch_load_trust(Fetcher *fetcher)
{
        _cleanup_fd_ int ca_fd = hand_take_fd(fetcher->hand, "ca");
        _cleanup_free_ char *pem = NULL;
        size_t n = 0;

        if (ca_fd < 0)
                ca_fd = open(*fetcher->config->ca_file ? fetcher->config->ca_file : FETCH_CA_DEFAULT, O_RDONLY | O_CLOEXEC);
        if (ca_fd >= 0) {
                char path[64];

                (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ca_fd);
                int r = fd_read_file(AT_FDCWD, path, FETCH_CA_MAX, &pem, &n);
                if (r < 0)
                        return fold(r);
        }
        fetcher->trust = fetch_trust_new(pem ? pem : "", n, &fetcher->n_trust);
        if (!fetcher->trust)
                return error_origin(-ENOMEM);
        if (fetcher->n_trust == 0)
                log_warning("there is no CA certificate in %s: registries over https will be refused",
                            *fetcher->config->ca_file ? fetcher->config->ca_file : FETCH_CA_DEFAULT);
        return 0;
}

static int fetch_acquire(void *context)
{
        Fetcher *fetcher = context;
        fetcher->config = hand_section(fetcher->hand, sizeof(ConfigImagedFetch));
        (void)signal(SIGPIPE, SIG_IGN);
        /* Everything that libraries read from files or allocate once happens here, before confinement and before the forks. */
        if (OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1 || curl_global_init(CURL_GLOBAL_SSL) != 0)
                return error_origin(-ENOSYS);
        int r = fetch_load_trust(fetcher);
        if (r)
                return fold(r);
        size_t n = 0;
        if (fd_read_file(AT_FDCWD, "/etc/hosts", FETCH_HOSTS_MAX, &fetcher->hosts, &n) < 0)
                fetcher->hosts = strdup("");
        return fetcher->hosts ? 0 : error_origin(-ENOMEM);
}

static int fetch_enter_child(void *context)
{
        int r = policy_enter(POLICY_FETCH_CHILD, hand_config(((Fetcher *)context)->hand));

        if (r)
                return fold(r);
        /* A request ends with the hand that has to answer for it. */
        return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? error_origin(negative_errno()) : 0;
}

int main(int argc, char **argv)
{
        static const HandHandler handlers[] = {EDGE_IMAGED_FETCH_HANDLERS_B};
        static const HandSpec spec = {
                .process = PROCESS_IMAGED_FETCH,
                .edge = EDGE_IMAGED_FETCH,
                .schema = &edge_schema_imaged_fetch,
                .handlers = handlers,
                .context_size = sizeof(Fetcher),
                .fork_per_request = true,
                .acquire = fetch_acquire,
                .enter_child = fetch_enter_child,
        };
        return hand_main(&spec, argc, argv);
}
