/* SPDX-License-Identifier: Apache-2.0 */

/* An upper layer over an image, told and read again with the reader that reads layers. */

#include "services/imaged/tree/export.h"
#include "ipc/tree-stream.h"
#include "lib/fd.h"
#include "lib/test.h"
#include "services/imaged/tree/export-links.h"
#include "services/imaged/tree/tar.h"
#include "services/imaged/tree/whiteout.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define WORLD_LONG "long/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"

typedef struct World {
        char path[64];
        int tree_fd, image_fd;
        uint8_t *files; /* owned; the archive as it was told */
        size_t n_files, at;
        char deleted[4][64];
        size_t n_deleted;
        char failed[512];
        bool has_ended;
} World;

static void world_write(int dir_fd, const char *name, const char *text)
{
        assert_ok(fd_write_file(dir_fd, name, text, strlen(text), 0640));
}

static void world_begin(World *world)
{
        *world = (World){.path = "/tmp/bulkhead-test-export.XXXXXX"};
        assert_true(mkdtemp(world->path));
        if (mount("world", world->path, "tmpfs", 0, "size=16m") < 0)
                test_skip("no tmpfs can be mounted here");
        char path[96];
        (void)snprintf(path, sizeof(path), "%s/upper", world->path);
        assert_ok(mkdir(path, 0755));
        world->tree_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        (void)snprintf(path, sizeof(path), "%s/image", world->path);
        assert_ok(mkdir(path, 0755));
        world->image_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(world->tree_fd >= 0 && world->image_fd >= 0);
}

static void world_end(World *world)
{
        (void)close(world->tree_fd);
        (void)close(world->image_fd);
        free(world->files);
        (void)umount2(world->path, MNT_DETACH);
        (void)rmdir(world->path);
}

/* Another process tells, so that neither waits for the other for ever. */
static void world_tell(World *world, uint32_t owner_id)
{
        uint8_t packet[sizeof(TreeStreamHeader) + TREE_STREAM_MAX];
        TreeStreamHeader header = {0};
        int pair[2], status = 0;

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        pid_t pid = fork();
        if (pid == 0) {
                const ExportSpec spec = {.tree_fd = world->tree_fd, .image_fd = world->image_fd, .to_fd = pair[1], .owner_id = owner_id};
                (void)close(pair[0]);
                _exit(export_tell(&spec) == 0 ? 0 : 1);
        }
        (void)close(pair[1]);
        assert_eq_int(send(pair[0], "g", 1, 0), 1);
        for (ssize_t n; (n = recv(pair[0], packet, sizeof(packet), 0)) > 0;) {
                assert_true((size_t)n >= sizeof(header));
                memcpy(&header, packet, sizeof(header));
                assert_eq_int(header.length, (size_t)n - sizeof(header));
                if (header.kind == TREE_STREAM_FILES) {
                        world->files = realloc(world->files, world->n_files + header.length);
                        memcpy(world->files + world->n_files, packet + sizeof(header), header.length);
                        world->n_files += header.length;
                } else if (header.kind == TREE_STREAM_DELETED) {
                        assert_true(world->n_deleted < ARRAY_SIZE(world->deleted));
                        (void)snprintf(world->deleted[world->n_deleted++], sizeof(world->deleted[0]), "%.*s", (int)header.length,
                                       (char *)packet + sizeof(header));
                } else if (header.kind == TREE_STREAM_FAILED) {
                        (void)snprintf(world->failed, sizeof(world->failed), "%.*s", (int)header.length, (char *)packet + sizeof(header));
                } else {
                        assert_eq_int(header.kind, TREE_STREAM_END);
                        world->has_ended = true;
                }
        }
        (void)close(pair[0]);
        assert_eq_int(waitpid(pid, &status, 0), pid);
        assert_eq_int(WEXITSTATUS(status), world->has_ended ? 0 : 1);
}

static ssize_t world_source(void *userdata, void *buffer, size_t n)
{
        World *world = userdata;

        n = MIN2(n, world->n_files - world->at);
        memcpy(buffer, world->files + world->at, n);
        world->at += n;
        return (ssize_t)n;
}

/* The entry of that path, from the beginning of the archive; NULL: there is none. */
static const TarEntry *world_find(World *world, TarReader *reader, const char *path)
{
        const TarEntry *entry = NULL;

        world->at = 0;
        while (tar_next(reader, &entry) == 0)
                if (str_equal(entry->path, path))
                        return entry;
        assert_eq_str(tar_problem(reader), "");
        return NULL;
}

