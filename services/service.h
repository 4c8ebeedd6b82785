/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The skeleton of every brain. A service's main is a spec; the skeleton does the rest in one order that no service can
 * change: log, control channel (fd 3), configuration, keys, acquire, confinement, edges, ready, loop, release. */

#include "ipc/channel.h"
#include "ipc/config.h"
#include "ipc/seal.h"

struct event_base;
typedef struct Service Service;

typedef struct ServiceEdge {
        const EdgeSchema *schema; /* this one alone: a table of all edges would bring every message of CRI into every process */
        const ChannelHandler *handlers; /* one per row; NULL where we are the sender */
        ChannelCancelled on_cancelled;
        ChannelChanged on_changed;
} ServiceEdge;

typedef struct ServiceSpec {
        ProcessId process;
        size_t context_size; /* of the service's own struct, zeroed; its first member is `Service *service` */
        bool is_prompt; /* clients wait for what it answers: it asks the kernel to run soon, for short times */
        const ServiceEdge *edges;
        size_t n_edges;
        int (*acquire)(void *context); /* optional: before confinement, what needs privilege (it was started as root) */
        int (*ready)(void *context);   /* confined; edges exist (channels may not have a peer yet); recover, then serve */
        void (*release)(void *context); /* safe on a half-built context */
        /* Optional: it is asked to stop. Whoever has to finish something first returns SERVICE_E_LATER and calls service_stopped() then;
         * the skeleton goes on meanwhile. A second request to stop does not wait. */
        int (*stop)(void *context);
        int (*reload)(void *context);   /* optional: config and section have new values (SIGHUP), in place */
        /* Optional: there was work, and has been none for a moment. Caches go; the skeleton then gives free memory back. */
        void (*quiet)(void *context);
} ServiceSpec;

enum { SERVICE_E_LATER = 1 }; /* of ServiceSpec.stop */

/* The whole of main: returns its exit code. */
int service_main(const ServiceSpec *spec, int argc, char **argv);

struct event_base *service_loop(Service *service);
const ConfigCommon *service_config(const Service *service);
/* The process's own section, of exactly size bytes (checked). Never NULL: linkd always sends it. */
const void *service_section(const Service *service, size_t size);
Channel *service_channel(Service *service, EdgeId edge);
/* The keys that topology gives this process, else NULL. */
const uint8_t *service_permit_key(const Service *service);
const uint8_t *service_statement_key(const Service *service);
/* Extra fds that linkd hands to this process by name: "cri" (listener of gatewayd), "stream" (of streamd), "ca" (CA bundle
 * of imaged-fetch). Ownership moves to the caller; -1 if there is none. */
int service_take_fd(Service *service, const char *name);
/* RECOVERING until called with ROW_STATE_READY; sets the state of all channels and reports readiness to linkd. */
void service_set_state(Service *service, uint32_t row_state);
/* Serves already, though its start is not over: the channels are READY, linkd is not told. service_set_state() follows. */
void service_serve(Service *service);
/* After SERVICE_E_LATER: ends the loop. */
void service_stopped(Service *service);
/* Ends the loop; main returns r. */
void service_fail(Service *service, int r);
