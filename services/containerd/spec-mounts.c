/* SPDX-License-Identifier: Apache-2.0 */

/* What a container sees where: the runtime's own mounts, the pod's files, the image's volumes, the request's mounts. A later
 * one of this list takes the place of an earlier one at the same destination; parents are mounted before what lies in them. */

#include "services/containerd/spec-parts.h"

#include "ipc/config.h"
#include "ipc/seal.h"
#include "lib/strings.h"
#include "services/containerd/launch/path-clean.h"
#include <stdio.h>

#define SPEC_MOUNTS_MAX 512
#define MOUNT_KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name

static bool spec_map_is_equal(const Runtime__V1__IDMapping *a, const Runtime__V1__IDMapping *b)
{
        return a->host_id == b->host_id && a->container_id == b->container_id && a->length == b->length;
}

static bool spec_is_mapped_as_pod(const SpecInput *input, const Runtime__V1__Mount *mount)
{
        const Runtime__V1__UserNamespace *user = spec_userns(input);

        if (mount->n_uidmappings == 0 && mount->n_gidmappings == 0)
                return true;
        return user && mount->n_uidmappings == 1 && mount->n_gidmappings == 1 &&
               spec_map_is_equal(mount->uidmappings[0], user->uids[0]) && spec_map_is_equal(mount->gidmappings[0], user->gids[0]);
}

bool spec_mount_is_image(const Runtime__V1__Mount *mount)
{
        return mount->image && !str_is_empty(mount->image->image);
}

/* The sub path names something in the image; that it stays there is containerd-setup's to see. */
static bool spec_sub_path_is_valid(const char *path)
{
        if (*path == '/')
                return false;
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return false;
                p += n + strspn(p + n, "/");
        }
        return true;
}

