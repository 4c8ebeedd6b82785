/* SPDX-License-Identifier: Apache-2.0 */

/* What a container changed in its root file system, for its checkpoint: the jail's socket is handed on, unread. */

#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/imaged/handlers.h"

#define EXPORT_OPEN_TIMEOUT (120 * USEC_PER_SEC)

typedef struct ExportCall {
        ReplyTo to;
} ExportCall;

static int export_on_opened(void *userdata, const Answer *answer)
{
        _cleanup_free_ ExportCall *call = userdata;
        Bulkhead__ContainerdImaged__WritableExportResponse response = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_EXPORT_RESPONSE__INIT;

        if (answer->outcome != 0)
                return fold(reply_fail(call->to, answer->code, "%s", answer->text));
        _cleanup_fd_ int fd = frame_take_fd(answer->frame, 0);
        return fold(reply_send(call->to, &response.base, &fd, 1));
}

int on_writable_export(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Bulkhead__ContainerdImaged__WritableExportRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__WritableExportRequest, base);
        ReplyTo to = frame_reply_to(frame);
        Hold *hold = image_table_find_hold(&imaged->table, request->container_id, 0);
        if (!hold || !hold->writable)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "container %.80s has no writable layer here", request->container_id);
        TreeExport verb = {.owner_id = request->owner_id};
        (void)str_copy(verb.container, sizeof(verb.container), request->container_id);
        verb.n_layers = image_copy_stack(hold->image, verb.layers);
        _cleanup_free_ ExportCall *call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);
        call->to = to;
        int r = channel_call_flat(imaged_tree(imaged), ROW_IMAGED_TREE_TREE_EXPORT, &verb, NULL, 0,
                                  clock_monotonic_usec() + EXPORT_OPEN_TIMEOUT, export_on_opened, call, NULL);
        if (r < 0)
                return fold(r);
        (void)TAKE_PTR(call);
        return 0;
}
