/* SPDX-License-Identifier: Apache-2.0 */
#include "services/kept-request.h"

#include <sys/stat.h>

#include "lib/error.h"
#include "lib/fd.h"

int kept_request_save(int dir_fd, const Permit *permit, int request_fd, size_t max_bytes)
{
        struct stat st;
        if (fstat(request_fd, &st) < 0)
                return error_origin(negative_errno());
        if (st.st_size > (off_t)max_bytes)
                return KEPT_REQUEST_E_LARGE;
        size_t n = (size_t)st.st_size;
        _cleanup_free_ uint8_t *request = malloc(MAX2(n, (size_t)1));
        if (!request)
                return error_origin(-ENOMEM);
        int r = fd_pread_full(request_fd, request, n, 0);
        if (r < 0)
                return fold(r);
        if (permit_check_request(permit, request, n) != 0)
                return KEPT_REQUEST_E_OTHER;
        r = fd_write_file(dir_fd, "request", request, n, 0600);
        return r < 0 ? fold(r) : 0;
}
