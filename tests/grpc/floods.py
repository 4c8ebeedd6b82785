# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 floods and malformed input: each must cost its own connection and nothing else. Every flood is a function that
attacks; what it returns is when the attack counts as repelled. The controls send as much, well formed, and are served."""

import socket
import struct
import time

from rawh2 import *
from rawh2 import Connection

N = 10000
SLOW = (b"60000", "/test.Echo/Sleep")  # a request whose handler still has it when the next frame comes
WAIT_SECONDS = 10


def send_many(c, frames):
    """Sends until it is through or the server has closed."""
    batch = b""
    for f in frames:
        batch += f
        if len(batch) > 60000:
            if not c.send(batch):
                return
            batch = b""
    c.send(batch)


def flood(path, frames, before=b""):
    c = Connection(path)
    c.send(before)
    try:
        send_many(c, frames)
    except socket.timeout:
        pass
    c.read_until_closed(WAIT_SECONDS)
    return c.is_closed


def streams(n=N):
    return range(1, 2 * n, 2)


def flood_settings_entries(path):
    return flood(path, [settings(*[(4, 65535)] * 2400)])


def flood_settings(path):
    return flood(path, [settings((4, 65535))] * N)


def flood_settings_ack(path):
    return flood(path, [frame(SETTINGS, ACK)] * N)


def flood_ping(path):
    return flood(path, [frame(PING, 0, 0, b"12345678")] * N)


def flood_ping_ack(path):
    return flood(path, [frame(PING, ACK, 0, b"12345678")] * N)


def flood_rapid_reset(path):
    h = request_headers(SLOW[1])
    return flood(
        path, (frame(HEADERS, END_HEADERS, s, h) + frame(RST_STREAM, 0, s, b"\0\0\0\x08") for s in streams())
    )


def flood_rapid_reset_after_request(path):
    """The handler has the call when the reset comes."""
    return flood(
        path,
        (call(s, *SLOW) + frame(RST_STREAM, 0, s, b"\0\0\0\x08") for s in streams()),
    )


def flood_made_you_reset(path):
    """The server resets: a zero window increment is a stream error."""
    return flood(path, (call(s, *SLOW) + window_update(s, 0) for s in streams()))


def flood_continuation(path):
    chunk = literal("x", "y" * 1000)
    return flood(
        path, [frame(HEADERS, 0, 1, request_headers())] + [frame(CONTINUATION, 0, 1, chunk)] * N
    )


def flood_continuation_empty(path):
    return flood(path, [frame(HEADERS, 0, 1, request_headers())] + [frame(CONTINUATION, 0, 1)] * N)


def flood_header_bomb(path):
    """4 KiB in the table, named 15,000 times with one byte each."""
    block = literal("x", "y" * 4000, 0x40) + b"\xbe" * 12000
    return flood(path, [frame(HEADERS, END_HEADERS, 1, request_headers() + block)])


def flood_priority(path):
    return flood(path, [frame(PRIORITY, 0, s, struct.pack(">IB", 0, 1)) for s in streams()])


def flood_unknown_frames(path):
    return flood(path, [frame(0xBE, 0, 0, b"x")] * N)


def flood_window_update(path):
    return flood(path, [window_update(0, 1)] * N)


def flood_empty_data(path):
    return flood(path, [frame(DATA, 0, 1)] * N, frame(HEADERS, END_HEADERS, 1, request_headers()))


def flood_tiny_data(path):
    return flood(
        path,
        [frame(DATA, 0, 1, message(length=N * 2))] + [frame(DATA, 0, 1, b"x")] * N,
        frame(HEADERS, END_HEADERS, 1, request_headers()),
    )


def flood_push_promise(path):
    return flood(path, [frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + request_headers())])


def flood_bad_headers(path):
    """Each request is malformed: an upper-case name."""
    h = request_headers(extra=[("Bad", "x")])
    return flood(path, (frame(HEADERS, END_HEADERS | END_STREAM, s, h) for s in streams()))


def flood_window_dribble(path):
    """Lets the server send a large reply byte by byte."""
    c = Connection(path, PREFACE + settings((4, 0)))
    c.send(call(1, b"1000000", "/test.Echo/Blob"))
    try:
        send_many(c, (window_update(1, 1) for _ in range(N)))
    except socket.timeout:
        pass
    c.read_until_closed(WAIT_SECONDS)
    return c.is_closed


def malformed_preface(path):
    c = Connection(path, bytes(range(256)) * 16)
    c.read_until_closed(WAIT_SECONDS)
    return c.is_closed


def malformed_http1(path):
    c = Connection(path, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    c.read_until_closed(WAIT_SECONDS)
    return c.is_closed


def malformed_oversized_frame(path):
    return flood(path, [frame(DATA, 0, 1, b"x" * (1 << 20))], frame(HEADERS, END_HEADERS, 1, request_headers()))


def malformed_hpack(path):
    return flood(path, [frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")])


def malformed_stream_zero(path):
    return flood(path, [frame(HEADERS, END_HEADERS, 0, request_headers())])


def malformed_even_stream(path):
    return flood(path, [call(2)])


def malformed_after_goaway(path):
    """What follows an error in the same packet must not be parsed (CVE-2026-27135)."""
    bad = [
        frame(DATA, 0, 0, b"on stream zero"),
        frame(SETTINGS, 0, 1, b""),
        frame(PING, 0, 0, b"short"),
        frame(0x0A, 0, 0, b"\xff\xff"),
        frame(0x10, 0, 0, b"\0"),
        frame(GOAWAY, 0, 0, b"\0"),
    ]
    worse = [
        frame(WINDOW_UPDATE, 0, 0, b"abc"),
        frame(PING, 0, 0, b"abc"),
        frame(SETTINGS, 0, 0, b"abcde"),
        frame(RST_STREAM, 0, 1, b"abc"),
        frame(HEADERS, END_HEADERS, 1, b""),
        frame(0x0A, 0, 0, b"\xff\xff"),
        b"\xff\xff\xff" + b"\xff" * 64,
    ]
    fatal = frame(PING, 0, 0, b"short")
    return all(flood(path, [a + b + fatal]) for a in bad for b in worse)


def slow_preface(path):
    c = Connection(path, PREFACE[:10])
    c.read_until_closed(WAIT_SECONDS)
    return c.is_closed


def slow_frame(path):
    return flood(path, [frame(PING, 0, 0, b"12345678")[:12]])


def slow_header_block(path):
    return flood(path, [frame(HEADERS, 0, 1, request_headers())])


def slow_body(path):
    """The call ends with a status, its memory is free again; the connection may stay."""
    c = Connection(path)
    c.send(frame(HEADERS, END_HEADERS, 1, request_headers()) + frame(DATA, 0, 1, message(length=16 << 20)))
    while True:
        f = c.read_frame()
        if f is None:
            return False
        if f[2] == 1 and f[1] & END_STREAM and f[0] == HEADERS:
            c.close()
            return True


def huge_announcements(path):
    """100 messages of 16 MiB at once: what has no room is refused at once."""
    c = Connection(path)
    for s in streams(100):
        c.send(frame(HEADERS, END_HEADERS, s, request_headers()) + frame(DATA, 0, s, message(length=16 << 20)))
    n_refused = 0
    while n_refused < 98:
        f = c.read_frame(5)
        if f is None:
            return False
        n_refused += f[0] == HEADERS and bool(f[1] & END_STREAM)
    c.close()
    return True


def zero_window(path):
    """100 replies of 1 MiB for a client that takes nothing: all of them end."""
    c = Connection(path, PREFACE + settings((4, 0)))
    for s in streams(100):
        c.send(call(s, b"1000000", "/test.Echo/Blob"))
    ended = set()
    while len(ended) < 100:
        f = c.read_frame()
        if f is None:
            return c.is_closed
        if f[0] == RST_STREAM or f[1] & END_STREAM and f[0] == HEADERS:
            ended.add(f[2])
    c.close()
    return True


def never_reads(path):
    """The client sends on and never reads."""
    c = Connection(path, PREFACE + settings((4, 0x7FFFFFFF)) + window_update(0, 0x7FFF0000 - 65535))
    c.socket.settimeout(5)
    try:
        send_many(c, (call(s, b"x" * 8000) for s in streams()))
    except socket.timeout:
        return False
    return c.is_closed


def many_connections(path):
    """Idle ones make room for new ones."""
    held = []
    for _ in range(200):
        try:
            held.append(Connection(path))
        except OSError:
            break
    time.sleep(1.5)
    c = Connection(path)
    c.send(call(1))
    f = c.read_frame()
    while f is not None and f[2] != 1:
        f = c.read_frame()
    for other in held:
        other.close()
    return f is not None


def control_calls(path, chatty):
    """N well-formed calls on one connection, up to 100 at a time; with chatty, a PING and window updates for each, as
    grpc-go sends them."""
    c = Connection(path, PREFACE + settings((4, 0x7FFFFFFF)) + window_update(0, 0x7FFF0000 - 65535))
    todo = iter(streams())
    for s in [next(todo) for _ in range(100)]:
        c.send(call(s, b"hello"))
    done = 0
    while done < N:
        f = c.read_frame()
        if f is None:
            return False
        if f[0] == HEADERS and f[1] & END_STREAM:
            done += 1
            s = next(todo, None)
            if s is not None:
                c.send(call(s, b"hello"))
                if chatty:
                    c.send(frame(PING, 0, 0, b"bandwidt") + window_update(0, 10) + window_update(s, 10))
    c.close()
    return True


def control_plain(path):
    return control_calls(path, False)


def control_chatty(path):
    return control_calls(path, True)


def control_pings(path):
    """As many PINGs as a client may send at once are all answered."""
    c = Connection(path)
    c.send(frame(PING, 0, 0, b"12345678") * 1000)
    n = 0
    while n < 1000:
        f = c.read_frame()
        if f is None:
            return False
        n += f[0] == PING and f[1] == ACK
    c.close()
    return True


def control_cancelled(path):
    """500 calls that are all cancelled, 100 at a time, do no harm to the connection: a kubelet does that when the probes
    of all pods time out."""
    c = Connection(path)
    todo = streams(500)
    for i in range(0, 500, 100):
        for s in todo[i : i + 100]:
            c.send(call(s, *SLOW))
        for s in todo[i : i + 100]:
            c.send(frame(RST_STREAM, 0, s, b"\0\0\0\x08"))
    c.send(call(2001, b"still here"))
    while True:
        f = c.read_frame()
        if f is None:
            return False
        if f[2] == 2001 and f[1] & END_STREAM:
            c.close()
            return True


# What only our meter stops: without it these get through, which shows that they reach it and that it is needed.
METERED = [
    flood_settings,
    flood_ping,
    flood_ping_ack,
    flood_priority,
    flood_unknown_frames,
    flood_window_update,
    flood_empty_data,
    flood_tiny_data,
    flood_bad_headers,
    flood_window_dribble,
]


def tests():
    return [
        (name, f)
        for name, f in globals().items()
        if name.split("_")[0] in ("flood", "malformed", "slow", "huge", "zero", "never", "many", "control")
        and "_" in name
        and name != "control_calls"
    ]
