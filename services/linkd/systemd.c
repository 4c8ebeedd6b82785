/* SPDX-License-Identifier: Apache-2.0 */

/* linkd where systemd starts the processes. What linkd-start does in standalone mode is done by systemd here: it starts each
 * unit again when it ends, holds the sockets, and keeps in linkd's file descriptor store (sd_notify(3), FDSTORE) what must
 * outlive linkd: the memory file, the lock, the CA bundle and linkd's end of every control channel. A process connects to its
 * own socket in the control directory as soon as it starts; a connection is one life of it. */

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/linkd/config-files.h"
#include "services/linkd/linkd.h"
#include "services/linkd/tls-files.h"
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SYSTEMD_FDS_FIRST 3 /* sd_listen_fds(3) */
#define SYSTEMD_MEMORY "memory"
#define SYSTEMD_DOOR "control"
#define SYSTEMD_KILL_DIR "/run/bulkhead/kill"

bool linkd_systemd_is_parent(void)
{
        const char *pid = getenv("LISTEN_PID");
        uint64_t n;

        return getenv("NOTIFY_SOCKET") && pid && u64_parse(pid, INT32_MAX, &n) && n == (uint64_t)getpid();
}

static ProcessId systemd_process(const char *name, size_t length)
{
        for (ProcessId p = 0; p < PROCESS_N; p++)
                if (strlen(topology_processes[p].name) == length && strncmp(topology_processes[p].name, name, length) == 0)
                        return p;
        return PROCESS_N;
}

static int systemd_open_notify(Linkd *linkd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const char *path = getenv("NOTIFY_SOCKET");
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));

        if (!str_copy(address.sun_path, sizeof(address.sun_path), path))
                return error_origin(-ENAMETOOLONG);
        if (*path == '@')
                address.sun_path[0] = '\0';
        linkd->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (linkd->notify_fd < 0 || connect(linkd->notify_fd, (struct sockaddr *)&address, size) < 0)
                return error_origin(negative_errno());
        return 0;
}

/* One datagram, with one fd or none (-1). */
static int systemd_notify(const Linkd *linkd, const char *text, int fd)
{
        struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {0};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t n;

        if (fd >= 0) {
                message.msg_control = control.buffer;
                message.msg_controllen = sizeof(control.buffer);
                struct cmsghdr *c = CMSG_FIRSTHDR(&message);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(int));
        }
        do
                n = sendmsg(linkd->notify_fd, &message, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? error_origin(negative_errno()) : 0;
}

static int systemd_store(const Linkd *linkd, const char *name, int fd)
{
        char text[128];

        (void)snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s", name);
        int r = systemd_notify(linkd, text, fd);
        return r ? fold(r) : 0;
}

/* A socket of the control directory belongs to the process that its path ends with. */
static int systemd_take_door(Linkd *linkd, int fd)
{
        struct sockaddr_un address = {0};
        socklen_t size = sizeof(address) - 1;
        _cleanup_fd_ int owned = fd;

        if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
                return error_origin(negative_errno());
        const char *slash = address.sun_family == AF_UNIX ? strrchr(address.sun_path, '/') : NULL;
        ProcessId process = slash ? systemd_process(slash + 1, strlen(slash + 1)) : PROCESS_N;
        if (process == PROCESS_N || linkd->doors[process].fd >= 0) {
                log_warning("the socket %s is no process's: ignored", slash ? address.sun_path : "without a path");
                return 0;
        }
        linkd->doors[process].fd = TAKE_FD(owned);
        return 0;
}

/* "<process>.<incarnation>": a control channel that the linkd before us has stored. */
static bool systemd_take_channel(Linkd *linkd, const char *name, int fd)
{
        const char *dot = strrchr(name, '.');
        ProcessId process = dot ? systemd_process(name, (size_t)(dot - name)) : PROCESS_N;
        uint64_t n;

        if (process == PROCESS_N || !u64_parse(dot + 1, UINT32_MAX, &n) || n <= linkd->doors[process].stored_incarnation)
                return false;
        (void)fd_close(linkd->doors[process].stored_fd); /* of a life before that one */
        linkd->doors[process].stored_fd = fd;
        linkd->doors[process].stored_incarnation = (uint32_t)n;
        return true;
}

