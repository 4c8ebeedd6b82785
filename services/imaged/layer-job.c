/* SPDX-License-Identifier: Apache-2.0 */
#include "services/imaged/layer-job.h"

#include <stdio.h>

#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "lib/log.h"

#define LAYER_TRIES_MAX 3
#define LAYER_ENTRIES_MAX 2000000
#define LAYER_UNPACK_TIMEOUT (30 * 60 * USEC_PER_SEC)

struct LayerJob {
        List link;  /* in Imaged.layer_jobs */
        List wants; /* LayerWant.link; the first one's registry serves */
        Imaged *imaged;
        LayerStage stage;
        RegistryRequest *request;
        Layer *layer; /* once the digest is known; counts the job as a user */
        int file_fd;
        unsigned tries;
        uint64_t bytes_done;
        uint32_t unpack; /* request id on the tree edge */
        bool waits_for_removal; /* of an older tree of the same layer; unpacks then */
        TransferResult downloaded; /* digest, bytes and magic, once it is */
        bool has_digest;
        uint8_t digest[32], diff_id[32];
};

const char *layer_stage_name(LayerStage stage)
{
        static const char *const names[] = {"waiting", "downloading", "unpacking", "done", "present"};
        return names[stage];
}

static void layer_job_set_stage(LayerJob *job, LayerStage stage)
{
        if (job->stage == LAYER_STAGE_DOWNLOADING)
                job->imaged->n_downloads--;
        if (stage == LAYER_STAGE_DOWNLOADING)
                job->imaged->n_downloads++;
        job->stage = stage;
        list_for_each(i, &job->wants)
                container_of(i, LayerWant, link)->stage = stage;
}

static LayerJob *layer_job_free(LayerJob *job)
{
        if (!job)
                return NULL;
        layer_job_set_stage(job, LAYER_STAGE_DONE);
        list_for_each_safe(i, n, &job->wants) {
                LayerWant *want = container_of(i, LayerWant, link);
                list_remove(&want->link);
                want->job = NULL;
        }
        if (job->unpack)
                channel_cancel(imaged_tree(job->imaged), job->unpack);
        (void)registry_request_free(job->request);
        (void)fd_close(job->file_fd);
        if (job->layer)
                job->layer->n_users--;
        list_remove(&job->link);
        free(job);
        return NULL;
}

void layer_job_free_all(Imaged *imaged)
{
        list_for_each_safe(i, n, &imaged->layer_jobs)
                (void)layer_job_free(container_of(i, LayerJob, link));
}

static int layer_job_start_next(Imaged *imaged);

static int layer_want_finish(LayerWant *want, Layer *layer, uint32_t code, const char *text)
{
        if (layer) {
                want->layer = layer;
                layer->n_users++;
        }
        return want->done(want->userdata, want, code, text);
}

/* Ends the job and tells all who want it. On a failure only the first is told, whose registry and credentials it was; the
 * others start over with their own. */
static int layer_job_end(LayerJob *job, uint32_t code, const char *text)
{
        Imaged *imaged = job->imaged;
        Layer *layer = code ? NULL : job->layer;
        List wants;
        list_init(&wants);
        list_for_each_safe(i, n, &job->wants) {
                LayerWant *want = container_of(i, LayerWant, link);
                list_remove(&want->link);
                want->job = NULL;
                list_append(&wants, &want->link);
        }
        if (layer)
                layer->n_users++; /* across the end of the job */
        (void)layer_job_free(job);
        int r = 0;
        for (bool first = true; r == 0 && !list_is_empty(&wants); first = false) {
                LayerWant *want = list_first(&wants, LayerWant, link);
                list_remove(&want->link);
                want->stage = layer ? LAYER_STAGE_DONE : LAYER_STAGE_WAITING;
                r = layer || first ? layer_want_finish(want, layer, code, text) : layer_want_start(want, imaged);
        }
        if (layer)
                layer->n_users--;
        return r < 0 ? fold(r) : fold(layer_job_start_next(imaged));
}

static int layer_job_on_unpacked(void *userdata, const Answer *answer)
{
        LayerJob *job = userdata;
        job->unpack = 0;
        if (answer->outcome != 0) {
                char text[640];
                (void)snprintf(text, sizeof(text), "unpacking it: %s", answer->text);
                return fold(layer_job_end(job, answer->outcome == CHANNEL_E_FAILED ? answer->code : GRPC_STATUS_UNAVAILABLE, text));
        }
        const TreeUnpacked *unpacked = answer->frame->flat;
        if (memcmp(unpacked->diff_id, job->diff_id, 32) != 0)
                return fold(layer_job_end(job, GRPC_STATUS_INVALID_ARGUMENT,
                                          "its uncompressed bytes are not those that the image's configuration names"));
        memcpy(job->layer->diff_id, unpacked->diff_id, 32);
        job->layer->disk_bytes = unpacked->bytes;
        job->layer->inodes = unpacked->inodes;
        job->layer->stored = true;
        return fold(layer_job_end(job, 0, ""));
}

