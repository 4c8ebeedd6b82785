"""What scenarios are written with: a node with the real suite, pods and containers on it, and results.

    from lib import test, main, require

    @test
    def a_pod_has_an_address(node):
        pod = node.pod()
        require(pod.status().network.ip, "the pod has no address")

    main()

main() starts the suite with the images testbox and busybox, runs the tests in their order, each with what the one
before it left behind removed, and ends with two results of its own: `leaks` compares mounts, namespaces, cgroups,
processes, file descriptors, addresses and files with what there was before the first test, and `daemons` says whether
any process of the suite was started anew. A test's doc string is for readers; its name is its result's name.

A scenario is also a command: without a test host (BULKHEAD_SCRATCH not set) it makes one for itself, with images and
the build in build/release or $BULKHEAD_BUILD; arguments choose tests by name. BULKHEAD_PEER=containerd runs it against
Debian's containerd instead: a test that fails there asks for too much, or is why this runtime exists.
"""
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
FIXTURE = os.path.join(TOP, "tests", "fixture")
sys.path.insert(0, FIXTURE)
CRICTL = os.path.join(TOP, "tests", "tools", "bin", "crictl")
TESTBOX, BUSYBOX = "docker.io/library/testbox:latest", "docker.io/library/busybox:latest"
PEER = os.environ.get("BULKHEAD_PEER", "")
FULL = bool(os.environ.get("BULKHEAD_FULL"))

tests = []


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def test(function):
    """Registers a test; it is called with the node."""
    tests.append(function)
    return function


def skip(why):
    raise Skipped(why)


def require(condition, why="", *values):
    """Fails the test with why (and the values) unless the condition is true; returns the condition's value."""
    if not condition:
        frame = inspect.currentframe().f_back
        raise Failed("%s%s (line %d)" % (why or "not so", "".join(": %.600r" % (v,) for v in values), frame.f_lineno))
    return condition


def require_equal(got, wanted, what=""):
    if got != wanted:
        frame = inspect.currentframe().f_back
        raise Failed("%s is %.600r, not %.600r (line %d)" % (what or "it", got, wanted, frame.f_lineno))
    return got


if not os.environ.get("BULKHEAD_SCRATCH"):
    # Not on a test host yet: make one, run there.
    def on_a_host():
        with tempfile.TemporaryDirectory(prefix="bulkhead-scenario.") as scratch:
            images = os.environ.get("BULKHEAD_IMAGES") or os.path.join(scratch, "layout")
            if not os.path.exists(images):
                subprocess.run([os.path.join(FIXTURE, "images"), "build", images], check=True)
            name = os.path.basename(sys.argv[0])
            os.mkdir(os.path.join(scratch, name))
            options = os.environ.get("BULKHEAD_HOST", "--net --pid").split()
            return subprocess.run([os.path.join(FIXTURE, "host"), *options, "--", *sys.argv], check=False, env={
                **os.environ, "BULKHEAD_SCRATCH": os.path.join(scratch, name), "BULKHEAD_IMAGES": images}).returncode
    sys.exit(on_a_host())

import grpc  # noqa: E402
import cri  # noqa: E402
from cri import Client, MASKED_PATHS, READONLY_PATHS, pb  # noqa: E402, F401
from suite import (BRIDGE, PORTMAP, Suite, command_line, parent_of, pids, wait_until, write_network)  # noqa: E402, F401

SCRATCH = os.environ["BULKHEAD_SCRATCH"]
IMAGES = os.environ["BULKHEAD_IMAGES"]
CODES = grpc.StatusCode
RUNNING, EXITED, CREATED = pb.CONTAINER_RUNNING, pb.CONTAINER_EXITED, pb.CONTAINER_CREATED
READY, NOTREADY = pb.SANDBOX_READY, pb.SANDBOX_NOTREADY
CGROUP_PARENT = "/test-pods"


