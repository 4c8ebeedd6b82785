/* SPDX-License-Identifier: Apache-2.0 */

/* Attacks by a process that was taken over, from inside each row: everything must be denied, by a signal or an errno, unless
 * it is the row's purpose. Every attack has a twin, the same call from an unconfined process, which must get through: so no
 * attack passes because it was never able to work. Numbers are those of the assume-breach battery. */

#include "lib/strings.h"
#include "policy/test-world.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>

/* Made before any row is entered. */
typedef struct World {
        ConfigCommon config;
        int victim;        /* a process of root */
        int pidfd;
        int namespace_fd;  /* a user namespace could be entered through it: the network one of the host */
        int tty_fd;
        int unix_fd;       /* an abstract socket listens */
        struct sockaddr_un address;
        socklen_t n_address;
        char *page;        /* memory to make executable */
} World;

static World world;

#define RESULT(x) ((x) < 0 ? errno : 0)

static int attack_exec(void)
{
        char *argv[] = {(char *)(uintptr_t)"true", NULL};
        (void)execve("/bin/true", argv, NULL);
        return errno;
}

static int attack_exec_fd(void)
{
        char *argv[] = {(char *)(uintptr_t)"true", NULL};
        (void)syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0);
        return errno;
}

static int attack_fork(void)
{
        long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
                _exit(0);
        return RESULT(pid);
}

static int attack_clone3(void)
{
        struct {
                uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
        } args = {.exit_signal = SIGCHLD};
        long pid = syscall(SYS_clone3, &args, sizeof(args));
        if (pid == 0)
                _exit(0);
        return RESULT(pid);
}