static uint32_t layer_compression(const uint8_t magic[4])
{
        if (magic[0] == 0x1f && magic[1] == 0x8b) /* RFC 1952 */
                return TREE_COMPRESSION_GZIP;
        if (magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd) /* RFC 8878 */
                return TREE_COMPRESSION_ZSTD;
        return TREE_COMPRESSION_NONE;
}

static int layer_job_unpack(LayerJob *job)
{
        const TransferResult *downloaded = &job->downloaded;
        Layer *layer = image_table_find_layer(&job->imaged->table, downloaded->digest);
        job->waits_for_removal = layer && layer->removing;
        layer_job_set_stage(job, LAYER_STAGE_UNPACKING);
        if (job->waits_for_removal)
                return fold(layer_job_start_next(job->imaged));
        if (!layer) {
                int r = layer_new(&layer, &job->imaged->table, downloaded->digest);
                if (r < 0)
                        return fold(r);
        }
        job->layer = layer;
        layer->n_users++;
        if (layer->stored)
                return fold(layer_job_end(job, 0, ""));
        layer->blob_bytes = downloaded->bytes;
        TreeUnpack verb = {
                .compression = layer_compression(downloaded->magic),
                .max_entries = LAYER_ENTRIES_MAX,
                .max_bytes = job->imaged->config->max_layer_bytes,
        };
        memcpy(verb.layer, downloaded->digest, 32);
        memcpy(verb.diff_id, job->diff_id, 32);
        int r = channel_call_flat(imaged_tree(job->imaged), ROW_IMAGED_TREE_TREE_UNPACK, &verb, &job->file_fd, 1,
                                  clock_monotonic_usec() + LAYER_UNPACK_TIMEOUT, layer_job_on_unpacked, job, &job->unpack);
        if (r < 0)
                return fold(r);
        job->file_fd = fd_close(job->file_fd);
        return fold(layer_job_start_next(job->imaged));
}

int layer_job_on_removed(Imaged *imaged, const uint8_t digest[32])
{
        list_for_each(i, &imaged->layer_jobs) {
                LayerJob *job = container_of(i, LayerJob, link);
                if (job->waits_for_removal && memcmp(job->downloaded.digest, digest, 32) == 0)
                        return fold(layer_job_unpack(job)); /* jobs are one per digest */
        }
        return 0;
}

static int layer_job_download(LayerJob *job);

static uint32_t layer_job_code(const TransferResult *result)
{
        if (result->outcome == TRANSFER_E_DISK)
                return GRPC_STATUS_RESOURCE_EXHAUSTED;
        if (result->outcome == TRANSFER_E_TOO_LARGE)
                return GRPC_STATUS_INVALID_ARGUMENT;
        if (result->http_status == 404)
                return GRPC_STATUS_NOT_FOUND;
        return result->http_status == 401 || result->http_status == 403 ? GRPC_STATUS_PERMISSION_DENIED : GRPC_STATUS_UNAVAILABLE;
}

static int layer_job_on_downloaded(void *userdata, TransferResult *result)
{
        LayerJob *job = userdata;
        job->request = NULL;
        char text[700];
        if (result->outcome != 0 || result->http_status / 100 != 2) {
                if (result->outcome == 0 ? result->http_status >= 500 : result->retry)
                        if (++job->tries < LAYER_TRIES_MAX)
                                return fold(layer_job_download(job));
                (void)snprintf(text, sizeof(text), "downloading it: %s (HTTP %u)", result->text, result->http_status);
                return fold(layer_job_end(job, layer_job_code(result), text));
        }
        if (job->has_digest && memcmp(result->digest, job->digest, 32) != 0) {
                char digest[72];
                digest_format(result->digest, digest);
                (void)snprintf(text, sizeof(text), "the %llu bytes that came have the digest %s; the registry is corrupt or lies",
                               (unsigned long long)result->bytes, digest);
                return fold(layer_job_end(job, GRPC_STATUS_INVALID_ARGUMENT, text));
        }
        job->file_fd = result->file_fd;
        result->file_fd = -1;
        job->downloaded = *result;
        return fold(layer_job_unpack(job));
}

