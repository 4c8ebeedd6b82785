#!/usr/bin/python3
"""Compares container runtimes over CRI: same machine, same images, one run, interleaved.

usage: bench.py [options] --runtime LABEL:KEY=VALUE,… [--runtime …]

A runtime is a label and: socket=PATH, match=REGEX (what command lines of its processes match) or roots=PID+PID (they
and all that they start), version=TEXT, handler=NAME. The first runtime is the one that the others are compared with.
Values are as `peer-*` scripts print them; tests/bench/run does all of it.

Every round does one operation with each runtime, in an order that changes; figures are medians over the rounds, and
ratios of medians. Counts come from strace in rounds of their own.
"""
import argparse
import calendar
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "fixture")]
import processes  # noqa: E402
import report  # noqa: E402
from cri import Client, container_config, pb, pod_config  # noqa: E402
import grpc  # noqa: E402

WORKLOADS = ("pods", "pods-cni", "exec", "exit", "logs", "counts", "counts-cni", "many")


def milliseconds(work):
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1000, result


class Runtime:
    """One CRI socket, the processes behind it, and the figures taken: metric → list of values."""

    def __init__(self, text, scratch, image):
        self.label, _, rest = text.partition(":")
        settings = dict(part.split("=", 1) for part in rest.split(",") if part)
        self.client = Client(settings["socket"])
        self.match = settings.get("match")
        self.roots = [int(p) for p in settings.get("roots", "").split("+") if p]
        self.version = settings.get("version", "")
        self.handler = settings.get("handler", "")
        self.image = image
        self.logs = os.path.join(scratch, self.label, "logs")
        self.figures = {}
        self.serial = 0
        os.makedirs(self.logs, exist_ok=True)

    def note(self, metric, value):
        self.figures.setdefault(metric, []).append(value)

    def processes(self):
        return processes.find(self.match, self.roots)

    def ready(self):
        """Sees that the image is there; pulls it where it is not."""
        if not self.client.ImageStatus(image=pb.ImageSpec(image=self.image)).image.id:
            self.client.PullImage(image=pb.ImageSpec(image=self.image), deadline=300)
        if not self.processes():
            raise SystemExit("%s: no process matches %r" % (self.label, self.match))


class Pod:
    """A pod with one container, and how long each call for it took."""

    def __init__(self, runtime, host_network=True, command=("/bin/testbox", "pause")):
        runtime.serial += 1
        self.runtime, self.client = runtime, runtime.client
        self.name = "bench-%s-%d" % (runtime.label, runtime.serial)
        self.config = pod_config(self.name, host_network=host_network, cgroup_parent="/bench-" + runtime.label,
                                 log_directory=os.path.join(runtime.logs, self.name))
        self.command = command
        self.times = {}
        self.pod = self.container = None

    def timed(self, call, **fields):
        self.times[call], reply = milliseconds(lambda: getattr(self.client, call)(**fields))
        return reply

    def create(self):
        self.pod = self.timed("RunPodSandbox", config=self.config, runtime_handler=self.runtime.handler).pod_sandbox_id
        self.container = self.timed("CreateContainer", pod_sandbox_id=self.pod, sandbox_config=self.config,
                                    config=container_config("c", self.runtime.image, self.command)).container_id
        return self

    def start(self):
        self.timed("StartContainer", container_id=self.container)
        return self

    def up(self):
        return self.create().start()

    def down(self):
        self.timed("StopContainer", container_id=self.container, timeout=5)
        self.timed("RemoveContainer", container_id=self.container)
        self.timed("StopPodSandbox", pod_sandbox_id=self.pod)
        self.timed("RemovePodSandbox", pod_sandbox_id=self.pod)

    @property
    def log(self):
        return os.path.join(self.config.log_directory, "c.log")


UP = ("RunPodSandbox", "CreateContainer", "StartContainer")
DOWN = ("StopContainer", "RemoveContainer", "StopPodSandbox", "RemovePodSandbox")


