/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Strings: comparison, bounded copies, hexadecimal, strict numbers. */

#include "lib/base.h"

static inline bool str_is_empty(const char *s)
{
        return !s || !*s;
}

static inline bool str_equal(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "") == 0;
}

static inline bool str_has_prefix(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *s, const char *suffix);

/* Copies s into the array of size bytes; false (and an empty string) if it does not fit. */
bool str_copy(char *to, size_t size, const char *s);

/* Owned formatted string, NULL when memory is out. */
char *str_printf(const char *format, ...) _printf_(1, 2);

/* What someone hostile wrote, for a log line or an error text: printable ASCII as it is, every other byte, '"' and '\\' as \\xNN, cut
 * to fit (the last three characters are then dots). Always terminated; size is at least 4. */
void str_printable(char *to, size_t size, const void *bytes, size_t n);

/* The length of the valid UTF-8 sequence at s, of which n > 0 bytes are there; 0 if there is none (RFC 3629: no surrogates, nothing
 * over-long, at most U+10FFFF). */
size_t utf8_length(const uint8_t *s, size_t n);

/* to holds 2 * n + 1 bytes. */
void hex_encode(char *to, const uint8_t *bytes, size_t n);
/* Exactly 2 * n lower-case digits followed by the end of the string; false otherwise. */
bool hex_decode(uint8_t *bytes, size_t n, const char *hex);

/* Strict decimal: 0 or [1-9][0-9]*, nothing else, at most max; false otherwise (ret untouched). */
bool u64_parse(const char *s, uint64_t max, uint64_t *ret);

/* An object id: exactly 64 lower-case hexadecimal digits. */
#define ID_LENGTH 64
bool id_is_valid(const char *id);
