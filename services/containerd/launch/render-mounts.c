/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* The mounts section. Sources follow from ids and fixed directories; the only path of somebody else's is the host path of a bind
 * that the permit was compared with. */

#include "services/containerd/launch/render.h"

#include "services/containerd/launch/path-clean.h"
#include "services/containerd/runtime/source.h"

#include <stdio.h>

#define MOUNT_KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name
#define RENDER_DEVPTS_GID 5 /* tty, as everywhere */

/* File systems that the runtime makes anew. */
static const struct {
        Bulkhead__RuntimeSpec__MountSpec__Kind kind;
        const char *type, *source;
        const char *options[6];
} render_file_systems[] = {
        {MOUNT_KIND(PROC), "proc", "proc", {"nosuid", "noexec", "nodev"}},
        {MOUNT_KIND(SYSFS), "sysfs", "sysfs", {"nosuid", "noexec", "nodev"}},
        {MOUNT_KIND(CGROUP), "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime"}},
        {MOUNT_KIND(DEV), "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
        {MOUNT_KIND(DEVPTS), "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
        {MOUNT_KIND(MQUEUE), "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
        {MOUNT_KIND(TMPFS), "tmpfs", "tmpfs", {"nosuid", "nodev", "mode=1777"}},
};

static int render_append(json_t *mounts, const MountSpec *mount, const char *type, const char *source, json_t *options)
{
        return json_array_append_new(mounts, json_pack("{s:s,s:s,s:s,s:o}", "destination", mount->destination, "type", type,
                                                       "source", source, "options", options)) < 0 ? -ENOMEM : 0;
}

static int render_option(json_t *options, const char *option)
{
        return json_array_append_new(options, json_string(option));
}

static int render_file_system(const Render *render, json_t *mounts, const MountSpec *mount, size_t i)
{
        json_t *options = json_array();
        char size[48];
        if (!options)
                return -ENOMEM;
        for (size_t k = 0; k < ARRAY_SIZE(render_file_systems[i].options) && render_file_systems[i].options[k]; k++)
                (void)render_option(options, render_file_systems[i].options[k]);
        if (mount->kind == MOUNT_KIND(DEVPTS) &&
            (!(render->spec->namespaces & PERMIT_FLAG_USERNS) || render->spec->userns_length > RENDER_DEVPTS_GID))
                (void)render_option(options, "gid=5");
        if (mount->kind == MOUNT_KIND(TMPFS) && mount->size_bytes > 0) {
                (void)snprintf(size, sizeof(size), "size=%llu", (unsigned long long)mount->size_bytes);
                (void)render_option(options, size);
        }
        if (mount->readonly)
                (void)render_option(options, "ro");
        return render_append(mounts, mount, render_file_systems[i].type, render_file_systems[i].source, options);
}

static int render_bind(json_t *mounts, const MountSpec *mount, const char *source, const char *const *more)
{
        static const char *const propagations[] = {"rprivate", "rslave", "rshared"};
        json_t *options = json_array();
        if (!options || mount->propagation >= ARRAY_SIZE(propagations))
                return -ENOMEM;
        (void)render_option(options, "rbind");
        (void)render_option(options, propagations[mount->propagation]);
        (void)render_option(options, mount->readonly ? "ro" : "rw");
        if (mount->recursive_readonly)
                (void)render_option(options, "rro");
        for (; more && *more; more++)
                (void)render_option(options, *more);
        for (size_t i = 0; i < mount->n_options; i++)
                (void)render_option(options, mount->options[i]);
        return render_append(mounts, mount, "bind", source, options);
}

/* Of a container in a user namespace the runtime mounts with that namespace's rights, which may not walk the path, and older ones
 * cannot map owners: there it mounts from a copy. So it does where the node's policy says what may be mounted: what it was asked
 * about is copied at once, and no longer found by a path that a pod could lead elsewhere meanwhile. */
int render_source(Render *render, json_t *mounts, const MountSpec *mount, const char *path, uint32_t flags)
{
        static const struct {
                uint32_t flag;
                const char *option;
        } names[] = {{SOURCE_NOSUID, "nosuid"}, {SOURCE_NODEV, "nodev"}, {SOURCE_NOEXEC, "noexec"}};
        const RuntimeSpec *spec = render->spec;
        const bool is_userns = spec->namespaces & PERMIT_FLAG_USERNS;
        const char *within = flags & SOURCE_MAKE && render->host_base ? render->host_base : "";
        const bool is_copied = is_userns || *within;
        char real[RENDER_PATH_MAX] = "", copy[CONFIG_PATH_MAX + ID_LENGTH + 48];
        uint32_t restrictions = 0;
        const char *options[4] = {NULL};
        size_t n = 0;
        if (is_copied)
                flags |= SOURCE_CLONE | (is_userns ? 0 : mount->propagation > 1 ? SOURCE_SHARE : 0) | (mount->mapped ? SOURCE_MAP : 0);
        const RenderSource source = {.path = path, .within = within, .flags = flags, .number = render->n_copies};
        int r = render->host->source(render->host->userdata, &source, real, &restrictions);
        if (r == -EINVAL && flags & SOURCE_MAP)
                return render_refuse(render, "host path %.200s for %.200s: a file system there cannot give its files the owners of the "
                                             "pod's user namespace (an id-mapped mount); use one that can, or a pod without a user "
                                             "namespace", path, mount->destination);
        if (r == -EXDEV && *within)
                return render_forbid(render, "host path %.200s: it leads to %.200s, and this node's policy allows no host paths "
                                             "(policy.allow_host_paths in its configuration) but those in %.200s", path, real, within);
        if (r < 0)
                return render_refuse(render, "host path %.200s for %.200s: it does not exist and cannot be made, or cannot be mounted: %s",
                                     path, mount->destination, strerror(-r));
        /* Runtimes set the flags of a mount anew where they make it read-only: what it did not allow is to stay so. */
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (restrictions & names[i].flag)
                        options[n++] = names[i].option;
        if (!is_copied)
                return render_bind(mounts, mount, real, options);
        (void)snprintf(copy, sizeof(copy), "%s/containers/%s/mounts/%u", render->common->runtime_dir, spec->container_id,
                       render->n_copies++);
        return render_bind(mounts, mount, copy, options);
}

/* What lies in the pod's or the container's own directories. */
static int render_own(Render *render, json_t *mounts, const MountSpec *mount)
{
        static const char *const plain[] = {"nosuid", "noexec", "nodev", NULL}, *const image[] = {"nosuid", "nodev", NULL};
        const RuntimeSpec *spec = render->spec;
        char source[PATH_CLEAN_MAX];
        switch (mount->kind) {
        case MOUNT_KIND(POD_SHM):
                if (spec->namespaces & PERMIT_FLAG_HOST_IPC)
                        return render_bind(mounts, mount, "/dev/shm", plain);
                (void)snprintf(source, sizeof(source), "%s/pods/%s/shm", render->common->runtime_dir, spec->pod_id);
                return render_bind(mounts, mount, source, plain);
        case MOUNT_KIND(POD_RESOLV):
        case MOUNT_KIND(POD_HOSTNAME):
                (void)snprintf(source, sizeof(source), "%s/pods/%s/%s", render->common->runtime_dir, spec->pod_id,
                               mount->kind == MOUNT_KIND(POD_RESOLV) ? "resolv.conf" : "hostname");
                return render_bind(mounts, mount, source, plain);
        case MOUNT_KIND(VOLUME):
                if (mount->volume >= CONFIG_VOLUMES_MAX)
                        return render_refuse(render, "volume %u at %.200s: an image may have at most %d", mount->volume,
                                             mount->destination, CONFIG_VOLUMES_MAX);
                (void)snprintf(source, sizeof(source), "%s/writable/%s/volumes/%u", render->common->state_dir,
                               spec->container_id, mount->volume);
                return spec->namespaces & PERMIT_FLAG_USERNS ? render_source(render, mounts, mount, source, 0)
                                                             : render_bind(mounts, mount, source, NULL);
        case MOUNT_KIND(IMAGE):
                (void)snprintf(source, sizeof(source), "%s/containers/%s/images/%u", render->common->runtime_dir, spec->container_id,
                               mount->volume);
                return render_bind(mounts, mount, source, image);
        case MOUNT_KIND(BIND):
        case MOUNT_KIND(PROC):
        case MOUNT_KIND(SYSFS):
        case MOUNT_KIND(CGROUP):
        case MOUNT_KIND(DEV):
        case MOUNT_KIND(DEVPTS):
        case MOUNT_KIND(MQUEUE):
        case MOUNT_KIND(TMPFS):
        case _BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND_IS_INT_SIZE:
        default:
                return render_refuse(render, "mount at %.200s: unknown kind %d", mount->destination, (int)mount->kind);
        }
}

int render_mounts(Render *render, json_t *mounts, const char **ret_propagation)
{
        uint32_t propagation = 0;
        for (size_t i = 0; i < render->spec->n_mounts; i++) {
                const MountSpec *mount = render->spec->mounts[i];
                size_t k = 0;
                int r;
                while (k < ARRAY_SIZE(render_file_systems) && render_file_systems[k].kind != mount->kind)
                        k++;
                if (k < ARRAY_SIZE(render_file_systems))
                        r = render_file_system(render, mounts, mount, k);
                else if (mount->kind == MOUNT_KIND(BIND))
                        r = render_source(render, mounts, mount, mount->host_path, SOURCE_MAKE);
                else
                        r = render_own(render, mounts, mount);
                if (r)
                        return r;
                if (mount->kind == MOUNT_KIND(BIND))
                        propagation = MAX2(propagation, mount->propagation);
        }
        /* A volume can only be a slave or a peer of the host's if the container's root is not cut off from it. */
        *ret_propagation = propagation == 0 ? "rprivate" : propagation == 1 ? "rslave" : "rshared";
        return 0;
}
