/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime-table.h"

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/containerd.h"
#include "services/json-text.h"
#include <event2/event.h>
#include <stdio.h>

#define RUNTIME_PROBE_AGAIN_USEC (UINT64_C(5) * 1000000)
#define RUNTIME_PATIENCE_SEC 5 /* how long one that does not answer holds up that we are ready */
#define RUNTIME_NAME_MAX 80

enum { RUNTIME_SETUP, RUNTIME_PROBE, RUNTIME_N };
static const Step runtime_steps[RUNTIME_N];

/* "1.8.1", "1.1.5+ds1": the first three numbers. */
static bool runtime_version_numbers(const char *text, uint32_t ret[3])
{
        for (size_t i = 0; i < 3; i++) {
                size_t n = strspn(text, "0123456789");
                uint32_t number = 0;
                if (n == 0 || n > 6)
                        return i > 0;
                for (size_t k = 0; k < n; k++)
                        number = number * 10 + (uint32_t)(text[k] - '0');
                ret[i] = number;
                text += n;
                if (*text != '.')
                        return true;
                text++;
        }
        return true;
}

/* What is new enough: each row is a first version. */
typedef struct RuntimeVersion {
        const char *prefix;
        uint32_t major, minor;
} RuntimeVersion;

static bool runtime_version_is_since(const char *version, const RuntimeVersion *rows, size_t n_rows)
{
        for (size_t i = 0; i < n_rows; i++) {
                uint32_t numbers[3] = {0};
                if (str_has_prefix(version, rows[i].prefix) && runtime_version_numbers(version + strlen(rows[i].prefix), numbers))
                        return numbers[0] > rows[i].major || (numbers[0] == rows[i].major && numbers[1] >= rows[i].minor);
        }
        return false;
}

/* runc 1.1.0 and crun 1.4.0 know the mount option rro (their release notes). */
bool runtime_version_has_recursive_readonly(const char *version)
{
        static const RuntimeVersion rows[] = {{"crun version ", 1, 4}, {"runc version ", 1, 1}};

        return runtime_version_is_since(version, rows, ARRAY_SIZE(rows));
}

/* The owners are mapped before the runtime sees them, so joining is all that is asked of it: tried with crun 1.8 and runc 1.1. */
bool runtime_version_has_userns(const char *version)
{
        static const RuntimeVersion rows[] = {{"crun version ", 1, 4}, {"runc version ", 1, 1}};

        return runtime_version_is_since(version, rows, ARRAY_SIZE(rows));
}