static int spec_check_image_volume(const SpecInput *input, const Runtime__V1__Mount *mount, Failure *failure)
{
        const char *at = mount->container_path;

        if (!mount->readonly)
                return spec_refuse(input, failure, "image volume at %.200s: only readonly is possible", at);
        if (!str_is_empty(mount->host_path))
                return spec_refuse(input, failure, "image volume at %.200s: it has a host_path too", at);
        if (mount->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
                return spec_refuse(input, failure, "image volume at %.200s: only propagation PRIVATE is possible", at);
        if (!spec_is_mapped_as_pod(input, mount))
                return spec_refuse(input, failure, "image volume at %.200s: its uidMappings and gidMappings are not those of the pod's "
                                                   "user namespace", at);
        if (mount->n_mount_options > 0)
                return spec_refuse(input, failure, "image volume at %.200s: mount_options are for host paths", at);
        if (!spec_sub_path_is_valid(mount->image_sub_path))
                return spec_refuse(input, failure, "image volume at %.200s: image_sub_path \"%.200s\" is not a relative path without "
                                                   "\"..\"", at, mount->image_sub_path);
        return 0;
}

static int spec_check_mount(const SpecInput *input, const Runtime__V1__Mount *mount, Failure *failure)
{
        const char *at = mount->container_path;
        char path[PATH_CLEAN_MAX];

        if (!path_clean(path, at) || str_equal(path, "/"))
                return spec_refuse(input, failure, "mount container_path \"%.200s\" is not an absolute path below / without \"..\"",
                                   at);
        if (spec_mount_is_image(mount))
                return spec_check_image_volume(input, mount, failure);
        if (!path_clean(path, mount->host_path))
                return spec_refuse(input, failure, "mount at %.200s: host_path \"%.200s\" is not an absolute path without \"..\"",
                                   at, mount->host_path);
        if ((unsigned)mount->propagation > RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL)
                return spec_refuse(input, failure, "mount at %.200s: propagation %d is unknown", at, (int)mount->propagation);
        if (!spec_is_mapped_as_pod(input, mount))
                return spec_refuse(input, failure, "mount at %.200s: its uidMappings and gidMappings are not those of the pod's user "
                                                   "namespace; give one of each, equal to the pod's, or none", at);
        if (spec_userns(input) && mount->propagation == RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL)
                return spec_refuse(input, failure, "mount at %.200s: propagation BIDIRECTIONAL in a pod with a user namespace: the "
                                                   "kernel lets no mount of such a pod reach the host; use HOST_TO_CONTAINER", at);
        for (size_t i = 0; i < mount->n_mount_options; i++)
                if (!mount_option_is_known(mount->mount_options[i]))
                        return spec_refuse(input, failure, "mount at %.200s: mount option \"%.80s\" is not one of nosuid, nodev, noexec, "
                                                           "noatime, nodiratime, relatime, strictatime", at, mount->mount_options[i]);
        if (!mount->recursive_read_only)
                return 0;
        /* Never weakened in silence (KEP-3857). */
        if (!mount->readonly)
                return spec_refuse(input, failure, "mount at %.200s: recursive_read_only needs readonly", at);
        if (mount->propagation != RUNTIME__V1__MOUNT_PROPAGATION__PROPAGATION_PRIVATE)
                return spec_refuse(input, failure, "mount at %.200s: recursive_read_only needs propagation PRIVATE", at);
        if (!input->has_recursive_readonly)
                return failure_set(failure, GRPC_STATUS_FAILED_PRECONDITION,
                                   "RROUnsupported: container \"%.80s\": mount at %.200s: the OCI runtime of this handler cannot "
                                   "mount recursively read-only; use readonly alone, or a newer crun or runc",
                                   input->request->config->metadata->name, at);
        return 0;
}

int spec_check_mounts(const SpecInput *input, Failure *failure)
{
        const Runtime__V1__ContainerConfig *config = input->request->config;

        if (config->n_mounts > SPEC_MOUNTS_MAX)
                return spec_refuse(input, failure, "%zu mounts; at most %d are possible", config->n_mounts, SPEC_MOUNTS_MAX);
        for (size_t i = 0; i < config->n_mounts; i++) {
                int r = spec_check_mount(input, config->mounts[i], failure);
                if (r)
                        return r;
        }
        return 0;
}

/* The request mounts something at this (clean) path itself. */
static bool spec_is_mounted_by_request(const SpecInput *input, const char *path)
{
        const Runtime__V1__ContainerConfig *config = input->request->config;
        char clean[PATH_CLEAN_MAX];

        for (size_t i = 0; i < config->n_mounts; i++)
                if (path_clean(clean, config->mounts[i]->container_path) && str_equal(clean, path))
                        return true;
        return false;
}

/* An image's path as seen from its own root, where ".." leads no further up (CVE-2022-23648); false if it is too long. */
static bool spec_volume_clean(char to[PATH_CLEAN_MAX], const char *path)
{
        size_t used = 0;

        while (*path) {
                path += strspn(path, "/");
                size_t n = strcspn(path, "/");
                if (n == 2 && path[0] == '.' && path[1] == '.') {
                        while (used > 0 && to[--used] != '/')
                                ;
                } else if (n > 0 && !(n == 1 && path[0] == '.')) {
                        if (used + n + 2 > PATH_CLEAN_MAX)
                                return false;
                        to[used] = '/';
                        memcpy(to + used + 1, path, n);
                        used += n + 1;
                }
                path += n;
        }
        if (used == 0)
                to[used++] = '/';
        to[used] = '\0';
        return true;
}

static int spec_volume_check(const SpecInput *input, const char *volume, const char *clean, Failure *failure)
{
        static const char *const reserved[] = {"/proc", "/sys", "/dev"};

        for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
                if (path_clean_is_beneath(clean, reserved[i]))
                        return spec_refuse(input, failure, "VOLUME \"%.200s\" of image %.200s lies in %s; remove it from the image",
                                           volume, input->request->config->image->image, reserved[i]);
        if (str_equal(clean, "/"))
                return spec_refuse(input, failure, "VOLUME \"%.200s\" of image %.200s is the root directory; remove it from the "
                                                   "image", volume, input->request->config->image->image);
        return 0;
}

int spec_volumes_choose(const SpecInput *input, DecodeArena *arena, char ***ret, size_t *ret_n, Failure *failure)
{
        const ImageConfig *image = input->image;
        SpecBuild build = {.input = input, .arena = arena, .failure = failure};
        size_t n = 0;

        char **volumes = arena_array(arena, image->n_volumes, sizeof(char *));
        if (!volumes)
                return spec_refuse_memory(&build);
        for (size_t i = 0; i < image->n_volumes; i++) {
                char clean[PATH_CLEAN_MAX];
                bool is_known = false;
                if (!spec_volume_clean(clean, image->volumes[i]) || strlen(clean) >= CONFIG_VOLUME_PATH_MAX)
                        return spec_refuse(input, failure, "VOLUME \"%.200s\" of image %.200s is longer than %d bytes; shorten it in the image",
                                           image->volumes[i], input->request->config->image->image, CONFIG_VOLUME_PATH_MAX - 1);
                int r = spec_volume_check(input, image->volumes[i], clean, failure);
                if (r)
                        return r;
                for (size_t k = 0; k < n && !is_known; k++)
                        is_known = str_equal(volumes[k], clean);
                if (is_known || spec_is_mounted_by_request(input, clean))
                        continue;
                if (n == CONFIG_VOLUMES_MAX)
                        return spec_refuse(input, failure, "image %.200s has more than %d VOLUMEs; remove some from it, or mount something "
                                                           "over them", input->request->config->image->image, CONFIG_VOLUMES_MAX);
                volumes[n] = arena_text(arena, clean);
                if (!volumes[n++])
                        return spec_refuse_memory(&build);
        }
        *ret = volumes;
        *ret_n = n;
        return 0;
}

typedef struct SpecDefaultMount {
        Bulkhead__RuntimeSpec__MountSpec__Kind kind;
        const char *destination;
        bool readonly;            /* but in a privileged container */
        bool readonly_privileged; /* there as well */
} SpecDefaultMount;

/* Those of the OCI default and of the pod. The pod's files are read-only: they lie on the node's tmpfs, which a container could
 * fill otherwise (CVE-2020-8557). */
static const SpecDefaultMount spec_default_mounts[] = {
        {.kind = MOUNT_KIND(PROC), .destination = "/proc"},
        {.kind = MOUNT_KIND(DEV), .destination = "/dev"},
        {.kind = MOUNT_KIND(DEVPTS), .destination = "/dev/pts"},
        {.kind = MOUNT_KIND(POD_SHM), .destination = "/dev/shm"},
        {.kind = MOUNT_KIND(MQUEUE), .destination = "/dev/mqueue"},
        {.kind = MOUNT_KIND(SYSFS), .destination = "/sys", .readonly = true},
        {.kind = MOUNT_KIND(CGROUP), .destination = "/sys/fs/cgroup", .readonly = true},
        {.kind = MOUNT_KIND(POD_RESOLV), .destination = "/etc/resolv.conf", .readonly = true, .readonly_privileged = true},
        {.kind = MOUNT_KIND(POD_HOSTNAME), .destination = "/etc/hostname", .readonly = true, .readonly_privileged = true},
};

static MountSpec *spec_mount_add(SpecBuild *build, Bulkhead__RuntimeSpec__MountSpec__Kind kind, const char *destination)
{
        MountSpec *mount = arena_array(build->arena, 1, sizeof(*mount));

        if (!mount)
                return NULL;
        bulkhead__runtime_spec__mount_spec__init(mount);
        mount->kind = kind;
        mount->destination = (char *)destination;
        build->spec->mounts[build->spec->n_mounts++] = mount;
        return mount;
}

static int spec_mounts_add_defaults(SpecBuild *build)
{
        for (size_t i = 0; i < ARRAY_SIZE(spec_default_mounts); i++) {
                const SpecDefaultMount *row = &spec_default_mounts[i];
                if (spec_is_mounted_by_request(build->input, row->destination))
                        continue;
                MountSpec *mount = spec_mount_add(build, row->kind, row->destination);
                if (!mount)
                        return spec_refuse_memory(build);
                mount->readonly = build->spec->privileged ? row->readonly_privileged : row->readonly;
        }
        return 0;
}

static int spec_mounts_add_volumes(SpecBuild *build)
{
        char **volumes = NULL;
        size_t n = 0;

        int r = spec_volumes_choose(build->input, build->arena, &volumes, &n, build->failure);
        if (r)
                return r;
        for (size_t i = 0; i < n; i++) {
                MountSpec *mount = spec_mount_add(build, MOUNT_KIND(VOLUME), volumes[i]);
                if (!mount)
                        return spec_refuse_memory(build);
                mount->volume = (uint32_t)i;
        }
        return 0;
}

static int spec_mounts_add_requested(SpecBuild *build)
{
        const Runtime__V1__ContainerConfig *config = build->input->request->config;
        uint32_t n_images = 0;

        for (size_t i = 0; i < config->n_mounts; i++) {
                const Runtime__V1__Mount *asked = config->mounts[i];
                bool is_image = spec_mount_is_image(asked);
                char clean[PATH_CLEAN_MAX];
                (void)path_clean(clean, asked->container_path);
                const char *destination = arena_text(build->arena, clean);
                MountSpec *mount =
                        destination ? spec_mount_add(build, is_image ? MOUNT_KIND(IMAGE) : MOUNT_KIND(BIND), destination) : NULL;
                if (!mount)
                        return spec_refuse_memory(build);
                if (is_image) {
                        mount->readonly = true;
                        mount->volume = n_images++;
                        continue;
                }
                mount->host_path = asked->host_path;
                mount->readonly = asked->readonly;
                mount->recursive_readonly = asked->recursive_read_only;
                mount->propagation = (uint32_t)asked->propagation;
                mount->mapped = asked->n_uidmappings > 0;
                mount->options = asked->mount_options;
                mount->n_options = asked->n_mount_options;
        }
        return 0;
}

static size_t spec_mount_depth(const MountSpec *mount)
{
        size_t depth = 0;

        for (const char *p = mount->destination; *p; p++)
                depth += *p == '/';
        return depth;
}

/* Stable, and short lists: an insertion sort. */
static void spec_mounts_sort(RuntimeSpec *spec)
{
        for (size_t i = 1; i < spec->n_mounts; i++) {
                MountSpec *mount = spec->mounts[i];
                size_t depth = spec_mount_depth(mount), k = i;
                for (; k > 0 && spec_mount_depth(spec->mounts[k - 1]) > depth; k--)
                        spec->mounts[k] = spec->mounts[k - 1];
                spec->mounts[k] = mount;
        }
}

int spec_build_mounts(SpecBuild *build)
{
        size_t n_max = ARRAY_SIZE(spec_default_mounts) + build->input->image->n_volumes + build->input->request->config->n_mounts;

        build->spec->mounts = arena_array(build->arena, n_max, sizeof(MountSpec *));
        if (!build->spec->mounts)
                return spec_refuse_memory(build);
        int r = spec_mounts_add_defaults(build);
        if (r == 0)
                r = spec_mounts_add_volumes(build);
        if (r == 0)
                r = spec_mounts_add_requested(build);
        if (r == 0)
                spec_mounts_sort(build->spec);
        return r;
}
