/* SPDX-License-Identifier: Apache-2.0 */
#include "services/containerd/record.h"

#include "lib/error.h"
#include "services/containerd/stop-signal.h"
#include <signal.h>
#include "services/containerd/arena.h"

/* Labels and annotations are the same on the wire and in memory in the config and in the status; only the descriptors differ. */
_Static_assert(sizeof(Runtime__V1__ContainerConfig__LabelsEntry) == sizeof(Runtime__V1__ContainerStatus__LabelsEntry) &&
                       sizeof(Runtime__V1__ContainerConfig__AnnotationsEntry) ==
                               sizeof(Runtime__V1__ContainerStatus__AnnotationsEntry),
               "entries of maps");

/* What the request says, else the image, else SIGTERM. */
static Runtime__V1__Signal record_stop_signal(const RecordInput *record)
{
        Runtime__V1__Signal asked = record->input->request->config->stop_signal;
        int signal = stop_signal_of_cri(asked);

        if (signal == 0)
                signal = stop_signal_of_text(record->input->image->stop_signal);
        return stop_signal_to_cri(signal > 0 ? signal : SIGTERM);
}

static int record_keep(const RecordInput *record, const Runtime__V1__ContainerStatus *status)
{
        _cleanup_free_ uint8_t *status_bytes = NULL, *spec_bytes = NULL, *config_bytes = NULL;
        size_t n_status = 0, n_spec = 0, n_config = 0;

        int r = decode_pack(&status->base, &status_bytes, &n_status);
        if (r == 0)
                r = decode_pack(&record->spec->base, &spec_bytes, &n_spec);
        if (r == 0)
                r = decode_pack(&record->input->request->config->base, &config_bytes, &n_config);
        if (r == 0)
                r = container_set_record(record->container, TAKE_PTR(status_bytes), n_status, TAKE_PTR(spec_bytes), n_spec,
                                         TAKE_PTR(config_bytes), n_config);
        return r < 0 ? fold(r) : r > 0 ? error_origin(-ENOMEM) : 0;
}

/* As they were asked for; an image volume says which image it is. In the arena of the creation. */
static Runtime__V1__Mount **record_mounts(const RecordInput *record)
{
        const Runtime__V1__ContainerConfig *config = record->input->request->config;
        Runtime__V1__Mount **mounts = arena_array(record->arena, config->n_mounts, sizeof(*mounts));
        size_t n_images = 0;

        for (size_t i = 0; mounts && i < config->n_mounts; i++) {
                mounts[i] = config->mounts[i];
                if (!spec_mount_is_image(mounts[i]))
                        continue;
                Runtime__V1__Mount *mount = arena_array(record->arena, 1, sizeof(*mount));
                Runtime__V1__ImageSpec *image = arena_array(record->arena, 1, sizeof(*image));
                if (!mount || !image)
                        return NULL;
                *mount = *mounts[i];
                *image = *mount->image;
                image->image_ref = (char *)record->volume_ids[n_images++];
                mount->image = image;
                mounts[i] = mount;
        }
        return mounts;
}

int record_make(const RecordInput *record)
{
        const Runtime__V1__ContainerConfig *config = record->input->request->config;
        const ProcessSpec *process = record->spec->process;
        Runtime__V1__ContainerStatus status = RUNTIME__V1__CONTAINER_STATUS__INIT;
        Runtime__V1__ContainerMetadata metadata = RUNTIME__V1__CONTAINER_METADATA__INIT;
        Runtime__V1__ImageSpec image = *config->image;
        Runtime__V1__ContainerResources resources = RUNTIME__V1__CONTAINER_RESOURCES__INIT;
        Runtime__V1__LinuxContainerResources limits = RUNTIME__V1__LINUX_CONTAINER_RESOURCES__INIT;
        Runtime__V1__LinuxContainerUser linux_user = RUNTIME__V1__LINUX_CONTAINER_USER__INIT;
        Runtime__V1__ContainerUser user = RUNTIME__V1__CONTAINER_USER__INIT;

        _cleanup_free_ int64_t *groups = calloc(MAX2(process->n_additional_gids, (size_t)1), sizeof(*groups));
        if (!groups)
                return error_origin(-ENOMEM);
        for (size_t i = 0; i < process->n_additional_gids; i++)
                groups[i] = process->additional_gids[i];

        Runtime__V1__Mount **mounts = record_mounts(record);
        if (config->n_mounts > 0 && !mounts)
                return error_origin(-ENOMEM);

        metadata.name = config->metadata->name;
        metadata.attempt = config->metadata->attempt;
        if (*record->image_tag)
                image.image = (char *)record->image_tag;
        if (config->linux && config->linux->resources)
                limits = *config->linux->resources;
        limits.oom_score_adj = process->oom_score_adj; /* as it was clamped */
        resources.linux = &limits;
        linux_user.uid = process->uid;
        linux_user.gid = process->gid;
        linux_user.n_supplemental_groups = process->n_additional_gids;
        linux_user.supplemental_groups = groups;
        user.linux = &linux_user;

        status.id = record->container->id;
        status.metadata = &metadata;
        status.image = &image;
        status.image_ref = (char *)record->image_ref;
        status.image_id = (char *)record->image_id;
        status.n_labels = config->n_labels;
        status.labels = (Runtime__V1__ContainerStatus__LabelsEntry **)config->labels;
        status.n_annotations = config->n_annotations;
        status.annotations = (Runtime__V1__ContainerStatus__AnnotationsEntry **)config->annotations;
        status.n_mounts = config->n_mounts;
        status.mounts = mounts;
        status.log_path = (char *)record->log_path;
        status.resources = &resources;
        status.user = &user;
        status.stop_signal = record_stop_signal(record);
        int r = record_keep(record, &status);
        return r < 0 ? fold(r) : 0;
}
