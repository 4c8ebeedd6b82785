/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A Containerd in this process whose neighbours are scripted: each answers every request with what an orderly one would, or
 * fails where the test says so, or is silent; what they were asked is written down. This is for what cannot be had from the
 * real ones at will (each stage failing in turn); tests/scenario drives the real ones. */

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/containerd-launch.rows.h"
#include "ipc/edges/containerd-logd.rows.h"
#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/containerd-setup.rows.h"
#include "ipc/edges/containerd-shim.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "ipc/log-record.h"
#include "ipc/schemas.h"
#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/test.h"
#include "services/containerd/containerd.h"
#include "services/containerd/handlers.h"
#include "services/containerd/log-link.h"
#include "services/containerd/session.h"
#include <event2/event.h>
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define PEERS_N 5
#define PEERS_POD "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

typedef struct Peers Peers;

typedef struct Peer {
        Peers *peers;
        EdgeId edge;
        Channel *ours, *theirs; /* the Containerd's end, the script's */
} Peer;

struct Peers {
        struct event_base *base;
        Containerd containerd;
        ConfigContainerd config;
        ConfigCommon common;
        Peer peers[PEERS_N]; /* imaged, sandboxd, setup, launch, logd */
        Channel *gatewayd, *served; /* the asker's end, the Containerd's */
        Channel *shim;              /* the shim's end of the last container's edge */
        Channel *exec_shim;         /* and of the last exec's */
        int exec_fds[3];            /* owned; the command's ends of stdin, stdout, stderr */
        Channel *streamd, *sessions; /* the streamd's end, the Containerd's */
        uint32_t streamd_generation;
        int session_fds[3];         /* owned; as streamd got them */
        size_t n_session_fds;
        char session_id[ID_LENGTH + 1]; /* of the last session that was opened, or ended */
        int32_t session_code;       /* as it was told */
        uint32_t n_shims;
        const char *fail_at;   /* the row that fails, "" for none */
        uint32_t fail_code;
        bool knows_attachments; /* logd does, of stdout */
        const char *silent_at; /* the row that is not answered */
        ReplyTo silent;        /* where its answer would go */
        bool loses_log;        /* setup prepares a root, and sends no log */
        bool tells_checked;    /* launch says so before it answers, or fails */
        bool exit_at_kill;     /* cgroup_kill ends the first process */
        char notices[1024];    /* what gatewayd was told: kind, id's first digit, number of statuses, each followed by a space */
        char log[4096];        /* the rows that were asked, each followed by a space */
        int n_answers;         /* from the Containerd to gatewayd */
        int outcome;
        uint32_t code;
        char text[1024];       /* of the last one: why it failed, or the id */
        char path[64];
};

static inline void peers_note(Peers *p, const char *name)
{
        (void)snprintf(p->log + strlen(p->log), sizeof(p->log) - strlen(p->log), "%s ", name);
}

static inline void peers_exec_ends(Peers *p, int32_t code)
{
        ExitRecord record = {.magic = EXIT_RECORD_MAGIC, .state = EXIT_STATE_EXITED, .exit_code = code,
                             .finished_nsec = clock_realtime_nsec()};

        assert_ok(channel_event_flat(p->exec_shim, ROW_CONTAINERD_SHIM_SHIM_EXITED, &record, NULL, 0));
}

static inline void peers_shim_ends(Peers *p, int32_t code)
{
        ExitRecord record = {.magic = EXIT_RECORD_MAGIC, .state = EXIT_STATE_EXITED, .exit_code = code,
                             .finished_nsec = clock_realtime_nsec()};

        if (p->shim)
                assert_ok(channel_event_flat(p->shim, ROW_CONTAINERD_SHIM_SHIM_EXITED, &record, NULL, 0));
}

