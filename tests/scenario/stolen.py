"""What the scenarios of brains that were taken over are written with: requests of a kubelet that reached a stopped brain."""
import os
import struct
import threading

from lib import CODES, TESTBOX, Client, Failed, grpc, pb, require, wait_until
from takeover import Refused, load_messages, permit_fields, sealed
import cri

pod_calls, container_calls, image_calls, images, runtime_spec, leases, networks, fetches, documents, logs = load_messages(
    "ipc/edges/gatewayd-sandboxd.proto", "ipc/edges/gatewayd-containerd.proto", "ipc/edges/gatewayd-imaged.proto",
    "ipc/edges/containerd-imaged.proto", "ipc/edges/runtime-spec.proto", "ipc/edges/containerd-sandboxd.proto", "ipc/edges/cni.proto",
    "ipc/edges/imaged-fetch.proto", "ipc/edges/imaged-parse.proto", "ipc/edges/containerd-logd.proto")
PERMISSION_DENIED, INVALID_ARGUMENT, FAILED_PRECONDITION, NOT_FOUND = 7, 3, 9, 5
CLOSED = -1  # the peer ended the edge: what came was no message of it


def must_refuse(what, call, *codes):
    try:
        call()
    except Refused as refusal:
        require(not codes or refusal.code in codes, "%s: refused with the wrong code" % what, refusal.code, refusal.text)
        return refusal
    raise Failed("%s was not refused" % what)


def recovered(node):
    """The daemon that was taken over is a new one now, and answers."""
    def answers():
        try:
            # Each of these is answered UNAVAILABLE by a brain that still recovers, and does nothing.
            node.client.StopPodSandbox(pod_sandbox_id="f" * 64)
            node.client.StopContainer(container_id="f" * 64)
            node.client.RemoveImage(image=pb.ImageSpec(image="sha256:" + "f" * 64))
            node.clear()
            return True
        except grpc.RpcError as error:
            if error.code() != CODES.UNAVAILABLE:
                raise
            return False
    require(wait_until(answers, 20), "the suite did not come back after a takeover")


def in_background(call):
    """The kubelet's call that the stopped daemon is asked; its own end does not matter."""
    def run():
        try:
            call()
        except Exception:  # the daemon that had it is killed
            pass
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def setup_make(permit, hostname=b"taken", sysctls=()):
    packed = b"".join(struct.pack("=128s256s", n, v) for n, v in sysctls).ljust(30 * 384, b"\0")
    return permit + struct.pack("=256s8192sII", hostname, b"", len(sysctls), 0) + packed


class Stolen:
    """A CreateContainer that reached a stopped containerd, with everything prepared up to the launch."""

    def __init__(self, node, brain, pod, **config):
        self.brain, self.node = brain, node
        container = cri.container_config("taken", TESTBOX, ["/bin/sleep", "60"], **config)
        in_background(lambda: Client(node.suite.socket).CreateContainer(pod_sandbox_id=pod.id, config=container, sandbox_config=pod.config))
        self.call = container_calls.CreateContainerCall.FromString(brain.receive("gatewayd-containerd", "create_container"))
        self.permit, self.fields = self.call.permit, permit_fields(self.call.permit)
        brain.ask("containerd-sandboxd", "lease_take", leases.LeaseTakeRequest(
            pod_id=pod.id, container_id=self.call.id).SerializeToString())
        reply, _ = brain.ask("containerd-imaged", "image_get", images.ImageGetRequest(
            reference=TESTBOX, container_id=self.call.id).SerializeToString())
        self.image = images.ImageGetResponse.FromString(reply)
        brain.ask("containerd-imaged", "writable_prepare", images.WritablePrepareRequest(
            container_id=self.call.id, image_id=self.image.image_id, owner_id=self.fields["userns_host_id"]).SerializeToString())
        self.pod = pod

    def prepare(self, permit=None, statement=None):
        return self.brain.ask("containerd-setup", "rootfs_prepare", (permit or self.permit) + (statement or self.image.statement) + bytes(4))

    def spec(self):
        spec = runtime_spec.RuntimeSpec(container_id=self.call.id, pod_id=self.pod.id,
                                        network_pin="%sbh-%s" % (self.node.suite.name, self.pod.id),
                                        cgroup_parent=self.pod.config.linux.cgroup_parent)
        spec.process.args.extend(["/bin/sleep", "60"])
        spec.process.env.append(b"PATH=/bin")
        spec.process.cwd = "/"
        spec.process.has_oom_score_adj = True
        security = cri.pb.CreateContainerRequest.FromString(self.call.request).config.linux.security_context
        spec.masked_paths.extend(security.masked_paths)
        spec.readonly_paths.extend(security.readonly_paths)
        spec.process.no_new_privileges = security.no_new_privs
        kinds = [(1, "/proc"), (4, "/dev"), (5, "/dev/pts"), (2, "/sys")]
        for kind, destination in kinds:
            spec.mounts.add(kind=kind, destination=destination, readonly=kind == 2)
        if security.HasField("seccomp"):
            spec.seccomp.mode = 1
        return spec

    def launch(self, spec, request=None, permit=None):
        fds = [sealed(spec.SerializeToString()), sealed(request or self.call.request)]
        try:
            reply, received = self.brain.ask("containerd-launch", "launch_create",
                                             (permit or self.permit) + struct.pack("=II", 0, 12), fds)
        finally:
            for fd in fds:
                os.close(fd)
        for fd in received:
            os.close(fd)
        return reply

    def clean(self):
        ident = self.fields["id"].ljust(68, b"\0")
        for edge, message, body in (("containerd-launch", "launch_delete", ident + struct.pack("=I", 0)),
                                    ("containerd-setup", "rootfs_remove", ident)):
            self.brain.ask(edge, message, body)
        self.brain.ask("containerd-imaged", "writable_remove", images.WritableRemoveRequest(container_id=self.call.id).SerializeToString())
        self.brain.ask("containerd-sandboxd", "lease_release", leases.LeaseReleaseRequest(
            pod_id=self.pod.id, container_id=self.call.id).SerializeToString())


def plain_security():
    security = pb.LinuxContainerSecurityContext(no_new_privs=True, masked_paths=cri.MASKED_PATHS, readonly_paths=cri.READONLY_PATHS)
    security.namespace_options.pid = cri.CONTAINER
    security.seccomp.profile_type = pb.SecurityProfile.RuntimeDefault
    return security
