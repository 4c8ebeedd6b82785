/* SPDX-License-Identifier: Apache-2.0 */

/* What of a pod is on the host: a tmpfs with its files, a directory with the pins of its namespaces, one pin in
 * /run/netns. The record in the tmpfs is written last. A pod without one is half made, and is removed before it is made
 * again: nothing can use it before the brain was told that it exists. */

#include "lib/error.h"
#include "lib/fd.h"
#include "services/sandboxd/setup/setup.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define POD_RECORD_NAME "record"
static const char pod_record_magic[8] = "BHPOD1";

static const struct {
        const char *name;
        int type;           /* CLONE_NEW* of a pin */
        uint32_t host_flag; /* with it there is none ... */
        uint32_t flag;      /* ... and without this one there is none */
} pod_pins[POD_PATH_N] = {
        [POD_PATH_USER] = {"user", CLONE_NEWUSER, 0, PERMIT_FLAG_USERNS},
        [POD_PATH_IPC] = {"ipc", CLONE_NEWIPC, PERMIT_FLAG_HOST_IPC, 0},
        [POD_PATH_UTS] = {"uts", CLONE_NEWUTS, PERMIT_FLAG_HOST_NETWORK, 0},
        [POD_PATH_PID] = {"pid", CLONE_NEWPID, PERMIT_FLAG_HOST_PID, PERMIT_FLAG_POD_PID},
        [POD_PATH_NETWORK] = {"network", CLONE_NEWNET, PERMIT_FLAG_HOST_NETWORK, 0},
};

bool pod_has_pin(uint32_t flags, PodPath which)
{
        return pod_pins[which].type != 0 && (flags & pod_pins[which].host_flag) == 0 &&
               (flags & pod_pins[which].flag) == pod_pins[which].flag;
}

int pod_pin_type(PodPath which)
{
        return pod_pins[which].type;
}

int pod_path(const Setup *setup, const char *id, PodPath which, char ret[SETUP_PATH_MAX])
{
        const ConfigCommon *config = hand_config(setup->hand);
        int n = -1;
        switch (which) {
        case POD_PATH_FILES:
                n = snprintf(ret, SETUP_PATH_MAX, "%s/pods/%s", config->runtime_dir, id);
                break;
        case POD_PATH_SHM:
                n = snprintf(ret, SETUP_PATH_MAX, "%s/pods/%s/shm", config->runtime_dir, id);
                break;
        case POD_PATH_PINS:
                n = snprintf(ret, SETUP_PATH_MAX, "%s/ns/%s", config->runtime_dir, id);
                break;
        case POD_PATH_USER:
        case POD_PATH_IPC:
        case POD_PATH_UTS:
        case POD_PATH_PID:
                n = snprintf(ret, SETUP_PATH_MAX, "%s/ns/%s/%s", config->runtime_dir, id, pod_pins[which].name);
                break;
        case POD_PATH_NETWORK:
                n = snprintf(ret, SETUP_PATH_MAX, SETUP_NETNS_DIR "/%sbh-%s", config->instance, id);
                break;
        case POD_PATH_N:
                break;
        }
        return n < 0 || n >= SETUP_PATH_MAX ? error_origin(-ENAMETOOLONG) : 0;
}

static int pod_make_directory(const char *path, mode_t mode)
{
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        struct stat st;
        if (lstat(path, &st) < 0)
                return error_origin(negative_errno());
        /* Paths below are used by name: nobody but root may be able to change what a name means. */
        if (!S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0)
                return error_origin(-EPERM);
        return 0;
}

/* As `ip netns add` does it: pins made here are seen in every mount namespace that follows the host's. */
static int pod_prepare_netns(void)
{
        int r = pod_make_directory(SETUP_NETNS_DIR, 0755);
        if (r < 0)
                return fold(r);
        if (mount("", SETUP_NETNS_DIR, NULL, MS_SHARED | MS_REC, NULL) == 0)
                return 0;
        if (errno != EINVAL) /* EINVAL: not a mount point yet */
                return error_origin(negative_errno());
        if (mount(SETUP_NETNS_DIR, SETUP_NETNS_DIR, NULL, MS_BIND | MS_REC, NULL) < 0 ||
            mount("", SETUP_NETNS_DIR, NULL, MS_SHARED | MS_REC, NULL) < 0)
                return error_origin(negative_errno());
        return 0;
}

