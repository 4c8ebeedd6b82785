/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where a container's cgroup lies, said once for the hand that renders cgroupsPath and the hand that kills and reads it. */

#include "lib/strings.h"
#include <stdio.h>

#define CGROUP_PATH_MAX 1024
#define CGROUP_PATH_DEFAULT_PARENT "/bulkhead" /* for requests without a cgroup parent */
#define CGROUP_PATH_DEFAULT_SLICE "system.slice" /* the same with the systemd driver */
#define CGROUP_PATH_SCOPE "bulkhead" /* the runtime makes <slice>/bulkhead-<id>.scope */

/* The slice that a parent names under the systemd driver: kubelets send its path or its name alone. NULL if it names none.
 * systemd.slice(5): a dash goes one slice deeper, so no part between dashes is empty; "-.slice" is the root's. The rest of the
 * characters are those of systemd.unit(5). Borrowed from parent. */
static inline const char *cgroup_path_slice(const char *parent)
{
        const char *slash = str_is_empty(parent) ? NULL : strrchr(parent, '/');
        const char *slice = str_is_empty(parent) ? CGROUP_PATH_DEFAULT_SLICE : slash ? slash + 1 : parent;
        size_t n = strlen(slice);

        if (n < sizeof(".slice") || n > 200 || !str_has_suffix(slice, ".slice"))
                return NULL;
        n -= strlen(".slice");
        if (n == 1 && *slice == '-')
                return slice;
        for (size_t i = 0; i < n; i++) {
                char c = slice[i];
                bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                if (!is_letter && (c == '\0' || !strchr("-_.\\@", c)))
                        return NULL;
                if (c == '-' && (i == 0 || i == n - 1 || slice[i - 1] == '-'))
                        return NULL;
        }
        return slice;
}

/* A parent that one of the drivers can use: a slice's name, or absolute with no empty, "." or ".." component and no control
 * characters. "" is the default. */
static inline bool cgroup_path_parent_is_valid(const char *parent)
{
        if (str_is_empty(parent))
                return true;
        if (*parent != '/')
                return !strchr(parent, '/') && cgroup_path_slice(parent);
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

/* Appends the path of a slice, every slice that it lies in first. */
static inline void cgroup_path_add_slice(char to[CGROUP_PATH_MAX], size_t *n, const char *slice)
{
        size_t length = strlen(slice) - strlen(".slice");

        for (size_t i = 1; i <= length && *n < CGROUP_PATH_MAX && !str_equal(slice, "-.slice"); i++)
                if (slice[i] == '-' || i == length)
                        *n += (size_t)snprintf(to + *n, CGROUP_PATH_MAX - *n, "/%.*s.slice", (int)i, slice);
}

/* Below the hierarchy's root, beginning with a slash: "<parent>/<id>" with the cgroupfs driver, the scope that the OCI runtime
 * asks systemd for with the other. False if the parent is not valid for the driver, or too long. */
static inline bool cgroup_path_compose(char to[CGROUP_PATH_MAX], bool systemd, const char *parent, const char *id)
{
        size_t n = 0;

        if (!cgroup_path_parent_is_valid(parent))
                return false;
        if (systemd) {
                const char *slice = cgroup_path_slice(parent);
                if (!slice)
                        return false;
                cgroup_path_add_slice(to, &n, slice);
                if (n < CGROUP_PATH_MAX)
                        n += (size_t)snprintf(to + n, CGROUP_PATH_MAX - n, "/" CGROUP_PATH_SCOPE "-%s.scope", id);
                return n < CGROUP_PATH_MAX;
        }
        if (str_is_empty(parent))
                parent = CGROUP_PATH_DEFAULT_PARENT;
        if (*parent != '/')
                return false;
        n = (size_t)snprintf(to, CGROUP_PATH_MAX, "%s/%s", str_equal(parent, "/") ? "" : parent, id);
        return n < CGROUP_PATH_MAX;
}

/* The parent itself, likewise: the cgroup of a pod. False also if the request names none, or the root: that is not the pod's alone. */
static inline bool cgroup_path_parent(char to[CGROUP_PATH_MAX], bool systemd, const char *parent)
{
        size_t n = 0;

        if (str_is_empty(parent) || str_equal(parent, "/") || !cgroup_path_parent_is_valid(parent))
                return false;
        if (!systemd)
                return *parent == '/' && str_copy(to, CGROUP_PATH_MAX, parent);
        const char *slice = cgroup_path_slice(parent);
        if (!slice || str_equal(slice, "-.slice"))
                return false;
        cgroup_path_add_slice(to, &n, slice);
        return n > 0 && n < CGROUP_PATH_MAX;
}
