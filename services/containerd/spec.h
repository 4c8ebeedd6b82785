/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The typed runtime spec of a container, composed of what the request, the pod and the image say: a pure function of its
 * input, in an arena. Never more than the request allows; containerd-launch compares it with the sealed request and refuses
 * otherwise (launch/permit-check.h). Everything in the image's configuration is hostile: data, never control. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/edges/containerd-imaged.pb-c.h"
#include "ipc/edges/runtime-spec.pb-c.h"
#include "ipc/decode.h"
#include "services/containerd/failure.h"

typedef Bulkhead__RuntimeSpec__RuntimeSpec RuntimeSpec;
typedef Bulkhead__RuntimeSpec__ProcessSpec ProcessSpec;
typedef Bulkhead__RuntimeSpec__MountSpec MountSpec;
typedef Bulkhead__ContainerdImaged__ImageConfig ImageConfig;
typedef Bulkhead__ContainerdImaged__UserLookupResponse UserLookup;

#define SPEC_USER_MAX 520
#define SPEC_RESERVED_UIDS 65536 /* from ConfigCommon.user_base: our daemons and the shims */

typedef struct SpecInput {
        const Runtime__V1__CreateContainerRequest *request; /* all borrowed */
        const Runtime__V1__PodSandboxConfig *pod;           /* what the pod was made with */
        const ImageConfig *image;
        const UserLookup *user;       /* answer to spec_user_choose() */
        const char *container_id;
        const char *pod_id;           /* full */
        const char *cgroup_parent;    /* the permit's */
        const char *target_container; /* full id of the container whose PID namespace is joined, "" for none */
        uint32_t pod_namespaces;      /* PERMIT_FLAG_* as the lease says */
        const char *network_pin;
        uint32_t userns_host_id, userns_length;
        const char *node_hostname;
        int32_t oom_score_adj_min;    /* the node cannot go below */
        uint32_t user_base;           /* of our daemons */
        bool has_recursive_readonly;  /* the runtime and the kernel can */
        bool has_apparmor, has_selinux;
} SpecInput;

/* What can be refused before anything is asked of the image or the host; also checks that config and metadata are there. 0 or
 * FAILURE_E_SET. */
int spec_check_request(const SpecInput *input, Failure *failure);

/* Which user imaged shall look up: "" (root), or uid or name, then perhaps ":" and gid or group. 0 or FAILURE_E_SET. */
int spec_user_choose(const SpecInput *input, char to[SPEC_USER_MAX], Failure *failure);

/* The image's volumes that the request does not cover, in the order in which VOLUME mounts count them. */
int spec_volumes_choose(const SpecInput *input, DecodeArena *arena, char ***ret, size_t *ret_n, Failure *failure);

/* The mount is of another image, not of a host path. */
bool spec_mount_is_image(const Runtime__V1__Mount *mount);

/* 0 or FAILURE_E_SET. ret lives in the arena and borrows from the input. */
int spec_compose(const SpecInput *input, DecodeArena *arena, RuntimeSpec **ret, Failure *failure);
