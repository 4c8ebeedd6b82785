/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/exec-process.h"

#include "ipc/edges/runtime-spec.pb-c.h"
#include "lib/error.h"
#include "lib/fd.h"

int exec_process_pack(const Container *container, char **cmd, size_t n_cmd, bool terminal, int *ret_fd)
{
        Bulkhead__RuntimeSpec__ProcessSpec process = BULKHEAD__RUNTIME_SPEC__PROCESS_SPEC__INIT;
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t n = 0;

        process.args = cmd;
        process.n_args = n_cmd;
        process.terminal = terminal;
        process.uid = container->record.uid;
        process.gid = container->record.gid;
        process.no_new_privileges = container->record.no_new_privileges;
        int r = decode_pack(&process.base, &bytes, &n);
        if (r == 0)
                r = fd_memfd_sealed("process", bytes, n, ret_fd);
        return r < 0 ? fold(r) : 0;
}
