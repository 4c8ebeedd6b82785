/* SPDX-License-Identifier: Apache-2.0 */

/* A checkpoint's archive, from files and from a stream that its teller may break off; what a request for one may say. */

#include "services/containerd/launch/render-archive.h"
#include "ipc/tree-stream.h"
#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/tar-header.h"
#include "lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

static uint8_t bytes[1024 * 1024];
static size_t n_bytes;

static RenderArchive archive_begin(void)
{
        return (RenderArchive){.fd = memfd_create("archive", MFD_CLOEXEC), .now_nsec = 1000000000, .deadline_usec = USEC_INFINITY, .parent_fd = -1};
}

static void archive_finish(RenderArchive *archive)
{
        struct stat st;

        assert_ok(render_archive_end(archive));
        assert_ok(fstat(archive->fd, &st));
        assert_eq_int(st.st_size, archive->offset);
        assert_eq_int(st.st_size % 512, 0);
        n_bytes = (size_t)st.st_size;
        assert_true(n_bytes <= sizeof(bytes));
        assert_ok(fd_pread_full(archive->fd, bytes, n_bytes, 0));
        (void)close(archive->fd);
}

/* The data of an entry; NULL: there is none of that name. */
static const char *archive_find(const char *name, size_t *ret_n)
{
        for (size_t at = 0; at + 512 <= n_bytes && bytes[at];) {
                size_t size = 0;
                uint32_t sum = 0, said = 0;

                for (size_t i = 124; i < 135; i++)
                        size = size * 8 + (bytes[at + i] & 7u);
                for (size_t i = 0; i < 512; i++)
                        sum += i >= 148 && i < 156 ? ' ' : bytes[at + i];
                for (size_t i = 148; i < 154; i++)
                        said = said * 8 + (bytes[at + i] & 7u);
                assert_eq_int(sum, said);
                if (str_equal((const char *)bytes + at, name)) {
                        *ret_n = size;
                        return (const char *)bytes + at + 512;
                }
                at += 512 + (size + 511) / 512 * 512;
        }
        return NULL;
}

static void archive_holds_files(void)
{
        RenderArchive archive = archive_begin();
        static char large[200000];
        size_t n = 0;
        int fd = memfd_create("file", MFD_CLOEXEC);

        memset(large + 150000, 'x', 50000);
        assert_ok(fd_write_full(fd, large, sizeof(large)));
        assert_eq_int(lseek(fd, 0, SEEK_SET), 0);
        assert_ok(render_archive_directory(&archive, "checkpoint/"));
        assert_ok(render_archive_file(&archive, "checkpoint/pages-1.img", fd));
        json_t *json = json_pack("{s:s}", "a", "b");
        assert_ok(render_archive_json(&archive, "config.dump", json));
        json_decref(json);
        (void)close(fd);
        archive_finish(&archive);
        const char *data = archive_find("checkpoint/pages-1.img", &n);
        assert_true(data);
        assert_eq_mem(data, n, large, sizeof(large));
        data = archive_find("config.dump", &n);
        json = json_loadb(data, n, 0, NULL);
        assert_eq_str(json_string_value(json_object_get(json, "a")), "b");
        json_decref(json);
        assert_true(archive_find("checkpoint/", &n));
}

static void stream_send(int fd, uint32_t kind, const void *content, size_t n)
{
        uint8_t packet[sizeof(TreeStreamHeader) + TREE_STREAM_MAX];
        TreeStreamHeader header = {.kind = kind, .length = (uint32_t)n};

        memcpy(packet, &header, sizeof(header));
        memcpy(packet + sizeof(header), content, n);
        assert_eq_int(send(fd, packet, sizeof(header) + n, 0), (ssize_t)(sizeof(header) + n));
}

