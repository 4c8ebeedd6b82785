/* SPDX-License-Identifier: Apache-2.0 */

/* CDI files, as vendors write them and as nobody should, and what a container gets of them. */

#include "services/containerd/launch/cdi-file.h"
#include "services/containerd/launch/test-fixture.h"
#include "services/containerd/runtime/source.h"

static Fixture f;
static RenderFacts facts;
static Render render;
static struct {
        const char *path, *text;
        uint32_t priority;
} files[4];

static int host_devices(void *userdata, const char *path, RenderDeviceCallback callback, void *callback_userdata)
{
        RenderAnswer device = {.type = 'c', .major = 195, .minor = 7, .mode = 020660, .gid = 44};
        (void)str_copy(device.path, sizeof(device.path), path);
        return str_has_prefix(path, "/dev/gpu") ? callback(callback_userdata, &device) : -ENOENT;
}

static int host_source(void *userdata, const RenderSource *source, char real[RENDER_PATH_MAX], uint32_t *ret_restrictions)
{
        (void)snprintf(real, RENDER_PATH_MAX, "%s", source->path);
        *ret_restrictions = str_equal(source->path, "/locked") ? SOURCE_NOSUID | SOURCE_NODEV | SOURCE_NOEXEC : 0;
        return str_equal(source->path, "/missing") ? -ENOENT : 0;
}

static int host_cdi_files(void *userdata, RenderCdiCallback callback, void *callback_userdata)
{
        int r = 0;
        for (size_t i = 0; i < ARRAY_SIZE(files) && files[i].path && r == 0; i++)
                r = callback(callback_userdata, files[i].path, files[i].priority, files[i].text, files[i].text ? strlen(files[i].text) : 0);
        return r;
}

static const RenderHost host = {.devices = host_devices, .source = host_source, .cdi_files = host_cdi_files};
static const ConfigCommon common = {.state_dir = "/s", .runtime_dir = "/r"};
static const ConfigContainerd config = {.seccomp_dir = "/"};
static char *names[4];

static void world_init(const char *name)
{
        fixture_init(&f);
        memset(files, 0, sizeof(files));
        facts = (RenderFacts){.capabilities = CAPABILITY_SET_ALL, .has_pod_uts = true};
        render = (Render){.common = &common, .config = &config, .spec = &f.spec, .facts = &facts, .host = &host};
        f.spec.n_mounts = f.spec.n_devices = 0;
        names[0] = TEXT(name);
        f.spec.cdi_devices = names;
        f.spec.n_cdi_devices = 1;
}

static json_t *world_render(void)
{
        json_t *json = NULL;
        if (render_config(&render, &json) != 0)
                test_fail("refused: %s", render.text);
        return json;
}

static void world_refused(const char *text)
{
        json_t *json = NULL;
        assert_eq_int(render_config(&render, &json), RENDER_E_REFUSED);
        if (!strstr(render.text, text))
                test_fail("\"%s\" does not say \"%s\"", render.text, text);
}

static const char gpu_yaml[] = "# as nvidia-ctk writes them\n"
                               "cdiVersion: 0.5.0\n"
                               "kind: vendor.com/gpu\n"
                               "containerEdits:\n"
                               "  env:\n"
                               "  - ALL=1\n"
                               "  mounts:\n"
                               "  - hostPath: /usr/lib/gpu.so\n"
                               "    containerPath: /usr/lib/gpu.so\n"
                               "    options: [ro, nosuid, nodev, bind]\n"
                               "  hooks:\n"
                               "  - hookName: createContainer\n"
                               "    path: /usr/bin/vendor-hook\n"
                               "    args: [vendor-hook, update]\n"
                               "devices:\n"
                               "- name: \"0\"\n"
                               "  containerEdits:\n"
                               "    env: [GPU=zero, PATH=/gpu]\n"
                               "    deviceNodes:\n"
                               "    - {path: /dev/gpu0, fileMode: 0666, permissions: rw}\n"
                               "    - path: /dev/other\n"
                               "      hostPath: /dev/gpuctl\n"
                               "    additionalGids: [7]\n"
                               "- name: all\n"
                               "  containerEdits: {env: [GPU=all]}\n";

