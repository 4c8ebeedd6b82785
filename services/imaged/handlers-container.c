/* SPDX-License-Identifier: Apache-2.0 */

/* What containerd needs of an image for a container: its typed configuration, the statement of its layers, a writable layer,
 * and who a user is. A hold is recorded before anything is made for a container. */

#include "ipc/edges/imaged-tree.h"
#include "ipc/edges/imaged-tree.rows.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/grpc-status.h"
#include "services/imaged/handlers.h"
#include "services/imaged/keeping.h"
#include "services/imaged/image-user.h"

#define TREE_TIMEOUT (120 * USEC_PER_SEC)

/* One call to imaged-tree on behalf of an asker. */
typedef struct TreeCall {
        Imaged *imaged;
        ReplyTo to;
        char container_id[ID_LENGTH + 1];
        char image_id[ID_LENGTH + 1], user[IMAGE_USER_MAX]; /* of user_lookup; without an id nothing is kept */
        int (*answer)(struct TreeCall *call, const void *flat);
} TreeCall;

static int tree_call_on_answer(void *userdata, const Answer *answer)
{
        _cleanup_free_ TreeCall *call = userdata;
        if (answer->outcome != 0)
                return reply_fail(call->to, answer->code, "%s", answer->text);
        return fold(call->answer(call, answer->frame->flat));
}

/* what has everything but imaged. */
static int tree_call_run(Imaged *imaged, const TreeCall *what, const MessageRow *row, const void *verb)
{
        _cleanup_free_ TreeCall *call = calloc(1, sizeof(*call));
        if (!call)
                return error_origin(-ENOMEM);
        *call = *what;
        call->imaged = imaged;
        int r = channel_call_flat(imaged_tree(imaged), row, verb, NULL, 0, clock_monotonic_usec() + TREE_TIMEOUT,
                                  tree_call_on_answer, call, NULL);
        if (r < 0)
                return fold(r);
        (void)TAKE_PTR(call);
        return 0;
}

static int tree_call_start(Imaged *imaged, ReplyTo to, const char *container_id, const MessageRow *row, const void *verb,
                           int (*answer)(TreeCall *call, const void *flat))
{
        TreeCall call = {.to = to, .answer = answer};
        (void)str_copy(call.container_id, sizeof(call.container_id), container_id);
        return fold(tree_call_run(imaged, &call, row, verb));
}

/* An image that is used as a layer stack: by id or reference, also one that was removed but is held by this container. */
static Image *handlers_find_image(Imaged *imaged, const char *text, const char *container_id, uint32_t slot)
{
        Hold *hold = image_table_find_hold(&imaged->table, container_id, slot);
        char id[ID_LENGTH + 1];
        if (hold && reference_is_id(text, id) && str_equal(id, hold->image->id))
                return hold->image;
        return image_table_resolve(&imaged->table, text);
}

static int handlers_hold(Imaged *imaged, const char *container_id, uint32_t slot, Image *image, ReplyTo to)
{
        Hold *hold = image_table_find_hold(&imaged->table, container_id, slot);
        if (hold && hold->image == image)
                return 0;
        if (hold)
                return reply_fail(to, GRPC_STATUS_ALREADY_EXISTS, "container %s holds image sha256:%s already", container_id,
                                  hold->image->id) < 0 ? error_origin(-EIO) : 1;
        int r = hold_new(&hold, &imaged->table, container_id, slot, image);
        if (r < 0)
                return fold(r);
        r = image_store_put_hold(imaged, hold);
        if (r == 0)
                return 0;
        (void)hold_free(hold);
        if (r < 0)
                return fold(r);
        r = reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container %s: no space left to record its image; free space", container_id);
        return r < 0 ? fold(r) : 1;
}

