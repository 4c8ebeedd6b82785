"""One hand of imaged, for real: the test is linkd (its control channel) and imaged (its edge).

    hand = Hand("imaged-tree", scratch, section=b"")
    answer = hand.call("tree_measure", TreeName(kind=1, name="ab…"))      # flat edges
    answer = hand.call("parse_token", {"document": b"…"})                 # protobuf edges
    answer.code, answer.text, answer.body, answer.fds

Structs, rows, ids and messages are read from the headers and schemas of ipc/, so that this follows them.
"""
import array
import ast
import importlib
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PLAIN = {"char": (1, "c"), "uint8_t": (1, "B"), "uint16_t": (2, "H"), "uint32_t": (4, "I"), "uint64_t": (8, "Q"),
         "int32_t": (4, "i"), "int64_t": (8, "q")}
USER_BASE = 1879048192 + 4096


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as source:
        return source.read()


class Headers:
    """Sizes and offsets of the flat structs, as a compiler for this ABI lays them out: only what these headers use."""

    def __init__(self, *paths):
        text = "\n".join(read(p) for p in paths)
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        self.constants = {}
        for name, value in re.findall(r"^#define (\w+) (.+)$", text, re.M):
            self.define(name, re.sub(r"UINT32_C\((\w+)\)", r"\1", value))
        for body in re.findall(r"enum(?: \w+)? \{([^}]*)\}", text):
            self.enumerate(body)
        self.structs = {}
        for name, body in re.findall(r"typedef struct (\w+) \{\n(.*?)\n\} \1;", text, re.S):
            if "union" not in body and "*" not in body:
                self.structs[name] = self.fields(body)

    def define(self, name, value):
        try:
            self.constants[name] = self.number(value)
        except (ValueError, SyntaxError, KeyError):
            pass

    def number(self, text):
        text = re.sub(r"(?<!\w)[A-Za-z_]\w*", lambda m: str(self.constants[m[0]]), text.strip())
        tree = ast.parse(text, mode="eval")
        if not all(isinstance(n, (ast.Expression, ast.BinOp, ast.Constant, ast.operator)) for n in ast.walk(tree)):
            raise ValueError(text)
        return eval(compile(tree, "", "eval"))  # pylint: disable=eval-used

    def enumerate(self, body):
        at = 0
        for part in body.split(","):
            name, _, value = part.strip().partition("=")
            if value:
                try:
                    at = self.number(value)
                except (ValueError, SyntaxError, KeyError):
                    return
            if re.fullmatch(r"\w+", name.strip()):
                self.constants[name.strip()] = at
                at += 1

    def fields(self, body):
        found = []
        for kind, names in re.findall(r"^\s*(\w+) ([^;]+);", body, re.M):
            for one in names.split(","):
                name, *sizes = re.split(r"[\[\]]+", one.strip().rstrip("]"))
                found.append((name, kind, [self.number(s) for s in sizes if s]))
        return found

    def layout(self, name):
        """[(field, kind, dimensions, offset)], size, alignment."""
        at, widest, rows = 0, 1, []
        for field, kind, dimensions in self.structs[name]:
            size, alignment = PLAIN[kind][0], PLAIN[kind][0]
            if kind not in PLAIN:
                _, size, alignment = self.layout(kind)
            at = -(-at // alignment) * alignment
            rows.append((field, kind, dimensions, at))
            for n in dimensions:
                size *= n
            at, widest = at + size, max(widest, alignment)
        return rows, -(-at // widest) * widest, widest

    def pack(self, name, /, **values):
        rows, size, _ = self.layout(name)
        out = bytearray(size)
        for field, kind, dimensions, at in rows:
            if field not in values:
                continue
            value, width = values.pop(field), PLAIN[kind][0]
            if kind in ("char", "uint8_t") and dimensions:
                parts = value if isinstance(value, (list, tuple)) else [value]
                for i, part in enumerate(parts):
                    part = part.encode() if isinstance(part, str) else bytes(part)
                    assert len(part) <= dimensions[-1], (field, part)
                    start = at + i * dimensions[-1]
                    out[start:start + len(part)] = part
            else:
                parts = value if dimensions else [value]
                for i, part in enumerate(parts):
                    struct.pack_into("<" + PLAIN[kind][1], out, at + i * width, part)
        assert not values, "no such fields in %s: %s" % (name, values)
        return bytes(out)

    def unpack(self, name, data):
        rows, size, _ = self.layout(name)
        assert len(data) == size, "%s has %d bytes, not %d" % (name, size, len(data))
        found = {}
        for field, kind, dimensions, at in rows:
            width = PLAIN[kind][0]
            if kind in ("char", "uint8_t") and dimensions:
                rest = dimensions[-1]
                n = 1
                for more in dimensions[:-1]:
                    n *= more
                parts = [data[at + i * rest:at + (i + 1) * rest] for i in range(n)]
                if kind == "char":
                    parts = [p.split(b"\0")[0].decode(errors="replace") for p in parts]
                found[field] = parts if len(dimensions) > 1 else parts[0]
            else:
                n = dimensions[0] if dimensions else 1
                parts = [struct.unpack_from("<" + PLAIN[kind][1], data, at + i * width)[0] for i in range(n)]
                found[field] = parts if dimensions else parts[0]
        return found


def _load_messages(edge):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["protoc", "--python_out", scratch, "-I", TOP, "ipc/edges/containerd-imaged.proto",
                        "ipc/edges/%s.proto" % edge], check=True, cwd=TOP)
        sys.path.insert(0, scratch)
        try:
            return importlib.import_module("ipc.edges.%s_pb2" % edge.replace("-", "_"))
        finally:
            sys.path.remove(scratch)
            for name in [m for m in sys.modules if m == "ipc" or m.startswith("ipc.")]:
                if not name.endswith("_pb2"):
                    del sys.modules[name]


C = Headers("ipc/seal.h", "lib/strings.h", "ipc/config.h", "ipc/control.h", "ipc/wire.h", "ipc/edges/imaged-tree.h")


def _topology(what):
    block = re.search(r"#define TOPOLOGY_%s\(\w\)(.*?)\n\n" % what, read("ipc/topology.h") + "\n\n", re.S)[1]
    return re.findall(r'\w\(\w+, *"([\w-]+)"', block)


PROCESSES, EDGES = _topology("PROCESSES"), _topology("EDGES")
ROW = re.compile(r"row (\d+) (?:request|event) (\w+): (\S+)(?: -> (\S+))? from")


class Answer:
    def __init__(self, code, text, body, fds):
        self.code, self.text, self.body, self.fds = code, text, body, fds

    def __repr__(self):
        return "code %d, %r, %r" % (self.code, self.text, self.body)


class Hand:
    """name: of the hand and of its edge; of the edge alone where program says which executable of the build it is."""

    def __init__(self, name, scratch, section=b"", build=None, log=None, program=None):
        build = build or os.environ["BULKHEAD_BUILD"]
        self.name, self.state, self.runtime = name, os.path.join(scratch, "state"), os.path.join(scratch, "run")
        self.flat = os.path.exists(os.path.join(TOP, "ipc/edges", name + ".h"))
        schema = read("ipc/edges/%s.%s" % (name, "h" if self.flat else "proto"))
        self.rows = {row[1]: (int(row[0]), row[2], row[3]) for row in ROW.findall(schema)}
        self.messages = None if self.flat else _load_messages(name)
        self.request = 0
        self.waiting = {}
        self.make_directories()
        self.log_path = log or os.path.join(scratch, name + ".log")
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = control
        program = os.path.join(build, program or "services/imaged/%s/bulkhead-%s" % (name.split("-", 1)[1], name))
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={},
                                            pass_fds=[theirs.fileno()] if theirs.fileno() == 3 else [3],
                                            preexec_fn=lambda: os.dup2(theirs.fileno(), 3, inheritable=True))
        theirs.close()
        self.configure(section)

    def make_directories(self):
        for path, mode in ((self.state, 0o711), (self.runtime, 0o711), (self.runtime + "/empty", 0o711)):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        for name in ("layers", "writable", "imports", "import"):
            os.makedirs(os.path.join(self.state, name), mode=0o700, exist_ok=True)

    def configure(self, section):
        self.receive_control("CONTROL_HELLO")
        common = C.pack("ConfigCommon", state_dir=self.state, runtime_dir=self.runtime, user_base=USER_BASE, log_level=7)
        body = common + struct.pack("<II", len(section), 0) + section
        self.send_control("CONTROL_CONFIG", body)
        self.send_control("CONTROL_GO", b"")
        self.receive_control("CONTROL_STATE")
        self.edge, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        edge = C.pack("ControlEdge", edge=EDGES.index(self.name), side=1, generation=1)
        self.send_control("CONTROL_EDGE", edge, theirs.fileno())
        theirs.close()

    def send_control(self, kind, body, fd=None):
        header = struct.pack("<IHHII", C.constants["CONTROL_MAGIC"], C.constants[kind], 0, len(body), 0)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.control.sendmsg([header + body], rights)

    def receive_control(self, kind):
        if not select.select([self.control], [], [], 20)[0]:
            raise TimeoutError("%s said nothing; see %s" % (self.name, self.log_path))
        data = self.control.recv(65536)
        if not data:
            raise EOFError("%s ended: %s" % (self.name, self.log()))
        got = struct.unpack_from("<IH", data)[1]
        assert got == C.constants[kind], "control type %d, not %s" % (got, kind)
        return data[16:]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def send(self, row, body=None, fds=(), raw=None):
        """Sends a request and returns its id."""
        number, kind, _ = self.rows[row]
        self.request += 1
        if raw is not None:
            payload = raw
        elif self.flat:
            payload = C.pack(kind, **body) if body is not None else b""
        else:
            payload = getattr(self.messages, kind)(**body).SerializeToString()
        flags, sent = 0, list(fds)
        data = payload
        if len(payload) > C.constants["WIRE_PAYLOAD_MAX"]:
            memory = os.memfd_create("payload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            with os.fdopen(os.dup(memory), "wb") as out:
                out.write(payload)
            import fcntl
            fcntl.fcntl(memory, 1033, 0xf)  # F_ADD_SEALS: SEAL, SHRINK, GROW, WRITE
            flags, sent, data = 4, [memory] + sent, b""
        header = struct.pack("<IHHII", C.constants["WIRE_MAGIC"], number, flags, len(payload), self.request)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent))] if sent else []
        self.edge.sendmsg([header + data], rights)
        if flags:
            os.close(memory)
        self.waiting[self.request] = row
        return self.request

    def receive(self, timeout=60):
        """The next answer: (request id, Answer)."""
        if not select.select([self.edge], [], [], timeout)[0]:
            raise TimeoutError("%s did not answer; its log: %s" % (self.name, self.log()))
        data, rights, _, _ = self.edge.recvmsg(70000, socket.CMSG_SPACE(64), socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise EOFError("%s closed its edge: %s" % (self.name, self.log()))
        fds = [fd for _, _, more in rights for fd in array.array("i", more)]
        _, number, flags, length, request = struct.unpack_from("<IHHII", data)
        body = data[16:]
        if flags & 4:
            body = os.pread(fds[0], length, 0)
            os.close(fds.pop(0))
        row = self.waiting.pop(request)
        assert number == self.rows[row][0] and flags & 1 and len(body) == length, (number, flags, length)
        if flags & 2:
            return request, Answer(struct.unpack_from("<I", body)[0], body[4:].decode(), None, fds)
        kind = self.rows[row][2]
        if kind == "-":
            return request, Answer(0, "", None, fds)
        if self.flat:
            return request, Answer(0, "", C.unpack(kind, body), fds)
        return request, Answer(0, "", getattr(self.messages, kind).FromString(body), fds)

    def call(self, row, body=None, fds=(), raw=None, timeout=60):
        request = self.send(row, body, fds, raw)
        got, answer = self.receive(timeout)
        assert got == request
        return answer

    def children(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid), encoding="ascii") as listed:
            return listed.read().split()

    def settle(self, seconds=20):
        """Waits until no job runs."""
        end = time.monotonic() + seconds
        while self.children():
            if time.monotonic() > end:
                raise TimeoutError("%s still has children: %s" % (self.name, self.children()))
            time.sleep(0.01)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(30)
        self.control.close()
        self.edge.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


class Results:
    """ok and not ok lines; every test function is called with what the caller gives."""

    def __init__(self):
        self.failed = 0

    def run(self, function, *arguments):
        started = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # pylint: disable=broad-except
            import traceback
            traceback.print_exc()
            self.failed += 1
            print("not ok %s: %s" % (function.__name__, str(error).replace("\n", " ")[:300]), flush=True)
        else:
            print("ok %s" % function.__name__, flush=True)
        print("%s took %.1f s" % (function.__name__, time.monotonic() - started), file=sys.stderr, flush=True)


def clean(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path
