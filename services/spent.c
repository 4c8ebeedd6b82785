/* SPDX-License-Identifier: Apache-2.0 */
#include "services/spent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ipc/seal.h"
#include "lib/error.h"
#include "lib/fd.h"

#define SPENT_PATH_MAX 4096
#define SPENT_NAME_MAX 32
#define SPENT_ID_BYTES (ID_LENGTH / 2) /* divides a page: one is written whole or not at all */
#define SPENT_READ_IDS 128

static void spent_name(char to[SPENT_NAME_MAX], uint64_t slot, const char *id)
{
        (void)snprintf(to, SPENT_NAME_MAX, "%llu.%c", (unsigned long long)slot, id[0]);
}

static int spent_open(const char *runtime_dir, bool make)
{
        char path[SPENT_PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s/spent", runtime_dir);
        if (n < 0 || (size_t)n >= sizeof(path))
                return -ENAMETOOLONG;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT && make && (mkdir(path, 0700) == 0 || errno == EEXIST))
                fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? negative_errno() : fd;
}

/* Those of the slots around this one stay: another hand may have begun the next one a moment ago. */
static void spent_prune(int dir_fd, uint64_t slot)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                (void)fd_close(fd);
                return;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
                char *end = NULL;
                unsigned long long of = strtoull(entry->d_name, &end, 10);
                if (end != entry->d_name && *end == '.' && (of > slot + 1 || of + 1 < slot))
                        (void)unlinkat(dir_fd, entry->d_name, 0);
        }
        (void)closedir(dir);
}

int spent_add(const char *runtime_dir, const char *id, uint64_t now_usec)
{
        uint8_t bytes[SPENT_ID_BYTES];
        char name[SPENT_NAME_MAX];
        const uint64_t slot = now_usec / PERMIT_AGE_MAX_USEC;
        if (!id_is_valid(id) || !hex_decode(bytes, sizeof(bytes), id))
                return error_origin(-EINVAL);
        _cleanup_fd_ int dir_fd = spent_open(runtime_dir, true);
        if (dir_fd < 0)
                return error_origin(dir_fd);
        spent_name(name, slot, id);
        _cleanup_fd_ int fd = openat(dir_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT) {
                spent_prune(dir_fd, slot);
                fd = openat(dir_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        }
        if (fd < 0)
                return error_origin(negative_errno());
        ssize_t n = write(fd, bytes, sizeof(bytes));
        return n == (ssize_t)sizeof(bytes) ? 0 : error_origin(n < 0 ? negative_errno() : -ENOSPC);
}

static int spent_find(int dir_fd, const char *name, const uint8_t id[SPENT_ID_BYTES])
{
        uint8_t ids[SPENT_READ_IDS][SPENT_ID_BYTES];
        _cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_origin(negative_errno());
        ssize_t n;
        while ((n = read(fd, ids, sizeof(ids))) > 0)
                for (size_t i = 0; i < (size_t)n / SPENT_ID_BYTES; i++)
                        if (memcmp(ids[i], id, SPENT_ID_BYTES) == 0)
                                return SPENT_E_USED;
        return n < 0 ? error_origin(negative_errno()) : 0;
}

int spent_check(const char *runtime_dir, const char *id, uint64_t now_usec)
{
        uint8_t bytes[SPENT_ID_BYTES];
        char name[SPENT_NAME_MAX];
        const uint64_t slot = now_usec / PERMIT_AGE_MAX_USEC;
        if (!id_is_valid(id) || !hex_decode(bytes, sizeof(bytes), id))
                return error_origin(-EINVAL);
        _cleanup_fd_ int dir_fd = spent_open(runtime_dir, false);
        if (dir_fd < 0)
                return dir_fd == -ENOENT ? 0 : error_origin(dir_fd);
        /* A permit that is still good was sealed, and so used up, within the last two. */
        for (uint64_t back = 0; back <= MIN2(slot, UINT64_C(1)); back++) {
                spent_name(name, slot - back, id);
                int r = spent_find(dir_fd, name, bytes);
                if (r)
                        return r < 0 ? fold(r) : r;
        }
        return 0;
}
