/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The small texts of gRPC over HTTP/2 (PROTOCOL-HTTP2.md of the gRPC project): timeout, status message, binary
 * metadata, content type. Pure functions. */

#include "lib/base.h"

/* grpc-timeout: 1 to 8 digits and a unit (H M S m u n). Rounds up to microseconds. False if it is malformed. */
bool grpc_timeout_parse(const char *s, size_t n, uint64_t *ret_usec);

/* Percent-encodes what grpc-message may not carry as it is. Writes at most size - 1 bytes and a NUL, never half an
 * escape nor half of a UTF-8 character. Returns the length. */
size_t grpc_text_encode(char *to, size_t size, const char *text);

/* Base64 without padding, as a "-bin" header wants it. to holds GRPC_BASE64_SIZE(n) bytes. Returns the length. */
#define GRPC_BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
size_t grpc_base64_encode(char *to, const uint8_t *bytes, size_t n);

/* application/grpc, alone or with +proto or parameters. Other subtypes would be read as protobuf and are not. */
bool grpc_content_type_is_proto(const char *s, size_t n);
