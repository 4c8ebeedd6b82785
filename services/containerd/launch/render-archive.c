/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#include "services/containerd/launch/render-archive.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "ipc/tree-stream.h"
#include "lib/clock.h"
#include "lib/strings.h"
#include "lib/tar-header.h"
#include "services/containerd/launch/path-clean.h"

#define RENDER_ARCHIVE_PIECE 65536
#define RENDER_ARCHIVE_WAIT_MSEC 60000 /* of one poll() */
#define RENDER_ARCHIVE_DELETED_MAX (16 * 1024 * 1024)
#define RENDER_ARCHIVE_STREAM_MAX (UINT64_C(1) << 40)

static int render_archive_put(const RenderArchive *archive, uint64_t at, const void *bytes, size_t n)
{
        const uint8_t *from = bytes;

        while (n > 0) {
                ssize_t written = pwrite(archive->fd, from, n, (off_t)at);

                if (written < 0 && errno == EINTR)
                        continue;
                if (written <= 0)
                        return written < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) ? RENDER_E_FULL : -EIO;
                from += written;
                at += (uint64_t)written;
                n -= (size_t)written;
        }
        return 0;
}

/* What is all zeros stays a hole: a file of holes costs a node no more than it cost before. */
static int render_archive_bytes(RenderArchive *archive, const uint8_t *bytes, size_t n)
{
        bool is_zero = n > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
        int r = is_zero ? 0 : render_archive_put(archive, archive->offset, bytes, n);

        archive->offset += n;
        return r;
}

static int render_archive_header(const RenderArchive *archive, uint64_t at, const char *name, char type, uint64_t size)
{
        uint8_t block[TAR_HEADER_BYTES];

        tar_header_write(block, &(TarHeader){.type = type, .name = name, .size = size, .mode = type == '5' ? 0700 : 0600,
                                             .mtime_sec = archive->now_nsec / 1000000000});
        return render_archive_put(archive, at, block, sizeof(block));
}

int render_archive_directory(RenderArchive *archive, const char *name)
{
        int r = render_archive_header(archive, archive->offset, name, '5', 0);

        archive->offset += TAR_HEADER_BYTES;
        return r;
}

/* The data is there from begin on: its header before it, and zeros behind it. */
static int render_archive_close(RenderArchive *archive, const char *name, uint64_t begin)
{
        uint64_t size = archive->offset - begin;

        archive->offset += tar_header_padding(size);
        return render_archive_header(archive, begin - TAR_HEADER_BYTES, name, '0', size);
}

static uint64_t render_archive_open(RenderArchive *archive)
{
        return archive->offset += TAR_HEADER_BYTES;
}

/* Until the stream says something; fd -1: a look only. A container may stand still all the while. */
static int render_archive_wait(const RenderArchive *archive, int stream_fd)
{
        for (;;) {
                struct pollfd waited[] = {{.fd = archive->parent_fd}, {.fd = stream_fd, .events = POLLIN}};
                uint64_t now = clock_monotonic_usec();

                if (now >= archive->deadline_usec)
                        return RENDER_E_LATE;
                int msec = (int)MIN2((archive->deadline_usec - now) / 1000 + 1, (uint64_t)RENDER_ARCHIVE_WAIT_MSEC);
                int n = poll(waited, ARRAY_SIZE(waited), stream_fd >= 0 ? msec : 0);
                if (n < 0 && errno != EINTR)
                        return -EIO;
                if (n > 0 && waited[0].revents)
                        return -EPIPE;
                if (n >= 0 && (stream_fd < 0 || waited[1].revents))
                        return 0;
        }
}

int render_archive_file(RenderArchive *archive, const char *name, int fd)
{
        uint64_t begin = render_archive_open(archive);
        _cleanup_free_ uint8_t *piece = malloc(RENDER_ARCHIVE_PIECE);
        int r = piece ? 0 : -ENOMEM;

        while (r == 0 && (r = render_archive_wait(archive, -1)) == 0) {
                ssize_t n = read(fd, piece, RENDER_ARCHIVE_PIECE);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        r = n < 0 ? -EIO : 0;
                        break;
                }
                r = render_archive_bytes(archive, piece, (size_t)n);
        }
        return r ? r : render_archive_close(archive, name, begin);
}

int render_archive_json(RenderArchive *archive, const char *name, const json_t *json)
{
        uint64_t begin = render_archive_open(archive);
        _cleanup_free_ char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
        int r = text ? render_archive_bytes(archive, (const uint8_t *)text, strlen(text)) : -ENOMEM;

        return r ? r : render_archive_close(archive, name, begin);
}

int render_archive_end(RenderArchive *archive)
{
        archive->offset += 2 * TAR_HEADER_BYTES;
        if (ftruncate(archive->fd, (off_t)archive->offset) < 0)
                return errno == ENOSPC ? RENDER_E_FULL : -EIO;
        return 0;
}

/* ---- the stream ---- */

static int render_archive_deleted(Render *render, json_t *deleted, size_t *n_deleted, char *path, size_t n)
{
        *n_deleted += n;
        if (*n_deleted > RENDER_ARCHIVE_DELETED_MAX)
                return render_refuse(render, "the container has deleted files with more than %d bytes of names", RENDER_ARCHIVE_DELETED_MAX);
        json_t *text = json_stringn(path, n);
        if (!text) { /* JSON has no word for what is not UTF-8 */
                for (size_t i = 0; i < n; i++)
                        path[i] = path[i] & 0x80 ? '?' : path[i];
                text = json_stringn(path, n);
        }
        return json_array_append_new(deleted, text) < 0 ? -ENOMEM : 0;
}