def refused(call, codes, *words):
    """The call must fail with one of these codes (or this one) and a text that has each of the words."""
    codes = codes if isinstance(codes, (tuple, list, set)) else (codes,)
    began = time.monotonic()
    try:
        reply = call()
    except grpc.RpcError as error:
        text = error.details() or ""
        if error.code() not in codes:
            raise Failed("it failed with %s, not %s: %.500s" % (error.code().name, "/".join(c.name for c in codes), text)) from None
        missing = [w for w in words if not re.search(w, text, re.I)]
        if missing:
            raise Failed("the text does not say %s: %.600s" % (", ".join(missing), text)) from None
        error.seconds = time.monotonic() - began
        return error
    raise Failed("it was not refused but answered %.200r" % (reply,))


class Peer:
    """Debian's containerd in the place of the suite, for what tests need of one."""

    def __init__(self, directory, build=None, settings=None):
        self.directory = os.path.abspath(directory)
        self.net_dir = os.path.join(self.directory, "net.d")
        self.ipam_dir = os.path.join(self.directory, "ipam")
        self.log = os.path.join(self.directory, "log")
        self.runtime_dir = self.state_dir = None
        self.script = os.path.join(TOP, "tests", "bench", "peer-containerd")

    def start(self):
        done = subprocess.run([self.script, "start", self.directory, IMAGES], check=True, capture_output=True, text=True)
        self.socket = re.search("^socket=(.*)$", done.stdout, re.M).group(1)
        with open(os.path.join(self.directory, "pid"), encoding="ascii") as source:
            self.root = int(source.read())
        return self

    def stop(self):
        subprocess.run([self.script, "stop", self.directory], check=True)

    def daemons(self):
        return {"containerd": self.root}

    def shims(self):
        return {p: p for p in pids() if os.path.basename(command_line(p)[0]).startswith("containerd-shim")}

    def log_text(self, since=0):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(since)
            return log.read()

    def import_images(self, layout, references):
        pass  # its script has

    def cli(self, *arguments, **unused):
        skip("bulkhead's own command")


class Container:
    def __init__(self, pod, id, config):
        self.pod, self.node, self.client = pod, pod.node, pod.node.client
        self.id, self.config = id, config
        self.log_path = os.path.join(pod.config.log_directory, config.log_path)

    def start(self):
        self.client.StartContainer(container_id=self.id)
        return self

    def status(self):
        return self.client.ContainerStatus(container_id=self.id).status

    def info(self):
        """What a verbose status adds, parsed: pid, runtimeSpec and so on."""
        return json.loads(self.client.ContainerStatus(container_id=self.id, verbose=True).info["info"])

    def pid(self):
        return self.info()["pid"]

    def wait(self, state=EXITED, seconds=10):
        status = None

        def there():
            nonlocal status
            status = self.status()
            return status.state == state

        require(wait_until(there, seconds), "container %s is not %s after %d s but" %
                (self.config.metadata.name, pb.ContainerState.Name(state), seconds),
                pb.ContainerState.Name(status.state))
        return status

    def run(self, seconds=20):
        """Starts it, waits for its end: (exit code, its standard output, its standard error)."""
        self.start()
        status = self.wait(EXITED, seconds)
        return status.exit_code, self.output("stdout"), self.output("stderr")

    def exec(self, *command, timeout=10):
        return self.client.ExecSync(container_id=self.id, cmd=list(command), timeout=timeout)

    def sh(self, script, timeout=10):
        """The standard output of a shell script in it, which must end with 0."""
        reply = self.exec("/bin/sh", "-c", script, timeout=timeout)
        if reply.exit_code != 0:
            raise Failed("%s: exit code %d: %s" % (script, reply.exit_code, reply.stderr.decode(errors="replace")))
        return reply.stdout.decode()

    def lines(self):
        """The log: a list of (time, stream, tag, text), text bytes."""
        return read_log(self.log_path)

    def output(self, stream="stdout"):
        """What it wrote, joined as the log's tags say."""
        return b"".join(text + (b"" if tag == "P" else b"\n") for _, name, tag, text in self.lines()
                        if name == stream).decode("utf-8", "replace")

    def wait_output(self, text, seconds=10, stream="stdout"):
        require(wait_until(lambda: text in self.output(stream), seconds), "%r was not logged within %d s, but" % (text, seconds),
                self.output(stream)[-300:])

    def stop(self, timeout=0):
        self.client.StopContainer(container_id=self.id, timeout=timeout)

    def remove(self):
        self.client.RemoveContainer(container_id=self.id)


