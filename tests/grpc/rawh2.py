# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP/2 frames for tests: just enough to be a bad client, or a good one that counts every frame."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def hpack_int(value, prefix_bits, first=0):
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes([first | value])
    out = bytes([first | limit])
    value -= limit
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def literal(name, value, first=0):
    """A header field that is not put into the table (first=0), or is (first=0x40)."""
    name, value = name.encode(), value.encode()
    return bytes([first]) + hpack_int(len(name), 7) + name + hpack_int(len(value), 7) + value


def request_headers(path="/test.Echo/Unary", extra=()):
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    return b"".join(literal(n, v) for n, v in list(fields) + list(extra))


def message(body=b"", flag=0, length=None):
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


def call(stream, body=b"", path="/test.Echo/Unary", extra=()):
    return frame(HEADERS, END_HEADERS, stream, request_headers(path, extra)) + frame(
        DATA, END_STREAM, stream, message(body)
    )


def settings(*entries):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *e) for e in entries))


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


class Connection:
    def __init__(self, path, hello=PREFACE + settings()):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.pending = b""
        self.is_closed = False
        self.send(hello)

    def send(self, data):
        """False once the server has closed the connection."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            self.is_closed = True
            return False

    def read_frame(self, timeout=10):
        """(kind, flags, stream, payload), or None at the end or after the timeout."""
        self.socket.settimeout(timeout)
        try:
            while len(self.pending) < 9 or len(self.pending) < 9 + int.from_bytes(self.pending[:3], "big"):
                data = self.socket.recv(1 << 18)
                if not data:
                    self.is_closed = True
                    return None
                self.pending += data
        except socket.timeout:
            return None
        except ConnectionResetError:
            self.is_closed = True
            return None
        n = int.from_bytes(self.pending[:3], "big")
        kind, flags = self.pending[3], self.pending[4]
        stream = int.from_bytes(self.pending[5:9], "big") & 0x7FFFFFFF
        payload = self.pending[9 : 9 + n]
        self.pending = self.pending[9 + n :]
        return kind, flags, stream, payload

    def read_until_closed(self, timeout=10):
        """All frames up to the end of the connection; is_closed tells whether it came."""
        frames = []
        while True:
            f = self.read_frame(timeout)
            if f is None:
                return frames
            frames.append(f)

    def close(self):
        self.socket.close()
