/* SPDX-License-Identifier: Apache-2.0 */

/* What needs root, done once, before confinement; linkd-start then keeps the fds for linkds to come. */

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "policy/directories.h"
#include "policy/policy.h"
#include "services/linkd/linkd.h"
#include "services/linkd/tls-files.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ACQUIRE_CA_DEFAULT "/etc/ssl/certs/ca-certificates.crt"
#define ACQUIRE_BACKLOG 128

/* A directory that is wider than it should be is not narrowed but refused: somebody may already have put something in
 * (CVE-2021-41103, CVE-2024-25621). */
static int acquire_directory(const char *path, uint32_t id, mode_t mode)
{
        struct stat st;

        if (mkdir(path, mode) == 0) {
                if (lchown(path, id, id) < 0 || chmod(path, mode) < 0)
                        return error_origin(negative_errno());
        } else if (errno != EEXIST) {
                int r = negative_errno();
                log_error("cannot make directory %s: %s", path, strerror(-r));
                return error_origin(r);
        }
        if (lstat(path, &st) < 0)
                return error_origin(negative_errno());
        if (!S_ISDIR(st.st_mode) || st.st_uid != id || st.st_gid != id || (st.st_mode & 07777 & ~mode)) {
                log_error("%s must be a directory of %u:%u with mode %04o at most, but is %u:%u %06o: look at what is in "
                          "it, then correct or remove it",
                          path, id, id, mode, st.st_uid, st.st_gid, st.st_mode);
                return error_origin(-EPERM);
        }
        return 0;
}

/* What lies above our directories belongs to the system: made if missing, else taken as it is. */
static int acquire_parents(const char *path)
{
        char part[CONFIG_PATH_MAX * 2];

        (void)str_copy(part, sizeof(part), path);
        for (char *p = strchr(part + 1, '/'); p; p = strchr(p + 1, '/')) {
                *p = '\0';
                if (mkdir(part, 0755) < 0 && errno != EEXIST) {
                        int r = negative_errno();
                        log_error("cannot make directory %s: %s", part, strerror(-r));
                        return error_origin(r);
                }
                *p = '/';
        }
        return 0;
}

static int acquire_made(const ConfigCommon *common, bool runtime, const char *name, uint32_t id, mode_t mode)
{
        char path[CONFIG_PATH_MAX * 2];

        (void)snprintf(path, sizeof(path), "%s%s%s", runtime ? common->runtime_dir : common->state_dir, *name ? "/" : "",
                       name);
        int r = *name ? 0 : acquire_parents(path);
        if (r == 0)
                r = acquire_directory(path, id, mode);
        return r ? fold(r) : 0;
}

static int acquire_directories(const LinkdConfig *config)
{
        const ConfigCommon *common = &config->common;
        int r = 0;

        for (const PolicyMade *d = policy_directories; r == 0 && d->name; d++)
                r = acquire_made(common, d->runtime, d->name, 0, d->mode);
        for (ProcessId p = 0; r == 0 && p < PROCESS_N; p++)
                if (policy_has_state((PolicyId)p))
                        r = acquire_made(common, false, topology_processes[p].name, policy_user(common, p), 0700);
        if (r == 0)
                r = acquire_parents(config->socket_path); /* last: it may lie in a directory of ours, which has its own mode */
        return r ? fold(r) : 0;
}

static int acquire_lock(Linkd *linkd, const LinkdConfig *config)
{
        char path[CONFIG_PATH_MAX * 2], text[32];

        (void)snprintf(path, sizeof(path), "%s/bulkhead.pid", config->common.runtime_dir);
        int kept = linkd_kept(linkd, LINKD_LOCK); /* of a linkd before us, with its lock */
        _cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0 || (kept < 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)) {
                int r = negative_errno();
                log_error("cannot lock %s: %s", path,
                          r == -EWOULDBLOCK ? "another suite runs there; stop it, or choose another runtime_dir"
                                            : strerror(-r));
                return error_origin(r);
        }
        int n = snprintf(text, sizeof(text), "%d\n", linkd->systemd ? getpid() : getppid()); /* who is signalled */
        if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
                return error_origin(negative_errno());
        int r = kept >= 0 ? 0 : linkd_keep(linkd, LINKD_LOCK, TAKE_FD(fd));
        return r ? fold(r) : 0;
}