def each(runtimes, n, work, warm=2):
    """n rounds of work(runtime) after `warm` rounds whose figures are dropped."""
    for i in range(n + warm):
        for runtime in random.sample(runtimes, len(runtimes)):
            for metric, value in (work(runtime) or {}).items():
                if i >= warm:
                    runtime.note(metric, value)


# Workloads -----------------------------------------------------------------------------------------------------------

def bench_pods(runtimes, options, host_network=True):
    kind = "host" if host_network else "cni"

    def work(runtime):
        pod = Pod(runtime, host_network)
        pod.up()
        pod.down()
        figures = {"%s %s" % (kind, call): ms for call, ms in pod.times.items()}
        figures["pod up, " + kind] = sum(pod.times[c] for c in UP)
        figures["pod down, " + kind] = sum(pod.times[c] for c in DOWN)
        return figures

    each(runtimes, options.n, work)


def bench_exec(runtimes, options):
    pods = {runtime.label: Pod(runtime).up() for runtime in runtimes}

    def work(runtime):
        ms, reply = milliseconds(lambda: runtime.client.ExecSync(
            container_id=pods[runtime.label].container, cmd=["/bin/testbox", "true"], timeout=10))
        assert reply.exit_code == 0, reply
        return {"ExecSync": ms}

    each(runtimes, options.n, work)
    # CPU of the runtime's own processes and of what they run, over a series: clock ticks are too coarse for one call.
    for runtime in runtimes:
        before = processes.cpu_ms(runtime.processes())
        for _ in range(options.n):
            work(runtime)
        runtime.note("CPU per ExecSync", (processes.cpu_ms(runtime.processes()) - before) / options.n)
        pods[runtime.label].down()


def find_process(word):
    """The process that has this word as an argument of its own, seen from outside its namespace."""
    # A runtime's start may return a moment before the program is executed.
    for _ in range(200):
        found = processes.find("^/bin/testbox pause %s$" % word)
        if found:
            break
        time.sleep(0.01)
    if len(found) != 1:
        raise SystemExit("bench: %d processes have the argument %s" % (len(found), word))
    return found[0]


def bench_exit(runtimes, options):
    """From the SIGKILL of a container's process to a ContainerStatus that says so."""
    def work(runtime):
        word = "exit-%s-%d" % (runtime.label, runtime.serial)
        pod = Pod(runtime, command=("/bin/testbox", "pause", word)).up()
        pid = find_process(word)
        request = pb.ContainerStatusRequest(container_id=pod.container)
        began = time.perf_counter()
        os.kill(pid, 9)
        while runtime.client.ContainerStatus(request).status.state != pb.CONTAINER_EXITED:
            time.sleep(0.0002)
        ms = (time.perf_counter() - began) * 1000
        pod.down()
        return {"exit to visible": ms}

    each(runtimes, options.n, work)


def parse_time(text):
    """Nanoseconds since the epoch of a log's time stamp, 2006-01-02T15:04:05.999999999Z."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(fraction.ljust(9, "0"))


def wait_for_line(path, mark, timeout):
    """Until a file's last 4 KiB have the text."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            if mark in log.read():
                return
        time.sleep(0.01)
    raise SystemExit("%s: %r was not logged within %d s" % (path, mark, timeout))


def check_lines(path, n_lines):
    """Every line must be there, once, in order."""
    n_whole = 0
    with open(path, "rb") as log:
        for line in log:
            _, _, mark, text = line.split(b" ", 3)
            if mark == b"F":
                if not text.startswith(b"%010d " % n_whole):
                    raise SystemExit("%s: line %d is %r" % (path, n_whole, text[:20]))
                n_whole += 1
    if n_whole != n_lines:
        raise SystemExit("%s: %d lines of %d" % (path, n_whole, n_lines))


