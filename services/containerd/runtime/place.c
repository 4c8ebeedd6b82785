/* SPDX-License-Identifier: Apache-2.0 */

#include "services/containerd/runtime/place.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>

#include "lib/error.h"
#include "lib/fd.h"

#define PLACE_CGROUP_TRIES 500
#define PLACE_CGROUP_WAIT_USEC 2000
#define PLACE_MADE_TRIES 1000
#define PLACE_MADE_WAIT_USEC 5000

static const struct {
        const char *directory, *suffix;
        mode_t mode;
        int id_length;
} places[PLACE_N] = {
        [PLACE_CONTAINER] = {"containers", "", 0711, ID_LENGTH},
        [PLACE_EXEC] = {"execs", "", 0700, ID_LENGTH},
        [PLACE_EXIT] = {"exits", "", 0700, ID_LENGTH},
        [PLACE_SHIM] = {"shims", ".sock", 0700, ID_LENGTH},
        [PLACE_CONSOLE] = {"shims", ".tty", 0700, 16}, /* a socket's address has 108 bytes, and the runtime takes no fd */
        [PLACE_OCI] = {"oci", "", 0700, ID_LENGTH},
        [PLACE_USERNS] = {"ns", "/user", 0711, ID_LENGTH},
};

void place_path(char to[PLACE_PATH_MAX], const ConfigCommon *common, Place place, const char *id, const char *suffix)
{
        (void)snprintf(to, PLACE_PATH_MAX, "%s/%s/%.*s%s%s", common->runtime_dir, places[place].directory,
                       places[place].id_length, id, places[place].suffix, suffix);
}

int place_make_directories(const ConfigCommon *common)
{
        char path[PLACE_PATH_MAX];
        for (size_t i = 0; i < PLACE_N; i++) {
                (void)snprintf(path, sizeof(path), "%s/%s", common->runtime_dir, places[i].directory);
                if (mkdir(path, places[i].mode) < 0 && errno != EEXIST)
                        return error_origin(negative_errno());
        }
        return 0;
}

int place_make_cgroup(const ConfigContainerd *config, int *ret_fd)
{
        char path[CONFIG_PATH_MAX * 2];
        struct statfs st;
        *ret_fd = -1;
        if (statfs(config->cgroup_root, &st) < 0 || st.f_type != CGROUP2_SUPER_MAGIC)
                return 0;
        (void)snprintf(path, sizeof(path), "%s%s", config->cgroup_root, config->shims_cgroup);
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        *ret_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return *ret_fd < 0 ? error_origin(negative_errno()) : 0;
}