static void archive_holds_what_is_told(void)
{
        RenderArchive archive = archive_begin();
        Render render = {0};
        char go = 0, diff[3000];
        size_t n = 0;
        int pair[2];

        memset(diff, 'd', sizeof(diff));
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        stream_send(pair[1], TREE_STREAM_FILES, diff, 1000);
        stream_send(pair[1], TREE_STREAM_DELETED, "/etc/motd", 9);
        stream_send(pair[1], TREE_STREAM_FILES, diff + 1000, 2000);
        stream_send(pair[1], TREE_STREAM_DELETED, "/bad\xff\"name", 10);
        stream_send(pair[1], TREE_STREAM_END, "", 0);
        assert_ok(render_archive_stream(&archive, &render, pair[0]));
        assert_eq_int(recv(pair[1], &go, 1, MSG_DONTWAIT), 1);
        archive_finish(&archive);
        const char *data = archive_find("rootfs-diff.tar", &n);
        assert_true(data);
        assert_eq_mem(data, n, diff, sizeof(diff));
        data = archive_find("deleted.files", &n);
        json_t *json = json_loadb(data, n, 0, NULL);
        assert_eq_int(json_array_size(json), 2);
        assert_eq_str(json_string_value(json_array_get(json, 0)), "/etc/motd");
        assert_eq_str(json_string_value(json_array_get(json, 1)), "/bad?\"name");
        json_decref(json);
        (void)close(pair[0]);
        (void)close(pair[1]);
}

static void archive_is_not_made_of_half_a_story(void)
{
        for (int i = 0; i < 6; i++) {
                RenderArchive archive = archive_begin();
                Render render = {0};
                TreeStreamHeader header = {.kind = TREE_STREAM_FILES, .length = 100};
                int pair[2];

                assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
                if (i > 0)
                        stream_send(pair[1], TREE_STREAM_FILES, "x", 1);
                if (i == 1)
                        stream_send(pair[1], TREE_STREAM_FAILED, "a \x1b[31m disk", 12);
                if (i == 2)
                        assert_eq_int(send(pair[1], &header, sizeof(header), 0), (ssize_t)sizeof(header));
                if (i == 3)
                        stream_send(pair[1], 77, "", 0);
                if (i == 4)
                        assert_eq_int(send(pair[1], "ab", 2, 0), 2);
                (void)shutdown(pair[1], SHUT_WR);
                assert_eq_int(render_archive_stream(&archive, &render, pair[0]), RENDER_E_REFUSED);
                assert_true(render.text[0] && !strchr(render.text, '\x1b'));
                if (i == 1)
                        assert_true(strstr(render.text, "disk"));
                (void)close(pair[0]);
                (void)close(pair[1]);
                (void)close(archive.fd);
        }
}

/* Its teller says nothing any more. */
static void archive_ends_with_its_time_and_its_parent(void)
{
        for (int i = 0; i < 4; i++) {
                RenderArchive archive = archive_begin();
                Render render = {0};
                int pair[2], parent[2], fd = memfd_create("file", MFD_CLOEXEC);

                assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
                assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, parent));
                assert_eq_int(send(parent[1], "x", 1, 0), 1); /* what the parent says is no end of it */
                archive.parent_fd = parent[0];
                if (i < 2)
                        archive.deadline_usec = clock_monotonic_usec() + 50000;
                else
                        (void)close(parent[1]);
                stream_send(pair[1], TREE_STREAM_FILES, "x", 1);
                if (i == 1)
                        archive.deadline_usec = clock_monotonic_usec();
                int r = i % 2 == 0 ? render_archive_stream(&archive, &render, pair[0]) : render_archive_file(&archive, "file", fd);
                assert_eq_int(r, i < 2 ? RENDER_E_LATE : -EPIPE);
                if (i < 2)
                        assert_true(clock_monotonic_usec() >= archive.deadline_usec);
                if (i < 2)
                        (void)close(parent[1]);
                (void)close(parent[0]);
                (void)close(pair[0]);
                (void)close(pair[1]);
                (void)close(fd);
                (void)close(archive.fd);
        }
}

static void archive_documents(void)
{
        Bulkhead__RuntimeSpec__CheckpointSpec spec = BULKHEAD__RUNTIME_SPEC__CHECKPOINT_SPEC__INIT;
        char name[] = "web", image[] = "nginx:1", ref[] = "nginx@sha256:0", runtime[] = "crun";

        spec.name = name;
        spec.image = image;
        spec.image_ref = ref;
        spec.runtime = runtime;
        spec.created_nsec = 1500000000000000001;
        spec.pid = 42;
        json_t *config = render_archive_config(&spec, "abc", 1600000000000000002), *status = render_archive_status(&spec);
        assert_eq_str(json_string_value(json_object_get(config, "id")), "abc");
        assert_eq_str(json_string_value(json_object_get(config, "name")), "web");
        assert_eq_str(json_string_value(json_object_get(config, "rootfsImageName")), "nginx:1");
        assert_eq_str(json_string_value(json_object_get(config, "rootfsImageRef")), "nginx@sha256:0");
        assert_eq_str(json_string_value(json_object_get(config, "createdTime")), "2017-07-14T02:40:00.000000001Z");
        assert_eq_str(json_string_value(json_object_get(config, "checkpointedTime")), "2020-09-13T12:26:40.000000002Z");
        assert_eq_int(json_integer_value(json_object_get(status, "Pid")), 42);
        json_decref(config);
        json_decref(status);
}

