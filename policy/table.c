/* SPDX-License-Identifier: Apache-2.0 */

/* One row per process. The rule behind all of them: a process either parses what others control or holds authority, never
 * both; and whatever execs foreign programs carries no confinement, because every bit of it would be inherited by the OCI
 * runtime and by the container for ever (one Landlock right or a two-rule filter on the parent makes runc fail, and
 * no_new_privs leaks into containers). */

#include "policy/rows.h"
#include "lib/error.h"
#include "lib/strings.h"
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>

#define CAP(name) (UINT64_C(1) << CAP_##name)

/* A private view of everything a process without a network, shared memory or host name needs. */
#define NAMESPACES_ALL (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

#define BRAIN(id, files, memory)                                                                                       \
        .confined = true, .process = PROCESS_##id, .user = POLICY_USER_OWN, .namespaces = NAMESPACES_ALL,              \
        .root = POLICY_ROOT_FRESH, .seccomp = true, .n_files = (files), .n_processes = 1, .memory_mib = (memory)

#define CHILD(id, memory, cpu)                                                                                         \
        .confined = true, .process = PROCESS_##id, .user = POLICY_USER_OWN, .seccomp = true, .n_files = 64,            \
        .memory_mib = (memory), .cpu_sec = (cpu)

const PolicyRow policy_rows[POLICY_N] = {
        [POLICY_LINKD] = {
                .name = "linkd",
                BRAIN(LINKD, 1024, 256),
                .landlock = POLICY_LANDLOCK_DENY,
                .why = "Files and sockets come from linkd-start, already open; linkd makes socket pairs and sends ends.",
        },
        [POLICY_LINKD_START] = {
                .name = "linkd-start",
                .process = PROCESS_LINKD_START,
                .user = POLICY_USER_ROOT,
                .why = "Spawner: starts the fixed table of daemons, two of which must be unconfined themselves.",
        },
        [POLICY_GATEWAYD] = {
                .name = "gatewayd",
                BRAIN(GATEWAYD, 4096, 1024),
                .landlock = POLICY_LANDLOCK_DENY,
                .why = "Serves an inherited listener; an accepted socket needs no network namespace of the host.",
        },
        [POLICY_STREAMD] = {
                .name = "streamd",
                BRAIN(STREAMD, 4096, 512),
                .landlock = POLICY_LANDLOCK_DENY,
                .why = "Serves an inherited listener; stdio and pod sockets arrive as fds.",
        },
        [POLICY_IMAGED] = {
                .name = "imaged",
                BRAIN(IMAGED, 4096, 1024),
                .landlock = POLICY_LANDLOCK_STATE,
                .directories = {{POLICY_PLACE_STATE, ""}},
                .why = "Sees its database and blobs, nothing else; the network and the trees belong to its hands.",
        },
        [POLICY_IMAGED_FETCH] = {
                .name = "imaged-fetch",
                .confined = true,
                .process = PROCESS_IMAGED_FETCH,
                .user = POLICY_USER_OWN,
                .namespaces = CLONE_NEWIPC | CLONE_NEWUTS,
                .root = POLICY_ROOT_FRESH,
                .landlock = POLICY_LANDLOCK_CONNECT,
                .seccomp = true,
                .n_files = 1024,
                .n_processes = 256,
                .memory_mib = 512,
                .why = "The host's network is its purpose. No file: the CA bundle arrives as an fd, names are resolved by "
                       "libevent. Ports cannot be listed: a registry may listen on any.",
        },
        [POLICY_IMAGED_PARSE] = {
                .name = "imaged-parse",
                .confined = true,
                .process = PROCESS_IMAGED_PARSE,
                .user = POLICY_USER_OWN,
                .namespaces = NAMESPACES_ALL,
                .root = POLICY_ROOT_FRESH,
                .landlock = POLICY_LANDLOCK_DENY,
                .seccomp = true,
                .n_files = 256,
                .n_processes = 256,
                .memory_mib = 256,
                .why = "A document comes in, a typed message goes out.",
        },
        [POLICY_IMAGED_TREE] = {
                .name = "imaged-tree",
                .confined = true,
                .process = PROCESS_IMAGED_TREE,
                .user = POLICY_USER_ROOT,
                /* SYS_ADMIN: mount and process namespaces of jails, syncfs needs none. SYS_CHROOT, SETUID, SETGID, SETPCAP:
                 * jails and decompressors drop to less. The other five are what a jail keeps, so the parent must have them.
                 * KILL: a jail above its deadline. */
                .capabilities = CAP(SYS_ADMIN) | CAP(SYS_CHROOT) | CAP(SETUID) | CAP(SETGID) | CAP(SETPCAP) | CAP(KILL) |
                                CAP(CHOWN) | CAP(FOWNER) | CAP(DAC_OVERRIDE) | CAP(SETFCAP) | CAP(FSETID),
                .namespaces = NAMESPACES_ALL,
                .root = POLICY_ROOT_FRESH,
                .directories = {{POLICY_PLACE_SHARED, "layers"},
                                {POLICY_PLACE_SHARED, "writable"},
                                {POLICY_PLACE_SHARED, "imports"},
                                {POLICY_PLACE_SHARED, "import"},
                                {POLICY_PLACE_EMPTY, "jail"}},
                .landlock = POLICY_LANDLOCK_NONE, /* it would forbid mounting in the jails too */
                .seccomp = true,
                .n_files = 4096,
                .memory_mib = 512,
                .why = "Builds one jail per tree and parses nothing itself: SYS_ADMIN, SYS_CHROOT, SETUID, SETGID, SETPCAP, "
                       "KILL for the jails; the five that a jail keeps. Its root holds the layer store only.",
        },
        [POLICY_SANDBOXD] = {
                .name = "sandboxd",
                BRAIN(SANDBOXD, 4096, 512),
                .landlock = POLICY_LANDLOCK_STATE,
                .directories = {{POLICY_PLACE_STATE, ""}},
                .why = "Sees its database, nothing else; holds the counters of each pod, up to seven fds.",
        },
        [POLICY_SANDBOXD_SETUP] = {
                .name = "sandboxd-setup",
                .confined = true,
                .process = PROCESS_SANDBOXD_SETUP,
                .user = POLICY_USER_ROOT,
                /* SYS_ADMIN: namespaces, mounts of pins, setns. NET_ADMIN: lo up, net sysctls. SETUID, SETGID: maps, and the
                 * user of a pod's init. CHOWN: pod files that belong to the pod's root. KILL: that init. */
                .capabilities = CAP(SYS_ADMIN) | CAP(NET_ADMIN) | CAP(SETUID) | CAP(SETGID) | CAP(CHOWN) | CAP(KILL),
                .root = POLICY_ROOT_HOST,
                .landlock = POLICY_LANDLOCK_NONE, /* forbids mounting */
                .seccomp = true,
                .n_files = 1024,
                .memory_mib = 256,
                .why = "Pins must be mounts of the host, or they revert to plain files when the hand exits. It parses "
                       "nothing, cannot exec, and is told ids, never paths.",
        },
        [POLICY_SANDBOXD_CNI] = {
                .name = "sandboxd-cni",
                .process = PROCESS_SANDBOXD_CNI,
                .user = POLICY_USER_ROOT,
                .why = "Spawner: CNI plugins (and the iptables they run) would inherit any confinement.",
        },
        [POLICY_CONTAINERD] = {
                .name = "containerd",
                BRAIN(CONTAINERD, 16384, 512),
                .landlock = POLICY_LANDLOCK_STATE,
                .directories = {{POLICY_PLACE_STATE, ""}},
                .why = "Sees its database, nothing else; holds a pidfd and a socket per container.",
        },
        [POLICY_CONTAINERD_SETUP] = {
                .name = "containerd-setup",
                .confined = true,
                .process = PROCESS_CONTAINERD_SETUP,
                .user = POLICY_USER_ROOT,
                /* SYS_ADMIN: overlays. An overlay does its work on the upper layer with the credentials of whoever mounted
                 * it, so the file capabilities (MKNOD, SETFCAP, SYS_RESOURCE for reserved blocks among them) decide what
                 * a container's root can do in its own root file system. KILL: signals to containers, of any user. SETUID,
                 * SETGID: identity maps for idmapped layers. SYS_PTRACE: /proc/<pid>/cgroup and ns of other users. */
                .capabilities = CAP(SYS_ADMIN) | CAP(CHOWN) | CAP(FOWNER) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) |
                                CAP(FSETID) | CAP(SETFCAP) | CAP(MKNOD) | CAP(SYS_RESOURCE) | CAP(KILL) | CAP(SETUID) |
                                CAP(SETGID) | CAP(SYS_PTRACE),
                .root = POLICY_ROOT_HOST,
                .landlock = POLICY_LANDLOCK_NONE, /* forbids mounting */
                .seccomp = true,
                .n_files = 1024,
                .memory_mib = 256,
                .why = "Overlays must be mounts of the host, where the OCI runtime finds them. It parses nothing, cannot "
                       "exec, and acts only on what a permit or a statement names.",
        },
        [POLICY_CONTAINERD_LAUNCH] = {
                .name = "containerd-launch",
                .process = PROCESS_CONTAINERD_LAUNCH,
                .user = POLICY_USER_ROOT,
                .why = "Spawner: the OCI runtime and the container would inherit any confinement.",
        },
        [POLICY_CONTAINERD_SHIM] = {
                .name = "containerd-shim",
                .confined = true,
                .process = PROCESS_CONTAINERD_SHIM,
                .user = POLICY_USER_GIVEN,
                .root = POLICY_ROOT_EMPTY, /* a mount namespace of its own would pin those of dead pods */
                .landlock = POLICY_LANDLOCK_DENY,
                .seccomp = true,
                .n_files = 64,
                .n_processes = 1,
                .memory_mib = 16,
                .why = "Entered when the runtime's create has returned: what is left is to wait and to write one record.",
        },
        [POLICY_LOGD] = {
                .name = "logd",
                BRAIN(LOGD, 16384, 256),
                .landlock = POLICY_LANDLOCK_DENY,
                .why = "Pipes and log files arrive as fds; it opens no path.",
        },
        [POLICY_FETCH_CHILD] = {
                .name = "imaged-fetch: one request",
                CHILD(IMAGED_FETCH, 256, 0),
                .root = POLICY_ROOT_KEEP,
                .landlock = POLICY_LANDLOCK_CONNECT,
                .why = "One origin, one credential, one pipe.",
        },
        [POLICY_PARSE_CHILD] = {
                .name = "imaged-parse: one document",
                CHILD(IMAGED_PARSE, 128, 20),
                .root = POLICY_ROOT_KEEP,
                .landlock = POLICY_LANDLOCK_DENY,
                .why = "JSON that a registry wrote, in a process that lives for it alone.",
        },
        [POLICY_DECOMPRESS_CHILD] = {
                .name = "imaged-tree: decompressor",
                CHILD(IMAGED_TREE, 256, 0),
                .root = POLICY_ROOT_EMPTY,
                .landlock = POLICY_LANDLOCK_DENY,
                .n_processes = 256,
                .why = "gzip and zstd from one fd to another. A window of 128 MiB is the most that zstd asks for.",
        },
        [POLICY_TREE_JAIL] = {
                .name = "imaged-tree: jail",
                .confined = true,
                .process = PROCESS_IMAGED_TREE,
                .root = POLICY_ROOT_KEEP,
                .user = POLICY_USER_GIVEN,
                .capabilities = CAP(CHOWN) | CAP(FOWNER) | CAP(DAC_OVERRIDE) | CAP(SETFCAP) | CAP(FSETID),
                .landlock = POLICY_LANDLOCK_NONE, /* the one tree that it sees is all there is */
                .seccomp = true,
                .n_files = 1024,
                .memory_mib = 256,
                .why = "tar and trees, with a root that is one layer (nodev, nosuid, noexec, nosymfollow), and the five "
                       "capabilities that owners, modes, times and file capabilities need.",
        },
        [POLICY_RENDER_CHILD] = {
                .name = "containerd-launch: renderer",
                CHILD(CONTAINERD_LAUNCH, 128, 20),
                .root = POLICY_ROOT_EMPTY,
                .landlock = POLICY_LANDLOCK_DENY,
                .n_processes = 256,
                .why = "Checks the permit and turns the typed spec into config.json; profiles arrive as fds.",
        },
        [POLICY_ARCHIVE_CHILD] = {
                .name = "containerd-launch: archiver",
                CHILD(CONTAINERD_LAUNCH, 128, 600),
                .root = POLICY_ROOT_EMPTY,
                .landlock = POLICY_LANDLOCK_DENY,
                .n_processes = 256,
                .why = "Puts CRIU's files and what the container changed, which arrive as fds, into the one file it can write.",
        },
        [POLICY_CNI_CHILD] = {
                .name = "sandboxd-cni: reader",
                CHILD(SANDBOXD_CNI, 128, 20),
                .root = POLICY_ROOT_EMPTY,
                .landlock = POLICY_LANDLOCK_DENY,
                .n_processes = 256,
                .why = "Reads conflists and plugin results (JSON), which arrive as fds.",
        },
};