/* What is left of a suite that was killed is removed; what somebody serves, or is no socket, is not. */
static int acquire_clear_socket(const struct sockaddr_un *address)
{
        struct stat st;

        if (lstat(address->sun_path, &st) < 0)
                return errno == ENOENT ? 0 : error_origin(negative_errno());
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_origin(negative_errno());
        if (!S_ISSOCK(st.st_mode) || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
                log_error("%s: %s", address->sun_path,
                          S_ISSOCK(st.st_mode) ? "another process serves this socket" : "it exists and is not a socket");
                return error_origin(-EADDRINUSE);
        }
        return unlink(address->sun_path) < 0 ? error_origin(negative_errno()) : 0;
}

/* The socket unit's; what it may be is said there. */
static int acquire_check_cri(int fd, const LinkdConfig *config)
{
        struct sockaddr_un address = {0};
        socklen_t size = sizeof(address) - 1;

        if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
                return error_origin(negative_errno());
        if (address.sun_family != AF_UNIX || !str_equal(address.sun_path, config->socket_path)) {
                log_error("socket: %s is configured, but bulkhead.socket listens on %s: make the two equal", config->socket_path,
                          address.sun_family == AF_UNIX ? address.sun_path : "something that is no path");
                return error_origin(-EINVAL);
        }
        return 0;
}

static int acquire_cri_listener(Linkd *linkd, const LinkdConfig *config)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        uint32_t gid = 0;

        if (linkd_kept(linkd, "cri") >= 0)
                return acquire_check_cri(linkd_kept(linkd, "cri"), config);
        int r = linkd_probe_group(config, &gid);
        if (r)
                return fold(r);
        (void)str_copy(address.sun_path, sizeof(address.sun_path), config->socket_path);
        r = acquire_clear_socket(&address);
        if (r)
                return fold(r);
        _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_origin(negative_errno());
        mode_t mask = umask(0177); /* nobody connects before the group is right */
        r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? negative_errno() : 0;
        (void)umask(mask);
        if (r == 0 && (lchown(address.sun_path, 0, gid) < 0 || chmod(address.sun_path, 0660) < 0 ||
                       listen(fd, ACQUIRE_BACKLOG) < 0))
                r = negative_errno();
        if (r) {
                log_error("cannot listen on %s: %s", address.sun_path, strerror(-r));
                return error_origin(r);
        }
        r = linkd_keep(linkd, "cri", TAKE_FD(fd));
        return r ? fold(r) : 0;
}

typedef union AcquireAddress {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
} AcquireAddress;

/* As the configuration says, or what the socket unit made. */
static int acquire_open_stream(Linkd *linkd, const ConfigStreamd *stream)
{
        AcquireAddress address = {.v4 = {.sin_family = AF_INET, .sin_port = htons(stream->port)}};
        socklen_t size = sizeof(address.v4);
        int yes = 1;

        if (linkd_kept(linkd, "stream") >= 0)
                return 0;
        if (inet_pton(AF_INET, stream->address, &address.v4.sin_addr) != 1) {
                address.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(stream->port)};
                size = sizeof(address.v6);
                (void)inet_pton(AF_INET6, stream->address, &address.v6.sin6_addr);
        }
        _cleanup_fd_ int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 || bind(fd, &address.any, size) < 0 ||
            listen(fd, ACQUIRE_BACKLOG) < 0) {
                int r = negative_errno();
                log_error("cannot listen on %s port %u for streams: %s", stream->address, stream->port, strerror(-r));
                return error_origin(r);
        }
        int r = linkd_keep(linkd, "stream", TAKE_FD(fd));
        return r ? fold(r) : 0;
}

static int acquire_stream_listener(Linkd *linkd, LinkdConfig *config)
{
        ConfigStreamd *stream = &config->streamd;
        AcquireAddress address = {0};
        socklen_t size = sizeof(address);

        int r = acquire_open_stream(linkd, stream);
        if (r)
                return fold(r);
        if (getsockname(linkd_kept(linkd, "stream"), &address.any, &size) < 0)
                return error_origin(negative_errno());
        bool v6 = address.any.sa_family == AF_INET6;
        if (!inet_ntop(address.any.sa_family, v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr, stream->address,
                       sizeof(stream->address)))
                return error_origin(negative_errno());
        stream->port = ntohs(v6 ? address.v6.sin6_port : address.v4.sin_port);
        (void)snprintf(config->common.stream_url, sizeof(config->common.stream_url), v6 ? "http%s://[%s]:%u" : "http%s://%s:%u",
                       stream->tls ? "s" : "", stream->address, stream->port);
        return 0;
}

