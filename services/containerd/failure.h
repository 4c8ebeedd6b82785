/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Why a request cannot be answered as asked: a gRPC status and a text that names object, stage and next step. The first one
 * stays: what fails while cleaning up is logged, not told. */

#include "lib/base.h"
#include "lib/grpc-status.h"

#define FAILURE_TEXT_MAX 1536

typedef struct Failure {
        uint32_t code; /* GrpcStatus; 0: none */
        char text[FAILURE_TEXT_MAX];
} Failure;

/* The one positive outcome of functions that fill a Failure. */
enum { FAILURE_E_SET = 1 };

/* Fills an empty failure; returns FAILURE_E_SET. */
int failure_set(Failure *failure, uint32_t code, const char *format, ...) _printf_(3, 4);
static inline bool failure_is_set(const Failure *failure)
{
        return failure->code != 0;
}
