/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/tree/extract-private.h"
#include "lib/error.h"
#include "lib/strings.h"
#include "services/imaged/tree/remove.h"
#include "services/imaged/tree/whiteout.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define EXTRACT_PATHS_BYTES_MAX (64 * 1024 * 1024) /* of the paths of all directories */

static void extract_done(Extract *extract)
{
        parent_done(&extract->parent);
        parent_done(&extract->link_parent);
        free(extract->directories);
        free(extract->paths);
}

int extract_refuse(Extract *extract, const char *problem)
{
        char shown[256];

        str_printable(shown, sizeof(shown), extract->path, strlen(extract->path));
        return report_fail(extract->report, GRPC_STATUS_INVALID_ARGUMENT, "entry %llu \"%s\": %s",
                           (unsigned long long)extract->n_entries, shown, problem);
}

int extract_errno(Extract *extract, const char *what)
{
        return report_errno(extract->report, errno, what, extract->path);
}

static int extract_parent(Extract *extract, const char **ret_name, int *ret_fd)
{
        size_t n_parent;
        int r;

        *ret_name = path_split(extract->path, &n_parent);
        r = parent_open(&extract->parent, extract->path, n_parent, true, ret_fd);
        if (r > 0)
                return extract_refuse(extract, extract->parent.problem);
        return r < 0 ? report_errno(extract->report, -r, "making the parent of", extract->path) : 0;
}

int extract_replace(Extract *extract, int dir_fd, const char *name)
{
        RemoveFailure failure = {0};
        int r;

        /* It may be the directory that link_parent has open, or a symlink on the way to it. */
        parent_forget(&extract->link_parent);
        r = remove_entry(dir_fd, name, &failure);
        if (r)
                return report_errno(extract->report, r < 0 ? -r : failure.error, "replacing", extract->path);
        return 0;
}

static int extract_directory_later(Extract *extract, const TarEntry *entry, bool is_new)
{
        size_t n = strlen(extract->path) + 1;

        if (extract->n_directories == extract->room_directories) {
                size_t room = MAX2(extract->room_directories * 2, 64);
                ExtractDirectory *more = reallocarray(extract->directories, room, sizeof(*more));

                if (!more)
                        return extract_errno(extract, "keeping the time of");
                extract->directories = more;
                extract->room_directories = room;
        }
        if (extract->n_paths + n > EXTRACT_PATHS_BYTES_MAX)
                return extract_refuse(extract, "the layer has too many directories");
        if (extract->n_paths + n > extract->room_paths) {
                size_t room = MAX2(extract->room_paths * 2, extract->n_paths + n + 4096);
                char *more = realloc(extract->paths, room);

                if (!more)
                        return extract_errno(extract, "keeping the time of");
                extract->paths = more;
                extract->room_paths = room;
        }
        memcpy(extract->paths + extract->n_paths, extract->path, n);
        extract->directories[extract->n_directories++] = (ExtractDirectory){
                .path = extract->n_paths,
                .mtime_sec = entry->mtime_sec,
                .mtime_nsec = entry->mtime_nsec,
                .mode = entry->mode,
                .has_mode = (entry->mode & 02000) != 0 || !is_new,
        };
        extract->n_paths += n;
        return 0;
}

static int extract_directory_metadata(Extract *extract, int fd, const TarEntry *entry)
{
        int r;

        if (fchown(fd, entry->uid, entry->gid) < 0)
                return extract_errno(extract, "giving an owner to");
        if (fchmod(fd, entry->mode & ~02000u) < 0)
                return extract_errno(extract, "setting the mode of");
        r = whiteout_unmark_implicit(fd);
        if (r)
                return report_errno(extract->report, -r, "describing", extract->path);
        return extract_xattrs(extract, fd, entry);
}

