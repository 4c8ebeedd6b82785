#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the row tables of the edges from their schemas (grammar: ipc/edges/README.md).

gen-rows.py table ROOT SCHEMA EDGE.rows.h EDGE.rows.c    one edge
gen-rows.py list ROOT OUT.json SCHEMA...                 all edges, for documentation and tests
gen-rows.py tables ROOT OUT.h OUT.c SCHEMA...            all schemas in one array, for generated tests

A mistake in a schema is an error with file and line, and nothing is written.
"""

import json
import os
import re
import sys

FD_KINDS = {
    "pipe-read": "FD_KIND_PIPE_READ",
    "pipe-write": "FD_KIND_PIPE_WRITE",
    "socket": "FD_KIND_SOCKET",
    "file-read": "FD_KIND_FILE_READ",
    "file-write": "FD_KIND_FILE_WRITE",
    "pidfd": "FD_KIND_PIDFD",
    "memfd-sealed": "FD_KIND_MEMFD_SEALED",
    "memfd-shared": "FD_KIND_MEMFD_SHARED",
    "tty": "FD_KIND_TTY",
    "exit-record": "FD_KIND_EXIT_RECORD",
    "any": "FD_KIND_STREAM",
}
STATES = ("ANY", "RECOVERING", "READY", "STOPPING")
FDS_MAX = 8  # WIRE_FDS_MAX
LENGTH_DEFAULT = 64 * 1024
LENGTH_MAX = 16 * 1024 * 1024  # WIRE_MEMFD_MAX

ROW_LINE = re.compile(r"^\s*(?://|/?\*+)\s*row\b(.*?)(?:\*/)?\s*$")
ROW = re.compile(r"^\s+(\d+)\s+(request|event)\s+([a-z][a-z0-9_]*)\s*:\s*(\S+)(?:\s+->\s+(\S+))?\s+from\s+([AB])\b(.*)$")
CLAUSE = re.compile(r"\s+(max|reply-max|fds|reply-fds|states)\s+(\S+)")
SIZE = re.compile(r"^([1-9][0-9]*)([KM]?)$")


class SchemaError(Exception):
    def __init__(self, path, line, text):
        super().__init__(f"{path}:{line}: {text}")


class Schema:
    """One file of ipc/edges: its rows, and the types that they may name."""

    def __init__(self, root, path):
        self.root = root
        self.path = os.path.relpath(path, root)
        self.edge = os.path.basename(path).rsplit(".", 1)[0]
        self.flat = path.endswith(".h")
        if not self.flat and not path.endswith(".proto"):
            raise SchemaError(self.path, 0, "a schema is a .proto or a .h file")
        self.symbol = self.edge.replace("-", "_")
        with open(path, encoding="utf-8") as f:
            self.lines = f.read().splitlines()
        self.package, self.types = self.read_types(self.lines)
        self.imports = {}
        if not self.flat:
            self.read_imports()
        self.rows = self.read_rows()

    def fail(self, line, text):
        raise SchemaError(self.path, line, text)

    def read_types(self, lines):
        if self.flat:
            return "", set(re.findall(r"^typedef struct (\w+) \{", "\n".join(lines), re.M))
        text = "\n".join(lines)
        package = re.search(r"^package\s+([\w.]+);", text, re.M)
        if not package:
            self.fail(1, "no package")
        return package.group(1), set(re.findall(r"^message\s+(\w+)", text, re.M))

    def read_imports(self):
        for n, line in enumerate(self.lines, 1):
            m = re.match(r'^import\s+(?:public\s+)?"([^"]+)";', line)
            if not m:
                continue
            path = os.path.join(self.root, m.group(1))
            if not os.path.exists(path):
                self.fail(n, f"imports {m.group(1)}, which does not exist")
            with open(path, encoding="utf-8") as f:
                package, types = self.read_types(f.read().splitlines())
            self.imports.setdefault(package, set()).update(types)

    def read_rows(self):
        rows = []
        for n, line in enumerate(self.lines, 1):
            m = ROW_LINE.match(line)
            if m:
                rows.append(self.read_row(n, m.group(1)))
        for field in ("id", "name"):
            seen = {}
            for row in rows:
                if row[field] in seen:
                    self.fail(row["line"], f"{field} {row[field]} is taken by line {seen[row[field]]}")
                seen[row[field]] = row["line"]
        return sorted(rows, key=lambda row: row["id"])

    def read_row(self, n, text):
        m = ROW.match(text)
        if not m:
            self.fail(n, "not a row: row <id> <request|event> <name>: <Type|-> [-> <Type|->] from <A|B> ...")
        number, kind, name, body, reply, sender, rest = m.groups()
        if not 1 <= int(number) <= 0xFFFF:
            self.fail(n, f"id {number} is not in 1..65535")
        if (kind == "request") != (reply is not None):
            self.fail(n, "a request has a reply (-> Type or -> -), an event has none")
        clauses = self.read_clauses(n, rest)
        if kind == "event" and ("reply-max" in clauses or "reply-fds" in clauses):
            self.fail(n, "an event has no reply")
        row = {
            "line": n,
            "id": int(number),
            "name": name,
            "kind": kind,
            "sender": sender,
            "states": self.read_states(n, clauses.get("states", "READY")),
            "body": self.read_body(n, body, clauses.get("max"), clauses.get("fds")),
        }
        if reply is not None:
            row["reply"] = self.read_body(n, reply, clauses.get("reply-max"), clauses.get("reply-fds"))
        return row

    def read_clauses(self, n, text):
        clauses = {}
        at = 0
        while text[at:].strip():
            m = CLAUSE.match(text, at)
            if not m:
                self.fail(n, f"cannot read '{text[at:].strip()}': expected max, reply-max, fds, reply-fds or states")
            if m.group(1) in clauses:
                self.fail(n, f"{m.group(1)} is there twice")
            clauses[m.group(1)] = m.group(2)
            at = m.end()
        return clauses

    def read_states(self, n, text):
        states = text.split("|")
        for state in states:
            if state not in STATES:
                self.fail(n, f"unknown state '{state}': one of {', '.join(STATES)}")
        return states

    def read_size(self, n, text):
        m = SIZE.match(text)
        if not m:
            self.fail(n, f"'{text}' is not a size: digits, then K or M")
        size = int(m.group(1)) * {"": 1, "K": 1024, "M": 1024 * 1024}[m.group(2)]
        if size > LENGTH_MAX:
            self.fail(n, f"{text} is more than a frame can carry ({LENGTH_MAX} bytes)")
        return size

    def read_fds(self, n, text):
        fds = []
        for word in text.split(",") if text else []:
            optional = word.endswith("?")
            kind = word.rstrip("?") if optional and not word.endswith("??") else word
            if kind not in FD_KINDS:
                self.fail(n, f"unknown kind of fd '{word}': one of {', '.join(FD_KINDS)}")
            if not optional and fds and fds[-1]["optional"]:
                self.fail(n, f"'{word}' must be there although the fd before it may be absent")
            fds.append({"kind": kind, "optional": optional})
        if len(fds) > FDS_MAX:
            self.fail(n, f"{len(fds)} fds, a frame carries at most {FDS_MAX}")
        return fds

    def read_body(self, n, type_name, max_length, fds):
        body = {"type": type_name, "max": self.read_size(n, max_length) if max_length else LENGTH_DEFAULT}
        body["fds"] = self.read_fds(n, fds)
        if type_name == "-":
            if max_length:
                self.fail(n, "an empty body has no max")
            body["max"] = 0
        elif self.flat:
            if type_name not in self.types and not re.match(r"^[A-Z]\w*$", type_name):
                self.fail(n, f"'{type_name}' is not a struct")
        else:
            package, _, local = type_name.rpartition(".")
            types = self.types if package in ("", self.package) else self.imports.get(package)
            if types is None:
                self.fail(n, f"no import has the package '{package}' of {type_name}")
            if local not in types:
                self.fail(n, f"no message {local} in package {package or self.package}")
            body["type"] = f"{package or self.package}.{local}"
        return body


def descriptor(type_name):
    """protobuf-c's name of a message descriptor: a.b_c.DoIt -> a__b_c__do_it__descriptor."""
    parts = []
    for part in type_name.split("."):
        out, was_upper = "", True
        for c in part:
            out += "_" + c.lower() if c.isupper() and not was_upper else c.lower()
            was_upper = c.isupper()
        parts.append(out)
    return "__".join(parts) + "__descriptor"


