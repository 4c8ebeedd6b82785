/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/directories.h"

/* Nobody but root walks either tree from outside (CVE-2021-41103, CVE-2024-25621): brains see their part through a mount of
 * their own. What is 0711 must be passed through by somebody: the runtime directory to the socket, and a container's own
 * root user of a user namespace to its root file system. */
const PolicyMade policy_directories[] = {
        {false, "", 0700, "everything that survives a reboot"},
        {false, "layers", 0700, "unpacked image layers"},
        {false, "writable", 0700, "what containers write"},
        {false, "imports", 0700, "archives being imported"},
        {false, "import", 0700, "where root puts archives to import"},
        {false, "cni", 0700, "results of CNI plugins, for DEL"},
        {true, "", 0711, "the socket, and what ends with a reboot"},
        {true, "empty", 0555, "the root of processes that see nothing"},
        {true, "containers", 0711, "bundles and root file systems"},
        {true, "execs", 0700, "commands run in containers"},
        {true, "exits", 0700, "exit records"},
        {true, "shims", 0700, "sockets of shims"},
        {true, "oci", 0700, "state of the OCI runtime"},
        {true, "ns", 0700, "pinned namespaces"},
        {true, "pods", 0700, "resolv.conf, hostname, shm of pods"},
        {false, NULL, 0, NULL},
};
