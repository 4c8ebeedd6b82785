/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Text and messages in a DecodeArena: built piece by piece, freed as a whole. Everything returns NULL above the limit. */

#include "ipc/decode.h"

/* Zeroed; n elements of size bytes. A valid pointer also for n == 0. */
void *arena_array(DecodeArena *arena, size_t n, size_t size);
char *arena_text(DecodeArena *arena, const char *s);
char *arena_print(DecodeArena *arena, const char *format, ...) _printf_(2, 3);
