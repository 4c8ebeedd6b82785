/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/status.h"

#include "ipc/edges/containerd-sandboxd.rows.h"
#include "ipc/edges/gatewayd-containerd.rows.h"
#include "lib/error.h"
#include "services/containerd/info.h"

static char *status_text(const char *s)
{
        return s ? (char *)s : (char *)protobuf_c_empty_string;
}

void status_fill(const Container *container, Runtime__V1__ContainerStatus *ret, StatusScratch *scratch)
{
        if (container->record.status) {
                *ret = *container->record.status;
        } else {
                /* Its row cannot be read: what clients check for has to be there all the same. */
                runtime__v1__container_status__init(ret);
                runtime__v1__container_metadata__init(&scratch->metadata);
                runtime__v1__image_spec__init(&scratch->image);
                scratch->metadata.name = container->name;
                scratch->metadata.attempt = container->attempt;
                scratch->image.image = (char *)"unknown";
                ret->id = (char *)container->id;
                ret->metadata = &scratch->metadata;
                ret->image = &scratch->image;
                ret->image_ref = (char *)"unknown";
        }
        ret->state = container_cri_state(container);
        ret->created_at = MAX2(container->created_nsec, INT64_C(1));
        ret->started_at = container->state == CONTAINER_STATE_STARTING ? 0 : container->started_nsec;
        ret->finished_at = container->finished_nsec;
        ret->exit_code = container->exit_code;
        ret->reason = status_text(container->reason);
        ret->message = status_text(container->message);
}

/* Of a key that is there twice the last one counts, as everywhere where maps travel as lists. */
static const char *status_label(const Runtime__V1__ContainerStatus *status, const char *key)
{
        for (size_t i = status ? status->n_labels : 0; i-- > 0;)
                if (str_equal(status->labels[i]->key, key))
                        return status->labels[i]->value;
        return NULL;
}

bool status_matches(const Container *container, const Runtime__V1__ContainerFilter *filter)
{
        if (container->state == CONTAINER_STATE_CREATING)
                return false;
        if (!filter)
                return true;
        if (!str_has_prefix(container->id, filter->id) || !str_has_prefix(container->pod_id, filter->pod_sandbox_id))
                return false;
        if (filter->state && filter->state->state != container_cri_state(container))
                return false;
        for (size_t i = 0; i < filter->n_label_selector; i++) {
                const char *value = status_label(container->record.status, filter->label_selector[i]->key);
                if (!value || !str_equal(value, filter->label_selector[i]->value))
                        return false;
        }
        return true;
}

static void status_fill_item(const Container *container, Runtime__V1__Container *ret, StatusScratch *scratch)
{
        Runtime__V1__ContainerStatus status;

        status_fill(container, &status, scratch);
        runtime__v1__container__init(ret);
        ret->id = status.id;
        ret->pod_sandbox_id = (char *)container->pod_id;
        ret->metadata = status.metadata;
        ret->image = status.image;
        ret->image_ref = status.image_ref;
        ret->image_id = status.image_id;
        ret->state = status.state;
        ret->created_at = status.created_at;
        ret->n_labels = status.n_labels;
        ret->labels = (Runtime__V1__Container__LabelsEntry **)status.labels;
        ret->n_annotations = status.n_annotations;
        ret->annotations = (Runtime__V1__Container__AnnotationsEntry **)status.annotations;
}
_Static_assert(sizeof(Runtime__V1__Container__LabelsEntry) == sizeof(Runtime__V1__ContainerStatus__LabelsEntry) &&
                       sizeof(Runtime__V1__Container__AnnotationsEntry) == sizeof(Runtime__V1__ContainerStatus__AnnotationsEntry),
               "entries of maps");

