/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/linkd/config-yaml.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

/* One document on its way into the configuration. */
typedef struct Reader {
        const ConfigDocument *document;
        LinkdConfig *config;
        ConfigError *error;
        uint32_t n_runtimes; /* of this and earlier documents: the defaults are replaced by the first */
        uint32_t n_bin_dirs;
        bool loopback_set;
} Reader;

static int _printf_(3, 4) reader_refuse(Reader *reader, const char *key, const char *format, ...)
{
        char what[512], line[32] = "";
        size_t at = config_locate(reader->document->bytes, reader->document->n, key);
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(what, sizeof(what), format, arguments);
        va_end(arguments);
        if (at > 0)
                (void)snprintf(line, sizeof(line), ":%zu", at);
        (void)snprintf(reader->error->text, sizeof(reader->error->text), "%s%s: %s: %s", reader->document->name, line, key,
                       what);
        return CONFIG_E_INVALID;
}

static int reader_number(Reader *reader, const char *key, const uint32_t *value, uint32_t min, uint32_t max, uint32_t *ret)
{
        if (!value)
                return 0;
        if (*value < min || *value > max)
                return reader_refuse(reader, key, "%u is not between %u and %u", *value, min, max);
        *ret = *value;
        return 0;
}

static int reader_bytes(Reader *reader, const char *key, const uint64_t *value, uint64_t *ret)
{
        if (!value)
                return 0;
        if (*value < 1024 * 1024)
                return reader_refuse(reader, key, "%llu bytes are less than 1 MiB", (unsigned long long)*value);
        *ret = *value;
        return 0;
}

static void reader_bool(const YamlBool *value, uint32_t *ret)
{
        if (value)
                *ret = *value == YAML_BOOL_TRUE;
}

static bool path_is_plain(const char *path)
{
        if (path[0] != '/')
                return false;
        for (const char *p = path; *p; p++)
                if ((unsigned char)*p < 0x20 || *p == 0x7f ||
                    (p[0] == '/' && p[1] == '.' && p[2] == '.' && (p[3] == '/' || p[3] == '\0')))
                        return false;
        return true;
}

static int reader_path(Reader *reader, const char *key, const char *value, char *to, size_t size)
{
        if (str_is_empty(value))
                return 0; /* "" asks for the default */
        if (!path_is_plain(value))
                return reader_refuse(reader, key, "\"%s\" is not an absolute path without \"..\"", value);
        if (!str_copy(to, size, value))
                return reader_refuse(reader, key, "\"%s\" is longer than %zu bytes", value, size - 1);
        for (size_t n = strlen(to); n > 1 && to[n - 1] == '/'; n--)
                to[n - 1] = '\0';
        return 0;
}

