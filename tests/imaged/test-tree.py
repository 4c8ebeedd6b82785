#!/usr/bin/python3
"""imaged-tree, for real and confined: layers, hostile layers, removal, measuring, volumes, users, imports, crashes.

usage: test-tree.py SCRATCH          (as root, on a test host; BULKHEAD_BUILD and BULKHEAD_IMAGES as for scenarios)
"""
import ctypes
import gzip
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = sys.argv[1]
CANARY = os.path.join(SCRATCH, "canary")
os.environ["CANARY"] = CANARY
sys.path[:0] = [os.path.join(TOP, "tests/fixture"), os.path.join(TOP, "tests/imaged")]
import hand as hands  # noqa: E402
import hostile  # noqa: E402
import ociimage as oci  # noqa: E402
from hand import Hand, Results, clean  # noqa: E402

LAYER, WRITABLE, IMPORT = 1, 2, 3
OK, INVALID, DEADLINE, NOT_FOUND, EXHAUSTED, PRECONDITION = 0, 3, 4, 5, 8, 9
MAX_ENTRIES, MAX_BYTES = 200000, 1 << 30
libc = ctypes.CDLL(None, use_errno=True)


def sha256(data):
    return hashlib.sha256(data).digest()


def name_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Layer:
    def __init__(self, data):
        if isinstance(data, oci.Layer):
            self.blob, self.diff_id = data.blob, bytes.fromhex(data.diff_id.split(":")[1])
        else:
            self.blob, self.diff_id = oci.compress(data), sha256(data)
        self.digest = sha256(self.blob)
        self.name = self.digest.hex()


def unpack(hand, layer, diff_id=None, max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES, timeout=120):
    fd = os.memfd_create("blob")
    with os.fdopen(fd, "wb", closefd=False) as out:
        out.write(layer.blob)
    try:
        return hand.call("tree_unpack", {"layer": layer.digest, "diff_id": diff_id or layer.diff_id, "compression": 1,
                                         "max_entries": max_entries, "max_bytes": max_bytes}, [fd], timeout=timeout)
    finally:
        os.close(fd)


def path_of(hand, name, kind="layers"):
    return os.path.join(hand.state, kind, name)


def listing(hand, kind="layers"):
    return sorted(os.listdir(os.path.join(hand.state, kind)))