#define FIND(world, entry, path)                                                                                       \
        _cleanup_(tar_reader_freep) TarReader *reader_##entry = tar_reader_new(world_source, world);                  \
        const TarEntry *entry = world_find(world, reader_##entry, path)

static void export_tells_what_is_there(void)
{
        static const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
        const uint8_t *bytes = NULL;
        size_t n = 0;
        World world;

        world_begin(&world);
        world_write(world.tree_fd, "file", "content");
        assert_ok(fchownat(world.tree_fd, "file", 100000 + 33, 4, 0));
        assert_ok(futimens(world.tree_fd, times));
        assert_ok(utimensat(world.tree_fd, "file", times, 0));
        assert_ok(linkat(world.tree_fd, "file", world.tree_fd, "other", 0));
        assert_ok(symlinkat("/etc/shadow", world.tree_fd, "link"));
        assert_ok(mkfifoat(world.tree_fd, "fifo", 0600));
        assert_ok(mkdirat(world.tree_fd, "long", 0711));
        world_write(world.tree_fd, WORLD_LONG, "far");
        world_tell(&world, 100000);
        assert_true(world.has_ended && world.n_deleted == 0);

        FIND(&world, first, "file");
        FIND(&world, second, "other");
        const TarEntry *file = first && first->type == TAR_TYPE_FILE ? first : second;
        const TarEntry *hard = file == first ? second : first;
        assert_true(file && hard && hard->type == TAR_TYPE_LINK);
        assert_eq_str(hard->link, file == first ? "file" : "other");
        assert_eq_int(file->uid, 33);
        assert_eq_int(file->gid, 4);
        assert_eq_int(file->mode, 0640);
        assert_eq_int(file->mtime_sec, 1000000000);
        assert_ok(tar_data(file == first ? reader_first : reader_second, &bytes, &n));
        assert_eq_mem(bytes, n, "content", 7);
        FIND(&world, symlink_entry, "link");
        assert_eq_str(symlink_entry->link, "/etc/shadow");
        FIND(&world, fifo, "fifo");
        assert_eq_int(fifo->type, TAR_TYPE_FIFO);
        FIND(&world, directory, "long/");
        assert_eq_int(directory->type, TAR_TYPE_DIRECTORY);
        assert_eq_int(directory->mode, 0711);
        FIND(&world, distant, WORLD_LONG);
        assert_true(distant);
        assert_eq_int(distant->size, 3);
        world_end(&world);
}

static void export_tells_what_is_hidden(void)
{
        World world;

        world_begin(&world);
        assert_ok(whiteout_make(world.tree_fd, "gone"));
        assert_ok(mkdirat(world.tree_fd, "new", 0755));
        assert_ok(mkdirat(world.image_fd, "new", 0755));
        int new_fd = openat(world.tree_fd, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int old_fd = openat(world.image_fd, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        world_write(old_fd, "hidden", "x");
        world_write(old_fd, "both", "x");
        world_write(new_fd, "both", "y");
        bool has_xattrs = whiteout_make_opaque(new_fd) == 0;
        world_tell(&world, 0);
        assert_true(world.has_ended);
        assert_eq_int(world.n_deleted, has_xattrs ? 2 : 1);
        for (size_t i = 0; i < world.n_deleted; i++)
                assert_true(str_equal(world.deleted[i], "/gone") || str_equal(world.deleted[i], "/new/hidden"));
        FIND(&world, gone, "gone");
        assert_true(!gone);
        FIND(&world, both, "new/both");
        assert_true(both);
        (void)close(new_fd);
        (void)close(old_fd);
        world_end(&world);
}

static void export_keeps_attributes(void)
{
        World world;

        world_begin(&world);
        world_write(world.tree_fd, "file", "x");
        int fd = openat(world.tree_fd, "file", O_RDWR | O_CLOEXEC);
        static const uint8_t capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
        if (fsetxattr(fd, "security.capability", capability, sizeof(capability), 0) == 0) {
                assert_ok(fsetxattr(fd, "trusted.x", "y", 1, 0));
                world_tell(&world, 0);
                FIND(&world, file, "file");
                assert_true(file);
                assert_eq_int(file->n_xattrs, 1);
                assert_eq_str(file->xattrs[0].name, "security.capability");
                assert_eq_mem(file->xattrs[0].value, file->xattrs[0].n_value, capability, sizeof(capability));
        }
        (void)close(fd);
        world_end(&world);
}

static void export_refuses_what_is_too_deep(void)
{
        World world;

        world_begin(&world);
        int fd = fcntl(world.tree_fd, F_DUPFD_CLOEXEC, 0);
        for (int i = 0; i < 300; i++) {
                assert_ok(mkdirat(fd, "d", 0755));
                int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                (void)close(fd);
                fd = next;
        }
        (void)close(fd);
        world_tell(&world, 0);
        assert_false(world.has_ended);
        assert_true(strstr(world.failed, "more than"));
        world_end(&world);
}

/* A file of holes has a size that nobody wants to be told. */
static void export_refuses_what_is_too_large(void)
{
        World world;

        world_begin(&world);
        world_write(world.tree_fd, "file", "");
        int fd = openat(world.tree_fd, "file", O_RDWR | O_CLOEXEC);
        assert_ok(ftruncate(fd, (off_t)EXPORT_BYTES_MAX + 1));
        (void)close(fd);
        world_tell(&world, 0);
        assert_false(world.has_ended);
        assert_true(strstr(world.failed, "GiB"));
        world_end(&world);
}

static void export_remembers_links(void)
{
        _cleanup_(export_links_done) ExportLinks links = {0};
        char path[32];
        const char *first = NULL;

        for (ino_t i = 1; i <= 3000; i++) {
                (void)snprintf(path, sizeof(path), "p%llu", (unsigned long long)i);
                assert_ok(export_links_see(&links, i * 4096, path, &first));
                assert_true(!first);
        }
        for (ino_t i = 1; i <= 3000; i++) {
                (void)snprintf(path, sizeof(path), "p%llu", (unsigned long long)i);
                assert_ok(export_links_see(&links, i * 4096, "again", &first));
                assert_eq_str(first, path);
        }
}

int main(void)
{
        TEST_RUN(export_remembers_links);
        TEST_RUN(export_tells_what_is_there);
        TEST_RUN(export_tells_what_is_hidden);
        TEST_RUN(export_keeps_attributes);
        TEST_RUN(export_refuses_what_is_too_deep);
        TEST_RUN(export_refuses_what_is_too_large);
        return 0;
}