def read_log(path):
    entries = []
    try:
        with open(path, "rb") as log:
            for line in log.read().split(b"\n")[:-1]:
                stamp, stream, tag, text = line.split(b" ", 3)
                entries.append((stamp.decode(), stream.decode(), tag.decode(), text))
    except FileNotFoundError:
        pass
    return entries


class Pod:
    def __init__(self, node, config, handler=""):
        self.node, self.client, self.config = node, node.client, config
        self.handler = handler
        self.id = None

    def run(self):
        self.id = self.client.RunPodSandbox(config=self.config, runtime_handler=self.handler).pod_sandbox_id
        return self

    def status(self):
        return self.client.PodSandboxStatus(pod_sandbox_id=self.id).status

    def info(self):
        """What a verbose status adds, parsed."""
        return json.loads(self.client.PodSandboxStatus(pod_sandbox_id=self.id, verbose=True).info["info"])

    @property
    def ip(self):
        return self.status().network.ip

    def create(self, *command, name=None, image=TESTBOX, **fields):
        """A container that is not started yet. Fields are those of ContainerConfig; security=… and resources=… say
        what differs from what a kubelet sends for an ordinary one."""
        self.node.serial += 1
        name = name or "c%d" % self.node.serial
        security, resources = fields.pop("security", None), fields.pop("resources", None)
        config = cri.container_config(name, image, command, **fields)
        for message, changes in ((config.linux.security_context, security), (config.linux.resources, resources)):
            for key, value in (changes or {}).items():
                message.ClearField(key)
                message.MergeFrom(type(message)(**{key: value}))
        reply = self.client.CreateContainer(pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return Container(self, reply.container_id, config)

    def start(self, *command, **fields):
        return self.create(*(command or ("/bin/testbox", "pause")), **fields).start()

    def run_once(self, *command, **fields):
        return self.create(*command, **fields).run()

    def script(self, text, **fields):
        """What a shell script in a container of its own writes; it must end with 0."""
        code, out, err = self.run_once("/bin/sh", "-c", text, **fields)
        if code != 0:
            raise Failed("%s: exit code %d: %s %s" % (text, code, out, err))
        return out

    def stop(self):
        self.client.StopPodSandbox(pod_sandbox_id=self.id)

    def remove(self):
        self.client.RemovePodSandbox(pod_sandbox_id=self.id)


class Node:
    """The suite on this test host, its socket, and a place for logs."""

    def __init__(self, settings=None, network=True):
        self.suite = (Peer if PEER else Suite)(os.path.join(SCRATCH, "node"), settings=settings)
        self.logs = os.path.join(SCRATCH, "logs")
        os.makedirs(self.logs, exist_ok=True)
        os.makedirs(self.suite.net_dir, exist_ok=True)
        if network and not PEER:
            self.write_network()
        self.serial = 0
        self.client = None

    def write_network(self, plugins=None, **more):
        write_network(self.suite.net_dir, plugins, ipam=self.suite.ipam_dir, **more)

    def start(self):
        self.suite.start()
        self.client = Client(self.suite.socket)
        return self

    def stop(self):
        if self.client:
            self.client.close()
        self.suite.stop()

    def pod_config(self, name=None, **fields):
        self.serial += 1
        name = name or "p%d" % self.serial
        fields.setdefault("cgroup_parent", CGROUP_PARENT)
        fields.setdefault("log_directory", os.path.join(self.logs, name))
        os.makedirs(fields["log_directory"], exist_ok=True)
        return cri.pod_config(name, **fields)

    def pod(self, name=None, handler="", **fields):
        """A running pod. The kubelet makes the log directory, so it is made here."""
        return Pod(self, self.pod_config(name, **fields), handler).run()

    def status(self):
        """type → condition"""
        return {c.type: c for c in self.client.Status().status.conditions}

    def crictl(self, *arguments, check=True, timeout=60):
        if not os.access(CRICTL, os.X_OK):
            skip("there is no crictl (tests/tools/build crictl)")
        config = os.path.join(SCRATCH, "crictl.yaml")
        if not os.path.exists(config):
            with open(config, "w", encoding="ascii") as out:
                out.write("timeout: 30\n")
        endpoint = "unix://" + self.suite.socket
        done = subprocess.run([CRICTL, "--config", config, "-r", endpoint, "-i", endpoint, *arguments], check=False,
                              capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise Failed("crictl %s: %s" % (" ".join(arguments), done.stderr.strip()[-500:]))
        return done

    def crictl_json(self, *arguments):
        return json.loads(self.crictl(arguments[0], "-o", "json", *arguments[1:]).stdout)

    def clear(self):
        """Removes every container and pod; what refuses is told. A daemon that a test has ended may still be recovering."""
        deadline = time.monotonic() + 20
        while True:
            try:
                for container in self.client.ListContainers().containers:
                    self.client.RemoveContainer(container_id=container.id)
                for pod in self.client.ListPodSandbox().items:
                    self.client.StopPodSandbox(pod_sandbox_id=pod.id)
                    self.client.RemovePodSandbox(pod_sandbox_id=pod.id)
                return
            except grpc.RpcError as error:
                if error.code() != CODES.UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)


# What must be as it was ----------------------------------------------------------------------------------------------

def mounts():
    """Mount point and type of every mount of this namespace, sorted."""
    with open("/proc/self/mountinfo", encoding="utf-8") as source:
        lines = [line.split() for line in source]
    return sorted("%s %s" % (words[4], words[words.index("-") + 1]) for words in lines)


def cgroups():
    found = []
    for where, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(where, f) for f in folders]
    # The parents are the kubelet's, and so the test's, or the suite's own for pods that name none.
    return sorted(f for f in found if not f.endswith((CGROUP_PARENT, "/bulkhead")))