static void test_edits(void)
{
        ProtobufCBinaryData env[] = {{.data = (uint8_t *)TEXT("PATH=/bin"), .len = 9}};
        world_init("vendor.com/gpu=0");
        files[0].path = "/etc/cdi/gpu.yaml";
        files[0].text = gpu_yaml;
        f.process.env = env;
        f.process.n_env = 1;
        names[1] = names[0]; /* named twice, given once */
        names[2] = TEXT("vendor.com/gpu=all");
        f.spec.n_cdi_devices = 3;
        json_t *json = world_render(), *section = json_object_get(json, "linux"), *process = json_object_get(json, "process");
        char *text = json_dumps(json_object_get(process, "env"), JSON_COMPACT);
        assert_eq_str(text, "[\"ALL=1\",\"PATH=/gpu\",\"GPU=all\"]");
        free(text);
        text = json_dumps(json_object_get(section, "devices"), JSON_COMPACT | JSON_SORT_KEYS);
        assert_eq_str(text, "[{\"fileMode\":438,\"gid\":44,\"major\":195,\"minor\":7,\"path\":\"/dev/gpu0\",\"type\":\"c\",\"uid\":0},"
                            "{\"fileMode\":432,\"gid\":44,\"major\":195,\"minor\":7,\"path\":\"/dev/other\",\"type\":\"c\",\"uid\":0}]");
        free(text);
        const json_t *rules = json_object_get(json_object_get(section, "resources"), "devices");
        assert_eq_int(json_array_size(rules), 3);
        assert_true(json_is_false(json_object_get(json_array_get(rules, 0), "allow")));
        assert_eq_str(json_string_value(json_object_get(json_array_get(rules, 1), "access")), "rw");
        assert_eq_str(json_string_value(json_object_get(json_array_get(rules, 2), "access")), "rwm");
        text = json_dumps(json_object_get(json, "mounts"), JSON_COMPACT | JSON_SORT_KEYS);
        assert_eq_str(text, "[{\"destination\":\"/usr/lib/gpu.so\",\"options\":[\"ro\",\"nosuid\",\"nodev\",\"bind\"],"
                            "\"source\":\"/usr/lib/gpu.so\",\"type\":\"bind\"}]");
        free(text);
        text = json_dumps(json_object_get(json, "hooks"), JSON_COMPACT | JSON_SORT_KEYS);
        assert_eq_str(text, "{\"createContainer\":[{\"args\":[\"vendor-hook\",\"update\"],\"path\":\"/usr/bin/vendor-hook\"}]}");
        free(text);
        text = json_dumps(json_object_get(json_object_get(process, "user"), "additionalGids"), JSON_COMPACT);
        assert_eq_str(text, "[7]");
        free(text);
        json_decref(json);
        f.spec.n_cdi_devices = 0; /* the files alone do nothing */
        json = world_render();
        assert_false(json_object_get(json, "hooks"));
        json_decref(json);
}

#define GPU_JSON(edits) "{\"kind\":\"vendor.com/gpu\",\"devices\":[{\"name\":\"0\",\"containerEdits\":" edits "}]}"

/* What the file system of a mount's source does not allow is not allowed in the container, whatever the runtime makes of "ro". */
static void test_restrictions(void)
{
        world_init("vendor.com/gpu=0");
        files[0].path = "/etc/cdi/a.json";
        files[0].text = GPU_JSON("{\"mounts\":[{\"hostPath\":\"/locked\",\"containerPath\":\"/a\",\"options\":[\"ro\",\"bind\"]},"
                                 "{\"hostPath\":\"/free\",\"containerPath\":\"/b\",\"options\":[\"ro\"]}]}");
        json_t *json = world_render();
        char *text = json_dumps(json_object_get(json, "mounts"), JSON_COMPACT | JSON_SORT_KEYS);
        assert_eq_str(text, "[{\"destination\":\"/a\",\"options\":[\"nosuid\",\"nodev\",\"noexec\",\"ro\",\"bind\"],"
                            "\"source\":\"/locked\",\"type\":\"bind\"},"
                            "{\"destination\":\"/b\",\"options\":[\"ro\",\"rbind\"],\"source\":\"/free\",\"type\":\"bind\"}]");
        free(text);
        json_decref(json);
}

static void test_choice(void)
{
        world_init("vendor.com/gpu=0");
        files[0].path = "/etc/cdi/a.json";
        files[0].text = GPU_JSON("{\"env\":[\"FROM=etc\"]}");
        files[1].path = "/var/run/cdi/b.json";
        files[1].text = GPU_JSON("{\"env\":[\"FROM=run\"]}");
        files[1].priority = 1;
        json_t *json = world_render();
        char *text = json_dumps(json_object_get(json_object_get(json, "process"), "env"), JSON_COMPACT);
        assert_eq_str(text, "[\"FROM=run\"]");
        free(text);
        json_decref(json);
        files[1].priority = 0;
        world_refused("both describe it");
        files[1].text = NULL; /* not root's */
        json = world_render();
        json_decref(json);
        files[0].text = NULL;
        world_refused("only root may write it");
        files[0].text = "{";
        world_refused("a.json cannot be used: line 1");
        files[0].path = NULL;
        world_refused("no file in /etc/cdi");
        static const char *const bad[] = {"", "gpu", "vendor.com/gpu", "vendor.com/=0", "/gpu=0", "vendor.com/gpu=", "v/g=../x", "v/g/h=0", "v/g=0 1"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                names[0] = TEXT(bad[i]);
                world_refused("its name is not like");
        }
}

