# SPDX-License-Identifier: Apache-2.0
"""The demo server as a fixture, and what is measured of it."""

import os
import signal
import subprocess
import tempfile

import rawh2


class Server:
    def __init__(self, binary, *limits):
        self.dir = tempfile.TemporaryDirectory()
        self.path = self.dir.name + "/echo.sock"
        self.process = subprocess.Popen([binary, self.path, *limits], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        """Its exit code, with what it logged."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=20)
        self.dir.cleanup()
        return self.process.returncode, log.decode()

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def peak_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def n_fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def answers(self):
        """A fresh client is served."""
        c = rawh2.Connection(self.path)
        c.send(rawh2.call(1, b"are you there"))
        body = b""
        while True:
            f = c.read_frame(5)
            if f is None:
                return False
            if f[0] == rawh2.DATA:
                body += f[3]
            if f[2] == 1 and f[1] & rawh2.END_STREAM:
                c.close()
                return body == rawh2.message(b"are you there")

    def stats(self):
        c = rawh2.Connection(self.path)
        c.send(rawh2.call(1, path="/test.Echo/Stats"))
        body = b""
        while True:
            f = c.read_frame(5)
            assert f is not None
            if f[0] == rawh2.DATA:
                body += f[3]
            if f[2] == 1 and f[1] & rawh2.END_STREAM:
                c.close()
                return {k: int(v) for k, v in (p.split("=") for p in body[5:].decode().split())}
