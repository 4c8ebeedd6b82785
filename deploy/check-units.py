#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Units of processes that live in the host's mount namespace carry no directive that implies one of their own, and units of
spawners none that what they start would inherit.

check-units.py POLICY-PRINT DIRECTORY
"""
import json
import os
import subprocess
import sys

# What neither makes a mount namespace (systemd.exec(5): sandboxing, paths, credentials and log namespaces do) nor is inherited.
ANYWHERE = {"Type", "ExecStart", "ExecReload", "Environment", "Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec",
            "KillMode", "OOMPolicy", "TasksMax", "NotifyAccess", "Sockets", "NonBlocking", "FileDescriptorStoreMax"}
CONFINED = ANYWHERE | {"NoNewPrivileges", "LimitCORE", "LimitNOFILE", "UMask", "OOMScoreAdjust", "CapabilityBoundingSet",
                       "AmbientCapabilities"}
FRESH_ROOT = CONFINED | {"DevicePolicy", "IPAddressDeny"}


def directives(text):
    """Those of [Service]."""
    section, found = "", []
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#") and section == "[Service]":
            found.append(line.split("=", 1)[0])
    return found


def wrong(row, text):
    allowed = ANYWHERE if not row["confined"] else FRESH_ROOT if row["fresh_root"] else CONFINED
    return sorted(set(directives(text)) - allowed)


def main():
    program, directory = sys.argv[1:]
    rows = json.loads(subprocess.run([program, "json"], check=True, capture_output=True).stdout)
    failed = seen = 0
    for row in rows:
        path = os.path.join(directory, "bulkhead-%s.service.in" % row["name"])
        if row["kind"] == "child" or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as source:
            text = source.read()
        seen += 1
        for key in wrong(row, text):
            print("%s: %s is not for this process" % (path, key))
            failed = 1
        if not row["confined"] and "KillMode=process" not in text.split("\n"):
            print("%s: a spawner without KillMode=process" % path)
            failed = 1
        # The twin: what is looked for would be found.
        for key in () if row["fresh_root"] else ("PrivateTmp", "ProtectSystem", "ReadOnlyPaths"):
            if key not in wrong(row, text + key + "=yes\n"):
                print("%s: %s would not be seen" % (path, key))
                failed = 1
    if seen < 14:
        print("there are only %d units" % seen)
        failed = 1
    sys.exit(failed)


main()
