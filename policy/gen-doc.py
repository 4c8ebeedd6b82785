#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps what is made from the policy table equal to it.

gen-doc.py [--write] POLICY-PRINT TREE    compares, or writes: the tables of docs/PRIVSEP.md between their marks, and
                                          the files of deploy/systemd
"""
import difflib
import json
import os
import subprocess
import sys

BEGIN, END = "<!-- made by policy/gen-doc.py: begin -->\n", "<!-- made by policy/gen-doc.py: end -->\n"


def printed(program, *what):
    return subprocess.run([program, *what], check=True, capture_output=True, text=True).stdout


def units(program):
    """file name → text, of the units that are made from the rows."""
    made = {"bulkhead.target": printed(program, "target"), "bulkhead-control.socket": printed(program, "control")}
    for row in json.loads(printed(program, "json")):
        if row["kind"] != "child" and row["name"] not in ("linkd-start", "containerd-shim"):
            made["bulkhead-%s.service.in" % row["name"]] = printed(program, "unit", row["name"])
    return made


def documented(path, text):
    with open(path, encoding="utf-8") as source:
        old = source.read()
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        sys.exit("%s: the marks are not there" % path)
    return old[:old.index(BEGIN)] + BEGIN + text + old[old.index(END):]


def main():
    write = "--write" in sys.argv
    program, tree = [a for a in sys.argv[1:] if a != "--write"]
    privsep = os.path.join(tree, "docs", "PRIVSEP.md")
    made = {
        privsep: documented(privsep, printed(program, "markdown")),
        os.path.join(tree, "deploy", "systemd", "bulkhead-sysusers.conf"): printed(program, "sysusers"),
        os.path.join(tree, "deploy", "systemd", "bulkhead-tmpfiles.conf"): printed(program, "tmpfiles"),
    }
    for name, text in units(program).items():
        made[os.path.join(tree, "deploy", "systemd", name)] = text
    differs = False
    for path, new in made.items():
        if write:
            with open(path, "w", encoding="utf-8") as out:
                out.write(new)
            continue
        old = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as source:
                old = source.read()
        if old != new:
            differs = True
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), path, "policy/table.c"))
    if differs:
        sys.exit("run policy/gen-doc.py --write %s %s" % (program, tree))


main()
