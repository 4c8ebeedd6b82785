/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/copy.h"
#include "lib/error.h"
#include "services/imaged/tree/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define COPY_PIECE_BYTES (1024 * 1024)
/* Owners beyond what a user namespace of a pod maps become its nobody. */
#define COPY_USERNS_IDS 65536
#define COPY_NOBODY 65534

typedef struct Copy {
        CopySpec *spec;
        Report *report;
} Copy;

static int copy_errno(Copy *copy, const char *what, const char *name)
{
        return report_errno(copy->report, errno, what, name);
}

static uint32_t copy_owner(uint32_t owner_id, uint32_t id)
{
        if (owner_id == 0)
                return id;
        return owner_id + (id < COPY_USERNS_IDS ? id : COPY_NOBODY);
}

bool copy_xattr_is_kept(const char *name)
{
        return str_equal(name, "security.capability") ||
               (str_has_prefix(name, "user.") && !str_has_prefix(name, "user.overlay."));
}

static int copy_xattrs(int from_fd, int to_fd, const char *name, Report *report)
{
        _cleanup_free_ char *names = NULL, *value = NULL;
        ssize_t n_names = flistxattr(from_fd, NULL, 0);

        if (n_names <= 0)
                return n_names == 0 || errno == EOPNOTSUPP ? 0 : report_errno(report, errno, "reading the attributes of", name);
        names = malloc((size_t)n_names);
        value = malloc(XATTR_SIZE_MAX);
        n_names = names && value ? flistxattr(from_fd, names, (size_t)n_names) : -1;
        if (n_names < 0)
                return report_errno(report, errno, "reading the attributes of", name);
        for (ssize_t at = 0; at < n_names; at += (ssize_t)strlen(names + at) + 1) {
                ssize_t n;

                if (!copy_xattr_is_kept(names + at))
                        continue;
                n = fgetxattr(from_fd, names + at, value, XATTR_SIZE_MAX);
                if (n < 0 || fsetxattr(to_fd, names + at, value, (size_t)n, 0) < 0)
                        return report_errno(report, errno, "copying an attribute of", name);
        }
        return 0;
}

int copy_attributes(int from_fd, int to_fd, uint32_t owner_id, const char *name, Report *report)
{
        struct timespec times[2];
        struct stat st;
        int r;

        if (fstat(from_fd, &st) < 0)
                return report_errno(report, errno, "reading", name);
        if (fchown(to_fd, copy_owner(owner_id, st.st_uid), copy_owner(owner_id, st.st_gid)) < 0 ||
            fchmod(to_fd, st.st_mode & 07777) < 0)
                return report_errno(report, errno, "setting owner and mode of", name);
        r = copy_xattrs(from_fd, to_fd, name, report);
        if (r)
                return r;
        times[0] = st.st_atim;
        times[1] = st.st_mtim;
        return futimens(to_fd, times) < 0 ? report_errno(report, errno, "setting the time of", name) : 0;
}

static int copy_file(Copy *copy, int from_dir, int to_dir, const char *name)
{
        _cleanup_fd_ int from_fd = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        _cleanup_fd_ int to_fd = -1;
        struct stat st;

        if (from_fd < 0 || fstat(from_fd, &st) < 0)
                return copy_errno(copy, "opening", name);
        copy->spec->n_bytes += (uint64_t)st.st_blocks * 512;
        if (copy->spec->n_bytes > COPY_BYTES_MAX)
                return report_fail(copy->report, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "the image has more than 16 GiB in its volumes");
        to_fd = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to_fd < 0)
                return copy_errno(copy, "making", name);
        /* Holes stay holes: zeros of any length cost nothing in a layer either. */
        for (off_t at = 0; at < st.st_size;) {
                off_t data = lseek(from_fd, at, SEEK_DATA), hole;

                if (data < 0 && errno == ENXIO)
                        break;
                hole = data < 0 ? -1 : lseek(from_fd, data, SEEK_HOLE);
                if (data < 0 || hole < 0 || lseek(to_fd, data, SEEK_SET) < 0 || lseek(from_fd, data, SEEK_SET) < 0)
                        return copy_errno(copy, "copying", name);
                for (off_t left = hole - data; left > 0;) {
                        ssize_t n = sendfile(to_fd, from_fd, NULL, (size_t)MIN2(left, COPY_PIECE_BYTES));

                        if (n < 0 && errno == EINTR)
                                continue;
                        if (n < 0)
                                return copy_errno(copy, "copying", name);
                        if (n == 0)
                                break;
                        left -= n;
                }
                at = hole;
        }
        if (ftruncate(to_fd, st.st_size) < 0)
                return copy_errno(copy, "copying", name);
        return copy_attributes(from_fd, to_fd, copy->spec->owner_id, name, copy->report);
}