int on_image_get(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Bulkhead__ContainerdImaged__ImageGetRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__ImageGetRequest, base);
        ReplyTo to = frame_reply_to(frame);
        if (!id_is_valid(request->container_id))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "image_get: \"%.80s\" is not a container id", request->container_id);
        if (request->slot > SEAL_VOLUMES_MAX)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "container %s: at most %d image volumes are possible",
                                  request->container_id, SEAL_VOLUMES_MAX);
        Image *image = handlers_find_image(imaged, request->reference, request->container_id, request->slot);
        if (!image)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "image %.200s is not on this node; pull it first", request->reference);
        Statement statement;
        if (!image_make_statement(image, request->reference, service_statement_key(imaged->service), &statement))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "image %.200s: its reference is too long", request->reference);
        int r = handlers_hold(imaged, request->container_id, request->slot, image, to);
        if (r)
                return r < 0 ? fold(r) : 0;

        char id[ID_LENGTH + 8];
        memcpy(id, "sha256:", 7);
        memcpy(id + 7, image->id, ID_LENGTH + 1);
        Bulkhead__ContainerdImaged__ImageGetResponse response = BULKHEAD__CONTAINERD_IMAGED__IMAGE_GET_RESPONSE__INIT;
        response.image_id = response.image_ref = id;
        response.config = image->config;
        response.statement = (ProtobufCBinaryData){.len = sizeof(statement), .data = (uint8_t *)&statement};
        char *tags[64];
        response.repo_tags = tags;
        list_for_each(i, &image->names) {
                ImageName *name = container_of(i, ImageName, link);
                if (name->is_digest)
                        response.image_ref = name->text;
                else if (response.n_repo_tags < ARRAY_SIZE(tags))
                        tags[response.n_repo_tags++] = name->text;
        }
        return fold(reply_send(to, &response.base, NULL, 0));
}

static int handlers_release(Imaged *imaged, const char *container_id)
{
        int r = 0;
        for (uint32_t slot = 0; slot <= SEAL_VOLUMES_MAX; slot++) {
                Hold *hold = image_table_find_hold(&imaged->table, container_id, slot);
                if (hold && r == 0)
                        r = image_store_delete_hold(imaged, container_id); /* all of its rows */
                if (r < 0)
                        return fold(r);
                (void)hold_free(hold);
        }
        collect_unused(imaged);
        return 0;
}

int on_image_release(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdImaged__ImageReleaseRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__ImageReleaseRequest, base);
        int r = handlers_release(userdata, request->container_id);
        if (r < 0)
                return fold(r);
        Bulkhead__ContainerdImaged__ImageReleaseResponse response = BULKHEAD__CONTAINERD_IMAGED__IMAGE_RELEASE_RESPONSE__INIT;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

int on_hold_list(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        size_t n = 0;
        list_for_each(i, &imaged->table.holds)
                n++;
        list_for_each(i, &imaged->kept)
                n++;
        Bulkhead__ContainerdImaged__HoldListResponse response = BULKHEAD__CONTAINERD_IMAGED__HOLD_LIST_RESPONSE__INIT;
        _cleanup_free_ char **ids = calloc(n + 1, sizeof(*ids));
        if (!ids)
                return error_origin(-ENOMEM);
        response.container_ids = ids;
        list_for_each(i, &imaged->table.holds) {
                Hold *hold = container_of(i, Hold, link);
                if (hold->slot == 0) /* it holds more only if it holds this */
                        ids[response.n_container_ids++] = hold->container_id;
        }
        list_for_each(i, &imaged->kept)
                ids[response.n_container_ids++] = container_of(i, Kept, link)->container_id;
        return fold(reply_send(frame_reply_to(frame), &response.base, NULL, 0));
}

static int writable_on_prepared(TreeCall *call, const void *flat)
{
        Bulkhead__ContainerdImaged__WritablePrepareResponse response = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_PREPARE_RESPONSE__INIT;
        return fold(reply_send(call->to, &response.base, NULL, 0));
}

