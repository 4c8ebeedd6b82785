/* SPDX-License-Identifier: Apache-2.0 */

/* passwd and group files, and a request for a user or a number of them. */

#include "lib/fuzz.h"
#include "services/imaged/tree/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        TreeUser request = {.uid = UINT32_MAX, .gid = UINT32_MAX};
        Report report = {0};

        if (n < 16)
                return 0;
        memcpy(request.user, bytes, 7);
        memcpy(request.group, bytes + 7, 7);
        if (bytes[14] & 1) {
                request.user[0] = 0;
                request.uid = bytes[14] >> 1;
        }
        size_t n_passwd = (n - 16) * bytes[15] / 255;
        const char *passwd = (const char *)bytes + 16;
        if (users_find(passwd, n_passwd, passwd + n_passwd, n - 16 - n_passwd, &request, &report) == 0 &&
            (report.user.uid == UINT32_MAX || report.user.gid == UINT32_MAX || report.user.n_groups > TREE_GROUPS_MAX ||
             strnlen(report.user.home, sizeof(report.user.home)) == sizeof(report.user.home)))
                abort();
        return 0;
}
