/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How a jail of imaged-tree tells what a container changed in its root file system, through a SOCK_SEQPACKET socket: it waits for one byte
 * of its reader, then sends packets, each a header and up to TREE_STREAM_MAX bytes. Both ends are confined: what is told is hostile. */

#include "lib/base.h"

#define TREE_STREAM_MAX 32768

enum {
        TREE_STREAM_FILES = 1, /* the next piece of a tar archive of what is there; its end is two blocks of zeros */
        TREE_STREAM_DELETED,   /* an absolute path, no NUL: what is there in the image and not in the container */
        TREE_STREAM_FAILED,    /* a text, printable: why it cannot be told; the last packet */
        TREE_STREAM_END,       /* it was told whole; the last packet */
};

typedef struct TreeStreamHeader {
        uint32_t kind;
        uint32_t length; /* of what follows in this packet */
} TreeStreamHeader;
