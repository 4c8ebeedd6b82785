/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A scratch node for the tests that really enter rows: root needed, everything in a mount namespace of its own. */

#include "lib/test.h"
#include "policy/rows.h"
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WORLD_DIR "/run/bulkhead-policy-test"

static inline void world_make(ConfigCommon *config)
{
        static const char *const names[] = {"", "/state", "/run", "/run/empty", "/state/layers", "/state/writable",
                                            "/state/imports", "/state/import"};

#if defined(__SANITIZE_ADDRESS__)
        test_skip("a sanitizer needs system calls that no policy allows");
#endif
        if (POLICY_LOG)
                test_skip("this build logs what it should kill for");
        if (geteuid() != 0)
                test_skip("entering a policy needs root");
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("world", "/run", "tmpfs", MS_NOSUID, "mode=755") < 0)
                test_skip("no mount namespace can be made here: %s", strerror(errno));
        *config = (ConfigCommon){.user_base = 1879048192, .state_dir = WORLD_DIR "/state", .runtime_dir = WORLD_DIR "/run"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[CONFIG_PATH_MAX];
                (void)snprintf(path, sizeof(path), "%s%s", WORLD_DIR, names[i]);
                assert_ok(mkdir(path, 0755));
        }
        for (ProcessId p = 0; p < PROCESS_N; p++) {
                char path[CONFIG_PATH_MAX];
                (void)snprintf(path, sizeof(path), "%s/state/%s", WORLD_DIR, topology_processes[p].name);
                assert_ok(mkdir(path, 0700));
                assert_ok(chown(path, policy_user(config, p), policy_user(config, p)));
        }
}

/* The confined process whose child this row is for, or NULL: it is entered first, as in life. */
static inline const PolicyRow *world_parent(PolicyId id)
{
        const PolicyRow *parent = &policy_rows[policy_rows[id].process];
        return id >= (PolicyId)PROCESS_N && parent->confined ? parent : NULL;
}

/* As the row's process does it; the shim and the jail get the user that their starters give them, and the jail a root that
 * is one layer. */
static inline int world_enter(PolicyId id, const ConfigCommon *config)
{
        const PolicyRow *parent = world_parent(id);
        int r = parent ? policy_enter((PolicyId)parent->process, config) : 0;

        if (r == 0 && id == POLICY_TREE_JAIL && (chroot(WORLD_DIR "/state/layers") < 0 || chdir("/") < 0))
                r = -errno;
        if (r)
                return r;
        if (policy_rows[id].user != POLICY_USER_GIVEN)
                return policy_enter(id, config);
        return policy_enter_as(id, config, policy_rows[id].capabilities ? 0 : config->user_base + 1024);
}
