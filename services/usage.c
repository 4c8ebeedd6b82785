/* SPDX-License-Identifier: Apache-2.0 */
#include "services/usage.h"

#include "lib/clock.h"
#include "lib/fd.h"
#include "lib/strings.h"
#include <stdio.h>

void usage_files_init(UsageFiles *files)
{
        for (size_t i = 0; i < CGROUP_FILE_N; i++)
                files->fds[i] = -1;
}

void usage_files_done(UsageFiles *files)
{
        for (size_t i = 0; i < CGROUP_FILE_N; i++)
                files->fds[i] = fd_close(files->fds[i]);
}

bool usage_files_take(UsageFiles *files, uint32_t file, uint32_t version, int fd)
{
        if (file >= CGROUP_FILE_N || version < 1 || version > 2 || fd < 0) {
                (void)fd_close(fd);
                return false;
        }
        (void)fd_close(files->fds[file]);
        files->fds[file] = fd;
        files->versions[file] = (uint8_t)version;
        return true;
}

/* A file that does not fit ends with its last whole line. */
static bool usage_text(int fd, char to[USAGE_TEXT_MAX])
{
        if (fd < 0)
                return false;
        ssize_t n = pread(fd, to, USAGE_TEXT_MAX - 1, 0);
        if (n <= 0) /* ENODEV: the cgroup is gone; EOPNOTSUPP: pressure is not accounted */
                return false;
        to[n] = '\0';
        if (n == USAGE_TEXT_MAX - 1) {
                char *end = strrchr(to, '\n');
                *(end ? end + 1 : to) = '\0';
        }
        return true;
}