def c_body(schema, body, indent):
    pad = " " * indent
    fds = body["fds"]
    lines = []
    if body["type"] != "-":
        if schema.flat:
            lines.append(f".flat_size = sizeof({body['type']}),")
        else:
            lines.append(f".type = &{descriptor(body['type'])},")
    lines.append(f".type_name = \"{body['type']}\",")
    length = f"sizeof({body['type']})" if schema.flat and body["type"] != "-" else str(body["max"])
    lines.append(f".max_length = {length},")
    if fds:
        n_min = sum(not fd["optional"] for fd in fds)
        kinds = ", ".join(FD_KINDS[fd["kind"]] for fd in fds)
        lines.append(f".fds = {{.n_min = {n_min}, .n_max = {len(fds)}, .kinds = {{{kinds}}}}},")
    return "\n".join(pad + line for line in lines)


def c_header(schema):
    upper = schema.symbol.upper()
    n = len(schema.rows)
    include = f'"{schema.path}"' if schema.flat else f'"{schema.path[: -len(".proto")]}.pb-c.h"'
    out = [
        f"/* Made by ipc/gen-rows.py from {schema.path}. */",
        "#pragma once",
        "",
        f"#include {include}",
        '#include "ipc/wire.h"',
        "",
        f"extern const MessageRow edge_rows_{schema.symbol}[{n}];",
        f"extern const EdgeSchema edge_schema_{schema.symbol};",
        "",
    ]
    for i, row in enumerate(schema.rows):
        out.append(f"#define ROW_{upper}_{row['name'].upper()} (&edge_rows_{schema.symbol}[{i}])")
    out += ["", "enum {"]
    for row in schema.rows:
        out.append(f"        ROW_ID_{upper}_{row['name'].upper()} = {row['id']},")
    out += ["};", ""]
    for side in "AB":
        handlers = [
            f"[{i}] = " + (f"on_{row['name']}" if row["sender"] != side else "NULL") for i, row in enumerate(schema.rows)
        ]
        out.append(f"#define EDGE_{upper}_HANDLERS_{side} \\\n        " + ", \\\n        ".join(handlers))
        received = [row for row in schema.rows if row["sender"] != side]
        out.append(
            f"#define EDGE_{upper}_PROTOTYPES_{side}(...)"
            + "".join(f" \\\n        int on_{row['name']}(__VA_ARGS__);" for row in received)
        )
    return "\n".join(out) + "\n"


