/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One exec or attach: the fds that its owner gave, and the streams of its client. It runs once the client has opened all of
 * them; it is over when the owner said so and what the process had written was handed on. */

#include "services/streamd/leg.h"
#include "services/streamd/resize.h"

typedef struct Session {
        List link; /* in Streamd.sessions */
        Connection *connection; /* borrowed; owns us */
        char *id;               /* the owner's name of it */
        char *container_id;     /* as the owner said; NULL: it never began */
        bool attach, tty;
        bool running;
        bool ended;    /* the owner said how: it knows the session no more */
        bool over;     /* the status is on its way, or waits for the stream that it goes on */
        bool told;     /* by the owner that an attachment ends: with its output */
        bool orphaned; /* the owner was lost: the next one says how, if it can know */
        bool waiting;  /* for that, and all output has ended */
        int exit_code;
        char *error; /* owned; NULL: none */
        Mux mux;
        ResizeReader resize;
        ResizeEvent size;           /* the last that the client told */
        bool size_is_told;          /* to the owner; also of none */
        struct event *resize_timer; /* owned; runs while it may not be passed on yet */
        Leg input;
        Leg outputs[2];       /* kind: MUX_STDOUT, MUX_STDERR */
        size_t n_left[2];     /* bytes that may still come after the end; what comes later is not the process's */
} Session;

/* From the owner's answer. SESSION_E_REFUSED: the answer lacks fds that it announces. */
enum { SESSION_E_REFUSED = 1 };
int session_new(Connection *connection, Frame *frame, Session **ret);
/* Tells the owner, unless that ended it. */
Session *session_free(Session *session);

/* The owner refused, for a reason that is the session's: it never begins, and its client is told on the error stream. */
int session_new_failed(Connection *connection, const char *error, Session **ret);

/* After the 101 was queued. */
int session_start(Session *session);
int session_feed(Session *session, uint8_t *bytes, size_t n);
/* Sources are to be read, or not. */
void session_set_reading(Session *session, bool reading);
/* Goes on with what waited for room. */
int session_continue(Session *session);
/* Something was waited for in vain. */
int session_on_timer(Session *session);

/* To an owner that the edge connects anew: that this session is there, and its size. */
int session_resume(Session *session);

/* The owner speaks. */
int session_on_ended(Session *session, int exit_code, const char *error);
void session_on_owner_lost(Session *session);