def bench_logs(runtimes, options):
    """From the first line's time stamp to the last write of the file, and the CPU that it took the runtime."""
    def flood(length):
        n_lines = options.log_mib * (1 << 20) // length

        def work(runtime):
            # It waits before and after its lines, so that neither its start nor its end are counted.
            pod = Pod(runtime, command=("/bin/testbox", "flood", str(n_lines), str(length), "1")).up()
            time.sleep(0.5)
            before = processes.cpu_ms(runtime.processes())
            wait_for_line(pod.log, b"%010d " % (n_lines - 1), 300)
            time.sleep(0.1)
            cpu = processes.cpu_ms(runtime.processes()) - before
            with open(pod.log, "rb") as log:
                first = parse_time(log.readline().split(b" ", 1)[0].decode())
            seconds = (os.stat(pod.log).st_mtime_ns - first) / 1e9
            check_lines(pod.log, n_lines)
            pod.down()
            os.unlink(pod.log)
            return {"log, %d B lines" % length: options.log_mib / max(seconds, 1e-3),
                    "CPU per MiB of log, %d B lines" % length: cpu / options.log_mib}
        return work

    for length in (80, 1024):
        each(runtimes, options.n_logs, flood(length), warm=1)


def note_memory(runtime, when):
    sizes = processes.pss_kib(runtime.processes())
    runtime.note("memory, " + when, sum(sizes.values()) / 1024)
    groups = {}
    for pid, kib in sizes.items():
        groups.setdefault(processes.command(pid), []).append(kib)
    for name, all_kib in groups.items():
        runtime.note("PSS of %s, %s" % (name, when), statistics.median(all_kib))
        if "shim" in name:
            runtime.note("memory of a shim, " + when, statistics.median(all_kib))


# What statistics of a container are read from, in both versions of cgroups.
STATS_FILES = re.compile(r"/(cpu\.stat|memory\.(stat|current|usage_in_bytes|swap\.current|memsw\.usage_in_bytes)|(cpu|memory|io)\.pressure)$")


def note_bare_reads(runtime, options):
    """The kernel's part: CPU of a loop that only reads the files of containers' groups that the runtime keeps open."""
    build = os.environ.get("BULKHEAD_BUILD") or os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "release")
    program = os.path.join(build, "tests", "bench", "bare-reads")
    kept = sorted({path for pid in runtime.processes() if processes.command(pid) == "bulkhead-containerd"
                   for path in processes.files(pid) if STATS_FILES.search(path)})
    if not kept or not os.access(program, os.X_OK):
        return
    done = subprocess.run([program, str(options.n), *kept], check=True, capture_output=True, text=True)
    for line in done.stdout.split():
        runtime.note("CPU per container of bare reads of the same files", float(line) / options.pods)


