/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log.h"
#include "lib/strings.h"
#include "lib/test.h"
#include "services/linkd/config.h"

static LinkdConfig *read_one(const char *text)
{
        LinkdConfig *config = calloc(1, sizeof(*config));
        const ConfigDocument document = {.name = "test.yaml", .bytes = text, .n = strlen(text)};
        ConfigError error = {0};

        int r = config_read(&document, 1, config, &error);
        if (r)
                test_fail("%d: %s", r, error.text);
        return config;
}

/* The whole text: file, line and key are part of what is promised. */
static void assert_refused(const char *text, const char *expected)
{
        const ConfigDocument document = {.name = "test.yaml", .bytes = text, .n = strlen(text)};
        _cleanup_free_ LinkdConfig *config = calloc(1, sizeof(*config));
        ConfigError error = {0};

        assert_eq_int(config_read(&document, 1, config, &error), CONFIG_E_INVALID);
        assert_eq_str(error.text, expected);
        assert_eq_str(config->common.state_dir, ""); /* untouched */
}

static void test_defaults(void)
{
        _cleanup_free_ LinkdConfig *config = calloc(1, sizeof(*config));
        ConfigError error;

        assert_ok(config_read(NULL, 0, config, &error));
        assert_eq_str(config->common.state_dir, "/var/lib/bulkhead");
        assert_eq_str(config->common.runtime_dir, "/run/bulkhead");
        assert_eq_str(config->socket_path, "/run/bulkhead/bulkhead.sock");
        assert_eq_int(config->common.user_base, 1879048192);
        assert_eq_int(config->common.log_level, LOG_LEVEL_INFO);
        assert_eq_str(config->streamd.address, "127.0.0.1");
        assert_eq_int(config->streamd.port, 0);
        assert_eq_int(config->containerd.n_runtimes, 2);
        assert_eq_str(config->containerd.runtimes[0].handler, "crun");
        assert_eq_int(config->containerd.allow_privileged, 1);
        assert_eq_int(config->imaged.allow_loopback, 0);

        _cleanup_free_ LinkdConfig *empty = read_one("# only a comment\n");
        assert_eq_mem(empty, sizeof(*empty), config, sizeof(*config));
}

