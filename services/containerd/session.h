/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Streaming sessions: Exec and Attach. The request waits under a token of its own until streamd presents it; then streamd gets
 * the fds, and we hear of its end and tell of the command's. The bytes never come past here. */

#include "services/containerd/containerd.h"
#include "services/containerd/operation.h"
#include "services/token-table.h"

typedef struct Session Session;

typedef enum SessionKind { SESSION_EXEC, SESSION_ATTACH } SessionKind;

struct Session {
        Token token;            /* until it is presented */
        List link;              /* in Containerd.sessions */
        Containerd *containerd; /* borrowed; owns us */
        SessionKind kind;
        char id[ID_LENGTH + 1]; /* of the exec; of an attachment one of its own */
        char container_id[ID_LENGTH + 1];
        char pod_id[ID_LENGTH + 1]; /* whose share it counts against */
        uint32_t flags;         /* LAUNCH_FLAG_*: what the request asks for */
        Operation operation;
        ReplyTo to;             /* of session_open */
        bool is_answered;
        bool is_closed;         /* the client is gone */
        bool is_unsure;         /* streamd's edge was lost, and it has not said since whether the client is there */
        bool has_ended;         /* and streamd was told so */
        uint32_t columns, rows; /* the window's last size; 0: none was told */

        /* An exec's: session-exec.c. */
        Frame *call;            /* owned; the whole request with its permit, until it is launched */
        size_t n_call;          /* bytes of it that count against STREAM_REQUESTS_BYTES_MAX */
        uint32_t runtime;
        int spec_fd;            /* owned; -1 */
        ShimLink *shim;         /* owned */
        bool has_exited;
        int32_t exit_code;
        const char *lost;       /* a literal: why there is no exit code */
        bool is_hung_up;        /* the shim holds none of its streams any more */

        /* An attachment's: session-attach.c. */
        bool is_resumed;        /* an earlier containerd made it, and had its pipes */
        bool stdin_once;        /* we are to take the container's only end from its shim */
        int stdin_fd;           /* owned; until it is handed over */
        int read_fds[2];        /* owned; streamd's ends of stdout and stderr, until they are handed over */
        int write_fds[2];       /* owned; logd's ends, kept so that they outlive logd */
        uint32_t n_waits;
};

int session_table_init(Containerd *containerd);
void session_table_done(Containerd *containerd);

/* Exec and Attach of the CRI, session_open of streamd: they answer by themselves. 0 or -errno. */
int session_exec_request(Containerd *containerd, Frame *frame);
int session_open(Containerd *containerd, const void *token, size_t n_token, ReplyTo to);

/* Unknown ids are ignored: streamd may speak of a session that ended a moment ago. */
int session_resize(Containerd *containerd, const char *id, uint32_t columns, uint32_t rows);
int session_close(Containerd *containerd, const char *id);
/* streamd gave up a session_open. */
int session_cancelled(Containerd *containerd, uint32_t request_id);
/* streamd's edge was lost, or there is a new one: then streamd says which sessions it still has (resume), and that those were all (told):
 * the others have no client any more. */
int session_on_streamd(Containerd *containerd, bool connected);
int session_resume(Containerd *containerd, const char *id, const char *container_id, bool tty, bool attach);
int session_on_told(Containerd *containerd);

/* Open or waiting; NULL if there is none. */
Session *session_find(Containerd *containerd, const char *id);
/* The event, also for a session of an earlier containerd. */
int session_tell_end(Containerd *containerd, const char *id, int32_t exit_code, const char *error);

/* For the files of the kinds. */
Session *session_new(Containerd *containerd, SessionKind kind, const Container *container);
Session *session_free(Session *session);
DEFINE_CLEANUP(Session, session_free)
/* The checks that Exec and Attach have in common: which streams, and that the container runs. FAILURE_E_SET or 0. */
int session_check(Containerd *containerd, const char *what, const char *container_id, uint32_t flags, Container **ret,
                  Failure *failure);
/* Mints the token and answers with the URL; from then on the table owns it. */
int session_offer(Session *session, ReplyTo to);
/* The container, if it still runs. */
Container *session_container(const Session *session, Failure *failure);
/* fds: of those of SESSION_FD_* that are there, in this order. Borrowed. */
int session_answer(Session *session, uint32_t flags, const int *fds, size_t n_fds);
int session_answer_failed(Session *session, uint32_t code, const char *format, ...) _printf_(3, 4);
/* Sessions of this pod, and the bytes of requests that wait for their clients. */
size_t session_count_pod(const Containerd *containerd, const char *pod_id, size_t *ret_bytes);

/* session-exec.c */
int session_exec_open(Session *session);
int session_exec_closed(Session *session);

/* session-attach.c */
int session_attach_request(Containerd *containerd, Frame *frame);
int session_attach_open(Session *session);
int session_attach_closed(Session *session);
/* streamd has an attachment that an earlier containerd made. */
int session_attach_resume_client(Containerd *containerd, const char *id, const char *container_id);
/* The container's terminal, if it has one, gets the size that the client told last. */
int session_attach_tell_size(const Session *session);
/* logd reads this container's output (again): who is attached gets it. 0 or -errno. */
int session_attach_resume(const Container *container);
/* The end of this container is visible, and its output was handed on: its attachments end. 0 or -errno. */
int session_attach_container_ended(const Container *container);
/* logd let a client go that read too slowly. 0 or -errno. */
int session_attach_lost(Containerd *containerd, const char *id);
void session_attach_done(Session *session);