static int acquire_tls_file(Linkd *linkd, const char *name, const char *key, const char *path)
{
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0) {
                int r = negative_errno();
                log_error("%s: cannot open %s: %s", key, path, strerror(-r));
                return error_origin(r);
        }
        int r = linkd_keep(linkd, name, TAKE_FD(fd));
        return r ? fold(r) : 0;
}

static int acquire_tls(Linkd *linkd, const LinkdConfig *config)
{
        char directory[CONFIG_PATH_MAX];

        (void)str_copy(directory, sizeof(directory), config->common.runtime_dir);
        if (linkd->systemd)
                linkd_systemd_notes(directory);
        int r = tls_files_note(directory, config->stream_cert_file, config->stream_key_file);
        if (r == 0 && config->streamd.tls)
                r = acquire_tls_file(linkd, TLS_FILES_CERTIFICATE, "stream.tls_cert_file", config->stream_cert_file);
        if (r == 0 && config->streamd.tls)
                r = acquire_tls_file(linkd, TLS_FILES_KEY, "stream.tls_key_file", config->stream_key_file);
        return r ? fold(r) : 0;
}

static int acquire_ca(Linkd *linkd, const LinkdConfig *config)
{
        const char *path = config->fetch.ca_file[0] ? config->fetch.ca_file : ACQUIRE_CA_DEFAULT;
        _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0 && config->fetch.ca_file[0]) {
                int r = negative_errno();
                log_error("images.ca_file: cannot open %s: %s", path, strerror(-r));
                return error_origin(r);
        }
        if (fd < 0) {
                log_warning("there is no CA bundle at %s: registries over https cannot be verified (install "
                            "ca-certificates, or set images.ca_file)",
                            path);
                return 0;
        }
        int r = linkd_keep(linkd, "ca", TAKE_FD(fd));
        return r ? fold(r) : 0;
}

/* Permits lie beside the containers that they were sealed for, and containers outlive the suite: so the keys last as long as
 * the boot, in a file of root's on the runtime directory's tmpfs. */
typedef struct AcquireKeys {
        char boot_id[40];
        uint8_t keys[CONTROL_KEY_N][CONTROL_KEY_BYTES];
} AcquireKeys;

static int acquire_keys(Linkd *linkd, const LinkdConfig *config)
{
        char path[CONFIG_PATH_MAX * 2];
        AcquireKeys file = {0};
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/keys", config->common.runtime_dir);
        _cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_origin(negative_errno());
        if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_mode & 0077) {
                log_error("%s must be a file that root alone can read: remove it when no container of ours runs", path);
                return error_origin(-EPERM);
        }
        if (pread(fd, &file, sizeof(file), 0) != sizeof(file) || !str_equal(file.boot_id, config->common.boot_id) ||
            !file.boot_id[0]) {
                (void)str_copy(file.boot_id, sizeof(file.boot_id), config->common.boot_id);
                randombytes_buf(file.keys, sizeof(file.keys));
                if (pwrite(fd, &file, sizeof(file), 0) != sizeof(file))
                        return error_origin(-EIO);
        }
        memcpy(linkd->memory->keys, file.keys, sizeof(file.keys));
        explicit_bzero(&file, sizeof(file));
        return 0;
}

int linkd_acquire(Linkd *linkd, LinkdConfig *config)
{
        int r = acquire_directories(config);
        if (r == 0)
                r = acquire_lock(linkd, config);
        if (r == 0)
                r = acquire_keys(linkd, config);
        if (r == 0)
                r = acquire_cri_listener(linkd, config);
        if (r == 0)
                r = acquire_stream_listener(linkd, config);
        if (r == 0)
                r = acquire_tls(linkd, config);
        if (r == 0)
                r = acquire_ca(linkd, config);
        return r ? fold(r) : 0;
}

int linkd_keep(Linkd *linkd, const char *name, int fd)
{
        for (size_t i = 0; i < linkd->n_kept; i++)
                if (str_equal(linkd->kept[i].name, name)) {
                        (void)fd_close(linkd->kept[i].fd);
                        linkd->kept[i].fd = fd;
                        return 0;
                }
        if (linkd->n_kept == LINKD_KEPT_MAX) {
                (void)close(fd);
                return error_origin(-E2BIG);
        }
        LinkdKept *kept = &linkd->kept[linkd->n_kept++];
        (void)str_copy(kept->name, sizeof(kept->name), name);
        kept->fd = fd;
        return 0;
}

int linkd_kept(const Linkd *linkd, const char *name)
{
        for (size_t i = 0; i < linkd->n_kept; i++)
                if (str_equal(linkd->kept[i].name, name))
                        return linkd->kept[i].fd;
        return -1;
}
