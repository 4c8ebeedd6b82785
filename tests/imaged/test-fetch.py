#!/usr/bin/python3
"""imaged-fetch, for real and confined, against a real registry, a lying one, and a name server: what it fetches, whom it gives the
credential, where it refuses to go, how it fails.

usage: test-fetch.py SCRATCH [TEST…]   (as root, on a test host with a network of its own; BULKHEAD_BUILD as for scenarios)
"""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = sys.argv[1]
sys.path[:0] = [os.path.join(TOP, "tests/fixture"), os.path.join(TOP, "tests/imaged")]
import hand as hands  # noqa: E402
from hand import C, Hand, Results, clean  # noqa: E402

FIXTURE = os.path.join(TOP, "tests/fixture")
NAMES = ("OK", "RESOLVE", "CONNECT", "TLS", "STALLED", "TOO_LARGE", "TRUNCATED", "REFUSED", "PROTOCOL")
SECRET = "Basic c2VjcmV0OnNlY3JldA=="


def need(condition, text):
    if not condition:
        raise AssertionError(text)


class Reader(threading.Thread):
    """Reads a pipe to its end, slowly if asked."""

    def __init__(self, fd, pause=0.0):
        super().__init__()
        self.fd, self.pause, self.data, self.ended = fd, pause, bytearray(), None

    def run(self):
        while piece := os.read(self.fd, 65536):
            self.data += piece
            time.sleep(self.pause)
        self.ended = time.monotonic()
        os.close(self.fd)


class Got:
    def __init__(self, answer, data):
        need(answer.code == 0, "the hand failed: %r" % answer)
        self.body, self.data = answer.body, data
        self.outcome, self.status, self.text = NAMES[answer.body.outcome], answer.body.http_status, answer.body.text

    def __repr__(self):
        return "%s, status %d, %d bytes, %r" % (self.outcome, self.status, len(self.data), self.text)


def get(hand, url, pause=0.0, timeout=60, **fields):
    read_fd, write_fd = os.pipe()
    reader = Reader(read_fd, pause)
    reader.start()
    request = {"url": url, "max_bytes": 1 << 20, "progress_timeout_sec": 3, "allow_loopback": True, "allow_plain": True, **fields}
    number = hand.send("fetch", request, [write_fd])
    os.close(write_fd)
    got, answer = hand.receive(timeout)
    answered = time.monotonic()
    need(got == number, "another request's answer")
    reader.join(10)
    need(reader.ended is not None and (pause or reader.ended <= answered + 0.5), "the pipe was not closed before the answer")
    need(answer.code or answer.body.bytes == len(reader.data), "it says %r bytes, %d came" % (answer, len(reader.data)))
    return Got(answer, bytes(reader.data))


class Evil:
    """The fixture's lying registry, with rules of the test's."""

    def __init__(self, name, *options):
        self.directory = clean(os.path.join(SCRATCH, name))
        self.process = subprocess.Popen([sys.executable, os.path.join(FIXTURE, "evilreg.py"), self.directory, *options],
                                        stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.rsplit(":", 1)[1])

    def rules(self, *rules):
        with open(os.path.join(self.directory, "rules.new"), "w", encoding="utf-8") as out:
            json.dump(rules, out)
        os.rename(os.path.join(self.directory, "rules.new"), os.path.join(self.directory, "rules.json"))
        log = os.path.join(self.directory, "requests.log")
        if os.path.exists(log):
            os.unlink(log)
        return self

    def requests(self):
        try:
            with open(os.path.join(self.directory, "requests.log"), encoding="utf-8") as log:
                return [json.loads(line) for line in log]
        except FileNotFoundError:
            return []

    def authorizations(self):
        return [dict(map(tuple, r["headers"])).get("Authorization") for r in self.requests() if "headers" in r]

    def stop(self):
        self.process.terminate()
        self.process.wait()


