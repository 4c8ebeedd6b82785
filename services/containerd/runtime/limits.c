/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/error.h"
#include "lib/log.h"

bool limits_are_known(const ConfigCommon *common, const char *id)
{
        char path[PLACE_PATH_MAX];
        struct stat st;
        place_path(path, common, PLACE_CONTAINER, id, "/limits.json");
        return lstat(path, &st) == 0;
}

int limits_open(const ConfigCommon *common, const char *id, bool is_first, char to_path[PLACE_PATH_MAX])
{
        char from[PLACE_PATH_MAX], first[PLACE_PATH_MAX];
        place_path(first, common, PLACE_CONTAINER, id, "/limits.first");
        place_path(from, common, PLACE_CONTAINER, id, is_first ? "/config.json" : "/limits.json");
        place_path(to_path, common, PLACE_CONTAINER, id, is_first ? "/limits.first" : "/limits.next");
        if (!is_first)
                (void)rename(first, from); /* it was just rendered, whole; without it there is one already */
        return open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

int limits_take_turn(const ConfigCommon *common, const char *id, uint64_t sealed_usec)
{
        char path[PLACE_PATH_MAX];
        uint64_t last_usec = 0;
        place_path(path, common, PLACE_CONTAINER, id, "/limits.sealed");
        _cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || pread(fd, &last_usec, sizeof(last_usec), 0) < 0)
                return error_origin(negative_errno());
        if (last_usec > sealed_usec)
                return LIMITS_E_OLD;
        return pwrite(fd, &sealed_usec, sizeof(sealed_usec), 0) == (ssize_t)sizeof(sealed_usec) ? 0 : error_origin(-ENOSPC);
}

int limits_apply(const ConfigCommon *common, const Runtime *runtime, const char *id, char words[RUNTIME_WORDS_MAX])
{
        char now[PLACE_PATH_MAX], next[PLACE_PATH_MAX], undone[RUNTIME_WORDS_MAX] = "";
        const char *const apply[] = {"update", "--resources", next, id, NULL}, *const undo[] = {"update", "--resources", now, id, NULL};
        place_path(now, common, PLACE_CONTAINER, id, "/limits.json");
        place_path(next, common, PLACE_CONTAINER, id, "/limits.next");
        int r = runtime_run(runtime, apply, words);
        if (r == 0 && rename(next, now) < 0)
                r = error_origin(negative_errno());
        else if (r == RUNTIME_E_FAILED && runtime_run(runtime, undo, undone) != 0)
                log_warning("container %s: limits that could not be set could not all be taken back: %s", id, undone);
        return r < 0 ? fold(r) : r;
}