static void test_all_keys(void)
{
        _cleanup_free_ LinkdConfig *c = read_one("instance: two\n"
                                                 "state_dir: /srv/two/\n"
                                                 "runtime_dir: /run/two\n"
                                                 "libexec_dir: /opt/two\n"
                                                 "socket: /run/cri.sock\n"
                                                 "socket_group: kube\n"
                                                 "stream: {address: '::1', port: 10010, idle_timeout: 60, tls_cert_file: /a.crt, tls_key_file: /a.key}\n"
                                                 "server: {max_connections: 3, max_streams: 4}\n"
                                                 "log_level: debug\n"
                                                 "user_base: 1879113728\n"
                                                 "images:\n"
                                                 "  mirrors:\n"
                                                 "  - {registry: docker.io, endpoint: 'https://m.example:5000', skip_verify: true}\n"
                                                 "  registries:\n"
                                                 "  - {registry: 'r.example', plain_http: yes}\n"
                                                 "  pinned: ['r.example/base:*', a]\n"
                                                 "  max_concurrent_downloads: 7\n"
                                                 "  progress_timeout: 8\n"
                                                 "  max_layer_bytes: 2000000\n"
                                                 "  max_image_bytes: 3000000\n"
                                                 "  ca_file: /etc/ca.pem\n"
                                                 "  nameservers: [10.0.0.1, '10.0.0.2:5353', 'fd00::1', '[fd00::2]:54']\n"
                                                 "cni: {conf_dir: /cni/conf, bin_dirs: [/cni/bin], timeout: 5}\n"
                                                 "runtimes: [{handler: runc, path: /bin/runc}]\n"
                                                 "seccomp_dir: /seccomp\n"
                                                 "log_root: /logs\n"
                                                 "policy: {allow_privileged: false, allow_host_paths: no}\n"
                                                 "cgroup: {driver: systemd, root: /cg}\n");
        assert_eq_str(c->common.state_dir, "/srv/two");
        assert_eq_str(c->socket_path, "/run/cri.sock");
        assert_eq_str(c->socket_group, "kube");
        assert_eq_str(c->streamd.address, "::1");
        assert_eq_str(c->stream_cert_file, "/a.crt");
        assert_eq_str(c->stream_key_file, "/a.key");
        assert_eq_int(c->streamd.tls, 1);
        assert_eq_int(c->streamd.port, 10010);
        assert_eq_int(c->gatewayd.max_streams, 4);
        assert_eq_int(c->common.user_base, 1879113728);
        assert_eq_int(c->imaged.n_mirrors, 2);
        assert_eq_str(c->imaged.mirrors[0].endpoint, "https://m.example:5000");
        assert_eq_int(c->imaged.mirrors[0].skip_verify + c->imaged.mirrors[0].is_mirror, 2);
        assert_eq_str(c->imaged.mirrors[1].endpoint, "http://r.example");
        assert_eq_int(c->imaged.mirrors[1].is_mirror, 0);
        assert_eq_int(c->imaged.n_pinned, 2);
        assert_eq_str(c->imaged.pinned[0], "r.example/base:*");
        assert_eq_int(c->imaged.max_layer_bytes, 2000000);
        assert_eq_int(c->fetch.n_nameservers, 4);
        assert_eq_str(c->fetch.nameservers[0], "10.0.0.1:53");
        assert_eq_str(c->fetch.nameservers[1], "10.0.0.2:5353");
        assert_eq_str(c->fetch.nameservers[2], "[fd00::1]:53");
        assert_eq_str(c->fetch.nameservers[3], "[fd00::2]:54");
        assert_eq_int(c->cni.n_bin_dirs, 1);
        assert_eq_str(c->cni.bin_dirs[0], "/cni/bin");
        assert_eq_int(c->containerd.n_runtimes, 1);
        assert_eq_str(c->containerd.runtimes[0].path, "/bin/runc");
        assert_eq_int(c->containerd.systemd_cgroups, 1);
        assert_eq_int(c->containerd.allow_privileged + c->containerd.allow_host_paths, 0);
        assert_eq_str(c->containerd.cgroup_root, "/cg");
}

static void test_instance_names_directories(void)
{
        _cleanup_free_ LinkdConfig *c = read_one("instance: blue\n");

        assert_eq_str(c->common.state_dir, "/var/lib/bulkhead-blue");
        assert_eq_str(c->socket_path, "/run/bulkhead-blue/bulkhead.sock");
}