def mount_overlay(lower, target, upper=None):
    os.makedirs(target, exist_ok=True)
    options = "userxattr,lowerdir=" + ":".join(lower)
    if upper:
        options += ",upperdir=%s/upper,workdir=%s/work" % (upper, upper)
    if libc.mount(b"overlay", target.encode(), b"overlay", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mounting an overlay: " + options[:100])


def unmount(target):
    libc.umount2(target.encode(), 2)


def snapshot(path):
    """Everything that an escape could change."""
    found = {}
    for root, directories, files in os.walk(path):
        for entry in [root] + [os.path.join(root, f) for f in directories + files]:
            st = os.lstat(entry)
            text = ""
            if stat.S_ISREG(st.st_mode):
                with open(entry, "rb") as opened:
                    text = opened.read()
            found[entry] = (st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size, st.st_mtime_ns, st.st_ctime_ns, text,
                            tuple(os.listxattr(entry, follow_symlinks=False)))
    return found


def make_canary():
    clean(CANARY)
    with open(os.path.join(CANARY, "f"), "w", encoding="ascii") as out:
        out.write("alive")
    with open(os.path.join(CANARY, ".wh.f"), "w", encoding="ascii") as out:
        out.write("alive")


def need(condition, text):
    if not condition:
        raise AssertionError(text)


# Layers -------------------------------------------------------------------------------------------------------------


def image_layers():
    """The layers of the fixture's image of everything, and the tree they must give."""
    images = os.environ["BULKHEAD_IMAGES"]
    with open(os.path.join(images, "index.json"), encoding="utf-8") as index:
        found = [m for m in json.load(index)["manifests"]
                 if m["annotations"]["org.opencontainers.image.ref.name"].startswith("layers:")]

    def blob(digest):
        with open(os.path.join(images, "blobs", *digest.split(":")), "rb") as opened:
            return opened.read()

    manifest = json.loads(blob(found[0]["digest"]))
    config = json.loads(blob(manifest["config"]["digest"]))
    layers = [oci.Layer(blob=blob(d["digest"]), diff_id=i) for d, i in zip(manifest["layers"], config["rootfs"]["diff_ids"])]
    with open(os.path.join(images, "layers.expected.json"), encoding="utf-8") as expected:
        return [Layer(layer) for layer in layers], json.load(expected)


def compare(root, path, expected):
    full = os.path.join(root, path)
    if expected is None:
        need(not os.path.lexists(full), "%s must not exist" % path)
        return
    st = os.lstat(full)
    kinds = {"file": stat.S_ISREG, "directory": stat.S_ISDIR, "symlink": stat.S_ISLNK, "fifo": stat.S_ISFIFO}
    need(kinds[expected["type"]](st.st_mode), "%s is no %s" % (path, expected["type"]))
    for key, value in (("mode", stat.S_IMODE(st.st_mode)), ("uid", st.st_uid), ("gid", st.st_gid), ("links", st.st_nlink)):
        need(key not in expected or expected[key] == value, "%s: %s is %o" % (path, key, value))
    if "text" in expected:
        with open(full, encoding="utf-8") as opened:
            need(opened.read() == expected["text"], "%s has other content" % path)
    if "target" in expected:
        need(os.readlink(full) == expected["target"], "%s points elsewhere" % path)
    for name, value in expected.get("xattrs", {}).items():
        need(os.getxattr(full, name).hex() == value, "%s: attribute %s" % (path, name))


def layers_are_as_they_should(hand):
    layers, expected = image_layers()
    for layer in layers:
        answer = unpack(hand, layer)
        need(answer.code == OK and answer.body["diff_id"] == layer.diff_id, answer)
        need(answer.body["inodes"] > 0 and answer.body["is_opaque"] == 0, answer)
        again = unpack(hand, layer)
        need(again.code == OK and again.body == answer.body, "the second time: %r" % again)
    names = [n for n in hand.call("tree_list", {"kind": LAYER}).body["names"] if n]
    need(names == sorted(layer.name for layer in layers), names)
    merged = stack(hand, layers)
    target = os.path.join(SCRATCH, "merged")
    mount_overlay([path_of(hand, name) for name in reversed(merged)], target)
    try:
        for path, what in expected.items():
            compare(target, path, what)
    finally:
        unmount(target)


def stack(hand, layers):
    """Names of the layers to mount, lowest first."""
    body = {"n_layers": len(layers), "layers": [layer.digest for layer in layers]}
    answer = hand.call("tree_stack", body)
    need(answer.code == OK, answer)
    need(hand.call("tree_stack", body).body == answer.body, "a second answer differs")
    return [digest.hex() for digest in answer.body["layers"][:answer.body["n_layers"]]]


def directories_that_layers_leave_out(hand):
    def layer(*entries):
        made = Layer(oci.tar(*entries))
        need(unpack(hand, made).code == OK, "unpacking")
        return made

    low = layer(oci.directory("tmp/", mode=0o1777), oci.directory("home/"), oci.directory("home/u/", mode=0o700, uid=5, gid=6, mtime=77),
                oci.directory("home/u/deep/", mode=0o2750, xattrs={"user.a": b"b"}), oci.directory("etc/"),
                oci.directory("gone/", mode=0o700), oci.directory("hidden/", mode=0o700), oci.directory("hidden/x/", mode=0o711),
                oci.directory("said/", mode=0o700))
    files = layer(oci.file("tmp/f", "x"), oci.file("home/u/deep/new/f", "x"), oci.file("etc/f", "x"), oci.file("hidden/x/f", "x"),
                  oci.file("gone/f", "x"), oci.file("said/f", "x"))
    hides = layer(oci.file(".wh.gone"), oci.directory("hidden/", mode=0o755), oci.file("hidden/.wh..wh..opq"), oci.file("hidden/x/g", "x"),
                  oci.directory("said/", mode=0o711))
    names = stack(hand, [low, files, hides])
    need(names[:3] == [low.name, files.name, hides.name] and len(names) == 4, names)
    target = os.path.join(SCRATCH, "merged")
    mount_overlay([path_of(hand, name) for name in reversed(names)], target)
    try:
        for path, mode, uid in (("tmp", 0o1777, 0), ("home", 0o755, 0), ("home/u", 0o700, 5), ("home/u/deep", 0o2750, 0),
                                ("home/u/deep/new", 0o755, 0), ("etc", 0o755, 0), ("hidden", 0o755, 0), ("hidden/x", 0o755, 0),
                                ("said", 0o711, 0)):
            st = os.stat(os.path.join(target, path))
            need((stat.S_IMODE(st.st_mode), st.st_uid) == (mode, uid), "%s is %o of %d" % (path, st.st_mode, st.st_uid))
            need(all("overlay" not in x for x in os.listxattr(os.path.join(target, path))), "a mark is seen on " + path)
        need(os.getxattr(target + "/home/u/deep", "user.a") == b"b" and os.stat(target + "/home/u").st_mtime == 77, "attributes")
        need(not os.path.exists(target + "/gone") and sorted(os.listdir(target + "/hidden/x")) == ["g"], "what was hidden is back")
        need(sorted(os.listdir(target + "/said")) == ["f"] and os.listdir(target + "/home/u/deep/new") == ["f"], "files")
    finally:
        unmount(target)
    made = [os.path.relpath(os.path.join(r, d), path_of(hand, names[3])) for r, ds, _ in os.walk(path_of(hand, names[3])) for d in ds]
    need(sorted(made) == ["home", "home/u", "home/u/deep", "tmp"], made)
    # The positive control: without the made layer they come out wrong.
    mount_overlay([path_of(hand, name) for name in reversed(names[:3])], target)
    try:
        need(stat.S_IMODE(os.stat(target + "/tmp").st_mode) == 0o755, "overlayfs does what this is for")
    finally:
        unmount(target)
    need(stack(hand, [low]) == [low.name] and stack(hand, [files, low]) == [files.name, low.name] and stack(hand, []) == [], "none needed")
    ordinary = layer(oci.directory("etc/"), oci.directory("tmp/"))
    need(len(stack(hand, [ordinary, files])) == 2, "ordinary directories need none")
    root = layer(oci.file(".wh..wh..opq"), oci.file("only", "x"))
    need(stack(hand, [low, files, root]) == [root.name] and stack(hand, [low, root, files]) == [root.name, files.name], "an opaque root")
    body = {"n_layers": 1, "layers": [bytes(32)]}
    need(hand.call("tree_stack", body).code == PRECONDITION and hand.call("tree_stack", {"n_layers": 129}).code == INVALID, "no layers")


def metadata_is_kept(hand):
    layer = Layer(oci.tar(
        oci.directory("./", mode=0o711, uid=3, gid=4, mtime=5),
        oci.directory("g/", mode=0o2775, uid=7, gid=8, mtime=1000), oci.file("g/f", "x", mtime=2000),
        oci.directory("g/sub/", mtime=3000),
        oci.file("g/sub/frac", "x", records={"mtime": "1234.5678"}), oci.symlink("g/s", "f", uid=9, gid=10, mtime=4000),
        oci.file("zeros", bytes(3 << 20)), oci.file("mixed", b"a" * 70000 + bytes(200000) + b"b" * 10),
        oci.file("zero-end", b"a" * (1 << 16) + bytes(1 << 18)),
        oci.entry("v7/", b"", type=b"\0", magic=b"\0" * 8),
        oci.header("p", prefix=b"some/prefix"),
        oci.header("././@LongLink", type=b"L", size=151) + oci.padded(b"gnu/" + b"n" * 146 + b"\0") +
        oci.header("gnu/" + "n" * 96, magic=b"ustar  \0", size=1) + oci.padded(b"x"),
        oci.file("real/dir/there", "x"), oci.symlink("way", "real/dir"), oci.symlink("round", "/way/../dir"),
        oci.file("way/through", "x"), oci.file("round/about", "y"), oci.file("way/new/file", "z"),
        oci.hardlink("way/linked", "round/about"),
        oci.device("dev/null", 1, 3),
        oci.file("huge-time", "", records={"mtime": "-1.5"}),
        oci.directory("twice/", mode=0o2755), oci.directory("twice/", mode=0o700, uid=1)))
    answer = unpack(hand, layer)
    need(answer.code == OK, answer)
    root = path_of(hand, layer.name)
    st = os.stat(root)
    need((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime) == (0o711, 3, 4, 5), st)
    st = os.stat(root + "/g")
    need((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime) == (0o2775, 7, 8, 1000), st)
    need(os.stat(root + "/g/f").st_gid == 0 and os.stat(root + "/g/f").st_mtime == 2000, "the group was inherited")
    need(os.stat(root + "/g/sub").st_mode & 0o7777 == 0o755 and os.stat(root + "/g/sub").st_gid == 0, "setgid was inherited")
    need(os.stat(root + "/g/sub/frac").st_mtime_ns == 1234567800000, "the fraction of a time")
    st = os.lstat(root + "/g/s")
    need((st.st_uid, st.st_gid, st.st_mtime) == (9, 10, 4000), "the owner of a symlink")
    for name, content in (("zeros", bytes(3 << 20)), ("mixed", b"a" * 70000 + bytes(200000) + b"b" * 10),
                          ("zero-end", b"a" * (1 << 16) + bytes(1 << 18))):
        with open(os.path.join(root, name), "rb") as opened:
            need(opened.read() == content, name)
    need(os.stat(root + "/zeros").st_blocks * 512 < 100000, "3 MiB of zeros take room")
    need(os.path.isdir(root + "/v7") and os.path.exists(root + "/some/prefix/p"), "old names")
    need(os.path.exists(root + "/gnu/" + "n" * 146), "GNU's long name")
    for name in ("through", "about", "new/file", "linked"):
        need(os.path.isfile(root + "/real/dir/" + name), "through a symlink: " + name)
    need(os.path.samefile(root + "/real/dir/linked", root + "/real/dir/about"), "a hard link through symlinks")
    need(not os.path.exists(root + "/dev/null"), "a device")
    need(os.stat(root + "/huge-time").st_mtime_ns == -1500000000, "a time before 1970")
    st = os.stat(root + "/twice")
    need((stat.S_IMODE(st.st_mode), st.st_uid) == (0o700, 1), "a directory said twice")


def whiteouts_are_overlays(hand):
    layer = Layer(oci.tar(oci.file("a/.wh.gone"), oci.directory("b/"), oci.file("b/.wh..wh..opq"),
                          oci.file(".wh.c"), oci.directory("c/"), oci.file("c/f", "x"),
                          oci.directory("d/"), oci.file(".wh.d"), oci.file("e", "x"), oci.file(".wh.e"),
                          oci.file(".wh.g"), oci.file("g/deep/f", "x")))
    need(unpack(hand, layer).code == OK, "it was refused")
    root = path_of(hand, layer.name)
    st = os.lstat(root + "/a/gone")
    need(stat.S_ISCHR(st.st_mode) and st.st_rdev == 0, "no whiteout")
    for opaque in "bcdg":
        need(os.getxattr(root + "/" + opaque, "user.overlay.opaque") == b"y", opaque + " is not opaque")
    need(os.path.isfile(root + "/e"), "a whiteout took what its own layer has")
    opaque = unpack(hand, Layer(oci.tar(oci.file(".wh..wh..opq"), oci.file("f", "x"))))
    need(opaque.code == OK and opaque.body["is_opaque"] == 1, opaque)


def compressions(hand):
    archive = oci.tar(*[oci.file("f%d" % i, os.urandom(5000) * 20) for i in range(30)])
    forms = {"plain": archive, "gzip": oci.compress(archive),
             "members": b"".join(oci.compress(archive[i:i + 10000]) for i in range(0, len(archive), 10000)),
             "stored": gzip.compress(archive, 0)}
    for flags in ([], ["--ultra", "-22"], ["--long=27"]):
        forms["zstd" + "".join(flags)] = subprocess.run(["zstd", "-q", "-c", *flags], input=archive, capture_output=True,
                                                        check=True).stdout
    forms["zstd frames"] = forms["zstd"][:0] + b"".join(
        subprocess.run(["zstd", "-q", "-c"], input=archive[i:i + 400000], capture_output=True, check=True).stdout
        for i in range(0, len(archive), 400000))
    forms["zstd skippable"] = b"\x50\x2a\x4d\x18\x04\0\0\0skip" + forms["zstd"]
    for name, blob in forms.items():
        answer = unpack(hand, Layer(oci.Layer(blob=blob, diff_id=oci.digest(archive))))
        need(answer.code == OK, "%s: %r" % (name, answer))
    for name in ("gzip", "zstd"):
        for what, blob in (("cut", forms[name][:-1000]), ("cut by one", forms[name][:-1]), ("trailing", forms[name] + b"junk"),
                           ("flipped", forms[name][:50000] + bytes([forms[name][50000] ^ 4]) + forms[name][50001:])):
            answer = unpack(hand, Layer(oci.Layer(blob=blob, diff_id=oci.digest(archive))))
            need(answer.code == INVALID, "%s %s: %r" % (name, what, answer))


# Hostile layers -----------------------------------------------------------------------------------------------------


def hostile_layers(prefixes=("",)):
    for name, case in hostile.CASES.items():
        if name.startswith(("layer-", "digest", "diff-ids")) or not name.startswith(prefixes):
            continue
        made = case.make()
        if isinstance(made, (bytes, oci.Layer)):
            yield name, case, Layer(made)


def hostile_layers_stay_in(hand):
    make_canary()
    before = snapshot(CANARY)
    tried = refused = 0
    for name, case, layer in hostile_layers():
        started = time.monotonic()
        answer = unpack(hand, layer, max_entries=30000, max_bytes=256 << 20)
        took = time.monotonic() - started
        tried += 1
        if case.stage == "pull":
            refused += 1
            need(answer.code == INVALID, "%s: %r" % (name, answer))
            need(layer.name not in listing(hand), "%s was committed" % name)
            need(answer.text.isascii() and answer.text.isprintable(), "%s: %r" % (name, answer.text))
            print("%-28s %s" % (name, answer.text.replace(layer.name, "…")), file=sys.stderr)
        else:
            need(answer.code == OK or case.stage == "either" and answer.code == INVALID, "%s: %r" % (name, answer))
        need(took < 60, "%s took %.1f s" % (name, took))
        need(snapshot(CANARY) == before, "%s touched the canary" % name)
    need(tried > 80 and refused > 40, "only %d of %d cases" % (refused, tried))
    hand.settle(60)
    left = [n for n in listing(hand) if not len(n) == 64]
    need(not left, "left behind: %s" % left)
    for root, _, files in os.walk(os.path.join(hand.state, "layers")):
        for file in files:
            path = os.path.join(root, file)
            st = os.lstat(path)
            need(not stat.S_ISBLK(st.st_mode) and (not stat.S_ISCHR(st.st_mode) or st.st_rdev == 0), "device " + path)
            for attribute in os.listxattr(path, follow_symlinks=False):
                need(attribute in ("user.overlay.opaque", "security.capability") or attribute.startswith("user.") and
                     ".overlay." not in attribute, "%s has %s" % (path, attribute))


class Weak(tarfile.TarFile):
    """An unpacker of the naive kind: joins paths, follows links, sets what it is told."""

    def take(self, root):
        for member in self:
            path = os.path.join(root, member.name)
            try:
                if member.isdir():
                    os.makedirs(path, exist_ok=True)
                elif member.issym():
                    os.path.lexists(path) and os.unlink(path)
                    os.symlink(member.linkname, path)
                elif member.islnk():
                    os.path.lexists(path) and os.unlink(path)
                    os.link(os.path.join(root, member.linkname), path, follow_symlinks=False)
                elif member.isreg():
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "wb") as out:
                        out.write(self.extractfile(member).read())
                    os.chmod(path, member.mode)
            except (OSError, ValueError):
                continue


