/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/export.h"
#include "ipc/tree-stream.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/tar-header.h"
#include "services/imaged/tree/copy.h"
#include "services/imaged/tree/export-links.h"
#include "services/imaged/tree/path.h"
#include "services/imaged/tree/whiteout.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define EXPORT_OPEN (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define EXPORT_USERNS_IDS 65536 /* as copy.c maps them */
#define EXPORT_PAX_MAX (1024 * 1024)

typedef struct Export {
        const ExportSpec *spec;
        Report report;
        ExportLinks links;
        uint64_t n_bytes, n_entries;
        char path[PATH_BYTES]; /* of the entry that is told: relative, without a slash at either end */
        size_t n_path;
        char *pax; /* owned; the records before the next header */
        size_t n_pax;
        size_t n_packet; /* bytes of files that wait in packet */
        uint8_t packet[TREE_STREAM_MAX];
} Export;

static int export_errno(Export *export, const char *what)
{
        return report_errno(&export->report, errno, what, export->path);
}

static int export_send(Export *export, uint32_t kind, const void *bytes, size_t n)
{
        TreeStreamHeader header = {.kind = kind, .length = (uint32_t)n};
        struct iovec parts[] = {{.iov_base = &header, .iov_len = sizeof(header)}, {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = n > 0 ? 2 : 1};
        ssize_t sent;

        do
                sent = sendmsg(export->spec->to_fd, &message, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? export_errno(export, "telling of") : 0;
}

static int export_flush(Export *export)
{
        size_t n = export->n_packet;

        export->n_packet = 0;
        return n > 0 ? export_send(export, TREE_STREAM_FILES, export->packet, n) : 0;
}

static int export_bytes(Export *export, const void *bytes, size_t n)
{
        const uint8_t *from = bytes;
        int r = 0;

        while (r == 0 && n > 0) {
                size_t piece = MIN2(n, sizeof(export->packet) - export->n_packet);

                memcpy(export->packet + export->n_packet, from, piece);
                export->n_packet += piece;
                from += piece;
                n -= piece;
                if (export->n_packet == sizeof(export->packet))
                        r = export_flush(export);
        }
        return r;
}

static int export_zeros(Export *export, uint64_t n)
{
        static const uint8_t zeros[4096];
        int r = 0;

        for (; r == 0 && n > 0; n -= MIN2(n, sizeof(zeros)))
                r = export_bytes(export, zeros, (size_t)MIN2(n, sizeof(zeros)));
        return r;
}

/* ---- headers ---- */

/* "<length> <key>=<value>\n", where the length counts itself (POSIX.1-2017, pax). */
static int export_pax(Export *export, const char *prefix, const char *key, const void *value, size_t n_value)
{
        size_t n = strlen(prefix) + strlen(key) + n_value + 3, digits = 1, room = 10;
        char number[24];

        while (n + digits >= room) {
                digits++;
                room *= 10;
        }
        if (export->n_pax + n + digits > EXPORT_PAX_MAX) {
                errno = E2BIG;
                return export_errno(export, "telling the attributes of");
        }
        char *more = realloc(export->pax, export->n_pax + n + digits + 1);
        if (!more)
                return export_errno(export, "telling of");
        export->pax = more;
        (void)snprintf(number, sizeof(number), "%zu ", n + digits);
        size_t n_number = strlen(number), at = export->n_pax;
        memcpy(more + at, number, n_number);
        at += n_number;
        memcpy(more + at, prefix, strlen(prefix));
        at += strlen(prefix);
        memcpy(more + at, key, strlen(key));
        at += strlen(key);
        more[at++] = '=';
        memcpy(more + at, value, n_value);
        at += n_value;
        more[at++] = '\n';
        export->n_pax = at;
        return 0;
}

static uint32_t export_owner(const Export *export, uint32_t id)
{
        uint32_t first = export->spec->owner_id;

        return id >= first && id - first < EXPORT_USERNS_IDS ? id - first : id;
}

/* The pax header, if it needs one, and the header. */
static int export_header(Export *export, const struct stat *st, char type, const char *link, uint64_t size)
{
        char name[PATH_BYTES + 1];
        uint8_t block[TAR_HEADER_BYTES];
        int n = snprintf(name, sizeof(name), "%s%s", export->path, type == '5' ? "/" : "");
        int r = 0;

        if (n > TAR_HEADER_NAME_MAX)
                r = export_pax(export, "", "path", name, (size_t)n);
        if (r == 0 && strlen(link) > TAR_HEADER_NAME_MAX)
                r = export_pax(export, "", "linkpath", link, strlen(link));
        if (r == 0 && export->n_pax > 0) {
                tar_header_write(block, &(TarHeader){.type = 'x', .name = "PaxHeader", .size = export->n_pax, .mode = 0600});
                r = export_bytes(export, block, sizeof(block));
                if (r == 0)
                        r = export_bytes(export, export->pax, export->n_pax);
                if (r == 0)
                        r = export_zeros(export, tar_header_padding(export->n_pax));
        }
        export->n_pax = 0;
        const TarHeader header = {
                .type = type,
                .name = name,
                .link = link,
                .size = size,
                .mode = st->st_mode & 07777,
                .uid = export_owner(export, st->st_uid),
                .gid = export_owner(export, st->st_gid),
                .device_major = type == '3' || type == '4' ? major(st->st_rdev) : 0,
                .device_minor = type == '3' || type == '4' ? minor(st->st_rdev) : 0,
                .mtime_sec = st->st_mtim.tv_sec,
        };
        tar_header_write(block, &header);
        return r ? r : export_bytes(export, block, sizeof(block));
}

/* Those that a layer can have; overlayfs's own are not the container's. */
static int export_xattrs(Export *export, int fd)
{
        _cleanup_free_ char *names = NULL, *value = NULL;
        ssize_t n_names = flistxattr(fd, NULL, 0);
        int r = 0;

        if (n_names <= 0)
                return n_names == 0 || errno == EOPNOTSUPP ? 0 : export_errno(export, "reading the attributes of");
        names = malloc((size_t)n_names);
        value = malloc(XATTR_SIZE_MAX);
        n_names = names && value ? flistxattr(fd, names, (size_t)n_names) : -1;
        if (n_names < 0)
                return export_errno(export, "reading the attributes of");
        for (ssize_t at = 0; r == 0 && at < n_names; at += (ssize_t)strlen(names + at) + 1) {
                if (!copy_xattr_is_kept(names + at))
                        continue;
                ssize_t n = fgetxattr(fd, names + at, value, XATTR_SIZE_MAX);
                r = n < 0 ? export_errno(export, "reading an attribute of")
                          : export_pax(export, "SCHILY.xattr.", names + at, value, (size_t)n);
        }
        return r;
}

/* ---- entries ---- */

/* As many bytes as its header says, whatever becomes of it meanwhile. */
static int export_content(Export *export, int fd, uint64_t size)
{
        uint64_t left = size;
        int r = 0;

        while (r == 0 && left > 0) {
                size_t room = sizeof(export->packet) - export->n_packet;
                ssize_t n = read(fd, export->packet + export->n_packet, (size_t)MIN2(left, room));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return export_errno(export, "reading");
                if (n == 0)
                        break;
                export->n_packet += (size_t)n;
                left -= (uint64_t)n;
                if (export->n_packet == sizeof(export->packet))
                        r = export_flush(export);
        }
        return r ? r : export_zeros(export, left + tar_header_padding(size));
}

static int export_file(Export *export, int dir_fd, const char *name)
{
        _cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        const char *first = NULL;
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return export_errno(export, "opening");
        if (!S_ISREG(st.st_mode)) {
                errno = ESTALE;
                return export_errno(export, "opening");
        }
        r = st.st_nlink > 1 ? export_links_see(&export->links, st.st_ino, export->path, &first) : 0;
        if (r < 0)
                return export_errno(export, "noting the links of");
        if (first)
                return export_header(export, &st, '1', first, 0);
        export->n_bytes += (uint64_t)st.st_size;
        if (export->n_bytes > EXPORT_BYTES_MAX)
                return report_fail(&export->report, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "the container's files have more than %llu GiB; remove what is not needed",
                                   (unsigned long long)(EXPORT_BYTES_MAX >> 30));
        r = export_xattrs(export, fd);
        if (r == 0)
                r = export_header(export, &st, '0', "", (uint64_t)st.st_size);
        return r ? r : export_content(export, fd, (uint64_t)st.st_size);
}

static int export_symlink(Export *export, int dir_fd, const char *name, const struct stat *st)
{
        char target[PATH_BYTES];
        ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);

        if (n < 0)
                return export_errno(export, "reading");
        target[n] = 0;
        return export_header(export, st, '2', target, 0);
}

static int export_deleted(Export *export)
{
        char path[PATH_BYTES + 1];
        int n = snprintf(path, sizeof(path), "/%s", export->path);

        return export_send(export, TREE_STREAM_DELETED, path, (size_t)n);
}

/* Appends a component; false when it would be too long. *ret_before: what export_leave() takes. */
static bool export_enter(Export *export, const char *name, size_t *ret_before)
{
        size_t n = strlen(name);

        *ret_before = export->n_path;
        if (export->n_path + n + 2 > sizeof(export->path))
                return false;
        if (export->n_path > 0)
                export->path[export->n_path++] = '/';
        memcpy(export->path + export->n_path, name, n + 1);
        export->n_path += n;
        return true;
}

static void export_leave(Export *export, size_t before)
{
        export->n_path = before;
        export->path[before] = '\0';
}

static int export_too_deep(Export *export)
{
        return report_fail(&export->report, GRPC_STATUS_RESOURCE_EXHAUSTED,
                           "the container has a path of more than %d names or %d bytes; remove it", PATH_DEPTH_MAX, PATH_BYTES - 2);
}

static DIR *export_list(int fd)
{
        int list_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);

        if (!dir)
                (void)fd_close(list_fd);
        return dir;
}