static int extract_directory(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        mode_t mode = extract->spec->is_plain ? 0700 : entry->mode & 01777;
        bool is_new = true, is_opaque = false;
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        if (mkdirat(dir_fd, name, mode) < 0) {
                if (errno != EEXIST || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return extract_errno(extract, "making the directory");
                is_new = false;
                if (!S_ISDIR(st.st_mode)) {
                        is_opaque = whiteout_is(&st);
                        r = extract_replace(extract, dir_fd, name);
                        if (r)
                                return r;
                        if (mkdirat(dir_fd, name, mode) < 0)
                                return extract_errno(extract, "making the directory");
                }
        }
        if (extract->spec->is_plain)
                return 0;
        /* mkdirat() gave a new one everything already, in the usual case. */
        if (!is_new || entry->uid != 0 || entry->gid != 0 || entry->n_xattrs > 0) {
                fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return extract_errno(extract, "opening the directory");
                r = extract_directory_metadata(extract, fd, entry);
                if (r)
                        return r;
                if (is_opaque) {
                        r = whiteout_make_opaque(fd);
                        if (r)
                                return report_errno(extract->report, -r, "hiding what is below", extract->path);
                }
        }
        return extract_directory_later(extract, entry, is_new);
}

/* The entry that names the root itself: the root cannot be replaced, only described. */
static int extract_root(Extract *extract, const TarEntry *entry)
{
        int r;

        if (entry->type != TAR_TYPE_DIRECTORY)
                return extract_refuse(extract, "it names the root, and is not a directory");
        if (extract->spec->is_plain)
                return 0;
        r = extract_directory_metadata(extract, extract->root_fd, entry);
        if (r)
                return r;
        return extract_directory_later(extract, entry, false);
}

static int extract_path_metadata(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        const struct timespec times[2] = {
                {.tv_sec = entry->mtime_sec, .tv_nsec = entry->mtime_nsec},
                {.tv_sec = entry->mtime_sec, .tv_nsec = entry->mtime_nsec},
        };

        if (extract->spec->is_plain)
                return 0;
        if ((entry->uid != 0 || entry->gid != 0) &&
            fchownat(dir_fd, name, entry->uid, entry->gid, AT_SYMLINK_NOFOLLOW) < 0)
                return extract_errno(extract, "giving an owner to");
        if (utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return extract_errno(extract, "setting the time of");
        return 0;
}

static int extract_symlink(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        int r;

        if (!*entry->link)
                return extract_refuse(extract, "it is a symlink to nothing");
        if (symlinkat(entry->link, dir_fd, name) < 0) {
                if (errno != EEXIST)
                        return extract_errno(extract, "making the symlink");
                r = extract_replace(extract, dir_fd, name);
                if (r)
                        return r;
                if (symlinkat(entry->link, dir_fd, name) < 0)
                        return extract_errno(extract, "making the symlink");
        }
        return extract_path_metadata(extract, dir_fd, name, entry);
}

static int extract_fifo(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        mode_t mode = S_IFIFO | (entry->mode & 0777);
        int r;

        if (mknodat(dir_fd, name, mode, 0) < 0) {
                if (errno != EEXIST)
                        return extract_errno(extract, "making the fifo");
                r = extract_replace(extract, dir_fd, name);
                if (r)
                        return r;
                if (mknodat(dir_fd, name, mode, 0) < 0)
                        return extract_errno(extract, "making the fifo");
        }
        return extract_path_metadata(extract, dir_fd, name, entry);
}

/* The target was an entry of this archive already, and is a file: a link to anything else is an attempt. */
static int extract_link(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        const char *target, *problem = path_normalise(entry->link, extract->link);
        struct stat st, old;
        size_t n_parent;
        int target_fd, r;

        if (problem || !*extract->link)
                return extract_refuse(extract, "it is a hard link to what lies outside of the layer");
        target = path_split(extract->link, &n_parent);
        r = parent_open(&extract->link_parent, extract->link, n_parent, false, &target_fd);
        if (r > 0)
                return extract_refuse(extract, "it is a hard link to what is not in this layer");
        if (r < 0)
                return report_errno(extract->report, -r, "finding the target of", extract->path);
        if (fstatat(target_fd, target, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? extract_refuse(extract, "it is a hard link to what is not in this layer")
                                       : extract_errno(extract, "finding the target of");
        if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
                return extract_refuse(extract, "it is a hard link to what is not a file");
        if (linkat(target_fd, target, dir_fd, name, 0) == 0)
                return 0;
        if (errno != EEXIST)
                return extract_errno(extract, "making the hard link");
        if (fstatat(dir_fd, name, &old, AT_SYMLINK_NOFOLLOW) < 0)
                return extract_errno(extract, "making the hard link");
        if (old.st_ino == st.st_ino && old.st_dev == st.st_dev)
                return 0;
        if (S_ISDIR(old.st_mode))
                return extract_refuse(extract, "it is a hard link in the place of a directory");
        if (unlinkat(dir_fd, name, 0) < 0 || linkat(target_fd, target, dir_fd, name, 0) < 0)
                return extract_errno(extract, "making the hard link");
        /* What went may have been a symlink on the way to the target. */
        parent_forget(&extract->link_parent);
        return 0;
}

static int extract_whiteout_of(Extract *extract, int dir_fd, const char *name)
{
        _cleanup_fd_ int fd = -1;
        struct stat st;
        int r;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return extract_errno(extract, "making the whiteout");
                r = whiteout_make(dir_fd, name);
                return r ? report_errno(extract->report, -r, "making the whiteout", extract->path) : 0;
        }
        /* It says what happens to layers below. What this layer has under the name stays, and hides them too: anything but a
         * directory by itself. */
        if (!S_ISDIR(st.st_mode))
                return 0;
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return extract_errno(extract, "making the whiteout");
        r = whiteout_make_opaque(fd);
        return r ? report_errno(extract->report, -r, "making the whiteout", extract->path) : 0;
}

static int extract_opaque(Extract *extract, int dir_fd)
{
        _cleanup_fd_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (fd < 0)
                return extract_errno(extract, "making opaque the directory of");
        r = whiteout_make_opaque(fd);
        return r ? report_errno(extract->report, -r, "making opaque the directory of", extract->path) : 0;
}

static int extract_marker(Extract *extract, int dir_fd, const char *name)
{
        if (str_equal(name, WHITEOUT_OPAQUE)) {
                /* overlayfs does not look for the mark on a layer's root: whoever stacks the layers must know. */
                if (!strchr(extract->path, '/'))
                        extract->report->is_opaque = 1;
                return extract_opaque(extract, dir_fd);
        }
        if (str_has_prefix(name, WHITEOUT_META_PREFIX))
                return 0;
        name += strlen(WHITEOUT_PREFIX);
        if (!*name || str_equal(name, ".") || str_equal(name, ".."))
                return extract_refuse(extract, "it is a whiteout of no name");
        return extract_whiteout_of(extract, dir_fd, name);
}

static int extract_device(Extract *extract, int dir_fd, const char *name, const TarEntry *entry)
{
        if (entry->type == TAR_TYPE_CHARACTER && entry->device_major == 0 && entry->device_minor == 0)
                return extract_whiteout_of(extract, dir_fd, name);
        return extract_refuse(extract, "it is a device node: images may not carry any");
}

/* Old images carry /dev/null and its like. A container gets a /dev of its own, so nobody can miss them. */
static bool extract_is_left_out(const Extract *extract, const TarEntry *entry)
{
        return entry->type == TAR_TYPE_CHARACTER && str_has_prefix(extract->path, "dev/") &&
               !strchr(extract->path + strlen("dev/"), '/') && entry->device_major > 0 && entry->device_major <= 10 &&
               entry->device_minor < 256;
}

static bool extract_is_below_marker(const char *path, const char *name)
{
        const char *marker = str_has_prefix(path, WHITEOUT_PREFIX) ? path : strstr(path, "/" WHITEOUT_PREFIX);

        return marker && marker + 1 < name;
}

static int extract_entry(Extract *extract, const TarEntry *entry)
{
        const char *name, *problem;
        int dir_fd, r;

        extract->path[0] = 0;
        if (++extract->n_entries > extract->spec->max_entries)
                return extract_refuse(extract, "with it the archive has more entries than it may have");
        problem = path_normalise(entry->path, extract->path);
        if (problem)
                return extract_refuse(extract, problem);
        if (!extract->path[0])
                return extract_root(extract, entry);
        if (extract_is_left_out(extract, entry))
                return 0;
        r = extract_parent(extract, &name, &dir_fd);
        if (r)
                return r;
        if (extract->spec->is_plain) {
                if (entry->type == TAR_TYPE_CHARACTER || entry->type == TAR_TYPE_BLOCK || entry->type == TAR_TYPE_FIFO)
                        return extract_refuse(extract, "it is a special file");
        } else {
                if (extract_is_below_marker(extract->path, name))
                        return extract_refuse(extract, "it lies below a whiteout");
                if (str_has_prefix(name, WHITEOUT_PREFIX))
                        return extract_marker(extract, dir_fd, name);
        }
        switch (entry->type) {
        case TAR_TYPE_FILE:
                return extract_file(extract, dir_fd, name, entry);
        case TAR_TYPE_LINK:
                return extract_link(extract, dir_fd, name, entry);
        case TAR_TYPE_SYMLINK:
                return extract_symlink(extract, dir_fd, name, entry);
        case TAR_TYPE_CHARACTER:
        case TAR_TYPE_BLOCK:
                return extract_device(extract, dir_fd, name, entry);
        case TAR_TYPE_DIRECTORY:
                return extract_directory(extract, dir_fd, name, entry);
        case TAR_TYPE_FIFO:
                return extract_fifo(extract, dir_fd, name, entry);
        }
        return extract_refuse(extract, "it has an unknown type");
}

/* A directory may be gone or something else by now: then there is nothing to do. */
static int extract_directories_end(Extract *extract)
{
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        };

        for (size_t i = 0; i < extract->n_directories; i++) {
                const ExtractDirectory *directory = &extract->directories[i];
                const char *path = extract->paths + directory->path;
                const struct timespec times[2] = {
                        {.tv_sec = directory->mtime_sec, .tv_nsec = directory->mtime_nsec},
                        {.tv_sec = directory->mtime_sec, .tv_nsec = directory->mtime_nsec},
                };
                _cleanup_fd_ int fd = (int)syscall(SYS_openat2, extract->root_fd, *path ? path : ".", &how, sizeof(how));

                if (fd < 0)
                        continue;
                if ((directory->has_mode && fchmod(fd, directory->mode) < 0) || futimens(fd, times) < 0)
                        return report_errno(extract->report, errno, "setting the time of", path);
        }
        return 0;
}

static int extract_entries(Extract *extract)
{
        for (;;) {
                const TarEntry *entry;
                int r = tar_next(extract->reader, &entry);

                if (r == TAR_E_END)
                        return 0;
                if (r > 0)
                        return report_fail(extract->report, GRPC_STATUS_INVALID_ARGUMENT, "the entry after the first %llu: %s",
                                           (unsigned long long)extract->n_entries, tar_problem(extract->reader));
                if (r < 0)
                        return report_errno(extract->report, -r, "reading", "the archive");
                r = extract_entry(extract, entry);
                if (r)
                        return r;
        }
}

int extract_archive(int root_fd, TarReader *reader, const ExtractSpec *spec, Report *report)
{
        _cleanup_(extract_done) Extract extract = {
                .spec = spec,
                .report = report,
                .reader = reader,
                .root_fd = root_fd,
                .parent = PARENT_INIT(root_fd),
                .link_parent = PARENT_INIT(root_fd),
        };
        int r;

        r = extract_entries(&extract);
        if (r)
                return r;
        r = extract_directories_end(&extract);
        if (r)
                return r;
        report->n_implicit = extract.parent.n_made;
        r = tar_drain(reader);
        return r < 0 ? report_errno(report, -r, "reading", "what follows the archive") : 0;
}
