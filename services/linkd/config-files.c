/* SPDX-License-Identifier: Apache-2.0 */
#include "services/linkd/config-files.h"
#include "ipc/config.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define CONFIG_FILES_DEFAULT "/etc/bulkhead/config.yaml"

static int config_file_open(const char *path, bool optional, ConfigFileCallback callback, void *userdata)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0 && optional && errno == ENOENT)
                return 0;
        if (fd < 0 || strlen(path) >= CONFIG_PATH_MAX) {
                log_error("cannot open configuration file %s: %s", path, fd < 0 ? strerror(errno) : "the path is too long");
                return -ECANCELED;
        }
        return callback(userdata, path, fd);
}

static int config_file_is_drop_in(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && str_has_suffix(entry->d_name, ".yaml");
}

int config_files_open(const char *config, ConfigFileCallback callback, void *userdata)
{
        const char *path = config ? config : CONFIG_FILES_DEFAULT;
        const char *slash = strrchr(path, '/');
        char directory[CONFIG_PATH_MAX], file[CONFIG_PATH_MAX * 2];
        struct dirent **entries = NULL;

        (void)snprintf(directory, sizeof(directory), "%.*sconf.d", slash ? (int)(slash - path) + 1 : 0, path);
        int r = config_file_open(path, !config, callback, userdata);
        int n = scandir(directory, &entries, config_file_is_drop_in, alphasort);
        for (int i = 0; i < n; i++) {
                (void)snprintf(file, sizeof(file), "%s/%s", directory, entries[i]->d_name);
                if (r == 0)
                        r = config_file_open(file, false, callback, userdata);
                free(entries[i]);
        }
        free(entries);
        return r;
}