static void checkpoint_location(void)
{
        Permit permit = {.verb = PERMIT_VERB_CHECKPOINT};
        Runtime__V1__CheckpointContainerRequest request = RUNTIME__V1__CHECKPOINT_CONTAINER_REQUEST__INIT;
        char location[RENDER_PATH_MAX], whole[] = "aaaaaaaa", part[] = "aaa", other[] = "b";
        static const char *const refused[] = {"", "relative.tar", "/", "/a/../b.tar", "/dir/", "//"};
        char good[] = "/var//lib/./kubelet/checkpoints/x.tar";

        memset(permit.pod_id, 'a', ID_LENGTH);
        request.container_id = whole;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                Render render = {0};
                request.location = (char *)(uintptr_t)refused[i];
                assert_eq_int(render_checkpoint(&render, &permit, &request, location), RENDER_E_REFUSED);
                assert_true(strstr(render.text, "location"));
        }
        Render render = {0};
        request.location = good;
        assert_ok(render_checkpoint(&render, &permit, &request, location));
        assert_eq_str(location, "/var/lib/kubelet/checkpoints/x.tar");
        request.container_id = part;
        assert_ok(render_checkpoint(&render, &permit, &request, location));
        request.container_id = other;
        assert_eq_int(render_checkpoint(&render, &permit, &request, location), RENDER_E_FORBIDDEN);
        request.container_id = other + 1;
        assert_eq_int(render_checkpoint(&render, &permit, &request, location), RENDER_E_FORBIDDEN);
}

static void checkpoint_says_why(void)
{
        static const char log[] = "(00.1) Warn nothing\n(00.2) Error (criu/a.c:1): first\n(00.3) Error (criu/b.c:2): No space left on device\x1b\nend";
        static const char plain[] = "(00.2) Error (criu/a.c:1): Can't dump it";
        Render render = {0};

        assert_eq_int(render_checkpoint_why(&render, log, sizeof(log) - 1), RENDER_E_FULL);
        assert_true(strstr(render.text, "criu/b.c") && !strchr(render.text, '\x1b'));
        assert_eq_int(render_checkpoint_why(&render, plain, sizeof(plain) - 1), RENDER_E_REFUSED);
        assert_true(strstr(render.text, "Can't dump it"));
        assert_eq_int(render_checkpoint_why(&render, "", 0), RENDER_E_REFUSED);
        assert_eq_int(render_checkpoint_why(&render, "\n\n", 2), RENDER_E_REFUSED);
}

/* Numbers that octal digits cannot say. */
static void header_numbers(void)
{
        uint8_t block[TAR_HEADER_BYTES];

        tar_header_write(block, &(TarHeader){.type = '0', .name = "n", .size = UINT64_C(1) << 33, .uid = 2097152, .gid = 2097151});
        static const uint8_t size[] = {0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}, uid[] = {0x80, 0, 0, 0, 0, 0x20, 0, 0};
        assert_eq_mem(block + 124, 12, size, 12);
        assert_eq_mem(block + 108, 8, uid, 8);
        assert_eq_str((char *)block + 116, "7777777");
        tar_header_write(block, &(TarHeader){.type = '0', .name = "n", .size = (UINT64_C(1) << 33) - 1});
        assert_eq_str((char *)block + 124, "77777777777");
        assert_eq_int(tar_header_padding(0), 0);
        assert_eq_int(tar_header_padding(1), 511);
        assert_eq_int(tar_header_padding(512), 0);
}

int main(void)
{
        TEST_RUN(header_numbers);
        TEST_RUN(archive_holds_files);
        TEST_RUN(archive_holds_what_is_told);
        TEST_RUN(archive_is_not_made_of_half_a_story);
        TEST_RUN(archive_ends_with_its_time_and_its_parent);
        TEST_RUN(archive_documents);
        TEST_RUN(checkpoint_location);
        TEST_RUN(checkpoint_says_why);
        return 0;
}
