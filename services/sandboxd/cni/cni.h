/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* sandboxd-cni: runs CNI plugins, as root and unconfined, because a plugin inherits whatever confines its parent. So this
 * part does nothing else. Which plugin runs with what on its standard input, and what its output means, is decided by a
 * child that has confined itself and talks back in the fixed frames below. Bytes pass through here as sealed memory files. */

#include "ipc/edges/sandboxd-cni.h"
#include "services/hand.h"
#include "services/sandboxd/refusal.h"

#define CNI_NETNS_DIR "/run/netns"
enum { CNI_VERB_STATUS = CNI_VERB_CHECK + 1 };

/* Child to spawner, one at a time; RAN is the answer to the first four. */
enum {
        TALK_RUN = 1, /* TalkRun; fd: what the plugin reads */
        TALK_PROBE,   /* TalkRun: is this plugin there? */
        TALK_SAVE,    /* fd: the pod's cache from now on */
        TALK_FORGET,  /* the pod's cache is not needed any more */
        TALK_DONE,    /* fd: the result, if there is one */
        TALK_FAILED,  /* WireError */
        TALK_RAN,     /* TalkRan; fd: what the plugin printed (after RUN) */
};

typedef struct TalkRun {
        uint32_t command; /* CNI_VERB_* */
        char plugin[64];
        char arguments[640]; /* CNI_ARGS */
} TalkRun;

enum { TALK_HOW_ENDED, TALK_HOW_MISSING, TALK_HOW_TIMEOUT, TALK_HOW_TOO_MUCH };
typedef struct TalkRan {
        uint32_t how;
        int32_t status;  /* wait status, if it ENDED; in the other cases it and all that it started was killed */
        char text[1024]; /* the beginning of its standard error; why it is MISSING */
} TalkRan;

/* One request, as the child finds it after the fork. */
typedef struct CniTask {
        uint32_t verb;
        char pod_id[ID_LENGTH + 1];
        char network_pin[128];    /* "": there is none */
        uint64_t namespace_inode;
        const Permit *permit;     /* fixed part checked; NULL but for ADD */
        int request_fd;           /* CniRequest, -1 */
        int config_fd;            /* the network's configuration, -1: config_text says why not */
        int cache_fd;             /* CniCache, -1: there is none */
        int socket_fd;
        uint32_t timeout_sec;
        char config_name[CONFIG_PATH_MAX * 2];
        char config_text[512];
} CniTask;

/* files.c: what is kept of a pod, in a directory that is locked while a request is served; and the configuration. */
int files_list(const Hand *hand, uint32_t offset, CniListed *listed);
int files_lock(const Hand *hand, const char *pod_id, bool create, int *ret_dir_fd); /* -1: there is none */
int files_save(int dir_fd, int memfd);
void files_unlock(const Hand *hand, const char *pod_id, int dir_fd);
void files_open_config(const ConfigCni *config, CniTask *task);

/* plugin.c: a plugin's program, or -1 and the reason; one run of it (keep is a child of ours that is no plugin's). */
int plugin_open(const ConfigCni *config, const char *name, char text[1024]);
int plugin_run(const ConfigCni *config, const CniTask *task, const TalkRun *run, int input_fd, pid_t keep, TalkRan *ran, int *ret_output_fd);
_Noreturn void child_run(const CniTask *task, const ConfigCommon *config); /* child.c */