/* One packet. *ret_ended: it was the last one. */
static int render_archive_packet(RenderArchive *archive, Render *render, const uint8_t *packet, size_t n, json_t *deleted, size_t *n_deleted,
                                 bool *ret_ended)
{
        TreeStreamHeader header;
        char text[512];

        if (n < sizeof(header))
                return render_refuse(render, "what the container changed was not told to its end; try again");
        memcpy(&header, packet, sizeof(header));
        packet += sizeof(header);
        n -= sizeof(header);
        if (header.length != n)
                return render_refuse(render, "what the container changed was told wrongly");
        switch (header.kind) {
        case TREE_STREAM_FILES:
                if (archive->offset + n > RENDER_ARCHIVE_STREAM_MAX)
                        return RENDER_E_FULL;
                return render_archive_bytes(archive, packet, n);
        case TREE_STREAM_DELETED:
                return render_archive_deleted(render, deleted, n_deleted, (char *)(uintptr_t)packet, n);
        case TREE_STREAM_FAILED:
                str_printable(text, sizeof(text), packet, n);
                return render_refuse(render, "its files: %s", text);
        case TREE_STREAM_END:
                *ret_ended = true;
                return 0;
        default:
                return render_refuse(render, "what the container changed was told wrongly");
        }
}

int render_archive_stream(RenderArchive *archive, Render *render, int stream_fd)
{
        _cleanup_free_ uint8_t *packet = malloc(sizeof(TreeStreamHeader) + TREE_STREAM_MAX);
        uint64_t begin = render_archive_open(archive);
        json_t *deleted = json_array();
        size_t n_deleted = 0;
        bool ended = false;
        int r = packet && deleted ? 0 : -ENOMEM;

        if (r == 0 && send(stream_fd, "g", 1, MSG_NOSIGNAL) != 1)
                r = render_refuse(render, "nobody tells what the container changed; try again");
        while (r == 0 && !ended && (r = render_archive_wait(archive, stream_fd)) == 0) {
                ssize_t n = recv(stream_fd, packet, sizeof(TreeStreamHeader) + TREE_STREAM_MAX, 0);

                if (n < 0 && errno == EINTR)
                        continue;
                r = render_archive_packet(archive, render, packet, n > 0 ? (size_t)n : 0, deleted, &n_deleted, &ended);
        }
        if (r == 0)
                r = render_archive_close(archive, "rootfs-diff.tar", begin);
        if (r == 0 && json_array_size(deleted) > 0)
                r = render_archive_json(archive, "deleted.files", deleted);
        json_decref(deleted);
        return r;
}

/* ---- documents ---- */

/* As JSON has times: RFC 3339. */
static void render_archive_time(char to[48], int64_t nsec)
{
        time_t seconds = (time_t)(nsec / 1000000000);
        struct tm tm = {0};
        size_t n = gmtime_r(&seconds, &tm) ? strftime(to, 48, "%Y-%m-%dT%H:%M:%S", &tm) : 0;

        (void)snprintf(to + n, 48 - n, ".%09lldZ", (long long)(nsec % 1000000000));
}

json_t *render_archive_config(const Bulkhead__RuntimeSpec__CheckpointSpec *spec, const char *container_id, int64_t now_nsec)
{
        char created[48], now[48];

        render_archive_time(created, spec->created_nsec);
        render_archive_time(now, now_nsec);
        return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "id", container_id, "name", spec->name, "rootfsImageName", spec->image,
                         "rootfsImageRef", spec->image_ref, "runtime", spec->runtime, "createdTime", created, "checkpointedTime", now,
                         "restoredTime", "0001-01-01T00:00:00Z", "restored", 0);
}

json_t *render_archive_status(const Bulkhead__RuntimeSpec__CheckpointSpec *spec)
{
        return json_pack("{s:I,s:I,s:i,s:i,s:i,s:s,s:s}", "CreatedAt", (json_int_t)spec->created_nsec, "StartedAt",
                         (json_int_t)spec->started_nsec, "FinishedAt", 0, "ExitCode", 0, "Pid", (int)spec->pid, "Reason", "", "Message", "");
}

/* ---- before and after the dump ---- */

int render_checkpoint(Render *render, const Permit *permit, const Runtime__V1__CheckpointContainerRequest *request,
                      char location[RENDER_PATH_MAX])
{
        if (str_is_empty(request->container_id) || !str_has_prefix(permit->pod_id, request->container_id))
                return render_forbid(render, "container_id %.64s: the permit is for container %s", request->container_id, permit->pod_id);
        if (!path_clean(location, request->location) || str_equal(location, "/") || str_has_suffix(request->location, "/"))
                return render_refuse(render, "location \"%.200s\": it must be the absolute path of a file, without \"..\"", request->location);
        return 0;
}

int render_checkpoint_why(Render *render, const char *log, size_t n)
{
        const char *last = NULL;
        size_t n_last = 0;
        char text[400];

        for (size_t at = 0; at < n;) {
                const char *line = log + at;
                const char *end = memchr(line, '\n', n - at);
                size_t length = end ? (size_t)(end - line) : n - at;

                if (memmem(line, length, "Error", 5)) {
                        last = line;
                        n_last = length;
                }
                at += length + 1;
        }
        if (!last)
                return render_refuse(render, "CRIU's log names no error");
        str_printable(text, sizeof(text), last, n_last);
        (void)render_refuse(render, "CRIU: %s", text);
        return memmem(last, n_last, "No space left", 13) ? RENDER_E_FULL : RENDER_E_REFUSED;
}
