/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* linkd: configuration and wiring. It owns the topology: for each edge it makes a socket pair and sends one end to each side;
 * when a process restarts, it wires its edges anew. What must survive its own restart lies in a memory file that
 * linkd-start keeps. */

#include "ipc/control.h"
#include "ipc/wire.h"
#include "services/linkd/config.h"

struct event;
struct event_base;

#define LINKD_MEMORY_MAGIC UINT32_C(0x42484c44) /* "BHLD" */
#define LINKD_FILES_MAX 64
#define LINKD_FILE_BYTES_MAX (1024 * 1024)
#define LINKD_REWIRE_USEC (500 * 1000) /* an edge that ended while both sides live is made anew after that */

typedef struct LinkdRow {
        uint32_t incarnation; /* the one that has its configuration, keys and named fds */
        uint32_t row_state;
} LinkdRow;

typedef struct LinkdEdge {
        uint32_t generation;
        uint32_t incarnations[2]; /* the ones that have their end of this generation, by EdgeSide */
} LinkdEdge;

/* The memory file. Written in an order in which a linkd that dies half-way repeats a step rather than skips it. */
typedef struct LinkdMemory {
        uint32_t magic; /* last to be written: everything below is there */
        uint32_t size;
        uint32_t generation; /* the last one given out, of any edge */
        uint32_t padding;
        uint8_t keys[CONTROL_KEY_N][CONTROL_KEY_BYTES];
        LinkdRow rows[PROCESS_N];
        LinkdEdge edges[EDGE_N];
        LinkdConfig written;  /* as it was read */
        LinkdConfig in_force; /* with what the machine told */
} LinkdMemory;

typedef struct LinkdFile {
        char path[CONFIG_PATH_MAX];
        char *bytes; /* owned */
        size_t n;
} LinkdFile;

typedef struct Linkd Linkd;

/* linkd's side of one daemon. */
typedef struct LinkdDaemon {
        Linkd *linkd;        /* borrowed; outlives us */
        ProcessId process;
        int control_fd;      /* owned; -1 while it is down */
        uint32_t incarnation;
        struct event *event; /* owned */
} LinkdDaemon;

/* Under systemd: where the next life of a process connects. */
typedef struct LinkdDoor {
        Linkd *linkd;        /* borrowed; outlives us */
        int fd;              /* owned; listens, -1: none */
        struct event *event; /* owned */
        int kill_fd;         /* owned; a byte in it has the process killed, -1: nobody listens */
        int stored_fd;       /* owned: what systemd kept for us, until it is up; -1 */
        uint32_t stored_incarnation;
} LinkdDoor;

#define LINKD_SYSTEMD_FDS_MAX 256
#define LINKD_KEPT_MAX 6
#define LINKD_LOCK "lock" /* the only kept fd that no daemon gets */

typedef struct LinkdKept {
        char name[CONTROL_FD_NAME_MAX];
        int fd; /* owned */
        bool is_given; /* by systemd, which has it already */
} LinkdKept;

struct Linkd {
        int argc;
        char **argv; /* borrowed */
        struct event_base *base;    /* owned */
        struct event *start_event;  /* owned */
        struct event *signal_event; /* owned */
        struct event *rewire_event; /* owned */
        int start_fd;               /* owned: the channel to linkd-start, -1 under systemd */
        int signal_fd;              /* owned */
        LinkdMemory *memory;        /* owned mapping */
        LinkdKept kept[LINKD_KEPT_MAX];
        size_t n_kept;
        LinkdFile files[LINKD_FILES_MAX];
        size_t n_files;
        bool files_refused; /* one of them cannot even be read; logged */
        LinkdDaemon daemons[PROCESS_N];
        bool systemd; /* it starts the processes; these are used then */
        int notify_fd;              /* owned */
        int reload_fd;              /* owned; -1 while nobody reloads */
        struct event *reload_event; /* owned */
        LinkdDoor doors[PROCESS_N];
        bool lost[EDGE_N]; /* ended while both sides live; see rewire_event */
        bool founding;     /* the memory file is empty: linkd-start sends files first, and nothing else */
        bool ready;        /* as linkd-start was told */
        bool announced;
        int result;
        ControlFrame frame;
};

/* memory.c */
int linkd_memory_map(Linkd *linkd, int fd);
bool linkd_memory_is_filled(const Linkd *linkd);

/* files.c: configuration documents from linkd-start. What is wrong with one is logged; linkd_files_read() then refuses. */
int linkd_file_add(Linkd *linkd, const char *path, int fd);
void linkd_files_drop(Linkd *linkd);
/* All of them and the --set arguments. 0, CONFIG_E_INVALID (already logged), -errno. */
int linkd_files_read(Linkd *linkd, LinkdConfig *ret);
void linkd_reload(Linkd *linkd);

/* probe.c: what the machine has; as root, before confinement. Warnings go to the log. */
int linkd_probe(LinkdConfig *config, const char *own_libexec_dir, bool systemd);
/* The group of the CRI socket; 0 or -errno (already logged). */
int linkd_probe_group(const LinkdConfig *config, uint32_t *ret);

/* acquire.c: directories, lock, keys, listeners, CA bundle; as root, before confinement. Says in the log what is wrong. */
int linkd_acquire(Linkd *linkd, LinkdConfig *config);
int linkd_keep(Linkd *linkd, const char *name, int fd); /* takes the fd; in the place of one of that name */
int linkd_kept(const Linkd *linkd, const char *name);   /* borrowed, -1 */

/* wiring.c */
int linkd_daemon_up(Linkd *linkd, const ControlChild *child, int fd); /* takes the fd */
/* What a process has said or that it has ended, now and not when the loop comes to it. */
void linkd_daemon_look(Linkd *linkd, ProcessId process);
/* Sends the configuration in force again, to daemons that have it already too. */
void linkd_configure_all(Linkd *linkd);
/* streamd gets the certificate and the key that are kept, if there are any. */
void linkd_renew_tls(Linkd *linkd);
void linkd_stop_all(Linkd *linkd);
void linkd_rewire(Linkd *linkd);
int linkd_send_start(Linkd *linkd, ControlType type, const void *body, int fd);

/* systemd.c: started by systemd and not by linkd-start? */
bool linkd_systemd_is_parent(void);
/* As root: takes what systemd passes, the memory file and, in the first life, the configuration files. 0, CONFIG_E_INVALID (already
 * logged) or -errno. */
int linkd_systemd_begin(Linkd *linkd);
/* Confined: has everything stored that must outlive us (first), takes up the channels that are there, lets processes connect. */
int linkd_systemd_serve(Linkd *linkd, bool first);
/* The directory of root's notes, which the reload of the unit finds by its environment. */
void linkd_systemd_notes(char to[static CONFIG_PATH_MAX]);
int linkd_systemd_tell(Linkd *linkd, bool ready);
/* Has a process killed that does not end by itself when its channel is shut. */
void linkd_systemd_kill(Linkd *linkd, ProcessId process);
void linkd_systemd_done(Linkd *linkd);

/* linkd.c */
int linkd_main(int argc, char **argv);
