/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What linkd gives a process over its control channel: configuration, keys, named files. The same for brains and hands, so that
 * there is one place that takes it. Needs libc only. */

#include "ipc/config.h"
#include "ipc/control.h"

#define ENDOWMENT_FDS_MAX 4

typedef struct EndowmentFd {
        char name[CONTROL_FD_NAME_MAX];
        int fd; /* owned; -1 when taken */
} EndowmentFd;

typedef struct EndowmentKey {
        bool present;
        uint8_t bytes[CONTROL_KEY_BYTES];
} EndowmentKey;

typedef struct Endowment {
        ConfigCommon common;
        void *section; /* owned; replaced in place by a reload */
        size_t section_size;
        bool configured;
        EndowmentKey keys[CONTROL_KEY_N];
        EndowmentFd fds[ENDOWMENT_FDS_MAX];
        size_t n_fds;
} Endowment; /* zeroed: nothing was given yet */

/* The control channel, as CONTROL_FD, close-on-exec. linkd-start passes it; under systemd BULKHEAD_CONTROL names the directory where
 * linkd listens for each process. 0 or -errno (already logged). */
int endowment_open_control(ProcessId process);

/* Takes the frame if it gives something: config, key, named fd, log level. OTHER: it does not. The peer is linkd, so what it
 * sends wrongly is a failure of ours: -EPROTO. */
enum { ENDOWMENT_E_OTHER = 1 };
int endowment_take(Endowment *endowment, ControlFrame *frame);
/* Closes, forgets the keys. */
void endowment_done(Endowment *endowment);

/* Ends the process if the section has another size: linkd and it are not of one build. process: its name, for the log. */
const void *endowment_section(const Endowment *endowment, const char *process, size_t size);
/* NULL if it was not given. kind: CONTROL_KEY_*. */
const uint8_t *endowment_key(const Endowment *endowment, uint32_t kind);
/* The caller owns it; -1 if there is none. */
int endowment_take_fd(Endowment *endowment, const char *name);
