/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "lib/fd.h"
#include "services/sandboxd/cni/cni.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define FILES_PATH_MAX (CONFIG_PATH_MAX + 128)

static const char *files_path(const Hand *hand, const char *pod_id, char path[FILES_PATH_MAX])
{
        snprintf(path, FILES_PATH_MAX, "%s/cni/%s", hand_config(hand)->state_dir, pod_id);
        return path;
}

int files_list(const Hand *hand, uint32_t offset, CniListed *listed)
{
        char path[FILES_PATH_MAX];
        struct dirent **entries = NULL;
        int n = scandir(files_path(hand, "", path), &entries, NULL, alphasort);
        if (n < 0 && errno != ENOENT)
                return error_origin(negative_errno());
        uint32_t n_pods = 0;
        *listed = (CniListed){0};
        for (int i = 0; i < n; free(entries[i++]))
                if (id_is_valid(entries[i]->d_name) && n_pods++ >= offset && listed->n < CNI_LIST_MAX)
                        memcpy(listed->pods[listed->n++], entries[i]->d_name, ID_LENGTH + 1);
        listed->more = n_pods > offset && n_pods - offset > CNI_LIST_MAX;
        free(entries);
        return 0;
}

int files_lock(const Hand *hand, const char *pod_id, bool create, int *ret_dir_fd)
{
        char path[FILES_PATH_MAX];
        struct stat st = {0};
        *ret_dir_fd = -1;
        files_path(hand, pod_id, path);
        while (st.st_nlink == 0) { /* a directory that was removed while we waited for it is not the pod's any more */
                if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
                        return error_origin(negative_errno());
                _cleanup_fd_ int fd = open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                if (fd < 0 && errno == ENOENT && !create)
                        return 0;
                /* Waits as long as the one who holds it may run plugins; the brain asks for one thing of a pod at a time. */
                if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &st) < 0)
                        return error_origin(negative_errno());
                if (st.st_nlink > 0)
                        *ret_dir_fd = TAKE_FD(fd);
        }
        return 0;
}

int files_save(int dir_fd, int memfd)
{
        struct stat st;
        off_t offset = 0;
        _cleanup_fd_ int fd = openat(dir_fd, "cache.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(memfd, &st) < 0)
                return error_origin(negative_errno());
        while (offset < st.st_size)
                if (sendfile(fd, memfd, &offset, (size_t)(st.st_size - offset)) <= 0)
                        return error_origin(negative_errno());
        return renameat(dir_fd, "cache.new", dir_fd, "cache") < 0 ? error_origin(negative_errno()) : 0;
}

void files_unlock(const Hand *hand, const char *pod_id, int dir_fd)
{
        char path[FILES_PATH_MAX];
        (void)unlinkat(dir_fd, "cache.new", 0);
        (void)rmdir(files_path(hand, pod_id, path)); /* stays if there is a cache in it */
}

static int files_is_config(const struct dirent *entry)
{
        const char *name = entry->d_name;
        return name[0] != '.' &&
               (str_has_suffix(name, ".conflist") || str_has_suffix(name, ".conf") || str_has_suffix(name, ".json"));
}

/* The first one in lexical order decides. A link is followed: who can make one in there is root. */
void files_open_config(const ConfigCni *config, CniTask *task)
{
        struct dirent **entries = NULL;
        struct stat st;
        int n = scandir(config->conf_dir, &entries, files_is_config, alphasort);
        snprintf(task->config_name, sizeof(task->config_name), "%s/%s", config->conf_dir, n > 0 ? entries[0]->d_name : "");
        for (int i = 0; i < n; i++)
                free(entries[i]);
        free(entries);
        _cleanup_fd_ int fd = n > 0 ? open(task->config_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
        if (n <= 0)
                snprintf(task->config_text, sizeof(task->config_text),
                         "there is no network configuration (*.conflist, *.conf, *.json) in %s; put one there, or install the "
                         "network's add-on, which does", config->conf_dir);
        else if (fd < 0 || fstat(fd, &st) < 0)
                snprintf(task->config_text, sizeof(task->config_text), "%.400s: %s", task->config_name, strerror(errno));
        else if (!S_ISREG(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) || st.st_size > 256 * 1024)
                snprintf(task->config_text, sizeof(task->config_text),
                         "%.400s must be a file of at most 256 KiB that only root can write", task->config_name);
        else
                task->config_fd = TAKE_FD(fd);
}
