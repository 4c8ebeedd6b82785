/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/path.h"

const char *path_normalise(const char *name, char ret[PATH_BYTES])
{
        size_t n = 0, depth = 0;

        for (const char *at = name; *at;) {
                size_t length = strcspn(at, "/");

                if (length == 2 && at[0] == '.' && at[1] == '.')
                        return "its name has the component \"..\"";
                if (length > PATH_COMPONENT_MAX)
                        return "its name has a component of more than 255 bytes";
                if (length > 0 && !(length == 1 && at[0] == '.')) {
                        if (++depth > PATH_DEPTH_MAX)
                                return "its name has more than 256 components";
                        if (n + 1 + length >= PATH_BYTES)
                                return "its name is longer than a path can be";
                        if (n > 0)
                                ret[n++] = '/';
                        memcpy(ret + n, at, length);
                        n += length;
                }
                at += length;
                at += *at == '/';
        }
        ret[n] = 0;
        return NULL;
}

const char *path_split(const char *path, size_t *ret_parent)
{
        const char *slash = strrchr(path, '/');

        *ret_parent = slash ? (size_t)(slash - path) : 0;
        return slash ? slash + 1 : path;
}