static int attack_socket_inet(void)
{
        return RESULT(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int attack_socket_unix(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return errno;
        return RESULT(connect(fd, (const struct sockaddr *)&world.address, world.n_address));
}

static int attack_socket_netlink(void)
{
        return RESULT(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int attack_socket_packet(void)
{
        return RESULT(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int attack_socket_alg(void)
{
        return RESULT(socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

static int attack_listen(void)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return errno;
        return bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : RESULT(listen(fd, 1));
}

static int attack_read_shadow(void)
{
        return RESULT(open("/etc/shadow", O_RDONLY | O_CLOEXEC));
}

static int attack_read_environ(void)
{
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/environ", world.victim);
        return RESULT(open(path, O_RDONLY | O_CLOEXEC));
}

static int attack_write_canary(void)
{
        return RESULT(open("/run/canary", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int attack_other_state(void)
{
        static const char *const paths[] = {WORLD_DIR "/state/logd", "/state/../../state/logd", "/logd"};
        int r = ENOENT;
        for (size_t i = 0; r && i < ARRAY_SIZE(paths); i++)
                r = RESULT(open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        return r;
}

static int attack_dotdot(void)
{
        int fd = open("/state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                fd = open(WORLD_DIR "/state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? errno : RESULT(openat(fd, "../../../../../etc/shadow", O_RDONLY | O_CLOEXEC));
}

static int attack_mount(void)
{
        return RESULT(mount("x", "/run", "tmpfs", 0, NULL));
}

static int attack_umount(void)
{
        return RESULT(umount2("/run", MNT_DETACH));
}

static int attack_open_tree(void)
{
        return RESULT(open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
}

static int attack_fsopen(void)
{
        return RESULT(fsopen("tmpfs", FSOPEN_CLOEXEC));
}

static int attack_unshare_user(void)
{
        return RESULT(unshare(CLONE_NEWUSER));
}

static int attack_clone_user(void)
{
        long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
                _exit(0);
        return RESULT(pid);
}

static int attack_setns(void)
{
        return RESULT(setns(world.namespace_fd, 0));
}

static int attack_chroot(void)
{
        return RESULT(chroot("/"));
}

/* As another process than one's own: root wants to be nobody, others want to be root. */
static int attack_setuid(void)
{
        uid_t uid = geteuid() == 0 ? 65534 : 0;
        return RESULT(syscall(SYS_setresuid, uid, uid, uid));
}

static int attack_capset(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        uint64_t all = (UINT64_C(1) << CAP_SYS_MODULE) | (UINT64_C(1) << CAP_SYS_RAWIO);
        struct __user_cap_data_struct data[2] = {{(uint32_t)all, (uint32_t)all, 0}, {(uint32_t)(all >> 32), (uint32_t)(all >> 32), 0}};
        return RESULT(syscall(SYS_capset, &header, data));
}

static int attack_securebits(void)
{
        return RESULT(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0));
}

static int attack_ptrace(void)
{
        return RESULT(ptrace(PTRACE_SEIZE, world.victim, 0, 0));
}

static int attack_write_memory(void)
{
        static char byte;
        struct iovec local = {&byte, 1}, remote = {&byte, 1};
        return RESULT(process_vm_writev(world.victim, &local, 1, &remote, 1, 0));
}

static int attack_steal_fd(void)
{
        return RESULT(syscall(SYS_pidfd_getfd, world.pidfd, 0, 0));
}

static int attack_kill(void)
{
        return RESULT(kill(world.victim, 0));
}

static int attack_kill_all(void)
{
        return RESULT(kill(-1, 0));
}

static int attack_mmap_exec(void)
{
        return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int attack_mprotect_exec(void)
{
        return RESULT(mprotect(world.page, 4096, PROT_READ | PROT_EXEC));
}

static int attack_bpf(void)
{
        struct {
                uint32_t type, key_size, value_size, max_entries, rest[28];
        } attributes = {2, 4, 4, 1, {0}};
        return RESULT(syscall(SYS_bpf, 0, &attributes, sizeof(attributes)));
}

static int attack_perf(void)
{
        struct {
                uint32_t type, size;
                uint64_t config, rest[14];
        } attributes = {1, 128, 0, {0}};
        return RESULT(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

static int attack_io_uring(void)
{
        uint64_t parameters[15] = {0};
        return RESULT(syscall(SYS_io_uring_setup, 1, parameters));
}

static int attack_userfaultfd(void)
{
        return RESULT(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static int attack_keyctl(void)
{
        return RESULT(syscall(SYS_keyctl, 0, -4, 1));
}

static int attack_add_key(void)
{
        return RESULT(syscall(SYS_add_key, "user", "bulkhead-test", "x", 1, -1));
}

static int attack_file_handle(void)
{
        struct {
                uint32_t bytes;
                int32_t type;
                uint8_t handle[128];
        } handle = {.bytes = 128};
        int mount_id;
        return RESULT(syscall(SYS_name_to_handle_at, AT_FDCWD, "/run", &handle, &mount_id, 0));
}

static int attack_fanotify(void)
{
        return RESULT(syscall(SYS_fanotify_init, 0, O_RDONLY));
}

static int attack_block_device(void)
{
        (void)unlink("/run/device");
        return RESULT(mknod("/run/device", S_IFBLK | 0600, makedev(7, 0)));
}

static int attack_tiocsti(void)
{
        return RESULT(ioctl(world.tty_fd, TIOCSTI, "x"));
}

static int attack_sysctl(void)
{
        return RESULT(open("/proc/sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC));
}

static int attack_cgroup(void)
{
        int fd = open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC);
        return fd >= 0 ? 0 : RESULT(open("/sys/fs/cgroup/unified/cgroup.procs", O_WRONLY | O_CLOEXEC));
}

static int attack_module(void)
{
        return RESULT(syscall(SYS_init_module, NULL, 0, ""));
}

static int attack_kexec(void)
{
        return RESULT(syscall(SYS_kexec_load, 0, 17, NULL, 0));
}

static int attack_reboot(void)
{
        return RESULT(syscall(SYS_reboot, 0, 0, 0, NULL));
}

static int attack_swapon(void)
{
        return RESULT(syscall(SYS_swapon, "/nonexistent", 0));
}

static int attack_settime(void)
{
        return RESULT(syscall(SYS_settimeofday, NULL, NULL));
}

static int attack_acct(void)
{
        return RESULT(syscall(SYS_acct, "/nonexistent"));
}

static int attack_syslog(void)
{
        return RESULT(syscall(SYS_syslog, 10, NULL, 0));
}

static int attack_memory(void)
{
        return mmap(NULL, UINT64_C(10) << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED
                       ? errno
                       : 0;
}

static int attack_files(void)
{
        for (int i = 0; i < 18000; i++)
                if (fcntl(0, F_DUPFD_CLOEXEC, 0) < 0)
                        return errno;
        return 0;
}

#ifdef __x86_64__
/* getpid of i386. */
static int attack_int80(void)
{
        long r = 20;
        __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
        return r < 0 ? (int)-r : 0;
}
#endif

#define ROW(id) (UINT64_C(1) << POLICY_##id)
/* Root hands that build things on the host: files and mounts are what they are for. */
#define SETUPS (ROW(SANDBOXD_SETUP) | ROW(CONTAINERD_SETUP))
#define BUILDERS (SETUPS | ROW(IMAGED_TREE))
#define FORKERS (BUILDERS | ROW(IMAGED_FETCH) | ROW(IMAGED_PARSE))
#define NETWORK (ROW(IMAGED_FETCH) | ROW(FETCH_CHILD))

typedef struct Attack {
        const char *name;
        int (*run)(void);
        uint64_t by_design;   /* rows for which this is no attack */
        int control_errno;    /* the twin reaches the kernel's own check, which refuses with this; 0: it succeeds */
        int control_errno_2;
} Attack;

static const Attack attacks[] = {
        {"B01 execve", attack_exec, 0, 0, 0},
        {"B01 execveat", attack_exec_fd, 0, 0, 0},
        {"B02 fork", attack_fork, FORKERS, 0, 0},
        {"B02 clone3", attack_clone3, 0, 0, 0},
        {"B03 internet socket", attack_socket_inet, NETWORK | ROW(SANDBOXD_SETUP), 0, 0},
        {"B04 netlink socket", attack_socket_netlink, ROW(SANDBOXD_SETUP), 0, 0},
        {"B04 packet socket", attack_socket_packet, 0, 0, 0},
        {"B04 crypto socket", attack_socket_alg, 0, EAFNOSUPPORT, 0},
        {"B05 listen", attack_listen, 0, 0, 0},
        {"B06 read /etc/shadow", attack_read_shadow, SETUPS, 0, 0},
        {"B06 read an environment", attack_read_environ, SETUPS, 0, 0},
        {"B07 write a file of the host", attack_write_canary, SETUPS, 0, 0},
        {"B08 state of another process", attack_other_state, SETUPS, 0, 0},
        {"B09 out by ..", attack_dotdot, SETUPS, 0, 0},
        {"B10 mount", attack_mount, BUILDERS, 0, 0},
        {"B10 umount", attack_umount, BUILDERS, 0, 0},
        {"B10 open_tree", attack_open_tree, BUILDERS, 0, 0},
        {"B10 fsopen", attack_fsopen, BUILDERS, 0, 0},
        {"B11 unshare a user namespace", attack_unshare_user, BUILDERS, 0, 0},
        {"B11 clone a user namespace", attack_clone_user, BUILDERS, 0, 0},
        {"B11 setns", attack_setns, BUILDERS, 0, 0},
        {"B11 chroot", attack_chroot, ROW(IMAGED_TREE) | ROW(SANDBOXD_SETUP), 0, 0},
        {"B12 change user", attack_setuid, BUILDERS, 0, 0},
        {"B12 raise capabilities", attack_capset, 0, 0, 0},
        {"B12 clear securebits", attack_securebits, 0, 0, 0},
        {"B13 ptrace", attack_ptrace, 0, 0, 0},
        {"B13 write another's memory", attack_write_memory, 0, 0, 0},
        {"B13 steal an fd", attack_steal_fd, 0, 0, 0},
        {"B14 signal a process of root", attack_kill, BUILDERS, 0, 0},
        {"B14 signal everybody", attack_kill_all, BUILDERS, 0, 0},
        {"B15 executable memory", attack_mmap_exec, 0, 0, 0},
        {"B15 memory made executable", attack_mprotect_exec, 0, 0, 0},
        {"B16 bpf", attack_bpf, 0, 0, 0},
        {"B16 perf_event_open", attack_perf, 0, 0, ENOENT},
        {"B16 io_uring", attack_io_uring, 0, 0, EPERM},
        {"B16 userfaultfd", attack_userfaultfd, 0, 0, 0},
        {"B16 keyctl", attack_keyctl, 0, 0, 0},
        {"B16 add_key", attack_add_key, 0, 0, EDQUOT},
        {"B17 file handles", attack_file_handle, 0, 0, 0},
        {"B17 fanotify", attack_fanotify, 0, 0, 0},
        {"B18 block device", attack_block_device, ROW(CONTAINERD_SETUP), 0, 0},
        {"B18 TIOCSTI", attack_tiocsti, 0, 0, EIO},
        {"B19 sysctl of the host", attack_sysctl, SETUPS, 0, 0},
        {"B19 cgroups of the host", attack_cgroup, SETUPS, 0, 0},
        {"B20 abstract socket", attack_socket_unix, 0, 0, 0},
        {"B21 module", attack_module, 0, EFAULT, ENOEXEC},
        {"B21 kexec", attack_kexec, 0, EINVAL, 0},
        {"B21 reboot", attack_reboot, 0, EINVAL, 0},
        {"B21 swapon", attack_swapon, 0, ENOENT, 0},
        {"B21 time", attack_settime, 0, 0, 0},
        {"B21 accounting", attack_acct, 0, ENOENT, 0},
        {"B21 kernel log", attack_syslog, 0, 0, 0},
        {"B22 10 GiB of memory", attack_memory, 0, 0, 0},
        {"B22 18000 files", attack_files, 0, 0, 0},
#ifdef __x86_64__
        {"B23 a call of i386", attack_int80, 0, 0, 0},
#endif
};

#define EXIT_SUCCEEDED 200
#define EXIT_NOT_ENTERED 201

static int attack_outcome(const Attack *attack, PolicyId id)
{
        int status;

        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
                /* What a mount does stays with this child. */
                if (unshare(CLONE_NEWNS) < 0 || (id < POLICY_N && world_enter(id, &world.config) != 0))
                        _exit(EXIT_NOT_ENTERED);
                int error = attack->run();
                _exit(error == 0 ? EXIT_SUCCEEDED : error);
        }
        assert_eq_int(waitpid(pid, &status, 0), pid);
        return status;
}

/* true if the attack can work on this machine at all. */
static bool attack_control(const Attack *attack)
{
        int status = attack_outcome(attack, POLICY_N);
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        bool exec = str_has_prefix(attack->name, "B01");

        if (code == ENOSYS || (code == EPERM && attack->run == attack_bpf)) {
                printf("  %s: this kernel does not have it\n", attack->name);
                return false;
        }
        if (exec ? code == 0 : code == EXIT_SUCCEEDED)
                return true;
        if (code > 0 && (code == attack->control_errno || code == attack->control_errno_2))
                return true;
        /* Raising CAP_SYS_RAWIO, or 18000 files, cannot be shown where the test itself may not. */
        if (attack->run == attack_files && code == EMFILE)
                return false;
        test_fail("%s: the twin without a policy gets status %#x (%s)", attack->name, status,
                  code > 0 && code < EXIT_SUCCEEDED ? strerror(code) : "");
}

static void attack_all_rows(const Attack *attack)
{
        size_t n_killed = 0, n_refused = 0, n_design = 0;

        if (!attack_control(attack))
                return;
        for (PolicyId id = 0; id < POLICY_N; id++) {
                if (!policy_rows[id].confined)
                        continue;
                int status = attack_outcome(attack, id);
                bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
                int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

                if (code == EXIT_NOT_ENTERED)
                        test_fail("%s cannot be entered", policy_rows[id].name);
                if (attack->by_design & UINT64_C(1) << id) {
                        n_design++;
                        continue;
                }
                if (!killed && (code <= 0 || code == EXIT_SUCCEEDED))
                        test_fail("%s from %s: status %#x", attack->name, policy_rows[id].name, status);
                n_killed += killed;
                n_refused += !killed;
        }
        printf("ok %s: %zu killed, %zu refused, %zu by design\n", attack->name, n_killed, n_refused, n_design);
}

static void world_prepare(void)
{
        world_make(&world.config);
        world.unix_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        world.address.sun_family = AF_UNIX;
        assert_ok(bind(world.unix_fd, (struct sockaddr *)&world.address, sizeof(sa_family_t))); /* the kernel finds a name */
        world.n_address = sizeof(world.address);
        assert_ok(getsockname(world.unix_fd, (struct sockaddr *)&world.address, &world.n_address));
        assert_ok(listen(world.unix_fd, 128));
        world.namespace_fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
        world.tty_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        world.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(world.namespace_fd >= 0 && world.tty_fd >= 0 && world.page != MAP_FAILED);
        world.victim = fork();
        if (world.victim == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
                for (;;)
                        (void)pause();
        }
        world.pidfd = (int)syscall(SYS_pidfd_open, world.victim, 0);
        assert_true(world.pidfd >= 0);
}

int main(void)
{
        world_prepare();
        for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
                attack_all_rows(&attacks[i]);
        (void)kill(world.victim, SIGKILL);
        (void)waitpid(world.victim, NULL, 0);
        return 0;
}