/* Digits at *p, which moves behind them. False: none, or more than 64 bits. */
static bool usage_digits(const char **p, uint64_t *ret)
{
        uint64_t value = 0;
        const char *s = *p;

        for (; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(value, UINT64_C(10), &value) || __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
                        return false;
        if (s == *p)
                return false;
        *p = s;
        *ret = value;
        return true;
}

/* "name" at *p, which moves behind it. */
static bool usage_word(const char **p, const char *word)
{
        size_t n = strlen(word);

        if (strncmp(*p, word, n) != 0)
                return false;
        *p += n;
        return true;
}

static const char *usage_next_line(const char *p)
{
        const char *end = strchr(p, '\n');
        return end ? end + 1 : p + strlen(p);
}

uint64_t usage_parse_number(const char *text)
{
        const char *p = text;
        uint64_t value = USAGE_UNKNOWN;

        if (usage_word(&p, "max"))
                value = USAGE_UNLIMITED;
        else if (!usage_digits(&p, &value))
                return USAGE_UNKNOWN;
        return *p == '\n' || *p == '\0' ? value : USAGE_UNKNOWN;
}

/* One pass, for this is most of what a request costs outside the kernel: memory.stat has some forty lines of which a few count. */
void usage_parse_keys(const char *text, const UsageKey *keys, size_t n_keys, void *to)
{
        for (const char *p = text; *p; p += *p == '\n') {
                const char *line = p;
                while (*p && *p != ' ' && *p != '\n')
                        p++;
                size_t n = (size_t)(p - line), i = 0;
                while (i < n_keys && (keys[i].n != n || keys[i].key[0] != line[0] || memcmp(line, keys[i].key, n) != 0))
                        i++;
                if (i < n_keys && *p == ' ') {
                        uint64_t value;
                        p++;
                        if (usage_digits(&p, &value) && (*p == '\n' || *p == '\0'))
                                memcpy((char *)to + keys[i].offset, &value, sizeof(value));
                }
                while (*p && *p != '\n')
                        p++;
        }
}

/* "12.34" */
static bool usage_percent(const char **p, double *ret)
{
        uint64_t whole, hundredths;

        if (!usage_digits(p, &whole) || !usage_word(p, "."))
                return false;
        const char *fraction = *p;
        if (!usage_digits(p, &hundredths) || *p - fraction != 2)
                return false;
        *ret = (double)whole + (double)hundredths / 100;
        return true;
}

static bool usage_pressure_line(const char *p, UsagePressure *ret)
{
        UsagePressure pressure = {.is_known = true};

        if (!usage_word(&p, " avg10=") || !usage_percent(&p, &pressure.avg10) || !usage_word(&p, " avg60=") ||
            !usage_percent(&p, &pressure.avg60) || !usage_word(&p, " avg300=") || !usage_percent(&p, &pressure.avg300) ||
            !usage_word(&p, " total=") || !usage_digits(&p, &pressure.total_usec) || (*p != '\n' && *p != '\0'))
                return false;
        *ret = pressure;
        return true;
}

void usage_parse_pressure(const char *text, UsagePressures *ret)
{
        *ret = (UsagePressures){0};
        for (const char *line = text; *line; line = usage_next_line(line)) {
                const char *p = line;
                if (usage_word(&p, "some"))
                        (void)usage_pressure_line(p, &ret->some);
                else if (usage_word(&p, "full"))
                        (void)usage_pressure_line(p, &ret->full);
        }
}

static UsageDevice *usage_device(UsageDevice devices[USAGE_DEVICES_MAX], size_t *n, uint64_t major, uint64_t minor)
{
        for (size_t i = 0; i < *n; i++)
                if (devices[i].major == major && devices[i].minor == minor)
                        return &devices[i];
        if (*n == USAGE_DEVICES_MAX || major > UINT32_MAX || minor > UINT32_MAX)
                return NULL;
        devices[*n] = (UsageDevice){.major = (uint32_t)major, .minor = (uint32_t)minor};
        return &devices[(*n)++];
}

void usage_parse_io(const char *text, uint32_t version, bool operations, UsageDevice devices[USAGE_DEVICES_MAX], size_t *n_devices)
{
        for (const char *line = text; *line; line = usage_next_line(line)) {
                const char *p = line;
                uint64_t major, minor, value;
                if (!usage_digits(&p, &major) || !usage_word(&p, ":") || !usage_digits(&p, &minor) || *p != ' ')
                        continue;
                UsageDevice *device = usage_device(devices, n_devices, major, minor);
                if (!device)
                        continue;
                /* 1: one "8:0 Read 4096" per line; 2: "8:0 rbytes=4096 wbytes=0 rios=1 ..." */
                while (version == 2 && usage_word(&p, " ")) {
                        uint64_t *to = usage_word(&p, "rbytes=")   ? &device->read_bytes
                                       : usage_word(&p, "wbytes=") ? &device->write_bytes
                                       : usage_word(&p, "rios=")   ? &device->reads
                                       : usage_word(&p, "wios=")   ? &device->writes
                                                                   : NULL;
                        if (to && usage_digits(&p, &value))
                                *to = value;
                        p += strcspn(p, " \n");
                }
                if (version == 1) {
                        uint64_t *to = usage_word(&p, " Read ")    ? operations ? &device->reads : &device->read_bytes
                                       : usage_word(&p, " Write ") ? operations ? &device->writes : &device->write_bytes
                                                                   : NULL;
                        if (to && usage_digits(&p, &value))
                                *to = value;
                }
        }
}

/* "  eth0: 1 2 3 ..." : eight numbers of what was received, eight of what was sent. Two lines of headings have no colon. */
static bool usage_interface_line(const char *line, UsageInterface *ret)
{
        uint64_t values[16];
        const char *p = line + strspn(line, " ");
        size_t n = strcspn(p, ":\n");

        if (p[n] != ':' || n == 0 || n >= USAGE_INTERFACE_NAME_MAX)
                return false;
        *ret = (UsageInterface){0};
        memcpy(ret->name, p, n);
        p += n + 1;
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                p += strspn(p, " ");
                if (!usage_digits(&p, &values[i]))
                        return false;
        }
        ret->rx_bytes = values[0];
        ret->rx_packets = values[1];
        ret->rx_errors = values[2];
        ret->rx_dropped = values[3];
        ret->tx_bytes = values[8];
        ret->tx_packets = values[9];
        ret->tx_errors = values[10];
        ret->tx_dropped = values[11];
        return true;
}

/* A pod with CAP_NET_ADMIN names its interfaces as it likes, the kernel allows any byte but '/', ':' and white space; these
 * names go into protobuf strings and metrics. */
static bool usage_interface_is_shown(const char *name)
{
        for (const char *p = name; *p; p++)
                if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
                        return false;
        return !str_equal(name, "lo");
}

void usage_parse_interfaces(const char *text, UsageInterfaces *ret)
{
        ret->n = 0;
        for (const char *line = text; *line && ret->n < USAGE_INTERFACES_MAX; line = usage_next_line(line))
                if (usage_interface_line(line, &ret->items[ret->n]) && usage_interface_is_shown(ret->items[ret->n].name))
                        ret->n++;
}

void usage_read_interfaces(int fd, UsageInterfaces *ret)
{
        char text[USAGE_TEXT_MAX];

        ret->n = 0;
        if (usage_text(fd, text))
                usage_parse_interfaces(text, ret);
}

