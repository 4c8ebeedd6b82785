/* SPDX-License-Identifier: Apache-2.0 */

/* The one order that works: what needs capabilities first, then the user, then the capabilities, then what an unprivileged
 * process can do to itself, the filter last (nothing after it needs a system call that the filter forbids). */

#include "lib/error.h"
#include "policy/capability.h"
#include "policy/landlock.h"
#include "policy/root.h"
#include "policy/rows.h"
#include <grp.h>
#include <linux/seccomp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static int policy_limit(int resource, rlim_t value)
{
        struct rlimit limit;

        if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
                return error_origin(negative_errno());
        /* Never upwards: without CAP_SYS_RESOURCE that is refused, and what was inherited is what there is. */
        limit.rlim_cur = limit.rlim_max = MIN2(limit.rlim_max, value);
        return setrlimit((__rlimit_resource_t)resource, &limit) < 0 ? error_origin(negative_errno()) : 0;
}

static int policy_enter_limits(const PolicyRow *row)
{
        int r = policy_limit(RLIMIT_CORE, 0);
        if (r == 0)
                r = policy_limit(RLIMIT_NOFILE, row->n_files);
        if (r == 0)
                r = policy_limit(RLIMIT_DATA, (rlim_t)row->memory_mib << 20);
        if (r == 0 && row->n_processes > 0)
                r = policy_limit(RLIMIT_NPROC, row->n_processes);
        if (r == 0 && row->cpu_sec > 0)
                r = policy_limit(RLIMIT_CPU, row->cpu_sec);
        return r ? fold(r) : 0;
}

static int policy_enter_namespaces(const PolicyRow *row, const ConfigCommon *config)
{
        int r = 0;

        if (row->namespaces && unshare(row->namespaces) < 0)
                return error_origin(negative_errno());
        switch (row->root) {
        case POLICY_ROOT_HOST:
        case POLICY_ROOT_KEEP:
                break;
        case POLICY_ROOT_FRESH:
                r = root_enter_fresh(row, config);
                break;
        case POLICY_ROOT_EMPTY:
                r = root_enter_empty(config);
                break;
        }
        return r ? fold(r) : 0;
}

/* Being root means nothing any more, and none of it can be undone: securebits as in capabilities(7). */
static int policy_enter_securebits(void)
{
        unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |
                             SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
        int now = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);

        if (now == (int)bits)
                return 0; /* a child of a process that did it */
        return prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0 ? error_origin(negative_errno()) : 0;
}

/* What of the row there is at all: root of a nested node or of a container may lack some. */
static int policy_enter_capabilities(const PolicyRow *row, uint64_t *ret)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2];

        if (syscall(SYS_capget, &header, data) < 0)
                return error_origin(negative_errno());
        *ret = row->capabilities & (data[0].permitted | (uint64_t)data[1].permitted << 32);
        return 0;
}

static int policy_enter_user(const PolicyRow *row, uint32_t uid)
{
        uint64_t capabilities = 0;
        int r = policy_enter_capabilities(row, &capabilities);
        if (r == 0)
                r = capability_bound(capabilities);
        if (r == 0)
                r = policy_enter_securebits();
        if (r)
                return fold(r);
        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                return error_origin(negative_errno());
        r = capability_set(capabilities);
        return r ? fold(r) : 0;
}

static int policy_enter_filter(PolicyId id)
{
        const PolicyFilter *filter = &policy_filters[id];
        const struct sock_fprog program = {
                .len = filter->n,
                .filter = (struct sock_filter *)(uintptr_t)filter->code,
        };

        if (!policy_rows[id].seccomp)
                return 0;
        if (filter->n == 0)
                return error_origin(-ENOSYS);
        return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? error_origin(negative_errno()) : 0;
}

static int policy_enter_row(PolicyId id, const ConfigCommon *config, uint32_t uid)
{
        const PolicyRow *row = &policy_rows[id];
        int r;

        if (!row->confined)
                return 0;
        r = policy_enter_limits(row);
        if (r == 0)
                r = policy_enter_namespaces(row, config);
        /* A child of a process that has dropped its user already keeps what it has: nothing. */
        if (r == 0 && (geteuid() == 0 || geteuid() != uid))
                r = policy_enter_user(row, uid);
        if (r)
                return fold(r);
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return error_origin(negative_errno());
        r = landlock_enter(row, config);
        if (r == 0)
                r = policy_enter_filter(id);
        return r ? fold(r) : 0;
}

int policy_enter(PolicyId id, const ConfigCommon *config)
{
        const PolicyRow *row = &policy_rows[id];
        int r;

        if (row->confined && row->user == POLICY_USER_GIVEN)
                return error_origin(-EINVAL);
        r = policy_enter_row(id, config, row->user == POLICY_USER_OWN ? policy_user(config, row->process) : 0);
        return r ? fold(r) : 0;
}

int policy_enter_as(PolicyId id, const ConfigCommon *config, uint32_t uid)
{
        if (policy_rows[id].user != POLICY_USER_GIVEN)
                return error_origin(-EINVAL);
        int r = policy_enter_row(id, config, uid);
        return r ? fold(r) : 0;
}