int pod_prepare_host(const Setup *setup)
{
        const ConfigCommon *config = hand_config(setup->hand);
        static const struct {
                const char *name;
                mode_t mode;
        } directories[] = {
                {"pods", 0711}, /* a runtime that has entered the pod's user namespace mounts from here */
                {"ns", 0711},
        };
        for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
                char path[SETUP_PATH_MAX];
                int n = snprintf(path, sizeof(path), "%s/%s", config->runtime_dir, directories[i].name);
                if (n < 0 || (size_t)n >= sizeof(path))
                        return error_origin(-ENAMETOOLONG);
                int r = pod_make_directory(path, directories[i].mode);
                if (r < 0)
                        return fold(r);
        }
        int r = pod_prepare_netns();
        return r < 0 ? fold(r) : 0;
}

int pod_commit(const Setup *setup, const char *id, const PodRecord *record)
{
        char path[SETUP_PATH_MAX];
        PodRecord copy = *record;
        memcpy(copy.magic, pod_record_magic, sizeof(copy.magic));
        int r = pod_path(setup, id, POD_PATH_FILES, path);
        if (r < 0)
                return fold(r);
        _cleanup_fd_ int dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir_fd < 0)
                return error_origin(negative_errno());
        r = fd_write_file(dir_fd, POD_RECORD_NAME, &copy, sizeof(copy), 0600);
        return r < 0 ? fold(r) : 0;
}

/* False: there is none, or not a whole one. */
static bool pod_read_record(const char *files_path, PodRecord *record)
{
        _cleanup_fd_ int dir_fd = open(files_path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (dir_fd < 0)
                return false;
        _cleanup_fd_ int fd = openat(dir_fd, POD_RECORD_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        return fd >= 0 && fstat(fd, &st) == 0 && st.st_size == sizeof(*record) &&
               fd_pread_full(fd, record, sizeof(*record), 0) == 0 &&
               memcmp(record->magic, pod_record_magic, sizeof(record->magic)) == 0;
}

bool pod_is_made(const Setup *setup, const char *id)
{
        char path[SETUP_PATH_MAX];
        PodRecord record;
        return pod_path(setup, id, POD_PATH_FILES, path) == 0 && pod_read_record(path, &record);
}

static bool pod_pin_is_there(const char *path, int type)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct statfs fs;
        return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC && ioctl(fd, NS_GET_NSTYPE) == type;
}

int pod_status(const Setup *setup, const char *id, SetupMade *made, int *ret_pidfd)
{
        char path[SETUP_PATH_MAX];
        _cleanup_fd_ int pidfd = -1;
        PodRecord record;

        *made = (SetupMade){0};
        *ret_pidfd = -1;
        int r = pod_path(setup, id, POD_PATH_FILES, path);
        if (r < 0)
                return fold(r);
        if (!pod_read_record(path, &record))
                return 0;
        for (PodPath which = 0; which < POD_PATH_N; which++) {
                if (!pod_has_pin(record.flags, which))
                        continue;
                r = pod_path(setup, id, which, path);
                if (r < 0)
                        return fold(r);
                if (!pod_pin_is_there(path, pod_pins[which].type))
                        return 0;
                if (which == POD_PATH_NETWORK &&
                    !str_copy(made->network_pin, sizeof(made->network_pin), path + strlen(SETUP_NETNS_DIR "/")))
                        return error_origin(-ENAMETOOLONG);
                if (which == POD_PATH_PID) {
                        r = init_find(path, &pidfd);
                        if (r == 0 && pidfd >= 0)
                                r = init_pid(pidfd, &made->init_pid);
                        if (r < 0)
                                return fold(r);
                        made->init_alive = pidfd >= 0;
                }
        }
        made->flags = record.flags;
        made->exists = 1;
        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
}

/* Takes away whatever is mounted on path, however often. */
static int pod_unmount(const char *path)
{
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
        return errno == EINVAL || errno == ENOENT ? 0 : error_origin(negative_errno());
}

static int pod_remove_pin(const char *path)
{
        int r = pod_unmount(path);
        if (r < 0)
                return fold(r);
        return unlink(path) < 0 && errno != ENOENT ? error_origin(negative_errno()) : 0;
}

static int pod_remove_directory(const char *path)
{
        return rmdir(path) < 0 && errno != ENOENT ? error_origin(negative_errno()) : 0;
}

int pod_remove(const Setup *setup, const char *id, Refusal *refusal)
{
        static const PodPath pins[] = {POD_PATH_PID, POD_PATH_NETWORK, POD_PATH_IPC, POD_PATH_UTS, POD_PATH_USER};
        char path[SETUP_PATH_MAX];

        for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
                int r = pod_path(setup, id, pins[i], path);
                if (r == 0 && pins[i] == POD_PATH_PID)
                        r = pod_pin_is_there(path, CLONE_NEWPID) ? init_kill(path) : 0;
                if (r == 0)
                        r = pod_remove_pin(path);
                if (r < 0)
                        return refusal_set(refusal, GRPC_STATUS_INTERNAL,
                                           "pod %s: cannot remove its %s namespace at %s: %s; it is tried again", id,
                                           pod_pins[pins[i]].name, path, strerror(-r));
        }
        kept_forget(setup, id);
        static const struct {
                PodPath which;
                bool mounted;
        } directories[] = {{POD_PATH_PINS, false}, {POD_PATH_SHM, true}, {POD_PATH_FILES, true}};
        for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
                int r = pod_path(setup, id, directories[i].which, path);
                if (r == 0 && directories[i].mounted)
                        r = pod_unmount(path);
                if (r == 0 && directories[i].which != POD_PATH_SHM) /* that one goes with the tmpfs around it */
                        r = pod_remove_directory(path);
                if (r < 0)
                        return refusal_set(refusal, GRPC_STATUS_INTERNAL,
                                           "pod %s: cannot remove %s: %s; it is tried again", id, path, strerror(-r));
        }
        return 0;
}

