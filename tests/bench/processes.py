"""What a set of processes costs: CPU, memory, and the system calls that a tracer counts."""
import os
import re
import signal
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def _read(path):
    try:
        with open(path, "rb") as source:
            return source.read()
    except OSError:
        return b""


def _stat(pid):
    """(parent, ticks of the process and of its reaped children), None where it is gone."""
    text = _read("/proc/%d/stat" % pid)
    if not text:
        return None
    fields = text[text.rindex(b")") + 2:].split()
    return int(fields[1]), sum(int(f) for f in fields[11:15])


def find(match, roots=()):
    """Processes whose command line matches the regular expression, or that a root is or has started; sorted pids.

    Threads and kernel workers have no command line of their own and are never found.
    """
    pattern = re.compile(match) if match else None
    parents, found = {}, set(roots)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        pid = int(name)
        stat = _stat(pid)
        if stat is None:
            continue
        parents[pid] = stat[0]
        words = _read("/proc/%d/cmdline" % pid).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        if pattern and words and pattern.search(words):
            found.add(pid)
    if roots:
        grown = True
        while grown:
            children = {pid for pid, parent in parents.items() if parent in found} - found
            found |= children
            grown = bool(children)
    return sorted(pid for pid in found if pid in parents)


def cpu_ms(pids):
    """CPU time that these processes have used, and children that they have reaped, in ms."""
    return sum(stat[1] for stat in map(_stat, pids) if stat) * 1000 / TICK


def ran_us(pids):
    """Microseconds that the living threads of these processes have been on a CPU: exact, where cpu_ms counts clock ticks."""
    total = 0
    for pid in pids:
        try:
            threads = os.listdir("/proc/%d/task" % pid)
        except OSError:
            continue
        for thread in threads:
            words = _read("/proc/%d/task/%s/schedstat" % (pid, thread)).split()
            total += int(words[0]) if words else 0
    return total / 1000


def pss_kib(pids):
    """pid → proportional set size in KiB."""
    sizes = {}
    for pid in pids:
        found = re.search(rb"^Pss:\s+(\d+) kB", _read("/proc/%d/smaps_rollup" % pid), re.M)
        if found:
            sizes[pid] = int(found.group(1))
    return sizes


def files(pid):
    """Paths of what a process has open."""
    found = []
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            found.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    except OSError:
        pass
    return found


def command(pid):
    """The program of a process, by which sizes are grouped: the first word of its command line, without the path."""
    words = _read("/proc/%d/cmdline" % pid).split(b"\0")
    return os.path.basename(words[0].split(b" ")[0]).decode("utf-8", "replace") or "?"


# Calls that cost in ways that a faster machine does not mend.
GROUPS = {
    "execs": ("execve", "execveat"),
    "syncs": ("fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"),
    "mounts": ("mount", "umount2", "move_mount", "fsmount", "open_tree", "mount_setattr", "pivot_root"),
    "processes": ("clone", "clone3", "fork", "vfork"),
}
CALL = re.compile(r"^(?:\[pid +)?(\d+)\]? +(?:[\d.]+ )?(\w+)\((.*)$")
# Programs that the network plugins are, or that they start: counted apart, whoever runs them.
PLUGINS = re.compile(r"/cni/|/(iptables|ip6tables|xtables|nft|ebtables|sysctl|modprobe)")


class Tracer:
    """Counts the calls of GROUPS in processes and in all that they start, between start() and stop().

    What network plugins do is counted apart, and the containers' own program not at all.
    """

    def __init__(self, pids, log, workload):
        self.pids, self.log, self.workload, self.tracer = pids, log, workload, None

    def start(self):
        calls = ",".join("?" + c for group in GROUPS.values() for c in group if c != "clone") + ",?clone"
        arguments = ["strace", "-f", "-q", "-s", "200", "-o", self.log, "-e", "signal=none", "-e", "trace=" + calls]
        for pid in self.pids:
            arguments += ["-p", str(pid)]
        self.tracer = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            traced = [_read("/proc/%d/status" % pid) for pid in self.pids]
            if all(b"TracerPid:\t0\n" not in status for status in traced):
                return
            time.sleep(0.05)
        raise RuntimeError("strace did not attach to %s" % self.pids)

    def stop(self):
        """(group → calls that succeeded, "execs by plugins" too; program → execs)"""
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.communicate(timeout=30)
        counts, programs = {**{group: 0 for group in GROUPS}, "execs by plugins": 0}, {}
        names = {call: group for group, calls in GROUPS.items() for call in calls}
        pending, running = {}, {}
        with open(self.log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                pid = line.split(" ", 1)[0]
                resumed = re.search(r"<\.\.\. (\w+) resumed>(.*)$", line)
                if resumed:
                    name, rest = resumed.group(1), pending.pop(pid, "") + resumed.group(2)
                else:
                    match = CALL.match(line)
                    if not match:
                        continue
                    name, rest = match.group(2), match.group(3)
                    if rest.rstrip().endswith("<unfinished ...>"):
                        pending[pid] = rest.rsplit("<unfinished", 1)[0]
                        continue
                group = names.get(name)
                if group is None or re.search(r"= -1 E", rest):
                    continue
                if group == "execs":
                    program = (re.search(r'"([^"]*)"', rest) or [None, "?"])[1]
                    if name == "execveat" and not program:
                        program = (re.search(r'\["([^"]*)"', rest) or [None, "memfd"])[1] + " (memfd)"
                    programs[program] = programs.get(program, 0) + 1
                    running[pid] = program
                    if PLUGINS.search(program):
                        counts["execs by plugins"] += 1
                if not PLUGINS.search(running.get(pid, "")) and running.get(pid) != self.workload:
                    counts[group] += 1
        return counts, programs