bool policy_has_state(PolicyId id)
{
        return policy_rows[id].directories[0].place == POLICY_PLACE_STATE;
}

static int policy_path_join(const char *base, const char *name, char to[CONFIG_PATH_MAX * 2])
{
        int n = snprintf(to, CONFIG_PATH_MAX * 2, "%s/%s", base, name);
        return n < 0 || n >= CONFIG_PATH_MAX * 2 ? error_origin(-ENAMETOOLONG) : 0;
}

int policy_directory_source(const PolicyRow *row, size_t i, const ConfigCommon *config, char to[CONFIG_PATH_MAX * 2])
{
        const PolicyDirectory *d = &row->directories[i];

        switch (d->place) {
        case POLICY_PLACE_STATE:
                return policy_path_join(config->state_dir, topology_processes[row->process].name, to);
        case POLICY_PLACE_SHARED:
                return policy_path_join(config->state_dir, d->name, to);
        case POLICY_PLACE_RUNTIME:
                return policy_path_join(config->runtime_dir, d->name, to);
        case POLICY_PLACE_EMPTY:
                to[0] = '\0';
                return 0;
        case POLICY_PLACE_NONE:
                break;
        }
        return error_origin(-EINVAL);
}

int policy_directory_target(const PolicyRow *row, size_t i, const ConfigCommon *config, char to[CONFIG_PATH_MAX * 2])
{
        const PolicyDirectory *d = &row->directories[i];

        if (d->place == POLICY_PLACE_STATE)
                return policy_path_join("", "state", to);
        if (d->place == POLICY_PLACE_EMPTY)
                return policy_path_join("", d->name, to);
        return policy_directory_source(row, i, config, to);
}
