/* SPDX-License-Identifier: Apache-2.0 */

/* What the generated code has to keep: a map survives protobuf-c, which knows it only as a repeated
 * message, in both directions and against the bytes of another implementation. The numbers themselves
 * are compared in tests/cri-descriptors.
 */
#include "ipc/cri/api.pb-c.h"
#include "lib/test.h"

typedef Runtime__V1__ContainerConfig Config;

/* A ContainerConfig as google.golang.org/protobuf 1.36 writes it (deterministic: map keys sorted). */
static const uint8_t golden[] = {
        0x0a, 0x05, 0x0a, 0x03, 'w', 'e', 'b',                               /* metadata.name */
        0x32, 0x07, 0x0a, 0x01, 'K', 0x12, 0x02, 0xff, 0x00,                 /* envs: K=\xff\0 */
        0x4a, 0x09, 0x0a, 0x00, 0x12, 0x05, 'n', 'o', 'k', 'e', 'y',         /* labels[""] = nokey */
        0x4a, 0x0a, 0x0a, 0x03, 'a', 'p', 'p', 0x12, 0x03, 'w', 'e', 'b',    /* labels[app] = web */
        0x4a, 0x09, 0x0a, 0x05, 'e', 'm', 'p', 't', 'y', 0x12, 0x00,         /* labels[empty] = "" */
        0x7a, 0x21, 0x0a, 0x1f,                                              /* linux.resources */
        0x28, 0x9b, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,    /* oom_score_adj = -997 */
        0x4a, 0x12, 0x0a, 0x0b, 'm', 'e', 'm', 'o', 'r', 'y', '.', 'h', 'i', 'g', 'h',
        0x12, 0x03, 'm', 'a', 'x',                                           /* unified[memory.high] = max */
        0x8a, 0x01, 0x07, 0x0a, 0x05, 'v', '/', 'c', '=', 'n',               /* CDI_devices */
        0x90, 0x01, 0x17,                                                    /* stop_signal */
};

/* The copy has the exact size, so that a read past the end is one for the sanitizer. */
static Config *config_parse(const uint8_t *bytes, size_t n_bytes)
{
        uint8_t *copy = malloc(n_bytes);
        assert_true(copy != NULL);
        memcpy(copy, bytes, n_bytes);
        Config *config = runtime__v1__container_config__unpack(NULL, n_bytes, copy);
        free(copy);
        return config;
}

static void config_check(const Config *config)
{
        assert_true(config != NULL);
        assert_eq_str(config->metadata->name, "web");
        assert_eq_int(config->n_envs, 1);
        assert_eq_mem(config->envs[0]->value.data, config->envs[0]->value.len, "\xff", 2);
        assert_eq_int(config->n_labels, 3);
        assert_eq_str(config->labels[0]->key, "");
        assert_eq_str(config->labels[0]->value, "nokey");
        assert_eq_str(config->labels[1]->key, "app");
        assert_eq_str(config->labels[1]->value, "web");
        assert_eq_str(config->labels[2]->key, "empty");
        assert_eq_str(config->labels[2]->value, "");

        const Runtime__V1__LinuxContainerResources *resources = config->linux->resources;
        assert_eq_int(resources->oom_score_adj, -997);
        assert_eq_int(resources->n_unified, 1);
        assert_eq_str(resources->unified[0]->key, "memory.high");
        assert_eq_str(resources->unified[0]->value, "max");
        assert_eq_str(config->cdi_devices[0]->name, "v/c=n");
        assert_eq_int(config->stop_signal, RUNTIME__V1__SIGNAL__SIGNAL_SIGTERM);
}

/* Go's bytes are read, and what we write of them is read again. Ours is shorter: protobuf-c leaves the
 * empty key and the empty value out, which every implementation takes as the default. */
static void api_reads_what_go_writes(void)
{
        Config *config = config_parse(golden, sizeof(golden));
        config_check(config);

        uint8_t out[sizeof(golden)];
        size_t n_out = runtime__v1__container_config__get_packed_size(config);
        assert_eq_int(n_out, sizeof(golden) - 4);
        assert_eq_int(runtime__v1__container_config__pack(config, out), n_out);
        runtime__v1__container_config__free_unpacked(config, NULL);

        config = config_parse(out, n_out);
        config_check(config);
        runtime__v1__container_config__free_unpacked(config, NULL);
}

/* A duplicate key is two entries here and one in a real map: the last one counts, and that is for the
 * reader of the map to say. An entry may be empty and may hold its value before its key. */
static void api_keeps_odd_entries(void)
{
        static const uint8_t bytes[] = {
                0x4a, 0x06, 0x0a, 0x01, 'a', 0x12, 0x01, '1', /* labels[a] = 1 */
                0x4a, 0x06, 0x12, 0x01, '2', 0x0a, 0x01, 'a', /* labels[a] = 2, turned around */
                0x4a, 0x00,                                   /* labels[""] = "" */
        };
        Config *config = config_parse(bytes, sizeof(bytes));
        assert_true(config != NULL);
        assert_eq_int(config->n_labels, 3);
        assert_eq_str(config->labels[0]->value, "1");
        assert_eq_str(config->labels[1]->key, "a");
        assert_eq_str(config->labels[1]->value, "2");
        assert_eq_str(config->labels[2]->key, "");
        assert_eq_str(config->labels[2]->value, "");
        runtime__v1__container_config__free_unpacked(config, NULL);
}

/* Every strict prefix that cuts a field is refused; one that ends between fields is a valid message. */
static void api_refuses_truncated(void)
{
        size_t n_valid = 0;
        for (size_t n = 1; n < sizeof(golden); n++) {
                Config *config = config_parse(golden, n);
                n_valid += config != NULL;
                runtime__v1__container_config__free_unpacked(config, NULL);
        }
        assert_eq_int(n_valid, 7);
}

/* A server looks up its types here: the descriptors have to hold every method, found by name. */
static void api_lists_methods(void)
{
        assert_eq_int(runtime__v1__runtime_service__descriptor.n_methods, 37);
        assert_eq_int(runtime__v1__image_service__descriptor.n_methods, 6);
        const ProtobufCMethodDescriptor *method = protobuf_c_service_descriptor_get_method_by_name(
                &runtime__v1__runtime_service__descriptor, "GetContainerEvents");
        assert_true(method != NULL);
        assert_eq_str(method->input->name, "runtime.v1.GetEventsRequest");
        assert_eq_str(method->output->name, "runtime.v1.ContainerEventResponse");
}

int main(void)
{
        TEST_RUN(api_reads_what_go_writes);
        TEST_RUN(api_keeps_odd_entries);
        TEST_RUN(api_refuses_truncated);
        TEST_RUN(api_lists_methods);
        return 0;
}
