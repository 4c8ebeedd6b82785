/* SPDX-License-Identifier: Apache-2.0 */
#include "services/linkd/tls-files.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define TLS_FILES_NAME "stream-tls"

typedef struct TlsFiles {
        char certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
} TlsFiles;

int tls_files_note(const char *directory, const char *certificate, const char *key)
{
        char path[CONFIG_PATH_MAX * 2];
        TlsFiles files = {0};
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/" TLS_FILES_NAME, directory);
        (void)str_copy(files.certificate, sizeof(files.certificate), certificate);
        (void)str_copy(files.key, sizeof(files.key), key);
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_mode & 0022)
                return error_origin(-EPERM);
        int r = fd_write_full(fd, &files, sizeof(files));
        return r < 0 ? fold(r) : 0;
}

static bool tls_files_read(const char *directory, TlsFiles *ret)
{
        char path[CONFIG_PATH_MAX * 2];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/" TLS_FILES_NAME, directory);
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_mode & 0022 ||
            fd_pread_full(fd, ret, sizeof(*ret), 0) < 0)
                return false;
        ret->certificate[sizeof(ret->certificate) - 1] = ret->key[sizeof(ret->key) - 1] = '\0';
        return ret->certificate[0] && ret->key[0];
}

static int tls_file_open(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0)
                log_error("cannot open %s: %s; streams keep the certificate and the key that they have", path, strerror(errno));
        return fd;
}

int tls_files_open(const char *directory, TlsFilesCallback callback, void *userdata)
{
        static const ControlKept names[] = {{.name = TLS_FILES_CERTIFICATE}, {.name = TLS_FILES_KEY}};
        TlsFiles files;

        if (directory[0] != '/' || !tls_files_read(directory, &files))
                return 0;
        _cleanup_fd_ int certificate_fd = tls_file_open(files.certificate);
        _cleanup_fd_ int key_fd = tls_file_open(files.key);
        if (certificate_fd < 0 || key_fd < 0)
                return 0;
        int r = callback(userdata, &names[0], certificate_fd);
        return r ? r : callback(userdata, &names[1], key_fd);
}