static inline int peers_on_shim(void *userdata, Frame *frame)
{
        Peers *p = userdata;
        static const ShimStatus status = {.confined = 1};
        static const ShimStreams streams = {0};

        peers_note(p, frame->row->name);
        const void *flat = frame->row == ROW_CONTAINERD_SHIM_SHIM_STATUS    ? (const void *)&status
                           : frame->row == ROW_CONTAINERD_SHIM_SHIM_STREAMS ? (const void *)&streams
                                                                            : NULL;
        return reply_send_packed(frame_reply_to(frame), flat, frame->row->reply.flat_size, NULL, 0);
}

static inline int peers_make_shim(Peers *p, Channel **slot)
{
        static ChannelHandler handlers[16];
        int pair[2];

        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
                handlers[i] = peers_on_shim;
        const ChannelSpec spec = {.schema = &edge_schema_containerd_shim, .side = EDGE_SIDE_B, .handlers = handlers, .userdata = p};
        *slot = channel_free(*slot);
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        assert_ok(channel_new(slot, p->base, &spec));
        assert_ok(channel_connect(*slot, pair[0], 1));
        p->n_shims++;
        return pair[1];
}

static inline int peers_answer_create(Peers *p, ReplyTo to)
{
        LaunchCreated created = {.pid = 4711, .started = 1};
        int out[2], err[2], r;

        _cleanup_fd_ int shim_fd = peers_make_shim(p, &p->shim);
        _cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
        _cleanup_fd_ int memfd = memfd_create("commit", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_ok(ftruncate(memfd, LOG_RECORD_BYTES));
        assert_ok(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
        assert_ok(pipe2(out, O_CLOEXEC));
        assert_ok(pipe2(err, O_CLOEXEC));
        r = reply_send_packed(to, &created, sizeof(created), (const int[]){shim_fd, pidfd, memfd, out[0], err[0]}, 5);
        for (int i = 0; i < 2; i++) {
                (void)close(out[i]);
                (void)close(err[i]);
        }
        return r;
}

/* As launch does it: terminal (a pipe here), or stdout, stderr, stdin. */
static inline int peers_answer_exec(Peers *p, const LaunchExec *verb, ReplyTo to)
{
        LaunchCreated created = {.pid = 4712, .started = 1};
        int fds[5], pair[2];
        size_t n = 2;

        fds[0] = peers_make_shim(p, &p->exec_shim);
        fds[1] = (int)syscall(SYS_pidfd_open, getpid(), 0);
        for (size_t i = 0; i < ARRAY_SIZE(p->exec_fds); i++)
                p->exec_fds[i] = fd_close(p->exec_fds[i]);
        if (verb->flags & LAUNCH_FLAG_TTY) {
                assert_ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
                fds[n++] = pair[0];
                p->exec_fds[1] = pair[1];
        }
        for (int i = 1; i < 3 && !(verb->flags & LAUNCH_FLAG_TTY); i++) {
                if (!(verb->flags & (i == 1 ? LAUNCH_FLAG_STDOUT : LAUNCH_FLAG_STDERR)))
                        continue;
                assert_ok(pipe2(pair, O_CLOEXEC));
                fds[n++] = pair[0];
                p->exec_fds[i] = pair[1];
        }
        if (verb->flags & LAUNCH_FLAG_STDIN && !(verb->flags & LAUNCH_FLAG_TTY)) {
                assert_ok(pipe2(pair, O_CLOEXEC));
                fds[n++] = pair[1];
                p->exec_fds[0] = pair[0];
        }
        int r = reply_send_packed(to, &created, sizeof(created), fds, n);
        for (size_t i = 0; i < n; i++)
                (void)close(fds[i]);
        return r;
}

static inline int peers_answer_message(Peers *p, const MessageRow *row, ReplyTo to)
{
        Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
        Bulkhead__ContainerdSandboxd__LeaseTakeResponse lease = BULKHEAD__CONTAINERD_SANDBOXD__LEASE_TAKE_RESPONSE__INIT;
        Bulkhead__ContainerdImaged__ImageGetResponse image = BULKHEAD__CONTAINERD_IMAGED__IMAGE_GET_RESPONSE__INIT;
        Bulkhead__ContainerdImaged__ImageConfig config = BULKHEAD__CONTAINERD_IMAGED__IMAGE_CONFIG__INIT;
        Statement statement = {0};
        union {
                ProtobufCMessage base;
                max_align_t bytes[64];
        } empty;

        (void)p;
        if (row == ROW_CONTAINERD_SANDBOXD_LEASE_TAKE) {
                lease.pod_id = (char *)PEERS_POD;
                lease.config = &pod;
                lease.network_namespace = (char *)"pin";
                return reply_send(to, &lease.base, NULL, 0);
        }
        if (row == ROW_CONTAINERD_IMAGED_IMAGE_GET) {
                image.image_id = image.image_ref = (char *)"sha256:1";
                image.config = &config;
                image.statement = (ProtobufCBinaryData){.data = (uint8_t *)&statement, .len = sizeof(statement)};
                return reply_send(to, &image.base, NULL, 0);
        }
        assert_true(row->reply.type->sizeof_message <= sizeof(empty));
        protobuf_c_message_init(row->reply.type, &empty);
        return reply_send(to, &empty.base, NULL, 0);
}

static inline int peers_answer_attachment(Peers *p, ReplyTo to)
{
        Bulkhead__ContainerdLogd__LogAttachmentFound found = BULKHEAD__CONTAINERD_LOGD__LOG_ATTACHMENT_FOUND__INIT;

        if (!p->knows_attachments)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "there is none");
        found.stdout = true;
        return reply_send(to, &found.base, NULL, 0);
}

static inline int peers_on_request(void *userdata, Frame *frame)
{
        Peer *peer = userdata;
        Peers *p = peer->peers;
        const MessageRow *row = frame->row;
        ReplyTo to = frame_reply_to(frame);
        static const uint8_t zero[sizeof(LaunchListed) > sizeof(RootfsListed) ? sizeof(LaunchListed) : sizeof(RootfsListed)];

        if (row->kind != ROW_KIND_REQUEST)
                return 0;
        peers_note(p, row->name);
        if (row == ROW_CONTAINERD_LAUNCH_LAUNCH_CREATE && p->tells_checked) {
                LaunchChecked checked = {0};
                memcpy(checked.id, ((const LaunchCreate *)frame->flat)->permit.id, sizeof(checked.id));
                assert_ok(channel_event_flat(peer->theirs, ROW_CONTAINERD_LAUNCH_LAUNCH_CHECKED, &checked, NULL, 0));
        }
        if (str_equal(p->silent_at, row->name)) {
                p->silent = to;
                return 0;
        }
        if (str_equal(p->fail_at, row->name))
                return reply_fail(to, p->fail_code, "%s fails", row->name);
        if (row == ROW_CONTAINERD_LOGD_LOG_ATTACHMENT)
                return peers_answer_attachment(p, to);
        if (row->reply.type)
                return peers_answer_message(p, row, to);
        if (row == ROW_CONTAINERD_LAUNCH_LAUNCH_CREATE)
                return peers_answer_create(p, to);
        if (row == ROW_CONTAINERD_LAUNCH_LAUNCH_EXEC)
                return peers_answer_exec(p, frame->flat, to);
        if (row == ROW_CONTAINERD_SETUP_LOG_FILE_OPEN || (row == ROW_CONTAINERD_SETUP_ROOTFS_PREPARE && !p->loses_log)) {
                _cleanup_fd_ int fd = open(p->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                return reply_send_packed(to, NULL, 0, &fd, 1);
        }
        if (row == ROW_CONTAINERD_SETUP_CGROUP_KILL && p->exit_at_kill)
                peers_shim_ends(p, 137);
        return reply_send_packed(to, zero, row->reply.flat_size, NULL, 0);
}

static inline void peers_join(Peers *p, Channel **a, const ChannelSpec *spec_a, Channel **b, const ChannelSpec *spec_b)
{
        int pair[2];

        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        assert_ok(channel_new(a, p->base, spec_a));
        assert_ok(channel_new(b, p->base, spec_b));
        assert_ok(channel_connect(*a, pair[0], 1));
        assert_ok(channel_connect(*b, pair[1], 1));
}

static inline int peers_on_notice(void *userdata, Frame *frame)
{
        static const char *const kinds[] = {"created", "started", "stopped", "deleted"};
        Peers *p = userdata;
        const Bulkhead__GatewaydContainerd__ContainerEvent *notice =
                container_of(frame->message, Bulkhead__GatewaydContainerd__ContainerEvent, base);

        (void)snprintf(p->notices + strlen(p->notices), sizeof(p->notices) - strlen(p->notices), "%s-%c-%zu ",
                       kinds[notice->event->container_event_type], notice->event->container_id[0],
                       notice->event->n_containers_statuses);
        return 0;
}

static inline int peers_on_session_ended(void *userdata, Frame *frame)
{
        Peers *p = userdata;
        const Bulkhead__StreamdContainerd__SessionEnded *ended =
                container_of(frame->message, Bulkhead__StreamdContainerd__SessionEnded, base);

        peers_note(p, "session_ended");
        (void)str_copy(p->session_id, sizeof(p->session_id), ended->session_id);
        (void)str_copy(p->text, sizeof(p->text), ended->error);
        p->session_code = ended->exit_code;
        return 0;
}

static inline void peers_on_session_cancelled(void *userdata, Channel *channel, uint32_t request_id)
{
        (void)channel;
        assert_ok(session_cancelled(userdata, request_id));
}

static inline void peers_on_streamd(void *userdata, Channel *channel, bool connected)
{
        (void)channel;
        assert_ok(session_on_streamd(userdata, connected));
}

static inline void peers_open(Peers *p)
{
        static const EdgeId edges[PEERS_N] = {EDGE_CONTAINERD_IMAGED, EDGE_CONTAINERD_SANDBOXD, EDGE_CONTAINERD_SETUP,
                                              EDGE_CONTAINERD_LAUNCH, EDGE_CONTAINERD_LOGD};
        static const ChannelHandler sandboxd[] = {EDGE_CONTAINERD_SANDBOXD_HANDLERS_A}, logd[] = {EDGE_CONTAINERD_LOGD_HANDLERS_A};
        static const ChannelHandler launch[] = {EDGE_CONTAINERD_LAUNCH_HANDLERS_A};
        static const ChannelHandler gatewayd[] = {EDGE_GATEWAYD_CONTAINERD_HANDLERS_B};
        static ChannelHandler scripted[32], asking[32];
        Channel **const slots[PEERS_N] = {&p->containerd.imaged, &p->containerd.sandboxd, &p->containerd.setup, &p->containerd.launch,
                                          &p->containerd.logd};

        for (size_t i = 0; i < ARRAY_SIZE(scripted); i++)
                scripted[i] = peers_on_request;
        for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
                asking[i] = peers_on_notice;
        p->containerd = (Containerd){.base = p->base, .common = &p->common, .config = &p->config};
        for (size_t i = 0; i < PEERS_N; i++) {
                Peer *peer = &p->peers[i];
                *peer = (Peer){.peers = p, .edge = edges[i]};
                const ChannelSpec ours = {.schema = edge_schema_get(edges[i]), .side = EDGE_SIDE_A,
                                          .handlers = edges[i] == EDGE_CONTAINERD_SANDBOXD ? sandboxd
                                                      : edges[i] == EDGE_CONTAINERD_LOGD   ? logd
                                                      : edges[i] == EDGE_CONTAINERD_LAUNCH ? launch : NULL,
                                          .userdata = &p->containerd};
                const ChannelSpec theirs = {.schema = edge_schema_get(edges[i]), .side = EDGE_SIDE_B, .handlers = scripted,
                                            .userdata = peer};
                peers_join(p, &peer->ours, &ours, &peer->theirs, &theirs);
                *slots[i] = peer->ours;
        }
        const ChannelSpec asker = {.schema = &edge_schema_gatewayd_containerd, .side = EDGE_SIDE_A, .handlers = asking, .userdata = p};
        const ChannelSpec served = {.schema = &edge_schema_gatewayd_containerd, .side = EDGE_SIDE_B, .handlers = gatewayd,
                                    .userdata = &p->containerd};
        peers_join(p, &p->gatewayd, &asker, &p->served, &served);
        p->containerd.gatewayd = p->served;
        static const ChannelHandler streamd[] = {EDGE_STREAMD_CONTAINERD_HANDLERS_B}, client[] = {NULL, NULL, NULL, peers_on_session_ended};
        const ChannelSpec presenter = {.schema = &edge_schema_streamd_containerd, .side = EDGE_SIDE_A, .handlers = client, .userdata = p};
        const ChannelSpec sessions = {.schema = &edge_schema_streamd_containerd, .side = EDGE_SIDE_B, .handlers = streamd,
                                      .on_cancelled = peers_on_session_cancelled, .on_changed = peers_on_streamd, .userdata = &p->containerd};
        peers_join(p, &p->streamd, &presenter, &p->sessions, &sessions);
        p->containerd.streamd = p->sessions;
        char path[80];
        (void)snprintf(path, sizeof(path), "%s.db", p->path);
        assert_ok(container_store_open(&p->containerd.store, path, "boot-1"));
        assert_ok(containerd_begin(&p->containerd));
}

static inline void peers_close(Peers *p)
{
        containerd_end(&p->containerd);
        for (size_t i = 0; i < PEERS_N; i++) {
                p->peers[i].ours = channel_free(p->peers[i].ours);
                p->peers[i].theirs = channel_free(p->peers[i].theirs);
        }
        p->gatewayd = channel_free(p->gatewayd);
        p->served = channel_free(p->served);
        p->streamd = channel_free(p->streamd);
        p->sessions = channel_free(p->sessions);
}

/* A new generation of streamd's edge: the same streamd or another, which the test's next events say. */
static inline void peers_rewire_streamd(Peers *p)
{
        int pair[2];

        p->streamd_generation = MAX2(p->streamd_generation, UINT32_C(1)) + 1;
        assert_ok(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        assert_ok(channel_connect(p->streamd, pair[0], p->streamd_generation));
        assert_ok(channel_connect(p->sessions, pair[1], p->streamd_generation));
}

/* Lets the loop run until nothing happens any more for a moment. */
static inline void peers_settle(Peers *p)
{
        const struct timeval moment = {.tv_usec = 30000};

        for (int i = 0; i < 2; i++) {
                (void)event_base_loopexit(p->base, &moment);
                assert_true(event_base_dispatch(p->base) >= 0);
        }
        assert_eq_int(p->containerd.result, 0);
}

static inline void peers_init(Peers *p)
{
        *p = (Peers){.path = "/tmp/bulkhead-test-peers.XXXXXX", .fail_at = "", .silent_at = "", .fail_code = GRPC_STATUS_INTERNAL,
                     .exec_fds = {-1, -1, -1}, .session_fds = {-1, -1, -1}};
        int fd = mkstemp(p->path);
        assert_true(fd >= 0);
        (void)close(fd);
        assert_true(sodium_init() >= 0);
        p->base = event_base_new();
        p->config.n_runtimes = 1;
        (void)str_copy(p->config.runtimes[0].handler, CONFIG_NAME_MAX, "crun");
        peers_open(p);
        peers_settle(p);
        p->log[0] = '\0';
}

static inline void peers_done(Peers *p)
{
        static const char *const suffixes[] = {"", ".db", ".db-wal", ".db-shm"};
        char path[80];

        peers_close(p);
        p->shim = channel_free(p->shim);
        p->exec_shim = channel_free(p->exec_shim);
        for (size_t i = 0; i < ARRAY_SIZE(p->exec_fds); i++) {
                p->exec_fds[i] = fd_close(p->exec_fds[i]);
                p->session_fds[i] = fd_close(p->session_fds[i]);
        }
        event_base_free(p->base);
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                (void)snprintf(path, sizeof(path), "%s%s", p->path, suffixes[i]);
                (void)unlink(path);
        }
}

static inline int peers_on_answer(void *userdata, const Answer *answer)
{
        Peers *p = userdata;

        p->n_answers++;
        p->outcome = answer->outcome;
        p->code = answer->code;
        (void)str_copy(p->text, sizeof(p->text), answer->text);
        if (answer->outcome == 0 && answer->frame->row == ROW_GATEWAYD_CONTAINERD_CREATE_CONTAINER)
                (void)str_copy(p->text, sizeof(p->text), container_of(answer->frame->message, Runtime__V1__CreateContainerResponse, base)->container_id);
        return 0;
}

/* Asks for a container of this name that runs this command; digit makes its id. */
static inline void peers_create(Peers *p, const char *name, const char *command, char digit)
{
        Runtime__V1__CreateContainerRequest request = RUNTIME__V1__CREATE_CONTAINER_REQUEST__INIT;
        Runtime__V1__ContainerConfig config = RUNTIME__V1__CONTAINER_CONFIG__INIT;
        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        Runtime__V1__ImageSpec image = RUNTIME__V1__IMAGE_SPEC__INIT;
        Bulkhead__GatewaydContainerd__CreateContainerCall call = BULKHEAD__GATEWAYD_CONTAINERD__CREATE_CONTAINER_CALL__INIT;
        Permit permit = {.verb = PERMIT_VERB_CREATE_CONTAINER, .pod_id = PEERS_POD, .log_path = "/logs/0.log"};
        char id[ID_LENGTH + 1];

        memset(id, digit, ID_LENGTH);
        id[ID_LENGTH] = '\0';
        memcpy(permit.id, id, sizeof(id));
        metadata.name = (char *)name;
        image.image = (char *)"image:1";
        config.metadata = &metadata;
        config.image = &image;
        config.command = (char **)&command;
        config.n_command = 1;
        request.pod_sandbox_id = (char *)PEERS_POD;
        request.config = &config;
        _cleanup_free_ uint8_t *bytes = NULL;
        assert_ok(decode_pack(&request.base, &bytes, &call.request.len));
        call.request.data = bytes;
        call.id = id;
        call.permit = (ProtobufCBinaryData){.data = (uint8_t *)&permit, .len = sizeof(permit)};
        assert_ok(channel_call(p->gatewayd, ROW_GATEWAYD_CONTAINERD_CREATE_CONTAINER, &call.base, NULL, 0, USEC_INFINITY,
                               peers_on_answer, p, NULL));
}

/* A request that names nothing but a container (start, stop, remove): its id is 64 of the digit. */
static inline void peers_ask(Peers *p, const MessageRow *row, char digit, int64_t timeout)
{
        Runtime__V1__StopContainerRequest request = RUNTIME__V1__STOP_CONTAINER_REQUEST__INIT; /* id is field 1 of all of them */
        _cleanup_free_ uint8_t *bytes = NULL;
        char id[ID_LENGTH + 1];
        size_t n = 0;

        memset(id, digit, ID_LENGTH);
        id[ID_LENGTH] = '\0';
        request.container_id = id;
        request.timeout = timeout;
        assert_ok(decode_pack(&request.base, &bytes, &n));
        assert_ok(channel_call_packed(p->gatewayd, row, bytes, n, USEC_INFINITY, peers_on_answer, p, NULL));
}