/* Sorted and unique: a pod that appears while pages are asked for shifts none that was there before it by more than
 * itself, and the brain compares with its own list anyway. */
typedef struct PodNames {
        char (*ids)[ID_LENGTH + 1]; /* owned */
        size_t n, n_allocated;
} PodNames;

static void pod_names_done(PodNames *names)
{
        free(names->ids);
}

static int pod_names_compare(const void *a, const void *b)
{
        return strcmp(a, b);
}

static int pod_names_add(PodNames *names, const char *id)
{
        if (!id_is_valid(id))
                return 0;
        if (names->n == names->n_allocated) {
                size_t n = MAX2(64, names->n_allocated * 2);
                void *grown = reallocarray(names->ids, n, sizeof(*names->ids));
                if (!grown)
                        return error_origin(-ENOMEM);
                names->ids = grown;
                names->n_allocated = n;
        }
        memcpy(names->ids[names->n++], id, ID_LENGTH + 1);
        return 0;
}

/* The ids in the directory, of the names that begin with prefix. */
static int pod_names_read(PodNames *names, const char *path, const char *prefix)
{
        DIR *dir = opendir(path);
        if (!dir)
                return errno == ENOENT ? 0 : error_origin(negative_errno());
        int r = 0;
        for (const struct dirent *entry; r == 0 && (entry = readdir(dir));)
                if (str_has_prefix(entry->d_name, prefix))
                        r = pod_names_add(names, entry->d_name + strlen(prefix));
        (void)closedir(dir);
        return r < 0 ? fold(r) : 0;
}

int pod_list(const Setup *setup, uint32_t offset, SetupListed *listed)
{
        const ConfigCommon *config = hand_config(setup->hand);
        _cleanup_(pod_names_done) PodNames names = {0};
        char path[SETUP_PATH_MAX], prefix[CONFIG_NAME_MAX + 4];

        snprintf(prefix, sizeof(prefix), "%sbh-", config->instance);
        int r = pod_names_read(&names, SETUP_NETNS_DIR, prefix);
        static const char *const directories[] = {"pods", "ns"};
        for (size_t i = 0; i < ARRAY_SIZE(directories) && r == 0; i++) {
                snprintf(path, sizeof(path), "%s/%s", config->runtime_dir, directories[i]);
                r = pod_names_read(&names, path, "");
        }
        if (r < 0)
                return fold(r);
        if (names.n > 0)
                qsort(names.ids, names.n, sizeof(*names.ids), pod_names_compare);
        size_t n_unique = 0;
        for (size_t i = 0; i < names.n; i++)
                if (i == 0 || strcmp(names.ids[i], names.ids[i - 1]) != 0)
                        memmove(names.ids[n_unique++], names.ids[i], sizeof(names.ids[i]));
        *listed = (SetupListed){0};
        for (size_t i = offset; i < n_unique && listed->n < SETUP_LIST_MAX; i++)
                memcpy(listed->pods[listed->n++], names.ids[i], sizeof(names.ids[i]));
        listed->more = n_unique > (size_t)offset + listed->n;
        return 0;
}
