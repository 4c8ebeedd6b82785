/* SPDX-License-Identifier: Apache-2.0 */

/* What a container changed in its root file system, for its checkpoint. */

#include "lib/clock.h"
#include "lib/error.h"
#include "services/imaged/tree/export.h"
#include "services/imaged/tree/tree.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>

#define REQUESTS_EXPORT_OPEN_TIMEOUT (60 * USEC_PER_SEC)
#define REQUESTS_EXPORT_TIMEOUT (20 * 60 * USEC_PER_SEC) /* more than a checkpoint may take */

/* The last one of a container ends a moment after its reader. */
#define REQUESTS_EXPORT_TRIES 100
#define REQUESTS_EXPORT_WAIT_USEC 50000

typedef struct RequestsExport {
        uint32_t owner_id;
        int to_fd;
        int tree_fd, image_fd; /* in the jail */
} RequestsExport;

static int requests_export_open(void *argument, Report *report)
{
        RequestsExport *exporting = argument;

        exporting->tree_fd = open("/tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        exporting->image_fd = open("/image", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return exporting->tree_fd < 0 || exporting->image_fd < 0 ? report_errno(report, errno, "opening", "the container's files") : 0;
}

static int requests_export_tell(void *argument, Report *report)
{
        const RequestsExport *exporting = argument;
        const ExportSpec spec = {.tree_fd = exporting->tree_fd, .image_fd = exporting->image_fd, .to_fd = exporting->to_fd,
                                 .owner_id = exporting->owner_id};

        (void)report; /* it was sent; the stream says how it ends */
        return export_tell(&spec);
}

static int requests_export_stream(const Tree *tree, int upper_fd, int edge_fd, const HandRequest *request)
{
        const TreeExport *asked = tree_body(request);
        _cleanup_fd_ int reader_fd = -1, teller_fd = -1;
        _cleanup_(jail_done) Jail jail = JAIL_NULL;
        int pair[2], r;
        Report report;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return tree_fail_errno(edge_fd, request, "telling the files of", asked->container, error_origin(negative_errno()));
        reader_fd = pair[0];
        teller_fd = pair[1];
        RequestsExport exporting = {.owner_id = asked->owner_id, .to_fd = teller_fd, .tree_fd = -1, .image_fd = -1};
        const JailSpec spec = {
                .config = hand_config(tree->hand),
                .tree_fd = upper_fd,
                .layers = asked->layers,
                .n_layers = asked->n_layers,
                .keep_fd = teller_fd,
                .streams = true,
                .run = requests_export_open,
                .after = requests_export_tell,
                .argument = &exporting,
        };
        r = jail_start(&spec, &jail);
        teller_fd = fd_close(teller_fd);
        if (r == 0)
                r = jail_read_report(&jail, clock_monotonic_usec() + REQUESTS_EXPORT_OPEN_TIMEOUT, &report);
        if (r)
                return tree_fail_errno(edge_fd, request, "telling the files of", asked->container, r);
        if (report.code)
                return tree_fail_report(edge_fd, request, "telling the files of", asked->container, &report);
        r = hand_reply(edge_fd, request, NULL, &reader_fd, 1);
        if (r)
                return fold(r);
        /* As long as somebody holds the other end: then the jail's read or write ends. */
        reader_fd = fd_close(reader_fd);
        r = jail_wait(&jail, clock_monotonic_usec() + REQUESTS_EXPORT_TIMEOUT);
        return r ? fold(r) : 0;
}

/* One export of a container at a time: the lock of its directory goes with this process. 0 with *ret_locked, or -errno. */
static int requests_export_lock(int fd, bool *ret_locked)
{
        for (unsigned i = 0; i < REQUESTS_EXPORT_TRIES; i++) {
                *ret_locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
                if (*ret_locked)
                        return 0;
                if (errno != EWOULDBLOCK)
                        return error_origin(negative_errno());
                (void)usleep(REQUESTS_EXPORT_WAIT_USEC);
        }
        return 0;
}

/* Asked: a container's id, the layers it stands on. Rechecked: the id's grammar, and that the layers are here; both are only seen by a jail
 * that has no other tree. At worst: what a container wrote is told to whoever imaged gives the socket to. */
int on_tree_export(void *context, int edge_fd, HandRequest *request)
{
        const Tree *tree = context;
        const TreeExport *asked = tree_body(request);
        _cleanup_(trees_done) Trees trees = TREES_NULL;
        _cleanup_fd_ int fd = -1, upper_fd = -1;
        bool missing = true, is_locked = false;
        int r;

        if (!tree_text_is_valid(asked->container, sizeof(asked->container)) || !id_is_valid(asked->container) || asked->n_layers == 0)
                return tree_refuse(edge_fd, request, "it names no container with an image");
        r = trees_open(&trees, hand_config(tree->hand));
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "telling the files of", asked->container, r);
        r = tree_check_layers(&trees, edge_fd, request, asked->layers, asked->n_layers, &missing);
        if (r || missing)
                return r ? fold(r) : 0;
        r = trees_find(&trees, TREE_KIND_WRITABLE, asked->container, &fd);
        if (r == TREES_E_NOT_FOUND) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_NOT_FOUND, "container %s has no writable layer", asked->container);
                return r ? fold(r) : 0;
        }
        if (r == 0)
                r = requests_export_lock(fd, &is_locked);
        if (r == 0 && !is_locked) {
                r = hand_fail(edge_fd, request, GRPC_STATUS_RESOURCE_EXHAUSTED,
                              "container %s is being told to somebody already; try again when that checkpoint has ended", asked->container);
                return r ? fold(r) : 0;
        }
        if (r == 0) {
                upper_fd = openat(fd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                r = upper_fd < 0 ? error_origin(negative_errno()) : 0;
        }
        if (r < 0)
                return tree_fail_errno(edge_fd, request, "telling the files of", asked->container, r);
        r = requests_export_stream(tree, upper_fd, edge_fd, request);
        return r ? fold(r) : 0;
}
