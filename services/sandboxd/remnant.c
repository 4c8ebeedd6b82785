/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/remnant.h"

#include "ipc/edges/sandboxd-setup.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include <sys/stat.h>

#define REMNANT_KEY_MAX 4096
#define REMNANT_REQUEST_MAX (4 * 1024 * 1024)

/* A number that ends with that character; NULL: it is none. */
static const char *remnant_number(const char *text, char end, uint64_t max, uint64_t *ret)
{
        char digits[24];
        const char *at = strchr(text, end);
        if (!at || (size_t)(at - text) >= sizeof(digits))
                return NULL;
        memcpy(digits, text, (size_t)(at - text));
        digits[at - text] = '\0';
        return u64_parse(digits, max, ret) ? at + 1 : NULL;
}

/* What pod_key() composed: two lengths, name, namespace, uid, attempt. Points into text, which it cuts into pieces. */
static bool remnant_read_key(char *text, Runtime__V1__PodSandboxMetadata *metadata)
{
        uint64_t n_name, n_namespace, attempt;
        const char *rest = remnant_number(text, '_', REMNANT_KEY_MAX, &n_name);
        rest = rest ? remnant_number(rest, '_', REMNANT_KEY_MAX, &n_namespace) : NULL;
        if (!rest || strlen(rest) <= n_name + n_namespace + 2 || rest[n_name] != '_' || rest[n_name + 1 + n_namespace] != '_')
                return false;
        char *name = text + (rest - text), *namespace_ = name + n_name + 1, *uid = namespace_ + n_namespace + 1;
        char *last = strrchr(uid, '_');
        if (!last || !u64_parse(last + 1, UINT32_MAX, &attempt) || n_name == 0 || n_namespace == 0 || last == uid)
                return false;
        name[n_name] = namespace_[n_namespace] = *last = '\0';
        metadata->name = name;
        metadata->namespace_ = namespace_;
        metadata->uid = uid;
        metadata->attempt = (uint32_t)attempt;
        return true;
}

int remnant_new(Pod **ret, Sandboxd *sandboxd, const char *id, const char *key)
{
        PodRequest request = RUNTIME__V1__RUN_POD_SANDBOX_REQUEST__INIT;
        Runtime__V1__PodSandboxConfig config = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        Runtime__V1__PodSandboxMetadata metadata = RUNTIME__V1__POD_SANDBOX_METADATA__INIT;
        Permit permit = {0}; /* opens nothing: what a pod like this needs is not asked with it */
        _cleanup_free_ char *text = strdup(key ? key : "");
        uint8_t *packed = NULL;
        size_t n = 0;
        Pod *pod;
        if (!text)
                return error_origin(-ENOMEM);
        request.config = &config;
        config.metadata = &metadata;
        if (!remnant_read_key(text, &metadata)) {
                metadata.name = metadata.namespace_ = (char *)"unknown";
                metadata.uid = (char *)id;
        }
        (void)str_copy(permit.id, sizeof(permit.id), id);
        (void)str_copy(permit.pod_id, sizeof(permit.pod_id), id);
        int r = decode_pack(&request.base, &packed, &n);
        if (r == 0)
                r = pod_new(&pod, sandboxd, id, packed, n, &permit);
        if (r)
                return r < 0 ? fold(r) : error_origin(-EINVAL);
        pod->state = POD_STATE_UNKNOWN;
        pod->created_nsec = clock_realtime_nsec();
        pod->has_network = true; /* as far as is known: DEL of one that has none is a success */
        pod->is_unresolved = true;
        list_append(&sandboxd->pods, &pod->link);
        *ret = pod;
        return 0;
}

int remnant_take_kept(Pod *pod, Frame *frame)
{
        const SetupKept *kept = frame->flat;
        _cleanup_fd_ int fd = frame_take_fd(frame, 0);
        struct stat st;
        if (!kept->exists || fd < 0 || fstat(fd, &st) < 0 || st.st_size > REMNANT_REQUEST_MAX)
                return 0;
        size_t n = (size_t)st.st_size;
        _cleanup_free_ uint8_t *packed = malloc(MAX2(n, (size_t)1));
        if (!packed)
                return error_origin(-ENOMEM);
        Permit permit = kept->permit;
        int r = fd_pread_full(fd, packed, n, 0);
        if (r == 0)
                r = pod_set_request(pod, TAKE_PTR(packed), n, &permit);
        if (r != 0)
                log_warning("pod %.13s: what was kept of it cannot be read; it is known by less", pod->id);
        return r == -ENOMEM ? fold(r) : 0;
}

void remnant_take_status(Pod *pod, const Frame *frame)
{
        const SetupMade *made = frame->flat;
        if (!made->exists)
                return;
        memcpy(pod->network_pin, made->network_pin, sizeof(pod->network_pin));
        pod->network_pin[sizeof(pod->network_pin) - 1] = '\0';
        pod->init_pid = made->init_pid;
}
