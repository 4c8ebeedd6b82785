/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a container's cgroup lies, said once for the hand that renders cgroupsPath and the hand that kills and reads it. */

#include "lib/strings.h"
#include <stdio.h>

#define CGROUP_PATH_MAX 1024
#define CGROUP_PATH_DEFAULT_PARENT "/bulkhead" /* for requests without a cgroup parent */

/* A parent that can be used: absolute, no empty, "." or ".." component, no control characters. "" is the default. */
static inline bool cgroup_path_parent_is_valid(const char *parent)
{
        if (str_is_empty(parent))
                return true;
        if (*parent != '/')
                return false;
        for (const char *p = parent; *p;) {
                const char *component = p + 1;
                size_t n = strcspn(component, "/");
                if ((n == 0 && (p != parent || component[0] != '\0')) || (n == 1 && component[0] == '.') ||
                    (n == 2 && component[0] == '.' && component[1] == '.'))
                        return false;
                for (size_t i = 0; i < n; i++)
                        if ((unsigned char)component[i] < 0x20 || component[i] == 0x7f)
                                return false;
                p = component + n;
        }
        return true;
}

/* "<parent>/<id>" below the hierarchy's root, beginning with a slash; false if the parent is not valid or too long.
 * cgroupfs driver; the systemd driver names its scopes itself. */
static inline bool cgroup_path_compose(char to[CGROUP_PATH_MAX], const char *parent, const char *id)
{
        if (!cgroup_path_parent_is_valid(parent))
                return false;
        if (str_is_empty(parent))
                parent = CGROUP_PATH_DEFAULT_PARENT;
        int n = snprintf(to, CGROUP_PATH_MAX, "%s/%s", str_equal(parent, "/") ? "" : parent, id);
        return n > 0 && n < CGROUP_PATH_MAX;
}
