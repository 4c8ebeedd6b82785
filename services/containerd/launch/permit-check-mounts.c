/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* The mounts of a container. What comes from the host must be in the request, at the same place and with no more rights; what
 * the runtime itself provides must be where it belongs; what the image wants may not cover what the runtime relies on. */

#include "services/containerd/launch/permit-check.h"

#include <stdio.h>

#include "lib/strings.h"
#include "services/containerd/launch/path-clean.h"

#define MOUNT_KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name
#define PERMIT_CHECK_MOUNTS_MAX 1024

#define PERMIT_CHECK_KUBELET_PODS "/var/lib/kubelet/pods"

static bool permit_check_paths_same(const char *a, const char *b)
{
        char clean_a[PATH_CLEAN_MAX], clean_b[PATH_CLEAN_MAX];
        return path_clean(clean_a, a) && path_clean(clean_b, b) && str_equal(clean_a, clean_b);
}

static bool permit_check_bind_is_within(const MountSpec *asked, const Runtime__V1__Mount *mount)
{
        return !mount->image && (asked->readonly || !mount->readonly) &&
               (asked->recursive_readonly || !mount->recursive_read_only) &&
               asked->propagation <= (uint32_t)mount->propagation;
}

/* Mapped owners let the container's root act on files of the host's root: only as asked, and only as the pod's own map says. */
static bool permit_check_map(const PermitCheck *check, const MountSpec *asked, const Runtime__V1__Mount *mount)
{
        const RuntimeSpec *spec = check->spec;
        if (mount->n_uidmappings == 0 && mount->n_gidmappings == 0)
                return !asked->mapped;
        if (!asked->mapped || mount->n_uidmappings != 1 || mount->n_gidmappings != 1 || !(spec->namespaces & PERMIT_FLAG_USERNS))
                return false;
        const Runtime__V1__IDMapping *maps[] = {mount->uidmappings[0], mount->gidmappings[0]};
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                if (maps[i]->container_id != 0 || maps[i]->host_id != spec->userns_host_id || maps[i]->length != spec->userns_length)
                        return false;
        return true;
}

/* The request's options take abilities away: all of them are there, and what else is there does the same. */
static bool permit_check_options(const MountSpec *asked, const Runtime__V1__Mount *mount)
{
        for (size_t i = 0; i < asked->n_options; i++)
                if (!mount_option_is_known(asked->options[i]))
                        return false;
        for (size_t i = 0; i < mount->n_mount_options; i++) {
                bool found = false;
                for (size_t k = 0; k < asked->n_options && !found; k++)
                        found = str_equal(asked->options[k], mount->mount_options[i]);
                if (!found)
                        return false;
        }
        return true;
}

bool permit_check_host_base(const PermitCheck *check, char to[PERMIT_CHECK_BASE_MAX])
{
        const Runtime__V1__PodSandboxConfig *pod = check->request->sandbox_config;
        const char *uid = pod && pod->metadata ? pod->metadata->uid : "";
        to[0] = '\0';
        if (check->allow_host_paths)
                return true;
        if (str_is_empty(uid) || strchr(uid, '/') || *uid == '.')
                return false;
        int n = snprintf(to, PERMIT_CHECK_BASE_MAX, PERMIT_CHECK_KUBELET_PODS "/%s", uid);
        return n > 0 && n < PERMIT_CHECK_BASE_MAX;
}

static int permit_check_bind(PermitCheck *check, const MountSpec *asked)
{
        const Runtime__V1__ContainerConfig *config = check->request->config;
        const Runtime__V1__Mount *at = NULL;
        char host_path[PATH_CLEAN_MAX], base[PERMIT_CHECK_BASE_MAX];
        if (!path_clean(host_path, asked->host_path))
                return permit_check_refuse(check, "mounts host_path \"%s\" at %s: give an absolute path without \"..\"",
                                           asked->host_path, asked->destination);
        for (size_t i = 0; i < config->n_mounts; i++) {
                const Runtime__V1__Mount *mount = config->mounts[i];
                if (!permit_check_paths_same(asked->destination, mount->container_path) ||
                    !permit_check_paths_same(asked->host_path, mount->host_path))
                        continue;
                at = mount;
                if (permit_check_bind_is_within(asked, mount))
                        break;
        }
        if (!at)
                return permit_check_refuse(check, "mounts host_path %s at %s: the request mounts no such path there",
                                           asked->host_path, asked->destination);
        if (!permit_check_bind_is_within(asked, at))
                return permit_check_refuse(check,
                                           "mounts %s: readonly %d, recursive_readonly %d, propagation %u; the request says "
                                           "readonly %d, recursive_read_only %d, propagation %d", asked->destination,
                                           asked->readonly, asked->recursive_readonly, asked->propagation, at->readonly,
                                           at->recursive_read_only, (int)at->propagation);
        if (asked->recursive_readonly &&
            (!asked->readonly || asked->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE))
                return permit_check_refuse(check, "mounts %s: recursive_read_only needs readonly and private propagation",
                                           asked->destination);
        if (!permit_check_options(asked, at))
                return permit_check_refuse(check, "mounts %s: options: not all of the request's mount_options, or unknown ones",
                                           asked->destination);
        if (!permit_check_map(check, asked, at))
                return permit_check_refuse(check, "mounts %s: mapped %d: the request's uidMappings and gidMappings of it are not the "
                                                  "pod's user namespace", asked->destination, asked->mapped);
        if (!permit_check_host_base(check, base) || !path_clean_is_beneath(host_path, *base ? base : "/"))
                return permit_check_refuse(check, "mounts host_path %s: this node's policy allows no host paths "
                                                  "(policy.allow_host_paths in its configuration) but those of the pod's own volumes%s%s",
                                           asked->host_path, *base ? ", in " : "", base);
        return 0;
}

