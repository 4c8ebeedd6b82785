/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/leftover.h"

#include "ipc/edges/sandboxd-cni.h"
#include "ipc/edges/sandboxd-cni.rows.h"
#include "ipc/edges/sandboxd-setup.h"
#include "ipc/edges/sandboxd-setup.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include <event2/event.h>

#define LEFTOVER_PAUSE_MAX_SEC 600
#define LEFTOVER_TIMEOUT (300 * USEC_PER_SEC) /* sandboxd-cni has a shorter one for each plugin */

typedef struct Leftover {
        List link; /* in Sandboxd.leftovers */
        Sandboxd *sandboxd;
        LeftoverKind kind;
        char pod_id[ID_LENGTH + 1];
        unsigned tries;
        Channel *call_channel;
        uint32_t call;       /* 0: none */
        struct event *retry; /* owned */
} Leftover;

static const char *leftover_name(const Leftover *leftover)
{
        return leftover->kind == LEFTOVER_NETWORK ? "attachment to its network" : "namespaces";
}

static Leftover *leftover_free(Leftover *leftover)
{
        if (!leftover)
                return NULL;
        if (leftover->call)
                channel_cancel(leftover->call_channel, leftover->call);
        if (leftover->retry)
                event_free(leftover->retry);
        list_remove(&leftover->link);
        free(leftover);
        return NULL;
}

static int leftover_pause(Leftover *leftover)
{
        unsigned seconds = MIN2(1u << MIN2(leftover->tries, 10u), (unsigned)LEFTOVER_PAUSE_MAX_SEC);
        const struct timeval pause = {.tv_sec = seconds};

        leftover->tries++;
        return event_add(leftover->retry, &pause) < 0 ? error_origin(-ENOMEM) : 0;
}

static int leftover_ask_setup(Leftover *leftover, const MessageRow *row, AnswerCallback callback)
{
        SetupPod verb = {0};

        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), leftover->pod_id);
        leftover->call_channel = sandboxd_setup(leftover->sandboxd);
        return fold(channel_call_flat(leftover->call_channel, row, &verb, NULL, 0, clock_monotonic_usec() + LEFTOVER_TIMEOUT, callback,
                                      leftover, &leftover->call));
}

static int leftover_fail(Leftover *leftover, const Answer *answer)
{
        log_warning("pod %.13s: its %s cannot be removed yet and will be tried again: %s", leftover->pod_id, leftover_name(leftover),
                    answer->text);
        return fold(leftover_pause(leftover));
}

static int leftover_on_namespaces(void *userdata, const Answer *answer)
{
        Leftover *leftover = userdata;

        leftover->call = 0;
        if (answer->outcome != 0)
                return fold(leftover_fail(leftover, answer));
        log_info("pod %.13s: what was left of it is removed", leftover->pod_id);
        (void)leftover_free(leftover);
        return 0;
}

static int leftover_remove_namespaces(Leftover *leftover)
{
        return fold(leftover_ask_setup(leftover, ROW_SANDBOXD_SETUP_SETUP_REMOVE, leftover_on_namespaces));
}

static int leftover_on_network(void *userdata, const Answer *answer)
{
        Leftover *leftover = userdata;

        leftover->call = 0;
        if (answer->outcome != 0)
                return fold(leftover_fail(leftover, answer));
        leftover->kind = LEFTOVER_NAMESPACES;
        return fold(leftover_remove_namespaces(leftover));
}

/* Of the pod only its namespace is said: what the plugins are told is in the cache of sandboxd-cni. */
static int leftover_on_status(void *userdata, const Answer *answer)
{
        Leftover *leftover = userdata;
        CniRun verb = {.verb = CNI_VERB_DEL};
        _cleanup_fd_ int fd = -1;

        leftover->call = 0;
        if (answer->outcome != 0)
                return fold(leftover_fail(leftover, answer));
        const SetupMade *made = answer->frame->flat;
        (void)str_copy(verb.pod_id, sizeof(verb.pod_id), leftover->pod_id);
        if (made->exists)
                memcpy(verb.network_pin, made->network_pin, MIN2(sizeof(verb.network_pin), sizeof(made->network_pin)));
        verb.network_pin[sizeof(verb.network_pin) - 1] = '\0';
        int r = fd_memfd_sealed("cni-request", "", 0, &fd);
        if (r < 0)
                return fold(r);
        leftover->call_channel = sandboxd_cni(leftover->sandboxd);
        return fold(channel_call_flat(leftover->call_channel, ROW_SANDBOXD_CNI_CNI_RUN, &verb, &fd, 1,
                                      clock_monotonic_usec() + LEFTOVER_TIMEOUT, leftover_on_network, leftover, &leftover->call));
}

static int leftover_try(Leftover *leftover)
{
        if (leftover->kind == LEFTOVER_NAMESPACES)
                return fold(leftover_remove_namespaces(leftover));
        return fold(leftover_ask_setup(leftover, ROW_SANDBOXD_SETUP_SETUP_STATUS, leftover_on_status));
}

static void leftover_on_retry(evutil_socket_t fd, short what, void *userdata)
{
        Leftover *leftover = userdata;
        Service *service = leftover->sandboxd->service;
        int r = leftover_try(leftover);

        if (r < 0)
                service_fail(service, fold(r));
}

static Leftover *leftover_find(const Sandboxd *sandboxd, const char *pod_id)
{
        list_for_each(i, &sandboxd->leftovers) {
                Leftover *leftover = container_of(i, Leftover, link);
                if (str_equal(leftover->pod_id, pod_id))
                        return leftover;
        }
        return NULL;
}

bool leftover_has_network(const Sandboxd *sandboxd, const char *pod_id)
{
        const Leftover *leftover = leftover_find(sandboxd, pod_id);

        return leftover && leftover->kind == LEFTOVER_NETWORK;
}

int leftover_remove(Sandboxd *sandboxd, LeftoverKind kind, const char *pod_id, bool has_just_failed)
{
        if (leftover_find(sandboxd, pod_id))
                return 0;
        Leftover *leftover = calloc(1, sizeof(*leftover));
        if (!leftover)
                return error_origin(-ENOMEM);
        leftover->sandboxd = sandboxd;
        leftover->kind = kind;
        (void)str_copy(leftover->pod_id, sizeof(leftover->pod_id), pod_id);
        list_append(&sandboxd->leftovers, &leftover->link);
        leftover->retry = event_new(service_loop(sandboxd->service), -1, 0, leftover_on_retry, leftover);
        if (!leftover->retry) {
                (void)leftover_free(leftover);
                return error_origin(-ENOMEM);
        }
        return fold(has_just_failed ? leftover_pause(leftover) : leftover_try(leftover));
}

void leftovers_free(Sandboxd *sandboxd)
{
        list_for_each_safe(i, n, &sandboxd->leftovers)
                (void)leftover_free(container_of(i, Leftover, link));
}
