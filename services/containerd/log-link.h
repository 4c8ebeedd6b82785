/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A container's output and logd: handed over when the container is made, and again whenever logd or we were restarted, for
 * the shim holds it too. Without a log path logd reads it and keeps nothing. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"

#define LOG_STREAMS_NULL ((LogStreams){.commit_fd = -1, .fds = {-1, -1}})
void log_streams_done(LogStreams *streams);

/* From within a step: asks containerd-setup for the log file (fd 0 of the answer). */
const Step *log_file_ask(Operation *operation, const Container *container);
/* From within a step: hands container->log_streams to logd, with the file (borrowed; -1: without one). */
const Step *log_open_ask(Operation *operation, Container *container, int file_fd);

/* Opens the container's log at logd, if it is not and nobody is at it. exit_resume() follows when it is. 0 or -errno. */
int log_link_begin(Container *container);
LogLink *log_link_free(LogLink *link);

/* logd lost or has a peer: for on_changed. 0 or -errno. */
int log_link_on_logd(Containerd *containerd, bool connected);

/* ReopenContainerLog; answers by itself. 0 or -errno. */
int log_reopen_request(Container *container, ReplyTo to);
typedef struct LogReopen LogReopen;
LogReopen *log_reopen_free(LogReopen *reopen);
