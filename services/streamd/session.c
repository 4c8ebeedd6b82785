/* SPDX-License-Identifier: Apache-2.0 */
#include "services/streamd/session.h"
#include "ipc/edges/streamd-containerd.pb-c.h"
#include "ipc/edges/streamd-containerd.rows.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/streamd/session-status.h"
#include <event2/event.h>
#include <fcntl.h>

/* A pipe's capacity is at most that, unless root makes it larger: what was in it when the process ended. */
#define SESSION_LEFT_BYTES (1024 * 1024)
#define SESSION_OVER_USEC (2 * USEC_PER_SEC)    /* for a client that was told all to close */
#define SESSION_ORPHAN_USEC (30 * USEC_PER_SEC) /* for an owner that was restarted to say how a session ended */

/* Between two sizes of a terminal that are passed on. */
#define SESSION_RESIZE_USEC 20000

/* A client of SPDY may still be opening streams, and closes when it knows the status; one of WebSocket waits for our Close. */
static int session_finish(Session *session)
{
        char text[SESSION_STATUS_MAX];
        SessionStatus status = {.exit_code = session->attach ? 0 : session->exit_code, .error = session->error};
        size_t n = session_status_write(text, &status, session->mux.protocol->version >= 4);

        session->over = true;
        leg_done(&session->input);
        leg_done(&session->outputs[0]);
        leg_done(&session->outputs[1]);
        int r = mux_finish(&session->mux, text, n);
        if (r)
                return fold(r);
        if (session->mux.protocol->medium == MUX_MEDIUM_WEBSOCKET)
                connection_finish(session->connection);
        else
                r = connection_set_timer(session->connection,
                                         mux_is_finished(&session->mux) ? SESSION_OVER_USEC : STREAMD_CREATION_USEC);
        return r ? fold(r) : 0;
}

static int session_set_error(Session *session, const char *error)
{
        session->error = strdup(error);
        return session->error ? 0 : error_origin(-ENOMEM);
}

/* The owner is gone and all output has ended: the next owner says how, unless it cannot know. An attachment's end is that of its
 * output, of which logd may still hold some when the container's end is told. */
static int session_check_output(Session *session)
{
        if (session->ended || session->waiting || !session->outputs[0].eof || !session->outputs[1].eof)
                return 0;
        if (session->attach && (session->told || session->orphaned)) {
                session->ended = true;
                return 0;
        }
        if (!session->orphaned)
                return 0;
        session->waiting = true;
        int r = connection_set_timer(session->connection, SESSION_ORPHAN_USEC);
        return r ? fold(r) : 0;
}

/* Reads what the process has left, as the client takes it. */
static int session_drain(Session *session)
{
        Connection *connection = session->connection;

        for (size_t i = 0; i < ARRAY_SIZE(session->outputs); i++) {
                Leg *leg = &session->outputs[i];
                while (!leg->eof && session->n_left[i] > 0) {
                        if (byte_queue_length(&connection->out) >= STREAMD_OUT_HIGH)
                                return 0; /* session_continue() comes back */
                        int r = leg_read(leg);
                        if (r < 0)
                                return fold(r);
                        if (r > 0)
                                break;
                }
                session->n_left[i] = leg->eof ? 0 : session->n_left[i];
        }
        return session_finish(session);
}

int session_continue(Session *session)
{
        if (session->over)
                return 0;
        int r = session_check_output(session);
        if (r == 0 && session->running && session->ended)
                r = session_drain(session);
        return r ? fold(r) : 0;
}

static int session_on_output(Leg *leg, const uint8_t *bytes, size_t n)
{
        Session *session = leg->owner;
        size_t *left = &session->n_left[leg->kind - MUX_STDOUT];

        if (session->ended)
                *left -= MIN2(n, *left);
        int r = mux_send(&session->mux, (MuxStream)leg->kind, bytes, n);
        return r ? fold(r) : 0;
}

static int session_on_output_end(Leg *leg)
{
        Session *session = leg->owner;
        int r = mux_end(&session->mux, (MuxStream)leg->kind);

        return r ? fold(r) : 0; /* connection_settle() goes on */
}

static int session_on_input_bytes(Leg *leg, const uint8_t *bytes, size_t n)
{
        return 0; /* never read */
}

static int session_on_input_end(Leg *leg)
{
        return 0;
}

static const LegHandlers session_output_handlers = {.on_bytes = session_on_output, .on_eof = session_on_output_end};
static const LegHandlers session_input_handlers = {.on_bytes = session_on_input_bytes, .on_eof = session_on_input_end};

