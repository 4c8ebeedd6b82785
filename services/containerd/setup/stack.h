/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Layers that are put together apart from the host, and the one mount that comes of it. */

#include "lib/mount-tree.h"
#include "services/containerd/setup/setup.h"

#define STACK_LAYER_FLAGS (MOUNT_TREE_READONLY | MOUNT_TREE_NODEV | MOUNT_TREE_SLAVE)

typedef struct Stack {
        int layers[SEAL_LAYERS_MAX]; /* owned; detached, lowest first */
        uint32_t n_layers;
        int writable; /* owned; detached, -1: none, the overlay cannot be written */
} Stack;

#define STACK_NULL {.writable = -1}

void stack_done(Stack *stack);
/* The statement's layers from the store, with the owners of the user namespace (-1: as they are). 0, a refusal, or -errno. */
int stack_open_layers(Setup *setup, const char *id, const Statement *statement, int userns_fd, Stack *stack, Refusal *refusal);

/* The overlay over the stack, or what lies in it at sub_path ("": all of it), detached. scratch: an empty directory with nothing
 * mounted on it; nothing stays there. 0, one of these with errno in ret_error, or -errno. The caller owns ret_fd. */
enum { STACK_E_NAMESPACE = 1, STACK_E_SCRATCH, STACK_E_LAYER, STACK_E_OVERLAY, STACK_E_PATH, STACK_E_SEND };
int stack_mount(const Stack *stack, const char *scratch, const char *sub_path, int *ret_fd, int *ret_error);
/* "mount the overlay": what failed. */
const char *stack_stage(int outcome);
