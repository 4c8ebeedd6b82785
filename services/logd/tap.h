/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Taps: clients that are attached to a container, each with a pipe per stream. What is read for the log is written to them as
 * well, never waiting: what a pipe does not take now is kept, up to a bound, and beyond it the client is let go. A client that is
 * behind but reads may slow the container down, as a pipe would; for how long is bounded, so in the end it is it that goes. */

#include "lib/list.h"
#include "lib/strings.h"

struct event;
struct event_base;
typedef struct Tap Tap;
typedef struct TapTable TapTable;

#define TAP_STREAMS 2
#define TAP_KEPT_MAX ((size_t)16 * 1024 * 1024)      /* of one stream of one client */
#define TAP_KEPT_ALL_MAX ((size_t)64 * 1024 * 1024)  /* of all of them */
#define TAP_KEPT_CONTAINER_MAX ((size_t)24 * 1024 * 1024) /* of one container: its clients do not take from those of others */
#define TAP_BEHIND ((size_t)8 * 1024 * 1024)         /* more than that of one stream is kept: no more is read ... */
#define TAP_CAUGHT_UP ((size_t)4 * 1024 * 1024)      /* ... until it is less than that ... */
#define TAP_HOLD_USEC (UINT64_C(2) * 1000000)        /* ... or that time has passed: 2 MiB/s keep up with anything */
#define TAP_LINGER_SEC 60 /* for a client to read the rest, after the container's end */

typedef struct TapPipe {
        Tap *tap;            /* borrowed; contains us */
        int fd;              /* owned; -1: not asked for, or closed */
        struct event *event; /* owned; added while something is kept */
        uint8_t *kept;       /* owned */
        size_t at, n, n_allocated; /* what is kept: n bytes from at */
} TapPipe;

struct Tap {
        List link; /* in Log.taps, or in TapTable.lingering */
        TapTable *table; /* borrowed; outlives us */
        char container_id[ID_LENGTH + 1];
        char session_id[ID_LENGTH + 1];
        TapPipe pipes[TAP_STREAMS];
        struct event *deadline; /* owned; while it lingers */
};

struct TapTable {
        struct event_base *base; /* borrowed */
        List lingering; /* Tap.link: their containers have ended */
        size_t n_kept;  /* bytes of all taps */
        void (*on_lost)(void *userdata, const Tap *tap); /* it read too slowly; it goes after that */
        void *userdata;
};

void tap_table_init(TapTable *table, struct event_base *base, void (*on_lost)(void *userdata, const Tap *tap), void *userdata);
void tap_table_done(TapTable *table);

/* Into the list. Takes the fds in any case; -1 where a stream is not asked for. 0 or -errno. */
int tap_new(TapTable *table, List *taps, const char *container_id, const char *session_id, const int fds[TAP_STREAMS]);
Tap *tap_free(Tap *tap);
Tap *tap_find(List *taps, const char *session_id);

/* To all taps of the list that have the stream. */
void tap_write(List *taps, unsigned stream, const uint8_t *bytes, size_t n);
/* Does one of them keep more than so many bytes? */
bool tap_is_behind(const List *taps, size_t kept_bytes);
/* Lets those go that do. */
void tap_let_go(List *taps, size_t kept_bytes);
/* The container has ended: those that have all of it are freed, the others stay until they have. */
void tap_end(List *taps);
/* To another log of the same container. */
void tap_move(List *to, List *from);
