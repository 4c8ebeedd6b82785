/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One container (or exec) as containerd would ask for it: a request, the permit that seals it, a spec; and what came back. */

#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/runtime-spec.pb-c.h"
#include "tests/sandbox/stage.h"

typedef Bulkhead__RuntimeSpec__RuntimeSpec RuntimeSpec;
typedef Bulkhead__RuntimeSpec__ProcessSpec ProcessSpec;
typedef Bulkhead__RuntimeSpec__MountSpec MountSpec;
#define MOUNT_KIND(name) BULKHEAD__RUNTIME_SPEC__MOUNT_SPEC__KIND__##name
#define SECCOMP_MODE(name) BULKHEAD__RUNTIME_SPEC__SECCOMP_SPEC__MODE__##name

#define BOX_MOUNTS_MAX 16
#define BOX_OUTPUT_MAX 65536

/* What all boxes share. */
typedef struct BoxHost {
        Stage *stage;
        StageHand *hand;
        uint32_t runtime;
        const char *image; /* a directory: copied to be each one's rootfs */
} BoxHost;

typedef struct Box {
        const BoxHost *host;
        char id[ID_LENGTH + 1], pod_id[ID_LENGTH + 1];
        Permit permit;
        uint32_t flags; /* LAUNCH_FLAG_* */
        bool forge;     /* the permit is sealed with another key */

        /* The request, changeable before box_create(). */
        Runtime__V1__CreateContainerRequest request;
        Runtime__V1__ContainerConfig config;
        Runtime__V1__LinuxContainerConfig linux_config;
        Runtime__V1__LinuxContainerSecurityContext context;
        Runtime__V1__NamespaceOption namespaces;
        Runtime__V1__Capability capability;
        Runtime__V1__LinuxContainerResources limits;
        Runtime__V1__PodSandboxConfig pod;
        Runtime__V1__LinuxPodSandboxConfig linux_pod;

        /* The spec, which agrees with it unless a test changes one of them. */
        RuntimeSpec spec;
        ProcessSpec process;
        Bulkhead__RuntimeSpec__SeccompSpec seccomp;
        Bulkhead__RuntimeSpec__ResourcesSpec resources;
        MountSpec mounts[BOX_MOUNTS_MAX];
        MountSpec *mount_list[BOX_MOUNTS_MAX];
        char *args[8];

        /* What came back. */
        uint32_t code;
        char text[WIRE_ERROR_TEXT_MAX + 1];
        LaunchCreated created;
        int shim_fd, pidfd, commit_fd, tty_fd, stdout_fd, stderr_fd, stdin_fd;
        uint32_t last_request;
        ExitRecord record;
} Box;

/* A container on the host's network that runs sh -c script. */
void box_init(Box *box, const BoxHost *host, const char *script);
MountSpec *box_mount(Box *box, Bulkhead__RuntimeSpec__MountSpec__Kind kind, const char *destination);
/* box->code says how it went; with 0 the fds are there. */
void box_create(Box *box);
uint32_t box_start(Box *box);
/* A process in the container. in keeps what box_init() made; argv ends with NULL. */
void box_exec(Box *in, Box *box, const char *const *argv, uint32_t flags);
/* What comes from fd until its end, terminated. */
void box_read(int fd, char output[BOX_OUTPUT_MAX]);
/* Waits for the shim's word about the end; fills box->record. */
void box_wait(Box *box);
/* A request to the shim without a reply's body or fds; its gRPC code. */
uint32_t box_ask(Box *box, const MessageRow *row, const void *flat, WireFrame *ret);
void box_status(Box *box, ShimStatus *status);
bool box_reconnect(Box *box);
ExitRecord box_exit_record(const Box *box, bool *ret_exists);
/* shim_quit where there is a shim, then launch_delete; nothing is left. */
void box_delete(Box *box);
void box_done(Box *box);
/* "CapEff" etc. of a /proc/<pid>/status text. */
uint64_t box_status_field(const char *status, const char *name, int base);