static void test_refusals(void)
{
        assert_refused("log_levl: debug\n", "test.yaml:1: Unexpected key: log_levl");
        assert_refused("stream:\n  prt: 1\n", "test.yaml:2: stream: Unexpected key: prt");
        assert_refused("# x\nstream:\n  port: 70000\n", "test.yaml:3: stream.port: Invalid UINT value: '70000'");
        assert_refused("log_level: loud\n", "test.yaml:1: log_level: Invalid ENUM value: loud");
        assert_refused("policy: {allow_privileged: maybe}\n", "test.yaml:1: policy.allow_privileged: Invalid ENUM value: maybe");
        assert_refused("stream: x\n", "test.yaml:1: stream: Expecting MAPPING, got event: SCALAR");
        assert_refused("images:\n  mirrors:\n  - registry: a\n",
                       "test.yaml:3: images.mirrors[0].registry: Missing required mapping field: endpoint");
        assert_refused("instance: a\ninstance: b\n", "test.yaml:1: instance: Mapping field already seen: instance");
        assert_refused("instance: a\n---\ninstance: b\n", "test.yaml: there is a second document (\"---\") in the file");
        assert_refused("instance: A_B\n", "test.yaml:1: instance: \"A_B\" is not up to 16 of a-z, 0-9 and \"-\"");
        assert_refused("user_base: 1000\n",
                       "test.yaml:1: user_base: 1000 is not a multiple of 65536 between 1879048192 and 2147418112");
        assert_refused("\nstate_dir: var/lib\n",
                       "test.yaml:2: state_dir: \"var/lib\" is not an absolute path without \"..\"");
        assert_refused("state_dir: /a/../b\n", "test.yaml:1: state_dir: \"/a/../b\" is not an absolute path without \"..\"");
        assert_refused("runtime_dir: /a/..\n", "test.yaml:1: runtime_dir: \"/a/..\" is not an absolute path without \"..\"");
        assert_refused("stream:\n  address: localhost\n", "test.yaml:2: stream.address: \"localhost\" is not an IP address");
        assert_refused("stream: {tls_key_file: key}\n", "test.yaml:1: stream.tls_key_file: \"key\" is not an absolute path without \"..\"");
        assert_refused("stream: {tls_cert_file: /a}\n", "stream: tls_cert_file and tls_key_file go together; tls_key_file is not set");
        assert_refused("images:\n  mirrors:\n  - registry: a\n    endpoint: b\n",
                       "test.yaml:4: images.mirrors[0].endpoint: \"b\" is not http:// or https:// and a host with an optional port");
        assert_refused("images:\n  mirrors:\n  - {registry: a, endpoint: 'http://b/c'}\n",
                       "test.yaml:3: images.mirrors[0].endpoint: \"http://b/c\" is not http:// or https:// and a host with an "
                       "optional port");
        assert_refused("images: {nameservers: [10.0.0.1, dns.example]}\n",
                       "test.yaml:1: images.nameservers[1]: \"dns.example\" is not an IP address with an optional port");
        assert_refused("images: {progress_timeout: 0}\n",
                       "test.yaml:1: images.progress_timeout: 0 is not between 1 and 86400");
        assert_refused("images: {max_layer_bytes: 5}\n",
                       "test.yaml:1: images.max_layer_bytes: 5 bytes are less than 1 MiB");
        assert_refused("runtimes:\n- {handler: a, path: /a}\n- {handler: a, path: /b}\n",
                       "test.yaml:3: runtimes[1].handler: \"a\" is there twice");
        assert_refused("runtimes: [{handler: a/b, path: /a}]\n",
                       "test.yaml:1: runtimes[0].handler: \"a/b\" is not up to 63 of a-z, 0-9, \".\" and \"-\"");
        assert_refused("state_dir: /a\nruntime_dir: /a\n",
                       "state_dir and runtime_dir are both /a: one survives a reboot, the other must not");
}

static void test_aliases_are_refused(void)
{
        const ConfigDocument document = {.name = "a", .bytes = "instance: &x a\nsocket_group: *x\n", .n = 32};
        _cleanup_free_ LinkdConfig *config = calloc(1, sizeof(*config));
        ConfigError error = {0};

        assert_eq_int(config_read(&document, 1, config, &error), CONFIG_E_INVALID);
}

static void test_merging(void)
{
        static const char first[] = "log_level: debug\nimages: {mirrors: [{registry: a, endpoint: 'http://127.0.0.1:5000'}]}\n";
        static const char second[] = "images: {mirrors: [{registry: b, endpoint: 'http://y'}]}\nruntimes: [{handler: x, path: /x}]\n";
        static const char third[] = "log_level: error\nruntimes: [{handler: y, path: /y}]\n";
        const ConfigDocument documents[] = {{"1", first, strlen(first)}, {"2", second, strlen(second)}, {"3", third, strlen(third)}};
        _cleanup_free_ LinkdConfig *c = calloc(1, sizeof(*c));
        ConfigError error;

        assert_ok(config_read(documents, 3, c, &error));
        assert_eq_int(c->common.log_level, LOG_LEVEL_ERROR);
        assert_eq_int(c->imaged.n_mirrors, 2);
        assert_eq_str(c->imaged.mirrors[1].registry, "b");
        assert_eq_int(c->containerd.n_runtimes, 2);
        assert_eq_str(c->containerd.runtimes[0].handler, "x");
        assert_eq_int(c->imaged.allow_loopback, 1); /* a mirror on this machine wants to be dialled */
        assert_eq_int(c->fetch.allow_loopback, 1);
}