/* Sockets of units come before what was stored: the first of a name is the one. */
static int systemd_take_kept(Linkd *linkd, const char *name, int fd)
{
        _cleanup_fd_ int owned = fd;

        if (linkd_kept(linkd, name) >= 0)
                return 0;
        int r = linkd_keep(linkd, name, TAKE_FD(owned));
        if (r)
                return fold(r);
        linkd->kept[linkd->n_kept - 1].is_given = true;
        return 0;
}

static int systemd_take_fd(Linkd *linkd, const char *name, int fd)
{
        _cleanup_fd_ int owned = fd;
        int r = 0;

        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                return error_origin(negative_errno());
        if (str_equal(name, SYSTEMD_MEMORY) && !linkd->memory)
                (void)linkd_memory_map(linkd, fd); /* that of a build with a smaller one is as if there were none */
        else if (str_equal(name, SYSTEMD_DOOR))
                r = systemd_take_door(linkd, TAKE_FD(owned));
        else if (str_equal(name, "cri") || str_equal(name, "stream") || str_equal(name, "ca") || str_equal(name, TLS_FILES_CERTIFICATE) ||
                 str_equal(name, TLS_FILES_KEY) || str_equal(name, LINKD_LOCK))
                r = systemd_take_kept(linkd, name, TAKE_FD(owned));
        else if (systemd_take_channel(linkd, name, fd))
                (void)TAKE_FD(owned);
        return r ? fold(r) : 0;
}

static int systemd_take_fds(Linkd *linkd)
{
        const char *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
        uint64_t n = 0;

        if (!count || !names || !u64_parse(count, LINKD_SYSTEMD_FDS_MAX, &n))
                return error_origin(-EINVAL);
        for (uint64_t i = 0; i < n; i++) {
                char name[128];
                size_t length = strcspn(names, ":");

                (void)snprintf(name, sizeof(name), "%.*s", (int)MIN2(length, sizeof(name) - 1), names);
                names += length + (names[length] == ':');
                int r = systemd_take_fd(linkd, name, SYSTEMD_FDS_FIRST + (int)i);
                if (r)
                        return fold(r);
        }
        return 0;
}

