/* SPDX-License-Identifier: Apache-2.0 */

/* Trees by name: unpack, remove, measure, list, sync. */

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/measure.h"
#include "services/imaged/tree/tree.h"
#include "services/imaged/tree/unpack.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define REQUESTS_MEASURE_TIMEOUT (100 * USEC_PER_SEC) /* less than imaged waits */
#define REQUESTS_SYNC_TIMEOUT_MSEC 60000

int tree_refuse(int edge_fd, const HandRequest *request, const char *what)
{
        int r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT, "%s: %s", request->row->name, what);
        return r ? fold(r) : 0;
}

int tree_fail_report(int edge_fd, const HandRequest *request, const char *stage, const char *object, const Report *report)
{
        int r = hand_fail(edge_fd, request, report->code, "%s %s: %s", stage, object, report->text);
        return r ? fold(r) : 0;
}

int tree_fail_errno(int edge_fd, const HandRequest *request, const char *stage, const char *object, int error)
{
        bool is_full = error == -ENOSPC || error == -EDQUOT || error == -ENOMEM || error == -EMFILE || error == -ENFILE;

        log_error("%s %s: %s (%s)", stage, object, strerror(-error), error_trace());
        int r = hand_fail(edge_fd, request, is_full ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_INTERNAL,
                          "%s %s: %s%s", stage, object, strerror(-error),
                          is_full ? "; free space and try again" : "; see the log of imaged-tree");
        return r ? fold(r) : 0;
}

int tree_check_layers(const Trees *trees, int edge_fd, const HandRequest *request, const uint8_t (*layers)[32], uint32_t n,
                      bool *ret_missing)
{
        *ret_missing = true;
        if (n > SEAL_LAYERS_MAX)
                return tree_refuse(edge_fd, request, "it has more layers than an image can");
        for (uint32_t i = 0; i < n; i++) {
                _cleanup_fd_ int fd = -1;
                char hex[ID_LENGTH + 1];
                int r;

                hex_encode(hex, layers[i], 32);
                r = trees_find(trees, TREE_KIND_LAYER, hex, &fd);
                if (r < 0)
                        return tree_fail_errno(edge_fd, request, "opening layer", hex, r);
                if (r == TREES_E_NOT_FOUND) {
                        r = hand_fail(edge_fd, request, GRPC_STATUS_FAILED_PRECONDITION,
                                      "%s: layer sha256:%s is not in the store; pull the image again", request->row->name, hex);
                        return r ? fold(r) : 0;
                }
        }
        *ret_missing = false;
        return 0;
}

/* ---- unpack -------------------------------------------------------------------------------------------------------------- */

static int requests_unpack_existing(int tree_fd, int edge_fd, const HandRequest *request, const char *name)
{
        const TreeUnpack *unpack = tree_body(request);
        TreesRecord record;
        int r;

        r = trees_read_record(tree_fd, &record);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "reading the record of layer", name, r);
        if (r == TREES_E_NOT_FOUND) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_FAILED_PRECONDITION,
                              "layer sha256:%s exists without its record: something else wrote it; remove the image and pull again", name);
                return r ? fold(r) : 0;
        }
        if (memcmp(record.diff_id, unpack->diff_id, 32) != 0) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT,
                              "layer sha256:%s is here, and does not have the diff id that the image's configuration names", name);
                return r ? fold(r) : 0;
        }
        TreeUnpacked reply = {.bytes = record.bytes, .inodes = record.inodes, .is_opaque = record.is_opaque};
        memcpy(reply.diff_id, record.diff_id, 32);
        r = hand_reply(edge_fd, request, &reply, NULL, 0);
        return r ? fold(r) : 0;
}

void tree_discard(const Trees *trees, TreesStage *stage)
{
        char trash[TREES_NAME_MAX];
        int r;

        if (!stage->name[0])
                return;
        r = trees_abandon(trees, stage, trash);
        if (r == 0)
                r = trees_empty(trees, stage->kind, trash);
        if (r < 0)
                log_warning("a staged tree could not be removed: %s; it goes at the next start", error_trace());
}