class World:
    """The servers that all tests share."""

    def __init__(self):
        self.registry = subprocess.run([os.path.join(FIXTURE, "registry"), "start", os.path.join(SCRATCH, "registry"), "--tls"],
                                       check=True, capture_output=True, text=True).stdout.strip()
        keys = os.path.join(SCRATCH, "registry")
        self.ca, self.other_ca = keys + "/ca.crt", keys + "/other-ca.crt"
        pair = ("--tls", keys + "/tls.crt", keys + "/tls.key")
        self.a, self.b = Evil("a"), Evil("b")
        self.tls, self.tls2 = Evil("tls", *pair), Evil("tls2", *pair)
        self.dns = Dns()

    def section(self, **fields):
        fields.setdefault("allow_loopback", 0)
        servers = ["127.0.0.1:%d" % self.dns.port]
        return C.pack("ConfigImagedFetch", n_nameservers=1, nameservers=servers, ca_file=fields.pop("ca_file", self.ca), **fields)

    def hand(self, name, **fields):
        return Hand("imaged-fetch", clean(os.path.join(SCRATCH, name)), section=self.section(**fields))

    def stop(self):
        for server in (self.a, self.b, self.tls, self.tls2):
            server.stop()
        subprocess.run([os.path.join(FIXTURE, "registry"), "stop", os.path.join(SCRATCH, "registry")], check=False)


