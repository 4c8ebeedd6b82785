/* SPDX-License-Identifier: Apache-2.0 */
#include "services/endowment.h"

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static int endowment_connect(const char *directory, const char *name)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int n = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", directory, name);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (fd < 0 || n >= (int)sizeof(address.sun_path) || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            (fd != CONTROL_FD && dup3(fd, CONTROL_FD, O_CLOEXEC) < 0)) {
                int r = n >= (int)sizeof(address.sun_path) ? -ENAMETOOLONG : negative_errno();
                log_error("cannot connect to linkd at %s/%s: %s", directory, name, strerror(-r));
                (void)fd_close(fd);
                return error_origin(r);
        }
        if (fd != CONTROL_FD)
                (void)close(fd);
        return 0;
}

int endowment_open_control(ProcessId process)
{
        const char *directory = getenv("BULKHEAD_CONTROL");

        if (directory)
                return fold(endowment_connect(directory, topology_processes[process].name));
        if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) == 0)
                return 0;
        log_error("there is no control channel on fd %d: this program is started by `bulkhead up` or its unit, not by hand",
                  CONTROL_FD);
        return error_origin(-EBADF);
}

static int endowment_take_config(Endowment *endowment, const ControlFrame *frame)
{
        const void *section = control_section(frame);

        if (!section || (endowment->configured && endowment->section_size != frame->config.section_size))
                return error_origin(-EPROTO);
        if (!endowment->section) {
                /* One byte more: a process without a section has an address too. */
                endowment->section = calloc(1, frame->config.section_size + 1);
                if (!endowment->section)
                        return error_origin(-ENOMEM);
                endowment->section_size = frame->config.section_size;
        }
        memcpy(endowment->section, section, endowment->section_size);
        endowment->common = frame->config.common;
        endowment->configured = true;
        log_set_level(endowment->common.log_level);
        return 0;
}

static int endowment_take_key(Endowment *endowment, const ControlFrame *frame)
{
        if (frame->key.kind >= CONTROL_KEY_N)
                return error_origin(-EPROTO);

        EndowmentKey *key = &endowment->keys[frame->key.kind];
        memcpy(key->bytes, frame->key.bytes, sizeof(key->bytes));
        key->present = true;
        return 0;
}

static int endowment_take_named(Endowment *endowment, ControlFrame *frame)
{
        for (size_t i = 0; i < endowment->n_fds; i++)
                if (str_equal(endowment->fds[i].name, frame->named_fd.name)) {
                        /* A reload opened it anew; or a restarted linkd says it again, which is as good. */
                        (void)fd_close(endowment->fds[i].fd);
                        endowment->fds[i].fd = TAKE_FD(frame->fd);
                        return 0;
                }
        if (endowment->n_fds == ENDOWMENT_FDS_MAX)
                return error_origin(-E2BIG);

        EndowmentFd *named = &endowment->fds[endowment->n_fds++];
        (void)str_copy(named->name, sizeof(named->name), frame->named_fd.name);
        named->fd = TAKE_FD(frame->fd);
        return 0;
}

int endowment_take(Endowment *endowment, ControlFrame *frame)
{
        if (frame->type == CONTROL_CONFIG)
                return fold(endowment_take_config(endowment, frame));
        if (frame->type == CONTROL_KEY)
                return fold(endowment_take_key(endowment, frame));
        if (frame->type == CONTROL_NAMED_FD)
                return fold(endowment_take_named(endowment, frame));
        if (frame->type != CONTROL_LOG_LEVEL)
                return ENDOWMENT_E_OTHER;
        log_set_level(frame->log_level.level);
        return 0;
}

void endowment_done(Endowment *endowment)
{
        for (size_t i = 0; i < endowment->n_fds; i++)
                endowment->fds[i].fd = fd_close(endowment->fds[i].fd);
        explicit_bzero(endowment->keys, sizeof(endowment->keys));
        free(TAKE_PTR(endowment->section));
}

const void *endowment_section(const Endowment *endowment, const char *process, size_t size)
{
        if (size != endowment->section_size) {
                log_error("the configuration section of %s has %zu bytes, not %zu", process, endowment->section_size, size);
                abort();
        }
        return endowment->section;
}

const uint8_t *endowment_key(const Endowment *endowment, uint32_t kind)
{
        return endowment->keys[kind].present ? endowment->keys[kind].bytes : NULL;
}

int endowment_take_fd(Endowment *endowment, const char *name)
{
        for (size_t i = 0; i < endowment->n_fds; i++)
                if (str_equal(endowment->fds[i].name, name))
                        return TAKE_FD(endowment->fds[i].fd);
        return -1;
}
