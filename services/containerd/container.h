/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One container: what it is (fixed when it is made), its state, and what is under way with it. */

#include "ipc/cri/api.pb-c.h"
#include "ipc/decode.h"
#include "lib/list.h"
#include "lib/strings.h"
#include "services/fingerprint.h"

typedef struct Containerd Containerd;
typedef struct Container Container;
typedef struct Create Create;
typedef struct Start Start;
typedef struct Stop Stop;
typedef struct Exit Exit;
typedef struct Remove Remove;
typedef struct Update Update;
typedef struct Checkpoint Checkpoint;
typedef struct LogLink LogLink;
typedef struct LogReopen LogReopen;
typedef struct Attach Attach;
typedef struct Adoption Adoption;
typedef struct Frame Frame;
typedef struct ShimLink ShimLink;
typedef struct Stats Stats;
struct event;

/* Numbers are in the database. */
typedef enum ContainerState {
        CONTAINER_STATE_CREATING = 0, /* not listed yet */
        CONTAINER_STATE_CREATED = 1,
        CONTAINER_STATE_STARTING = 2, /* created, for the world */
        CONTAINER_STATE_RUNNING = 3,
        CONTAINER_STATE_EXITED = 4,
        CONTAINER_STATE_UNKNOWN = 5, /* its row cannot be read */
        CONTAINER_STATE_N
} ContainerState;
const char *container_state_name(ContainerState state);

/* Fixed by CreateContainer. */
typedef struct ContainerRecord {
        DecodeArena arena;
        Runtime__V1__ContainerStatus *status; /* in the arena; state, times and end are not kept here. NULL: not made yet */
        uint8_t *status_bytes, *spec_bytes, *config_bytes; /* owned; packed ContainerStatus, RuntimeSpec, ContainerConfig */
        size_t n_status, n_spec, n_config;
        uint32_t uid, gid;
        bool no_new_privileges, tty, stdin_wanted, privileged;
        int stop_signal; /* the kernel's number */
} ContainerRecord;

/* How it ended, as far as is known. */
typedef struct ContainerEnd {
        int32_t exit_code;
        int64_t finished_nsec; /* CLOCK_REALTIME */
        const char *reason;    /* a literal; NULL: from the exit code */
        char message[1024];
} ContainerEnd;

/* What a container writes to, while it is ours to hand on; the shim holds the same. */
typedef struct LogStreams {
        bool tty;
        int commit_fd; /* all owned; -1 */
        int fds[2];    /* stdout or the terminal, stderr */
} LogStreams;

struct Container {
        Containerd *containerd; /* borrowed */
        char id[ID_LENGTH + 1];
        char pod_id[ID_LENGTH + 1];
        char *name;       /* owned; never NULL */
        uint32_t attempt; /* pod, name and attempt are unique together */
        uint8_t fingerprint[FINGERPRINT_BYTES]; /* of the request */
        uint32_t runtime; /* row of ConfigContainerd.runtimes */
        ContainerRecord record;

        ContainerState state;
        int64_t created_nsec, started_nsec, finished_nsec; /* CLOCK_REALTIME; 0: not yet */
        int32_t exit_code;
        char *reason, *message; /* owned; NULL: none. Of one that is CREATED: why the runtime could not make it */
        uint64_t stop_deadline_usec; /* CLOCK_MONOTONIC; 0: nobody wants it stopped */
        bool is_removing;  /* recorded: a removal began */
        bool has_row;      /* in the database */
        bool is_adopted;   /* its record is lost: RUNNING stands for whatever it does, and is told as unknown; see adoption.h */
        bool is_unwritten; /* the row is not what is here: a full disk */

        uint8_t *update_bytes; /* owned; loaded: the update that was under way, until it is under way again */
        size_t n_update_bytes;

        int32_t pid;        /* of its first process; 0: none */
        int pidfd;          /* owned; -1 */
        ShimLink *shim;     /* owned; NULL without one */
        LogStreams log_streams; /* until logd has them */
        bool log_is_open;   /* logd has them */
        bool log_is_lost;   /* nobody holds them any more */
        bool has_lease;     /* on its pod, as far as is known */
        bool exit_seen;     /* the first process has ended; end says how */
        bool has_ended;     /* nothing of it runs any more */
        bool is_cleared;    /* and launch and setup have nothing of it any more, as far as is known */
        ContainerEnd end;

        Create *create;     /* owned; each only while it is under way */
        Start *start;
        Stop *stop;
        Exit *exit;
        Remove *remove;
        Update *update; /* and those that wait for it */
        Checkpoint *checkpoint;
        LogLink *log_link;
        LogReopen *log_reopen;
        Attach *attach;
        Adoption *adoption;
        Stats *stats;       /* owned; NULL: nothing is known */
        Frame **successors; /* owned, kept: CreateContainer calls that wait until this one is gone */
        size_t n_successors;
};

#define CONTAINER_NAME_MAX 512

/* In CREATING, without a record. 0 or -errno. */
int container_new(Container **ret, Containerd *containerd, const char *id, const char *pod_id, const char *name,
                  uint32_t attempt);
/* Everything under way is given up without an answer, successors too. */
Container *container_free(Container *container);
DEFINE_CLEANUP(Container, container_free)

/* Takes the three packed messages (the caller's no more) and reads them. 0, CONTAINER_E_RECORD if they do not decode, or
 * -errno. */
enum { CONTAINER_E_RECORD = 1 };
int container_set_record(Container *container, uint8_t *status, size_t n_status, uint8_t *spec, size_t n_spec, uint8_t *config,
                         size_t n_config);

/* Asserts that the state may follow the present one, logs, records. why is for the log. 0 or -errno. */
int container_set_state(Container *container, ContainerState state, const char *why);
/* The same of one whose row has the state already. */
int container_enter_state(Container *container, ContainerState state, const char *why);
/* Sets EXITED with what container->end says. 0 or -errno. */
int container_set_exited(Container *container);

/* CREATED, but the runtime could not make its process: starting it will say why. */
bool container_is_unstartable(const Container *container);
/* Told to the world, but what the runtime makes of it is not known yet. */
bool container_is_in_making(const Container *container);
/* Owned copies; "" or NULL is none. 0 or -errno. */
int container_set_message(Container *container, const char *message);
/* The state's name, for people. */
const char *container_state_text(const Container *container);
Runtime__V1__ContainerState container_cri_state(const Container *container);
