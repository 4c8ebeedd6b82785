/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>

#include "ipc/edges/containerd-imaged.rows.h"
#include "ipc/edges/gatewayd-imaged.rows.h"
#include "ipc/edges/imaged-fetch.rows.h"
#include "ipc/edges/imaged-parse.rows.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/error.h"
#include "services/imaged/handlers.h"
#include "services/imaged/keeping.h"
#include "services/imaged/pull.h"
#include "services/store-log.h"

static const ChannelHandler imaged_gatewayd_handlers[] = {EDGE_GATEWAYD_IMAGED_HANDLERS_B};
static const ChannelHandler imaged_containerd_handlers[] = {EDGE_CONTAINERD_IMAGED_HANDLERS_B};
static const ChannelHandler imaged_fetch_handlers[] = {EDGE_IMAGED_FETCH_HANDLERS_A};
static const ChannelHandler imaged_parse_handlers[] = {EDGE_IMAGED_PARSE_HANDLERS_A};
static const ChannelHandler imaged_tree_handlers[] = {EDGE_IMAGED_TREE_HANDLERS_A};

static const ServiceEdge imaged_edges[] = {
        {.schema = &edge_schema_gatewayd_imaged, .handlers = imaged_gatewayd_handlers},
        {.schema = &edge_schema_containerd_imaged, .handlers = imaged_containerd_handlers},
        {.schema = &edge_schema_imaged_fetch, .handlers = imaged_fetch_handlers},
        {.schema = &edge_schema_imaged_parse, .handlers = imaged_parse_handlers},
        {.schema = &edge_schema_imaged_tree, .handlers = imaged_tree_handlers},
};

Channel *imaged_fetch(Imaged *imaged)
{
        return service_channel(imaged->service, EDGE_IMAGED_FETCH);
}

Channel *imaged_parse(Imaged *imaged)
{
        return service_channel(imaged->service, EDGE_IMAGED_PARSE);
}

Channel *imaged_tree(Imaged *imaged)
{
        return service_channel(imaged->service, EDGE_IMAGED_TREE);
}

static int imaged_ready(void *context)
{
        Imaged *imaged = context;
        imaged->config = service_section(imaged->service, sizeof(ConfigImaged));
        image_table_init(&imaged->table);
        list_init(&imaged->pulls);
        list_init(&imaged->layer_jobs);
        list_init(&imaged->kept);
        if (mkdir("/state/blobs", 0700) < 0 && errno != EEXIST)
                return error_origin(negative_errno());
        imaged->blobs_fd = open("/state/blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (imaged->blobs_fd < 0)
                return error_origin(negative_errno());
        int r = image_store_open(imaged, "/state/imaged.db", service_config(imaged->service)->boot_id);
        if (r > 0)
                r = store_log_refused(r, "images");
        if (r == 0)
                r = image_store_load(imaged);
        if (r < 0)
                return fold(r);
        store_log_opened(imaged->store, "images");
        return fold(recovery_start(imaged));
}

static void imaged_quiet(void *context)
{
        store_shrink(((Imaged *)context)->store);
}

static void imaged_release(void *context)
{
        Imaged *imaged = context;
        if (!imaged->table.images.next)
                return;
        pull_free_all(imaged);
        layer_job_free_all(imaged);
        recovery_free(imaged);
        keeping_free(imaged);
        image_table_done(&imaged->table);
        image_store_close(imaged);
        imaged->blobs_fd = fd_close(imaged->blobs_fd);
}

int main(int argc, char **argv)
{
        static const ServiceSpec spec = {
                .process = PROCESS_IMAGED,
                .context_size = sizeof(Imaged),
                .is_prompt = true,
                .edges = imaged_edges,
                .n_edges = ARRAY_SIZE(imaged_edges),
                .ready = imaged_ready,
                .release = imaged_release,
                .quiet = imaged_quiet,
        };
        return service_main(&spec, argc, argv);
}
