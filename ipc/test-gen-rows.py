#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What gen-rows.py refuses, with file and line, and what it reads."""

import importlib.util
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("gen_rows", os.path.join(HERE, "gen-rows.py"))
gen_rows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gen_rows)

PROTO = 'syntax = "proto3";\npackage test.edge;\nimport "other.proto";\n%s\nmessage Ask {\n}\nmessage Told {\n}\n'
OTHER = 'syntax = "proto3";\npackage other.v1;\nmessage Thing {\n}\n'
FLAT = "/* a header\n%s\n */\ntypedef struct Ask {\n        int x;\n} Ask;\n"


class GenRows(unittest.TestCase):
    def schema(self, rows, template=PROTO, name="a-b.proto"):
        with tempfile.TemporaryDirectory() as root:
            for path, text in ((name, template % rows), ("other.proto", OTHER)):
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            return gen_rows.Schema(root, os.path.join(root, name))

    def refused(self, row, reason, **more):
        with self.assertRaises(gen_rows.SchemaError) as raised:
            self.schema(row, **more)
        self.assertIn(reason, str(raised.exception))
        self.assertRegex(str(raised.exception), r"^a-b\.(proto|h):[0-9]+: ")

    def test_reads_everything(self):
        schema = self.schema(
            "// row 2 request ask: Ask -> other.v1.Thing from A max 2M reply-max 3K fds pipe-read,tty? "
            "reply-fds any?,any? states READY|STOPPING\n// row 1 event told: Told from B"
        )
        self.assertEqual([row["id"] for row in schema.rows], [1, 2])
        ask = schema.rows[1]
        self.assertEqual(ask["body"]["type"], "test.edge.Ask")
        self.assertEqual(ask["body"]["max"], 2 * 1024 * 1024)
        self.assertEqual(ask["body"]["fds"][1], {"kind": "tty", "optional": True})
        self.assertEqual(ask["reply"]["type"], "other.v1.Thing")
        self.assertEqual(ask["reply"]["max"], 3072)
        self.assertEqual(ask["states"], ["READY", "STOPPING"])
        header = gen_rows.c_header(schema)
        self.assertIn("#define ROW_A_B_ASK (&edge_rows_a_b[1])", header)
        self.assertIn("#define EDGE_A_B_HANDLERS_A \\\n        [0] = on_told, \\\n        [1] = NULL", header)
        self.assertIn("#define EDGE_A_B_HANDLERS_B \\\n        [0] = NULL, \\\n        [1] = on_ask", header)
        self.assertIn(".type = &other__v1__thing__descriptor,", gen_rows.c_source(schema))

    def test_flat(self):
        schema = self.schema(" * row 1 request ask: Ask -> - from A", template=FLAT, name="a-b.h")
        self.assertIn(".flat_size = sizeof(Ask),", gen_rows.c_source(schema))
        self.assertNotIn("descriptor", gen_rows.c_source(schema))
        self.refused(" * row 1 request ask: bad -> - from A", "is not a struct", template=FLAT, name="a-b.h")

    def test_names_of_descriptors(self):
        self.assertEqual(gen_rows.descriptor("runtime.v1.ListImagesRequest"), "runtime__v1__list_images_request__descriptor")
        self.assertEqual(gen_rows.descriptor("a.b_c.PodIP"), "a__b_c__pod_ip__descriptor")

    def test_duplicates(self):
        self.refused("// row 1 event a: Ask from A\n// row 1 event b: Ask from A", "id 1 is taken by line 4")
        self.refused("// row 1 event a: Ask from A\n// row 2 event a: Ask from A", "name a is taken by line 4")

    def test_duplicate_names_across_edges(self):
        one = self.schema("// row 1 event a: Ask from A")
        two = self.schema("// row 9 event a: Ask from B")
        with self.assertRaises(gen_rows.SchemaError):
            gen_rows.check_names([one, two])

    def test_syntax(self):
        for row in (
            "// row",
            "// row x event a: Ask from A",
            "// row 1 query a: Ask from A",
            "// row 1 event a Ask from A",
            "// row 1 event A: Ask from A",
            "// row 1 event a: Ask",
            "// row 1 event a: Ask from C",
        ):
            self.refused(row, "not a row")
        self.refused("// row 0 event a: Ask from A", "not in 1..65535")
        self.refused("// row 65536 event a: Ask from A", "not in 1..65535")
        self.refused("// row 1 event a: Ask -> Told from A", "an event has none")
        self.refused("// row 1 request a: Ask from A", "a request has a reply")
        self.refused("// row 1 event a: Ask from A reply-max 4K", "an event has no reply")
        self.refused("// row 1 event a: Ask from A reply-fds tty", "an event has no reply")
        self.refused("// row 1 event a: Ask from A colour red", "cannot read 'colour red'")
        self.refused("// row 1 event a: Ask from A max", "cannot read 'max'")
        self.refused("// row 1 event a: Ask from A max 1K max 2K", "max is there twice")

    def test_sizes(self):
        for size in ("0", "1G", "1k", "-1", "K", "1.5M"):
            self.refused(f"// row 1 event a: Ask from A max {size}", "is not a size")
        self.refused("// row 1 event a: Ask from A max 17M", "more than a frame can carry")
        self.refused("// row 1 event a: - from A max 1K", "an empty body has no max")

    def test_fds_and_states(self):
        self.refused("// row 1 event a: Ask from A fds file", "unknown kind of fd 'file'")
        self.refused("// row 1 event a: Ask from A fds tty??", "unknown kind of fd")
        self.refused("// row 1 event a: Ask from A fds tty,", "unknown kind of fd ''")
        self.refused("// row 1 event a: Ask from A fds tty?,socket", "may be absent")
        self.refused("// row 1 event a: Ask from A fds " + ",".join(["tty"] * 9), "9 fds")
        self.refused("// row 1 event a: Ask from A states ANY|AWAKE", "unknown state 'AWAKE'")

    def test_types(self):
        self.refused("// row 1 event a: Nothing from A", "no message Nothing")
        self.refused("// row 1 event a: other.v1.Nothing from A", "no message Nothing in package other.v1")
        self.refused("// row 1 event a: elsewhere.Thing from A", "no import has the package 'elsewhere'")
        self.refused('import "absent.proto";', "which does not exist")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
