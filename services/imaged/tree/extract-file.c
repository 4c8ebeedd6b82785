/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "services/imaged/tree/extract-private.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define EXTRACT_HOLE_BYTES (64 * 1024) /* zeros of this length are left out of a file */

/* Whether an attribute of the archive is set: what programs in the container use. Labels, signatures and ACLs belong to the
 * host's policy, trusted.* and *.overlay.* to overlayfs (a layer could hide or redirect what others hold). */
static bool extract_xattr_is_kept(const char *name)
{
        return str_equal(name, "security.capability") ||
               (str_has_prefix(name, "user.") && !str_has_prefix(name, "user.overlay."));
}

int extract_xattrs(Extract *extract, int fd, const TarEntry *entry)
{
        for (size_t i = 0; i < entry->n_xattrs; i++) {
                const TarXattr *xattr = &entry->xattrs[i];

                if (!extract_xattr_is_kept(xattr->name))
                        continue;
                if (fsetxattr(fd, xattr->name, xattr->value, xattr->n_value, 0) < 0 &&
                    !(errno == EOPNOTSUPP && str_has_prefix(xattr->name, "user.")))
                        return extract_errno(extract, "setting an extended attribute of");
        }
        return 0;
}

/* Owner before mode and capability, which a change of owner takes away; the time last. */
static int extract_file_metadata(Extract *extract, int fd, const TarEntry *entry)
{
        const struct timespec times[2] = {
                {.tv_sec = entry->mtime_sec, .tv_nsec = entry->mtime_nsec},
                {.tv_sec = entry->mtime_sec, .tv_nsec = entry->mtime_nsec},
        };
        int r;

        if (extract->spec->is_plain)
                return 0;
        if ((entry->uid != 0 || entry->gid != 0) && fchown(fd, entry->uid, entry->gid) < 0)
                return extract_errno(extract, "giving an owner to");
        if ((entry->mode & 07000) != 0 && fchmod(fd, entry->mode) < 0)
                return extract_errno(extract, "setting the mode of");
        r = extract_xattrs(extract, fd, entry);
        if (r)
                return r;
        if (futimens(fd, times) < 0)
                return extract_errno(extract, "setting the time of");
        return 0;
}

static bool extract_is_zero(const uint8_t *bytes, size_t n)
{
        return bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0;
}

static int extract_write(Extract *extract, int fd, const uint8_t *bytes, size_t n)
{
        while (n > 0) {
                ssize_t put = write(fd, bytes, n);

                if (put < 0 && errno == EINTR)
                        continue;
                if (put < 0)
                        return extract_errno(extract, "writing");
                bytes += put;
                n -= (size_t)put;
        }
        return 0;
}

/* Long runs of zeros (lastlog files, bombs) become holes: they cost no disk. */
static int extract_piece(Extract *extract, int fd, const uint8_t *bytes, size_t n, bool *ret_ends_in_hole)
{
        size_t begin = 0, at = 0;
        int r;

        while (at < n) {
                size_t length = MIN2(n - at, EXTRACT_HOLE_BYTES);

                *ret_ends_in_hole = length == EXTRACT_HOLE_BYTES && extract_is_zero(bytes + at, length);
                if (*ret_ends_in_hole) {
                        r = extract_write(extract, fd, bytes + begin, at - begin);
                        if (r)
                                return r;
                        if (lseek(fd, (off_t)length, SEEK_CUR) < 0)
                                return extract_errno(extract, "writing");
                        begin = at + length;
                }
                at += length;
        }
        return extract_write(extract, fd, bytes + begin, n - begin);
}

static int extract_data(Extract *extract, int fd, const TarEntry *entry)
{
        bool ends_in_hole = false;

        extract->n_bytes += entry->size;
        if (entry->size > extract->spec->max_bytes || extract->n_bytes > extract->spec->max_bytes)
                return extract_refuse(extract, "with it the layer is larger than it may be");
        for (;;) {
                const uint8_t *bytes;
                size_t n;
                int r = tar_data(extract->reader, &bytes, &n);

                if (r > 0)
                        return extract_refuse(extract, tar_problem(extract->reader));
                if (r < 0)
                        return report_errno(extract->report, -r, "reading", extract->path);
                if (n == 0)
                        break;
                r = extract_piece(extract, fd, bytes, n, &ends_in_hole);
                if (r)
                        return r;
        }
        if (ends_in_hole && ftruncate(fd, (off_t)entry->size) < 0)
                return extract_errno(extract, "writing");
        return 0;
}

int extract_file(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        mode_t mode = extract->spec->is_plain ? 0600 : entry->mode & 0777;
        const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_fd_ int fd = -1;
        int r;

        fd = openat(dir_fd, name, flags, mode);
        if (fd < 0 && errno == EEXIST) {
                r = extract_replace(extract, dir_fd, name);
                if (r)
                        return r;
                fd = openat(dir_fd, name, flags, mode);
        }
        if (fd < 0)
                return extract_errno(extract, "making the file");
        r = extract_data(extract, fd, entry);
        if (r)
                return r;
        return extract_file_metadata(extract, fd, entry);
}
