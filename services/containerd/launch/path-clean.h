/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */
#pragma once

/* Absolute paths as text: one spelling for what several would name, so that two can be compared. Touches no file system. */

#include "lib/base.h"

#define PATH_CLEAN_MAX 4096

/* Writes path without doubled slashes, "." components and trailing slash. False if it is not absolute, has a ".." component
 * or is longer than PATH_CLEAN_MAX - 1. */
bool path_clean(char to[PATH_CLEAN_MAX], const char *path);
/* A word of Mount.mount_options: one that takes abilities away or is about access times, and that every runtime knows. */
bool mount_option_is_known(const char *option);
/* path is base or beneath it; both are clean. */
bool path_clean_is_beneath(const char *path, const char *base);