static void test_refusals(void)
{
        static const struct {
                const char *edits, *word;
        } rows[] = {
                {GPU_JSON("{\"env\":[\"=x\"]}"), "NAME=value"},
                {GPU_JSON("{\"env\":[7]}"), "NAME=value"},
                {GPU_JSON("{\"deviceNodes\":[{\"path\":\"dev/gpu0\"}]}"), "absolute"},
                {GPU_JSON("{\"deviceNodes\":[{\"path\":\"/dev/gpu0\",\"permissions\":\"x\"}]}"), "permissions"},
                {GPU_JSON("{\"deviceNodes\":[{\"path\":\"/dev/none\"}]}"), "No such file"},
                {GPU_JSON("{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"/\"}]}"), "absolute paths"},
                {GPU_JSON("{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"/a/../b\"}]}"), "absolute paths"},
                {GPU_JSON("{\"mounts\":[{\"hostPath\":\"/missing\",\"containerPath\":\"/a\"}]}"), "No such file"},
                {GPU_JSON("{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"/a\",\"options\":[\"suid=1\"]}]}"), "suid=1"},
                {GPU_JSON("{\"mounts\":[{\"hostPath\":\"/x\",\"containerPath\":\"/a\",\"type\":\"overlay\"}]}"), "overlay"},
                {GPU_JSON("{\"hooks\":[{\"hookName\":\"sometime\",\"path\":\"/bin/x\"}]}"), "no such hook"},
                {GPU_JSON("{\"hooks\":[{\"hookName\":\"poststop\",\"path\":\"x\"}]}"), "not absolute"},
                {GPU_JSON("{\"additionalGids\":[0]}"), "no group"},
                {GPU_JSON("{\"intelRdt\":{}}"), "intelRdt"},
                {GPU_JSON("{\"netDevices\":[]}"), "netDevices"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                world_init("vendor.com/gpu=0");
                files[0].path = "/etc/cdi/a.json";
                files[0].text = rows[i].edits;
                world_refused(rows[i].word);
        }
}

/* Everything that is not an object of texts, numbers, lists and maps of a sane size is refused, and why. */
static void test_yaml(void)
{
        static const struct {
                const char *text, *json; /* NULL: refused */
        } rows[] = {
                {"a: 1\nb: -2\nc: 0x1f\nd: 017\ne: 0o17\nf: 08\ng: 1.5\nh: 0.5.0\n",
                 "{\"a\":1,\"b\":-2,\"c\":31,\"d\":15,\"e\":15,\"f\":\"08\",\"g\":\"1.5\",\"h\":\"0.5.0\"}"},
                {"a: true\nb: \"true\"\nc: ~\nd:\ne: 'null'\n", "{\"a\":true,\"b\":\"true\",\"c\":null,\"d\":null,\"e\":\"null\"}"},
                {"a: &x [1]\nb: *x\n", "{\"a\":[1],\"b\":[1]}"},
                {"a: [b, {c: d}]\n", "{\"a\":[\"b\",{\"c\":\"d\"}]}"},
                {"", NULL}, {"- a\n", NULL}, {"a: b: c\n", NULL}, {"a: 1\na: 2\n", NULL}, {"[x]: 1\n", NULL}, {"\t", NULL},
                {"a: \"\\0\"\n", NULL},
                {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                 "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n", NULL},
                {"a: &a [*a]\n", NULL},
        };
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                json_t *json = NULL;
                char why[256] = "";
                int r = cdi_file_parse("x.yaml", rows[i].text, strlen(rows[i].text), &json, why, sizeof(why));
                if (rows[i].json) {
                        char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
                        assert_eq_str(text ? text : why, rows[i].json);
                        free(text);
                } else if (r != CDI_FILE_E_MALFORMED || json || !why[0]) {
                        test_fail("not refused: %s", rows[i].text);
                }
                json_decref(json);
        }
        char deep[256], why[256] = "";
        json_t *json = NULL;
        memset(deep, '[', 100);
        memset(deep + 100, ']', 100);
        deep[200] = '\0';
        assert_eq_int(cdi_file_parse("x.yml", deep, 200, &json, why, sizeof(why)), CDI_FILE_E_MALFORMED);
        assert_eq_int(cdi_file_parse("x.json", "{\"a\":1,\"a\":2}", 13, &json, why, sizeof(why)), CDI_FILE_E_MALFORMED);
}

int main(void)
{
        TEST_RUN(test_edits);
        TEST_RUN(test_restrictions);
        TEST_RUN(test_choice);
        TEST_RUN(test_refusals);
        TEST_RUN(test_yaml);
        return 0;
}