static int session_tell_size(Session *session)
{
        Bulkhead__StreamdContainerd__SessionResize message = BULKHEAD__STREAMD_CONTAINERD__SESSION_RESIZE__INIT;

        message.session_id = session->id;
        message.columns = session->size.columns;
        message.rows = session->size.rows;
        session->size_is_told = true;
        int r = channel_event(connection_owner(session->connection), ROW_STREAMD_CONTAINERD_SESSION_RESIZE, &message.base);
        if (r < 0 || event_add(session->resize_timer, &(struct timeval){.tv_usec = SESSION_RESIZE_USEC}) < 0)
                return r < 0 ? fold(r) : error_origin(-ENOMEM);
        return 0;
}

static void session_on_resize_timer(evutil_socket_t fd, short what, void *userdata)
{
        Session *session = userdata;
        int r = session->size_is_told ? 0 : session_tell_size(session);

        connection_settle(session->connection, r);
}

/* A client may tell sizes as fast as it likes; the owner hears the first at once, and then the last of each while. */
static int session_on_resize(Session *session, const uint8_t *bytes, size_t n)
{
        if (!resize_feed(&session->resize, bytes, n, &session->size))
                return 0;
        session->size_is_told = false;
        if (!session->resize_timer) {
                session->resize_timer = event_new(service_loop(session->connection->streamd->service), -1, EV_TIMEOUT,
                                                  session_on_resize_timer, session);
                if (!session->resize_timer)
                        return error_origin(-ENOMEM);
        }
        int r = event_pending(session->resize_timer, EV_TIMEOUT, NULL) ? 0 : session_tell_size(session);
        return r ? fold(r) : 0;
}

static int session_on_bytes(void *userdata, MuxStream stream, const uint8_t *bytes, size_t n)
{
        Session *session = userdata;
        int r;

        if (session->over)
                return 0;
        r = stream == MUX_RESIZE ? session_on_resize(session, bytes, n) : leg_write(&session->input, bytes, n);

        return r ? fold(r) : 0;
}

static int session_on_stdin_end(void *userdata)
{
        Session *session = userdata;
        int r = session->over ? 0 : leg_end(&session->input);

        return r ? fold(r) : 0;
}

int session_resume(Session *session)
{
        Bulkhead__StreamdContainerd__SessionResume message = BULKHEAD__STREAMD_CONTAINERD__SESSION_RESUME__INIT;

        if (session->ended)
                return 0;
        message.session_id = session->id;
        message.container_id = session->container_id;
        message.tty = session->tty;
        message.attach = session->attach;
        int r = channel_event(connection_owner(session->connection), ROW_STREAMD_CONTAINERD_SESSION_RESUME, &message.base);
        if (r == 0 && session->resize_timer) /* it has a size, which may have been lost on the way */
                r = session_tell_size(session);
        return r < 0 ? fold(r) : 0;
}

static const MuxHandlers session_mux_handlers = {.on_bytes = session_on_bytes, .on_stdin_end = session_on_stdin_end};

/* The fds stand in the order of the streams that there are; a terminal may be one fd for both. */
static int session_take_fds(Session *session, Frame *frame, const Bulkhead__StreamdContainerd__SessionOpened *opened)
{
        const struct {
                bool has;
                Leg *leg;
                int kind;
        } streams[] = {
                {opened->stdin, &session->input, MUX_STDIN},
                {opened->stdout, &session->outputs[0], MUX_STDOUT},
                {opened->stderr && !opened->tty, &session->outputs[1], MUX_STDERR},
        };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
                if (!streams[i].has)
                        continue;
                _cleanup_fd_ int fd = frame_take_fd(frame, n++);
                if (fd < 0 && opened->tty && i == 1 && session->input.fd >= 0)
                        fd = fcntl(session->input.fd, F_DUPFD_CLOEXEC, 3);
                if (fd < 0)
                        return SESSION_E_REFUSED;
                int r = leg_init(streams[i].leg, session->connection, TAKE_FD(fd), false,
                                 i == 0 ? &session_input_handlers : &session_output_handlers, session, streams[i].kind);
                if (r)
                        return fold(r);
        }
        return 0;
}

Session *session_free(Session *session)
{
        if (!session)
                return NULL;
        if (!session->ended) {
                Bulkhead__StreamdContainerd__SessionClose close = BULKHEAD__STREAMD_CONTAINERD__SESSION_CLOSE__INIT;
                close.session_id = session->id;
                int r = channel_event(connection_owner(session->connection), ROW_STREAMD_CONTAINERD_SESSION_CLOSE,
                                      &close.base);
                if (r < 0)
                        service_fail(session->connection->streamd->service, fold(r));
        }
        if (session->resize_timer)
                event_free(session->resize_timer);
        leg_done(&session->input);
        leg_done(&session->outputs[0]);
        leg_done(&session->outputs[1]);
        mux_done(&session->mux);
        list_remove(&session->link);
        free(session->id);
        free(session->container_id);
        free(session->error);
        free(session);
        return NULL;
}

