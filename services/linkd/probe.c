/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/strings.h"
#include "services/linkd/linkd.h"
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

#define PROBE_FILE_MAX (256 * 1024)

static void probe_boot_id(LinkdConfig *config)
{
        _cleanup_free_ char *text = NULL;
        size_t n;

        if (fd_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &n) == 0) {
                text[strcspn(text, "\n")] = '\0';
                (void)str_copy(config->common.boot_id, sizeof(config->common.boot_id), text);
        }
}

static bool probe_is_cgroup2(const char *path)
{
        struct statfs st;
        return statfs(path, &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
}

static void probe_cgroup_root(LinkdConfig *config)
{
        static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
        char *root = config->containerd.cgroup_root;

        if (root[0] && !probe_is_cgroup2(root))
                log_warning("cgroup.root: %s is not a cgroup v2 hierarchy", root);
        for (size_t i = 0; !root[0] && i < ARRAY_SIZE(places); i++)
                if (probe_is_cgroup2(places[i]))
                        (void)str_copy(root, CONFIG_PATH_MAX, places[i]);
        if (!root[0])
                log_warning("there is no cgroup v2 hierarchy at /sys/fs/cgroup or /sys/fs/cgroup/unified: containers can "
                            "be neither measured nor ended as a whole");
}

/* Standalone the shims' cgroup lies beside the daemons'; under systemd it is that of a unit which never stops, in our slice. */
static void probe_shims_cgroup(LinkdConfig *config, bool systemd)
{
        char *to = config->containerd.shims_cgroup;
        _cleanup_free_ char *text = NULL;
        size_t n;

        (void)snprintf(to, CONFIG_PATH_MAX, "/%s" CONFIG_CGROUP_SHIMS, config->common.instance);
        if (!systemd || fd_read_file(AT_FDCWD, "/proc/self/cgroup", PROBE_FILE_MAX, &text, &n) != 0)
                return;
        char *own = str_has_prefix(text, "0::") ? text : strstr(text, "\n0::");
        own = own ? strchr(own, '/') : NULL;
        if (!own)
                return;
        own[strcspn(own, "\n")] = '\0';
        (void)snprintf(to, CONFIG_PATH_MAX, "%.*s/" CONFIG_SHIMS_UNIT, (int)(strrchr(own, '/') - own), own);
}

/* Lowering oom_score_adj below one's own needs CAP_SYS_RESOURCE, which nested and rootless nodes lack: then what containers
 * ask for is clamped to what is possible. Tried on oneself, and put back. */
static void probe_oom(LinkdConfig *config)
{
        _cleanup_free_ char *text = NULL;
        size_t n;
        int own = 0;

        if (fd_read_file(AT_FDCWD, "/proc/self/oom_score_adj", 32, &text, &n) == 0)
                own = (int)strtol(text, NULL, 10);
        config->containerd.oom_score_adj_min = -1000;

        _cleanup_fd_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && own > -1000) {
                if (pwrite(fd, "-1000", 5, 0) == 5) {
                        char back[16];
                        int length = snprintf(back, sizeof(back), "%d", own);
                        (void)!pwrite(fd, back, (size_t)length, 0);
                } else {
                        config->containerd.oom_score_adj_min = own;
                        log_info("oom_score_adj cannot be lowered here (no CAP_SYS_RESOURCE): containers get %d at least",
                                 own);
                }
        }
}

/* The system's own, when none are configured; resolv.conf(5). */
static void probe_nameservers(LinkdConfig *config)
{
        ConfigImagedFetch *fetch = &config->fetch;
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        size_t n;

        if (fetch->n_nameservers > 0 || fd_read_file(AT_FDCWD, "/etc/resolv.conf", PROBE_FILE_MAX, &text, &n) != 0)
                return;
        for (char *line = strtok_r(text, "\n", &save); line && fetch->n_nameservers < CONFIG_NAMESERVERS_MAX;
             line = strtok_r(NULL, "\n", &save)) {
                char *to = fetch->nameservers[fetch->n_nameservers], *word = NULL;
                const char *keyword = strtok_r(line, " \t", &word), *address = strtok_r(NULL, " \t", &word);

                if (!str_equal(keyword, "nameserver") || !address || strlen(address) >= CONFIG_NAME_MAX - 16 ||
                    strchr(address, '%'))
                        continue;
                (void)snprintf(to, CONFIG_NAME_MAX, strchr(address, ':') ? "[%s]:53" : "%s:53", address);
                fetch->n_nameservers++;
        }
}

/* Debian 12 has runc in /usr/sbin, others in /usr/bin. */
static void probe_runtimes(LinkdConfig *config)
{
        for (size_t i = 0; i < config->containerd.n_runtimes; i++) {
                ConfigRuntime *runtime = &config->containerd.runtimes[i];
                if (str_equal(runtime->path, "/usr/sbin/runc") && access(runtime->path, X_OK) < 0 &&
                    access("/usr/bin/runc", X_OK) == 0)
                        (void)str_copy(runtime->path, sizeof(runtime->path), "/usr/bin/runc");
        }
}

int linkd_probe(LinkdConfig *config, const char *own_libexec_dir, bool systemd)
{
        if (!config->common.libexec_dir[0] &&
            !str_copy(config->common.libexec_dir, sizeof(config->common.libexec_dir), own_libexec_dir))
                return error_origin(-ENAMETOOLONG);
        probe_boot_id(config);
        probe_cgroup_root(config);
        probe_shims_cgroup(config, systemd);
        probe_oom(config);
        probe_nameservers(config);
        probe_runtimes(config);
        return 0;
}

/* /etc/group itself: the resolver of libc would load modules. group(5): name:password:gid:members. */
int linkd_probe_group(const LinkdConfig *config, uint32_t *ret)
{
        const char *name = config->socket_group[0] ? config->socket_group : "bulkhead";
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        uint64_t gid;
        size_t n;

        if (u64_parse(name, UINT32_MAX - 1, &gid)) {
                *ret = (uint32_t)gid;
                return 0;
        }
        int r = fd_read_file(AT_FDCWD, "/etc/group", PROBE_FILE_MAX * 16, &text, &n);
        if (r && r != -ENOENT)
                return fold(r);
        for (char *line = r ? NULL : strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                size_t length = strlen(name);
                char *password = line + length + 1;

                if (strncmp(line, name, length) != 0 || line[length] != ':' || !strchr(password, ':'))
                        continue;
                char *number = strchr(password, ':') + 1;
                number[strcspn(number, ":")] = '\0';
                if (u64_parse(number, UINT32_MAX - 1, &gid)) {
                        *ret = (uint32_t)gid;
                        return 0;
                }
        }
        if (config->socket_group[0]) {
                log_error("socket_group: there is no group %s; make it (groupadd --system %s) or name another", name, name);
                return error_origin(-ENOENT);
        }
        *ret = 0; /* the default group is optional: without it root alone may connect */
        return 0;
}