static const Step *runtime_setup(Operation *operation)
{
        RuntimeTable *runtimes = container_of(operation, RuntimeTable, operation);

        return operation_ask_flat(operation, runtimes->containerd->setup, ROW_CONTAINERD_SETUP_SETUP_PROBE, NULL, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *runtime_on_setup(Operation *operation, const Answer *answer)
{
        RuntimeTable *runtimes = container_of(operation, RuntimeTable, operation);

        if (answer->outcome) {
                log_warning("user namespaces cannot be probed: %s", answer->text);
                return &runtime_steps[RUNTIME_PROBE];
        }
        const SetupProbed *probed = answer->frame->flat;
        if (!probed->has_userns && (!runtimes->is_setup_probed || runtimes->has_userns))
                log_info("no pods with user namespaces on this node: %.*s", (int)strnlen(probed->why, sizeof(probed->why)), probed->why);
        runtimes->is_setup_probed = true;
        runtimes->has_userns = probed->has_userns;
        return &runtime_steps[RUNTIME_PROBE];
}

static const Step *runtime_probe_row(Operation *operation)
{
        RuntimeTable *runtimes = container_of(operation, RuntimeTable, operation);
        LaunchProbe verb = {.runtime = runtimes->row};

        if (runtimes->row >= runtimes->containerd->config->n_runtimes)
                return STEP_DONE;
        return operation_ask_flat(operation, runtimes->containerd->launch, ROW_CONTAINERD_LAUNCH_LAUNCH_PROBE, &verb, NULL, 0,
                                  OPERATION_TIMEOUT_USEC);
}

static const Step *runtime_on_probe_row(Operation *operation, const Answer *answer)
{
        RuntimeTable *runtimes = container_of(operation, RuntimeTable, operation);
        const ConfigRuntime *config = &runtimes->containerd->config->runtimes[runtimes->row];
        RuntimeState *state = &runtimes->states[runtimes->row];

        if (answer->outcome) {
                log_warning("runtime %s (%s): it cannot be probed: %s", config->handler, config->path, answer->text);
                return STEP_DONE;
        }
        const LaunchProbed *probed = answer->frame->flat;
        bool was_present = state->is_present, was_probed = state->is_probed;
        state->is_probed = true;
        state->is_present = probed->present;
        (void)snprintf(state->version, sizeof(state->version), "%.*s", (int)strnlen(probed->version, sizeof(probed->version)),
                       probed->version);
        state->version[strcspn(state->version, "\n")] = '\0';
        state->has_features = probed->has_features;
        state->features = probed->features;
        state->criu = probed->criu;
        state->has_recursive_readonly = state->is_present && runtimes->has_mount_setattr &&
                                        (state->has_features ? (state->features & LAUNCH_FEATURE_RECURSIVE_READONLY) != 0
                                                             : runtime_version_has_recursive_readonly(state->version));
        state->has_userns = state->is_present && runtime_version_has_userns(state->version);
        if (!was_probed || was_present != state->is_present)
                log_info("runtime %s: %s: %s%s", config->handler, config->path, state->is_present ? "" : "not usable: ",
                         state->version);
        runtimes->row++;
        return operation->step;
}

static const Step runtime_steps[RUNTIME_N] = {
        [RUNTIME_SETUP] = {.name = "user namespaces", .run = runtime_setup, .answered = runtime_on_setup},
        [RUNTIME_PROBE] = {.name = "probe", .run = runtime_probe_row, .answered = runtime_on_probe_row},
};

static void runtime_set_probed(RuntimeTable *runtimes)
{
        if (runtimes->patience)
                event_free(TAKE_PTR(runtimes->patience));
        if (runtimes->was_probed)
                return;
        runtimes->was_probed = true;
        containerd_tell_ready(runtimes->containerd);
}

static void runtime_on_patience(evutil_socket_t fd, short what, void *userdata)
{
        RuntimeTable *runtimes = userdata;

        log_warning("%u of %u OCI runtimes have answered after %d s: the rest is not waited for", runtimes->row,
                    runtimes->containerd->config->n_runtimes, RUNTIME_PATIENCE_SEC);
        runtime_set_probed(runtimes);
}

static int runtime_probe_done(Operation *operation)
{
        RuntimeTable *runtimes = container_of(operation, RuntimeTable, operation);

        runtimes->is_probing = false;
        runtimes->probed_usec = clock_monotonic_usec();
        runtime_set_probed(runtimes);
        return 0;
}

int runtime_probe(Containerd *containerd)
{
        RuntimeTable *runtimes = &containerd->runtimes;

        if (runtimes->is_probing)
                return 0;
        runtimes->containerd = containerd;
        runtimes->row = 0;
        runtimes->is_probing = true;
        runtimes->operation = (Operation){.noun = "runtimes", .id = "", .base = containerd->base, .done = runtime_probe_done,
                                          .fail = containerd_fail, .fail_userdata = containerd};
        if (!runtimes->was_probed) {
                const struct timeval after = {.tv_sec = RUNTIME_PATIENCE_SEC};
                runtimes->patience = evtimer_new(containerd->base, runtime_on_patience, runtimes);
                if (!runtimes->patience || evtimer_add(runtimes->patience, &after) < 0)
                        return error_origin(-ENOMEM);
        }
        int r = operation_run(&runtimes->operation, &runtime_steps[RUNTIME_SETUP]);
        return r < 0 ? fold(r) : 0;
}

void runtime_done(Containerd *containerd)
{
        if (containerd->runtimes.patience)
                event_free(TAKE_PTR(containerd->runtimes.patience));
        operation_end(&containerd->runtimes.operation);
}

int runtime_find(const Containerd *containerd, const char *handler)
{
        if (str_is_empty(handler))
                return containerd->config->n_runtimes > 0 ? 0 : -1;
        for (uint32_t i = 0; i < containerd->config->n_runtimes; i++)
                if (str_equal(containerd->config->runtimes[i].handler, handler))
                        return (int)i;
        return -1;
}

bool runtime_has_recursive_readonly(const Containerd *containerd, uint32_t row)
{
        return row < CONFIG_RUNTIMES_MAX && containerd->runtimes.states[row].has_recursive_readonly;
}

bool runtime_has_userns(const Containerd *containerd, uint32_t row)
{
        return row < CONFIG_RUNTIMES_MAX && containerd->runtimes.has_userns && containerd->runtimes.states[row].has_userns;
}

static void runtime_fill_condition(const Containerd *containerd, Bulkhead__GatewaydContainerd__RuntimeStatusResponse *response,
                                   char *message, size_t size)
{
        const RuntimeState *state = &containerd->runtimes.states[0];
        const ConfigRuntime *config = &containerd->config->runtimes[0];

        response->message = message;
        if (containerd->config->n_runtimes == 0) {
                response->reason = "NoRuntime";
                (void)snprintf(message, size, "no OCI runtime is configured: set runtimes in the configuration");
        } else if (!state->is_probed) {
                response->reason = "Starting";
                (void)snprintf(message, size, "the OCI runtime %.256s is not probed yet: containerd-launch is starting or stuck; its "
                                              "log says why", config->path);
        } else if (!state->is_present) {
                response->reason = "RuntimeMissing";
                (void)snprintf(message, size, "the OCI runtime of handler \"%s\" cannot be used: %.256s: %.256s; install it (Debian: "
                                              "apt install crun), or set its path in runtimes",
                               config->handler, config->path, state->version);
        } else if (!containerd->is_ready) {
                response->reason = "Recovering";
                response->ready = true; /* what runs is running; only new work waits a moment */
                (void)snprintf(message, size, "connecting to the containers of before the restart");
        } else {
                response->ready = true;
                message[0] = '\0';
        }
}

static void runtime_write_features(JsonText *json, const RuntimeState *state)
{
        json_text_open(json, "features", '{');
        json_text_string(json, "knownFrom", state->has_features ? "the runtime" : "its version");
        json_text_bool(json, "recursiveReadOnlyMounts", state->has_recursive_readonly);
        json_text_bool(json, "userNamespaces", state->has_userns);
        json_text_bool(json, "idmappedMounts", (state->features & LAUNCH_FEATURE_IDMAP) != 0);
        json_text_bool(json, "checkpoint", (state->features & LAUNCH_FEATURE_CHECKPOINT) != 0);
        json_text_bool(json, "criu", (state->criu & LAUNCH_CRIU_PROGRAM) != 0);
        json_text_close(json, '}');
}

static void runtime_write_config(const Containerd *containerd, JsonText *json)
{
        const ConfigContainerd *config = containerd->config;

        json_text_open(json, NULL, '{');
        json_text_string(json, "stateDir", containerd->common->state_dir);
        json_text_string(json, "runtimeDir", containerd->common->runtime_dir);
        json_text_string(json, "sandboxImage", "");
        json_text_string(json, "logRoot", config->log_root);
        json_text_string(json, "seccompDir", config->seccomp_dir);
        json_text_bool(json, "systemdCgroup", config->systemd_cgroups);
        json_text_bool(json, "allowPrivileged", config->allow_privileged);
        json_text_bool(json, "allowHostPaths", config->allow_host_paths);
        json_text_integer(json, "oomScoreAdjMin", config->oom_score_adj_min);
        json_text_open(json, "runtimes", '[');
        for (uint32_t i = 0; i < config->n_runtimes; i++) {
                json_text_open(json, NULL, '{');
                json_text_string(json, "handler", config->runtimes[i].handler);
                json_text_string(json, "path", config->runtimes[i].path);
                json_text_bool(json, "present", containerd->runtimes.states[i].is_present);
                json_text_string(json, "version", containerd->runtimes.states[i].version);
                runtime_write_features(json, &containerd->runtimes.states[i]);
                json_text_close(json, '}');
        }
        json_text_close(json, ']');
        json_text_close(json, '}');
}

int runtime_status_reply(Containerd *containerd, ReplyTo to)
{
        Bulkhead__GatewaydContainerd__RuntimeStatusResponse response =
                BULKHEAD__GATEWAYD_CONTAINERD__RUNTIME_STATUS_RESPONSE__INIT;
        Runtime__V1__RuntimeHandler handlers[CONFIG_RUNTIMES_MAX + 1], *rows[CONFIG_RUNTIMES_MAX + 1];
        Runtime__V1__RuntimeHandlerFeatures features[CONFIG_RUNTIMES_MAX + 1];
        Runtime__V1__RuntimeFeatures all = RUNTIME__V1__RUNTIME_FEATURES__INIT;
        _cleanup_(json_text_done) JsonText json = {0};
        char message[1024], trouble[STORE_TROUBLE_MAX];
        int r = 0;

        runtime_fill_condition(containerd, &response, message, sizeof(message));
        if (containerd->store.store && store_trouble(containerd->store.store, trouble))
                response.state_trouble = trouble;
        /* The default one also under the name "", for clients that name no handler look there. */
        for (uint32_t i = 0; i <= containerd->config->n_runtimes && containerd->config->n_runtimes > 0; i++) {
                uint32_t row = i == 0 ? 0 : i - 1;
                runtime__v1__runtime_handler__init(&handlers[i]);
                runtime__v1__runtime_handler_features__init(&features[i]);
                handlers[i].name = i == 0 ? (char *)"" : (char *)containerd->config->runtimes[row].handler;
                handlers[i].features = &features[i];
                features[i].recursive_read_only_mounts = runtime_has_recursive_readonly(containerd, row);
                features[i].user_namespaces = runtime_has_userns(containerd, row);
                rows[response.n_handlers++] = &handlers[i];
        }
        response.handlers = rows;
        all.supplemental_groups_policy = true;
        all.mount_options = true;
        response.features = &all;
        runtime_write_config(containerd, &json);
        response.config_json = json_text_end(&json);
        r = reply_send(to, &response.base, NULL, 0);
        const RuntimeState *state = &containerd->runtimes.states[0];
        if (r == 0 && (!state->is_present || !containerd->runtimes.is_setup_probed) && clock_monotonic_usec() - containerd->runtimes.probed_usec > RUNTIME_PROBE_AGAIN_USEC)
                r = runtime_probe(containerd);
        return r < 0 ? fold(r) : 0;
}
