/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Image references as people and manifests write them, in the grammar of the distribution project: a strict parser that yields
 * one canonical form. `busybox` is docker.io/library/busybox:latest. */

#include "lib/base.h"

#define REFERENCE_MAX 512
#define REFERENCE_TAG_MAX 128

typedef struct Reference {
        char registry[256];       /* host[:port], "docker.io" when none is written */
        char repository[256];     /* path below it, "library/" added for docker.io */
        char tag[REFERENCE_TAG_MAX + 1]; /* "" when only a digest is given */
        char digest[72];          /* "sha256:<hex>" or "" */
} Reference;

enum { REFERENCE_E_INVALID = 1 };

/* 0 or REFERENCE_E_INVALID; ret_why says what is wrong, for people. With neither tag nor digest the tag is "latest". */
int reference_parse(Reference *ret, const char *text, const char **ret_why);
/* The registry is the one of an AuthConfig's server_address: host[:port], perhaps as a URL; "" is any. */
bool reference_is_of_server(const Reference *reference, const char *server_address);
/* The canonical name: "registry/repository@sha256:…" where it names a digest, else "registry/repository:tag". */
void reference_format(const Reference *reference, char to[REFERENCE_MAX]);
void reference_format_tag(const Reference *reference, char to[REFERENCE_MAX]);
void reference_format_digest(const Reference *reference, const char *digest, char to[REFERENCE_MAX]);

/* "sha256:" and 64 lower-case hexadecimal digits: nothing else is parsed. */
bool digest_parse(const char *digest, uint8_t ret[32]);
void digest_format(const uint8_t digest[32], char to[72]);

/* An image id or the beginning of one: optional "sha256:", then 1 to 64 hexadecimal digits; ret gets the digits. */
bool reference_is_id(const char *text, char ret[65]);