int status_list_reply(Containerd *containerd, const Runtime__V1__ContainerFilter *filter, ReplyTo to)
{
        Runtime__V1__ListContainersResponse response = RUNTIME__V1__LIST_CONTAINERS_RESPONSE__INIT;
        size_t n = MAX2(containerd->containers.n, (size_t)1);
        _cleanup_free_ Runtime__V1__Container *items = calloc(n, sizeof(*items));
        _cleanup_free_ Runtime__V1__Container **rows = calloc(n, sizeof(*rows));
        _cleanup_free_ StatusScratch *scratch = calloc(n, sizeof(*scratch));

        if (!items || !rows || !scratch)
                return error_origin(-ENOMEM);
        response.containers = rows;
        for (size_t i = filter ? container_table_from(&containerd->containers, filter->id) : 0; i < containerd->containers.n; i++) {
                const Container *container = containerd->containers.items[i];
                if (filter && !str_has_prefix(container->id, filter->id))
                        break;
                if (!status_matches(container, filter))
                        continue;
                size_t k = response.n_containers++;
                status_fill_item(container, &items[k], &scratch[k]);
                rows[k] = &items[k];
        }
        int r = reply_send(to, &response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}

int status_reply(const Container *container, bool verbose, ReplyTo to)
{
        Runtime__V1__ContainerStatusResponse response = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INIT;
        Runtime__V1__ContainerStatusResponse__InfoEntry entry = RUNTIME__V1__CONTAINER_STATUS_RESPONSE__INFO_ENTRY__INIT;
        Runtime__V1__ContainerStatusResponse__InfoEntry *entries[] = {&entry};
        Runtime__V1__ContainerStatus status;
        _cleanup_(json_text_done) JsonText info = {0};
        StatusScratch scratch;

        status_fill(container, &status, &scratch);
        response.status = &status;
        if (verbose) {
                info_write(container, &info);
                entry.key = (char *)"info";
                entry.value = json_text_end(&info);
                response.n_info = 1;
                response.info = entries;
        }
        int r = reply_send(to, &response.base, NULL, 0);
        return r < 0 ? fold(r) : 0;
}

int status_rows_init(StatusRows *rows, const Containerd *containerd, const char *pod_id, const Container *but)
{
        size_t n = 0;

        for (size_t i = 0; i < containerd->containers.n; i++)
                n += str_equal(containerd->containers.items[i]->pod_id, pod_id);
        n = MAX2(n, (size_t)1);
        *rows = (StatusRows){.items = calloc(n, sizeof(*rows->items)), .statuses = calloc(n, sizeof(*rows->statuses)),
                             .scratch = calloc(n, sizeof(*rows->scratch))};
        if (!rows->items || !rows->statuses || !rows->scratch) {
                status_rows_done(rows);
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; i < containerd->containers.n; i++) {
                const Container *container = containerd->containers.items[i];
                if (container == but || container->state == CONTAINER_STATE_CREATING || !str_equal(container->pod_id, pod_id))
                        continue;
                status_fill(container, &rows->statuses[rows->n], &rows->scratch[rows->n]);
                rows->items[rows->n] = &rows->statuses[rows->n];
                rows->n++;
        }
        return 0;
}

void status_rows_done(StatusRows *rows)
{
        free(TAKE_PTR(rows->items));
        free(TAKE_PTR(rows->statuses));
        free(TAKE_PTR(rows->scratch));
}

int status_pod_reply(Containerd *containerd, const char *pod_id, ReplyTo to)
{
        Bulkhead__ContainerdSandboxd__PodContainersResponse response =
                BULKHEAD__CONTAINERD_SANDBOXD__POD_CONTAINERS_RESPONSE__INIT;
        StatusRows rows;

        int r = status_rows_init(&rows, containerd, pod_id, NULL);
        if (r < 0)
                return fold(r);
        response.n_statuses = rows.n;
        response.statuses = rows.items;
        r = reply_send(to, &response.base, NULL, 0);
        status_rows_done(&rows);
        return r < 0 ? fold(r) : 0;
}

int status_pod_statuses_reply(Containerd *containerd, const char *pod_id, ReplyTo to)
{
        Bulkhead__GatewaydContainerd__PodStatusesResponse response = BULKHEAD__GATEWAYD_CONTAINERD__POD_STATUSES_RESPONSE__INIT;
        StatusRows rows;

        int r = status_rows_init(&rows, containerd, pod_id, NULL);
        if (r < 0)
                return fold(r);
        response.n_statuses = rows.n;
        response.statuses = rows.items;
        r = reply_send(to, &response.base, NULL, 0);
        status_rows_done(&rows);
        return r < 0 ? fold(r) : 0;
}
