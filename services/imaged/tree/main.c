/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "lib/log.h"
#include "services/imaged/tree/tree.h"

#include <openssl/evp.h>
#include <signal.h>
#include <sys/prctl.h>

static const HandHandler tree_handlers[] = {EDGE_IMAGED_TREE_HANDLERS_B};

static int tree_acquire(void *context)
{
        Tree *tree = context;

        tree->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
        return tree->sha256 ? 0 : error_origin(-ENOSYS);
}

/* A job ends with this process: its jail would go on with a tree that the next one sweeps. */
static int tree_enter_child(void *context)
{
        return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? error_origin(negative_errno()) : 0;
}

/* What a crash left is removed beside the first requests. */
static int tree_ready(void *context)
{
        const Tree *tree = context;
        pid_t pid = fork();

        if (pid < 0)
                return error_origin(negative_errno());
        if (pid == 0) {
                Trees trees = TREES_NULL;
                int r = tree_enter_child(context);

                if (r == 0)
                        r = trees_open(&trees, hand_config(tree->hand));
                if (r == 0)
                        r = trees_sweep(&trees);
                if (r)
                        log_warning("removing what an earlier run left: %s", error_trace());
                _exit(r ? 1 : 0);
        }
        return 0;
}

int main(int argc, char **argv)
{
        static const HandSpec spec = {
                .process = PROCESS_IMAGED_TREE,
                .edge = EDGE_IMAGED_TREE,
                .schema = &edge_schema_imaged_tree,
                .handlers = tree_handlers,
                .context_size = sizeof(Tree),
                .fork_per_request = true,
                .limited_row = ROW_IMAGED_TREE_TREE_EXPORT,
                .limited_max = TREE_EXPORTS_MAX,
                .acquire = tree_acquire,
                .ready = tree_ready,
                .enter_child = tree_enter_child,
        };
        return hand_main(&spec, argc, argv);
}