int place_remove_cgroup(int cgroup_fd, const char *id)
{
        char path[ID_LENGTH + 16];
        (void)snprintf(path, sizeof(path), "%.64s/cgroup.kill", id);
        for (int i = 0; i < PLACE_CGROUP_TRIES && cgroup_fd >= 0; i++) {
                if (unlinkat(cgroup_fd, id, AT_REMOVEDIR) == 0 || errno == ENOENT)
                        return 0;
                _cleanup_fd_ int fd = openat(cgroup_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
                (void)fd_write_full(fd, "1", 1);
                (void)usleep(PLACE_CGROUP_WAIT_USEC);
        }
        return cgroup_fd < 0 ? 0 : -EBUSY;
}

/* Somebody lives in the shim's cgroup. */
static bool place_cgroup_is_populated(int cgroup_fd, const char *id)
{
        char path[ID_LENGTH + 16], text[128] = "";
        (void)snprintf(path, sizeof(path), "%.64s/cgroup.events", id);
        _cleanup_fd_ int fd = cgroup_fd < 0 ? -1 : openat(cgroup_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "populated 1");
}

int place_lock_path(const char *path, int how, int *ret_fd)
{
        struct stat st, now;
        for (int i = 0; i < PLACE_MADE_TRIES; i++) {
                _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (fd < 0 || flock(fd, how) < 0 || fstat(fd, &st) < 0 || lstat(path, &now) < 0)
                        return negative_errno(); /* never EINTR: nobody here handles a signal */
                if (st.st_ino == now.st_ino && st.st_dev == now.st_dev) {
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
        }
        return -EBUSY;
}

int place_lock_exec(const ConfigCommon *common, const char *id, int *ret_fd)
{
        char path[PLACE_PATH_MAX];
        place_path(path, common, PLACE_EXEC, id, "");
        for (int i = 0; i < PLACE_MADE_TRIES; i++) {
                if ((mkdir(path, 0700) == 0 || errno == EEXIST) && place_lock_path(path, LOCK_EX | LOCK_NB, ret_fd) == 0)
                        return 0;
                (void)usleep(PLACE_MADE_WAIT_USEC);
        }
        return -EBUSY;
}

void place_wait_made(const ConfigCommon *common, int cgroup_fd, const char *id)
{
        char path[PLACE_PATH_MAX];
        place_path(path, common, PLACE_CONTAINER, id, "");
        _cleanup_fd_ int lock_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW); /* a launch holds its lock */
        for (int i = 0; lock_fd >= 0 && i < PLACE_MADE_TRIES && flock(lock_fd, LOCK_SH | LOCK_NB) < 0; i++)
                (void)usleep(PLACE_MADE_WAIT_USEC);
        for (int i = 0; i < PLACE_MADE_TRIES; i++) {
                ExitRecord record = {0};
                _cleanup_fd_ int fd = place_open_record(common, id, O_RDONLY);
                if (fd < 0 || pread(fd, &record, sizeof(record), 0) < 0 || record.state != EXIT_STATE_NONE ||
                    !place_cgroup_is_populated(cgroup_fd, id))
                        return;
                (void)usleep(PLACE_MADE_WAIT_USEC);
        }
}

/* The OCI runtimes let a created container wait on this pipe, and take it away when it is started. */
bool place_is_started(const ConfigCommon *common, const char *id)
{
        char path[PLACE_PATH_MAX];
        struct stat st;
        place_path(path, common, PLACE_OCI, id, "");
        if (lstat(path, &st) < 0)
                return false;
        place_path(path, common, PLACE_OCI, id, "/exec.fifo");
        return lstat(path, &st) < 0 && errno == ENOENT;
}

int place_socket(const ConfigCommon *common, const char *id, bool create, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char path[PLACE_PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s/%s", common->runtime_dir, places[PLACE_SHIM].directory);
        /* By way of the directory's fd, so that its path may be as long as it likes. */
        _cleanup_fd_ int dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (dir_fd < 0 || fd < 0)
                return error_origin(negative_errno());
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%.64s%s", dir_fd, id,
                       places[PLACE_SHIM].suffix);
        if (create ? bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0
                   : connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return error_origin(negative_errno());
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int place_make_exec(const ConfigCommon *common, const char *container_id, const char *id, int *ret_fd)
{
        char path[PLACE_PATH_MAX];
        place_path(path, common, PLACE_CONTAINER, container_id, "/config.json");
        *ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (*ret_fd < 0)
                return negative_errno();
        place_path(path, common, PLACE_EXEC, id, "");
        return mkdir(path, 0700) < 0 && errno != EEXIST ? error_origin(negative_errno()) : 0;
}

void place_undo_exec(const ConfigCommon *common, const char *id)
{
        char path[PLACE_PATH_MAX];
        place_path(path, common, PLACE_EXEC, id, "/process.json");
        (void)unlink(path);
        place_path(path, common, PLACE_EXEC, id, "");
        (void)rmdir(path);
}

int place_remove(const ConfigCommon *common, const char *id, bool with_record)
{
        static const struct {
                Place place;
                const char *suffix;
        } files[] = {
                {PLACE_CONTAINER, "/config.json"},  {PLACE_CONTAINER, "/pid"},           {PLACE_CONTAINER, "/log"},
                {PLACE_CONTAINER, "/limits.json"},  {PLACE_CONTAINER, "/limits.next"},   {PLACE_CONTAINER, "/limits.first"},
                {PLACE_CONTAINER, "/limits.sealed"}, {PLACE_EXEC, "/process.json"},      {PLACE_EXEC, "/pid"},
                {PLACE_EXEC, "/log"},               {PLACE_EXEC, ""},                    {PLACE_CONSOLE, ""},
                {PLACE_SHIM, ""},                   {PLACE_EXIT, ""},
        };
        char path[PLACE_PATH_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(files) - !with_record; i++) {
                place_path(path, common, files[i].place, id, files[i].suffix);
                bool is_directory = files[i].place == PLACE_EXEC && files[i].suffix[0] == '\0';
                if ((is_directory ? rmdir(path) : unlink(path)) < 0 && errno != ENOENT && errno != ENOTDIR)
                        return error_origin(negative_errno());
        }
        return 0;
}

int place_open_record(const ConfigCommon *common, const char *id, int flags)
{
        char path[PLACE_PATH_MAX];
        place_path(path, common, PLACE_EXIT, id, "");
        return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int place_list(const ConfigCommon *common, uint32_t offset, LaunchListed *listed)
{
        char path[PLACE_PATH_MAX];
        uint32_t i = 0;
        place_path(path, common, PLACE_EXIT, "", "");
        DIR *dir = opendir(path);
        if (!dir)
                return error_origin(negative_errno());
        for (struct dirent *entry; !listed->more && (entry = readdir(dir));) {
                if (!id_is_valid(entry->d_name) || i++ < offset)
                        continue;
                listed->more = listed->n == LAUNCH_LIST_MAX;
                if (!listed->more)
                        (void)str_copy(listed->ids[listed->n++], ID_LENGTH + 1, entry->d_name);
        }
        (void)closedir(dir);
        return 0;
}
