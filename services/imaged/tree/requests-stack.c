/* SPDX-License-Identifier: Apache-2.0 */

/* What an image's layers are mounted as. */

#include "lib/clock.h"
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/stack.h"
#include "services/imaged/tree/tree.h"

#include <openssl/evp.h>

#define REQUESTS_STACK_TIMEOUT (100 * USEC_PER_SEC)
#define REQUESTS_STACK_DOMAIN "bulkhead stack 1" /* hashed before the digests: a made layer's name is nobody's digest */

/* Drops what an opaque root hides. *ret_needed: some layer above the lowest passes through directories. *ret_failed: answered. */
static int requests_stack_read(const Trees *trees, int edge_fd, const HandRequest *request, TreeStacked *stacked, bool *ret_needed,
                               bool *ret_failed)
{
        const TreeStack *stack = tree_body(request);

        *ret_failed = false;
        *ret_needed = false;
        for (uint32_t i = 0; i < stack->n_layers; i++) {
                _cleanup_fd_ int fd = -1;
                char hex[ID_LENGTH + 1];
                TreesRecord record;
                int r;

                hex_encode(hex, stack->layers[i], 32);
                r = trees_find(trees, TREE_KIND_LAYER, hex, &fd);
                if (r == 0)
                        r = trees_read_record(fd, &record);
                *ret_failed = r != 0;
                if (r < 0)
                        return tree_fail_errno(edge_fd, request, "reading the record of layer", hex, r);
                if (r == TREES_E_NOT_FOUND) {
                        r = hand_fail(edge_fd, request, GRPC_STATUS_FAILED_PRECONDITION,
                                      "layer sha256:%s is not in the store, or was not unpacked here; pull the image again", hex);
                        return r ? fold(r) : 0;
                }
                if (record.is_opaque) {
                        stacked->n_layers = 0;
                        *ret_needed = false;
                }
                *ret_needed |= record.has_implicit && stacked->n_layers > 0;
                memcpy(stacked->layers[stacked->n_layers++], stack->layers[i], 32);
        }
        return 0;
}

static int requests_stack_name(const Tree *tree, const TreeStacked *stacked, uint8_t ret[32])
{
        EVP_MD_CTX *hash = EVP_MD_CTX_new();
        bool ok = hash && EVP_DigestInit_ex2(hash, tree->sha256, NULL) == 1 &&
                  EVP_DigestUpdate(hash, REQUESTS_STACK_DOMAIN, sizeof(REQUESTS_STACK_DOMAIN)) == 1 &&
                  EVP_DigestUpdate(hash, stacked->layers, (size_t)stacked->n_layers * 32) == 1 &&
                  EVP_DigestFinal_ex(hash, ret, NULL) == 1;

        EVP_MD_CTX_free(hash);
        return ok ? 0 : error_origin(-ENOMEM);
}

static int requests_stack_in_jail(void *argument, Report *report)
{
        return stack_make(*(const uint32_t *)argument, report);
}

static int requests_stack_reply(int edge_fd, const HandRequest *request, TreeStacked *stacked, const uint8_t name[32],
                                uint64_t bytes, uint64_t inodes)
{
        int r;

        if (stacked->n_layers == SEAL_LAYERS_MAX) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_INVALID_ARGUMENT,
                              "the image has %d layers, and needs one more for directories that they leave out; rebuild it with fewer",
                              SEAL_LAYERS_MAX);
                return r ? fold(r) : 0;
        }
        stacked->is_made = 1;
        stacked->bytes = bytes;
        stacked->inodes = inodes;
        memcpy(stacked->layers[stacked->n_layers++], name, 32);
        r = hand_reply(edge_fd, request, stacked, NULL, 0);
        return r ? fold(r) : 0;
}

static int requests_stack_stage(const Tree *tree, const Trees *trees, TreesStage *stage, int edge_fd, const HandRequest *request,
                                TreeStacked *stacked, const uint8_t name[32])
{
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = stage->fd,
                .layers = stacked->layers,
                .n_layers = stacked->n_layers,
                .apart = true,
                .keep_fd = -1,
                .run = requests_stack_in_jail,
                .argument = &stacked->n_layers,
        };
        TreesRecord record = {0};
        char hex[ID_LENGTH + 1];
        Report report;
        int r;

        hex_encode(hex, name, 32);
        r = jail_run(&spec, REQUESTS_STACK_TIMEOUT, &report);
        if (r)
                return tree_fail_errno(edge_fd, request, "stacking", "the layers", r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "stacking", "the layers", &report);
        if (report.n_implicit == 0) {
                r = hand_reply(edge_fd, request, stacked, NULL, 0);
                return r ? fold(r) : 0;
        }
        record.bytes = report.bytes;
        record.inodes = report.inodes;
        r = trees_record(stage->fd, &record);
        if (r == 0)
                r = trees_commit(trees, stage, hex);
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "committing", "the layer of directories", r);
        r = requests_stack_reply(edge_fd, request, stacked, name, report.bytes, report.inodes);
        return r ? fold(r) : 0;
}

/* Asked: digests of layers. Rechecked: all of them are committed here. At worst: a layer with directories of attributes that some
 * hostile layer of the same list has, under a name that is no digest of anything. */
int on_tree_stack(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeStack *stack = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        TreesStage stage = TREES_STAGE_NULL;
        _cleanup_fd_ int existing_fd = -1;
        bool needed, failed;
        TreeStacked stacked = {0};
        char hex[ID_LENGTH + 1];
        TreesRecord record;
        uint8_t name[32];
        int r;

        if (stack->n_layers > SEAL_LAYERS_MAX)
                return tree_refuse(edge_fd, request, "it has more layers than an image can");
        r = trees_open(&trees, hand_config(tree->hand));
        if (r)
                return tree_fail_errno(edge_fd, request, "stacking", "the layers", r);
        r = requests_stack_read(&trees, edge_fd, request, &stacked, &needed, &failed);
        if (r || failed)
                return r ? fold(r) : 0;
        if (!needed) {
                r = hand_reply(edge_fd, request, &stacked, NULL, 0);
                return r ? fold(r) : 0;
        }
        r = requests_stack_name(tree, &stacked, name);
        hex_encode(hex, name, 32);
        if (r == 0)
                r = trees_find(&trees, TREE_KIND_LAYER, hex, &existing_fd);
        if (r == 0)
                r = trees_read_record(existing_fd, &record);
        if (r == 0) {
                r = requests_stack_reply(edge_fd, request, &stacked, name, record.bytes, record.inodes);
                return r ? fold(r) : 0;
        }
        if (r > 0)
                r = trees_stage(&trees, TREE_KIND_LAYER, hex, 0755, &stage);
        if (r)
                return tree_fail_errno(edge_fd, request, "stacking", "the layers", r);
        r = requests_stack_stage(tree, &trees, &stage, edge_fd, request, &stacked, name);
        tree_discard(&trees, &stage);
        return r ? fold(r) : 0;
}
