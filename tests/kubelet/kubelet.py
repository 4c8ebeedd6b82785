"""A node with the real suite and a real kubelet on it, that runs static pods: what the tests in this folder are written with.

    from kubelet import alone, container, main, require, test

    @test
    def a_pod_becomes_ready(node):
        pod = node.run(container("sleep 1000"))
        pod.wait_ready()

    main()

Tests run side by side, because most of a pod's life is waiting; those marked @alone run by themselves, after the others. A
test's pods are removed after it. What is left when all are gone is compared with what there was before the first, as
scenarios do (scenario/lib.py, from which the rest is).

The kubelet has no cluster: it is configured as environment for one would, but for its pods, which are files. So that two
runs do not see each other, /var/lib/kubelet, /var/log, /etc/hosts and /etc/resolv.conf are this test host's own.
"""
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "scenario"))
os.environ.setdefault("BULKHEAD_HOST", "--route --pid")

import lib  # noqa: E402
import cri  # noqa: E402
from lib import (BUSYBOX, Failed, IMAGES, Node, SCRATCH, Skipped, TESTBOX, difference, grpc, pb, require, require_equal, result,  # noqa: E402, F401
                 run_one, skip, snapshot, test, tests, wait_until)

BIN = os.environ.get("BULKHEAD_KUBELET", os.path.join(TOP, "build", "kubelet"))
NODE_NAME, NODE_IP = "node", "192.0.2.1"
LOG_SIZE = 64 * 1024
not_alongside = set()


def alone(function):
    """A test that disturbs others, or that they would."""
    not_alongside.add(test(function))
    return function


def container(script=None, name="main", **fields):
    """A container of a pod: a shell script in testbox, or command=[…]."""
    fields.setdefault("command", ["/bin/sh", "-c", script])
    return {"name": name, "image": TESTBOX, "imagePullPolicy": "IfNotPresent", **fields}


