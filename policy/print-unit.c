/* SPDX-License-Identifier: Apache-2.0 */

/* Units start a process as root, and it enters its row itself. A unit may therefore only take away what neither the row nor
 * entering it needs. A spawner's unit takes away nothing: all of it would be inherited by OCI runtimes, plugins and containers. A
 * unit of the host's mount namespace has nothing that would make one of its own (tests/units greps). System call filters are
 * the process's own, which are narrower than any that systemd could set for it. */

#include "lib/strings.h"
#include "policy/print.h"
#include <sched.h>
#include <stdio.h>

#define UNIT_CONTROL "/run/bulkhead/control"

/* linkd-start is what there is instead of systemd, a shim is started by containerd-launch. */
static bool unit_is_made(ProcessId p)
{
        return p != PROCESS_LINKD_START && p != PROCESS_CONTAINERD_SHIM;
}

static void unit_list(const char *key, const char *before, const char *after, bool with_linkd)
{
        for (ProcessId p = 0; p < PROCESS_N; p++)
                if (unit_is_made(p) && (with_linkd || p != PROCESS_LINKD))
                        printf("%s=%s%s%s\n", key, before, topology_processes[p].name, after);
}

void print_target(void)
{
        printf("# Made by policy-print target.\n[Unit]\nDescription=Bulkhead, a Kubernetes container runtime\n"
               "Wants=bulkhead-shims.service\nWants=bulkhead-apparmor.service\n");
        unit_list("Wants", "bulkhead-", ".service", true);
        printf("# linkd is active when all are ready.\nAfter=bulkhead-linkd.service\n\n[Install]\nWantedBy=multi-user.target\n");
}

void print_control_socket(void)
{
        printf("# Made by policy-print control: one socket per process, to which it alone connects; linkd's own is for its reload.\n"
               "[Unit]\nDescription=Bulkhead: control sockets of the processes\nPartOf=bulkhead.target\n\n[Socket]\n");
        for (ProcessId p = 0; p < PROCESS_N; p++)
                if (unit_is_made(p))
                        printf("ListenSequentialPacket=" UNIT_CONTROL "/%s\n", topology_processes[p].name);
        printf("SocketMode=0600\nDirectoryMode=0700\nFileDescriptorName=control\nService=bulkhead-linkd.service\n"
               "RemoveOnStop=yes\n");
}

static void unit_linkd(void)
{
        printf("Type=notify\nNotifyAccess=main\n# Active when all processes are ready, whenever that is.\nTimeoutStartSec=infinity\n"
               "Sockets=bulkhead.socket bulkhead-stream.socket bulkhead-control.socket\nNonBlocking=yes\n"
               "# What outlives linkd: its memory, the lock, the CA bundle, its ends of the control channels.\n"
               "FileDescriptorStoreMax=128\n"
               "ExecReload=@libexecdir@/bulkhead-linkd-start --reload\n");
}

static void unit_confined(ProcessId p, const PolicyRow *row)
{
        printf("NoNewPrivileges=yes\nLimitCORE=0\nLimitNOFILE=%u\nUMask=0077\nOOMScoreAdjust=-900\n", row->n_files);
        if (p == PROCESS_LINKD)
                printf("# CHOWN, DAC_OVERRIDE and FOWNER make the directories; by SYS_RESOURCE it learns what it may tell others to do.\n");
        printf("CapabilityBoundingSet=" PRINT_ENTER_CAPABILITIES "%s",
               p == PROCESS_LINKD ? " CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_RESOURCE" : "");
        if (row->capabilities) {
                printf(" ");
                print_capabilities(row, "CAP_", " ");
        }
        printf("\nAmbientCapabilities=\n");
        if (row->user == POLICY_USER_OWN)
                printf("DevicePolicy=closed\n");
        /* linkd makes the listener for streams where no socket unit does, and its sockets are its cgroup's wherever they are. */
        if (row->namespaces & CLONE_NEWNET && p != PROCESS_STREAMD && p != PROCESS_LINKD)
                printf("IPAddressDeny=any\n");
        if (p == PROCESS_SANDBOXD_SETUP)
                printf("# The init of a pod that shares its process namespace is a fork of this one, and outlives it.\n"
                       "KillMode=process\n");
}

int print_unit(const char *name)
{
        ProcessId p = 0;

        while (p < PROCESS_N && !str_equal(topology_processes[p].name, name))
                p++;
        if (p == PROCESS_N || !unit_is_made(p)) {
                fprintf(stderr, "policy-print: there is no unit of %s\n", name);
                return 2;
        }
        const PolicyRow *row = &policy_rows[p];
        bool linkd = p == PROCESS_LINKD;
        printf("# Made by policy-print unit %s, from its row in policy/table.c.\n[Unit]\nDescription=Bulkhead: %s\n", name, name);
        printf("PartOf=bulkhead.target\nRequires=bulkhead-control.socket%s\nAfter=bulkhead-control.socket%s\n",
               linkd ? " bulkhead.socket" : "", linkd ? " bulkhead.socket bulkhead-stream.socket" : "");
        if (linkd) {
                printf("Wants=bulkhead-stream.socket bulkhead.target\n");
                unit_list("Wants", "bulkhead-kill@", ".socket", false);
                unit_list("After", "bulkhead-kill@", ".socket", false);
        } else {
                printf("# All stop before linkd starts: started as a whole, it reads the configuration anew.\nBefore=bulkhead-linkd.service\n");
        }
        if (p == PROCESS_STREAMD)
                printf("# Restarted as a whole: the port is free only when this one has stopped, too.\nAfter=bulkhead-stream.socket\n");
        if (p == PROCESS_CONTAINERD_LAUNCH)
                printf("Wants=bulkhead-shims.service\nAfter=bulkhead-shims.service\n");
        printf("StartLimitIntervalSec=0\n\n[Service]\n");
        if (linkd) {
                unit_linkd();
        } else {
                printf("Type=exec\n");
        }
        printf("ExecStart=@libexecdir@/bulkhead-%s\n", name);
        printf("Environment=BULKHEAD_CONTROL=" UNIT_CONTROL "\nRestart=always\nRestartSec=100ms\nTimeoutStopSec=20\n");
        if (row->confined)
                unit_confined(p, row);
        else
                printf("# A spawner: no directive that what it starts would inherit.\nKillMode=process\nOOMPolicy=continue\n"
                       "TasksMax=infinity\n");
        return 0;
}