def listing(directory, ignore=()):
    found = []
    for where, folders, names in os.walk(directory):
        found += [os.path.join(where, n) for n in folders + names]
    return sorted(f for f in found if not any(re.search(i, f) for i in ignore))


def links():
    out = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    # A bridge stays; a pod's end of a pair does not.
    return sorted(re.findall(r"^\d+: ([^:@]+)", out, re.M))


def nat_rules():
    done = subprocess.run(["iptables-save", "-t", "nat"], check=False, capture_output=True, text=True)
    return sorted(line for line in done.stdout.splitlines() if re.search("CNI-[0-9a-f]|CNI-DN-", line))


def fds(pid):
    try:
        return len(os.listdir("/proc/%d/fd" % pid))
    except OSError:
        return -1


def files_of(pid):
    found = []
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            found.append(os.readlink("/proc/%d/fd/%s" % (pid, name)))
        except OSError:
            pass
    return sorted(re.sub(r"\[\d+\]", "", f) for f in found)


def processes():
    """Command lines, but this program's own and those of kernel threads."""
    own = {os.getpid(), 1}
    return sorted(" ".join(command_line(p))[:200] for p in pids() if p not in own and command_line(p) != [""]
                  and parent_of(p) is not None)


def snapshot(node):
    suite = node.suite
    state = {"mounts": mounts(), "cgroups": cgroups(), "links": links(), "NAT rules": nat_rules(),
             "pinned network namespaces": listing("/run/netns"), "addresses": listing(suite.ipam_dir, ("/lock$", "last_reserved")),
             "processes": processes()}
    if not PEER:
        # What was used up is noted for a while (services/spent.h); newer crun keeps compiled filters, one for each profile.
        state["runtime files"] = listing(suite.runtime_dir, ("/spent$", "/spent/", r"/oci/\.cache$", r"/oci/\.cache/"))
        state["writable layers"] = listing(os.path.join(suite.state_dir, "writable"))
        state["network cache"] = listing(os.path.join(suite.state_dir, "cni"))
        # Layers stay; what is half made does not.
        state["file descriptors"] = ["%s %s" % (name, f) for name, pid in suite.daemons().items() for f in files_of(pid)]
    return state


