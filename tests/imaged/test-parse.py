#!/usr/bin/python3
"""imaged-parse, for real and confined: each row, the largest documents, hostile ones, many at once.

usage: test-parse.py SCRATCH          (as root; BULKHEAD_BUILD as for scenarios)
"""
import json
import os
import signal
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = sys.argv[1]
sys.path[:0] = [os.path.join(TOP, "tests/imaged")]
from hand import Hand, Results  # noqa: E402

OK, INVALID, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 8, 12, 13
DIGEST = "sha256:" + "ab" * 32
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 5}
CONFIG = dict(LAYER, mediaType="application/vnd.oci.image.config.v1+json")
ENTRY = dict(LAYER, mediaType="application/vnd.oci.image.manifest.v1+json")


def ask(hand, row, document, **more):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return hand.call(row, dict(document=text, **more), timeout=30)


def status_of(pid):
    with open("/proc/%s/status" % pid, encoding="ascii") as lines:
        return dict(line.split(":\t", 1) for line in lines.read().splitlines() if ":\t" in line)


def test_manifest(hand):
    answer = ask(hand, "parse_manifest", {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER] * 3})
    assert answer.code == OK and len(answer.body.layers) == 3, answer
    assert answer.body.config.digest == b"\xab" * 32, answer


def test_index_that_needs_a_memory_file(hand):
    platform = {"os": "linux", "architecture": "amd64"}
    answer = ask(hand, "parse_manifest", {"schemaVersion": 2, "manifests": [dict(ENTRY, platform=platform)] * 1000})
    assert answer.code == OK and len(answer.body.manifests) == 1000, answer
    assert answer.body.ByteSize() > 65536


def test_two_content_types(hand):
    document = {"schemaVersion": 2, "mediaType": ENTRY["mediaType"], "config": CONFIG, "layers": [LAYER]}
    assert ask(hand, "parse_manifest", document, media_type=ENTRY["mediaType"]).code == OK
    answer = ask(hand, "parse_manifest", document, media_type="application/vnd.oci.image.index.v1+json")
    assert answer.code == INVALID and "announced as" in answer.text, answer
    answer = ask(hand, "parse_manifest", dict(document, manifests=[ENTRY]), media_type=ENTRY["mediaType"])
    assert answer.code == INVALID and "at once" in answer.text, answer


def test_encrypted_layer(hand):
    layer = dict(LAYER, mediaType=LAYER["mediaType"] + "+encrypted")
    answer = ask(hand, "parse_manifest", {"schemaVersion": 2, "config": CONFIG, "layers": [layer]})
    assert answer.code == UNIMPLEMENTED and "layers[0] is encrypted" in answer.text, answer


def test_config(hand):
    section = {"User": "1", "Env": ["A=ä"], "Volumes": {"/v": {}}, "Labels": {"k": "v" * 100000}}
    answer = ask(hand, "parse_config", {"os": "linux", "config": section, "rootfs": {"diff_ids": [DIGEST]}})
    assert answer.code == OK and answer.body.config.env == ["A=ä".encode()], answer
    assert len(answer.body.config.labels[0].value) == 100000


def test_token_challenge_archive(hand):
    answer = ask(hand, "parse_token", {"access_token": "t", "expires_in": 9})
    assert (answer.code, answer.body.token, answer.body.expires_sec) == (OK, "t", 9), answer
    lines = ['Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"', "Basic realm=x"]
    answer = hand.call("parse_challenge", {"challenges": lines})
    assert answer.body.bearer and answer.body.basic and answer.body.scope == "repository:x:pull,push", answer
    answer = ask(hand, "parse_archive", [{"Config": "a.json", "RepoTags": ["a:1"], "Layers": ["b", "../c"]}])
    assert (answer.code, answer.text) == (INVALID, "manifest.json: [0].Layers[1] is not a plain relative path"), answer