def the_same_layers_escape_elsewhere(_hand):
    """The positive control: outside of a jail, with a naive unpacker, the same bytes reach the canary."""
    reached = set()
    for name, case, layer in hostile_layers(("path-", "symlink-", "hardlink-")):
        if case.stage == "harmless":
            continue
        make_canary()
        before = snapshot(CANARY)
        root = clean(os.path.join(SCRATCH, "weak"))
        try:
            with Weak.open(fileobj=io.BytesIO(gzip.decompress(layer.blob))) as archive:
                archive.take(root)
        except (tarfile.TarError, ValueError, RecursionError):
            continue
        if snapshot(CANARY) != before:
            reached.add(name)
    wanted = {"path-dotdot", "path-dotdot-inside", "path-absolute", "symlink-then-file", "symlink-relative-then-file",
              "symlink-chain-then-file", "symlink-hardlink-chmod", "symlink-to-proc", "hardlink-out-1"}
    need(wanted <= reached, "did not reach the canary: %s" % sorted(wanted - reached))
    print("a naive unpacker let %d of them out" % len(reached), file=sys.stderr)


def memory_stays_small(hand):
    peak = 0
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.is_set():
            for pid in descendants(hand.process.pid):
                try:
                    with open("/proc/%s/status" % pid, encoding="ascii") as status:
                        for line in status:
                            if line.startswith("VmHWM"):
                                peak = max(peak, int(line.split()[1]))
                except (FileNotFoundError, ProcessLookupError):
                    pass
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for name in ("sparse-ten-million", "sparse-pax", "zeros-after-end", "pax-huge", "many-entries", "xattr-huge"):
        made = hostile.CASES[name].make()
        unpack(hand, Layer(made), max_entries=30000, max_bytes=256 << 20)
    done.set()
    watcher.join()
    hand.settle(60)
    need(0 < peak < 64 * 1024, "a process of a job had %d KiB" % peak)