def bench_many(runtimes, options):
    """Memory as pods are added, then lists and statistics with all of them running."""
    pods = {runtime.label: [] for runtime in runtimes}
    for count in sorted({0, min(10, options.pods), options.pods}):
        for runtime in runtimes:
            while len(pods[runtime.label]) < count:
                pods[runtime.label].append(Pod(runtime).up())
        time.sleep(5)  # what they keep at rest, not what their last work needed
        for runtime in runtimes:
            note_memory(runtime, "%d pods" % count if count else "idle")
    calls = {"ListContainers": pb.ListContainersRequest(), "ListPodSandbox": pb.ListPodSandboxRequest(),
             "ListContainerStats": pb.ListContainerStatsRequest(), "ListPodSandboxStats": pb.ListPodSandboxStatsRequest()}

    def has(runtime, call):
        """A call that a runtime has not got has no figure for it."""
        try:
            getattr(runtime.client, call)()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            return False
        return True

    def work(runtime):
        figures = {}
        for call, request in calls.items():
            if (runtime.label, call) not in there:
                continue
            data = request.SerializeToString()
            # Not decoded: that would be the client's time.
            ms, reply = milliseconds(lambda: runtime.client.raw[call](data, timeout=60))
            assert len(reply) > options.pods, reply
            figures["%s, %d" % (call, options.pods)] = ms
        return figures

    there = {(r.label, c) for r in runtimes for c in calls if has(r, c)}
    pids = {runtime.label: runtime.processes() for runtime in runtimes}
    each(runtimes, options.n, work)
    for runtime in runtimes:
        for call in [c for c in calls if (runtime.label, c) in there]:
            # Of all of its processes, over series of its own: to look at all of them in between would be most of the work.
            for _ in range(max(1, options.n // 5)):
                before = processes.ran_us(pids[runtime.label])
                for _ in range(5):
                    runtime.client.raw[call](calls[call].SerializeToString(), timeout=60)
                ran = (processes.ran_us(pids[runtime.label]) - before) / 5
                runtime.note("CPU per %s, %d" % (call, options.pods), ran / 1000)
                runtime.note("CPU per container of %s" % call, ran / options.pods)
        note_bare_reads(runtime, options)
    rest = {runtime.label: (time.monotonic(), processes.cpu_ms(pids[runtime.label])) for runtime in runtimes}
    time.sleep(options.idle)
    for runtime in runtimes:
        since, before = rest[runtime.label]
        runtime.note("CPU at rest, %d pods" % options.pods,
                     (processes.cpu_ms(pids[runtime.label]) - before) / (time.monotonic() - since))
    for runtime in runtimes:
        for pod in pods[runtime.label]:
            pod.down()


def bench_counts(runtimes, options, host_network=True):
    kind = "host" if host_network else "cni"
    for runtime in runtimes:
        Pod(runtime, host_network).up().down()
        log = os.path.join(options.out, "strace-%s-%s" % (runtime.label, kind))
        tracer = processes.Tracer(runtime.processes(), log, workload="/bin/testbox")
        tracer.start()
        try:
            for _ in range(options.n_counts):
                Pod(runtime, host_network).up().down()
        finally:
            counts, programs = tracer.stop()
        for name, count in counts.items():
            runtime.note("%s per pod, %s" % (name, kind), count / options.n_counts)
        runtime.programs = getattr(runtime, "programs", {})
        runtime.programs[kind] = {p: c / options.n_counts for p, c in sorted(programs.items(), key=lambda i: -i[1])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", action="append", required=True, metavar="LABEL:KEY=VALUE,…")
    parser.add_argument("--image", default="docker.io/library/testbox:latest")
    parser.add_argument("--out", default="build/bench", help="folder for results.json, table.md and plot.svg")
    parser.add_argument("--scratch", default="/tmp/bulkhead-bench")
    parser.add_argument("-n", type=int, default=30, help="rounds (default 30)")
    parser.add_argument("--n-logs", type=int, default=30, help="rounds of log floods (default 30)")
    parser.add_argument("--n-counts", type=int, default=6, help="pods under strace (default 6)")
    parser.add_argument("--log-mib", type=int, default=32, help="MiB of each log flood (default 32)")
    parser.add_argument("--pods", type=int, default=50, help="pods of the workload many (default 50)")
    parser.add_argument("--idle", type=int, default=20, help="seconds at rest with them (default 20)")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="just these workloads")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    random.seed(1)
    runtimes = [Runtime(text, options.scratch, options.image) for text in options.runtime]
    for runtime in runtimes:
        runtime.ready()
    failures = []
    for name in options.only or WORKLOADS:
        print("bench: %s" % name, file=sys.stderr, flush=True)
        work, *more = {"pods": (bench_pods,), "pods-cni": (bench_pods, False), "exec": (bench_exec,),
                       "exit": (bench_exit,), "logs": (bench_logs,), "many": (bench_many,),
                       "counts": (bench_counts,), "counts-cni": (bench_counts, False)}[name]
        try:
            work(runtimes, options, *more)
        except grpc.RpcError as failed:
            failures.append("bench: %s: %s: %s" % (name, failed.code(), failed.details()))
            print(failures[-1], file=sys.stderr, flush=True)
    results = {"runtimes": [{"label": r.label, "version": r.version, "figures": r.figures,
                             "programs": getattr(r, "programs", {})} for r in runtimes],
               "n": options.n, "command": " ".join(sys.argv)}
    with open(os.path.join(options.out, "results.json"), "w", encoding="utf-8") as out:
        json.dump(results, out, indent=1)
    print(report.write(results, options.out))
    if failures:
        raise SystemExit("\n".join(failures))


if __name__ == "__main__":
    main()
