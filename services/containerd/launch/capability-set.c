/* SPDX-License-Identifier: Apache-2.0 */
/* Runs only in the confined child of launch; containerd, which is confined too, uses it as well. */

#include "services/containerd/launch/capability-set.h"

#include <strings.h>

/* In the order of linux/capability.h. */
static const char *const capability_set_names[CAPABILITY_SET_N] = {
        "CAP_CHOWN",          "CAP_DAC_OVERRIDE",   "CAP_DAC_READ_SEARCH", "CAP_FOWNER",
        "CAP_FSETID",         "CAP_KILL",           "CAP_SETGID",          "CAP_SETUID",
        "CAP_SETPCAP",        "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN",      "CAP_NET_RAW",        "CAP_IPC_LOCK",        "CAP_IPC_OWNER",
        "CAP_SYS_MODULE",     "CAP_SYS_RAWIO",      "CAP_SYS_CHROOT",      "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT",      "CAP_SYS_ADMIN",      "CAP_SYS_BOOT",        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",   "CAP_SYS_TIME",       "CAP_SYS_TTY_CONFIG",  "CAP_MKNOD",
        "CAP_LEASE",          "CAP_AUDIT_WRITE",    "CAP_AUDIT_CONTROL",   "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE",   "CAP_MAC_ADMIN",      "CAP_SYSLOG",          "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND",  "CAP_AUDIT_READ",     "CAP_PERFMON",         "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
};

static const char *const capability_set_defaults[] = {
        "CHOWN",  "DAC_OVERRIDE", "FSETID",           "FOWNER",     "MKNOD", "NET_RAW",     "SETGID",
        "SETUID", "SETFCAP",      "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL",  "AUDIT_WRITE",
};

const char *capability_set_name(unsigned bit)
{
        return capability_set_names[bit];
}

bool capability_set_add(CapabilitySet *set, const char *name)
{
        if (strncasecmp(name, "CAP_", 4) == 0)
                name += 4;
        for (unsigned i = 0; i < CAPABILITY_SET_N; i++)
                if (strcasecmp(capability_set_names[i] + 4, name) == 0) {
                        *set |= UINT64_C(1) << i;
                        return true;
                }
        return false;
}

CapabilitySet capability_set_default(void)
{
        CapabilitySet set = 0;
        for (size_t i = 0; i < ARRAY_SIZE(capability_set_defaults); i++)
                (void)capability_set_add(&set, capability_set_defaults[i]);
        return set;
}

static bool capability_set_has_all(char *const *names, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(names[i], "ALL") == 0)
                        return true;
        return false;
}

static CapabilitySet capability_set_named(char *const *names, size_t n)
{
        CapabilitySet set = 0;
        for (size_t i = 0; i < n; i++)
                (void)capability_set_add(&set, names[i]);
        return set;
}

CapabilitySet capability_set_allowed(const Runtime__V1__Capability *request)
{
        CapabilitySet set = capability_set_default();
        if (!request)
                return set;
        if (capability_set_has_all(request->add_capabilities, request->n_add_capabilities))
                set = CAPABILITY_SET_ALL;
        if (capability_set_has_all(request->drop_capabilities, request->n_drop_capabilities))
                set = 0;
        set |= capability_set_named(request->add_capabilities, request->n_add_capabilities);
        set |= capability_set_allowed_ambient(request);
        return set & ~capability_set_named(request->drop_capabilities, request->n_drop_capabilities);
}

CapabilitySet capability_set_allowed_ambient(const Runtime__V1__Capability *request)
{
        if (!request)
                return 0;
        if (capability_set_has_all(request->add_ambient_capabilities, request->n_add_ambient_capabilities))
                return CAPABILITY_SET_ALL;
        return capability_set_named(request->add_ambient_capabilities, request->n_add_ambient_capabilities);
}
