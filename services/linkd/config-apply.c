/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/strings.h"
#include "services/linkd/config.h"
#include <stdio.h>

typedef enum FieldKind { FIELD_STRING, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_BYTES } FieldKind;

/* Every configured value with its key: what a reload compares, shows and (live) takes over. The others take effect when
 * the suite is started the next time. FIELD_BYTES: a list, compared as memory. */
typedef struct Field {
        const char *key;
        size_t offset;
        size_t size;
        FieldKind kind;
        bool live;
} Field;

#define FIELD(k, member, f, l) {k, offsetof(LinkdConfig, member), sizeof(((LinkdConfig *)0)->member), f, l}

static const Field config_fields[] = {
        FIELD("log_level", common.log_level, FIELD_U32, true),
        FIELD("images.mirrors, images.registries", imaged.mirrors, FIELD_BYTES, true),
        FIELD("images.mirrors, images.registries (number)", imaged.n_mirrors, FIELD_U32, true),
        FIELD("images.pinned", imaged.pinned, FIELD_BYTES, true),
        FIELD("images.pinned (number)", imaged.n_pinned, FIELD_U32, true),
        FIELD("images.max_concurrent_downloads", imaged.max_concurrent_downloads, FIELD_U32, true),
        FIELD("images.progress_timeout", imaged.progress_timeout_sec, FIELD_U32, true),
        FIELD("images.max_layer_bytes", imaged.max_layer_bytes, FIELD_U64, true),
        FIELD("images.max_image_bytes", imaged.max_image_bytes, FIELD_U64, true),
        FIELD("images.allow_loopback", imaged.allow_loopback, FIELD_U32, true),
        FIELD("images.nameservers", fetch.nameservers, FIELD_BYTES, false),
        FIELD("images.ca_file", fetch.ca_file, FIELD_STRING, false),
        FIELD("policy.allow_privileged", containerd.allow_privileged, FIELD_U32, true),
        FIELD("policy.allow_host_paths", containerd.allow_host_paths, FIELD_U32, true),
        FIELD("instance", common.instance, FIELD_STRING, false),
        FIELD("state_dir", common.state_dir, FIELD_STRING, false),
        FIELD("runtime_dir", common.runtime_dir, FIELD_STRING, false),
        FIELD("libexec_dir", common.libexec_dir, FIELD_STRING, false),
        FIELD("user_base", common.user_base, FIELD_U32, false),
        FIELD("socket", socket_path, FIELD_STRING, false),
        FIELD("socket_group", socket_group, FIELD_STRING, false),
        FIELD("stream.address", streamd.address, FIELD_STRING, false),
        FIELD("stream.port", streamd.port, FIELD_U16, false),
        FIELD("stream.idle_timeout", streamd.idle_timeout_sec, FIELD_U32, false),
        FIELD("stream.tls_cert_file", stream_cert_file, FIELD_STRING, false),
        FIELD("stream.tls_key_file", stream_key_file, FIELD_STRING, false),
        FIELD("server.max_connections", gatewayd.max_connections, FIELD_U32, false),
        FIELD("server.max_streams", gatewayd.max_streams, FIELD_U32, false),
        FIELD("cni.conf_dir", cni.conf_dir, FIELD_STRING, false),
        FIELD("cni.bin_dirs", cni.bin_dirs, FIELD_BYTES, false),
        FIELD("cni.timeout", cni.timeout_sec, FIELD_U32, false),
        FIELD("runtimes", containerd.runtimes, FIELD_BYTES, false),
        FIELD("seccomp_dir", containerd.seccomp_dir, FIELD_STRING, false),
        FIELD("log_root", containerd.log_root, FIELD_STRING, false),
        FIELD("cgroup.driver", containerd.systemd_cgroups, FIELD_U32, false),
        FIELD("cgroup.root", containerd.cgroup_root, FIELD_STRING, false),
};

static void field_print(const Field *field, const LinkdConfig *config, char *to, size_t size)
{
        const void *value = (const char *)config + field->offset;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;

        switch (field->kind) {
        case FIELD_STRING:
                (void)snprintf(to, size, "\"%s\"", (const char *)value);
                break;
        case FIELD_U16:
                memcpy(&u16, value, sizeof(u16));
                (void)snprintf(to, size, "%u", u16);
                break;
        case FIELD_U32:
                memcpy(&u32, value, sizeof(u32));
                (void)snprintf(to, size, "%u", u32);
                break;
        case FIELD_U64:
                memcpy(&u64, value, sizeof(u64));
                (void)snprintf(to, size, "%llu", (unsigned long long)u64);
                break;
        case FIELD_BYTES:
                (void)snprintf(to, size, "a list");
                break;
        }
}

static bool field_differs(const Field *field, const LinkdConfig *a, const LinkdConfig *b)
{
        const char *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;

        return field->kind == FIELD_STRING ? !str_equal(x, y) : memcmp(x, y, field->size) != 0;
}

void config_apply(LinkdConfig *written, LinkdConfig *in_force, const LinkdConfig *next, ConfigChange on_change,
                  void *userdata)
{
        for (size_t i = 0; i < ARRAY_SIZE(config_fields); i++) {
                const Field *field = &config_fields[i];
                char before[CONFIG_PATH_MAX + 8], after[CONFIG_PATH_MAX + 8];

                if (!field_differs(field, written, next))
                        continue;
                field_print(field, written, before, sizeof(before));
                field_print(field, next, after, sizeof(after));
                if (field->live) {
                        memcpy((char *)written + field->offset, (const char *)next + field->offset, field->size);
                        memcpy((char *)in_force + field->offset, (const char *)next + field->offset, field->size);
                }
                on_change(userdata, field->key, before, after, field->live);
        }
}
