/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who a user is by an image's /etc/passwd and /etc/group. The files are hostile; they are read in a jail and searched here: from the
 * top, the first line counts; a line that is not exactly of the form of passwd(5) or group(5) is none. */

#include "services/imaged/tree/report.h"

#define USERS_FILE_MAX (10 * 1024 * 1024)
#define USERS_LINES_MAX 65536
#define USERS_LINE_MAX 8192 /* longer ones are none */

/* Reads a file of the image beneath image_fd, symlinks in it followed within the image; one that is missing is empty. Owned,
 * terminated. 0 or REPORT_E_FAILED. */
int users_read(int image_fd, const char *path, char **ret, size_t *ret_n, Report *report);

/* Fills report->user. 0 or REPORT_E_FAILED: INVALID_ARGUMENT for a name that is not there. The request's strings are terminated. */
int users_find(const char *passwd, size_t n_passwd, const char *group, size_t n_group, const TreeUser *request, Report *report);
