/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The dialogue between the confined render child and its parent: frames of ipc/wire.h with these ids. The child asks one thing
 * at a time; the last frame says how it ended. */

#include "ipc/wire.h"

#define RENDER_PATH_MAX 4096
#define RENDER_WITHIN_MAX 512
#define RENDER_APPARMOR_LIST "/sys/kernel/security/apparmor/profiles"

enum {
        RENDER_ASK_PROFILE = 1, /* an absolute path; answer: the open file */
        RENDER_ASK_RECORD,      /* a container's id; answer: its exit record's file */
        RENDER_ASK_DEVICES,     /* a path; answers: one frame per device node there or below, then one without */
        RENDER_ASK_SOURCE,      /* a path, SOURCE_* flags (runtime/source.h), a number, within; answer: where it really is, and in mode its SOURCE_NO* */
        RENDER_ASK_CDI,         /* answers: one frame per file of /etc/cdi and /var/run/cdi, with the open file, then one without */
        RENDER_ASK_APPARMOR,    /* answer: the kernel's list of loaded AppArmor profiles, open */
        RENDER_ASK_FILES,       /* answers: one frame per file of a checkpoint, its name in the archive and the open file, then one without */
        RENDER_ASK_DONE,        /* outcome and text; no answer */
};

/* How rendering ends, besides 0 and -errno. */
enum {
        RENDER_E_REFUSED = 1, /* it cannot be done: the text says what to change */
        RENDER_E_FORBIDDEN,   /* it is more than the permit, or an exec's container, has */
        RENDER_E_FULL,        /* there is no room for it */
        RENDER_E_LATE,        /* its time was over before it was done */
};

typedef struct RenderAsk {
        int32_t outcome; /* of DONE */
        uint32_t features; /* of DONE */
        uint32_t flags, number;
        char within[RENDER_WITHIN_MAX]; /* of SOURCE: a directory out of which it must not lead, or "" */
        char text[RENDER_PATH_MAX];
} RenderAsk;

typedef struct RenderAnswer {
        int32_t result; /* 0 or -errno */
        uint32_t priority; /* of a CDI file's directory */
        uint32_t type;  /* of a device: 'c' or 'b', else 0 */
        uint32_t major, minor, mode, uid, gid;
        char path[RENDER_PATH_MAX];
} RenderAnswer;
