/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "policy/policy.h"
#include "services/imaged/parse/requests.h"

#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>

typedef struct ImagedParse {
        Hand *hand;
} ImagedParse;

static const HandHandler parse_handlers[] = {EDGE_IMAGED_PARSE_HANDLERS_B};

/* Objects of hostile documents are hash tables: their seed must be nobody's to guess. jansson looks for it in a file,
 * which a child cannot open, and then takes the time. */
static int parse_acquire(void *context)
{
        size_t seed = 0;

        while (seed == 0)
                if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
                        return error_origin(negative_errno());
        json_object_seed(seed);
        return 0;
}

static int parse_enter_child(void *context)
{
        const ImagedParse *parse = context;

        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return error_origin(negative_errno());
        int r = policy_enter(POLICY_PARSE_CHILD, hand_config(parse->hand));
        return r ? fold(r) : 0;
}

int main(int argc, char **argv)
{
        static const HandSpec spec = {
                .process = PROCESS_IMAGED_PARSE,
                .edge = EDGE_IMAGED_PARSE,
                .schema = &edge_schema_imaged_parse,
                .handlers = parse_handlers,
                .context_size = sizeof(ImagedParse),
                .fork_per_request = true,
                .acquire = parse_acquire,
                .enter_child = parse_enter_child,
        };
        return hand_main(&spec, argc, argv);
}
