/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The frame on the wire, and the rows that say which frames are legal. One SOCK_SEQPACKET datagram is one frame: a
 * 16-byte header, then the payload (at most 64 KiB), or no payload and a sealed memfd as the first fd, which holds it.
 * Needs libc only, so that the smallest hands can link it. */

#include "ipc/topology.h"
#include "lib/fd.h"

#define WIRE_MAGIC UINT32_C(0x42484431) /* "BHD1" */
#define WIRE_PAYLOAD_MAX (64 * 1024)
#define WIRE_MEMFD_MAX (16 * 1024 * 1024) /* no row may allow more */
#define WIRE_FDS_MAX 8                    /* per frame, the payload's memfd not counted */
#define WIRE_ERROR_TEXT_MAX 4096

enum {
        WIRE_FLAG_REPLY = 1 << 0,  /* answers request_id; the id is the request's */
        WIRE_FLAG_ERROR = 1 << 1,  /* with REPLY: the payload is a WireError */
        WIRE_FLAG_MEMFD = 1 << 2,  /* the payload is in the first fd, length bytes */
        WIRE_FLAG_CANCEL = 1 << 3, /* the sender of request_id no longer waits; no payload */
};

typedef struct WireHeader {
        uint32_t magic;
        uint16_t id;
        uint16_t flags;
        uint32_t length;     /* bytes of payload */
        uint32_t request_id; /* chosen by the requester, never 0; 0 in events */
} WireHeader;

/* Payload of an error reply: code is a gRPC status code (1 to 16), then the text, not terminated. The receiver makes
 * the text printable UTF-8: a hand quotes what foreign programs said. */
typedef struct WireError {
        uint32_t code;
        char text[];
} WireError;

typedef enum RowKind {
        ROW_KIND_REQUEST, /* answered by exactly one reply (or error reply) with the same request id */
        ROW_KIND_EVENT,   /* not answered */
} RowKind;

/* States of a receiver in which a row is legal. A request in another state is answered UNAVAILABLE, an event dropped.
 */
enum {
        ROW_STATE_RECOVERING = 1 << 0,
        ROW_STATE_READY = 1 << 1,
        ROW_STATE_STOPPING = 1 << 2,
        ROW_STATE_ANY = ROW_STATE_RECOVERING | ROW_STATE_READY | ROW_STATE_STOPPING,
};

/* The i-th fd of a frame is of kinds[i]; fds from n_min on may be absent (from the end). */
typedef struct RowFds {
        uint8_t n_min;
        uint8_t n_max;
        uint8_t kinds[WIRE_FDS_MAX]; /* FdKind */
} RowFds;

struct ProtobufCMessageDescriptor;

/* What one direction of a row carries: a protobuf-c message, or a flat struct of exactly flat_size bytes. */
typedef struct RowBody {
        const struct ProtobufCMessageDescriptor *type; /* NULL: flat */
        const char *type_name;
        uint32_t flat_size; /* 0 with type NULL: an empty body */
        uint32_t max_length;
        RowFds fds;
} RowBody;

typedef struct MessageRow {
        uint16_t id; /* from 1, unique on its edge */
        const char *name;
        RowKind kind;
        EdgeSide sender;
        uint32_t states;
        RowBody body;
        RowBody reply; /* unused for events */
} MessageRow;

typedef struct EdgeSchema {
        EdgeId edge;
        const char *name;
        const MessageRow *rows; /* ascending by id */
        size_t n_rows;
} EdgeSchema;

/* NULL if the edge has no such row. */
const MessageRow *edge_schema_find(const EdgeSchema *schema, uint16_t id);
/* Can a frame from this side carry an fd (a row's, or a large payload's memfd)? If not, it is received without a
 * control buffer, so that none is ever installed. */
bool edge_schema_has_fds(const EdgeSchema *schema, EdgeSide from);

/* One received datagram. Owns its fds; wire_frame_done() closes those that were not taken. */
typedef struct WireFrame {
        WireHeader header;
        uint8_t *payload; /* owned; header.length bytes (+ a NUL that is not counted) */
        int fds[WIRE_FDS_MAX + 1];
        size_t n_fds; /* the payload's memfd already removed */
} WireFrame;

#define WIRE_FRAME_NULL ((WireFrame){.fds = {-1, -1, -1, -1, -1, -1, -1, -1, -1}})

/* Outcomes of receiving. Everything above 0 but AGAIN and EOF is a violation: the edge must be closed. */
enum {
        WIRE_E_AGAIN = 1, /* nothing there (non-blocking) */
        WIRE_E_EOF,
        WIRE_E_MALFORMED, /* short, bad magic, unknown flags, trailing bytes, empty */
        WIRE_E_FDS,       /* too many, truncated, wrong kind, or fds where the direction carries none */
        WIRE_E_LENGTH,
        WIRE_E_MEMFD,   /* not tmpfs, seals not exact, size differs */
        WIRE_E_UNKNOWN, /* no such row, wrong sender, reply to nothing */
        WIRE_E_BODY,    /* does not decode or validate */
};
const char *wire_outcome_name(int outcome);

/* Receives one datagram. with_fds false: no control buffer, so no fd can be installed. Does not know rows: checks the
 * header, the flags and the large payload; the caller goes on with row_check(). Returns 0, an outcome, -errno. */
int wire_receive(int fd, bool with_fds, WireFrame *frame);
void wire_frame_done(WireFrame *frame);
int wire_frame_take_fd(WireFrame *frame, size_t i); /* -1 if absent */

/* Sends one frame; payload above WIRE_PAYLOAD_MAX goes by memfd. fds are borrowed. Blocks if fd does, else
 * WIRE_E_AGAIN; WIRE_E_EOF when the peer is gone (EPIPE, ECONNRESET). */
int wire_send(int fd, uint16_t id, uint16_t flags, uint32_t request_id, const void *payload, size_t n, const int *fds,
              size_t n_fds);
/* The same for a payload that is ready: with WIRE_FLAG_MEMFD in the header, it is in fds[0] and payload is not looked
 * at. */
int wire_send_frame(int fd, const WireHeader *header, const void *payload, const int *fds, size_t n_fds);
/* The text is cut off at WIRE_ERROR_TEXT_MAX bytes. */
int wire_send_error(int fd, uint16_t id, uint32_t request_id, uint32_t code, const char *text);

/* The generic check of a frame against the schema: row exists, sender may send it, flags fit the kind, length and fd
 * number and kinds fit, flat bodies have exactly their size. from is the side that sent it. 0 and the row, or an
 * outcome. For replies the caller looks the row up by its own request. */
int row_check(const EdgeSchema *schema, EdgeSide from, const WireFrame *frame, const MessageRow **ret);
int row_check_body(const RowBody *body, const WireFrame *frame);