def difference(before, after):
    """What is more and less, as a text; empty if nothing is."""
    told = []
    for what, old in before.items():
        new, old = list(after[what]), list(old)
        for item in list(new):
            if item in old:
                old.remove(item)
                new.remove(item)
        for sign, items in (("+", new), ("-", old)):
            if items:
                told.append("%s: %s %s%s" % (what, sign, ", ".join(items[:6]), " …(%d)" % len(items) if len(items) > 6 else ""))
    return "; ".join(told)


# Running -------------------------------------------------------------------------------------------------------------

def one_line(text):
    return re.sub(r"\s+", " ", str(text)).strip()[:1500]


def result(name, outcome="ok", why=""):
    print("%s %s%s" % (outcome, name, ": " + one_line(why) if why else ""), flush=True)


def run_one(node, function, *more):
    name = function.__name__.replace("_", "-")
    since = os.path.getsize(node.suite.log)
    began = time.monotonic()
    outcome, why = "ok", ""
    try:
        function(node, *more)
    except Skipped as reason:
        outcome, why = "skip", reason
    except Failed as reason:
        outcome, why = "not ok", reason
    except grpc.RpcError as error:
        outcome, why = "not ok", "%s: %s (line %d)" % (error.code().name, error.details(), line_of(error))
    except Exception as error:  # a test must not end the others
        traceback.print_exc()
        outcome, why = "not ok", "%s: %s (line %d)" % (type(error).__name__, error, line_of(error))
    result(name, outcome, why)
    print("   %s took %.1f s" % (name, time.monotonic() - began), file=sys.stderr)
    if outcome == "not ok":
        print("--- the suite's log of %s\n%s---" % (name, node.suite.log_text(since)[-6000:]), file=sys.stderr, flush=True)
    return outcome


def line_of(error):
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == os.path.abspath(sys.argv[0])]
    return lines[-1] if lines else 0


def warm_up(node):
    """Once through the life of a pod, so that what is made at its first use is there before things are counted."""
    pod = node.pod("warm-up")
    pod.start().exec("/bin/testbox", "true")
    node.clear()


