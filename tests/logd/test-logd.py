#!/usr/bin/python3
"""logd for real, without the rest of the suite, killed 300 times in the middle of a flood: every line is in the log once, in order.

usage: test-logd.py SCRATCH [TEST…]
"""
import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "imaged"))
from hand import Hand, Results, clean, read  # noqa: E402

KILLS = 300
MAGIC = int(re.search(r"LOG_RECORD_MAGIC UINT64_C\((\w+)\)", read("ipc/log-record.h"))[1], 16)
RECORD_BYTES = 4096 + 2 * 256 * 1024
CONTAINER = {"container_id": "ab" * 32}
# Numbered lines on both streams, with a pause after every 40, until its input ends; of lengths that cross pages and the 16 KiB of a line.
WRITER = """
import os, select, sys
n, many = 0, 0
while not select.select([0], [], [], float(sys.argv[1]))[0]:
    lines = []
    for n in range(n + 1, n + 41):
        lines.append(b"%09d %s" % (n, b"x" * (20000 if n % 997 == 0 else n % 190)))
    for fd in (1, 2):
        data = b"\\n".join(lines) + b"\\n"
        while data:
            data = data[os.write(fd, data):]
for fd in (1, 2):
    os.write(fd, b"end %d\\n" % n)
"""


def need(condition, *text):
    if not condition:
        raise AssertionError(" ".join(str(t) for t in text))


class Logged:
    """A container as the shim has it: a writer, two pipes, the commit record and the log file."""

    def __init__(self, scratch, pause_sec):
        self.path = os.path.join(scratch, "log")
        self.out, out_end = os.pipe()
        self.err, err_end = os.pipe()
        self.record = os.memfd_create("log-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.record, RECORD_BYTES)
        fcntl.fcntl(self.record, 1033, 2 | 4)  # F_ADD_SEALS: SHRINK, GROW
        os.pwrite(self.record, MAGIC.to_bytes(8, "little"), 0)
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.writer = subprocess.Popen([sys.executable, "-c", WRITER, str(pause_sec)], stdin=subprocess.PIPE, stdout=out_end, stderr=err_end)
        os.close(out_end)
        os.close(err_end)

    def open(self, logd):
        answer = logd.call("log_open", CONTAINER, [self.file, self.record, self.out, self.err])
        need(answer.code == 0, "log_open:", answer)

    def end(self):
        self.writer.stdin.close()

    def streams(self):
        """What the log says that each stream wrote, lines put together again."""
        found = {b"stdout": [b""], b"stderr": [b""]}
        with open(self.path, "rb") as log:
            for line in log:
                _, stream, tag, text = line.rstrip(b"\n").split(b" ", 3)
                found[stream][-1] += text
                if tag == b"F":
                    found[stream].append(b"")
        return {stream: lines[:-1] for stream, lines in found.items()}


def start(scratch):
    return Hand("containerd-logd", scratch, program="services/logd/bulkhead-logd")


def killed_in_the_middle_of_a_flood(scratch):
    container, sizes = Logged(scratch, 0.0005), []
    for _ in range(KILLS):
        logd = start(scratch)
        container.open(logd)
        time.sleep(random.uniform(0, 0.02))
        logd.stop(signal.SIGKILL)
        sizes.append(os.path.getsize(container.path))
    need(len(set(sizes)) > KILLS // 2, "it was hardly ever killed while it wrote:", len(set(sizes)))
    with start(scratch) as logd:
        container.open(logd)
        container.end()
        need(container.writer.wait(30) == 0, "the writer failed")
        answer = logd.call("log_close", {**CONTAINER, "drain_msec": 20000})
        need(answer.code == 0 and not answer.body.truncated and not answer.body.pending, "log_close:", answer)
    for stream, lines in container.streams().items():
        last = int(re.fullmatch(rb"end (\d+)", lines[-1])[1])
        need(last > 10000, stream, "only", last, "lines")
        wanted = [b"%09d %s" % (n, b"x" * (20000 if n % 997 == 0 else n % 190)) for n in range(1, last + 1)]
        for n, (line, want) in enumerate(zip(lines, wanted)):
            need(line == want, stream, "line", n + 1, "is", line[:40], "and not", want[:40])
        need(len(lines) == last + 1, stream, len(lines), "lines, not", last + 1)
    print("%d kills, %d bytes of log" % (KILLS, os.path.getsize(container.path)), file=sys.stderr)


def one_that_forgets_loses_lines(scratch):
    """The twin: with a record that is not handed on, the same kills lose or double something."""
    container = Logged(scratch, 0)
    empty = os.pread(container.record, RECORD_BYTES, 0)
    for _ in range(40):
        logd = start(scratch)
        container.open(logd)
        time.sleep(random.uniform(0.002, 0.02))
        logd.stop(signal.SIGKILL)
        os.pwrite(container.record, empty, 0)
    container.writer.kill()
    container.writer.wait()
    try:
        lines = container.streams()[b"stdout"]
    except (KeyError, ValueError):
        return  # not even lines of a log any more
    whole = [b"%09d %s" % (n, b"x" * (20000 if n % 997 == 0 else n % 190)) for n in range(1, len(lines) + 1)]
    need(lines != whole, "nothing was lost: the test above proves nothing")


def main():
    scratch, results = sys.argv[1], Results()
    for test in (killed_in_the_middle_of_a_flood, one_that_forgets_loses_lines):
        if len(sys.argv) < 3 or test.__name__ in sys.argv[2:]:
            results.run(test, clean(os.path.join(scratch, test.__name__)))
    return 1 if results.failed else 0


sys.exit(main())
