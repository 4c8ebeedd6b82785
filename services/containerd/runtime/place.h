/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the files of a container or an exec are, by its id alone, and how they go. libc only. */

#include "ipc/config.h"
#include "ipc/edges/containerd-launch.h"
#include "lib/strings.h"

#define PLACE_PATH_MAX (CONFIG_PATH_MAX + ID_LENGTH + 64)

typedef enum Place {
        PLACE_CONTAINER, /* <runtime_dir>/containers/<id>: config.json, limits.json, pid, log (and what containerd-setup keeps there) */
        PLACE_EXEC,      /* <runtime_dir>/execs/<id>: process.json, pid, log */
        PLACE_EXIT,      /* <runtime_dir>/exits/<id>: the exit record; as long as it is there the id is in use */
        PLACE_SHIM,      /* <runtime_dir>/shims/<id>.sock */
        PLACE_CONSOLE,   /* <runtime_dir>/shims/<id>.tty, while the runtime sends its terminal */
        PLACE_OCI,       /* <runtime_dir>/oci/<id>: the runtime's own state */
        PLACE_USERNS,    /* <runtime_dir>/ns/<pod id>/user: sandboxd-setup's pin */
        PLACE_N
} Place;

/* suffix, with its slash, or "". */
void place_path(char to[PLACE_PATH_MAX], const ConfigCommon *common, Place place, const char *id, const char *suffix);
/* The directories, once. 0 or -errno. */
int place_make_directories(const ConfigCommon *common);
/* The cgroup in which each shim has one of its own; -1 without a v2 hierarchy. */
int place_make_cgroup(const ConfigContainerd *config, int *ret_fd);
/* Ends what is left in the shim's cgroup, and removes it. 0, or -EBUSY if that does not end. */
int place_remove_cgroup(int cgroup_fd, const char *id);
/* The lock of a directory that has its name still: who had it before may have removed it. The fd is the caller's. 0 or -errno. */
int place_lock_path(const char *path, int how, int *ret_fd);
/* The same of an exec's directory, made if it is not there: no launch of it is under way, nor begins. Waits, not for ever. 0, -EBUSY. */
int place_lock_exec(const ConfigCommon *common, const char *id, int *ret_fd);
/* While a launch of it is under way, or its shim still at the runtime's create: half made, it could neither be found nor be taken
 * away. Not for ever. */
void place_wait_made(const ConfigCommon *common, int cgroup_fd, const char *id);
/* It was started before: by a launch that was killed before it could say so. */
bool place_is_started(const ConfigCommon *common, const char *id);
/* A socket at PLACE_SHIM: listening (create) or connected. -ENOENT, -ECONNREFUSED: nobody listens there. */
int place_socket(const ConfigCommon *common, const char *id, bool create, int *ret_fd);
/* The directory of an exec; ret_fd: its container's config.json, the caller's. 0 or -errno. */
int place_make_exec(const ConfigCommon *common, const char *container_id, const char *id, int *ret_fd);
/* What place_make_exec() made, of one that was refused. */
void place_undo_exec(const ConfigCommon *common, const char *id);
/* Everything but PLACE_OCI and what is containerd-setup's; the exit record last, if it goes too. What is not there is fine. 0 or -errno. */
int place_remove(const ConfigCommon *common, const char *id, bool with_record);
/* The exit record's file, -1 if the id has none. The caller owns it. */
int place_open_record(const ConfigCommon *common, const char *id, int flags);
/* Ids with an exit record from the offset-th on, in the order of the directory. 0 or -errno. */
int place_list(const ConfigCommon *common, uint32_t offset, LaunchListed *listed);