def run_all(settings=None, network=True, images=("testbox:latest", "busybox:latest"), restarts=False, before=None, after=None,
            ready=None):
    """restarts: tests end daemons on purpose. before(node) comes before the suite's start, ready(node) before the first
    test, after(node) after everything."""
    node = Node(settings, network)
    outcomes = []
    try:
        try:
            if before:
                before(node)
            node.start()
            if images:
                node.suite.import_images(IMAGES, images)
            if ready:
                ready(node)
            warm_up(node)
        except Skipped as reason:
            result("start", "skip", reason)
            return 0
        except (Exception, grpc.RpcError) as error:
            traceback.print_exc()
            result("start", "not ok", error.details() if isinstance(error, grpc.RpcError) else error)
            if os.path.exists(node.suite.log):
                print("--- the suite's log\n%s---" % node.suite.log_text()[-8000:], file=sys.stderr, flush=True)
            return 1
        chosen = [t for t in tests if not sys.argv[1:] or t.__name__.replace("_", "-") in sys.argv[1:]]
        known, was = node.suite.daemons(), snapshot(node)
        for function in chosen:
            outcomes.append(run_one(node, function))
            try:
                node.clear()
            except grpc.RpcError as error:
                outcomes.append("not ok")
                result(function.__name__.replace("_", "-") + "-cleanup", "not ok",
                       "%s: %s" % (error.code().name, error.details()))
        if not PEER:
            is_now = {n: p for n, p in node.suite.daemons().items()}
            ended = sorted(n for n in known if is_now.get(n) != known[n])
            if not restarts:
                outcomes.append("not ok" if ended else "ok")
                result("daemons", outcomes[-1], "ended while they worked: %s" % ", ".join(ended) if ended else "")
            elif set(is_now) != set(known):
                outcomes.append("not ok")
                result("daemons", "not ok", "not running: %s" % (set(known) - set(is_now)))
        # Removal may go on for a moment after its answer.
        wait_until(lambda: not difference(was, snapshot(node)), 5, 0.2)
        leak = difference(was, snapshot(node))
        outcomes.append("not ok" if leak else "ok")
        result("leaks", outcomes[-1], leak)
        return 1 if "not ok" in outcomes else 0
    finally:
        if after:
            after(node)
        node.stop()


def main(**more):
    sys.exit(run_all(**more))


# Small helpers that several scenarios want ---------------------------------------------------------------------------

class Background(threading.Thread):
    """Calls a function meanwhile; result() waits for what it returned or raises what it raised."""

    def __init__(self, function, *arguments, **fields):
        super().__init__(daemon=True)
        self.work, self.value, self.error, self.seconds = (lambda: function(*arguments, **fields)), None, None, None
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.value = self.work()
        except BaseException as error:
            self.error = error
        self.seconds = time.monotonic() - began

    def result(self, seconds=60):
        self.join(seconds)
        require(not self.is_alive(), "a call in the background is not done after %d s" % seconds)
        if self.error:
            raise self.error
        return self.value


class Registry:
    """Debian's docker-registry with images of the layout."""

    def __init__(self, name, *options):
        self.directory = os.path.join(SCRATCH, name)
        self.script = os.path.join(FIXTURE, "registry")
        self.options = options

    def start(self):
        done = subprocess.run([self.script, "start", self.directory, *self.options], check=True, stdout=subprocess.PIPE, text=True)
        self.address = done.stdout.strip()
        return self

    def push(self, *references):
        more = ["--creds", "tester:secret"] if "--auth" in self.options else []
        if "--tls" in self.options:
            more += ["--ca", os.path.join(self.directory, "ca.crt")]
        subprocess.run([os.path.join(FIXTURE, "images"), "push", IMAGES, self.address, *more, *references], check=True)
        return self

    def stop(self):
        subprocess.run([self.script, "stop", self.directory], check=True)

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8", errors="replace") as source:
            return source.read()


class EvilRegistry:
    """fixture/evilreg.py on a layout; rules as it wants them."""

    def __init__(self, name, layout=None, *options):
        self.directory = os.path.join(SCRATCH, name)
        os.makedirs(self.directory, exist_ok=True)
        self.layout, self.options = layout or IMAGES, options

    def start(self):
        self.process = subprocess.Popen([sys.executable, os.path.join(FIXTURE, "evilreg.py"), self.directory, "--layout",
                                         self.layout, *self.options], stdout=subprocess.PIPE, text=True,
                                        stdin=subprocess.DEVNULL)
        self.address = self.process.stdout.readline().strip()
        require(self.address, "evilreg did not start")
        return self

    def rules(self, *rules):
        path = os.path.join(self.directory, "rules.json")
        with open(path + ".new", "w", encoding="utf-8") as out:
            json.dump(rules, out)
        os.rename(path + ".new", path)

    def requests(self):
        path = os.path.join(self.directory, "requests.log")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as source:
            return [json.loads(line) for line in source]

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def remove_tree(path):
    shutil.rmtree(path, ignore_errors=True)