static int session_make(Connection *connection, const char *id, Session **ret)
{
        Session *session = calloc(1, sizeof(*session));

        if (!session)
                return error_origin(-ENOMEM);
        session->id = strdup(id);
        if (!session->id) {
                free(session);
                return error_origin(-ENOMEM);
        }
        session->connection = connection;
        session->input = session->outputs[0] = session->outputs[1] = LEG_NULL;
        session->n_left[0] = session->n_left[1] = SESSION_LEFT_BYTES;
        list_append(&connection->streamd->sessions, &session->link);
        *ret = session;
        return 0;
}

int session_new(Connection *connection, Frame *frame, Session **ret)
{
        const Bulkhead__StreamdContainerd__SessionOpened *opened =
                (const Bulkhead__StreamdContainerd__SessionOpened *)frame->message;
        Session *session = NULL;

        int r = session_make(connection, opened->session_id, &session);
        if (r)
                return fold(r);
        session->attach = opened->attach;
        session->tty = opened->tty;
        session->container_id = strdup(opened->container_id);
        mux_init(&session->mux, connection->handshake.protocol, &session_mux_handlers, session, &connection->out,
                 opened->stdin, opened->stdout, opened->stderr && !opened->tty);
        r = session->container_id ? session_take_fds(session, frame, opened) : error_origin(-ENOMEM);
        if (r) {
                (void)session_free(session);
                return r < 0 ? fold(r) : r;
        }
        *ret = session;
        return 0;
}

int session_new_failed(Connection *connection, const char *error, Session **ret)
{
        Session *session = NULL;
        int r = session_make(connection, "", &session);

        if (r)
                return fold(r);
        session->ended = true;
        mux_init(&session->mux, connection->handshake.protocol, &session_mux_handlers, session, &connection->out, false, false,
                 false);
        r = session_set_error(session, error);
        if (r) {
                (void)session_free(session);
                return fold(r);
        }
        *ret = session;
        return 0;
}

static int session_run(Session *session)
{
        int r = 0;

        session->running = true;
        /* An empty message on the first channel that we write tells the client that it is connected. */
        if (session->mux.protocol->medium == MUX_MEDIUM_WEBSOCKET)
                r = mux_send(&session->mux,
                             session->outputs[0].fd >= 0   ? MUX_STDOUT
                             : session->outputs[1].fd >= 0 ? MUX_STDERR
                                                           : MUX_ERROR,
                             (const uint8_t *)"", 0);
        if (r == 0)
                r = connection_set_timer(session->connection, USEC_INFINITY);
        if (r)
                return fold(r);
        session_set_reading(session, !session->connection->choked);
        return 0;
}

int session_start(Session *session)
{
        int r;

        if (session->ended)
                r = session_finish(session);
        else if (mux_is_ready(&session->mux))
                r = session_run(session);
        else
                r = connection_set_timer(session->connection, STREAMD_CREATION_USEC);

        return r ? fold(r) : 0;
}

int session_feed(Session *session, uint8_t *bytes, size_t n)
{
        int r = mux_feed(&session->mux, bytes, n);

        if (r < 0)
                return fold(r);
        if (r > 0) {
                if (r == MUX_E_VIOLATION)
                        log_info("session %s: the client broke the protocol", session->id);
                connection_finish(session->connection);
                return 0;
        }
        r = !session->running && !session->over && mux_is_ready(&session->mux) ? session_run(session) : 0;
        return r ? fold(r) : 0;
}

void session_set_reading(Session *session, bool reading)
{
        if (!session->running || session->ended)
                reading = false; /* session_drain() reads by itself */
        leg_set_reading(&session->outputs[0], reading);
        leg_set_reading(&session->outputs[1], reading);
}

int session_on_timer(Session *session)
{
        int r = 0;

        if (session->over) {
                connection_finish(session->connection);
        } else if (!session->running) {
                log_info("session %s: the client has not opened its streams in time", session->id);
                connection_finish(session->connection);
        } else if (session->waiting && !session->ended) {
                session->ended = true;
                if (!session->attach)
                        r = session_set_error(session, "containerd was restarted meanwhile: the exit code is unknown");
        }
        return r ? fold(r) : 0; /* connection_settle() goes on */
}

int session_on_ended(Session *session, int exit_code, const char *error)
{
        if (session->ended)
                return 0;
        session->told = true;
        if (session->attach && !(error && *error))
                return 0; /* connection_settle() goes on */
        session->ended = true;
        session->exit_code = exit_code;
        session_set_reading(session, false);
        int r = error && *error ? session_set_error(session, error) : 0;
        return r ? fold(r) : 0; /* connection_settle() goes on */
}

void session_on_owner_lost(Session *session)
{
        session->orphaned = true;
}