static int requests_commit_layer(const Trees *trees, TreesStage *stage, int edge_fd, const HandRequest *request,
                                 const UnpackResult *result, const char *name)
{
        TreeUnpacked reply = {
                .bytes = result->report.bytes,
                .inodes = result->report.inodes,
                .is_opaque = result->report.is_opaque,
        };
        TreesRecord record = {
                .bytes = reply.bytes,
                .inodes = reply.inodes,
                .is_opaque = reply.is_opaque,
                .has_implicit = result->report.n_implicit > 0,
        };
        int r;

        memcpy(reply.diff_id, result->diff_id, 32);
        memcpy(record.diff_id, result->diff_id, 32);
        r = trees_record(stage->fd, &record);
        if (r == 0)
                r = trees_commit(trees, stage, name);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "committing layer", name, r);
        /* TREES_E_EXISTS: another job was quicker with the same bytes; ours has the same digest, so either will do. */
        r = hand_reply(edge_fd, request, &reply, NULL, 0);
        return r ? fold(r) : 0;
}

static int requests_unpack_new(const Tree *tree, const Trees *trees, TreesStage *stage, int edge_fd, HandRequest *request,
                               const char *name)
{
        const TreeUnpack *unpack = tree_body(request);
        const UnpackSpec spec = {
                .config = hand_config(tree->hand),
                .sha256 = tree->sha256,
                .blob_fd = request->frame.fds[0],
                .tree_fd = stage->fd,
                .max_bytes = unpack->max_bytes,
                .extract = {.max_entries = unpack->max_entries, .max_bytes = unpack->max_bytes},
        };
        UnpackResult result;
        int r;

        r = unpack_run(&spec, &result);
        if (r)
                return tree_fail_errno(edge_fd, request, "unpacking layer", name, r);
        if (result.report.code)
                return tree_fail_report(edge_fd, request, "layer", name, &result.report);
        if (memcmp(result.diff_id, unpack->diff_id, 32) != 0) {
                char is[ID_LENGTH + 1], wanted[ID_LENGTH + 1];

                hex_encode(is, result.diff_id, 32);
                hex_encode(wanted, unpack->diff_id, 32);
                r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT,
                              "layer %s: its uncompressed bytes have the digest sha256:%s, the image's configuration names sha256:%s",
                              name, is, wanted);
                return r ? fold(r) : 0;
        }
        r = requests_commit_layer(trees, stage, edge_fd, request, &result, name);
        return r ? fold(r) : 0;
}

/* Asked: bytes of a blob, a digest to name the tree by, the digest that the uncompressed bytes must have, limits. Rechecked: all of
 * it but the compressed digest, which only imaged computes. At worst: a compromised imaged has a tree of its making under a
 * digest of its choice, which its statements could name anyway; a compromised jail spoils the one tree that is staged. */
int on_tree_unpack(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeUnpack *unpack = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        TreesStage stage = TREES_STAGE_NULL;
        _cleanup_fd_ int existing_fd = -1;
        char name[ID_LENGTH + 1];
        int r;

        hex_encode(name, unpack->layer, 32);
        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_find(&trees, TREE_KIND_LAYER, name, &existing_fd);
        if (r == 0) {
                r = requests_unpack_existing(existing_fd, edge_fd, request, name);
                return r ? fold(r) : 0;
        }
        if (r > 0)
                r = trees_stage(&trees, TREE_KIND_LAYER, name, 0755, &stage);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "staging layer", name, r);
        r = requests_unpack_new(tree, &trees, &stage, edge_fd, request, name);
        tree_discard(&trees, &stage);
        return r ? fold(r) : 0;
}

/* ---- remove, measure ------------------------------------------------------------------------------------------------------ */

static bool requests_name_is_valid(const TreeName *name)
{
        return trees_kind_is_valid(name->kind) && tree_text_is_valid(name->name, sizeof(name->name)) && id_is_valid(name->name);
}

/* Asked: a kind and an id. Rechecked: the id's grammar, so the name cannot lead elsewhere. At worst: a tree of ours is gone, which
 * is what imaged decides. Gone for everyone when it answers; its bytes follow. */
int on_tree_remove(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeName *name = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        char trash[TREES_NAME_MAX];
        int r, found;

        if (!requests_name_is_valid(name))
                return tree_refuse(edge_fd, request, "it names no tree");
        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_take_away(&trees, name->kind, name->name, trash);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "removing", name->name, r);
        found = r == 0;
        r = hand_reply(edge_fd, request, NULL, NULL, 0);
        if (r == 0 && found)
                r = trees_empty(&trees, name->kind, trash);
        return r ? fold(r) : 0;
}