/* The next name, NULL at the end; errno says whether it is one. */
static const char *export_next(DIR *dir)
{
        const struct dirent *entry;

        do {
                errno = 0;
                entry = readdir(dir);
        } while (entry && (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..")));
        return entry ? entry->d_name : NULL;
}

/* An opaque directory hides what the image has there, but for what the container has there of its own. */
static int export_hidden(Export *export, int image_fd, int fd)
{
        DIR *dir = export_list(image_fd);
        if (!dir)
                return export_errno(export, "listing the image's");
        int r = 0;
        while (r == 0) {
                const char *name = export_next(dir);
                struct stat st;
                size_t before;

                if (!name) {
                        r = errno ? export_errno(export, "listing the image's") : 0;
                        break;
                }
                if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        continue;
                r = export_enter(export, name, &before) ? export_deleted(export) : export_too_deep(export);
                export_leave(export, before);
        }
        (void)closedir(dir);
        return r;
}

static int export_entries(Export *export, int fd, int image_fd, unsigned depth);

/* image_fd: the same directory of the image, -1 if there is none. */
static int export_directory(Export *export, int dir_fd, int image_fd, const char *name, unsigned depth)
{
        _cleanup_fd_ int fd = openat(dir_fd, name, EXPORT_OPEN);
        _cleanup_fd_ int lower_fd = image_fd < 0 ? -1 : openat(image_fd, name, EXPORT_OPEN);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return export_errno(export, "opening");
        int opaque = whiteout_is_opaque(fd);
        int r = opaque < 0 ? export_errno(export, "reading the attributes of") : export_xattrs(export, fd);
        if (r == 0)
                r = export_header(export, &st, '5', "", 0);
        if (r == 0 && opaque && lower_fd >= 0)
                r = export_hidden(export, lower_fd, fd);
        if (opaque)
                lower_fd = fd_close(lower_fd);
        return r ? r : export_entries(export, fd, lower_fd, depth);
}

static int export_entry(Export *export, int dir_fd, int image_fd, const char *name, unsigned depth)
{
        struct stat st;

        if (++export->n_entries > EXPORT_ENTRIES_MAX)
                return report_fail(&export->report, GRPC_STATUS_RESOURCE_EXHAUSTED, "the container has more than %d files of its own",
                                   EXPORT_ENTRIES_MAX);
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return export_errno(export, "reading");
        if (whiteout_is(&st))
                return export_deleted(export);
        switch (st.st_mode & S_IFMT) {
        case S_IFREG:
                return export_file(export, dir_fd, name);
        case S_IFDIR:
                return export_directory(export, dir_fd, image_fd, name, depth);
        case S_IFLNK:
                return export_symlink(export, dir_fd, name, &st);
        case S_IFIFO:
                return export_header(export, &st, '6', "", 0);
        case S_IFCHR:
                return export_header(export, &st, '3', "", 0);
        case S_IFBLK:
                return export_header(export, &st, '4', "", 0);
        default:
                return 0; /* a socket is its listener's, and tar has no word for it */
        }
}

static int export_entries(Export *export, int fd, int image_fd, unsigned depth)
{
        if (depth > PATH_DEPTH_MAX)
                return export_too_deep(export);
        DIR *dir = export_list(fd);
        if (!dir)
                return export_errno(export, "listing");
        int r = 0;
        while (r == 0) {
                const char *name = export_next(dir);
                size_t before;

                if (!name) {
                        r = errno ? export_errno(export, "listing") : 0;
                        break;
                }
                r = export_enter(export, name, &before) ? export_entry(export, fd, image_fd, name, depth + 1)
                                                        : export_too_deep(export);
                export_leave(export, before);
        }
        (void)closedir(dir);
        return r;
}

int export_tell(const ExportSpec *spec)
{
        _cleanup_free_ Export *export = calloc(1, sizeof(*export));
        char go;
        int r;

        if (!export)
                return error_origin(-ENOMEM);
        export->spec = spec;
        do
                r = (int)recv(spec->to_fd, &go, 1, 0);
        while (r < 0 && errno == EINTR);
        if (r != 1) /* nobody wants it any more */
                return REPORT_E_FAILED;
        r = export_entries(export, spec->tree_fd, spec->image_fd, 0);
        if (r == 0)
                r = export_zeros(export, 2 * TAR_HEADER_BYTES);
        if (r == 0)
                r = export_flush(export);
        if (r == 0)
                r = export_send(export, TREE_STREAM_END, NULL, 0);
        else
                (void)export_send(export, TREE_STREAM_FAILED, export->report.text, strlen(export->report.text));
        export_links_done(&export->links);
        free(export->pax);
        return r;
}
