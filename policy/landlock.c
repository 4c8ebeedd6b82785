/* SPDX-License-Identifier: Apache-2.0 */

/* By plain system calls: the headers of Debian 12 end at ABI 3. Numbers: landlock(7), include/uapi/linux/landlock.h. */

#include "policy/landlock.h"
#include "lib/error.h"
#include <fcntl.h>
#include <sys/syscall.h>

#define LANDLOCK_VERSION_FLAG 1u
#define LANDLOCK_RULE_BENEATH 1u

#define LANDLOCK_FS_ABI1 UINT64_C(0x1fff)
#define LANDLOCK_FS_REFER (UINT64_C(1) << 13)     /* ABI 2 */
#define LANDLOCK_FS_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define LANDLOCK_FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define LANDLOCK_NET_BIND (UINT64_C(1) << 0)      /* ABI 4 */
#define LANDLOCK_NET_CONNECT (UINT64_C(1) << 1)
#define LANDLOCK_SCOPE_ABSTRACT (UINT64_C(1) << 0) /* ABI 6 */
#define LANDLOCK_SCOPE_SIGNAL (UINT64_C(1) << 1)

typedef struct LandlockRuleset {
        uint64_t fs;
        uint64_t net;
        uint64_t scoped;
} LandlockRuleset;

typedef struct __attribute__((packed)) LandlockBeneath {
        uint64_t allowed;
        int32_t fd;
} LandlockBeneath;

/* 0 where there is none. */
static int landlock_abi(void)
{
        long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION_FLAG);
        return abi < 0 ? 0 : (int)abi;
}

static uint64_t landlock_fs(int abi)
{
        uint64_t fs = LANDLOCK_FS_ABI1;

        if (abi >= 2)
                fs |= LANDLOCK_FS_REFER;
        if (abi >= 3)
                fs |= LANDLOCK_FS_TRUNCATE;
        if (abi >= 5)
                fs |= LANDLOCK_FS_IOCTL_DEV;
        return fs;
}

static int landlock_allow(int ruleset_fd, const char *path, uint64_t fs)
{
        _cleanup_fd_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_origin(negative_errno());

        const LandlockBeneath beneath = {.allowed = fs, .fd = fd};
        if (syscall(SYS_landlock_add_rule, ruleset_fd, LANDLOCK_RULE_BENEATH, &beneath, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}

int landlock_enter(const PolicyRow *row, const ConfigCommon *config)
{
        int abi = row->landlock == POLICY_LANDLOCK_NONE ? 0 : landlock_abi();
        if (abi == 0)
                return 0;

        LandlockRuleset attributes = {.fs = landlock_fs(abi)};
        size_t size = sizeof(attributes.fs);
        if (abi >= 4) {
                attributes.net = LANDLOCK_NET_BIND;
                if (row->landlock != POLICY_LANDLOCK_CONNECT)
                        attributes.net |= LANDLOCK_NET_CONNECT;
                size += sizeof(attributes.net);
        }
        if (abi >= 6) {
                attributes.scoped = LANDLOCK_SCOPE_ABSTRACT | LANDLOCK_SCOPE_SIGNAL;
                size += sizeof(attributes.scoped);
        }

        _cleanup_fd_ int fd = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
        if (fd < 0)
                return error_origin(negative_errno());
        for (size_t i = 0; row->landlock == POLICY_LANDLOCK_STATE && row->directories[i].place != POLICY_PLACE_NONE; i++) {
                char path[CONFIG_PATH_MAX * 2];
                int r = policy_directory_target(row, i, config, path);
                if (r == 0)
                        r = landlock_allow(fd, path, attributes.fs & ~LANDLOCK_FS_IOCTL_DEV);
                if (r)
                        return fold(r);
        }
        if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
                return error_origin(negative_errno());
        return 0;
}