def test_hostile_documents_end_within_the_limits(hand):
    """The most memory that the limits on values leave, in a child of 128 MiB; what is beyond them; depth."""
    objects = b'{"rootfs":{},"x":[' + b",".join([b'{"a":{}}'] * 42000) + b"]}"
    assert ask(hand, "parse_config", objects).code == OK
    keys = b'{"rootfs":{},"x":{' + b",".join(b'"%d":{}' % i for i in range(64000)) + b"}}"
    assert ask(hand, "parse_config", keys).code == OK
    text = b'{"rootfs":{},"x":"' + b"\\u00e4" * 1400000 + b'"}'
    assert ask(hand, "parse_config", text).code == OK
    both = b'{"rootfs":{},"y":"' + b"y" * 7000000 + b'",' + objects[len(b'{"rootfs":{},'):]
    assert ask(hand, "parse_config", both).code == OK
    answer = ask(hand, "parse_config", b"[" + b",".join([b"{}"] * 2000000) + b"]")
    assert answer.code == INVALID and "more than 131072 values" in answer.text, answer
    answer = ask(hand, "parse_manifest", b"[" * 4000000)
    assert answer.code == INVALID and "deeper than 32" in answer.text, answer
    answer = hand.call("parse_token", raw=b"\xff\xff\xff")
    assert answer.code == INVALID and "malformed message" in answer.text, answer


def test_many_at_once(hand):
    asked = [hand.send("parse_token", {"document": b'{"token":"t"}'}) for _ in range(150)]
    answers = dict(hand.receive() for _ in asked)
    assert sorted(answers) == asked and all(a.code == OK for a in answers.values()), answers


def test_children_are_confined_and_answered_for(hand):
    """Nobody reads the answers: children wait to send theirs and can be looked at."""
    document = json.dumps({"token": "t" * 60000}).encode()
    asked = [hand.send("parse_token", {"document": document}) for _ in range(12)]
    deadline = time.monotonic() + 30
    stuck, unchanged = [], 0
    while (len(stuck) < 3 or unchanged < 10) and time.monotonic() < deadline:
        time.sleep(0.1)
        before, stuck = stuck, hand.children()
        unchanged = unchanged + 1 if stuck == before else 0
    # Those that stay are waiting: one that merely exists may have sent its answer and be about to end.
    assert len(stuck) >= 3 and unchanged >= 10, (stuck, unchanged)
    parent = status_of(hand.process.pid)
    for pid in stuck:
        child = status_of(pid)
        assert int(child["Seccomp_filters"]) == int(parent["Seccomp_filters"]) + 1, child
        assert child["NoNewPrivs"] == "1" and int(child["CapEff"], 16) == 0 and int(child["CapBnd"], 16) == 0, child
        assert len(set(child["Uid"].split())) == 1 and child["Uid"].split()[0] != "0", child
        limits = open("/proc/%s/limits" % pid, encoding="ascii").read()
        assert "Max data size             134217728" in limits and "Max cpu time              20 " in limits, limits
        fds = os.listdir("/proc/%s/fd" % pid)
        assert len(fds) <= 5, fds  # stdio, the edge, the frame's
    os.kill(int(stuck[0]), signal.SIGKILL)
    # Before there is room: the kernel lets even one that is killed send what it waits to send.
    while stuck[0] in hand.children() and time.monotonic() < deadline:
        time.sleep(0.01)
    answers = [hand.receive() for _ in asked]
    assert sorted(i for i, _ in answers) == asked
    codes = [a.code for _, a in answers]
    assert codes.count(INTERNAL) == 1 and codes.count(OK) == 11, codes


def main():
    os.makedirs(SCRATCH, exist_ok=True)
    os.chmod(SCRATCH, 0o711)
    results = Results()
    with Hand("imaged-parse", SCRATCH) as hand:
        for name, function in list(globals().items()):
            if name.startswith("test_"):
                results.run(function, hand)
        hand.settle()
        assert hand.stop() == 0, hand.log()
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