static int copy_symlink(Copy *copy, int from_dir, int to_dir, const char *name, const struct stat *st)
{
        char target[PATH_BYTES];
        ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);

        if (n < 0)
                return copy_errno(copy, "reading", name);
        target[n] = 0;
        if (symlinkat(target, to_dir, name) < 0 ||
            fchownat(to_dir, name, copy_owner(copy->spec->owner_id, st->st_uid), copy_owner(copy->spec->owner_id, st->st_gid), AT_SYMLINK_NOFOLLOW) < 0)
                return copy_errno(copy, "making", name);
        return 0;
}

static int copy_fifo(Copy *copy, int to_dir, const char *name, const struct stat *st)
{
        if (mknodat(to_dir, name, S_IFIFO | (st->st_mode & 0777), 0) < 0 ||
            fchownat(to_dir, name, copy_owner(copy->spec->owner_id, st->st_uid), copy_owner(copy->spec->owner_id, st->st_gid), AT_SYMLINK_NOFOLLOW) < 0)
                return copy_errno(copy, "making", name);
        return 0;
}

static int copy_content(Copy *copy, int from_fd, int to_fd, unsigned depth);

static int copy_subdirectory(Copy *copy, int from_dir, int to_dir, const char *name, unsigned depth)
{
        _cleanup_fd_ int from_fd = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_fd_ int to_fd = -1;

        if (from_fd < 0 || mkdirat(to_dir, name, 0700) < 0)
                return copy_errno(copy, "making", name);
        to_fd = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (to_fd < 0)
                return copy_errno(copy, "making", name);
        return copy_content(copy, from_fd, to_fd, depth);
}

static int copy_entry(Copy *copy, int from_dir, int to_dir, const char *name, unsigned depth)
{
        struct stat st;

        if (++copy->spec->n_entries > COPY_ENTRIES_MAX)
                return report_fail(copy->report, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                   "the image has more than a million files in its volumes");
        if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return copy_errno(copy, "reading", name);
        switch (st.st_mode & S_IFMT) {
        case S_IFREG:
                return copy_file(copy, from_dir, to_dir, name);
        case S_IFDIR:
                return copy_subdirectory(copy, from_dir, to_dir, name, depth);
        case S_IFLNK:
                return copy_symlink(copy, from_dir, to_dir, name, &st);
        case S_IFIFO:
                return copy_fifo(copy, to_dir, name, &st);
        default:
                return 0; /* layers have nothing else */
        }
}

/* Content first, then what the directory is: a directory's time changes with what is made in it. */
static int copy_content(Copy *copy, int from_fd, int to_fd, unsigned depth)
{
        int list_fd = openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = 0;

        if (depth > PATH_DEPTH_MAX) {
                (void)fd_close(list_fd);
                return report_fail(copy->report, GRPC_STATUS_INVALID_ARGUMENT, "a volume of the image is too deep");
        }
        DIR *dir = list_fd < 0 ? NULL : fdopendir(list_fd);
        if (!dir) {
                (void)fd_close(list_fd);
                return copy_errno(copy, "listing", "a directory of a volume");
        }
        while (r == 0) {
                errno = 0;
                const struct dirent *entry = readdir(dir);

                if (!entry && errno)
                        r = copy_errno(copy, "listing", "a directory of a volume");
                if (!entry)
                        break;
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        r = copy_entry(copy, from_fd, to_fd, entry->d_name, depth + 1);
        }
        (void)closedir(dir);
        if (r)
                return r;
        return copy_attributes(from_fd, to_fd, copy->spec->owner_id, "a directory of a volume", copy->report);
}

int copy_volume(int image_fd, const char *path, int to_fd, CopySpec *spec, Report *report)
{
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };
        Copy copy = {.spec = spec, .report = report};
        _cleanup_fd_ int from_fd = (int)syscall(SYS_openat2, image_fd, path, &how, sizeof(how));

        if (from_fd < 0) {
                if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
                        return 0;
                return copy_errno(&copy, "opening the image's volume", path);
        }
        return copy_content(&copy, from_fd, to_fd, 1);
}