static void assert_set(const char *argument, const char *document)
{
        _cleanup_free_ char *text = config_set_document(argument);

        if (!document)
                assert_true(text == NULL);
        else
                assert_eq_str(text, document);
}

static void test_set(void)
{
        assert_set("log_level=debug", "log_level: debug");
        assert_set("stream.port=0", "stream: {port: 0}");
        assert_set("images.mirrors=[{registry: a, endpoint: 'http://b?x=1'}]",
                   "images: {mirrors: [{registry: a, endpoint: 'http://b?x=1'}]}");
        assert_set("=x", NULL);
        assert_set("x", NULL);
        assert_set("a.=x", NULL);
        assert_set(".a=x", NULL);
        assert_set("a..b=x", NULL);
        assert_set("a: {b}=x", NULL);

        _cleanup_free_ char *text = config_set_document("stream.port=81");
        _cleanup_free_ LinkdConfig *c = read_one(text);
        assert_eq_int(c->streamd.port, 81);
}

static void test_locate(void)
{
        static const char text[] = "a: 1\nb:\n  - c: 2\n  - c: 3\n    d: {e: 4}\n";

        assert_eq_int(config_locate(text, strlen(text), "a"), 1);
        assert_eq_int(config_locate(text, strlen(text), "b[0].c"), 3);
        assert_eq_int(config_locate(text, strlen(text), "b[1].d.e"), 5);
        assert_eq_int(config_locate(text, strlen(text), "b[2]"), 0);
        assert_eq_int(config_locate("a: [", 4, "a"), 0);
        assert_eq_int(config_locate("", 0, "a"), 0);
}

typedef struct Changes {
        size_t n_applied;
        size_t n_later;
        char last[64];
} Changes;

static void on_change(void *userdata, const char *key, const char *before, const char *after, bool applied)
{
        Changes *changes = userdata;

        changes->n_applied += applied;
        changes->n_later += !applied;
        (void)snprintf(changes->last, sizeof(changes->last), "%s: %s -> %s", key, before, after);
}

static void test_apply(void)
{
        _cleanup_free_ LinkdConfig *written = read_one("");
        _cleanup_free_ LinkdConfig *in_force = read_one("");
        _cleanup_free_ LinkdConfig *next = read_one("policy: {allow_privileged: false}\n");
        _cleanup_free_ LinkdConfig *later = read_one("policy: {allow_privileged: false}\nsocket: /x\n");
        Changes changes = {0};

        in_force->streamd.port = 4711; /* what the machine told is not undone */
        config_apply(written, in_force, next, on_change, &changes);
        assert_eq_int(changes.n_applied, 1);
        assert_eq_int(changes.n_later, 0);
        assert_eq_str(changes.last, "policy.allow_privileged: 1 -> 0");
        assert_eq_int(in_force->containerd.allow_privileged, 0);
        assert_eq_int(in_force->streamd.port, 4711);

        config_apply(written, in_force, next, on_change, &changes);
        assert_eq_int(changes.n_applied, 1);

        config_apply(written, in_force, later, on_change, &changes);
        assert_eq_int(changes.n_applied, 1);
        assert_eq_int(changes.n_later, 1);
        assert_eq_str(in_force->socket_path, "/run/bulkhead/bulkhead.sock");
}

int main(int argc, char **argv)
{
        if (argc == 2) { /* the sample that is installed must be accepted as it is */
                char text[65536];
                FILE *file = fopen(argv[1], "re");
                size_t n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

                text[n] = '\0';
                if (file)
                        (void)fclose(file);
                assert_true(n > 0 && n < sizeof(text) - 1);
                _cleanup_free_ LinkdConfig *sample = read_one(text);
                assert_true(sample->containerd.n_runtimes > 0);
                return 0;
        }
        TEST_RUN(test_defaults);
        TEST_RUN(test_all_keys);
        TEST_RUN(test_instance_names_directories);
        TEST_RUN(test_refusals);
        TEST_RUN(test_aliases_are_refused);
        TEST_RUN(test_merging);
        TEST_RUN(test_set);
        TEST_RUN(test_locate);
        TEST_RUN(test_apply);
        return 0;
}
