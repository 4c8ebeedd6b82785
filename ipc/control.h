/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Control channels: SOCK_SEQPACKET pairs, one datagram is one fixed frame, libc only. Two kinds speak it:
 * - linkd and each daemon: the daemon's end is fd 3. linkd sends config, keys, named fds, then go, then edges.
 * - linkd-start and linkd: linkd's end is fd 3. linkd-start opens the configuration, linkd says which rows to start.
 * linkd-start keeps a duplicate of linkd's end of every channel, so that a restart of linkd is invisible to the others. */

#include "ipc/config.h"
#include "ipc/topology.h"

#define CONTROL_FD 3
#define CONTROL_MAGIC UINT32_C(0x42484331) /* "BHC1" */
#define CONTROL_PAYLOAD_MAX (64 * 1024 - 64)
#define CONTROL_KEY_BYTES 32
#define CONTROL_FD_NAME_MAX 32

typedef enum ControlType {
        /* daemon -> linkd */
        CONTROL_HELLO = 1,
        CONTROL_STATE,
        CONTROL_EDGE_LOST,

        /* linkd -> daemon */
        CONTROL_CONFIG,
        CONTROL_KEY,
        CONTROL_NAMED_FD,
        CONTROL_GO,
        CONTROL_EDGE,
        CONTROL_LOG_LEVEL,
        CONTROL_STOP,

        /* linkd-start -> linkd */
        CONTROL_START_MEMORY,    /* the memfd that outlives linkd: keys, generations, the configuration in force */
        CONTROL_START_FILE,      /* a configuration file, opened for reading; in the order of merging */
        CONTROL_START_FILES_END, /* all files are there: (re)load */
        CONTROL_START_CHILD,     /* row, pid, incarnation and linkd's end of its channel */
        CONTROL_START_KEPT,      /* what linkd gave to keep, after it was restarted; before files of a reload: what was opened anew */
        CONTROL_START_READY,     /* all of that has been said */

        /* linkd -> linkd-start */
        CONTROL_KEEP,            /* a listener or a lock that must outlive linkd */
        CONTROL_PLAN,            /* where the programs are; obeyed once */
        CONTROL_SPAWN,           /* a row number */
        CONTROL_KILL,            /* a row that does not answer any more: it is killed and started anew */
        CONTROL_STATUS,          /* all daemons are ready, or not any more */

        CONTROL_TYPE_N
} ControlType;

typedef struct ControlHeader {
        uint32_t magic;
        uint16_t type;
        uint16_t padding;
        uint32_t length; /* bytes that follow */
        uint32_t reserved;
} ControlHeader;

typedef struct ControlHello {
        uint32_t process; /* ProcessId */
        int32_t pid;
        char version[32];
} ControlHello;

typedef struct ControlState {
        uint32_t row_state; /* ROW_STATE_* */
} ControlState;

/* The section's bytes follow. Sent again after a reload; the receiver replaces its copy in place. */
typedef struct ControlConfig {
        ConfigCommon common;
        uint32_t section_size;
        uint32_t padding;
} ControlConfig;

typedef enum ControlKeyKind { CONTROL_KEY_PERMIT, CONTROL_KEY_STATEMENT, CONTROL_KEY_N } ControlKeyKind;

typedef struct ControlKey {
        uint32_t kind;
        uint8_t bytes[CONTROL_KEY_BYTES];
} ControlKey;

typedef struct ControlNamedFd {
        char name[CONTROL_FD_NAME_MAX];
} ControlNamedFd;

/* The fd is this process's end. A higher generation replaces the edge that was there. */
typedef struct ControlEdge {
        uint32_t edge;
        uint32_t side;
        uint32_t generation;
} ControlEdge;

/* This process closed the edge, or found it closed. violation: what the peer sent was not legal; linkd restarts that peer. */
typedef struct ControlEdgeLost {
        uint32_t edge;
        uint32_t generation;
        uint32_t violation; /* bool */
} ControlEdgeLost;

typedef struct ControlLogLevel {
        uint32_t level;
} ControlLogLevel;

typedef struct ControlFile {
        char path[CONFIG_PATH_MAX]; /* for messages */
} ControlFile;

typedef struct ControlChild {
        uint32_t process;
        int32_t pid;          /* 0: it is down and will be started again after back-off */
        uint32_t incarnation; /* counts the starts of this row, from 1 */
} ControlChild;

typedef struct ControlKept {
        char name[CONTROL_FD_NAME_MAX]; /* of the named fd that a daemon gets, or "lock" */
} ControlKept;

typedef struct ControlPlan {
        char libexec_dir[CONFIG_PATH_MAX];
        char runtime_dir[CONFIG_PATH_MAX]; /* root's notes are in it */
        char cgroup_dir[CONFIG_PATH_MAX];  /* the daemons' cgroup (v2), "" for none */
        char shims_dir[CONFIG_PATH_MAX];   /* the shims', removed with it at the end if it is empty */
        char socket_path[CONFIG_PATH_MAX]; /* removed at the end */
} ControlPlan;

typedef struct ControlRow {
        uint32_t process;
} ControlRow;

typedef struct ControlStatus {
        uint32_t ready; /* bool */
} ControlStatus;

typedef struct ControlFrame {
        ControlType type;
        uint32_t length;
        int fd; /* owned; -1 if the frame has none */
        union {
                ControlHello hello;
                ControlState state;
                ControlConfig config; /* section: see control_section() */
                ControlKey key;
                ControlNamedFd named_fd;
                ControlEdge edge;
                ControlEdgeLost edge_lost;
                ControlLogLevel log_level;
                ControlFile file;
                ControlChild child;
                ControlKept kept;
                ControlPlan plan;
                ControlRow row;
                ControlStatus status;
                uint8_t bytes[CONTROL_PAYLOAD_MAX];
        };
} ControlFrame;

enum { CONTROL_E_AGAIN = 1, CONTROL_E_EOF, CONTROL_E_MALFORMED };

/* Receives one frame; blocks if the socket does and wait is set. Checks magic, type, length and presence of an fd against
 * the table of types; strings are terminated by force. frame->fd is the caller's to close or take. */
int control_receive(int socket_fd, bool wait, ControlFrame *frame);
/* Never blocks. 0, CONTROL_E_AGAIN (the peer does not read: treat it as broken), CONTROL_E_EOF, -errno. fd is borrowed, -1
 * for none. body has the type's fixed size; tail (NULL, 0) only with CONTROL_CONFIG. */
int control_send(int socket_fd, ControlType type, const void *body, const void *tail, size_t n_tail, int fd);
/* The section that follows a config, or NULL if section_size does not fit. */
const void *control_section(const ControlFrame *frame);
const char *control_type_name(ControlType type);