static int systemd_make_memory(Linkd *linkd)
{
        _cleanup_fd_ int fd = memfd_create("bulkhead-linkd", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0 || ftruncate(fd, sizeof(LinkdMemory)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return error_origin(negative_errno());
        int r = linkd_memory_map(linkd, fd);
        if (r == 0)
                r = systemd_store(linkd, SYSTEMD_MEMORY, fd);
        return r ? fold(r) : 0;
}

static int systemd_on_file(void *userdata, const char *path, int fd)
{
        int r = linkd_file_add(userdata, path, fd);
        return r ? fold(r) : 0;
}

static void systemd_forget(Linkd *linkd, const char *name)
{
        char text[128];

        (void)snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
        for (size_t i = 0; i < linkd->n_kept; i++)
                if (str_equal(linkd->kept[i].name, name)) {
                        (void)systemd_notify(linkd, text, -1);
                        (void)fd_close(linkd->kept[i].fd);
                        linkd->kept[i--] = linkd->kept[--linkd->n_kept];
                }
}

static bool systemd_has_channels(const Linkd *linkd)
{
        bool has = false;

        for (ProcessId p = 0; p < PROCESS_N; p++)
                has = has || linkd->doors[p].stored_fd >= 0;
        return has;
}

/* Pipes of units that kill. Without one (another version of the units) shutting the channel must do. */
static void systemd_open_pipes(Linkd *linkd)
{
        char path[128];

        for (ProcessId p = 0; p < PROCESS_N; p++) {
                (void)snprintf(path, sizeof(path), SYSTEMD_KILL_DIR "/%s", topology_processes[p].name);
                linkd->doors[p].kill_fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
        }
}

int linkd_systemd_begin(Linkd *linkd)
{
        const char *config = NULL;

        int r = systemd_open_notify(linkd);
        if (r == 0)
                r = systemd_take_fds(linkd);
        if (r)
                return fold(r);
        systemd_open_pipes(linkd);
        if (linkd->memory && (!linkd_memory_is_filled(linkd) || !systemd_has_channels(linkd))) {
                /* Without a channel everything was stopped with linkd: it begins anew, with the configuration that there is now. Or it
                 * is another build's memory: what the channels were told we cannot know, so they end, and systemd starts their
                 * processes again. */
                (void)systemd_notify(linkd, "FDSTOREREMOVE=1\nFDNAME=" SYSTEMD_MEMORY, -1);
                (void)munmap(TAKE_PTR(linkd->memory), sizeof(LinkdMemory));
        }
        linkd->founding = !linkd->memory;
        if (!linkd->founding)
                return 0;
        systemd_forget(linkd, "ca"); /* they are opened anew */
        systemd_forget(linkd, TLS_FILES_CERTIFICATE);
        systemd_forget(linkd, TLS_FILES_KEY);
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                if (linkd->doors[p].stored_fd >= 0)
                        (void)shutdown(linkd->doors[p].stored_fd, SHUT_RDWR);
                linkd->doors[p].stored_fd = fd_close(linkd->doors[p].stored_fd);
        }
        r = systemd_make_memory(linkd);
        for (int i = 1; i + 1 < linkd->argc; i += 2)
                if (str_equal(linkd->argv[i], "--config"))
                        config = linkd->argv[i + 1];
        if (r == 0)
                r = config_files_open(config, systemd_on_file, linkd);
        return r == -ECANCELED ? CONFIG_E_INVALID : r ? fold(r) : 0;
}

/* A file that a reload has opened anew: systemd keeps it instead of the one before. */
static int systemd_renew(Linkd *linkd, const char *name, int fd)
{
        _cleanup_fd_ int owned = fd;

        if (!str_equal(name, TLS_FILES_CERTIFICATE) && !str_equal(name, TLS_FILES_KEY))
                return error_origin(-EPROTO);
        systemd_forget(linkd, name);
        int r = systemd_store(linkd, name, fd);
        if (r == 0)
                r = linkd_keep(linkd, name, TAKE_FD(owned));
        return r ? fold(r) : 0;
}

/* The reload of this unit: root's linkd-start opens the files, as it does in standalone mode. */
static void systemd_on_reload(evutil_socket_t fd, short what, void *userdata)
{
        Linkd *linkd = userdata;
        int r;

        do {
                r = control_receive(fd, false, &linkd->frame);
                if (r == 0 && linkd->frame.type == CONTROL_START_FILE)
                        r = linkd_file_add(linkd, linkd->frame.file.path, linkd->frame.fd);
                else if (r == 0 && linkd->frame.type == CONTROL_START_KEPT)
                        r = systemd_renew(linkd, linkd->frame.kept.name, TAKE_FD(linkd->frame.fd));
                else if (r == 0 && linkd->frame.type == CONTROL_START_FILES_END)
                        linkd_reload(linkd);
                else if (r == 0)
                        r = CONTROL_E_MALFORMED;
                linkd->frame.fd = fd_close(linkd->frame.fd);
        } while (r == 0);
        if (r == CONTROL_E_AGAIN)
                return;
        linkd_files_drop(linkd);
        event_free(TAKE_PTR(linkd->reload_event));
        linkd->reload_fd = fd_close(linkd->reload_fd);
}

static int systemd_begin_reload(Linkd *linkd, int fd)
{
        _cleanup_fd_ int owned = fd;

        if (linkd->reload_fd >= 0)
                return 0; /* one at a time; systemd sees to that */
        linkd->reload_event = event_new(linkd->base, fd, EV_READ | EV_PERSIST, systemd_on_reload, linkd);
        if (!linkd->reload_event || event_add(linkd->reload_event, NULL) < 0)
                return error_origin(-ENOMEM);
        linkd->reload_fd = TAKE_FD(owned);
        return 0;
}

/* One life of a process connects. It is root's: every unit starts as root and enters its row when linkd has spoken. The life before
 * must be over; a second one at the same time is nobody that systemd has started. */
static int systemd_accept(Linkd *linkd, LinkdDoor *door)
{
        ProcessId process = (ProcessId)(door - linkd->doors);
        LinkdDaemon *daemon = &linkd->daemons[process];
        struct ucred peer = {0};
        socklen_t size = sizeof(peer);
        char name[CONTROL_FD_NAME_MAX];

        _cleanup_fd_ int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR ? 0 : error_origin(negative_errno());
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != 0) {
                log_warning("%s: user %u connects to its control socket: refused", topology_processes[process].name, peer.uid);
                return 0;
        }
        if (process == PROCESS_LINKD)
                return systemd_begin_reload(linkd, TAKE_FD(fd));
        linkd_daemon_look(linkd, process);
        if (daemon->control_fd >= 0) {
                log_warning("%s: process %d connects to its control socket while the one before lives: refused",
                            topology_processes[process].name, peer.pid);
                return 0;
        }
        const ControlChild child = {
                .process = process,
                .pid = peer.pid,
                .incarnation = MAX2(daemon->incarnation, linkd->memory->rows[process].incarnation) + 1,
        };
        (void)snprintf(name, sizeof(name), "%s.%u", topology_processes[process].name, child.incarnation);
        int r = systemd_store(linkd, name, fd);
        if (r == 0)
                r = linkd_daemon_up(linkd, &child, TAKE_FD(fd));
        return r ? fold(r) : 0;
}

