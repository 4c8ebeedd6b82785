/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an exec asks containerd-launch to run. */

#include "services/containerd/container.h"

/* A sealed memory file with the packed ProcessSpec; the caller owns it. What is not said here is the container's own
 * configuration, which launch has. 0 or -errno. */
int exec_process_pack(const Container *container, char **cmd, size_t n_cmd, bool terminal, int *ret_fd);