/* Where each thing that is not the host's belongs; NULL: anywhere but where the runtime's own mounts are. */
static const char *permit_check_place(Bulkhead__RuntimeSpec__MountSpec__Kind kind)
{
        switch (kind) {
        case MOUNT_KIND(PROC):
                return "/proc";
        case MOUNT_KIND(SYSFS):
                return "/sys";
        case MOUNT_KIND(CGROUP):
                return "/sys/fs/cgroup";
        case MOUNT_KIND(DEV):
                return "/dev";
        case MOUNT_KIND(DEVPTS):
                return "/dev/pts";
        case MOUNT_KIND(MQUEUE):
                return "/dev/mqueue";
        case MOUNT_KIND(POD_SHM):
                return "/dev/shm";
        case MOUNT_KIND(POD_RESOLV):
                return "/etc/resolv.conf";
        case MOUNT_KIND(POD_HOSTNAME):
                return "/etc/hostname";
        case MOUNT_KIND(BIND):
        case MOUNT_KIND(TMPFS):
        case MOUNT_KIND(VOLUME):
        case MOUNT_KIND(IMAGE):
        case _BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND_IS_INT_SIZE:
        default:
                return NULL;
        }
}

static bool permit_check_is_image(const Runtime__V1__Mount *mount)
{
        return mount->image && !str_is_empty(mount->image->image);
}

/* containerd-setup has put the image there that the permit names for this number; here it is only where and how. */
static int permit_check_image(PermitCheck *check, const MountSpec *asked)
{
        const Runtime__V1__ContainerConfig *config = check->request->config;
        uint32_t n = 0;
        for (size_t i = 0; i < config->n_mounts; i++) {
                const Runtime__V1__Mount *mount = config->mounts[i];
                if (!permit_check_is_image(mount) || n++ != asked->volume)
                        continue;
                if (!permit_check_paths_same(asked->destination, mount->container_path))
                        break;
                if (!asked->readonly || asked->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
                        return permit_check_refuse(check, "mounts %s: an image volume is read-only and private", asked->destination);
                return 0;
        }
        return permit_check_refuse(check, "mounts %s: the request's image volume %u does not lie there", asked->destination,
                                   asked->volume);
}

static int permit_check_mount(PermitCheck *check, const MountSpec *asked)
{
        static const char *const reserved[] = {"/proc", "/sys", "/dev"};
        char destination[PATH_CLEAN_MAX];
        if (!path_clean(destination, asked->destination) || str_equal(destination, "/"))
                return permit_check_refuse(check, "mounts destination \"%s\": give an absolute path below / without \"..\"",
                                           asked->destination);
        if (asked->kind == MOUNT_KIND(BIND))
                return permit_check_bind(check, asked);
        if (!str_is_empty(asked->host_path))
                return permit_check_refuse(check, "mounts %s: a host_path with kind %d", asked->destination, (int)asked->kind);

        if (asked->kind == MOUNT_KIND(IMAGE))
                return permit_check_image(check, asked);
        const char *place = permit_check_place(asked->kind);
        if (place) {
                if (!str_equal(destination, place))
                        return permit_check_refuse(check, "mounts destination %s: kind %d belongs at %s", asked->destination,
                                                   (int)asked->kind, place);
        } else if (asked->kind == MOUNT_KIND(TMPFS) || asked->kind == MOUNT_KIND(VOLUME)) {
                for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
                        if (path_clean_is_beneath(destination, reserved[i]))
                                return permit_check_refuse(check, "mounts destination %s: an image's volume cannot lie in %s; "
                                                                  "remove it from the image", asked->destination, reserved[i]);
        } else {
                return permit_check_refuse(check, "mounts %s: unknown kind %d", asked->destination, (int)asked->kind);
        }
        if ((asked->kind == MOUNT_KIND(SYSFS) || asked->kind == MOUNT_KIND(CGROUP)) && !asked->readonly &&
            !permit_check_is_privileged(check))
                return permit_check_refuse(check, "mounts %s: writable, and the request is not privileged", asked->destination);
        return 0;
}

int permit_check_mounts(PermitCheck *check)
{
        if (check->spec->n_mounts > PERMIT_CHECK_MOUNTS_MAX)
                return permit_check_refuse(check, "mounts: %zu of them, at most %d are possible", check->spec->n_mounts,
                                           PERMIT_CHECK_MOUNTS_MAX);
        for (size_t i = 0; i < check->spec->n_mounts; i++) {
                int r = permit_check_mount(check, check->spec->mounts[i]);
                if (r)
                        return r;
        }
        return 0;
}