static void systemd_on_door(evutil_socket_t fd, short what, void *userdata)
{
        LinkdDoor *door = userdata;
        int r = systemd_accept(door->linkd, door);

        if (r < 0)
                log_error("control socket of %s: %s", topology_processes[door - door->linkd->doors].name, error_trace());
}

static int systemd_open_doors(Linkd *linkd)
{
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                LinkdDoor *door = &linkd->doors[p];

                if (door->fd < 0)
                        continue;
                door->linkd = linkd;
                door->event = event_new(linkd->base, door->fd, EV_READ | EV_PERSIST, systemd_on_door, door);
                if (!door->event || event_add(door->event, NULL) < 0)
                        return error_origin(-ENOMEM);
        }
        return 0;
}

int linkd_systemd_serve(Linkd *linkd, bool first)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < linkd->n_kept; i++) {
                LinkdKept *kept = &linkd->kept[i];
                if (first && !kept->is_given)
                        r = systemd_store(linkd, kept->name, kept->fd);
                if (str_equal(kept->name, LINKD_LOCK)) /* systemd's alone: it lasts as long as the suite */
                        kept->fd = fd_close(kept->fd);
        }
        for (ProcessId p = 0; r == 0 && p < PROCESS_N; p++) {
                LinkdDoor *door = &linkd->doors[p];
                const ControlChild child = {.process = p, .pid = 1, .incarnation = door->stored_incarnation};
                if (door->stored_fd >= 0)
                        r = linkd_daemon_up(linkd, &child, TAKE_FD(door->stored_fd));
        }
        if (r == 0)
                r = systemd_open_doors(linkd);
        return r ? fold(r) : 0;
}

void linkd_systemd_notes(char to[static CONFIG_PATH_MAX])
{
        const char *control = getenv("BULKHEAD_CONTROL"), *slash = control ? strrchr(control, '/') : NULL;

        if (slash && slash > control)
                (void)snprintf(to, CONFIG_PATH_MAX, "%.*s", (int)(slash - control), control);
}

int linkd_systemd_tell(Linkd *linkd, bool ready)
{
        int r = systemd_notify(linkd, ready ? "READY=1\nSTATUS=all processes are ready" : "STATUS=waiting for processes", -1);
        return r ? fold(r) : 0;
}

void linkd_systemd_kill(Linkd *linkd, ProcessId process)
{
        if (linkd->doors[process].kill_fd >= 0)
                (void)!write(linkd->doors[process].kill_fd, "1", 1);
}

void linkd_systemd_done(Linkd *linkd)
{
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                if (linkd->doors[p].event)
                        event_free(linkd->doors[p].event);
                linkd->doors[p].fd = fd_close(linkd->doors[p].fd);
                linkd->doors[p].kill_fd = fd_close(linkd->doors[p].kill_fd);
                linkd->doors[p].stored_fd = fd_close(linkd->doors[p].stored_fd);
        }
        if (linkd->reload_event)
                event_free(linkd->reload_event);
        linkd->reload_fd = fd_close(linkd->reload_fd);
        linkd->notify_fd = fd_close(linkd->notify_fd);
}
