/* SPDX-License-Identifier: Apache-2.0 */
#include "services/sandboxd/sysctl.h"

#include "ipc/seal.h"

/* A sysctl of a namespace that the pod shares with the host is the host's own: setting it for a pod would set it for the
 * node (CVE-2022-0532). And a value is one value: CVE-2022-0811 passed "a+kernel.core_pattern=…" through a helper that
 * split at the plus sign. Here names and values are separate fields from the request to the write, and what could ever be
 * a separator to somebody is no part of the grammar. */

/* Paths as in namespaces(7) and the kernel's ipc/ipc_sysctl.c, ipc/mq_sysctl.c. Of net/ the kernel shows in a network
 * namespace of its own only what belongs to that namespace (net/sysctl_net.c). */
static const struct {
        const char *path; /* ends in a slash: everything beneath */
        uint32_t host_flag;
        const char *name_of_namespace;
} sysctl_table[] = {
        {"net/", PERMIT_FLAG_HOST_NETWORK, "network"},
        {"fs/mqueue/", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/msgmax", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/msgmnb", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/msgmni", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/sem", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/shmall", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/shmmax", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/shmmni", PERMIT_FLAG_HOST_IPC, "IPC"},
        {"kernel/shm_rmid_forced", PERMIT_FLAG_HOST_IPC, "IPC"},
};

/* Fills the path; false if the name is not one. */
static bool sysctl_path(const char *name, char path[SYSCTL_NAME_MAX])
{
        size_t n = strnlen(name, SYSCTL_NAME_MAX);
        if (n == 0 || n >= SYSCTL_NAME_MAX)
                return false;
        const char *first = strpbrk(name, "./");
        if (!first)
                return false;
        char separator = *first;
        size_t n_component = 0;
        bool only_dots = true;
        for (size_t i = 0; i <= n; i++) {
                char c = name[i];
                if (c == separator || c == '\0') {
                        if (n_component == 0 || only_dots)
                                return false;
                        path[i] = c == '\0' ? '\0' : '/';
                        n_component = 0;
                        only_dots = true;
                        continue;
                }
                bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                             c == '-';
                if (!plain && !(c == '.' && separator == '/'))
                        return false;
                only_dots = only_dots && c == '.';
                n_component++;
                path[i] = c;
        }
        return true;
}

static bool sysctl_value_is_valid(const char *value)
{
        size_t n = strnlen(value, SYSCTL_VALUE_MAX);
        if (n == 0 || n >= SYSCTL_VALUE_MAX)
                return false;
        for (size_t i = 0; i < n; i++) {
                char c = value[i];
                if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      strchr("_ \t.,:-", c)))
                        return false;
        }
        return true;
}

int sysctl_check(const char *name, const char *value, uint32_t permit_flags, char ret_path[SYSCTL_NAME_MAX],
                 Refusal *refusal)
{
        char path[SYSCTL_NAME_MAX];
        if (!sysctl_path(name, path))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "sysctl \"%.128s\": not a sysctl's name; write it like net.core.somaxconn", name);
        if (!sysctl_value_is_valid(value))
                return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                   "sysctl %s: the value is empty, longer than %d bytes or has characters other than "
                                   "letters, digits, space and _ . , : -",
                                   name, SYSCTL_VALUE_MAX - 1);
        for (size_t i = 0; i < ARRAY_SIZE(sysctl_table); i++) {
                const char *row = sysctl_table[i].path;
                size_t n = strlen(row);
                if (row[n - 1] == '/' ? strncmp(path, row, n) != 0 : strcmp(path, row) != 0)
                        continue;
                if (permit_flags & sysctl_table[i].host_flag)
                        return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                                           "sysctl %s belongs to the %s namespace, which this pod shares with the host; "
                                           "give the pod one of its own, or set the sysctl on the node",
                                           name, sysctl_table[i].name_of_namespace);
                memcpy(ret_path, path, sizeof(path));
                return 0;
        }
        return refusal_set(refusal, GRPC_STATUS_INVALID_ARGUMENT,
                           "sysctl %s is not a namespaced one: it would change the whole node; set it on the node instead",
                           name);
}