static int layer_job_download(LayerJob *job)
{
        LayerWant *want = list_first(&job->wants, LayerWant, link);
        if (!want)
                return fold(layer_job_end(job, GRPC_STATUS_CANCELLED, "nobody wants it any more"));
        char digest[72];
        digest_format(job->digest, digest);
        uint64_t limit = job->imaged->config->max_layer_bytes;
        const RegistryWant blob = {
                .kind = "blobs",
                .name = *want->path ? want->path : digest,
                .to_file = true,
                .max_bytes = want->size_bytes && want->size_bytes < limit ? want->size_bytes : limit,
                .progress = &job->bytes_done,
                .done = layer_job_on_downloaded,
                .userdata = job,
        };
        layer_job_set_stage(job, LAYER_STAGE_DOWNLOADING);
        return fold(registry_get(&job->request, want->registry, &blob));
}

static int layer_job_start_next(Imaged *imaged)
{
        list_for_each(i, &imaged->layer_jobs) {
                LayerJob *job = container_of(i, LayerJob, link);
                if (imaged->n_downloads >= MAX2(imaged->config->max_concurrent_downloads, 1u))
                        return 0;
                if (job->stage == LAYER_STAGE_WAITING)
                        /* At most one: starting one can end others and change the list. */
                        return fold(layer_job_download(job));
        }
        return 0;
}

/* Pulls share a job when they come from the same registry with the same credentials: one that is slow or hostile must not hold
 * up an image of another, though they have a layer in common. */
static bool layer_want_is_like(const LayerWant *a, const LayerWant *b)
{
        return str_equal(a->registry->reference.registry, b->registry->reference.registry) &&
               str_equal(a->registry->credentials, b->registry->credentials) && !*a->registry->import_id && !*b->registry->import_id;
}

static LayerJob *layer_job_find(Imaged *imaged, const LayerWant *want)
{
        list_for_each(i, &imaged->layer_jobs) {
                LayerJob *job = container_of(i, LayerJob, link);
                if (want->has_digest && job->has_digest && memcmp(job->digest, want->digest, 32) == 0 &&
                    memcmp(job->diff_id, want->diff_id, 32) == 0 && !list_is_empty(&job->wants) &&
                    layer_want_is_like(list_first(&job->wants, LayerWant, link), want))
                        return job;
        }
        return NULL;
}

int layer_want_start(LayerWant *want, Imaged *imaged)
{
        Layer *layer = want->has_digest ? image_table_find_layer(&imaged->table, want->digest) : NULL;
        if (layer && layer->stored && !layer->removing) {
                if (memcmp(layer->diff_id, want->diff_id, 32) != 0)
                        return fold(layer_want_finish(want, NULL, GRPC_STATUS_INVALID_ARGUMENT,
                                                      "its uncompressed bytes are not those that the image's configuration names"));
                want->stage = LAYER_STAGE_PRESENT;
                return fold(layer_want_finish(want, layer, 0, ""));
        }
        LayerJob *job = layer_job_find(imaged, want);
        if (!job) {
                job = calloc(1, sizeof(*job));
                if (!job)
                        return error_origin(-ENOMEM);
                job->imaged = imaged;
                job->file_fd = -1;
                job->has_digest = want->has_digest;
                memcpy(job->digest, want->digest, 32);
                memcpy(job->diff_id, want->diff_id, 32);
                list_init(&job->wants);
                list_append(&imaged->layer_jobs, &job->link);
        }
        want->job = job;
        want->stage = job->stage;
        list_append(&job->wants, &want->link);
        return fold(layer_job_start_next(imaged));
}

uint64_t layer_want_bytes(const LayerWant *want)
{
        if (want->job)
                return want->job->bytes_done;
        return want->layer ? want->layer->blob_bytes : 0;
}

void layer_want_done(LayerWant *want, Imaged *imaged)
{
        LayerJob *job = want->job;
        bool served = job && list_first(&job->wants, LayerWant, link) == want;
        list_remove(&want->link);
        want->job = NULL;
        if (want->layer) {
                want->layer->n_users--;
                want->layer = NULL;
        }
        if (!job || !job->request || !served)
                return;
        /* Its registry goes away with the want: the next one that waits serves from now on, or nobody needs the download. */
        job->request = registry_request_free(job->request);
        if (list_is_empty(&job->wants))
                (void)layer_job_free(job);
        else
                layer_job_set_stage(job, LAYER_STAGE_WAITING);
        int r = layer_job_start_next(imaged);
        if (r < 0)
                service_fail(imaged->service, fold(r));
}
