/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is kept of a container that was made: its status as CRI shows it (state, times and end aside), its spec, its config. */

#include "services/containerd/container.h"
#include "services/containerd/spec.h"

typedef struct RecordInput {
        DecodeArena *arena;     /* borrowed; for what lives until the record is made */
        Container *container;   /* gets the record */
        const SpecInput *input; /* all borrowed */
        const RuntimeSpec *spec;
        const char *image_id, *image_ref;
        const char *image_tag;  /* "" if the image has none */
        const char *const *volume_ids; /* of the images of the request's image volumes, in their order */
        const char *log_path;   /* absolute, "" for none */
} RecordInput;

/* 0 or -errno. */
int record_make(const RecordInput *record);