def fetch(url, timeout=10):
    """The text that a server answers; its certificate is its own."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(url, timeout=timeout) as reply:
        return reply.read().decode("utf-8", "replace")


class Kubelet:
    """A kubelet process, its configuration and its directories."""

    def __init__(self, socket):
        self.directory = os.path.join(SCRATCH, "kubelet")
        self.root = "/var/lib/kubelet"
        self.manifests = os.path.join(self.directory, "manifests")
        self.log = os.path.join(self.directory, "log")
        self.process = None
        self.port, self.read_only_port, self.health_port = 10250, 10255, 10248
        self.settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": "unix://" + socket, "staticPodPath": self.manifests, "fileCheckFrequency": "2s",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"}, "address": "127.0.0.1", "port": self.port,
            "readOnlyPort": self.read_only_port, "failCgroupV1": False, "failSwapOn": False, "cgroupDriver": "cgroupfs",
            "enforceNodeAllocatable": [], "makeIPTablesUtilChains": False, "resolvConf": "/etc/resolv.conf",
            "serializeImagePulls": False, "registryPullQPS": 0,
            # What a test waits for comes soon.
            "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"}, "syncFrequency": "10s", "volumeStatsAggPeriod": "5s",
            "containerLogMaxSize": str(LOG_SIZE), "containerLogMaxFiles": 8, "containerLogMonitorInterval": "3s",
            # The machine's disk is not the test's.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100, "allowedUnsafeSysctls": ["kernel.msg*", "net.core.somaxconn"],
            "featureGates": {},
        }

    def prepare(self):
        """Once, on a new test host: directories of this kubelet's own in the places where it wants them."""
        for folder in ("manifests", "lib", "var-log"):
            os.makedirs(os.path.join(self.directory, folder), exist_ok=True)
        os.makedirs(self.root, exist_ok=True)
        hosts, resolv = os.path.join(self.directory, "hosts"), os.path.join(self.directory, "resolv.conf")
        with open(hosts, "w", encoding="ascii") as out:
            out.write("127.0.0.1 localhost\n%s %s\n" % (NODE_IP, NODE_NAME))
        with open(resolv, "w", encoding="ascii") as out:
            out.write("nameserver 127.0.0.1\nsearch example.test\n")
        for source, target in (("lib", self.root), ("var-log", "/var/log"), ("hosts", "/etc/hosts"), ("resolv.conf", "/etc/resolv.conf")):
            subprocess.run(["mount", "--bind", os.path.join(self.directory, source), os.path.realpath(target)], check=True)

    def start(self, wait=True, **settings):
        """Settings are those of KubeletConfiguration, for this start."""
        config = os.path.join(self.directory, "config.json")
        with open(config, "w", encoding="utf-8") as out:
            json.dump({**self.settings, **settings}, out, indent=1)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BIN, "kubelet"), "--config", config, "--root-dir", self.root,
                                             "--hostname-override", NODE_NAME, "--node-ip", NODE_IP, "--v", "3"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        if wait:
            require(wait_until(self.is_healthy, 60, 0.2), "the kubelet is not healthy after 60 s; its log ends with", self.log_text()[-1500:])
        return self

    def is_healthy(self):
        require(self.process.poll() is None, "the kubelet has ended; its log ends with", self.log_text()[-1500:])
        try:
            return fetch("http://127.0.0.1:%d/healthz" % self.health_port) == "ok" and self.pods() is not None
        except OSError:
            return False

    def stop(self, signal_number=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(signal_number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log_text(self, since=0):
        with open(self.log, "rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "replace")

    def get(self, path, timeout=20):
        """What its read-only port answers."""
        return fetch("http://127.0.0.1:%d%s" % (self.read_only_port, path), timeout)

    def ask(self, path, timeout=20, **query):
        """What its real port answers."""
        return fetch("https://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(query)), timeout)

    def pods(self):
        """name → pod, as the kubelet tells it"""
        return {p["metadata"]["name"]: p for p in json.loads(self.get("/pods"))["items"] or []}

    def metric(self, name):
        """The sum of a metric's samples, None if it is not there."""
        found = re.findall(r"^%s(?:\{[^}]*\})? (\S+)" % name, self.get("/metrics"), re.M)
        return sum(float(f) for f in found) if found else None


class StaticPod:
    """A manifest, and what became of it."""

    def __init__(self, node, name, spec, metadata):
        self.node, self.kubelet, self.given = node, node.kubelet, name
        self.name = "%s-%s" % (name, NODE_NAME)
        self.path = os.path.join(self.kubelet.manifests, name + ".json")
        self.metadata, self.spec = {"name": name, **metadata}, spec

    @property
    def client(self):
        return self.node.client

    def write(self):
        """The manifest as it is now; the kubelet reads it whole or not at all."""
        hidden = os.path.join(self.kubelet.directory, self.given + ".new")
        with open(hidden, "w", encoding="utf-8") as out:
            json.dump({"apiVersion": "v1", "kind": "Pod", "metadata": self.metadata, "spec": self.spec}, out)
        os.rename(hidden, self.path)
        return self

    def remove(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def pod(self):
        return self.kubelet.pods().get(self.name)

    @property
    def uid(self):
        return self.pod()["metadata"]["uid"]

    def status(self):
        return (self.pod() or {}).get("status", {})

    def containers(self):
        """name → status, of init containers too"""
        status = self.status()
        return {c["name"]: c for c in status.get("initContainerStatuses", []) + status.get("containerStatuses", [])}

    def wait(self, condition, what, seconds=60):
        """Waits until condition(status) is true; returns its value."""
        last = {}

        def there():
            nonlocal last
            last = self.status()
            return condition(last)

        return require(wait_until(there, seconds, 0.2), "pod %s: %s: not within %d s, but" % (self.name, what, seconds), json.dumps(last)[-900:])

    def wait_container(self, name, condition, what, seconds=60):
        """Waits until condition(status of that container) is true; returns the status."""
        found = None

        def there(unused):
            nonlocal found
            found = self.containers().get(name)
            return found and condition(found)

        self.wait(there, "container %s %s" % (name, what), seconds)
        return found

    def is_ready(self, status=None):
        status = status or self.status()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))

    def wait_ready(self, seconds=60):
        self.wait(self.is_ready, "ready", seconds)
        return self

    def wait_phase(self, phase, seconds=60):
        self.wait(lambda s: s.get("phase") == phase, "phase " + phase, seconds)
        return self.status()

    def wait_ended(self, name="main", seconds=60):
        """The state `terminated` of a container that is not started anew."""
        return self.wait_container(name, lambda c: "terminated" in c["state"], "ended", seconds)["state"]["terminated"]

    def id(self, name="main"):
        status = self.containers()[name]
        return require(status.get("containerID", ""), "container %s has no id" % name, status).rpartition("/")[2]

    def sh(self, script, name="main", timeout=20):
        """The standard output of a shell script in a container, which must end with 0."""
        reply = self.client.ExecSync(container_id=self.id(name), cmd=["/bin/sh", "-c", script], timeout=timeout)
        if reply.exit_code != 0:
            raise Failed("%s: exit code %d: %s%s" % (script, reply.exit_code, reply.stdout.decode(errors="replace"),
                                                     reply.stderr.decode(errors="replace")))
        return reply.stdout.decode()

    def logs(self, name="main", **query):
        return self.kubelet.ask("/containerLogs/default/%s/%s" % (self.name, name), **query)

    def wait_log(self, text, name="main", seconds=30):
        """Waits until its log, by the kubelet's interface, has this text; returns the log."""
        last = ""

        def there():
            nonlocal last
            try:
                last = self.logs(name)
            except OSError as error:
                last = str(error)
            return text in last

        require(wait_until(there, seconds, 0.2), "%s/%s did not log %r within %d s but" % (self.name, name, text, seconds), last[-600:])
        return last

    def sandboxes(self):
        return self.client.ListPodSandbox(filter=pb.PodSandboxFilter(label_selector={"io.kubernetes.pod.name": self.name})).items

    def is_gone(self):
        """Neither the kubelet nor the runtime runs anything of it. (Dead pods wait for the kubelet's collection, once a minute.)"""
        try:
            return self.pod() is None and not any(s.state == lib.READY for s in self.sandboxes())
        except grpc.RpcError as error:
            # Nobody answers for a moment when a test ends daemons.
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            return False

    def wait_gone(self, seconds=60):
        require(wait_until(self.is_gone, seconds, 0.2), "%s is not gone after %d s" % (self.name, seconds), self.status(), self.sandboxes())


class KubeletNode(Node):
    """What a test is called with: the suite, the kubelet, and the test's own pods."""

    def __init__(self, settings=None):
        super().__init__(settings)
        self.suite.settings["seccomp_dir"] = "/var/lib/kubelet/seccomp"
        self.kubelet = Kubelet(self.suite.socket)
        self.mine = threading.local()
        self.host = os.path.join(SCRATCH, "host")
        os.makedirs(self.host, exist_ok=True)

    def place(self, name, spec, **metadata):
        """A pod's manifest that is not there yet; write() puts it."""
        pod = StaticPod(self, name, spec, metadata)
        self.mine.pods.append(pod)
        return pod

    def run(self, *containers, metadata=None, **spec):
        """A pod with these containers."""
        self.mine.count += 1
        name = (metadata or {}).get("name") or "%s%s" % (self.mine.name, "-%d" % self.mine.count if self.mine.count > 1 else "")
        spec.setdefault("terminationGracePeriodSeconds", 1)
        return self.place(name, {"containers": list(containers), **spec}, **{k: v for k, v in (metadata or {}).items() if k != "name"}).write()

    def implements(self, call):
        """Whether the suite knows a call, which gets nothing."""
        try:
            reply = getattr(self.client, call)(deadline=2)
            if call in cri.STREAMING:
                next(reply)
        except grpc.RpcError as error:
            return error.code() != grpc.StatusCode.UNIMPLEMENTED
        return True

    def start_suite(self):
        """Starts the suite again; the test's own connection does not outlive the old one."""
        self.suite.start()
        self.reconnect()

    def reconnect(self):
        self.client.close()
        self.client = cri.Client(self.suite.socket)

    def folder(self):
        """A directory of the test's own on the host."""
        path = os.path.join(self.host, self.mine.name)
        os.makedirs(path, exist_ok=True)
        return path

    def scope(self, name):
        self.mine.name, self.mine.pods, self.mine.count = name[:40].strip("-"), [], 0

    def end_scope(self):
        for pod in self.mine.pods:
            pod.remove()

    def collect(self):
        """Has a kubelet remove at once what is dead, as it does when its disk is full; the images that nobody uses, too, in time."""
        self.kubelet.stop()
        self.kubelet.start(evictionHard={"nodefs.available": "99%"}, evictionPressureTransitionPeriod="1s")
        return self.wait_empty()

    def wait_empty(self, seconds=180):
        """Until the runtime has nothing left; the kubelet collects what is dead once a minute."""
        return wait_until(lambda: not self.client.ListPodSandbox().items and not self.client.ListContainers().containers, seconds, 0.5)


class Running:
    """Pods of several kinds, that must live on whatever happens beside them."""

    def __init__(self, node, init_containers=True):
        self.node = node
        probe = {"exec": {"command": ["/bin/sh", "-c", "test -e /tmp/fine"]}, "periodSeconds": 1, "failureThreshold": 1}
        mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        before = [container("touch /v/init", "init", **mount), container("exec sleep 10000", "sidecar", restartPolicy="Always")]
        self.pods = [
            node.run(container("i=0; while :; do echo $i; i=$((i + 1)); usleep 50000; done")),
            node.run(container("touch /tmp/fine; exec sleep 10000", livenessProbe=probe, readinessProbe=probe,
                               startupProbe={**probe, "failureThreshold": 30}), container("exec sleep 10000", "other"),
                     shareProcessNamespace=True),
            node.run(container("mkdir /www; exec httpd -f -p 8080 -h /www", readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                               ports=[{"containerPort": 8080, "hostPort": 18090}], **mount),
                     initContainers=before if init_containers else [], volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}]),
            node.run(container("exec sleep 10000"), hostNetwork=True)]
        for pod in self.pods:
            pod.wait_ready()
        self.before = self.state()

    def state(self):
        return {pod.name: {name: (c["containerID"], c["restartCount"]) for name, c in pod.containers().items()} for pod in self.pods}

    def check(self, seconds=60):
        """All of them are Ready, as the containers that they were."""
        for pod in self.pods:
            pod.wait_ready(seconds)
        # Some rounds of the probes and of the kubelet's own loops later, too.
        time.sleep(4)
        for pod in self.pods:
            require(pod.is_ready(), pod.name + " is not ready", pod.status())
        require_equal(self.state(), self.before, "the containers")
        for pod in self.pods:
            pod.sh("true")

    def check_log(self):
        """No line of the one that counts is lost or doubled."""
        pod = self.pods[0]
        directory = "/var/log/pods/default_%s_%s/main" % (pod.name, pod.uid)
        require(wait_until(lambda: os.path.exists(directory), 5), "no log")
        lines = [int(text) for name in sorted(os.listdir(directory), key=lambda n: (n.endswith(".log"), n))
                 for _, _, _, text in lib.read_log(os.path.join(directory, name))]
        require_equal(lines, list(range(len(lines))), "the lines")
        return len(lines)


def run_scoped(node, function):
    node.scope(function.__name__.replace("_", "-"))
    since = os.path.getsize(node.kubelet.log)
    try:
        outcome = run_one(node, function)
    finally:
        node.end_scope()
    if outcome == "not ok":
        words = [pod.name for pod in node.mine.pods]
        lines = [line for line in node.kubelet.log_text(since).splitlines() if any(w in line for w in words)]
        print("--- the kubelet's log of %s\n%s\n---" % (function.__name__, "\n".join(line[:400] for line in lines[-40:])), file=sys.stderr, flush=True)
    return outcome


def pod_cgroups():
    return [where for where, _, _ in os.walk("/sys/fs/cgroup") if re.search("/kubepods/(burstable/|besteffort/)?pod[^/]*$", where)]


def warm_up(node):
    """One pod of each quality, so that what is made at its first use is there before things are counted."""
    node.scope("warm-up")
    limits = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    pods = [node.run(container("sleep 1000")), node.run(container("sleep 1000", resources=limits)),
            node.run(container("sleep 1000", resources={"limits": {"cpu": "100m", "memory": "64Mi"}}))]
    for pod in pods:
        pod.wait_ready(90)
    node.end_scope()
    for pod in pods:
        pod.wait_gone()
    # Dead pods stay until the kubelet's next collection; that is awaited at the end, here there is no time for it.
    node.clear()
    require(wait_until(lambda: not pod_cgroups(), 60, 0.2), "cgroups of pods that are gone", pod_cgroups())


def settled(node):
    """What there is, when it has stopped changing: removals go on for a moment after their answer."""
    before = snapshot(node)
    for _ in range(60):
        time.sleep(1)
        now = snapshot(node)
        if now == before:
            break
        before = now
    return before


def run_all(images=("testbox:latest", "busybox:latest"), settings=None, workers=6, before=None, after=None, restarts=False):
    """restarts: tests end daemons on purpose. before(node) comes before the suite's start, after(node) after everything."""
    if not os.access(os.path.join(BIN, "kubelet"), os.X_OK):
        result("kubelet", "skip", "there is no kubelet (tests/kubelet/build)")
        return 0
    node = KubeletNode(settings)
    outcomes = []
    try:
        try:
            node.kubelet.prepare()
            if before:
                before(node)
            node.start()
            node.suite.import_images(IMAGES, images)
            node.kubelet.start()
            warm_up(node)
        except (Exception, grpc.RpcError) as error:
            lib.traceback.print_exc()
            result("start", "not ok", error)
            print("--- the suite's log\n%s---" % node.suite.log_text()[-6000:], file=sys.stderr, flush=True)
            return 1
        chosen = [t for t in tests if not sys.argv[1:] or t.__name__.replace("_", "-") in sys.argv[1:]]
        was, known = settled(node), node.suite.daemons()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            outcomes += pool.map(lambda t: run_scoped(node, t), [t for t in chosen if t not in not_alongside])
        for function in [t for t in chosen if t in not_alongside]:
            outcomes.append(run_scoped(node, function))
        now = node.suite.daemons()
        ended = sorted(n for n in known if n not in now or (now[n] != known[n] and not restarts))
        outcomes.append("not ok" if ended else "ok")
        result("daemons", outcomes[-1], "ended while they worked: %s" % ", ".join(ended) if ended else "")
        empty = node.collect()
        left = ["%s/%s" % (s.metadata.name, s.metadata.attempt) for s in node.client.ListPodSandbox().items]
        outcomes.append("ok" if empty else "not ok")
        result("collected", outcomes[-1], "" if empty else "pods are still there: %s" % left)
        wait_until(lambda: not difference(was, snapshot(node)), 10, 0.5)
        leak = difference(was, snapshot(node))
        outcomes.append("not ok" if leak else "ok")
        result("leaks", outcomes[-1], leak)
        return 1 if "not ok" in outcomes else 0
    finally:
        node.kubelet.stop()
        if after:
            after(node)
        node.stop()
        keep = os.environ.get("BULKHEAD_KEEP")
        if keep:
            shutil.copy(node.kubelet.log, os.path.join(keep, "kubelet.log"))
            shutil.copy(node.suite.log, os.path.join(keep, "suite.log"))


def main(**more):
    sys.exit(run_all(**more))
