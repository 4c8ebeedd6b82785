/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* logd: pipes in, CRI log files out. Touches no path; keeps nothing that the commit records do not hold. */

#include "services/logd/log.h"
#include "services/service.h"

typedef struct Logd {
        Service *service;
        LogTable logs;
} Logd;

int on_log_open(void *userdata, Frame *frame);
int on_log_open_tty(void *userdata, Frame *frame);
int on_log_discard(void *userdata, Frame *frame);
int on_log_reopen(void *userdata, Frame *frame);
int on_log_attach(void *userdata, Frame *frame);
int on_log_attachment(void *userdata, Frame *frame);
int on_log_detach(void *userdata, Frame *frame);
int on_log_close(void *userdata, Frame *frame);