def opaque_marks_are_linear(hand):
    def measure(n_marks):
        layer = Layer(oci.tar(oci.directory("d/"), *[oci.file("d/%d" % i) for i in range(20000)],
                              *[oci.file("d/.wh..wh..opq")] * n_marks))
        started = time.monotonic()
        need(unpack(hand, layer).code == OK, "it was refused")
        return time.monotonic() - started

    few, many = min(measure(n) for n in (1, 2)), min(measure(n) for n in (20000, 20001))
    need(many < 2 * few + 1, "20,000 marks: %.2f s, one: %.2f s" % (many, few))


def limits_hold(hand):
    layer = Layer(oci.tar(*[oci.file("f%d" % i, "x" * 1000) for i in range(100)]))
    answer = unpack(hand, layer, max_entries=99)
    need(answer.code == INVALID and "more entries" in answer.text, answer)
    answer = unpack(hand, layer, max_bytes=10000)
    need(answer.code == INVALID and "10000" in answer.text, answer)
    answer = unpack(hand, layer, diff_id=bytes(32))
    need(answer.code == INVALID and "sha256:" + layer.diff_id.hex() in answer.text, answer)
    need(unpack(hand, layer).code == OK, "within limits")
    answer = unpack(hand, layer, diff_id=bytes(32))
    need(answer.code == INVALID and "diff id" in answer.text, "of one that is there: %r" % answer)


# Confinement --------------------------------------------------------------------------------------------------------


def descendants(pid):
    found = []
    try:
        with open("/proc/%s/task/%s/children" % (pid, pid), encoding="ascii") as listed:
            children = listed.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return found
    for child in children:
        found += [child, *descendants(child)]
    return found


def status_of(pid):
    with open("/proc/%s/status" % pid, encoding="ascii") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


