# SPDX-License-Identifier: Apache-2.0
"""Real clients: grpcio (gRPC C-core) and h2load (nghttp2)."""

import shutil
import subprocess
import tempfile
import threading
import time

import grpc

from rawh2 import message

OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", -1)]


def channel(server):
    # A pool of its own: channels to the same address would share one connection.
    return grpc.insecure_channel("unix:" + server.path, options=OPTIONS + [("grpc.use_local_subchannel_pool", 1)])


def unary(ch, method, request=b"", **kwargs):
    return ch.unary_unary("/test.Echo/" + method)(request, **kwargs)


def stream(ch, request, **kwargs):
    return ch.unary_stream("/test.Echo/Stream")(request, **kwargs)


def error_of(f):
    try:
        f()
    except grpc.RpcError as e:
        return e
    raise AssertionError("no error")


def wait_for(server, **wanted):
    for _ in range(100):
        stats = server.stats()
        if all(stats[k] == v for k, v in wanted.items()):
            return
        time.sleep(0.05)
    raise AssertionError(f"{stats} never became {wanted}")


def test_unary(server):
    with channel(server) as ch:
        for n in (0, 1, 5, 16383, 16384, 65535, 65536, 1 << 20):
            body = bytes(i & 255 for i in range(min(n, 1000))) * (n // 1000 + 1)
            assert unary(ch, "Unary", body[:n]) == body[:n], n


def test_largest_message(server):
    with channel(server) as ch:
        body = b"0123456789abcdef" * (1 << 20)
        for _ in range(3):
            assert unary(ch, "Unary", body) == body
        assert len(unary(ch, "Blob", b"16777216")) == 16 << 20
        e = error_of(lambda: unary(ch, "Unary", body + b"x"))
        assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e
        e = error_of(lambda: unary(ch, "Blob", b"16777217"))
        assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e
        assert unary(ch, "Unary", b"fine") == b"fine"


def test_status(server):
    with channel(server) as ch:
        text = " pod \u00e4\u20ac\U0001F600 not found: 100% of\n\ttries"
        e = error_of(lambda: unary(ch, "Fail", ("5" + text).encode()))
        assert e.code() == grpc.StatusCode.NOT_FOUND and e.details() == text, e
        assert dict(e.trailing_metadata())["grpc-status-details-bin"] == ("5" + text).encode()
        e = error_of(lambda: unary(ch, "Fail", b"9 " + b"%" * 100000))
        assert e.code() == grpc.StatusCode.FAILED_PRECONDITION and 500 < len(e.details()) < 4000


def test_method_table(server):
    """Only the exact path is a method (CVE-2026-33186)."""
    with channel(server) as ch:
        # nghttp2 resets a stream whose path has no leading slash: no method is looked up at all.
        e = error_of(lambda: ch.unary_unary("test.Echo/Unary")(b""))
        assert e.code() == grpc.StatusCode.INTERNAL and "RST_STREAM" in e.details(), e
        for path in (
            "//test.Echo/Unary", "/test.Echo/Unary/", "/test.Echo/unary", "/test.echo/Unary",
            "/test.Echo/Unar%79", "/test.Echo%2fUnary", "/test.Echo/../test.Echo/Unary", "/", "/test.Echo/Unary?x",
        ):
            e = error_of(lambda: ch.unary_unary(path)(b""))
            assert e.code() == grpc.StatusCode.UNIMPLEMENTED, (path, e)
        e = error_of(lambda: ch.unary_unary("/test.Echo/" + "x" * 4000)(b""))
        assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e


def test_compression(server):
    """A message compressed by the client is refused as the protocol says; an incompressible one comes as it is."""
    with channel(server) as ch:
        e = error_of(lambda: unary(ch, "Unary", b"x" * 10000, compression=grpc.Compression.Gzip))
        assert e.code() == grpc.StatusCode.UNIMPLEMENTED and "gzip" in e.details(), e


def test_deadline(server):
    with channel(server) as ch:
        began = time.monotonic()
        e = error_of(lambda: unary(ch, "Sleep", b"60000", timeout=0.3))
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
        assert time.monotonic() - began < 3
        assert unary(ch, "Sleep", b"50", timeout=10) == b"slept"
        e = error_of(lambda: list(stream(ch, b"1000 10 20", timeout=0.3)))
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
        wait_for(server, calls=1)


def test_cancellation(server):
    before = server.stats()
    with channel(server) as ch:
        calls = [ch.unary_unary("/test.Echo/Sleep").future(b"60000") for _ in range(50)]
        wait_for(server, calls=51)
        for c in calls:
            c.cancel()
        events = stream(ch, b"1000000 100 5")
        next(events)
        events.cancel()
        wait_for(server, calls=1, client=before["client"] + 51)
        pending = ch.unary_unary("/test.Echo/Sleep").future(b"60000")
        wait_for(server, calls=2)
    wait_for(server, calls=1)
    assert pending.done()


def test_disconnect(server):
    """A client that is killed: its calls are cancelled."""
    before = server.stats()
    code = f"import grpc; grpc.insecure_channel('unix:{server.path}').unary_unary('/test.Echo/Sleep')(b'60000')"
    import sys

    client = subprocess.Popen([sys.executable, "-c", code])
    wait_for(server, calls=2)
    client.kill()
    client.wait()
    wait_for(server, calls=1, disconnect=before["disconnect"] + 1)


def test_stream(server):
    with channel(server) as ch:
        messages = list(stream(ch, b"5000 100"))
        assert len(messages) == 5000 and all(len(m) == 100 for m in messages)
        assert [m[0] for m in messages[:3]] == [5000 & 255, 4999 & 255, 4998 & 255]
        assert list(stream(ch, b"0")) == []


def test_stream_back_pressure(server):
    """A reader that is slower than the sender: all of it arrives, and little of it ever waits."""
    with channel(server) as ch:
        n = 0
        for m in stream(ch, b"300 1000000"):
            n += len(m)
            if n % 10000000 == 0:
                time.sleep(0.02)
        assert n == 300 * 1000000
    # What waited, as the server accounts for it; the process as a whole is measured in floods.
    assert server.stats()["peak"] < 64 << 20


def test_concurrent_streams(server):
    """More calls at once than the connection's limit of streams: each of them is answered."""
    with channel(server) as ch:
        calls = [ch.unary_unary("/test.Echo/Sleep").future(b"200") for _ in range(300)]
        assert all(c.result(timeout=20) == b"slept" for c in calls)
        bodies = [bytes([i]) * 20000 for i in range(100)]
        calls = [ch.unary_unary("/test.Echo/Unary").future(b) for b in bodies]
        assert [c.result(timeout=20) for c in calls] == bodies


def test_many_clients(server):
    errors = []

    def work():
        try:
            with channel(server) as ch:
                for i in range(50):
                    assert unary(ch, "Unary", b"%d" % i) == b"%d" % i
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=work) for _ in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