int on_writable_prepare(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Bulkhead__ContainerdImaged__WritablePrepareRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__WritablePrepareRequest, base);
        ReplyTo to = frame_reply_to(frame);
        Hold *hold = image_table_find_hold(&imaged->table, request->container_id, 0);
        if (!hold)
                return reply_fail(to, GRPC_STATUS_FAILED_PRECONDITION, "container %.80s holds no image; ask image_get first",
                                  request->container_id);
        if (request->n_volumes > CONFIG_VOLUMES_MAX)
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "container %s: its image has %zu volumes; %d are supported",
                                  request->container_id, request->n_volumes, CONFIG_VOLUMES_MAX);
        TreeWritable verb = {.owner_id = request->owner_id, .n_volumes = (uint32_t)request->n_volumes};
        (void)str_copy(verb.container, sizeof(verb.container), request->container_id);
        for (size_t i = 0; i < request->n_volumes; i++)
                if (!str_copy(verb.volumes[i], sizeof(verb.volumes[i]), request->volumes[i]))
                        return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "container %s: a volume path of its image is too long",
                                          request->container_id);
        verb.n_layers = image_copy_stack(hold->image, verb.layers);
        if (!hold->writable) {
                hold->writable = true;
                int r = image_store_put_hold(imaged, hold);
                if (r < 0)
                        return fold(r);
                if (r > 0) {
                        hold->writable = false;
                        return reply_fail(to, GRPC_STATUS_RESOURCE_EXHAUSTED, "container %s: no space left for its writable layer; free space",
                                          request->container_id);
                }
        }
        return fold(tree_call_start(imaged, to, request->container_id, ROW_IMAGED_TREE_TREE_WRITABLE, &verb, writable_on_prepared));
}

static int writable_on_removed(TreeCall *call, const void *flat)
{
        int r = handlers_release(call->imaged, call->container_id);
        if (r == 0 && keeping_remove(call->imaged, call->container_id))
                r = recovery_sweep(call->imaged);
        if (r < 0)
                return fold(r);
        Bulkhead__ContainerdImaged__WritableRemoveResponse response = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_REMOVE_RESPONSE__INIT;
        return fold(reply_send(call->to, &response.base, NULL, 0));
}

int on_writable_remove(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdImaged__WritableRemoveRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__WritableRemoveRequest, base);
        ReplyTo to = frame_reply_to(frame);
        if (!id_is_valid(request->container_id))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "writable_remove: \"%.80s\" is not a container id", request->container_id);
        TreeName verb = {.kind = TREE_KIND_WRITABLE};
        (void)str_copy(verb.name, sizeof(verb.name), request->container_id);
        return fold(tree_call_start(userdata, to, request->container_id, ROW_IMAGED_TREE_TREE_REMOVE, &verb, writable_on_removed));
}

static int writable_on_measured(TreeCall *call, const void *flat)
{
        const TreeMeasured *measured = flat;
        Hold *hold = image_table_find_hold(&call->imaged->table, call->container_id, 0);
        if (hold) {
                hold->measured_bytes = measured->bytes;
                hold->measured_inodes = measured->inodes;
        }
        Bulkhead__ContainerdImaged__WritableMeasureResponse response = BULKHEAD__CONTAINERD_IMAGED__WRITABLE_MEASURE_RESPONSE__INIT;
        response.bytes = measured->bytes;
        response.inodes = measured->inodes;
        return fold(reply_send(call->to, &response.base, NULL, 0));
}

int on_writable_measure(void *userdata, Frame *frame)
{
        const Bulkhead__ContainerdImaged__WritableMeasureRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__WritableMeasureRequest, base);
        ReplyTo to = frame_reply_to(frame);
        if (!id_is_valid(request->container_id))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT, "writable_measure: \"%.80s\" is not a container id", request->container_id);
        TreeName verb = {.kind = TREE_KIND_WRITABLE};
        (void)str_copy(verb.name, sizeof(verb.name), request->container_id);
        return fold(tree_call_start(userdata, to, request->container_id, ROW_IMAGED_TREE_TREE_MEASURE, &verb, writable_on_measured));
}