class Dns(threading.Thread):
    """A name server on loopback: name → addresses, or a misbehaviour."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.table, self.asked = {}, []
        self.start()

    def run(self):
        while True:
            query, sender = self.socket.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += query[at] + 1
            name, kind = ".".join(labels).lower(), struct.unpack_from(">H", query, at + 1)[0]
            self.asked.append((name, kind))
            answer = self.table.get(name, "NXDOMAIN")
            if answer == "SILENT":
                continue
            if answer == "GARBAGE":
                self.socket.sendto(os.urandom(200), sender)
                continue
            question = query[12:at + 5]
            if answer in ("NXDOMAIN", "SERVFAIL"):
                self.socket.sendto(query[:2] + struct.pack(">HHHHH", 0x8180 | (3 if answer == "NXDOMAIN" else 2), 1, 0, 0, 0) + question, sender)
                continue
            family = {1: socket.AF_INET, 28: socket.AF_INET6}[kind]
            records = [socket.inet_pton(family, a) for a in answer if (":" in a) == (kind == 28)]
            reply = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0) + question
            for record in records:
                reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(record)) + record
            self.socket.sendto(reply, sender)


# What it is for -------------------------------------------------------------------------------------------------------


def a_real_registry(world, hand):
    base = "https://" + world.registry
    got = get(hand, base + "/v2/", allow_plain=False)
    need((got.outcome, got.status, got.data) == ("OK", 200, b"{}"), got)
    got = get(hand, base + "/v2/none/manifests/latest", accept=["application/vnd.oci.image.index.v1+json", "text/plain"])
    need(got.outcome == "OK" and got.status == 404 and b"MANIFEST_UNKNOWN" in got.data and "json" in got.body.content_type, got)
    basic = subprocess.run([os.path.join(FIXTURE, "registry"), "start", os.path.join(SCRATCH, "basic"), "--auth", "basic"],
                           check=True, capture_output=True, text=True).stdout.strip()
    try:
        got = get(hand, "http://%s/v2/" % basic)
        need(got.status == 401 and list(got.body.challenges) == ['Basic realm="test"'], "%r %s" % (got, got.body.challenges))
        got = get(hand, "http://%s/v2/" % basic, authorization="Basic dGVzdGVyOnNlY3JldA==")
        need(got.status == 200, got)
    finally:
        subprocess.run([os.path.join(FIXTURE, "registry"), "stop", os.path.join(SCRATCH, "basic")], check=False)


def bodies_and_headers(world, hand):
    url = "http://%s/x" % world.a.address
    big = 20 << 20
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": big // 10,
                   "headers": [["Content-Type", "text/x; a=b"], ["Docker-Content-Digest", "sha256:abc"], ["WWW-Authenticate", "Bearer a"],
                               ["WWW-Authenticate", "Basic b"]]})
    got = get(hand, url, max_bytes=big, accept=["a/b", "c/d"])
    need(got.outcome == "OK" and got.data == b"0123456789" * (big // 10) and got.body.content_length == big, got)
    need((got.body.content_type, got.body.content_digest) == ("text/x; a=b", "sha256:abc"), got.body)
    need(list(got.body.challenges) == ["Bearer a", "Basic b"], got.body.challenges)
    headers = world.a.requests()[0]["headers"]
    need([v for k, v in headers if k == "Accept"] == ["a/b", "c/d"], headers)
    need(all(k in ("Host", "User-Agent", "Accept") for k, _ in headers), headers)
    world.a.rules({"path": "/x", "body": "chunks", "chunked": 2})
    got = get(hand, url)
    need(got.outcome == "OK" and got.data == b"chunks" and got.body.content_length == 0, got)
    world.a.rules({"path": "/x", "body": "no length", "length": None})
    need(get(hand, url).data == b"no length", "a body that the end of the connection ends")
    world.a.rules({"path": "/x", "gzip_bomb": 1 << 20})
    got = get(hand, url)
    need(got.outcome == "OK" and got.data[:2] == b"\x1f\x8b", "it decompressed: %r" % got)
    world.a.rules({"path": "/x", "status": 500, "body": "e", "repeat": 300000})
    got = get(hand, url)
    need(got.outcome == "OK" and got.status == 500 and len(got.data) == 65536, got)
    world.a.rules({"path": "/x", "status": 304})
    got = get(hand, url)
    need(got.outcome == "OK" and got.status == 304, got)
    world.a.rules({"path": "/x", "body": "x", "headers": {"Content-Type": "a\x01b\x7fc\u00e4"}})
    need(get(hand, url).body.content_type.isprintable(), "a header with control characters")


def a_slow_reader_is_not_a_stall(world, hand):
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 100000})
    got = get(hand, "http://%s/x" % world.a.address, pause=0.35, progress_timeout_sec=2)
    need(got.outcome == "OK" and len(got.data) == 1000000, got)


def ranges(world, hand):
    url = "http://%s/x" % world.a.address
    part = {"path": "/x", "status": 206, "body": "56789"}
    world.a.rules({**part, "headers": {"Content-Range": "bytes 5-9/10"}})
    got = get(hand, url, range_from=5)
    need(got.outcome == "OK" and got.body.ranged and got.data == b"56789", got)
    need(("Range", "bytes=5-") in [tuple(h) for h in world.a.requests()[0]["headers"]], "no range was asked for")
    world.a.rules({"path": "/x", "body": "0123456789"})
    got = get(hand, url, range_from=5)
    need(got.outcome == "OK" and not got.body.ranged and got.data == b"0123456789", got)
    for wrong in ({"Content-Range": "bytes 4-9/10"}, {"Content-Range": "rubbish"}, {}):
        world.a.rules({**part, "headers": wrong})
        got = get(hand, url, range_from=5)
        need(got.outcome == "PROTOCOL" and got.data == b"", "%s: %r" % (wrong, got))
    world.a.rules({**part, "headers": {"Content-Range": "bytes 5-9/10"}})
    need(get(hand, url).outcome == "PROTOCOL", "a part that was not asked for")


# The credential -------------------------------------------------------------------------------------------------------


def redirect(to, status=307):
    return {"path": "/start", "status": status, "headers": {"Location": to}, "body": "moved"}


def the_credential_stays_with_its_origin(world, hand):
    url = "http://%s/start" % world.a.address
    end = {"path": "/end", "body": "here"}
    for where, target, carries in (("the same origin", "/end", True), ("the same, spelt out", "http://%s/end" % world.a.address, True),
                                   ("another port", "http://%s/end" % world.b.address, False),
                                   ("another name", "http://localhost:%d/end" % world.a.port, False),
                                   ("a relative scheme", "//%s/end" % world.b.address, False)):
        for status in (301, 302, 303, 307, 308):
            world.a.rules(redirect(target, status), end)
            world.b.rules(end)
            got = get(hand, url, authorization=SECRET)
            need(got.outcome == "OK" and got.data == b"here", "%s: %r" % (where, got))
            first, *rest = world.a.authorizations() + world.b.authorizations()
            need(first == SECRET, "%s: the origin itself got %s" % (where, first))
            need(rest == [SECRET if carries else None], "%s, %d: the credential went on as %s" % (where, status, rest))
    # There and back again: what was dropped stays dropped.
    world.a.rules(redirect("http://%s/back" % world.b.address), end)
    world.b.rules({"path": "/back", "status": 307, "headers": {"Location": "http://%s/end" % world.a.address}})
    got = get(hand, url, authorization=SECRET)
    need(got.outcome == "OK" and world.a.authorizations() == [SECRET, None] and world.b.authorizations() == [None], got)
    # From http to https of the same name is another origin.
    world.tls.rules(end)
    world.a.rules(redirect("https://%s/end" % world.tls.address))
    need(get(hand, url, authorization=SECRET).outcome == "OK" and world.tls.authorizations() == [None], "from http to https")
    for text in ("Basic a\r\nX-Evil: 1", "a\nb"):
        need(get(hand, url, authorization=text).outcome == "REFUSED", "a credential of two lines")
        need(get(hand, url, accept=[text]).outcome == "REFUSED", "an Accept of two lines")
    need(get(hand, "http://user:pass@%s/start" % world.a.address).outcome == "REFUSED", "a user in the URL")


def forms_are_posted_and_never_redirected(world, hand):
    form, url = "grant_type=refresh_token&refresh_token=" + "x%2B" * 3000, "http://%s/start" % world.a.address
    world.a.rules({"path": "/start", "method": "POST", "body": "a token"})
    got = get(hand, url, form=form)
    need(got.outcome == "OK" and got.data == b"a token", got)
    request, = world.a.requests()
    headers = {name.lower(): value for name, value in request["headers"]}
    need(request["body"] == form and headers["content-type"] == "application/x-www-form-urlencoded", request)
    end = {"path": "/end", "body": "here"}
    for status in (301, 302, 303, 307, 308):
        for target in ("/end", "http://%s/end" % world.b.address):
            world.a.rules(redirect(target, status), end)
            world.b.rules(end)
            got = get(hand, url, form=form)
            need(got.outcome == "REFUSED" and "form" in got.text and got.data == b"", "%d to %s: %r" % (status, target, got))
            need(len(world.a.requests()) == 1 and not world.b.requests(), "it was followed")
            need(get(hand, url).data == b"here", "the twin, without a form")


def redirects_are_bounded(world, hand):
    url = "http://%s/start" % world.a.address
    world.a.rules({"path": "/start", "status": 302, "headers": {"Location": "/start"}})
    got = get(hand, url)
    need(got.outcome == "PROTOCOL" and "5 redirects" in got.text and len(world.a.requests()) == 6, got)
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "http://u@127.0.0.1/", "http://[fe80::1%25lo]/", "http://"):
        world.a.rules(redirect(target))
        got = get(hand, url)
        need(got.outcome == "REFUSED" and got.data == b"", "%s: %r" % (target, got))
    world.a.rules({**redirect("/end"), "repeat": 100000}, {"path": "/end", "body": "here"})
    got = get(hand, url, max_bytes=10)
    need(got.outcome == "OK" and got.data == b"here", "the body of a redirect: %r" % got)
    world.a.rules({"path": "/start", "status": 302, "body": "no location"})
    need(get(hand, url).status == 302, "a redirect to nowhere is an answer")


def https_is_never_left(world, hand):
    url = "https://%s/start" % world.tls.address
    world.a.rules({"path": "/end", "body": "plain"}, redirect("https://%s/start" % world.tls.address))
    world.tls.rules(redirect("http://%s/end" % world.a.address))
    got = get(hand, url)
    need(got.outcome == "REFUSED" and "https" in got.text and not world.a.requests(), got)
    got = get(hand, "http://%s/start" % world.a.address)
    need(got.outcome == "REFUSED" and len(world.a.requests()) == 1, "http, https, http: %r" % got)
    got = get(hand, "http://%s/end" % world.a.address, allow_plain=False)
    need(got.outcome == "REFUSED" and "plain http" in got.text, got)
    world.tls.rules(redirect("https://%s/end" % world.tls2.address))
    world.tls2.rules({"path": "/end", "body": "safe"})
    need(get(hand, url, allow_plain=False).data == b"safe", "from https to https")


# Addresses ------------------------------------------------------------------------------------------------------------


def addresses_are_checked(world, hand):
    url = "http://%s/start" % world.a.address
    world.a.rules({"path": "/start", "body": "x"})
    need(get(hand, url).outcome == "OK", "loopback, allowed")
    got = get(hand, url, allow_loopback=False)
    need(got.outcome == "REFUSED" and "loopback" in got.text, got)
    asked = len(world.a.requests())
    for host in ("0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "localhost", "a.localhost"):
        got = get(hand, "http://%s:%d/start" % (host, world.a.port), allow_loopback=False)
        need(got.outcome == "REFUSED", "%s: %r" % (host, got))
    for host in ("169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]", "100.100.100.200",
                 "168.63.129.16", "0.0.0.0", "[::]", "224.0.0.1", "[ff02::1]", "255.255.255.255", "2852039166"):
        got = get(hand, "http://%s/latest/meta-data" % host)
        need(got.outcome == "REFUSED", "%s: %r" % (host, got))
        world.a.rules(redirect("http://%s/latest" % host))
        got = get(hand, url)
        need(got.outcome == "REFUSED", "a redirect to %s: %r" % (host, got))
        world.a.rules({"path": "/start", "body": "x"})
    need(asked == 1, "somebody was asked")


def names_are_resolved(world, hand):
    world.a.rules({"path": "/x", "body": "found"})
    table = world.dns.table
    table.update({"good.test": ["127.0.0.1"], "two.test": ["127.0.0.9", "127.0.0.1", "::1"], "evil.test": ["169.254.169.254"],
                  "mixed.test": ["169.254.169.254", "127.0.0.1"], "v6only.test": ["::1"], "none.test": [], "broken.test": "SERVFAIL",
                  "silent.test": "SILENT", "garbage.test": "GARBAGE", "many.test": ["127.0.0.%d" % i for i in range(1, 25)]})
    url = "http://%%s:%d/x" % world.a.port
    for name in ("good.test", "GOOD.test", "two.test", "mixed.test", "many.test"):
        got = get(hand, url % name)
        need(got.outcome == "OK" and got.data == b"found", "%s: %r" % (name, got))
    need([h for h in world.a.requests()[0]["headers"] if h[0] == "Host"] == [["Host", "good.test:%d" % world.a.port]], "the Host header")
    got = get(hand, url % "evil.test")
    need(got.outcome == "REFUSED" and "169.254.169.254" in got.text, got)
    got = get(hand, url % "v6only.test", allow_loopback=False)
    need(got.outcome == "REFUSED" and "::1" in got.text, got)
    for name in ("unknown.test", "none.test", "broken.test"):
        got = get(hand, url % name)
        need(got.outcome == "RESOLVE" and name in got.text, "%s: %r" % (name, got))
    for name in ("silent.test", "garbage.test"):
        started = time.monotonic()
        got = get(hand, url % name, progress_timeout_sec=2)
        need(got.outcome == "RESOLVE" and time.monotonic() - started < 8, "%s: %r" % (name, got))
    # The name is looked up once for an exchange: there is no second answer to be switched for the first.
    world.dns.asked.clear()
    get(hand, url % "good.test")
    asked = sorted(question for question in world.dns.asked if question[0] == "good.test")
    need(asked == [("good.test", 1), ("good.test", 28)], asked)
    world.a.rules(redirect("http://evil.test/x"))
    got = get(hand, "http://%s/start" % world.a.address)
    need(got.outcome == "REFUSED", got)
    world.a.rules(redirect("http://good.test:%d/end" % world.a.port), {"path": "/end", "body": "end"})
    with world.hand("public") as strict:
        need(get(strict, "http://good.test:%d/start" % world.a.port).outcome == "OK", "the same origin may stay on loopback")
        world.a.rules({"path": "/start", "status": 302, "headers": {"Location": "http://two.test:%d/end" % world.a.port}}, {"path": "/end", "body": "end"})
        got = get(strict, "http://good.test:%d/start" % world.a.port)
        need(got.outcome == "REFUSED" and "loopback" in got.text, "a registry by name must not send us to loopback: %r" % got)
    with world.hand("configured", allow_loopback=1) as lenient:
        need(get(lenient, "http://good.test:%d/start" % world.a.port).outcome == "OK", "where the node's configuration allows it")


# Failures -------------------------------------------------------------------------------------------------------------


def certificates(world, hand):
    world.tls.rules({"path": "/x", "body": "x"})
    url = "https://%s/x" % world.tls.address
    need(get(hand, url).outcome == "OK", "the right CA")
    got = get(hand, "https://localhost:%d/x" % world.tls.port)
    need(got.outcome == "OK", got)
    world.dns.table["wrong.test"] = ["127.0.0.1"]
    got = get(hand, "https://wrong.test:%d/x" % world.tls.port, authorization=SECRET)
    need(got.outcome == "TLS" and "wrong.test" in got.text, "another name: %r" % got)
    need(SECRET not in world.tls.authorizations(), "the credential was sent")
    need(get(hand, "https://wrong.test:%d/x" % world.tls.port, skip_verify=True).outcome == "OK", "another name, not verified")
    with world.hand("other-ca", ca_file=world.other_ca) as other:
        got = get(other, url, authorization=SECRET)
        need(got.outcome == "TLS" and "CA" in got.text and world.tls.address.split(":")[0] in got.text, got)
        need(get(other, url, skip_verify=True).outcome == "OK", "not verified")
    with world.hand("no-ca", ca_file="/nonexistent") as none:
        got = get(none, url)
        need(got.outcome == "TLS" and "ca-certificates" in got.text, got)
    got = get(hand, "https://%s/x" % world.a.address)
    need(got.outcome == "TLS", "https to a plain server: %r" % got)
    got = get(hand, "http://%s/x" % world.tls.address)
    need(got.outcome in ("PROTOCOL", "TRUNCATED", "OK") and got.status in (0, 400), "http to a TLS server: %r" % got)


def old_tls_is_refused(world, hand):
    import ssl
    keys = os.path.dirname(world.ca)
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.load_cert_chain(keys + "/tls.crt", keys + "/tls.key")

    def serve():
        try:
            context.wrap_socket(listener.accept()[0], server_side=True).close()
        except (ssl.SSLError, OSError):
            pass

    threading.Thread(target=serve, daemon=True).start()
    got = get(hand, "https://127.0.0.1:%d/x" % listener.getsockname()[1])
    listener.close()
    need(got.outcome == "TLS", got)


def it_ends_well_when_servers_do_not(world, hand):
    url = "http://%s/x" % world.a.address
    world.a.rules({"path": "/x", "body": "0123456789", "length": 100})
    got = get(hand, url)
    need(got.outcome == "TRUNCATED" and got.data == b"0123456789" and world.a.address in got.text, "cut: %r" % got)
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 1000, "cut": 5000, "reset": True})
    got = get(hand, url)
    need(got.outcome == "TRUNCATED", "reset: %r" % got)
    world.a.rules({"path": "/x", "body": "0123456789", "chunked": 4, "cut": 8})
    got = get(hand, url)
    need(got.outcome == "TRUNCATED", "cut in a chunk: %r" % got)
    world.tls.rules({"path": "/x", "body": "0123456789", "repeat": 1000, "cut": 5000})
    got = get(hand, "https://%s/x" % world.tls.address)
    need(got.outcome == "TRUNCATED", "TLS, cut: %r" % got)
    started = time.monotonic()
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 10, "cut": 50, "stall": 60})
    got = get(hand, url, progress_timeout_sec=2)
    took = time.monotonic() - started
    need(got.outcome == "STALLED" and len(got.data) == 50 and 1.5 < took < 6, "stalled after %.1f s: %r" % (took, got))
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 100, "drip": 0.5})
    got = get(hand, url, progress_timeout_sec=2, total_timeout_sec=4)
    need(got.outcome == "STALLED" and "4 seconds" in got.text and 2 < len(got.data) < 12, "dripped: %r" % got)
    for size in (101, 1000, 1 << 20):
        world.a.rules({"path": "/x", "body": "x", "repeat": size})
        got = get(hand, url, max_bytes=100)
        need(got.outcome == "TOO_LARGE" and len(got.data) == 0, "announced: %r" % got)
        world.a.rules({"path": "/x", "body": "x" * 50, "repeat": size // 50 + 1, "length": None})
        got = get(hand, url, max_bytes=100)
        need(got.outcome == "TOO_LARGE" and len(got.data) <= 100, "not announced: %r" % got)
    world.a.rules({"path": "/x", "body": "x" * 100})
    need(get(hand, url, max_bytes=100).outcome == "OK", "exactly as much")
    world.a.rules({"path": "/x", "body": "x", "headers": [["X-%d" % i, "y"] for i in range(200)]})
    got = get(hand, url)
    need(got.outcome == "PROTOCOL" and "headers" in got.text, got)
    world.a.rules({"path": "/x", "body": "x", "headers": [["X-%d" % i, "y" * 4000] for i in range(30)]})
    need(get(hand, url).outcome == "PROTOCOL", "120 kB of headers")
    world.a.rules({"path": "/x", "body": "x", "headers": {"WWW-Authenticate": "y" * 5000, "Content-Type": "z" * 300}})
    got = get(hand, url)
    need(got.outcome == "OK" and not got.body.challenges and not got.body.content_type, "long values are dropped: %r" % got)


class Raw(threading.Thread):
    """Says literal bytes to whoever connects, then holds the line for a while."""

    def __init__(self, *said, pause=0.0, hold=0.0):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/x" % self.listener.getsockname()[1]
        self.said, self.pause, self.hold = said, pause, hold
        self.start()

    def run(self):
        with self.listener, self.listener.accept()[0] as peer:
            try:
                for part in self.said:
                    peer.sendall(part)
                    time.sleep(self.pause)
                time.sleep(self.hold)
            except OSError:
                pass


def raw_answers(_world, hand):
    ok = b"HTTP/1.1 200 OK\r\n"
    for name, said, outcomes in (
            ("nothing", (b"",), ("TRUNCATED",)), ("garbage", (b"\0\1\2garbage\r\n\r\n",), ("PROTOCOL",)),
            ("HTTP/0.9", (b"plain text",), ("PROTOCOL",)), ("HTTP/9", (b"HTTP/9.9 200 OK\r\n\r\n",), ("PROTOCOL",)),
            ("a bad length", (ok + b"Content-Length: -5\r\n\r\n",), ("PROTOCOL",)),
            ("two lengths", (ok + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",), ("PROTOCOL", "OK", "TRUNCATED", "STALLED")),
            ("a huge length", (ok + b"Content-Length: 99999999999999999999\r\n\r\nx",), ("PROTOCOL", "TOO_LARGE", "OK", "TRUNCATED")),
            ("a bad chunk", (ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx",), ("PROTOCOL", "TRUNCATED")),
            ("an endless header", (ok + b"X: " + b"y" * 400000,), ("PROTOCOL", "TRUNCATED")),
            ("an upgrade", (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + ok + b"\r\n",), ("PROTOCOL", "TRUNCATED", "OK", "CONNECT"))):
        server = Raw(*said)
        got = get(hand, server.url, progress_timeout_sec=2)
        need(got.outcome in outcomes, "%s: %r" % (name, got))
    server = Raw(b"HTTP/1.1 103 Early\r\nWWW-Authenticate: early\r\nLocation: /early\r\n\r\n" + ok + b"Content-Length: 1\r\n\r\nx")
    got = get(hand, server.url)
    need(got.outcome == "OK" and not got.body.challenges and got.data == b"x", "an interim answer's headers: %r" % got)
    server = Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)
    need(get(hand, server.url).outcome == "PROTOCOL", "500 interim answers")
    started = time.monotonic()
    server = Raw(*[bytes([b]) for b in ok + b"X-Slow: " + b"y" * 100], pause=0.3)
    got = get(hand, server.url, progress_timeout_sec=2)
    need(got.outcome == "CONNECT" and time.monotonic() - started < 6, "headers that drip: %r" % got)
    server = Raw(hold=60)
    got = get(hand, server.url, progress_timeout_sec=2)
    need(got.outcome == "CONNECT" and "2 seconds" in got.text, "nothing at all: %r" % got)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    got = get(hand, "http://127.0.0.1:%d/x?signature=secret" % port)
    need(got.outcome == "CONNECT" and "127.0.0.1:%d" % port in got.text and "signature" not in got.text, "nobody listens: %r" % got)
    got = get(hand, "http://192.0.2.1/x")
    need(got.outcome == "CONNECT", "no route: %r" % got)


def readers_that_go_away(world, hand):
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 1000000})
    read_fd, write_fd = os.pipe()
    hand.send("fetch", {"url": "http://%s/x" % world.a.address, "max_bytes": 1 << 30, "progress_timeout_sec": 3, "allow_loopback": True,
                        "allow_plain": True}, [write_fd])
    os.close(write_fd)
    os.read(read_fd, 100)
    os.close(read_fd)
    _, answer = hand.receive()
    need(NAMES[answer.body.outcome] == "PROTOCOL" and "nobody" in answer.body.text, answer)
    hand.settle()


def requests_side_by_side(world, hand):
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 10, "cut": 50, "stall": 20}, {"path": "/fast", "body": "fast"})
    slow, pipes = [], []
    for _ in range(5):
        read_fd, write_fd = os.pipe()
        slow.append(hand.send("fetch", {"url": "http://%s/x" % world.a.address, "max_bytes": 1000, "progress_timeout_sec": 4,
                                        "allow_loopback": True, "allow_plain": True}, [write_fd]))
        os.close(write_fd)
        pipes.append(read_fd)
    started = time.monotonic()
    need(get(hand, "http://%s/fast" % world.a.address).data == b"fast" and time.monotonic() - started < 2, "a stalled sibling holds it up")
    for _ in slow:
        number, answer = hand.receive()
        need(number in slow and NAMES[answer.body.outcome] == "STALLED", answer)
    for fd in pipes:
        os.close(fd)


# Confinement ------------------------------------------------------------------------------------------------------------


def children_are_confined(world, hand):
    world.a.rules({"path": "/x", "body": "0123456789", "repeat": 10, "cut": 50, "stall": 20})
    read_fd, write_fd = os.pipe()
    hand.send("fetch", {"url": "http://%s/x" % world.a.address, "max_bytes": 1000, "progress_timeout_sec": 2, "allow_loopback": True,
                        "allow_plain": True}, [write_fd])
    os.close(write_fd)
    os.read(read_fd, 50)
    child = hand.children()[0]
    for pid, filters in ((str(hand.process.pid), 1), (child, 2)):
        with open("/proc/%s/status" % pid, encoding="ascii") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        need(fields["Uid"].split()[0] == str(hands.USER_BASE + hands.PROCESSES.index("imaged-fetch")), fields["Uid"])
        need(int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapBnd"], 16) == 0, fields["CapEff"])
        need(fields["NoNewPrivs"] == "1" and int(fields["Seccomp_filters"]) == filters, fields["Seccomp_filters"])
        need(fields["Threads"] == "1", "there are threads: a resolver of libcurl's?")
        files = [os.path.join(r, f) for r, _, fs in os.walk("/proc/%s/root/" % pid) for f in fs]
        need(files == [], "it sees files: %s" % files[:5])
    # A child ends with its parent.
    hand.process.send_signal(signal.SIGKILL)
    hand.process.wait()
    end = time.monotonic() + 5
    while os.path.exists("/proc/" + child):
        need(time.monotonic() < end, "the child outlives the hand")
        time.sleep(0.02)
    os.close(read_fd)


def malformed_requests(_world, hand):
    for raw in (b"", b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe"):
        read_fd, write_fd = os.pipe()
        answer = hand.call("fetch", raw=raw, fds=[write_fd])
        os.close(write_fd)
        need(select.select([read_fd], [], [], 5)[0] and os.read(read_fd, 1) == b"", "the pipe is open")
        os.close(read_fd)
        need(answer.code == 3 or NAMES[answer.body.outcome] == "REFUSED", answer)


def main():
    os.makedirs(SCRATCH, exist_ok=True)
    os.chmod(SCRATCH, 0o755)
    results, world = Results(), World()
    hand = world.hand("fetch")
    try:
        for test in (a_real_registry, bodies_and_headers, a_slow_reader_is_not_a_stall, ranges, the_credential_stays_with_its_origin,
                     forms_are_posted_and_never_redirected, redirects_are_bounded, https_is_never_left, addresses_are_checked, names_are_resolved, certificates,
                     old_tls_is_refused, it_ends_well_when_servers_do_not, raw_answers, readers_that_go_away, requests_side_by_side,
                     malformed_requests, children_are_confined):
            if len(sys.argv) < 3 or test.__name__ in sys.argv[2:]:
                results.run(test, world, hand)
                if hand.process.poll() is None:
                    hand.settle()
    finally:
        world.stop()
        if hand.process.poll() is None:
            results.failed += hand.stop() != 0
    if results.failed:
        print(hand.log()[-3000:], file=sys.stderr)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