def test_h2load(server):
    if not shutil.which("h2load"):
        return "h2load is not installed"
    for body, n, extra in ((b"x" * 100, 50000, ["-c4", "-m100"]), (b"y" * 100000, 2000, ["-c8", "-m10"]), (b"", 2000, ["-c32", "-m1"])):
        with tempfile.NamedTemporaryFile() as f:
            f.write(message(body))
            f.flush()
            out = subprocess.run(
                ["h2load", f"-n{n}", *extra, "-d", f.name, "-H", "content-type: application/grpc", "-H", "te: trailers",
                 "-N", "20s", "-B", "unix:" + server.path, "http://localhost/test.Echo/Unary"],
                capture_output=True, text=True, timeout=120,
            ).stdout
        assert f"{n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout" in out, out
        print("#   h2load:", next(line for line in out.splitlines() if line.startswith("finished")))


def test_z_drain(server):
    """Graceful shutdown: the call under way is answered, the process ends by itself."""
    with channel(server) as ch:
        under_way = ch.unary_unary("/test.Echo/Sleep").future(b"500")
        wait_for(server, calls=2)
        unary(ch, "Drain")
        assert under_way.result(timeout=5) == b"slept"
    assert server.process.wait(timeout=5) == 0


def tests():
    return [(n, f) for n, f in sorted(globals().items()) if n.startswith("test_")]
