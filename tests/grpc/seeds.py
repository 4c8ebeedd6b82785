# SPDX-License-Identifier: Apache-2.0
"""Writes seeds for services/gatewayd/fuzz-grpc.c: seeds.py DIRECTORY."""

import os
import struct
import sys

from rawh2 import *


def seeds():
    h = request_headers()
    yield "unary", call(1, b"hello")
    yield "two", call(1, b"a") + call(3, b"b")
    for method in ("Sleep", "Stream", "Blob", "None"):
        yield method.lower(), call(1, b"x", "/test.Echo/" + method)
        yield method.lower() + "-reset", call(1, b"x", "/test.Echo/" + method) + frame(RST_STREAM, 0, 1, b"\0\0\0\x08")
    yield "timeout", call(1, b"x", "/test.Echo/Blob", [("grpc-timeout", "1m")])
    yield "encoding", frame(HEADERS, END_HEADERS, 1, request_headers(extra=[("grpc-encoding", "gzip")])) + frame(
        DATA, END_STREAM, 1, message(b"zzz", flag=1)
    )
    yield "pieces", frame(HEADERS, END_HEADERS, 1, h) + b"".join(
        frame(DATA, 0, 1, message(b"hello")[i : i + 1]) for i in range(10)
    ) + frame(DATA, END_STREAM, 1)
    yield "continuation", frame(HEADERS, 0, 1, h[:20]) + frame(CONTINUATION, END_HEADERS, 1, h[20:]) + frame(
        DATA, END_STREAM, 1, message(b"x")
    )
    yield "window", settings((4, 0)) + call(1, b"y" * 100, "/test.Echo/Stream") + window_update(1, 4000) + window_update(
        0, 1000
    )
    yield "control", frame(PING, 0, 0, b"12345678") + settings((1, 0), (4, 100), (5, 16384)) + frame(SETTINGS, ACK)
    yield "priority", frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 1)) + call(1)
    yield "trailers", frame(HEADERS, END_HEADERS, 1, h) + frame(DATA, 0, 1, message(b"x")) + frame(
        HEADERS, END_HEADERS | END_STREAM, 1, literal("x", "y")
    )
    yield "goaway", call(1) + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)) + call(3)
    yield "extension", frame(0x0A, 0, 0, b"\0\0") + frame(0x10, 0, 0, b"\0\0\0\0u=1") + call(1)
    yield "large", frame(HEADERS, END_HEADERS, 1, h) + frame(DATA, 0, 1, message(b"x" * 1000, length=3000)) + frame(
        DATA, 0, 1, b"x" * 1000
    ) + frame(DATA, END_STREAM, 1, b"x" * 1000)


directory = sys.argv[1]
os.makedirs(directory, exist_ok=True)
for name, data in seeds():
    with open(f"{directory}/{name}", "wb") as f:
        f.write(b"\1" + data)
with open(f"{directory}/preface", "wb") as f:
    f.write(b"\0" + PREFACE + settings() + call(1, b"hello"))
