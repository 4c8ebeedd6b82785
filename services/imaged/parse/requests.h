/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The handlers of edge imaged-parse. Each runs in a process that does nothing else and has POLICY_PARSE_CHILD. */

#include "ipc/edges/imaged-parse.rows.h"
#include "services/hand.h"

int on_parse_manifest(void *context, int edge_fd, HandRequest *request);
int on_parse_config(void *context, int edge_fd, HandRequest *request);
int on_parse_token(void *context, int edge_fd, HandRequest *request);
int on_parse_challenge(void *context, int edge_fd, HandRequest *request);
int on_parse_archive(void *context, int edge_fd, HandRequest *request);