static int requests_measure_in_jail(void *argument, Report *report)
{
        _cleanup_fd_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : MEASURE_E_CHANGED;

        /* A container that runs may move directories about under us. */
        for (unsigned tries = 0; r == MEASURE_E_CHANGED && tries < 5; tries++) {
                Measure measure;

                r = measure_tree(fd, &measure);
                if (r == 0) {
                        report->bytes = measure.bytes;
                        report->inodes = measure.inodes;
                }
        }
        if (r == MEASURE_E_CHANGED)
                return report_fail(report, GRPC_STATUS_UNAVAILABLE, "its directories move about too quickly to be counted; try again");
        if (r == MEASURE_E_DEEP)
                return report_fail(report, GRPC_STATUS_RESOURCE_EXHAUSTED, "it has more than %d directories inside one another",
                                   MEASURE_DEPTH_MAX);
        return r < 0 ? report_errno(report, -r, "counting", "it") : 0;
}

int on_tree_measure(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeName *name = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        _cleanup_fd_ int fd = -1, upper_fd = -1;
        Report report;
        int r;

        if (!requests_name_is_valid(name))
                return tree_refuse(edge_fd, request, "it names no tree");
        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_find(&trees, name->kind, name->name, &fd);
        if (r == TREES_E_NOT_FOUND) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_NOT_FOUND, "measuring %s: there is no such tree in %s", name->name,
                              trees_kind_name(name->kind));
                return r ? fold(r) : 0;
        }
        if (r == 0 && name->kind == TREE_KIND_WRITABLE) {
                upper_fd = openat(fd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (upper_fd < 0)
                        r = error_origin(negative_errno());
        }
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = upper_fd >= 0 ? upper_fd : fd,
                .keep_fd = -1,
                .run = requests_measure_in_jail,
        };
        if (r == 0)
                r = jail_run(&spec, REQUESTS_MEASURE_TIMEOUT, &report);
        if (r)
                return tree_fail_errno(edge_fd, request, "measuring", name->name, r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "measuring", name->name, &report);
        const TreeMeasured reply = {.bytes = report.bytes, .inodes = report.inodes};
        r = hand_reply(edge_fd, request, &reply, NULL, 0);
        return r ? fold(r) : 0;
}

/* ---- list, sync ----------------------------------------------------------------------------------------------------------- */

int on_tree_list(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeList *list = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        _cleanup_free_ TreeListed *listed = NULL;
        int r;

        if (!trees_kind_is_valid(list->kind))
                return tree_refuse(edge_fd, request, "it names no kind of tree");
        listed = calloc(1, sizeof(*listed));
        r = listed ? trees_open(&trees, hand_config(tree->hand)) : error_origin(-ENOMEM);
        if (r == 0)
                r = trees_list(&trees, list, listed);
        if (r)
                return tree_fail_errno(edge_fd, request, "listing", trees_kind_name(list->kind), r);
        r = hand_reply(edge_fd, request, listed, NULL, 0);
        return r ? fold(r) : 0;
}

/* syncfs(2) cannot be interrupted, so a child does it: a disk that hangs holds up that child, not the answer. */
static int requests_sync_start(const Trees *trees, pid_t *ret_pid, int *ret_fd)
{
        _cleanup_fd_ int read_fd = -1, write_fd = -1;
        int fds[2];
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_origin(negative_errno());
        read_fd = fds[0];
        write_fd = fds[1];
        pid = fork();
        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                (void)fd_close(read_fd);
                _exit(syncfs(trees->kind_fds[TREE_KIND_LAYER]) < 0 ? 1 : 0);
        }
        *ret_pid = pid;
        *ret_fd = TAKE_FD(read_fd);
        return 0;
}

int on_tree_sync(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        _cleanup_fd_ int fd = -1;
        pid_t pid = 0;
        int r, status;

        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = requests_sync_start(&trees, &pid, &fd);
        if (r)
                return tree_fail_errno(edge_fd, request, "writing", "the layer store to disk", r);
        struct pollfd ended = {.fd = fd, .events = 0};
        do
                r = poll(&ended, 1, REQUESTS_SYNC_TIMEOUT_MSEC);
        while (r < 0 && errno == EINTR);
        if (r <= 0) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_DEADLINE_EXCEEDED,
                              "writing the layer store to disk took more than %d seconds; is the disk healthy?",
                              REQUESTS_SYNC_TIMEOUT_MSEC / 1000);
                return r ? fold(r) : 0;
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return tree_fail_errno(edge_fd, request, "writing", "the layer store to disk", error_origin(-EIO));
        r = hand_reply(edge_fd, request, NULL, NULL, 0);
        return r ? fold(r) : 0;
}