static int user_on_found(TreeCall *call, const void *flat)
{
        const TreeUserFound *found = flat;
        char home[sizeof(found->home)], username[sizeof(found->username)];
        (void)str_copy(home, sizeof(home), found->home);
        (void)str_copy(username, sizeof(username), found->username);
        Bulkhead__ContainerdImaged__UserLookupResponse response = BULKHEAD__CONTAINERD_IMAGED__USER_LOOKUP_RESPONSE__INIT;
        response.uid = found->uid;
        response.gid = found->gid;
        response.uid_known = found->uid_known;
        response.home = home;
        response.username = username;
        response.n_additional_gids = MIN2(found->n_groups, (uint32_t)TREE_GROUPS_MAX);
        response.additional_gids = (uint32_t *)found->groups;
        _cleanup_free_ uint8_t *packed = NULL;
        size_t n = 0;
        int r = decode_pack(&response.base, &packed, &n);
        Image *image = r == 0 ? image_table_find_any(&call->imaged->table, call->image_id) : NULL;
        if (image)
                image_user_keep(image, call->user, packed, n);
        if (r == 0)
                r = reply_send_packed(call->to, packed, n, NULL, 0);
        return fold(r);
}

/* One half of USER: a string that begins with a digit is a decimal number up to 2^32-2 or wrong, never a name (V016, V017). */
static bool user_parse_half(const char *text, uint32_t *ret_id, char name[256])
{
        uint64_t id;
        *ret_id = UINT32_MAX;
        name[0] = '\0';
        if (!*text)
                return true;
        if (*text >= '0' && *text <= '9') {
                if (!u64_parse(text, UINT32_MAX - 1, &id))
                        return false;
                *ret_id = (uint32_t)id;
                return true;
        }
        return *text != '-' && *text != '+' && !strpbrk(text, ":\n\r\t ") && str_copy(name, 256, text);
}

int on_user_lookup(void *userdata, Frame *frame)
{
        Imaged *imaged = userdata;
        const Bulkhead__ContainerdImaged__UserLookupRequest *request =
                container_of(frame->message, Bulkhead__ContainerdImaged__UserLookupRequest, base);
        ReplyTo to = frame_reply_to(frame);
        char id[ID_LENGTH + 1], user[520];
        Image *image = reference_is_id(request->image_id, id) ? image_table_find_any(&imaged->table, id) : NULL;
        if (!image)
                return reply_fail(to, GRPC_STATUS_NOT_FOUND, "image %.200s is not on this node; pull it first", request->image_id);
        size_t n_known = 0;
        const uint8_t *known = image_user_find(image, request->user, &n_known);
        if (known)
                return fold(reply_send_packed(to, known, n_known, NULL, 0));
        TreeUser verb = {0};
        verb.n_layers = image_copy_stack(image, verb.layers);
        bool fits = str_copy(user, sizeof(user), request->user);
        char *group = fits ? strchr(user, ':') : NULL;
        if (group)
                *group++ = '\0';
        if (!fits || !user_parse_half(user, &verb.uid, verb.user) || !user_parse_half(group ? group : "", &verb.gid, verb.group))
                return reply_fail(to, GRPC_STATUS_INVALID_ARGUMENT,
                                  "image %s: user \"%.100s\" is neither a name nor a number up to 4294967294; set runAsUser or "
                                  "rebuild the image", request->image_id, request->user);
        if (!*user)
                verb.uid = 0;
        TreeCall call = {.to = to, .answer = user_on_found};
        if (str_copy(call.user, sizeof(call.user), request->user))
                memcpy(call.image_id, image->id, sizeof(call.image_id));
        return fold(tree_call_run(imaged, &call, ROW_IMAGED_TREE_TREE_USER, &verb));
}