/* Lines; a group of so many processes that they do not fit into the buffer is read on. */
static uint64_t usage_count_lines(int fd, char buffer[USAGE_TEXT_MAX])
{
        uint64_t n_lines = 0;
        off_t offset = 0;
        ssize_t n;

        if (fd < 0)
                return USAGE_UNKNOWN;
        while ((n = pread(fd, buffer, USAGE_TEXT_MAX, offset)) > 0 && offset < (1 << 20)) {
                for (const char *p = buffer; (p = memchr(p, '\n', (size_t)(buffer + n - p))); p++)
                        n_lines++;
                offset += n;
        }
        return n < 0 ? USAGE_UNKNOWN : n_lines;
}

/* What the files say, before units are made the same. */
typedef struct UsageRaw {
        uint64_t usage_usec, user_usec, system_usec, nr_periods, nr_throttled, throttled_usec, throttled_time;
        uint64_t oom_kill, max;
        uint64_t swap;
} UsageRaw;
#define RAW(k, member) {k, sizeof(k) - 1, offsetof(UsageRaw, member)}
#define OF(k, member) {k, sizeof(k) - 1, offsetof(Usage, member)}

static uint64_t usage_times(uint64_t value, uint64_t factor)
{
        uint64_t product;
        return value == USAGE_UNKNOWN || __builtin_mul_overflow(value, factor, &product) ? USAGE_UNKNOWN : product;
}

static void usage_read_cpu(const UsageFiles *files, char *text, Usage *ret)
{
        static const UsageKey keys[] = {
                RAW("usage_usec", usage_usec), RAW("user_usec", user_usec), RAW("system_usec", system_usec), RAW("nr_periods", nr_periods),
                RAW("nr_throttled", nr_throttled), RAW("throttled_usec", throttled_usec), RAW("throttled_time", throttled_time),
        };
        UsageRaw raw;

        memset(&raw, 0xff, sizeof(raw));
        if (usage_text(files->fds[CGROUP_FILE_CPU_STAT], text))
                usage_parse_keys(text, keys, ARRAY_SIZE(keys), &raw);
        if (raw.nr_periods == USAGE_UNKNOWN && usage_text(files->fds[CGROUP_FILE_CPU_BANDWIDTH], text))
                usage_parse_keys(text, keys, ARRAY_SIZE(keys), &raw);
        ret->cpu_nsec = usage_times(raw.usage_usec, 1000);
        ret->cpu_user_nsec = usage_times(raw.user_usec, 1000);
        ret->cpu_system_nsec = usage_times(raw.system_usec, 1000);
        ret->cpu_periods = raw.nr_periods;
        ret->cpu_throttled_periods = raw.nr_throttled;
        ret->cpu_throttled_nsec = raw.throttled_usec != USAGE_UNKNOWN ? usage_times(raw.throttled_usec, 1000) : raw.throttled_time;
}

static void usage_read_memory(const UsageFiles *files, char *text, Usage *ret)
{
        static const UsageKey v2[] = {
                OF("inactive_file", memory_inactive_file_bytes), OF("anon", memory_anon_bytes), OF("file", memory_cache_bytes),
                OF("file_mapped", memory_mapped_bytes), OF("kernel", memory_kernel_bytes), OF("pgfault", page_faults),
                OF("pgmajfault", major_page_faults),
        };
        static const UsageKey v1[] = {
                OF("total_inactive_file", memory_inactive_file_bytes), OF("total_rss", memory_anon_bytes), OF("total_cache", memory_cache_bytes),
                OF("total_mapped_file", memory_mapped_bytes), OF("total_pgfault", page_faults), OF("total_pgmajfault", major_page_faults),
                OF("total_swap", swap_bytes),
        };
        bool is_v1 = files->versions[CGROUP_FILE_MEMORY_STAT] == 1;

        if (usage_text(files->fds[CGROUP_FILE_MEMORY_STAT], text))
                usage_parse_keys(text, is_v1 ? v1 : v2, is_v1 ? ARRAY_SIZE(v1) : ARRAY_SIZE(v2), ret);
        if (usage_text(files->fds[CGROUP_FILE_MEMORY_CURRENT], text))
                ret->memory_bytes = usage_parse_number(text);
}

static void usage_read_one(const UsageFiles *files, CgroupFile file, char *text, uint64_t *to)
{
        if (!usage_text(files->fds[file], text))
                return;
        *to = usage_parse_number(text);
        if (files->versions[file] == 1 && *to != USAGE_UNKNOWN && *to > USAGE_UNLIMITED_V1)
                *to = USAGE_UNLIMITED;
}

