/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */

#include "services/containerd/launch/path-clean.h"

#include "lib/strings.h"

bool path_clean(char to[PATH_CLEAN_MAX], const char *path)
{
        size_t used = 0;
        to[0] = '\0';
        if (*path != '/')
                return false;
        while (*path) {
                path += strspn(path, "/");
                size_t n = strcspn(path, "/");
                if (n == 2 && path[0] == '.' && path[1] == '.')
                        return false;
                if (n > 0 && !(n == 1 && path[0] == '.')) {
                        if (used + n + 2 > PATH_CLEAN_MAX)
                                return false;
                        to[used] = '/';
                        memcpy(to + used + 1, path, n);
                        used += n + 1;
                        to[used] = '\0';
                }
                path += n;
        }
        if (used == 0)
                memcpy(to, "/", 2);
        return true;
}

bool path_clean_is_beneath(const char *path, const char *base)
{
        size_t n = strlen(base);
        if (str_equal(base, "/"))
                return *path == '/';
        return strncmp(path, base, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* Not nosymfollow: older runtimes take a word that they do not know for a file system's own, and a bind mount drops those. */
bool mount_option_is_known(const char *option)
{
        static const char *const known[] = {"nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime"};
        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (str_equal(option, known[i]))
                        return true;
        return false;
}