/* Part of the names of cgroups, network namespaces and directories. */
static int reader_instance(Reader *reader, const char *value)
{
        if (!value)
                return 0;
        size_t n = strlen(value);
        if (n > 16 || strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-") != n)
                return reader_refuse(reader, "instance", "\"%s\" is not up to 16 of a-z, 0-9 and \"-\"", value);
        (void)str_copy(reader->config->common.instance, sizeof(reader->config->common.instance), value);
        return 0;
}

static int reader_user_base(Reader *reader, const uint32_t *value)
{
        if (!value)
                return 0;
        if (*value < LINKD_USER_BASE_MIN || *value > LINKD_USER_BASE_MAX || *value % 65536)
                return reader_refuse(reader, "user_base", "%u is not a multiple of 65536 between %u and %u", *value,
                                     LINKD_USER_BASE_MIN, LINKD_USER_BASE_MAX);
        reader->config->common.user_base = *value;
        return 0;
}

static int reader_stream(Reader *reader, const YamlStream *stream)
{
        ConfigStreamd *to = &reader->config->streamd;
        uint8_t address[16];

        if (!stream)
                return 0;
        if (stream->address) {
                if (inet_pton(AF_INET, stream->address, address) != 1 && inet_pton(AF_INET6, stream->address, address) != 1)
                        return reader_refuse(reader, "stream.address", "\"%s\" is not an IP address", stream->address);
                (void)str_copy(to->address, sizeof(to->address), stream->address);
        }
        if (stream->port)
                to->port = *stream->port;
        int r = reader_path(reader, "stream.tls_cert_file", stream->tls_cert_file, reader->config->stream_cert_file,
                            sizeof(reader->config->stream_cert_file));
        if (r == 0)
                r = reader_path(reader, "stream.tls_key_file", stream->tls_key_file, reader->config->stream_key_file,
                                sizeof(reader->config->stream_key_file));
        if (r)
                return r;
        return reader_number(reader, "stream.idle_timeout", stream->idle_timeout, 1, 7 * 24 * 3600, &to->idle_timeout_sec);
}

static int reader_server(Reader *reader, const YamlServer *server)
{
        ConfigGatewayd *to = &reader->config->gatewayd;

        if (!server)
                return 0;
        int r = reader_number(reader, "server.max_connections", server->max_connections, 1, 1024, &to->max_connections);
        return r ? r : reader_number(reader, "server.max_streams", server->max_streams, 1, 4096, &to->max_streams);
}

/* host[:port] as it stands in an image's name. */
static bool registry_is_valid(const char *registry)
{
        size_t n = strlen(registry);

        return n > 0 && n < CONFIG_PATH_MAX &&
               strspn(registry, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") == n;
}

static bool host_is_loopback(const char *host)
{
        return str_has_prefix(host, "127.") || str_has_prefix(host, "[::1]") || str_equal(host, "localhost") ||
               str_has_prefix(host, "localhost:");
}

static ConfigMirror *reader_add_mirror(Reader *reader, const char *registry, const char *host)
{
        ConfigImaged *to = &reader->config->imaged;

        if (to->n_mirrors == CONFIG_MIRRORS_MAX)
                return NULL;
        /* Whoever configures a registry on this machine wants it dialled. */
        if (!reader->loopback_set && host_is_loopback(host))
                to->allow_loopback = 1;
        ConfigMirror *mirror = &to->mirrors[to->n_mirrors++];
        (void)str_copy(mirror->registry, sizeof(mirror->registry), registry);
        return mirror;
}

static int reader_mirror(Reader *reader, size_t i, const YamlMirror *mirror)
{
        const char *host = str_has_prefix(mirror->endpoint, "https://") ? mirror->endpoint + strlen("https://")
                           : str_has_prefix(mirror->endpoint, "http://") ? mirror->endpoint + strlen("http://")
                                                                         : "";
        char key[64];

        (void)snprintf(key, sizeof(key), "images.mirrors[%zu].registry", i);
        if (!registry_is_valid(mirror->registry))
                return reader_refuse(reader, key, "\"%s\" is not a host with an optional port", mirror->registry);
        (void)snprintf(key, sizeof(key), "images.mirrors[%zu].endpoint", i);
        if (!registry_is_valid(host))
                return reader_refuse(reader, key, "\"%s\" is not http:// or https:// and a host with an optional port",
                                     mirror->endpoint);

        ConfigMirror *to = reader_add_mirror(reader, mirror->registry, host);
        if (!to)
                return reader_refuse(reader, key, "there are more than %d mirrors and registries", CONFIG_MIRRORS_MAX);
        (void)str_copy(to->endpoint, sizeof(to->endpoint), mirror->endpoint);
        reader_bool(mirror->skip_verify, &to->skip_verify);
        to->is_mirror = 1;
        return 0;
}

static int reader_registry(Reader *reader, size_t i, const YamlRegistry *registry)
{
        bool plain = registry->plain_http && *registry->plain_http == YAML_BOOL_TRUE;
        char key[64];

        (void)snprintf(key, sizeof(key), "images.registries[%zu].registry", i);
        if (!registry_is_valid(registry->registry) || strlen(registry->registry) > CONFIG_PATH_MAX - 16)
                return reader_refuse(reader, key, "\"%s\" is not a host with an optional port", registry->registry);

        ConfigMirror *to = reader_add_mirror(reader, registry->registry, registry->registry);
        if (!to)
                return reader_refuse(reader, key, "there are more than %d mirrors and registries", CONFIG_MIRRORS_MAX);
        (void)snprintf(to->endpoint, sizeof(to->endpoint), "%s://%s", plain ? "http" : "https", registry->registry);
        reader_bool(registry->skip_verify, &to->skip_verify);
        return 0;
}

/* "10.0.0.10", "10.0.0.10:53", "fd00::10" or "[fd00::10]:53" -> always with a port. */
static bool nameserver_complete(const char *value, char to[CONFIG_NAME_MAX])
{
        char host[CONFIG_NAME_MAX];
        uint8_t address[16];
        uint64_t port = 53;
        bool v6 = value[0] == '[' || (strchr(value, ':') && strchr(value, ':') != strrchr(value, ':'));
        const char *colon = value[0] == '[' ? strchr(value, ']') : v6 ? NULL : strchr(value, ':');
        size_t n = colon ? (size_t)(colon - value) : strlen(value);

        if (n >= sizeof(host))
                return false;
        memcpy(host, value + (value[0] == '['), n - (value[0] == '['));
        host[n - (value[0] == '[')] = '\0';
        if (colon && *colon == ']')
                colon = colon[1] == ':' ? colon + 1 : colon[1] == '\0' ? NULL : colon;
        if (colon && (*colon != ':' || !u64_parse(colon + 1, 65535, &port)))
                return false;
        if (inet_pton(v6 ? AF_INET6 : AF_INET, host, address) != 1)
                return false;
        return snprintf(to, CONFIG_NAME_MAX, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned int)port) < CONFIG_NAME_MAX;
}

static int reader_images(Reader *reader, const YamlImages *images)
{
        ConfigImaged *to = &reader->config->imaged;
        ConfigImagedFetch *fetch = &reader->config->fetch;
        int r = 0;

        if (!images)
                return 0;
        if (images->allow_loopback) {
                reader_bool(images->allow_loopback, &to->allow_loopback);
                reader->loopback_set = true;
        }
        for (size_t i = 0; r == 0 && i < images->n_mirrors; i++)
                r = reader_mirror(reader, i, &images->mirrors[i]);
        for (size_t i = 0; r == 0 && i < images->n_registries; i++)
                r = reader_registry(reader, i, &images->registries[i]);
        for (size_t i = 0; r == 0 && i < images->n_pinned; i++) {
                char key[64];
                (void)snprintf(key, sizeof(key), "images.pinned[%zu]", i);
                if (to->n_pinned == CONFIG_PINNED_MAX)
                        r = reader_refuse(reader, key, "there are more than %d patterns", CONFIG_PINNED_MAX);
                else if (!*images->pinned[i] || !str_copy(to->pinned[to->n_pinned], sizeof(to->pinned[0]), images->pinned[i]))
                        r = reader_refuse(reader, key, "it is empty, or longer than %d bytes", CONFIG_PATH_MAX - 1);
                else
                        to->n_pinned++;
        }
        for (size_t i = 0; r == 0 && i < images->n_nameservers; i++) {
                char key[64];
                (void)snprintf(key, sizeof(key), "images.nameservers[%zu]", i);
                if (fetch->n_nameservers == CONFIG_NAMESERVERS_MAX)
                        r = reader_refuse(reader, key, "there are more than %d name servers", CONFIG_NAMESERVERS_MAX);
                else if (!nameserver_complete(images->nameservers[i], fetch->nameservers[fetch->n_nameservers]))
                        r = reader_refuse(reader, key, "\"%s\" is not an IP address with an optional port",
                                          images->nameservers[i]);
                else
                        fetch->n_nameservers++;
        }
        if (r == 0)
                r = reader_number(reader, "images.max_concurrent_downloads", images->max_concurrent_downloads, 1, 32,
                                  &to->max_concurrent_downloads);
        if (r == 0)
                r = reader_number(reader, "images.progress_timeout", images->progress_timeout, 1, 24 * 3600,
                                  &to->progress_timeout_sec);
        if (r == 0)
                r = reader_bytes(reader, "images.max_layer_bytes", images->max_layer_bytes, &to->max_layer_bytes);
        if (r == 0)
                r = reader_bytes(reader, "images.max_image_bytes", images->max_image_bytes, &to->max_image_bytes);
        if (r == 0)
                r = reader_path(reader, "images.ca_file", images->ca_file, fetch->ca_file, sizeof(fetch->ca_file));
        return r;
}

static int reader_cni(Reader *reader, const YamlCni *cni)
{
        ConfigCni *to = &reader->config->cni;

        if (!cni)
                return 0;
        int r = reader_path(reader, "cni.conf_dir", cni->conf_dir, to->conf_dir, sizeof(to->conf_dir));
        for (size_t i = 0; r == 0 && i < cni->n_bin_dirs; i++) {
                char key[64];
                (void)snprintf(key, sizeof(key), "cni.bin_dirs[%zu]", i);
                if (reader->n_bin_dirs == CONFIG_BIN_DIRS_MAX)
                        return reader_refuse(reader, key, "there are more than %d plugin directories", CONFIG_BIN_DIRS_MAX);
                r = reader_path(reader, key, cni->bin_dirs[i], to->bin_dirs[reader->n_bin_dirs], CONFIG_PATH_MAX);
                to->n_bin_dirs = ++reader->n_bin_dirs;
        }
        return r ? r : reader_number(reader, "cni.timeout", cni->timeout, 1, 3600, &to->timeout_sec);
}

static int reader_runtimes(Reader *reader, const YamlRuntime *runtimes, size_t n)
{
        ConfigContainerd *to = &reader->config->containerd;
        char key[64];

        for (size_t i = 0; i < n; i++) {
                ConfigRuntime *row = &to->runtimes[reader->n_runtimes];

                (void)snprintf(key, sizeof(key), "runtimes[%zu].handler", i);
                if (reader->n_runtimes == CONFIG_RUNTIMES_MAX)
                        return reader_refuse(reader, key, "there are more than %d runtimes", CONFIG_RUNTIMES_MAX);
                size_t length = strlen(runtimes[i].handler);
                if (length >= CONFIG_NAME_MAX || strspn(runtimes[i].handler, "abcdefghijklmnopqrstuvwxyz0123456789.-") != length)
                        return reader_refuse(reader, key, "\"%s\" is not up to %d of a-z, 0-9, \".\" and \"-\"",
                                             runtimes[i].handler, CONFIG_NAME_MAX - 1);
                for (size_t j = 0; j < reader->n_runtimes; j++)
                        if (str_equal(to->runtimes[j].handler, runtimes[i].handler))
                                return reader_refuse(reader, key, "\"%s\" is there twice", runtimes[i].handler);
                (void)str_copy(row->handler, sizeof(row->handler), runtimes[i].handler);
                (void)snprintf(key, sizeof(key), "runtimes[%zu].path", i);
                int r = reader_path(reader, key, runtimes[i].path, row->path, sizeof(row->path));
                if (r)
                        return r;
                to->n_runtimes = ++reader->n_runtimes;
        }
        return 0;
}

static int reader_read(Reader *reader, const YamlConfig *yaml)
{
        LinkdConfig *c = reader->config;
        int r = reader_instance(reader, yaml->instance);

        if (r == 0)
                r = reader_user_base(reader, yaml->user_base);
        if (r == 0)
                r = reader_path(reader, "state_dir", yaml->state_dir, c->common.state_dir, CONFIG_PATH_MAX);
        if (r == 0)
                r = reader_path(reader, "runtime_dir", yaml->runtime_dir, c->common.runtime_dir, CONFIG_PATH_MAX);
        if (r == 0)
                r = reader_path(reader, "libexec_dir", yaml->libexec_dir, c->common.libexec_dir, CONFIG_PATH_MAX);
        if (r == 0)
                r = reader_path(reader, "socket", yaml->socket, c->socket_path, sizeof(c->socket_path));
        if (r == 0)
                r = reader_path(reader, "seccomp_dir", yaml->seccomp_dir, c->containerd.seccomp_dir, CONFIG_PATH_MAX);
        if (r == 0)
                r = reader_path(reader, "log_root", yaml->log_root, c->containerd.log_root, CONFIG_PATH_MAX);
        if (r == 0 && yaml->socket_group && !str_copy(c->socket_group, sizeof(c->socket_group), yaml->socket_group))
                r = reader_refuse(reader, "socket_group", "the name is too long");
        if (yaml->log_level)
                c->common.log_level = *yaml->log_level;
        if (r == 0)
                r = reader_stream(reader, yaml->stream);
        if (r == 0)
                r = reader_server(reader, yaml->server);
        if (r == 0)
                r = reader_images(reader, yaml->images);
        if (r == 0)
                r = reader_cni(reader, yaml->cni);
        if (r == 0)
                r = reader_runtimes(reader, yaml->runtimes, yaml->n_runtimes);
        if (r == 0 && yaml->cgroup)
                r = reader_path(reader, "cgroup.root", yaml->cgroup->root, c->containerd.cgroup_root, CONFIG_PATH_MAX);
        if (yaml->cgroup && yaml->cgroup->driver)
                c->containerd.systemd_cgroups = *yaml->cgroup->driver == YAML_CGROUP_SYSTEMD;
        if (yaml->policy) {
                reader_bool(yaml->policy->allow_privileged, &c->containerd.allow_privileged);
                reader_bool(yaml->policy->allow_host_paths, &c->containerd.allow_host_paths);
        }
        return r;
}

static void config_set_defaults(LinkdConfig *c)
{
        *c = (LinkdConfig){
                .common = {.user_base = LINKD_USER_BASE_MIN, .log_level = LOG_LEVEL_INFO},
                .gatewayd = {.runtime_version = BULKHEAD_VERSION, .max_connections = 64, .max_streams = 256},
                .streamd = {.address = "127.0.0.1", .idle_timeout_sec = 4 * 3600},
                .imaged = {.max_concurrent_downloads = 4, .progress_timeout_sec = 60,
                           .max_layer_bytes = UINT64_C(32) << 30, .max_image_bytes = UINT64_C(64) << 30},
                .cni = {.conf_dir = "/etc/cni/net.d", .bin_dirs = {"/opt/cni/bin", "/usr/lib/cni"}, .n_bin_dirs = 2,
                        .timeout_sec = 60},
                .containerd = {.n_runtimes = 2, .runtimes = {{"crun", "/usr/bin/crun"}, {"runc", "/usr/sbin/runc"}},
                               .seccomp_dir = "/", .log_root = "/", .allow_privileged = 1,
                               .allow_host_paths = 1},
        };
}

/* What follows from other keys, once all documents have spoken. */
static int config_complete(LinkdConfig *c, ConfigError *error)
{
        const char *dash = c->common.instance[0] ? "-" : "";

        if (!c->common.state_dir[0])
                (void)snprintf(c->common.state_dir, CONFIG_PATH_MAX, "/var/lib/bulkhead%s%s", dash, c->common.instance);
        if (!c->common.runtime_dir[0])
                (void)snprintf(c->common.runtime_dir, CONFIG_PATH_MAX, "/run/bulkhead%s%s", dash, c->common.instance);
        if (!c->socket_path[0] && (size_t)snprintf(c->socket_path, sizeof(c->socket_path), "%s/bulkhead.sock",
                                                   c->common.runtime_dir) >= sizeof(c->socket_path)) {
                (void)snprintf(error->text, sizeof(error->text),
                               "runtime_dir: %s is too long for a socket in it; choose a shorter one or set socket",
                               c->common.runtime_dir);
                return CONFIG_E_INVALID;
        }
        if (str_equal(c->common.state_dir, c->common.runtime_dir)) {
                (void)snprintf(error->text, sizeof(error->text),
                               "state_dir and runtime_dir are both %s: one survives a reboot, the other must not",
                               c->common.state_dir);
                return CONFIG_E_INVALID;
        }
        if (!c->stream_cert_file[0] != !c->stream_key_file[0]) {
                (void)snprintf(error->text, sizeof(error->text),
                               "stream: tls_cert_file and tls_key_file go together; %s is not set",
                               c->stream_cert_file[0] ? "tls_key_file" : "tls_cert_file");
                return CONFIG_E_INVALID;
        }
        c->streamd.tls = c->stream_cert_file[0] != '\0';
        c->fetch.allow_loopback = c->imaged.allow_loopback;
        c->gatewayd.systemd_cgroups = c->containerd.systemd_cgroups;
        c->gatewayd.n_handlers = c->containerd.n_runtimes;
        for (uint32_t i = 0; i < c->containerd.n_runtimes; i++)
                memcpy(c->gatewayd.handlers[i], c->containerd.runtimes[i].handler, CONFIG_NAME_MAX);
        return 0;
}

int config_read(const ConfigDocument *documents, size_t n_documents, LinkdConfig *ret, ConfigError *error)
{
        _cleanup_free_ LinkdConfig *config = malloc(sizeof(*config));
        Reader reader = {.config = config, .error = error};

        if (!config)
                return error_origin(-ENOMEM);
        config_set_defaults(config);
        for (size_t i = 0; i < n_documents; i++) {
                _cleanup_(yaml_config_freep) YamlConfig *yaml = NULL;

                int r = yaml_config_load(&documents[i], &yaml, error);
                reader.document = &documents[i];
                if (r == 0 && yaml)
                        r = reader_read(&reader, yaml);
                if (r)
                        return r < 0 ? fold(r) : r;
        }
        int r = config_complete(config, error);
        if (r == 0)
                *ret = *config;
        return r;
}

char *config_set_document(const char *argument)
{
        const char *equals = strchr(argument, '=');
        size_t size = strlen(argument) * 2 + 64, at = 0;
        _cleanup_free_ char *text = equals && equals != argument ? malloc(size) : NULL;
        unsigned int depth = 0;

        if (!text)
                return NULL;
        /* a.b=value -> "a: {b: value}" in flow style, so that the value may be a list or a mapping in flow style too. */
        for (const char *p = argument; p < equals; p++) {
                if (!isalnum((unsigned char)*p) && *p != '_' && (*p != '.' || p == argument || p[1] == '=' || p[1] == '.'))
                        return NULL;
                if (*p == '.') {
                        at += (size_t)snprintf(text + at, size - at, ": {");
                        depth++;
                } else {
                        text[at++] = *p;
                }
        }
        at += (size_t)snprintf(text + at, size - at, ": %s", equals + 1);
        while (depth-- > 0)
                at += (size_t)snprintf(text + at, size - at, "}");
        text[at] = '\0';
        return TAKE_PTR(text);
}