def c_source(schema):
    rows = []
    for row in schema.rows:
        states = " | ".join(f"ROW_STATE_{state}" for state in row["states"])
        text = (
            f"        {{\n                .id = {row['id']},\n                .name = \"{row['name']}\",\n"
            f"                .kind = ROW_KIND_{row['kind'].upper()},\n"
            f"                .sender = EDGE_SIDE_{row['sender']},\n                .states = {states},\n"
            f"                .body = {{\n{c_body(schema, row['body'], 24)}\n                }},\n"
        )
        if "reply" in row:
            text += f"                .reply = {{\n{c_body(schema, row['reply'], 24)}\n                }},\n"
        rows.append(text + "        },")
    checks = ""
    if schema.flat:
        for row in schema.rows:
            for body in (row["body"], row.get("reply", {"type": "-"})):
                if body["type"] != "-":
                    checks += (
                        f"_Static_assert(sizeof({body['type']}) <= {body['max']}, "
                        f"\"{schema.path}:{row['line']}: {body['type']} is larger than its row's max\");\n"
                    )
    return (
        f"/* Made by ipc/gen-rows.py from {schema.path}. */\n"
        f'#include "ipc/edges/{schema.edge}.rows.h"\n\n{checks}\n'
        f"const MessageRow edge_rows_{schema.symbol}[{len(schema.rows)}] = {{\n" + "\n".join(rows) + "\n};\n\n"
        f"const EdgeSchema edge_schema_{schema.symbol} = {{\n"
        f"        .edge = EDGE_{schema.symbol.upper()},\n        .name = \"{schema.edge}\",\n"
        f"        .rows = edge_rows_{schema.symbol},\n        .n_rows = {len(schema.rows)},\n}};\n"
    )


def tables_header(schemas):
    return (
        "/* Made by ipc/gen-rows.py. */\n#pragma once\n\n"
        + "".join(f'#include "ipc/edges/{s.edge}.rows.h"\n' for s in schemas)
        + f"\n#define EDGE_TABLES_N {len(schemas)}\nextern const EdgeSchema *const edge_tables[EDGE_TABLES_N];\n"
    )


def tables_source(name, schemas):
    return (
        f'/* Made by ipc/gen-rows.py. */\n#include "ipc/edges/{name}"\n\n'
        "const EdgeSchema *const edge_tables[EDGE_TABLES_N] = {\n"
        + "".join(f"        &edge_schema_{s.symbol},\n" for s in schemas)
        + "};\n"
    )


def check_names(schemas):
    """A name is one message in the whole suite: logs and on_<message> need no edge beside it."""
    seen = {}
    for schema in schemas:
        for row in schema.rows:
            if row["name"] in seen:
                schema.fail(row["line"], f"the name {row['name']} is taken by {seen[row['name']]}")
            seen[row["name"]] = f"{schema.path}:{row['line']}"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def main(argv):
    mode, root = argv[1], argv[2]
    if mode == "table":
        schema = Schema(root, argv[3])
        if not schema.rows:
            schema.fail(1, "no rows")
        write(argv[4], c_header(schema))
        write(argv[5], c_source(schema))
        return
    n_out = {"list": 1, "tables": 2}[mode]
    schemas = [Schema(root, path) for path in argv[3 + n_out :]]
    check_names(schemas)
    if mode == "list":
        edges = [{"edge": s.edge, "schema": s.path, "flat": s.flat, "rows": s.rows} for s in schemas]
        write(argv[3], json.dumps(edges, indent=1) + "\n")
    else:
        write(argv[3], tables_header(schemas))
        write(argv[4], tables_source(os.path.basename(argv[3]), schemas))


if __name__ == "__main__":
    try:
        main(sys.argv)
    except SchemaError as e:
        sys.exit(str(e))
