"""What critest runs against: the suite or a peer on a test host, with all registries mapped to one on loopback."""
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
FIXTURE = os.path.join(TOP, "tests", "fixture")
TOOLS = os.path.join(TOP, "tests", "tools", "bin")
sys.path.insert(0, FIXTURE)
from suite import Suite, wait_until, write_network  # noqa: E402

REGISTRIES = ("registry.k8s.io", "k8s.gcr.io", "gcr.io", "docker.io", "public.ecr.aws")


def on_a_host(variable, scratch, arguments):
    """Runs this program again on a test host, with `scratch` in the environment as `variable`: its exit status."""
    os.chmod(scratch, 0o755)
    return subprocess.run([os.path.join(FIXTURE, "host"), "--net", "--pid", "--", sys.argv[0], *arguments], check=False,
                          env={**os.environ, variable: scratch}).returncode


def enter_groups():
    """Into the cgroups of this test host, with all that is started from here: runc makes groups that have no absolute name
    beneath those of the caller, and who is compared with another must lie where the other does."""
    for name in glob.glob("/sys/fs/cgroup/*/cgroup.procs"):
        with open(name, "w", encoding="ascii") as procs:
            procs.write(str(os.getpid()))


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as source:
        return sorted(line.split()[4] for line in source)


def make_images(layout):
    subprocess.run([os.path.join(FIXTURE, "images"), "critest", layout, os.path.join(TOP, "build", "cache")], check=True)


class Registry:
    """Debian's docker-registry with the images of a layout."""

    def __init__(self, directory, layout):
        self.directory, self.script = directory, os.path.join(FIXTURE, "registry")
        done = subprocess.run([self.script, "start", directory], check=True, stdout=subprocess.PIPE, text=True)
        self.address = done.stdout.strip()
        subprocess.run([os.path.join(FIXTURE, "images"), "push", layout, self.address], check=True)

    def stop(self):
        subprocess.run([self.script, "stop", self.directory], check=False)


class Target:
    """The suite, or a peer that tests/bench/peer-PEER starts."""

    def __init__(self, scratch, peer, layout, address):
        self.scratch, self.peer = scratch, peer
        self.temporary = os.path.join(scratch, "tmp")
        directory = os.path.join(scratch, peer or "critest")
        for path in (directory, self.temporary):
            os.makedirs(path, exist_ok=True)
        if peer:
            script = os.path.join(TOP, "tests", "bench", "peer-" + peer)
            done = subprocess.run([script, "start", directory, layout], check=True, stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "PEER_MIRROR": "http://" + address, "PEER_IMAGES": "pause:3.9"})
            self.socket, self.version = (re.search("^%s=(.*)$" % key, done.stdout, re.M).group(1) for key in ("socket", "version"))
            self.stop = lambda: subprocess.run([script, "stop", directory], check=True)
            return
        suite = Suite(directory, settings={
            "images": {"mirrors": [{"registry": r, "endpoint": "http://" + address} for r in REGISTRIES]}})
        write_network(suite.net_dir, ipam=suite.ipam_dir)
        suite.start()
        self.socket, self.stop, self.version = suite.socket, suite.stop, "Bulkhead"
        self.suite, self.was, self.mounts = suite, suite.daemons(), mounts()

    def damage(self):
        """What of the suite ended while it worked, and what is left of its work, as a text; empty if nothing."""
        told = []
        now = self.suite.daemons()
        ended = sorted(name for name, pid in self.was.items() if now.get(name) != pid)
        if ended:
            told.append("ended meanwhile: " + ", ".join(ended))
        # Removal may go on for a moment after its answer.
        wait_until(lambda: not self.suite.shims() and mounts() == self.mounts, 10, 0.2)
        if self.suite.shims():
            told.append("shims of " + ", ".join(sorted(self.suite.shims())))
        left = sorted(set(mounts()) - set(self.mounts))
        if left:
            told.append("%d mounts are left: %s" % (len(left), ", ".join(left[:5])))
        return "; ".join(told)

    def critest(self, *arguments):
        """Runs it with these arguments; what it says goes to the standard error. Its exit status."""
        endpoint = "unix://" + self.socket  # twice: else /etc/crictl.yaml says it for images
        environment = {**os.environ, "TMPDIR": self.temporary, "PATH": TOOLS + ":" + os.environ["PATH"]}
        return subprocess.run([os.path.join(TOOLS, "critest"), "-runtime-endpoint", endpoint, "-image-endpoint", endpoint,
                               "-ginkgo.no-color", *arguments], check=False, stdout=sys.stderr, env=environment,
                              cwd=self.scratch).returncode
