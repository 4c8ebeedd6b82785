/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#pragma once

/* config.json for the OCI runtime, from a checked spec. It cannot express hooks, annotations or a device list that allows by
 * default; what comes from the host is asked for through RenderHost, after the permit allowed it. */

#include "ipc/config.h"
#include "services/containerd/launch/capability-set.h"
#include "services/containerd/launch/permit-check.h"
#include "services/containerd/launch/render-ask.h"
#include <jansson.h>

#define RENDER_RLIMITS 16 /* RLIM_NLIMITS */
#define RENDER_DEVICES_MAX 4096
#define RENDER_NO_UNIFIED "the limits of this node are not in a cgroup v2 hierarchy; use the fields for cpu and memory"

/* What this process has and the node gives; measured before the child confines itself. */
typedef struct RenderFacts {
        CapabilitySet capabilities;       /* that launch can give away */
        uint64_t rlimits[RENDER_RLIMITS]; /* the highest hard limit that can be set, by RLIMIT_*; UINT64_MAX: any */
        uint32_t kernel_version;          /* major << 16 | minor */
        bool has_unified;                 /* cgroup v2 alone, so "unified" resources can be set */
        bool has_memory_swap;             /* a limit on memory and swap together can be set */
        bool has_hugepages;               /* limits on huge pages can be set: the controller is there */
        bool has_apparmor;                /* the kernel has it, enabled */
        bool has_pod_uts;                 /* this pod has a UTS namespace of its own */
} RenderFacts;

typedef int (*RenderDeviceCallback)(void *userdata, const RenderAnswer *device);

typedef int (*RenderCdiCallback)(void *userdata, const char *path, uint32_t priority, const char *text, size_t n);

/* Of a host path to be mounted: see runtime/source.h. */
typedef struct RenderSource {
        const char *path, *within;
        uint32_t flags, number;
} RenderSource;

/* The host, through the parent (render-child.c). 0 or a negative errno that goes into the refusal's text. */
typedef struct RenderHost {
        int (*profile)(void *userdata, const char *path, char **ret_text, size_t *ret_n);
        int (*apparmor)(void *userdata, char **ret_list, size_t *ret_n); /* names of loaded profiles, a line each */
        int (*target)(void *userdata, const char *id, int *ret_pid);
        int (*devices)(void *userdata, const char *path, RenderDeviceCallback callback, void *callback_userdata);
        /* real: where the path leads, also with -EXDEV; restrictions: SOURCE_NO* of the mount there. */
        int (*source)(void *userdata, const RenderSource *source, char real[RENDER_PATH_MAX], uint32_t *ret_restrictions);
        /* Each file of the CDI directories; text NULL: not one to be used. priority: of its directory. */
        int (*cdi_files)(void *userdata, RenderCdiCallback callback, void *callback_userdata);
        void *userdata;
} RenderHost;

typedef struct Render {
        const ConfigCommon *common;     /* all borrowed */
        const ConfigContainerd *config;
        const RuntimeSpec *spec;
        const RenderFacts *facts;
        const RenderHost *host;
        const char *host_base;          /* borrowed; host paths must lie beneath it (permit_check_host_base); NULL or "": anywhere */
        uint32_t n_copies;              /* of sources, made so far */
        char text[PERMIT_CHECK_TEXT_MAX]; /* why it was refused */
} Render;

/* The whole of config.json. 0, an outcome with a text, or -ENOMEM. The caller owns ret. */
int render_config(Render *render, json_t **ret);

/* Its parts. */
int render_process(Render *render, const ProcessSpec *process, json_t **ret);
int render_mounts(Render *render, json_t *mounts, const char **ret_propagation);
/* render-apparmor.c: the profile that it gets, borrowed from process; "" is none. */
int render_apparmor(Render *render, const ProcessSpec *process, const char **ret_name);
/* A mount of a host path, appended to mounts. flags: SOURCE_*. Its options begin with RENDER_BIND_OPTIONS that say how it is bound; what
 * the file system there does not allow follows. */
#define RENDER_BIND_OPTIONS 3
int render_source(Render *render, json_t *mounts, const MountSpec *mount, const char *path, uint32_t flags);
int render_cdi(Render *render, json_t *config); /* render-cdi.c: edits of the whole, for the devices that the spec names */
int render_linux(Render *render, const char *propagation, json_t **ret);
int render_refuse(Render *render, const char *format, ...) _printf_(2, 3); /* RENDER_E_REFUSED */
int render_forbid(Render *render, const char *format, ...) _printf_(2, 3); /* RENDER_E_FORBIDDEN */
int64_t render_quota(const Render *render, int64_t quota);
int render_env(const ProcessSpec *process, json_t *env);
int render_cwd(Render *render, const char *cwd, const char **ret);

/* For `update --resources` (render-update.c): the limits in a container's config.json; and those, or the ones of the last update,
 * with what is asked. */
int render_update_first(Render *render, const char *container_json, size_t n, json_t **ret);
int render_update(Render *render, const Runtime__V1__LinuxContainerResources *asked, const char *limits_json, size_t n, json_t **ret);

/* What the document of `features` says: LAUNCH_FEATURE_* (render-features.c). */
int render_features(Render *render, const char *text, size_t n, uint32_t *ret);

/* For `exec --process`: the process of the container, from the config.json that was rendered for it, with another command. Refuses
 * a spec that asks for more than the container has. */
int render_exec(Render *render, const ProcessSpec *process, const char *container_json, size_t n, json_t **ret);
