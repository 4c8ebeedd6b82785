/* SPDX-License-Identifier: Apache-2.0 */

/* Archives that an administrator put into <state_dir>/import: extracted into a tree of plain files, which is read file by file. */

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/tree.h"
#include "services/imaged/tree/unpack.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define REQUESTS_OPEN_TIMEOUT (30 * USEC_PER_SEC)
#define REQUESTS_PIPE_BYTES (1024 * 1024)

/* ---- import ---------------------------------------------------------------------------------------------------------------- */

/* A file directly in the import directory. Root wrote it, so a symlink there is root's wish too, but none is followed: the
 * directory is all that this process can see. */
static int requests_open_import(const Tree *tree, const char *file, int *ret_fd)
{
        struct open_how how = {
                .flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_fd_ int dir_fd = -1, fd = -1;
        char path[CONFIG_PATH_MAX + 16];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/import", hand_config(tree->hand)->state_dir);
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir_fd < 0)
                return error_origin(negative_errno());
        fd = (int)syscall(SYS_openat2, dir_fd, file, &how, sizeof(how));
        if (fd < 0 || fstat(fd, &st) < 0)
                return errno == ENOENT || errno == ELOOP ? TREES_E_NOT_FOUND : error_origin(negative_errno());
        if (!S_ISREG(st.st_mode))
                return TREES_E_NOT_FOUND;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int requests_extract_import(const Tree *tree, const Trees *trees, TreesStage *stage, int blob_fd, int edge_fd,
                                   const HandRequest *request)
{
        const TreeImport *import = tree_body(request);
        const UnpackSpec spec = {
                .config = hand_config(tree->hand),
                .sha256 = tree->sha256,
                .blob_fd = blob_fd,
                .tree_fd = stage->fd,
                .max_bytes = import->max_bytes,
                .extract = {.max_entries = import->max_entries, .max_bytes = import->max_bytes, .is_plain = true},
        };
        UnpackResult result;
        char shown[128];
        int r;

        str_printable(shown, sizeof(shown), import->file, strlen(import->file));
        r = unpack_run(&spec, &result);
        if (r)
                return tree_fail_errno(edge_fd, request, "extracting", shown, r);
        if (result.report.code)
                return tree_fail_report(edge_fd, request, "archive", shown, &result.report);
        r = trees_commit(trees, stage, import->id);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "extracting", shown, r);
        if (r == TREES_E_EXISTS) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_ALREADY_EXISTS, "import %s exists already", import->id);
                return r ? fold(r) : 0;
        }
        const TreeMeasured reply = {.bytes = result.report.bytes, .inodes = result.report.inodes};
        r = hand_reply(edge_fd, request, &reply, NULL, 0);
        return r ? fold(r) : 0;
}

/* Asked: a file name and an id. Rechecked: the name has one component and is a file in the import directory. At worst: an archive
 * that root put there is extracted under another id. */
int on_tree_import(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeImport *import = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        TreesStage stage = TREES_STAGE_NULL;
        _cleanup_fd_ int blob_fd = -1;
        char shown[128];
        int r;

        if (!tree_text_is_valid(import->id, sizeof(import->id)) || !id_is_valid(import->id))
                return tree_refuse(edge_fd, request, "it has no valid id");
        if (!tree_text_is_valid(import->file, sizeof(import->file)) || !import->file[0] || strchr(import->file, '/') ||
            import->file[0] == '.')
                return tree_refuse(edge_fd, request, "it does not name a file in the import directory");
        str_printable(shown, sizeof(shown), import->file, strlen(import->file));
        r = requests_open_import(tree, import->file, &blob_fd);
        if (r == TREES_E_NOT_FOUND) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_NOT_FOUND, "there is no file %s in %s/import; copy the archive there", shown,
                              hand_config(tree->hand)->state_dir);
                return r ? fold(r) : 0;
        }
        if (r == 0)
                r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_stage(&trees, TREE_KIND_IMPORT, import->id, 0700, &stage);
        if (r)
                return tree_fail_errno(edge_fd, request, "importing", shown, r);
        r = requests_extract_import(tree, &trees, &stage, blob_fd, edge_fd, request);
        tree_discard(&trees, &stage);
        return r ? fold(r) : 0;
}

/* ---- read ------------------------------------------------------------------------------------------------------------------ */

typedef struct RequestsRead {
        const char *path;
        uint64_t max_bytes;
        int to_fd;
        int file_fd; /* of the jail */
        uint64_t n_bytes;
} RequestsRead;

