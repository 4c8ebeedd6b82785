/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What protobuf-c's descriptors leave to their reader: for code that walks any message. */

#include "lib/base.h"
#include <protobuf-c/protobuf-c.h>

/* Bytes of one value of the field where it lies in its struct, or in the array of a repeated field. */
size_t field_size(const ProtobufCFieldDescriptor *field);
/* A map: protobuf-c shows it as a repeated message <Field>Entry with the fields key (a string) and value. */
bool field_is_map(const ProtobufCFieldDescriptor *field);
