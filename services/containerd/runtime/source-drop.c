/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime/source.h"

#include <stdio.h>
#include <sys/mount.h>

#include "lib/error.h"
#include "services/containerd/runtime/place.h"

bool source_path(char to[SOURCE_PATH_MAX], const char *directory, const char *kind, unsigned number)
{
        int n = snprintf(to, SOURCE_PATH_MAX, "%s/%s/%u", directory, kind, number);
        return n > 0 && n < SOURCE_PATH_MAX;
}

static int source_drop_kind(const char *directory, const char *kind)
{
        char path[SOURCE_PATH_MAX];
        int left = 0;
        for (unsigned i = 0; i < SOURCE_MOUNTS_MAX && source_path(path, directory, kind, i); i++) {
                /* What is shared with the host would take the host's away with it. */
                (void)mount(NULL, path, NULL, MS_REC | MS_PRIVATE, NULL);
                while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
                if (errno == ENOENT || errno == ENOTDIR)
                        break;
                if (rmdir(path) < 0 && (errno != ENOTDIR || unlink(path) < 0) && errno != ENOENT)
                        left = negative_errno();
        }
        int n = snprintf(path, sizeof(path), "%s/%s", directory, kind);
        if (left == 0 && n < SOURCE_PATH_MAX && rmdir(path) < 0 && errno != ENOENT)
                left = negative_errno();
        return left < 0 ? error_origin(left) : 0;
}

int source_drop(const ConfigCommon *common, const char *id)
{
        static const char *const kinds[] = {"mounts", "images"};
        char directory[PLACE_PATH_MAX];
        int left = 0;
        place_path(directory, common, PLACE_CONTAINER, id, "");
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                int r = source_drop_kind(directory, kinds[i]);
                left = left < 0 ? left : r;
        }
        return left < 0 ? fold(left) : 0;
}
