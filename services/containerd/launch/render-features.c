/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child. */

/* What an OCI runtime says of itself: the document of its verb `features` (OCI runtime specification, features.md). */

#include "services/containerd/launch/render.h"

#include "ipc/edges/containerd-launch.h"

static bool render_features_has(const json_t *array, const char *word)
{
        for (size_t i = 0; i < json_array_size(array); i++)
                if (str_equal(json_string_value(json_array_get(array, i)), word))
                        return true;
        return false;
}

int render_features(Render *render, const char *text, size_t n, uint32_t *ret)
{
        /* Annotations of runc's and of crun's own; the specification has no word for it. */
        static const char *const checkpoint[] = {"org.opencontainers.runc.checkpoint.enabled", "run.oci.crun.checkpoint.enabled"};
        json_error_t error;
        json_t *json = json_loadb(text, n, 0, &error);
        const json_t *annotations = json_object_get(json, "annotations");
        const json_t *extensions = json_object_get(json_object_get(json, "linux"), "mountExtensions");
        uint32_t features = 0;
        if (!json_is_object(json)) {
                json_decref(json);
                return render_refuse(render, "what the runtime says of its features is no JSON object");
        }
        if (render_features_has(json_object_get(json, "mountOptions"), "rro"))
                features |= LAUNCH_FEATURE_RECURSIVE_READONLY;
        if (json_is_true(json_object_get(json_object_get(extensions, "idmap"), "enabled")))
                features |= LAUNCH_FEATURE_IDMAP;
        for (size_t i = 0; i < ARRAY_SIZE(checkpoint); i++)
                if (str_equal(json_string_value(json_object_get(annotations, checkpoint[i])), "true"))
                        features |= LAUNCH_FEATURE_CHECKPOINT;
        *ret = features;
        json_decref(json);
        return 0;
}
