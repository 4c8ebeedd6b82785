/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The typed configuration sections that linkd hands out: one flat struct for what all processes need, and one for each
 * process that needs more. linkd validated them; a receiver needs no parser. Strings are terminated. */

#include "lib/base.h"

#define CONFIG_PATH_MAX 256
#define CONFIG_NAME_MAX 64
#define CONFIG_RUNTIMES_MAX 8
#define CONFIG_MIRRORS_MAX 32
#define CONFIG_BIN_DIRS_MAX 4
#define CONFIG_NAMESERVERS_MAX 4
#define CONFIG_PINNED_MAX 16
#define CONFIG_VOLUMES_MAX 16 /* VOLUMEs of its image that a container has directories for */
#define CONFIG_VOLUME_PATH_MAX 256

typedef struct ConfigCommon {
        char instance[CONFIG_NAME_MAX];      /* "" for the default one; part of cgroup and netns names */
        char state_dir[CONFIG_PATH_MAX];     /* /var/lib/bulkhead: survives a reboot */
        char runtime_dir[CONFIG_PATH_MAX];   /* /run/bulkhead: tmpfs */
        char libexec_dir[CONFIG_PATH_MAX];
        uint32_t user_base;                  /* uid and gid of process p are user_base + p; shims from +1024 up */
        uint32_t log_level;                  /* enum log_level */
        char boot_id[40];
        char stream_url[CONFIG_NAME_MAX + 16]; /* "http://127.0.0.1:12345": what URLs of exec, attach, port-forward begin with */
} ConfigCommon;

/* Cgroups (v2) of ours in standalone mode, as <cgroup_root>/<instance><name>: the daemons', made by linkd, and the one in which
 * containerd-launch gives every shim its own. Under systemd they are those of the units. */
#define CONFIG_CGROUP_DAEMONS "bulkhead-daemons"
#define CONFIG_CGROUP_SHIMS "bulkhead-shims"
#define CONFIG_SHIMS_UNIT "bulkhead-shims.service"

typedef struct ConfigGatewayd {
        char runtime_version[CONFIG_NAME_MAX];
        uint32_t systemd_cgroups; /* bool: what RuntimeConfig answers */
        uint32_t max_connections;
        uint32_t max_streams;
        uint32_t n_handlers; /* the runtime handlers of this node; the first also answers to "" */
        char handlers[CONFIG_RUNTIMES_MAX][CONFIG_NAME_MAX];
} ConfigGatewayd;

typedef struct ConfigStreamd {
        char address[CONFIG_NAME_MAX]; /* the URL's host, "127.0.0.1" */
        uint16_t port;                 /* the port that was bound */
        uint16_t padding;
        uint32_t idle_timeout_sec;
        uint32_t tls; /* bool: "tls-cert" and "tls-key" are handed over */
} ConfigStreamd;

typedef struct ConfigMirror {
        char registry[CONFIG_PATH_MAX]; /* host[:port] as images name it */
        char endpoint[CONFIG_PATH_MAX]; /* http[s]://host[:port] that is asked instead, in order of the rows */
        uint32_t skip_verify;           /* bool, https only */
        uint32_t is_mirror;             /* bool: 0 for settings of the registry itself (plain http, skip_verify) */
} ConfigMirror;

typedef struct ConfigImaged {
        uint32_t n_mirrors;
        uint32_t max_concurrent_downloads;
        uint32_t progress_timeout_sec; /* a pull without a byte for that long ends */
        uint32_t allow_loopback;       /* bool: registries on loopback addresses may be dialled */
        uint64_t max_layer_bytes;      /* uncompressed */
        uint64_t max_image_bytes;
        uint32_t n_pinned;
        char pinned[CONFIG_PINNED_MAX][CONFIG_PATH_MAX]; /* patterns of image names, see fnmatch(3) */
        ConfigMirror mirrors[CONFIG_MIRRORS_MAX];
} ConfigImaged;

typedef struct ConfigImagedFetch {
        uint32_t n_nameservers;
        uint32_t allow_loopback;
        char nameservers[CONFIG_NAMESERVERS_MAX][CONFIG_NAME_MAX]; /* "address:port", from resolv.conf or the configuration */
        char ca_file[CONFIG_PATH_MAX]; /* "" for the system's bundle; opened before confinement */
} ConfigImagedFetch;

typedef struct ConfigCni {
        char conf_dir[CONFIG_PATH_MAX];
        char bin_dirs[CONFIG_BIN_DIRS_MAX][CONFIG_PATH_MAX];
        uint32_t n_bin_dirs;
        uint32_t timeout_sec; /* of one plugin run */
} ConfigCni;

typedef struct ConfigRuntime {
        char handler[CONFIG_NAME_MAX]; /* as in runtime_handler; row 0 is the default and also answers to "" */
        char path[CONFIG_PATH_MAX];    /* the OCI runtime, absolute */
} ConfigRuntime;

typedef struct ConfigContainerd { /* for containerd, containerd-setup, containerd-launch and sandboxd-setup alike */
        uint32_t n_runtimes;
        uint32_t systemd_cgroups; /* bool */
        ConfigRuntime runtimes[CONFIG_RUNTIMES_MAX];
        char seccomp_dir[CONFIG_PATH_MAX]; /* Localhost profiles must lie beneath; "/": wherever the request says */
        char log_root[CONFIG_PATH_MAX];    /* log files must lie beneath; "/" for any */
        char cgroup_root[CONFIG_PATH_MAX]; /* where the v2 hierarchy is mounted */
        char shims_cgroup[CONFIG_PATH_MAX]; /* below it: each shim has a cgroup there */
        uint32_t allow_privileged;         /* bool: node policy */
        uint32_t allow_host_paths;         /* bool: node policy */
        int32_t oom_score_adj_min;         /* probed: lower values are clamped to it */
        uint32_t padding;
} ConfigContainerd;