static void usage_read_metrics(const UsageFiles *files, char *text, Usage *ret)
{
        static const UsageKey events[] = {RAW("oom_kill", oom_kill), RAW("max", max)};
        UsageRaw raw;

        memset(&raw, 0xff, sizeof(raw));
        if (usage_text(files->fds[CGROUP_FILE_MEMORY_EVENTS], text))
                usage_parse_keys(text, events, ARRAY_SIZE(events), &raw);
        ret->oom_kills = raw.oom_kill;
        ret->memory_failures = raw.max;
        usage_read_one(files, CGROUP_FILE_MEMORY_FAILCNT, text, &ret->memory_failures);
        usage_read_one(files, CGROUP_FILE_MEMORY_PEAK, text, &ret->memory_peak_bytes);
        usage_read_one(files, CGROUP_FILE_MEMORY_KERNEL, text, &ret->memory_kernel_bytes);
        usage_read_one(files, CGROUP_FILE_PIDS_CURRENT, text, &ret->threads);
        usage_read_one(files, CGROUP_FILE_PIDS_MAX, text, &ret->threads_max);
        usage_read_one(files, CGROUP_FILE_HUGETLB_2M, text, &ret->hugetlb_2m_bytes);
        usage_read_one(files, CGROUP_FILE_HUGETLB_2M_PEAK, text, &ret->hugetlb_2m_peak_bytes);
        usage_read_one(files, CGROUP_FILE_HUGETLB_1G, text, &ret->hugetlb_1g_bytes);
        usage_read_one(files, CGROUP_FILE_HUGETLB_1G_PEAK, text, &ret->hugetlb_1g_peak_bytes);
        if (usage_text(files->fds[CGROUP_FILE_IO_STAT], text))
                usage_parse_io(text, files->versions[CGROUP_FILE_IO_STAT], false, ret->devices, &ret->n_devices);
        if (usage_text(files->fds[CGROUP_FILE_IO_SERVICED], text))
                usage_parse_io(text, 1, true, ret->devices, &ret->n_devices);
}

void usage_read(const UsageFiles *files, uint32_t with, Usage *ret)
{
        _uninitialized_ char text[USAGE_TEXT_MAX];

        memset(ret, 0xff, offsetof(Usage, cpu));
        ret->cpu = ret->memory = ret->io = (UsagePressures){0};
        ret->n_devices = 0;
        ret->time_nsec = clock_realtime_nsec();
        usage_read_cpu(files, text, ret);
        usage_read_memory(files, text, ret);
        if (usage_text(files->fds[CGROUP_FILE_CPU_PRESSURE], text))
                usage_parse_pressure(text, &ret->cpu);
        if (usage_text(files->fds[CGROUP_FILE_MEMORY_PRESSURE], text))
                usage_parse_pressure(text, &ret->memory);
        if (usage_text(files->fds[CGROUP_FILE_IO_PRESSURE], text))
                usage_parse_pressure(text, &ret->io);
        if (with & (USAGE_WITH_SWAP | USAGE_WITH_METRICS))
                usage_read_one(files, CGROUP_FILE_MEMORY_SWAP, text, &ret->swap_bytes);
        if (with & (USAGE_WITH_PROCESSES | USAGE_WITH_METRICS))
                ret->processes = usage_count_lines(files->fds[CGROUP_FILE_PROCS], text);
        if (with & USAGE_WITH_METRICS)
                usage_read_metrics(files, text, ret);
}

uint64_t usage_working_set(const Usage *usage)
{
        if (usage->memory_bytes == USAGE_UNKNOWN || usage->memory_inactive_file_bytes == USAGE_UNKNOWN)
                return USAGE_UNKNOWN;
        return usage->memory_bytes > usage->memory_inactive_file_bytes ? usage->memory_bytes - usage->memory_inactive_file_bytes : 0;
}

uint64_t usage_rate(UsageRate *rate, uint64_t now_usec, uint64_t cpu_nsec)
{
        if (cpu_nsec == USAGE_UNKNOWN)
                return USAGE_UNKNOWN;
        uint64_t elapsed_usec = now_usec - rate->base_usec;
        if (rate->base_usec == 0 || now_usec < rate->base_usec || cpu_nsec < rate->base_cpu_nsec) {
                rate->base_usec = now_usec;
                rate->base_cpu_nsec = cpu_nsec;
                return rate->nano_cores;
        }
        if (elapsed_usec < USAGE_RATE_WINDOW_USEC)
                return rate->nano_cores;
        rate->nano_cores = (uint64_t)((double)(cpu_nsec - rate->base_cpu_nsec) / (double)elapsed_usec * 1e6);
        rate->base_usec = now_usec;
        rate->base_cpu_nsec = cpu_nsec;
        return rate->nano_cores;
}
