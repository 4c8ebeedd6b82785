/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How many streams there may be: on the node, and of one pod. Whoever may use the streams of one pod must not be able to take them
 * from the others, so a pod's share is an eighth of what the node has of a kind, or a quarter where a kind is scarce; each process
 * counts what it holds itself, by the pod that the owner names. A refusal says which of these was met and what to do. Bounds that
 * one client meets alone, whatever its pod, stand where they are used. */

/* containerd: exec and attach, from the URL to the end of the command. 2048 of them are some 20 MiB with their shims' channels. */
#define STREAM_SESSIONS_MAX 2048
#define STREAM_SESSIONS_POD_MAX 256
/* Of requests that wait for their clients; a single one has at most 4 MiB of arguments, more than any kernel takes. */
#define STREAM_REQUESTS_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define STREAM_REQUESTS_POD_BYTES_MAX ((size_t)4 * 1024 * 1024)

/* sandboxd: port-forwards, from the URL to the client's end. */
#define STREAM_FORWARDS_MAX 1024
#define STREAM_FORWARDS_POD_MAX 128
/* Connections into pods that are asked for: those beyond the next two lines wait for their turn. A quarter, for one client of
 * streamd asks for up to 128 of them at once. */
#define STREAM_CALLS_MAX 512
#define STREAM_CALLS_POD_MAX 128
/* Those that are being made: a pod whose ports take nothing holds each for ten seconds. */
#define STREAM_CONNECTS_MAX 32
#define STREAM_CONNECTS_POD_MAX 8
/* sandboxd-setup: its children. Twice that, since one counts until it is reaped, after its answer: so it never refuses what sandboxd
 * asks in good order, and bounds a sandboxd that does not. */
#define STREAM_CHILDREN_MAX (2 * STREAM_CONNECTS_MAX)
#define STREAM_CHILDREN_POD_MAX (2 * STREAM_CONNECTS_POD_MAX)

/* streamd: clients, each with up to 4 fds, and connections into pods, each with 1: together they stay below its row's rlimit. */
#define STREAM_CLIENTS_MAX 512
#define STREAM_CLIENTS_POD_MAX 128
#define STREAM_PAIRS_MAX 1536
#define STREAM_PAIRS_POD_MAX 384

/* The tokens of a pod's URLs are bounded by its sessions and forwards: 256 and 128 of the 1000 that each owner has (token-table.h). */
