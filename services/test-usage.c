/* SPDX-License-Identifier: Apache-2.0 */

/* The parsers, with the kernel's text as it is and as it must not be taken; rates; a cgroup of files made here, read through both
 * versions' names by the opener of the hands. */

#include "lib/fd.h"
#include "lib/strings.h"
#include "lib/test.h"
#include "services/cgroup-open.h"
#include "services/usage.h"
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

static void test_number(void)
{
        static const struct {
                const char *text;
                uint64_t value;
        } rows[] = {
                {"0\n", 0}, {"42\n", 42}, {"42", 42}, {"18446744073709551614\n", UINT64_MAX - 1}, {"max\n", USAGE_UNLIMITED},
                {"", USAGE_UNKNOWN}, {"\n", USAGE_UNKNOWN}, {"-1\n", USAGE_UNKNOWN}, {"1x\n", USAGE_UNKNOWN}, {"maximum\n", USAGE_UNKNOWN},
                {"18446744073709551616\n", USAGE_UNKNOWN}, {" 1\n", USAGE_UNKNOWN},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                assert_true(usage_parse_number(rows[i].text) == rows[i].value);
}

static void test_keys(void)
{
        static const UsageKey keys[] = {{"a", 1, 0}, {"a_b", 3, 8}, {"c", 1, 16}};
        uint64_t values[3];

        memset(values, 0xff, sizeof(values));
        usage_parse_keys("a_b 7\nother 1\na 3\n", keys, ARRAY_SIZE(keys), values);
        assert_eq_int(values[0], 3);
        assert_eq_int(values[1], 7);
        assert_true(values[2] == USAGE_UNKNOWN);
        /* No number, a number with something behind it, a key that is only a beginning. */
        memset(values, 0xff, sizeof(values));
        usage_parse_keys("a x\na_b 5 6\ncc 1\nc", keys, ARRAY_SIZE(keys), values);
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                assert_true(values[i] == USAGE_UNKNOWN);
}

static void test_pressure(void)
{
        UsagePressures pressures;

        usage_parse_pressure("some avg10=79.75 avg60=3.05 avg300=0.00 total=3138202601\nfull avg10=0.00 avg60=0.00 avg300=0.01 total=9\n",
                             &pressures);
        assert_true(pressures.some.is_known && pressures.full.is_known);
        assert_true(fabs(pressures.some.avg10 - 79.75) < 1e-9 && fabs(pressures.some.avg60 - 3.05) < 1e-9);
        assert_eq_int(pressures.some.total_usec, 3138202601);
        assert_true(fabs(pressures.full.avg300 - 0.01) < 1e-9);
        assert_eq_int(pressures.full.total_usec, 9);
        static const char *const wrong[] = {
                "", "some\n", "some avg10=1 avg60=0.00 avg300=0.00 total=1\n", "some avg10=1.5 avg60=0.00 avg300=0.00 total=1\n",
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=\n", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1 more=2\n",
                "some avg10=1.50 avg60=0.00 total=1\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                usage_parse_pressure(wrong[i], &pressures);
                assert_false(pressures.some.is_known || pressures.full.is_known);
        }
}

static void test_io(void)
{
        UsageDevice devices[USAGE_DEVICES_MAX];
        size_t n = 0;

        usage_parse_io("8:16 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:0 wbytes=5\nnone\n8:x rbytes=1\n", 2, false, devices, &n);
        assert_eq_int(n, 2);
        assert_eq_int(devices[0].major, 8);
        assert_eq_int(devices[0].minor, 16);
        assert_eq_int(devices[0].read_bytes, 4096);
        assert_eq_int(devices[0].write_bytes, 8192);
        assert_eq_int(devices[0].reads, 1);
        assert_eq_int(devices[0].writes, 2);
        assert_eq_int(devices[1].write_bytes, 5);
        /* Version 1 has one number per line, and two files. */
        n = 0;
        usage_parse_io("8:0 Read 10\n8:0 Write 20\n8:0 Sync 5\n8:0 Total 30\nTotal 30\n", 1, false, devices, &n);
        usage_parse_io("8:0 Read 1\n8:0 Write 2\n", 1, true, devices, &n);
        assert_eq_int(n, 1);
        assert_eq_int(devices[0].read_bytes, 10);
        assert_eq_int(devices[0].write_bytes, 20);
        assert_eq_int(devices[0].reads, 1);
        assert_eq_int(devices[0].writes, 2);
        /* More devices than there is room for are left out. */
        char text[1024] = "";
        n = 0;
        for (int i = 0; i < USAGE_DEVICES_MAX + 4; i++)
                (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "8:%d rbytes=1\n", i);
        usage_parse_io(text, 2, false, devices, &n);
        assert_eq_int(n, USAGE_DEVICES_MAX);
}

static void test_interfaces(void)
{
        UsageInterfaces interfaces;

        usage_parse_interfaces("Inter-|   Receive                                                |  Transmit\n"
                               " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
                               "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0\n"
                               "  eth0:    1316      15    2    3    0     0          0         0      472       6    4    5    0     0       0          0\n"
                               "net1:9 8 7 6 5 4 3 2 1 2 3 4 5 6 7 8\n"
                               " bad\"x: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
                               " short: 1 2 3\n"
                               " averyverylongname: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
                               &interfaces);
        assert_eq_int(interfaces.n, 2);
        assert_eq_str(interfaces.items[0].name, "eth0");
        assert_eq_int(interfaces.items[0].rx_bytes, 1316);
        assert_eq_int(interfaces.items[0].rx_packets, 15);
        assert_eq_int(interfaces.items[0].rx_errors, 2);
        assert_eq_int(interfaces.items[0].rx_dropped, 3);
        assert_eq_int(interfaces.items[0].tx_bytes, 472);
        assert_eq_int(interfaces.items[0].tx_packets, 6);
        assert_eq_int(interfaces.items[0].tx_errors, 4);
        assert_eq_int(interfaces.items[0].tx_dropped, 5);
        assert_eq_str(interfaces.items[1].name, "net1");
        assert_eq_int(interfaces.items[1].tx_bytes, 1);
}

static void test_rate(void)
{
        UsageRate rate = USAGE_RATE_NULL;
        const uint64_t sec = 1000000, nsec = 1000000000;

        assert_true(usage_rate(&rate, 5 * sec, 7 * nsec) == USAGE_UNKNOWN); /* the first sample */
        assert_true(usage_rate(&rate, 5 * sec + sec / 2, 8 * nsec) == USAGE_UNKNOWN); /* too short a window */
        assert_eq_int(usage_rate(&rate, 7 * sec, 10 * nsec), 3 * nsec / 2); /* three seconds of CPU in two */
        assert_eq_int(usage_rate(&rate, 7 * sec + sec / 2, 20 * nsec), 3 * nsec / 2); /* remembered */
        assert_eq_int(usage_rate(&rate, 17 * sec, 10 * nsec), 0);
        assert_eq_int(usage_rate(&rate, 18 * sec, 1 * nsec), 0); /* another cgroup: a new base, no rate made up */
        assert_eq_int(usage_rate(&rate, 20 * sec, 2 * nsec), nsec / 2);
        assert_true(usage_rate(&rate, 30 * sec, USAGE_UNKNOWN) == USAGE_UNKNOWN);
}

static void write_text(const char *base, const char *name, const char *text)
{
        char path[256];

        (void)snprintf(path, sizeof(path), "%s/%s", base, name);
        for (char *p = strchr(path + strlen(base) + 1, '/'); p; p = strchr(p + 1, '/')) {
                *p = '\0';
                (void)mkdir(path, 0700);
                *p = '/';
        }
        assert_ok(fd_write_file(AT_FDCWD, path, text, strlen(text), 0600));
}

static void take_all(const CgroupDirs *dirs, UsageFiles *files)
{
        CgroupFiles opened = {0};
        int fds[CGROUP_FILES_PER_FRAME];

        usage_files_init(files);
        do {
                cgroup_files_open(dirs, opened.next, CGROUP_FILE_N, CGROUP_FILES_PER_FRAME, &opened, fds);
                for (uint32_t i = 0; i < opened.n; i++)
                        assert_true(usage_files_take(files, opened.files[i], opened.versions[i], fds[i]));
        } while (opened.next < CGROUP_FILE_N);
}

static void test_cgroup(bool hybrid)
{
        char base[] = "/tmp/bulkhead-test-usage.XXXXXX", command[64], root[64];
        CgroupDirs roots, dirs;
        UsageFiles files;
        Usage usage;

        assert_true(mkdtemp(base));
        write_text(base, "unified/pod/c/cpu.stat", "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\n");
        write_text(base, "unified/pod/c/cgroup.procs", "1\n22\n333\n");
        write_text(base, "unified/pod/c/io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n");
        if (hybrid) {
                write_text(base, "memory/tasks", "");
                write_text(base, "memory/pod/c/memory.stat",
                           "rss 1\ninactive_file 1\nhierarchical_memory_limit 9223372036854771712\ntotal_cache 300\ntotal_rss 200\ntotal_swap 9\n"
                           "total_inactive_file 100\ntotal_pgfault 11\ntotal_pgmajfault 2\ntotal_mapped_file 50\n");
                write_text(base, "memory/pod/c/memory.usage_in_bytes", "1000\n");
                write_text(base, "memory/pod/c/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
                write_text(base, "memory/pod/c/memory.failcnt", "4\n");
                write_text(base, "cpu/tasks", "");
                write_text(base, "cpu/pod/c/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 7000\n");
                write_text(base, "pids/tasks", "");
                write_text(base, "pids/pod/c/pids.max", "9223372036854775807\n");
        } else {
                write_text(base, "memory/pod/c/memory.stat", "total_rss 77\n"); /* no hierarchy: it has no file `tasks` */
                write_text(base, "unified/pod/c/memory.stat", "anon 200\nfile 300\nkernel 20\nfile_mapped 50\ninactive_file 100\npgfault 11\npgmajfault 2\n");
                write_text(base, "unified/pod/c/memory.current", "1000\n");
                write_text(base, "unified/pod/c/memory.swap.current", "9\n");
                write_text(base, "unified/pod/c/memory.events", "low 0\nhigh 0\nmax 4\noom 3\noom_kill 3\noom_group_kill 0\n");
                write_text(base, "unified/pod/c/cpu.stat",
                           "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n");
                write_text(base, "unified/pod/c/pids.max", "max\n");
        }
        (void)snprintf(root, sizeof(root), "%s/unified", base);
        cgroup_dirs_find(&roots, root);
        assert_ok(cgroup_dirs_open(&roots, "/pod/c", &dirs));
        take_all(&dirs, &files);
        usage_read(&files, USAGE_WITH_METRICS, &usage);
        assert_eq_int(usage.cpu_nsec, 3000000);
        assert_eq_int(usage.cpu_user_nsec, 2000000);
        assert_eq_int(usage.cpu_system_nsec, 1000000);
        assert_eq_int(usage.cpu_periods, 5);
        assert_eq_int(usage.cpu_throttled_periods, 2);
        assert_eq_int(usage.cpu_throttled_nsec, 7000);
        assert_eq_int(usage.memory_bytes, 1000);
        assert_eq_int(usage_working_set(&usage), 900);
        assert_eq_int(usage.memory_anon_bytes, 200);
        assert_eq_int(usage.memory_cache_bytes, 300);
        assert_eq_int(usage.memory_mapped_bytes, 50);
        assert_eq_int(usage.page_faults, 11);
        assert_eq_int(usage.major_page_faults, 2);
        assert_eq_int(usage.swap_bytes, 9);
        assert_eq_int(usage.oom_kills, 3);
        assert_eq_int(usage.memory_failures, 4);
        assert_eq_int(usage.processes, 3);
        assert_true(usage.threads_max == USAGE_UNLIMITED);
        assert_eq_int(usage.io.some.total_usec, 5);
        assert_false(usage.cpu.some.is_known);
        assert_true(usage.threads == USAGE_UNKNOWN && usage.memory_peak_bytes == USAGE_UNKNOWN);
        usage_files_done(&files);
        cgroup_dirs_done(&dirs);
        assert_eq_int(cgroup_dirs_open(&roots, "/pod/none", &dirs), -ENOENT);
        cgroup_dirs_done(&dirs);
        assert_true(cgroup_dirs_open(&roots, "/../unified", &dirs) < 0); /* not out of the hierarchy */
        cgroup_dirs_done(&dirs);
        cgroup_dirs_done(&roots);
        (void)snprintf(command, sizeof(command), "rm -r %s", base);
        assert_ok(system(command));
}

static void test_version_2(void)
{
        test_cgroup(false);
}

static void test_hybrid(void)
{
        test_cgroup(true);
}

/* What does not fit into the buffer ends with its last whole line; lines are counted beyond it. */
static void test_long_text(void)
{
        char path[] = "/tmp/bulkhead-test-usage.XXXXXX";
        UsageFiles files;
        Usage usage;
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        (void)unlink(path);
        for (int i = 0; i < 3000; i++)
                assert_ok(fd_write_full(fd, "1234567\n", 8));
        usage_files_init(&files);
        assert_true(usage_files_take(&files, CGROUP_FILE_PROCS, 2, fd));
        usage_read(&files, USAGE_WITH_PROCESSES, &usage);
        assert_eq_int(usage.processes, 3000);
        assert_true(usage.cpu_nsec == USAGE_UNKNOWN);
        assert_false(usage_files_take(&files, CGROUP_FILE_N, 2, -1));
        assert_false(usage_files_take(&files, CGROUP_FILE_PROCS, 3, open("/dev/null", O_RDONLY | O_CLOEXEC)));
        usage_files_done(&files);
}

int main(void)
{
        TEST_RUN(test_number);
        TEST_RUN(test_keys);
        TEST_RUN(test_pressure);
        TEST_RUN(test_io);
        TEST_RUN(test_interfaces);
        TEST_RUN(test_rate);
        TEST_RUN(test_version_2);
        TEST_RUN(test_hybrid);
        TEST_RUN(test_long_text);
        return 0;
}
