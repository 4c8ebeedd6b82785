/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */
#pragma once

/* A checkpoint's archive: a tar of the files that CRIU wrote, of documents about the container, and of what it changed in its root file
 * system, as podman, CRI-O and containerd lay it out (checkpointctl reads it). */

#include "services/containerd/launch/render.h"

typedef struct RenderArchive {
        int fd;          /* borrowed; a new regular file */
        uint64_t offset; /* where the next entry begins */
        int64_t now_nsec; /* CLOCK_REALTIME: of entries that are made here */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC: nothing is read later; USEC_INFINITY: none */
        int parent_fd;          /* borrowed; when its other end is closed, nobody wants the archive; -1: nobody to look at */
} RenderArchive;

/* Each appends one entry. 0, RENDER_E_FULL, RENDER_E_LATE or -errno: -EPIPE, nobody wants it. */
int render_archive_directory(RenderArchive *archive, const char *name);
int render_archive_file(RenderArchive *archive, const char *name, int fd);
int render_archive_json(RenderArchive *archive, const char *name, const json_t *json);
/* rootfs-diff.tar and deleted.files, from the stream of ipc/tree-stream.h, which begins now. RENDER_E_REFUSED: it was not told whole,
 * the render's text says why. */
int render_archive_stream(RenderArchive *archive, Render *render, int stream_fd);
/* Two blocks of zeros. */
int render_archive_end(RenderArchive *archive);

/* config.dump and status. NULL: no memory. */
json_t *render_archive_config(const Bulkhead__RuntimeSpec__CheckpointSpec *spec, const char *container_id, int64_t now_nsec);
json_t *render_archive_status(const Bulkhead__RuntimeSpec__CheckpointSpec *spec);

/* The request that a CHECKPOINT permit seals: for this container, with a location that can be one. location is its own, as it is to be
 * used. 0, or an outcome with a text. */
int render_checkpoint(Render *render, const Permit *permit, const Runtime__V1__CheckpointContainerRequest *request,
                      char location[RENDER_PATH_MAX]);
/* From CRIU's log of a dump that failed: its last words about an error. RENDER_E_FULL, or RENDER_E_REFUSED, with a text. */
int render_checkpoint_why(Render *render, const char *log, size_t n);