/* The archive's own symlinks work: `docker save` has one in place of each layer that occurs twice. */
static int requests_read_open(void *argument, Report *report)
{
        RequestsRead *reading = argument;
        struct open_how how = {
                .flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        _cleanup_fd_ int root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_fd_ int fd = -1;
        struct stat st;

        if (root_fd < 0)
                return report_errno(report, errno, "opening", "/");
        fd = (int)syscall(SYS_openat2, root_fd, reading->path, &how, sizeof(how));
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
                return report_fail(report, GRPC_STATUS_NOT_FOUND, "it is not in the archive");
        if (fd < 0 || fstat(fd, &st) < 0)
                return report_errno(report, errno, "opening", reading->path);
        if (!S_ISREG(st.st_mode))
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "it is not a file");
        if ((uint64_t)st.st_size > reading->max_bytes)
                return report_fail(report, GRPC_STATUS_INVALID_ARGUMENT, "it has %lld bytes, more than the %llu it may have",
                                   (long long)st.st_size, (unsigned long long)reading->max_bytes);
        report->bytes = reading->n_bytes = (uint64_t)st.st_size;
        reading->file_fd = TAKE_FD(fd);
        return 0;
}

static int requests_read_send(void *argument, Report *report)
{
        const RequestsRead *reading = argument;

        for (uint64_t left = reading->n_bytes; left > 0;) {
                ssize_t n = sendfile(reading->to_fd, reading->file_fd, NULL, (size_t)MIN2(left, REQUESTS_PIPE_BYTES));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return 0; /* the reader has enough, or sees a short file */
                left -= (uint64_t)n;
        }
        return 0;
}

static int requests_read_stream(const Tree *tree, int tree_fd, int edge_fd, const HandRequest *request)
{
        const TreeRead *asked = tree_body(request);
        _cleanup_fd_ int read_fd = -1, write_fd = -1;
        _cleanup_(jail_done) Jail jail = JAIL_NULL;
        TreeReadOpened reply;
        int fds[2], r;
        char shown[128];
        Report report;

        str_printable(shown, sizeof(shown), asked->path, strlen(asked->path));
        if (pipe2(fds, O_CLOEXEC) < 0)
                return tree_fail_errno(edge_fd, request, "reading", shown, error_origin(negative_errno()));
        read_fd = fds[0];
        write_fd = fds[1];
        (void)fcntl(write_fd, F_SETPIPE_SZ, REQUESTS_PIPE_BYTES);
        RequestsRead reading = {
                .path = asked->path,
                .max_bytes = (uint64_t)asked->max_bytes_mib << 20,
                .to_fd = write_fd,
                .file_fd = -1,
        };
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = tree_fd,
                .follows = true,
                .keep_fd = write_fd,
                .streams = true,
                .run = requests_read_open,
                .after = requests_read_send,
                .argument = &reading,
        };
        r = jail_start(&spec, &jail);
        write_fd = fd_close(write_fd);
        if (r == 0)
                r = jail_read_report(&jail, clock_monotonic_usec() + REQUESTS_OPEN_TIMEOUT, &report);
        if (r)
                return tree_fail_errno(edge_fd, request, "reading", shown, r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "file", shown, &report);
        reply.bytes = report.bytes;
        r = hand_reply(edge_fd, request, &reply, &read_fd, 1);
        if (r)
                return fold(r);
        /* As long as imaged holds the other end, and no longer. */
        read_fd = fd_close(read_fd);
        r = jail_wait(&jail, USEC_INFINITY);
        return r ? fold(r) : 0;
}

/* Asked: an import by id, a path in it. Rechecked: the id's grammar; the path is resolved in a jail that has that import alone. At
 * worst: another import is read, which root made available to imaged as well. */
int on_tree_read(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeRead *asked = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        _cleanup_fd_ int fd = -1;
        int r;

        if (!tree_text_is_valid(asked->id, sizeof(asked->id)) || !id_is_valid(asked->id) ||
            !tree_text_is_valid(asked->path, sizeof(asked->path)) || !asked->path[0])
                return tree_refuse(edge_fd, request, "it names no file of an import");
        r = trees_open(&trees, hand_config(tree->hand));
        if (r == 0)
                r = trees_find(&trees, TREE_KIND_IMPORT, asked->id, &fd);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "reading import", asked->id, r);
        if (r == TREES_E_NOT_FOUND) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_NOT_FOUND, "there is no import %s", asked->id);
                return r ? fold(r) : 0;
        }
        r = requests_read_stream(tree, fd, edge_fd, request);
        return r ? fold(r) : 0;
}
