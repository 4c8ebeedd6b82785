/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/runtime/checkpoint.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"

/* A dump that is ended half-way leaves processes with CRIU's code in them: so it is not, until nobody would believe that it still works. */
#define CHECKPOINT_DUMP_USEC ((uint64_t)(LAUNCH_CHECKPOINT_SEC_MAX + 300) * USEC_PER_SEC)

static int _printf_(3, 4) checkpoint_say(Checkpoint *checkpoint, uint32_t code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        checkpoint->code = code;
        (void)vsnprintf(checkpoint->text, sizeof(checkpoint->text), format, args);
        va_end(args);
        return CHECKPOINT_E_SET;
}

static int checkpoint_say_errno(Checkpoint *checkpoint, const char *what, const char *path)
{
        bool is_full = errno == ENOSPC || errno == EDQUOT;
        return checkpoint_say(checkpoint, is_full ? GRPC_STATUS_RESOURCE_EXHAUSTED : GRPC_STATUS_FAILED_PRECONDITION, "%s %s: %s%s", what, path,
                              strerror(errno), is_full ? "; free space" : "");
}

static void checkpoint_path(char to[PLACE_PATH_MAX], const ConfigCommon *common, const char *id, const char *suffix)
{
        (void)snprintf(to, PLACE_PATH_MAX, "%s/checkpoints/%.64s%s", common->state_dir, id, suffix);
}

/* CRIU writes files only, and no directories. */
static void checkpoint_empty(const char *path)
{
        DIR *dir = opendir(path);
        for (struct dirent *entry; dir && (entry = readdir(dir));)
                if (!str_equal(entry->d_name, ".") && !str_equal(entry->d_name, ".."))
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        if (dir)
                (void)closedir(dir);
        (void)rmdir(path);
}

static void checkpoint_remove(const ConfigCommon *common, const char *id)
{
        static const char *const parts[] = {"/checkpoint", "/work", ""};
        char path[PLACE_PATH_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                checkpoint_path(path, common, id, parts[i]);
                checkpoint_empty(path);
        }
}

static void checkpoint_resume(const Runtime *runtime, const char *id)
{
        const char *const arguments[] = {"resume", id, NULL};
        char words[RUNTIME_WORDS_MAX];
        int r = runtime_run(runtime, arguments, words);
        if (r > 0)
                log_info("container %s: it does not run on after its checkpoint: %s", id, words); /* it has ended, or was never paused */
        else if (r < 0)
                log_warning("container %s: it does not run on after its checkpoint: %s", id, error_trace());
}

int checkpoint_begin(Checkpoint *checkpoint, const ConfigCommon *common, const Runtime *runtime, const char *id, uint32_t timeout_sec)
{
        static const char *const parts[] = {"/checkpoint", "/work"};
        char path[PLACE_PATH_MAX];
        checkpoint->common = common;
        checkpoint->runtime = runtime;
        checkpoint->deadline_usec = clock_monotonic_usec() + (uint64_t)MIN2(timeout_sec, (uint32_t)LAUNCH_CHECKPOINT_SEC_MAX) * USEC_PER_SEC;
        (void)str_copy(checkpoint->id, sizeof(checkpoint->id), id);
        checkpoint_path(checkpoint->path, common, id, "");
        (void)snprintf(path, sizeof(path), "%s/checkpoints", common->state_dir);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return checkpoint_say_errno(checkpoint, "making", path);
        int r;
        do { /* whoever had the lock may take the directory with it */
                if (mkdir(checkpoint->path, 0700) == 0)
                        errno = 0;
                else if (errno != EEXIST)
                        return checkpoint_say_errno(checkpoint, "making", checkpoint->path);
                bool was_there = errno == EEXIST;
                r = place_lock_path(checkpoint->path, LOCK_EX, &checkpoint->lock_fd);
                if (r == 0 && was_there)
                        checkpoint_resume(runtime, id);
        } while (r == -ENOENT);
        if (r < 0)
                return error_origin(r);
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
                checkpoint_path(path, common, id, parts[i]);
                checkpoint_empty(path);
                if (mkdir(path, 0700) < 0)
                        return checkpoint_say_errno(checkpoint, "making", path);
        }
        return 0;
}