def jobs_are_confined(hand):
    """Looks at the decompressor and the jail while they work."""
    archive = oci.tar(oci.file("big", os.urandom(1 << 20) * 300))
    blob = gzip.compress(archive, 1)
    layer = Layer(oci.Layer(blob=blob, diff_id=oci.digest(archive)))
    fd = os.memfd_create("blob")
    with os.fdopen(os.dup(fd), "wb") as out:
        out.write(blob)
    request = hand.send("tree_unpack", {"layer": layer.digest, "diff_id": layer.diff_id, "max_entries": 10,
                                        "max_bytes": MAX_BYTES}, [fd])
    os.close(fd)
    seen = {}
    while len(seen) < 3 and hand.process.poll() is None:
        for pid in descendants(hand.process.pid):
            try:
                status = status_of(pid)
                if status["Seccomp_filters"] in ("1", "2", "3"):
                    kind = "job" if status["PPid"] == str(hand.process.pid) else (
                        "jail" if len(status["NSpid"].split()) > 1 else "decompressor")
                    if kind == "job" or int(status["Seccomp_filters"]) > 1:
                        seen.setdefault(kind, (pid, status, {n: os.readlink("/proc/%s/ns/%s" % (pid, n))
                                                             for n in ("mnt", "pid", "net", "ipc", "uts")},
                                               os.listdir("/proc/%s/root/" % pid),
                                               [os.readlink("/proc/%s/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%s/fd" % pid)]))
            except (FileNotFoundError, ProcessLookupError, KeyError, PermissionError):
                pass
        if hand.edge in __import__("select").select([hand.edge], [], [], 0)[0]:
            break
    got, answer = hand.receive()
    need(got == request and answer.code == OK, answer)
    need(set(seen) == {"job", "jail", "decompressor"}, "seen: %s" % list(seen))
    five = sum(1 << n for n in (0, 1, 3, 4, 31))  # CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP
    for kind, caps, uid in (("jail", five, 0), ("decompressor", 0, hands.USER_BASE + hands.PROCESSES.index("imaged-tree"))):
        pid, status, namespaces, root, fds = seen[kind]
        for field in ("CapPrm", "CapEff", "CapBnd"):
            need(int(status[field], 16) == caps, "%s %s: %s" % (kind, field, status[field]))
        need(int(status["CapInh"], 16) == 0 and int(status["CapAmb"], 16) == 0, kind)
        need(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", kind)
        need(status["Uid"].split()[0] == str(uid), "%s runs as %s" % (kind, status["Uid"]))
        need(len(fds) <= (6 if kind == "jail" else 2) and not any("socket" in fd for fd in fds), "%s has fds %s" % (kind, fds))
        need(all(ns != os.readlink("/proc/self/ns/" + n) for n, ns in namespaces.items() if n != "pid" or kind == "jail"),
             "%s shares a namespace with the host" % kind)
    need(seen["jail"][3] in ([], ["big"]), "the jail sees %s" % seen["jail"][3])
    need(seen["decompressor"][3] == [], "the decompressor sees %s" % seen["decompressor"][3])


# Removal and measuring ----------------------------------------------------------------------------------------------


def deep_tree(path, depth):
    here = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=here)
        with os.fdopen(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as out:
            out.write("x")
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def removal_is_instant_and_whole(hand):
    container = name_of("deep")
    need(hand.call("tree_writable", {"container": container, "owner_id": 0}).code == OK, "making it")
    upper = path_of(hand, container, "writable") + "/upper"
    deep_tree(upper, 3000)
    os.mkdir(upper + "/locked", 0o000)
    with open(upper + "/sparse", "wb") as out:
        out.truncate(1 << 40)
    os.mkfifo(upper + "/fifo")
    os.symlink(CANARY, upper + "/link")
    for i in range(5000):
        os.close(os.open("%s/locked/%d" % (upper, i), os.O_WRONLY | os.O_CREAT))
    answer = hand.call("tree_measure", {"kind": WRITABLE, "name": container})
    need(answer.code == OK and answer.body["inodes"] == 1 + 2 * 3000 + 1 + 5000 + 3, answer)
    make_canary()
    before = snapshot(CANARY)
    started = time.monotonic()
    need(hand.call("tree_remove", {"kind": WRITABLE, "name": container}).code == OK, "removing it")
    took = time.monotonic() - started
    need(took < 0.5, "it took %.2f s" % took)
    need(container not in listing(hand, "writable"), "it is still there")
    hand.settle(60)
    need(listing(hand, "writable") == [], "left: %s" % listing(hand, "writable"))
    need(snapshot(CANARY) == before, "a link was followed")
    need(hand.call("tree_remove", {"kind": WRITABLE, "name": container}).code == OK, "removing it again")


def measuring_is_like_du(hand):
    container = name_of("measured")
    need(hand.call("tree_writable", {"container": container, "owner_id": 1000}).code == OK, "making it")
    root = path_of(hand, container, "writable")
    st = os.stat(root + "/upper")
    need((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (1000, 1000, 0o755), "the owner of upper")
    need(stat.S_IMODE(os.stat(root).st_mode) == 0o700, "the mode of a container's directory")
    for i in range(300):
        os.makedirs("%s/upper/a%d/b/c" % (root, i % 40), exist_ok=True)
        with open("%s/upper/a%d/b/c/f%d" % (root, i % 40, i), "wb") as out:
            out.write(b"x" * (i * 97))
    for i in range(5):
        os.link(root + "/upper/a0/b/c/f280", "%s/upper/linked%d" % (root, i))
    with open(root + "/work/not-counted", "wb") as out:
        out.write(b"x" * 100000)
    du = int(subprocess.run(["du", "-s", "-B1", root + "/upper"], capture_output=True, text=True, check=True).stdout.split()[0])
    inodes = int(subprocess.run(["du", "-s", "--inodes", root + "/upper"], capture_output=True, text=True,
                                check=True).stdout.split()[0])
    answer = hand.call("tree_measure", {"kind": WRITABLE, "name": container})
    need(answer.code == OK and answer.body["inodes"] == inodes, "%r, du says %d" % (answer, inodes))
    need(abs(answer.body["bytes"] - du) < 4096, "%r, du says %d" % (answer, du))
    need(hand.call("tree_measure", {"kind": WRITABLE, "name": name_of("none")}).code == NOT_FOUND, "of nothing")
    hand.call("tree_remove", {"kind": WRITABLE, "name": container})
    hand.settle()


def exports_leave_room(hand):
    """Who has their sockets need not read: they live on. Few at once, one of a container; everything else goes on."""
    image = Layer(oci.tar(oci.file("etc/passwd", "me:x:7:8::/:/bin/sh\n")))
    need(unpack(hand, image).code == OK, "unpacking")
    containers = [name_of("exported %d" % i) for i in range(5)]
    for container in containers:
        need(hand.call("tree_writable", {"container": container, "owner_id": 0}).code == OK, "making it")
        for i in range(3000):
            with open("%s/upper/%0200d" % (path_of(hand, container, "writable"), i), "wb") as out:
                out.write(b"x")

    def export(container):
        return hand.call("tree_export", {"container": container, "owner_id": 0, "n_layers": 1, "layers": [image.digest]})

    held = [export(containers[0])]
    need(held[0].code == OK and len(held[0].fds) == 1, held[0])
    answer = export(containers[0])
    need(answer.code == EXHAUSTED and "try again" in answer.text, "a second one of a container: %r" % answer)
    held += [export(c) for c in containers[1:4]]
    need([a.code for a in held] == [OK] * 4, held)
    for _ in range(60):
        answer = export(containers[4])
        need(answer.code == EXHAUSTED and "try again when one has ended" in answer.text, "a fifth one: %r" % answer)
    need(unpack(hand, Layer(oci.tar(oci.file("beside", "x")))).code == OK, "unpacking beside them")
    need(user(hand, [image], user="me").body["uid_known"] == 1, "a user beside them")
    need(len(hand.children()) >= 4, "the exports ended by themselves")
    for answer in held:
        os.close(answer.fds[0])
    hand.settle()
    for container in containers[1:]:
        answer = export(container)
        need(answer.code == OK, "after they ended: %r" % answer)
        os.close(answer.fds[0])
    hand.settle()
    for container in containers:
        need(hand.call("tree_remove", {"kind": WRITABLE, "name": container}).code == OK, "removing it")
    hand.settle()


def measuring_survives_changes(hand):
    container = name_of("changing")
    need(hand.call("tree_writable", {"container": container, "owner_id": 0}).code == OK, "making it")
    upper = path_of(hand, container, "writable") + "/upper"
    for i in range(20):
        os.makedirs("%s/x/%d/%d/e" % (upper, i, i))
    ended = threading.Event()

    def stir():
        while not ended.is_set():
            for i in range(20):
                try:
                    os.rename("%s/x/%d/%d" % (upper, i, i), upper + "/moved")
                    os.rename(upper + "/moved", "%s/x/%d/%d" % (upper, i, i))
                except OSError:
                    pass

    thread = threading.Thread(target=stir)
    thread.start()
    codes = {hand.call("tree_measure", {"kind": WRITABLE, "name": container}).code for _ in range(100)}
    ended.set()
    thread.join()
    need(codes <= {OK, 14} and OK in codes, "codes %s" % codes)
    hand.call("tree_remove", {"kind": WRITABLE, "name": container})
    hand.settle()


# Volumes and users --------------------------------------------------------------------------------------------------


def volumes_are_seeded(hand):
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    low = Layer(oci.tar(
        oci.directory("data/", mode=0o1770, uid=5, gid=6), oci.file("data/f", "seed", mode=0o4640, uid=70000, gid=7),
        oci.file("data/old", "gone"), oci.directory("data/sub/"), oci.symlink("data/sub/link", CANARY + "/f"),
        oci.file("data/sub/cap", "x", mode=0o755, xattrs={"security.capability": capability, "user.a": b"b"}),
        oci.symlink("abs", "/data"), oci.symlink("out", CANARY), oci.fifo("data/fifo"), oci.file("file", "x"),
        oci.file("data/zeros", bytes(1 << 20))))
    high = Layer(oci.tar(oci.file("data/.wh.old"), oci.file("data/new", "new")))
    for layer in (low, high):
        need(unpack(hand, layer).code == OK, "unpacking")
    names = stack(hand, [low, high])
    need(len(names) == 3, "high passes through data")
    make_canary()
    before = snapshot(CANARY)
    paths = ["/data", "data/../abs", "/abs", "/../../../.." + CANARY, "/out", "/nothing", "/file"]
    for owner in (0, 100000):
        container = name_of("volumes%d" % owner)
        body = {"container": container, "owner_id": owner, "volumes": paths, "n_volumes": len(paths),
                "layers": [bytes.fromhex(name) for name in names], "n_layers": len(names)}
        need(hand.call("tree_writable", body).code == OK, "making it")
        need(hand.call("tree_writable", body).code == OK, "making it again")
        root = path_of(hand, container, "writable") + "/volumes"
        need(sorted(os.listdir(root)) == [str(i) for i in range(len(paths))], os.listdir(root))
        for i in (0, 1, 2):
            volume = "%s/%d" % (root, i)
            need(sorted(os.listdir(volume)) == ["f", "fifo", "new", "sub", "zeros"], os.listdir(volume))
            st = os.stat(volume)
            need((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o1770, owner + 5, owner + 6), "a volume's root")
            st = os.stat(volume + "/f")
            shifted = owner + 65534 if owner else 70000
            need((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o4640, shifted, owner + 7), "a file: %s" % (st,))
            need(os.readlink(volume + "/sub/link") == CANARY + "/f", "a symlink")
            need(os.getxattr(volume + "/sub/cap", "security.capability") == capability, "a capability")
            need(os.getxattr(volume + "/sub/cap", "user.a") == b"b", "an attribute")
            need(os.stat(volume + "/zeros").st_size == 1 << 20 and os.stat(volume + "/zeros").st_blocks * 512 < 100000, "a hole")
        for i in range(3, len(paths)):
            need(os.listdir("%s/%d" % (root, i)) == [], "%s is not empty" % paths[i])
            need(os.stat("%s/%d" % (root, i)).st_uid == owner, "its owner")
        hand.call("tree_remove", {"kind": WRITABLE, "name": container})
    need(snapshot(CANARY) == before, "the canary was touched")
    body = {"container": name_of("x"), "n_volumes": 1, "volumes": ["/data"], "layers": [bytes(32)], "n_layers": 1}
    answer = hand.call("tree_writable", body)
    need(answer.code == PRECONDITION and "0" * 64 in answer.text, answer)
    hand.settle()
    need(listing(hand, "writable") == [], "left: %s" % listing(hand, "writable"))


ANY = 0xffffffff


def user(hand, layers, **fields):
    body = {"uid": ANY, "gid": ANY, "n_layers": len(layers), "layers": [layer.digest for layer in layers], **fields}
    return hand.call("tree_user", body)


def users_are_found(hand):
    passwd = ("root:x:0:0:root:/root:/bin/sh\nbad line\nshort:x:5:5\napp:x:1000:1000:a,b:/home/app:/bin/sh\n"
              "app:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\nbig:x:4294967296:0::/:/bin/sh\nneg:x:-1:0::/:/bin/sh\n"
              "second:x:1000:5::/:/bin/sh\nlast:x:7:8::relative:/bin/sh")
    group = "root:x:0:\napp:x:1000:\nextra:x:50:other,app\nextra2:x:51:app\nextra2:x:51:app\nbroken:x:52:app:x\nnotme:x:53:apps\n"
    layer = Layer(oci.tar(oci.file("etc/passwd", passwd), oci.file("etc/group", group)))
    need(unpack(hand, layer).code == OK, "unpacking")
    found = user(hand, [layer], user="app").body
    need((found["uid"], found["gid"], found["uid_known"], found["n_groups"], found["groups"][:2], found["home"], found["username"])
         == (1000, 1000, 1, 2, [50, 51], "/home/app", "app"), found)
    found = user(hand, [layer], uid=1000).body
    need((found["uid"], found["gid"], found["username"], found["groups"][:2]) == (1000, 1000, "app", [50, 51]), found)
    found = user(hand, [layer], user="app", group="extra").body
    need((found["gid"], found["groups"][:found["n_groups"]]) == (50, [51]), found)
    found = user(hand, [layer], uid=1000, gid=77).body
    need((found["uid"], found["gid"]) == (1000, 77), found)
    found = user(hand, [layer], uid=4242).body
    need((found["uid"], found["gid"], found["uid_known"], found["n_groups"], found["home"]) == (4242, 0, 0, 0, ""), found)
    found = user(hand, [layer], user="last").body
    need((found["uid"], found["gid"], found["home"]) == (7, 8, ""), found)
    for name in ("nobody", "short", "big", "neg", "app ", "App"):
        answer = user(hand, [layer], user=name)
        need(answer.code == INVALID and "has no user" in answer.text, answer)
    for name in ("1000", "0", "+0", "-1", "4294967296", "a:b"):
        need(user(hand, [layer], user=name).code == INVALID, name)
    need(user(hand, [layer], uid=0, group="none").code == INVALID, "a group that is not there")
    need(user(hand, [layer], uid=0, group="1000").code == INVALID, "a group that is a number")
    need(user(hand, [layer]).code == INVALID, "nobody at all")
    need(user(hand, [], uid=3).body["uid"] == 3 and user(hand, [], user="x").code == INVALID, "no layers")


def users_of_hostile_images(hand):
    make_canary()
    line = "root:x:0:0:root:/root:/bin/sh\n"
    root_link = Layer(oci.tar(oci.file("real/passwd", line), oci.symlink("etc/passwd", "/real/passwd"),
                              oci.symlink("etc/group", "../../../real/passwd")))
    need(unpack(hand, root_link).code == OK, "unpacking")
    need(user(hand, [root_link], user="root").body["uid_known"] == 1, "an absolute symlink within the image")
    with open(CANARY + "/f", "w", encoding="ascii") as out:
        out.write("canary:x:1:1::/:/bin/sh\n")
    cases = (
        ("out", oci.symlink("etc/passwd", CANARY + "/f"), INVALID), ("dotdot", oci.symlink("etc/passwd", ".." * 1 + "/../.." + CANARY + "/f"), INVALID),
        ("fifo", oci.fifo("etc/passwd"), INVALID), ("directory", oci.directory("etc/passwd/"), INVALID),
        ("loop", oci.symlink("etc/passwd", "passwd"), INVALID), ("proc", oci.symlink("etc/passwd", "/proc/self/environ"), INVALID),
        ("large", oci.file("etc/passwd", bytes(11 << 20)), INVALID), ("lines", oci.file("etc/passwd", "x\n" * 70000), INVALID),
        ("long line", oci.file("etc/passwd", "canary:" + "x" * 100000), INVALID),
        ("nul", oci.file("etc/passwd", b"canary:x:1:1:\0:/:/bin/sh\n"), INVALID),
        ("return", oci.file("etc/passwd", b"canary:x:1:1::/:/bin/sh\r\n"), INVALID),
    )
    for name, entry, code in cases:
        layer = Layer(oci.tar(entry))
        need(unpack(hand, layer).code == OK, "unpacking " + name)
        started = time.monotonic()
        answer = user(hand, [layer], user="canary")
        need(answer.code == code, "%s: %r" % (name, answer))
        need(time.monotonic() - started < 2, name + " took long")
    many = Layer(oci.tar(oci.file("etc/passwd", "canary:x:1:1::/:/bin/sh\n"),
                         oci.file("etc/group", "".join("g%d:x:%d:canary\n" % (i, i + 10) for i in range(200)))))
    need(unpack(hand, many).code == OK, "unpacking")
    need(user(hand, [many], user="canary").code == EXHAUSTED, "200 groups")
    # A layer hides the one below it.
    top = Layer(oci.tar(oci.file("etc/.wh.passwd")))
    need(unpack(hand, top).code == OK, "unpacking")
    need(user(hand, [many, top], user="canary").code == INVALID, "a whiteout of passwd")
    deep = [Layer(oci.tar(oci.file("l%d" % i, "x"))) for i in range(127)]
    for layer in deep:
        need(unpack(hand, layer).code == OK, "unpacking")
    answer = user(hand, [many, *deep], user="canary", group="g150")
    need(answer.code == EXHAUSTED, "128 layers: %r" % answer)


# Imports ------------------------------------------------------------------------------------------------------------


def read_file(hand, name, path, max_mib=1):
    answer = hand.call("tree_read", {"id": name, "path": path, "max_bytes_mib": max_mib})
    if answer.code:
        return answer, None
    with os.fdopen(answer.fds[0], "rb") as pipe:
        data = pipe.read()
    need(len(data) == answer.body["bytes"], "%d bytes, not %d" % (len(data), answer.body["bytes"]))
    return answer, data


def imports_are_read(hand):
    make_canary()
    archive = oci.tar(oci.file("manifest.json", "[]"), oci.directory("a/", mode=0), oci.file("a/layer.tar", b"x" * 3000000, mode=0o4755, uid=5),
                      oci.symlink("b/layer.tar", "../a/layer.tar"), oci.symlink("abs", "/manifest.json"),
                      oci.symlink("out", CANARY + "/f"), oci.file(".wh.kept", "x"),
                      oci.file("attributed", "x", xattrs={"user.a": b"b", "security.capability": b"junk"}))
    for form, data in (("plain.tar", archive), ("packed.tar.gz", oci.compress(archive))):
        name = name_of(form)
        with open(os.path.join(hand.state, "import", form), "wb") as out:
            out.write(data)
        body = {"id": name, "file": form, "max_entries": 100, "max_bytes": MAX_BYTES}
        answer = hand.call("tree_import", body)
        need(answer.code == OK and answer.body["bytes"] > 3000000, answer)
        need(hand.call("tree_import", body).code == 6, "a second time under one id")
        need(read_file(hand, name, "manifest.json")[1] == b"[]", "the manifest")
        need(read_file(hand, name, "abs")[1] == b"[]", "through an absolute link")
        need(read_file(hand, name, "b/layer.tar", 3)[1] == b"x" * 3000000, "a layer through a link")
        need(read_file(hand, name, "b/layer.tar", 2)[0].code == INVALID, "more than asked")
        for path in ("nothing", "out", "../../../../etc/passwd", "manifest.json/x"):
            need(read_file(hand, name, path)[0].code == NOT_FOUND, path)
        need(read_file(hand, name, "a")[0].code == INVALID, "a directory")
        st = os.stat(path_of(hand, name, "imports") + "/a/layer.tar")
        need((stat.S_IMODE(st.st_mode), st.st_uid) == (0o600, 0), "owner and mode of a file")
        need(os.listxattr(path_of(hand, name, "imports") + "/attributed") == [], "attributes")
        need(read_file(hand, name, ".wh.kept")[1] == b"x", "a name like a whiteout's")
    # A reader that goes away ends the job.
    answer = hand.call("tree_read", {"id": name, "path": "a/layer.tar", "max_bytes_mib": 3})
    os.close(answer.fds[0])
    hand.settle()
    for file in ("../import/plain.tar", "nothing.tar", ".hidden", "/etc/passwd", ""):
        answer = hand.call("tree_import", {"id": name_of("x"), "file": file, "max_entries": 100, "max_bytes": MAX_BYTES})
        need(answer.code in (INVALID, NOT_FOUND), "%s: %r" % (file, answer))
    os.symlink(CANARY + "/f", os.path.join(hand.state, "import", "link.tar"))
    os.mkfifo(os.path.join(hand.state, "import", "fifo.tar"))
    for file in ("link.tar", "fifo.tar"):
        answer = hand.call("tree_import", {"id": name_of("x"), "file": file, "max_entries": 100, "max_bytes": MAX_BYTES})
        need(answer.code == NOT_FOUND, "%s: %r" % (file, answer))
    with open(os.path.join(hand.state, "import", "evil.tar"), "wb") as out:
        out.write(oci.tar(oci.file("../" * 12 + CANARY[1:] + "/f", "owned")))
    answer = hand.call("tree_import", {"id": name_of("evil"), "file": "evil.tar", "max_entries": 100, "max_bytes": MAX_BYTES})
    need(answer.code == INVALID, answer)
    with open(CANARY + "/f", encoding="ascii") as opened:
        need(opened.read() == "alive", "the canary")
    for form in ("plain.tar", "packed.tar.gz"):
        hand.call("tree_remove", {"kind": IMPORT, "name": name_of(form)})
    hand.settle()
    need(listing(hand, "imports") == [], "left: %s" % listing(hand, "imports"))


# Requests and crashes -----------------------------------------------------------------------------------------------


def forged_requests_are_refused(hand):
    for body in ({"kind": 0, "name": name_of("x")}, {"kind": 4, "name": name_of("x")}, {"kind": 99999, "name": name_of("x")},
                 {"kind": 1, "name": "../writable"}, {"kind": 1, "name": ""}, {"kind": 1, "name": "A" * 64},
                 {"kind": 1, "name": b"a" * 65}, {"kind": 1, "name": "a" * 63 + "/"}):
        for row in ("tree_remove", "tree_measure"):
            need(hand.call(row, body).code == INVALID, "%s %s" % (row, body))
    need(hand.call("tree_list", {"kind": 7}).code == INVALID, "a list of nothing")
    need(hand.call("tree_writable", {"container": "../x", "owner_id": 0}).code == INVALID, "a container's name")
    need(hand.call("tree_writable", {"container": name_of("x"), "n_volumes": 17}).code == INVALID, "17 volumes")
    need(hand.call("tree_user", {"n_layers": 129, "uid": 0, "gid": 0}).code == INVALID, "129 layers")
    need(hand.call("tree_user", {"n_layers": 0xffffffff, "uid": 0, "gid": 0}).code == INVALID, "4 billion layers")
    need(hand.call("tree_user", {"n_layers": 1, "user": b"x" * 256}).code == INVALID, "a name without an end")
    need(hand.call("tree_read", {"id": "x", "path": "y"}).code == INVALID, "an id")
    need(hand.call("tree_read", {"id": name_of("none"), "path": "y"}).code == NOT_FOUND, "no import")
    need(hand.call("tree_sync").code == OK, "sync")


def one_layer_from_two_jobs(hand):
    layer = Layer(oci.tar(*[oci.file("f%d" % i, os.urandom(3000)) for i in range(2000)]))
    requests = []
    for _ in range(6):
        fd = os.memfd_create("blob")
        with os.fdopen(os.dup(fd), "wb") as out:
            out.write(layer.blob)
        requests.append(hand.send("tree_unpack", {"layer": layer.digest, "diff_id": layer.diff_id, "max_entries": MAX_ENTRIES,
                                                  "max_bytes": MAX_BYTES}, [fd]))
        os.close(fd)
    for _ in requests:
        _, answer = hand.receive()
        need(answer.code == OK and answer.body["diff_id"] == layer.diff_id, answer)
    hand.settle()
    need(layer.name in listing(hand) and all(len(n) == 64 for n in listing(hand)), listing(hand))


def crashes_leave_nothing(_hand):
    scratch = clean(os.path.join(SCRATCH, "crash"))
    archive = oci.tar(*[oci.file("d%d/f%d" % (i % 50, i), os.urandom(2000)) for i in range(20000)])
    layer = Layer(oci.Layer(blob=gzip.compress(archive, 1), diff_id=oci.digest(archive)))
    mounts = open("/proc/self/mountinfo", encoding="ascii").read()
    staged = 0
    for delay in (0.002, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.03, 0.08, 0.15, 0.25, 1):
        hand = Hand("imaged-tree", scratch)
        fd = os.memfd_create("blob")
        with os.fdopen(os.dup(fd), "wb") as out:
            out.write(layer.blob)
        hand.send("tree_unpack", {"layer": layer.digest, "diff_id": layer.diff_id, "max_entries": MAX_ENTRIES,
                                  "max_bytes": MAX_BYTES}, [fd])
        os.close(fd)
        time.sleep(delay)
        jobs = descendants(hand.process.pid)
        hand.stop(signal.SIGKILL)
        end = time.monotonic() + 10
        while any(alive(pid) for pid in jobs):
            need(time.monotonic() < end, "jobs outlive the hand: %s" % jobs)
            time.sleep(0.01)
        staged += sum(n.startswith("staging-") for n in listing(hand))
        if layer.name in listing(hand):
            break
    need(staged > 0, "no crash hit an unpacking")
    hand = Hand("imaged-tree", scratch)
    hand.settle(60)
    left = [n for n in listing(hand) if len(n) != 64]
    need(not left, "left: %s" % left)
    need(unpack(hand, layer).code == OK, "after the crashes")
    need(hand.stop() == 0, "the end")
    need(open("/proc/self/mountinfo", encoding="ascii").read() == mounts, "mounts are left")


def alive(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError, KeyError):
        return False


def full_disk_is_told(_hand):
    scratch = clean(os.path.join(SCRATCH, "full"))
    os.makedirs(scratch + "/state")
    image = scratch + "/disk"
    with open(image, "wb") as out:
        out.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, scratch + "/state"], check=True)
    try:
        with Hand("imaged-tree", scratch) as hand:
            layer = Layer(oci.tar(oci.file("big", os.urandom(1 << 20) * 60)))
            answer = unpack(hand, layer)
            need(answer.code == EXHAUSTED and "No space" in answer.text, answer)
            hand.settle()
            need(listing(hand) == [], "left: %s" % listing(hand))
            need(unpack(hand, Layer(oci.tar(oci.file("small", "x" * 10000)))).code == OK, "after it")
    finally:
        subprocess.run(["umount", scratch + "/state"], check=True)


def main():
    os.makedirs(SCRATCH, exist_ok=True)
    scratch = clean(os.path.join(SCRATCH, "tree"))
    results = Results()
    with Hand("imaged-tree", scratch) as hand:
        for test in (layers_are_as_they_should, directories_that_layers_leave_out, metadata_is_kept, whiteouts_are_overlays, compressions, hostile_layers_stay_in,
                     the_same_layers_escape_elsewhere, memory_stays_small, opaque_marks_are_linear, limits_hold,
                     jobs_are_confined, removal_is_instant_and_whole, measuring_is_like_du, measuring_survives_changes,
                     exports_leave_room,
                     volumes_are_seeded, users_are_found, users_of_hostile_images, imports_are_read,
                     forged_requests_are_refused, one_layer_from_two_jobs, crashes_leave_nothing, full_disk_is_told):
            if len(sys.argv) < 3 or test.__name__ in sys.argv[2:]:
                results.run(test, hand)
        hand.settle(60)
        fds = len(os.listdir("/proc/%d/fd" % hand.process.pid))
        if fds > 8:
            results.failed += 1
            print("not ok fds: the hand has %d open" % fds)
        status = hand.stop()
    if status != 0 or results.failed:
        print(hand.log()[-3000:], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
