/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime/question.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "lib/error.h"
#include "lib/log.h"
#include "services/containerd/runtime/checkpoint.h"
#include "services/containerd/runtime/host.h"
#include "services/containerd/runtime/place.h"
#include "services/containerd/runtime/source.h"

static int question_reply(int ask_fd, uint16_t kind, const RenderAnswer *answer, int fd)
{
        return wire_send(ask_fd, kind, WIRE_FLAG_REPLY, 1, answer, sizeof(*answer), &fd, fd >= 0 ? 1 : 0) == 0 ? 0 : -EPIPE;
}

static int question_reply_device(void *userdata, const char *path, const struct stat *st)
{
        RenderAnswer answer = {.type = S_ISBLK(st->st_mode) ? 'b' : 'c', .major = major(st->st_rdev), .minor = minor(st->st_rdev),
                               .mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid};
        return str_copy(answer.path, sizeof(answer.path), path) ? question_reply(*(int *)userdata, RENDER_ASK_DEVICES, &answer, -1) : 0;
}

static int question_reply_file(void *userdata, const char *path, uint32_t priority, int fd)
{
        RenderAnswer answer = {.priority = priority};
        return str_copy(answer.path, sizeof(answer.path), path) ? question_reply(*(int *)userdata, RENDER_ASK_CDI, &answer, fd) : 0;
}

static int question_reply_member(void *userdata, const char *name, int fd)
{
        RenderAnswer answer = {0};
        return str_copy(answer.path, sizeof(answer.path), name) ? question_reply(*(int *)userdata, RENDER_ASK_FILES, &answer, fd) : 0;
}

/* What it can have done here, the config.json that
 * it writes could have the runtime do as well: it sees device numbers, a profile of the operator's, names of loaded ones, the exit
 * record of a container; it has a directory made, or a copy of a host path put where the runtime can mount it from, with the owners of this
 * pod's user namespace. */
int question_answer(const ConfigCommon *common, const ConfigContainerd *config, const Permit *permit, uint32_t allowed, int ask_fd,
                    WireFrame *frame, RenderAsk *ret_done)
{
        RenderAsk *ask = (void *)frame->payload;
        RenderAnswer answer = {0};
        _cleanup_fd_ int fd = -1;
        if (frame->header.id > RENDER_ASK_DONE || !(allowed & QUESTION(frame->header.id))) {
                log_warning("refused: the renderer for %.64s asks question %u, which is none of its own", permit ? permit->id : "an OCI runtime",
                            frame->header.id);
                return error_origin(-EPROTO);
        }
        if (frame->header.length != sizeof(*ask) || ask->text[sizeof(ask->text) - 1] != '\0' ||
            ask->within[sizeof(ask->within) - 1] != '\0')
                return error_origin(-EPROTO);
        switch (frame->header.id) {
        case RENDER_ASK_PROFILE:
                answer.result = host_open_profile(config->seccomp_dir, ask->text, &fd);
                break;
        case RENDER_ASK_RECORD:
                fd = id_is_valid(ask->text) ? place_open_record(common, ask->text, O_RDONLY) : -1;
                answer.result = fd < 0 ? -ESRCH : 0;
                break;
        case RENDER_ASK_DEVICES:
                answer.result = host_walk_devices(ask->text, question_reply_device, &ask_fd);
                break;
        case RENDER_ASK_CDI:
                answer.result = host_walk_cdi(question_reply_file, &ask_fd);
                break;
        case RENDER_ASK_APPARMOR:
                fd = open(RENDER_APPARMOR_LIST, O_RDONLY | O_CLOEXEC);
                answer.result = fd < 0 ? negative_errno() : 0;
                break;
        case RENDER_ASK_FILES:
                answer.result = checkpoint_walk(common, permit->pod_id, question_reply_member, &ask_fd);
                break;
        case RENDER_ASK_SOURCE:
                answer.result = source_prepare(common, permit, ask, answer.path, &answer.mode);
                break;
        case RENDER_ASK_DONE:
                *ret_done = *ask;
                return 1;
        default:
                return error_origin(-EPROTO);
        }
        return question_reply(ask_fd, frame->header.id, &answer, fd);
}