/* The kubelet's word (Class 1) names a directory; nobody who could make a link on the way there shall lead it elsewhere. */
static int checkpoint_open_location(Checkpoint *checkpoint, const char *location)
{
        const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
        const char *slash = strrchr(location, '/');
        char directory[4096];
        struct stat st;
        if (!slash || (size_t)(slash - location) >= sizeof(directory) || !str_copy(checkpoint->name, sizeof(checkpoint->name), slash + 1) ||
            checkpoint->name[0] == '\0' || str_equal(checkpoint->name, ".") || str_equal(checkpoint->name, ".."))
                return checkpoint_say(checkpoint, GRPC_STATUS_INVALID_ARGUMENT, "location %.500s: it names no file", location);
        (void)snprintf(directory, sizeof(directory), "%.*s", (int)(slash - location), location);
        checkpoint->to_fd = (int)syscall(SYS_openat2, AT_FDCWD, directory[0] ? directory : "/", &how, sizeof(how));
        if (checkpoint->to_fd < 0 && errno == ELOOP)
                return checkpoint_say(checkpoint, GRPC_STATUS_FAILED_PRECONDITION,
                                      "location %.500s: a symbolic link is on the way to it, which is not followed; name the real directory",
                                      location);
        if (checkpoint->to_fd < 0)
                return checkpoint_say(checkpoint, errno == ENOENT ? GRPC_STATUS_NOT_FOUND : GRPC_STATUS_FAILED_PRECONDITION,
                                      "location %.500s: its directory: %s", location, strerror(errno));
        if (fstatat(checkpoint->to_fd, checkpoint->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
                return checkpoint_say(checkpoint, GRPC_STATUS_FAILED_PRECONDITION, "location %.500s: what is there is no regular file; name another",
                                      location);
        (void)snprintf(checkpoint->staged, sizeof(checkpoint->staged), ".%s.checkpoint", checkpoint->id);
        (void)unlinkat(checkpoint->to_fd, checkpoint->staged, 0);
        checkpoint->archive_fd = openat(checkpoint->to_fd, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
        checkpoint->is_unnamed = checkpoint->archive_fd >= 0;
        if (!checkpoint->is_unnamed) /* not every file system has files without a name */
                checkpoint->archive_fd = openat(checkpoint->to_fd, checkpoint->staged, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return checkpoint->archive_fd < 0 ? checkpoint_say_errno(checkpoint, "making the archive in the directory of", location) : 0;
}

static int checkpoint_is_late(Checkpoint *checkpoint)
{
        return clock_monotonic_usec() < checkpoint->deadline_usec ? 0
               : checkpoint_say(checkpoint, GRPC_STATUS_DEADLINE_EXCEEDED, "it took longer than its timeout; the container runs on, nothing was kept");
}

static int checkpoint_run(Checkpoint *checkpoint, const char *const *arguments)
{
        char words[RUNTIME_WORDS_MAX] = "";
        int r = runtime_run_for(checkpoint->runtime, arguments, CHECKPOINT_DUMP_USEC, words);
        if (r <= 0)
                return r < 0 ? fold(r) : 0;
        return checkpoint_say(checkpoint, GRPC_STATUS_UNKNOWN, "%s %s failed: %s", runtime_name(checkpoint->runtime), arguments[0], words);
}

int checkpoint_dump(Checkpoint *checkpoint, const char *location, bool has_terminal)
{
        char images[PLACE_PATH_MAX], work[PLACE_PATH_MAX];
        const char *const pause[] = {"pause", checkpoint->id, NULL};
        const char *const dump[] = {"checkpoint", "--leave-running", "--file-locks", "--tcp-established", "--ext-unix-sk", "--image-path", images,
                                    "--work-path", work, has_terminal ? "--shell-job" : checkpoint->id, has_terminal ? checkpoint->id : NULL, NULL};
        checkpoint_path(images, checkpoint->common, checkpoint->id, "/checkpoint");
        checkpoint_path(work, checkpoint->common, checkpoint->id, "/work");
        if (!place_is_started(checkpoint->common, checkpoint->id))
                return checkpoint_say(checkpoint, GRPC_STATUS_FAILED_PRECONDITION, "container %s does not run", checkpoint->id);
        int r = checkpoint_open_location(checkpoint, location);
        if (r)
                return r < 0 ? fold(r) : r;
        checkpoint->is_paused = true;
        r = checkpoint_run(checkpoint, pause);
        if (r == 0) {
                r = checkpoint_run(checkpoint, dump);
                checkpoint->is_undumped = r > 0;
        }
        if (r == 0)
                r = checkpoint_is_late(checkpoint);
        return r < 0 ? fold(r) : r;
}

/* Its name as a whole is one rename away then. */
static int checkpoint_stage(Checkpoint *checkpoint)
{
        char path[64];
        if (!checkpoint->is_unnamed)
                return 0;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", checkpoint->archive_fd);
        if (linkat(AT_FDCWD, path, checkpoint->to_fd, checkpoint->staged, AT_SYMLINK_FOLLOW) < 0)
                return checkpoint_say_errno(checkpoint, "naming the archive", checkpoint->name);
        return 0;
}

int checkpoint_commit(Checkpoint *checkpoint)
{
        char path[PLACE_PATH_MAX];
        struct stat st;
        place_path(path, checkpoint->common, PLACE_CONTAINER, checkpoint->id, "/config.json");
        if (lstat(path, &st) < 0) /* while it is there and stands still, nothing of what was read was taken away */
                return checkpoint_say(checkpoint, GRPC_STATUS_FAILED_PRECONDITION, "it was removed meanwhile; nothing was kept");
        checkpoint_resume(checkpoint->runtime, checkpoint->id);
        checkpoint->is_paused = false;
        if (fsync(checkpoint->archive_fd) < 0)
                return checkpoint_say_errno(checkpoint, "writing the archive", checkpoint->name);
        int r = checkpoint_is_late(checkpoint);
        if (r == 0)
                r = checkpoint_stage(checkpoint);
        if (r == 0 && renameat(checkpoint->to_fd, checkpoint->staged, checkpoint->to_fd, checkpoint->name) < 0)
                return checkpoint_say_errno(checkpoint, "naming the archive", checkpoint->name);
        if (r == 0)
                checkpoint->archive_fd = fd_close(checkpoint->archive_fd);
        return r;
}

void checkpoint_done(Checkpoint *checkpoint)
{
        if (checkpoint->is_paused)
                checkpoint_resume(checkpoint->runtime, checkpoint->id);
        if (checkpoint->archive_fd >= 0)
                (void)unlinkat(checkpoint->to_fd, checkpoint->staged, 0);
        if (checkpoint->lock_fd >= 0)
                checkpoint_remove(checkpoint->common, checkpoint->id);
        checkpoint->archive_fd = fd_close(checkpoint->archive_fd);
        checkpoint->to_fd = fd_close(checkpoint->to_fd);
        checkpoint->lock_fd = fd_close(checkpoint->lock_fd);
}

bool checkpoint_undo(const ConfigCommon *common, const Runtime *runtime, const char *id)
{
        char path[PLACE_PATH_MAX];
        _cleanup_fd_ int fd = -1;
        checkpoint_path(path, common, id, "");
        int r = place_lock_path(path, LOCK_EX | LOCK_NB, &fd);
        if (r < 0)
                return r == -EWOULDBLOCK;
        checkpoint_resume(runtime, id);
        checkpoint_remove(common, id);
        return false;
}

static int checkpoint_walk_file(const char *path, const char *name, bool is_optional, CheckpointFileCallback callback, void *userdata)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        return fd < 0 ? errno == ENOENT && is_optional ? 0 : error_origin(negative_errno()) : callback(userdata, name, fd);
}

int checkpoint_walk(const ConfigCommon *common, const char *id, CheckpointFileCallback callback, void *userdata)
{
        static const char *const logs[] = {"dump.log", "stats-dump"};
        char path[PLACE_PATH_MAX], file[PLACE_PATH_MAX + 256], name[300];
        place_path(path, common, PLACE_CONTAINER, id, "/config.json");
        int r = checkpoint_walk_file(path, "spec.dump", false, callback, userdata);
        for (size_t i = 0; i < ARRAY_SIZE(logs) && r == 0; i++) {
                (void)snprintf(name, sizeof(name), "/work/%s", logs[i]);
                checkpoint_path(path, common, id, name);
                r = checkpoint_walk_file(path, logs[i], true, callback, userdata);
        }
        checkpoint_path(path, common, id, "/checkpoint");
        DIR *dir = r == 0 ? opendir(path) : NULL;
        if (r == 0 && !dir)
                r = error_origin(negative_errno());
        for (struct dirent *entry; r == 0 && (entry = readdir(dir));) {
                struct stat st;
                if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                        continue;
                (void)snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
                (void)snprintf(name, sizeof(name), "checkpoint/%s", entry->d_name);
                r = checkpoint_walk_file(file, name, false, callback, userdata);
        }
        if (dir)
                (void)closedir(dir);
        return r < 0 ? fold(r) : 0;
}

int checkpoint_open_log(const Checkpoint *checkpoint)
{
        char path[PLACE_PATH_MAX];
        checkpoint_path(path, checkpoint->common, checkpoint->id, "/work/dump.log");
        return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* Where the dynamic loader of Debian looks, and those of others. */
#if defined(__x86_64__)
#define CHECKPOINT_LIBRARIES "/usr/lib/x86_64-linux-gnu"
#elif defined(__aarch64__)
#define CHECKPOINT_LIBRARIES "/usr/lib/aarch64-linux-gnu"
#else
#define CHECKPOINT_LIBRARIES "/usr/lib/multiarch"
#endif

static bool checkpoint_finds(const char *const *directories, size_t n, const char *name)
{
        for (size_t i = 0; i < n; i++) {
                char path[128];
                struct stat st;
                (void)snprintf(path, sizeof(path), "%s/%s", directories[i], name);
                if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
                        return st.st_uid == 0 && (st.st_mode & 022) == 0;
        }
        return false;
}

uint32_t checkpoint_probe_criu(void)
{
        static const char *const programs[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}; /* runtime_exec() */
        static const char *const libraries[] = {"/usr/local/lib", CHECKPOINT_LIBRARIES, "/usr/lib64", "/usr/lib"};
        return (checkpoint_finds(programs, ARRAY_SIZE(programs), "criu") ? LAUNCH_CRIU_PROGRAM : 0u) |
               (checkpoint_finds(libraries, ARRAY_SIZE(libraries), "libcriu.so.2") ? LAUNCH_CRIU_LIBRARY : 0u);
}
