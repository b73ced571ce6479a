# SPDX-License-Identifier: Apache-2.0
"""The classes of attack that brought brokers down, each by its id in docs/security.md; those that
need no whole broker are in the unit tests and fuzz targets named there.

What is asserted: counts, bytes, codes and order. TEST_LONG=1 plays the long forms.
"""
import collections
import contextlib
import ctypes
import fcntl
import json
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time
import tty

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer as peer_module  # noqa: E402
from peer import BINARY, CLOSE, CONT, DEADLINE, PING, PONG, TEXT, Broker, Gone, Peer, close_code, frame, typed  # noqa: E402

LONG = bool(os.environ.get("TEST_LONG"))
MARKER = "m4rk3r-that-no-log-may-hold"
tests = []


def test(run):
    tests.append(run)
    return run


class Watcher:
    """The broker's own figures."""

    def __init__(self, broker):
        self.broker = broker
        self.peer = typed(broker.port)
        self.peer.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})

    def figures(self):
        for _ in range(2):  # the first may be from before
            m = self.peer.read_json()
        return m["message"]

    def settles(self, check, why):
        """Waits until `check(figures)`: what is freed is seen a second later."""
        end = time.monotonic() + DEADLINE
        while not check(f := self.figures()):
            assert time.monotonic() < end, (why, f)
        return f


def packed(port, **more):
    peer = Peer(port, protocol="fanfare.v1.msgpack", **more)
    assert peer.read()[1][1] == 4
    return peer


@test
def s01_header_floods_leave_nothing_behind():
    with Broker("--sys") as broker:
        watcher = Watcher(broker)
        watcher.settles(lambda f: True, "")
        base = watcher.figures()
        for count in 65, 2000, 100000:
            for _ in range(5):
                p = Peer(broker.port, upgrade=False)
                try:
                    p.send(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * count + b"\r\n")
                    p.read_head()
                    assert p.status == 431
                except (OSError, Gone):
                    pass  # it was reset while it still wrote
                p.close()
        watcher.settles(lambda f: f["connections"] == 1 and f["memory"] <= base["memory"] + 4096, base)


@test
def s01_half_heads_leave_memory_to_those_who_talk():
    """All of them over 4 KiB have a 16th of `memory` together: who would have more is told."""
    count, memory = 200, 64 << 20
    with Broker("--sys", "--memory", str(memory), "--max-head", "64K", "--max-half-open", "1000",
                "--handshake-seconds", "600", "--workers", "2") as broker:
        watcher = Watcher(broker)
        base = watcher.settles(lambda f: f["connections"] == 1, "")["memory"]
        half = [Peer(broker.port, upgrade=False) for _ in range(count)]
        refused = 0
        for p in half:
            with contextlib.suppress(OSError):
                p.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60000)
        watcher.settles(lambda f: f["connections"] < count, "none was refused")
        # What it has is its share at most, and what allocating it costs; and nothing it has is in anybody's way.
        watcher.settles(lambda f: f["memory"] < base + memory / 16 + count * 2048, base)
        with typed(broker.port) as p:
            assert p.ask({"type": 7, "id": 1, "topic": "t", "message": "x" * 60000})["type"] == 8
        for p in half:
            with contextlib.suppress(OSError, Gone):
                p.send(b"\r\n\r\n")
                p.read_head()
                refused += p.status == 503 and "heads over 4 KiB" in p.read_body()
                assert p.status in (200, 503), p.status
            p.close()
        assert 0 < refused < count, refused
        watcher.settles(lambda f: f["connections"] == 1 and f["memory"] < base + (1 << 20), base)
        with Peer(broker.port, upgrade=False) as p:  # the share is free again
            p.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 60000)
            p.send(b"\r\n\r\n")
            p.read_head()
            assert p.status == 200


@test
def s07_slow_handshakes_end_at_their_deadline_whatever_they_send():
    with Broker("--handshake-seconds", "2") as broker:
        slow = [Peer(broker.port, upgrade=False) for _ in range(200)]
        ended = 0
        head = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 4000
        for i in range(40):
            for p in slow:
                try:
                    p.sock.send(head[i:i + 1])  # an octet each: the deadline is not moved by it
                except OSError:
                    pass
            time.sleep(0.1)
        for p in slow:
            try:
                p.read_head()
                assert p.status == 408 and p.read_body() and p.at_end()
                ended += 1
            except (Gone, OSError):
                ended += 1
            p.close()
        assert ended == 200
        assert typed(broker.port).welcome["type"] == 4


@test
def s09_origins_are_compared_whole_and_before_anything_is_made():
    with Broker("--origins", "https://app.example:8443", "--hosts", "broker.example,localhost", "--sys") as broker:
        watcher = Watcher(broker)
        for origin, status in (
                (None, 101), ("https://app.example:8443", 101), ("HTTPS://APP.EXAMPLE:8443", 101),
                ("https://app.example", 403), ("http://app.example:8443", 403), ("https://app.example:8444", 403),
                ("https://app.example.:8443", 403), ("https://app.example:8443/", 403), ("https://app.example:8443.evil", 403),
                ("https://evilapp.example:8443", 403), ("https://good.evil", 403), ("null", 403), ("*", 403), ("", 403),
                ("https://xn--app-exmple-x5a:8443", 403), ("https://äpp.example:8443".encode().decode("latin-1"), 403),
                ("https://user@app.example:8443", 403), ("https://app.example:8443,https://app.example:8443", 403)):
            p = Peer(broker.port, upgrade=False)
            head = ["GET /ws HTTP/1.1", "Host: broker.example", "Upgrade: websocket", "Connection: Upgrade",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Cookie: session=1"]
            head += [] if origin is None else ["Origin: " + origin]
            p.send(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            p.read_head()
            assert p.status == status, (origin, p.status)
            p.close()
        f = watcher.settles(lambda f: f["connections"] == 1, "all are gone")
        assert f["topics"] == 1, "no topic was made for one who was refused"


@test
def s10_nobody_is_believed_about_addresses_but_listed_proxies():
    with Broker("--max-connections-per-address", "1") as broker:
        for line in (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x7f" * 12):
            p = Peer(broker.port, upgrade=False)
            p.send(line + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            p.read_head()
            assert p.status == 400, p.status
    with Broker("--proxies", "127.0.0.1", "--max-connections-per-address", "1") as broker:
        first = Peer(broker.port, protocol="fanfare.v1.json", headers=["X-Forwarded-For: 192.0.2.9"])
        assert first.read_json()["type"] == 4
        for forwarded in ("192.0.2.9", "10.0.0.1, 192.0.2.9", "192.0.2.9 ", "::ffff:192.0.2.9", "x, 192.0.2.9", "192.0.2.9:80"):
            p = Peer(broker.port, protocol="fanfare.v1.json", headers=["X-Forwarded-For: " + forwarded])
            assert p.read_close()[0] == 1013, forwarded
        for forwarded in ("", ",", "nonsense", "192.0.2.9:", "1" * 4000, "192.0.2.9, nonsense", ", ".join(["127.0.0.1"] * 300)):
            p = Peer(broker.port, protocol="fanfare.v1.json", headers=["X-Forwarded-For: " + forwarded])
            assert p.status == 101 and p.read_json()["type"] == 4, "what is no address is not believed: %r" % forwarded
            p.close()


@test
def s12_declared_lengths_cost_nothing():
    count = 5000 if LONG else 1000
    with Broker("--sys", "--max-message", "64M") as broker:
        watcher = Watcher(broker)
        peers = []
        for _ in range(count):
            p = Peer(broker.port, path="/ws?topic=s12")
            p.send(frame(BINARY, b"", length=64 << 20) + b"x")
            peers.append(p)
        base = watcher.figures()
        f = watcher.settles(lambda f: f["connections"] == count + 1, "all are in")
        assert f["memory"] - base["memory"] < count * 4096, (base, f)
        for p in peers:
            p.close()
        watcher.settles(lambda f: f["connections"] == 1 and f["memory"] < base["memory"] + (1 << 20), base)


@test
def s13_tiny_fragments_are_bounded_by_octets_and_empty_ones_by_number():
    count = 10 ** 6 if LONG else 10 ** 5
    with Broker("--sys") as broker:
        watcher = Watcher(broker)
        base = watcher.figures()["memory"]
        a = typed(broker.port)
        a.send(frame(TEXT, b'"', fin=False))
        one = frame(CONT, b"x", fin=False)
        sent = 0
        try:
            while sent < count:
                a.send(one * 1000)
                sent += 1000
        except OSError:
            pass
        code, reason = a.read_close()
        assert code == 1009 and "65536" in reason, (code, reason)
        b = typed(broker.port)
        b.send(frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) * 63 + frame(PING, b"64"))
        assert b.read() == (PONG, b"64")
        b.send(frame(CONT, b"", fin=False))
        assert b.read_close()[0] == 1008
        c = typed(broker.port)  # TCP segments of an octet
        c.send(frame(TEXT, '{"type":1,"id":3}'), chop=1)
        assert c.read_json()["id"] == 3
        d = typed(broker.port)  # held, not ended: the growth is that of one message
        d.send(frame(TEXT, b'"', fin=False) + one * 60000)
        f = watcher.settles(lambda f: f["connections"] == 3, "a and b are gone")
        assert f["memory"] <= base + (64 << 10) * 2 + (256 << 10), (base, f)


@test
def s19_nobody_sees_the_octets_of_another():
    """Slow readers, churn, half of them sent compressed frames, a payload of its own for every topic: every octet is checked."""
    count, rounds = (1000, 60) if LONG else (150, 30)
    dice = random.Random(19)

    def payload(topic, n):
        return ("%s-%d." % (topic, n)) * (1 + (n * 7919 + len(topic)) % 120)

    with Broker("--deflate-min", "100", "--deflate-readers", "1") as broker:
        readers, seen, compressed = {}, 0, 0

        def join(i):
            p = typed(broker.port, rcvbuf=4096 if i % 3 else None, deflate="permessage-deflate" if i % 2 else None)
            p.topic = "t/%d" % (i % (count // 2))
            p.next = None
            p.ask({"type": 5, "id": 1, "topic": p.topic})
            readers[i] = p

        def read(p):
            nonlocal seen
            opcode, text = p.read()
            m = json.loads(text) if opcode == TEXT else {"type": 1}
            assert opcode in (TEXT, PING), (opcode, text)
            if m["type"] == 1:
                return
            assert m["topic"] == p.topic, (p.topic, m["topic"])
            if m["type"] == 10:
                p.next = None if p.next is None else p.next + m["skipped"]
                return
            n = int(m["message"].split("-")[1].split(".")[0])
            assert m["message"] == payload(p.topic, n), "foreign octets"
            assert p.next is None or n == p.next, (n, p.next)
            p.next = n + 1
            seen += 1

        for i in range(count):
            join(i)
        writer, numbers = typed(broker.port), {}
        for r in range(rounds):
            batch = []
            for k in range(count // 2):
                topic = "t/%d" % k
                for _ in range(dice.randrange(1, 6)):
                    numbers[topic] = numbers.get(topic, 0) + 1
                    batch.append({"type": 7, "topic": topic, "message": payload(topic, numbers[topic])})
            for i in range(0, len(batch), 20):
                writer.send_json(batch[i:i + 20])
            for i in list(readers):
                if dice.random() < 0.3:
                    while len(readers[i].buffer) > 4096 or select.select([readers[i].sock], [], [], 0)[0]:
                        read(readers[i])
                elif dice.random() < 0.05:
                    compressed += readers[i].compressed_count
                    readers[i].reset() if dice.random() < 0.5 else readers[i].close()
                    join(i)
        for topic in numbers:
            numbers[topic] += 1
            writer.send_json({"type": 7, "topic": topic, "message": payload(topic, numbers[topic])})
        for p in readers.values():
            while p.next is None or p.next <= numbers[p.topic]:
                read(p)
        compressed += sum(p.compressed_count for p in readers.values())
        assert seen > count * rounds / 4, seen
        assert compressed > seen / 4, (compressed, seen)


@test
def s20_pings_of_one_who_does_not_read_cost_nothing():
    count = 10 ** 6 if LONG else 10 ** 5
    with Broker("--sys", "--pings-per-second", "0") as broker:
        watcher = Watcher(broker)
        base = watcher.figures()["memory"]
        a = Peer(broker.port, path="/ws?topic=none", rcvbuf=4096)
        a.sock.settimeout(DEADLINE)
        pings = b"".join(frame(PING, b"%06d" % i * 20) for i in range(count))
        a.send(pings)
        f = watcher.settles(lambda f: f["connections"] == 2, "it is open")
        assert f["memory"] <= base + (64 << 10), (base, f)
        a.send(frame(TEXT, '{"type":1,"id":7}'))
        pongs = []
        while True:
            opcode, payload = a.read()
            if opcode == PONG:
                pongs.append(int(payload[:6]))
            elif b'"id":7' in payload:
                break
        assert pongs == sorted(pongs), "in order"
        assert pongs[-1] == count - 1, "the newest is among them"
        assert len(pongs) < count, "not all of them: nobody read"
    with Broker() as broker:
        a = typed(broker.port)
        a.send(frame(PING, b"x") * 500)
        assert a.read_close()[0] == 4029


@test
def s22_payload_bombs_are_refused_before_they_grow():
    with Broker("--sys") as broker:
        watcher = Watcher(broker)
        m = packed(broker.port)
        base = watcher.figures()["memory"]
        for bomb in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 60000 + b"\xc0", b"\x81" * 30000,
                     b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x01", b"\xdc\xff\xff" * 20000):
            m.send(frame(BINARY, b"\x94\x07\x05\xa1x" + bomb))
            opcode, answer = m.read()
            assert opcode == BINARY and answer[1] == 9, (bomb[:8], answer)
        j = typed(broker.port)
        for bomb in "[" * 60000, '{"a":' * 10000, "[" * 30000 + "]" * 30000, '"' + "\\ud800" * 10000 + '"', "1e" + "9" * 60000:
            j.send(frame(TEXT, '{"type":7,"id":5,"topic":"x","message":' + bomb + "}"))
            assert j.read_json()["type"] == 9, bomb[:8]
        f = watcher.figures()
        assert f["memory"] <= base + (1 << 20), (base, f)


@test
def s28_topics_that_are_none_end_nothing():
    with Broker("--sys") as broker:
        a, m = typed(broker.port), packed(broker.port)
        for topic in ("", "/", "//", "a/", "/a", "a//b", "a\0b", "\u0085", "a#", "#a", "a/#/b", "a/+b", "++", "x" * 256,
                      "/".join("x" * 33), "\x7f", "a\nb"):
            for type in 5, 6, 7:
                got = a.ask({"type": type, "id": 1, "topic": topic, "message": 1})
                assert got["type"] == 9 and got["code"] == 422, (topic, got)
        for topic in b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\0":
            m.send(frame(BINARY, b"\x94\x05\x05" + bytes([0xa0 + len(topic)]) + topic))
            answer = m.read()[1]
            assert answer[1] == 9, (topic, answer)
        for topic in "$SYS", "$SYS/broker", "$x", "$":
            assert a.ask({"type": 7, "id": 1, "topic": topic, "message": 1})["code"] == 403
        # Two ways to write a letter are two topics: bytes are compared.
        assert a.ask({"type": 5, "id": 1, "topic": "\u00e9"})["type"] == 8
        assert a.ask({"type": 7, "id": 2, "topic": "e\u0301", "message": 1})["receivers"] == 0


@test
def s30_nothing_but_what_is_meant_is_on_the_port():
    with Broker("--sys") as broker:
        for path in ("/metrics", "/api", "/api/", "/api/v1/publish", "/publish", "/admin", "/debug", "/config", "/status",
                     "/health", "/stats", "/connections", "/.git/config", "/.env", "/../etc/passwd", "/%2e%2e/etc/passwd",
                     "/ws/../healthz", "/healthz/", "/index.html", "/console", "/favicon.svg", "/favicon.ico/", "//", "/?x=/healthz/.."):
            for upgrade in "", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n":
                p = Peer(broker.port, upgrade=False)
                p.send(("GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (path, upgrade)).encode())
                p.read_head()
                wanted = 101 if upgrade else 200 if path.startswith("/?") else 404  # a WebSocket is anywhere
                assert p.status == wanted, (path, p.status)
                p.close()
        for method in "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS":
            p = Peer(broker.port, upgrade=False)
            p.send(b"%s / HTTP/1.1\r\nHost: localhost\r\n\r\n" % method.encode())
            p.read_head()
            assert p.status == 405 and p.headers["allow"] == "GET, HEAD", (method, p.status)


@test
def s32_resets_while_it_writes_end_nothing():
    count = 10000 if LONG else 500
    with Broker("--sys") as broker:
        watcher, writer = Watcher(broker), typed(broker.port)
        base = watcher.figures()
        big = "x" * 30000
        for i in range(count):
            p = Peer(broker.port, path="/ws?topic=s32", rcvbuf=4096)
            if i % 8 == 0:
                writer.send_json({"type": 7, "topic": "s32", "message": big})
            p.reset()
        assert writer.ask({"type": 1, "id": 1})["type"] == 1
        watcher.settles(lambda f: f["connections"] == 2 and f["memory"] < base["memory"] + (1 << 20), base)


class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]


class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]


def vanish(sock):
    """From now on nothing arrives at this socket, and nothing is acknowledged: as if the peer were gone."""
    drop_all = (Filter * 1)(Filter(6, 0, 0, 0))  # RET 0
    program = Program(1, drop_all)
    SO_ATTACH_FILTER = 26
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
    return drop_all


@test
def s34_peers_that_vanished_are_closed():
    with Broker("--heartbeat", "5", "--sys") as broker:
        watcher = Watcher(broker)
        silent, talked_to, alive = (typed(broker.port) for _ in range(3))
        for p in talked_to, alive:
            p.ask({"type": 5, "id": 1, "topic": "t"})
        assert watcher.figures()["connections"] == 4
        keep = [vanish(p.sock) for p in (silent, talked_to)]
        end = time.monotonic() + DEADLINE
        left = 4
        while left > 2 or "heartbeat_lost" not in broker.log():
            assert time.monotonic() < end, "they are still there"
            alive.send_json({"type": 7, "topic": "t", "message": "x" * 100})
            alive.read_json()
            watcher.peer.send(frame(PONG))
            left = watcher.figures()["connections"]
        assert alive.ask({"type": 1, "id": 1})["type"] == 1
        del keep


@test
def s35_subscriptions_are_bounded_by_memory():
    with Broker("--memory", "16M", "--sys") as broker:
        healthy = typed(broker.port)
        healthy.ask({"type": 5, "id": 1, "topic": "chat"})
        abusers, refused, taken = [], 0, 0
        while not refused:
            assert len(abusers) < 500, "%d subscriptions, and no end" % taken
            abuser = typed(broker.port)
            abusers.append(abuser)
            n = len(abusers)
            abuser.send_json([{"type": 5, "id": i, "topic": "%03d/%04d/%s" % (n, i, "t" * 230)} for i in range(200)])
            for _ in range(200):
                got = abuser.read_json()
                taken += got["type"] == 8
                if got["type"] == 9:
                    assert got["code"] == 429 and "memory is limited to 16777216 bytes" in got["reason"], got
                    refused += 1
        assert broker.logged("memory_used_up")
        while True:  # what the answers took is given back: a newcomer may find room for a few more
            late = Peer(broker.port, protocol="fanfare.v1.json")
            opcode, payload = late.read()
            if opcode == CLOSE:
                break
            assert len(abusers) < 600, "newcomers come in, and no end"
            abusers.append(late)
            late.send_json([{"type": 5, "id": i, "topic": "%03d/%04d/%s" % (len(abusers), i, "t" * 230)} for i in range(200)])
            for _ in range(200):
                late.read_json()
        assert close_code(payload) == 1013, payload
        for i in range(100):  # who is there goes on as before
            assert healthy.ask({"type": 7, "id": i, "topic": "chat", "message": i})["receivers"] == 1
        for abuser in abusers:
            abuser.close()
        end = time.monotonic() + DEADLINE
        while True:  # newcomers come in again
            late = Peer(broker.port, protocol="fanfare.v1.json")
            if late.read()[0] == TEXT:
                break
            assert time.monotonic() < end, "their memory did not come back"


@test
def s35_half_messages_are_bounded_by_memory():
    with Broker("--memory", "16M", "--max-message", "1M") as broker:
        closed = 0
        peers = [typed(broker.port) for _ in range(60)]
        for peer in peers:
            try:
                peer.send(frame(TEXT, b"x" * 999900, fin=False) + frame(PING, b"all is there"))
            except OSError:
                pass
        for peer in peers:  # each has its PONG, if the broker holds all that it sent, or its end
            try:
                while (got := peer.read())[0] == TEXT:
                    pass
            except (Gone, ConnectionError):
                got = (CLOSE, b"\x03\xf5")  # what it had not read made its end a reset
            if got != (PONG, b"all is there"):
                assert got[0] == CLOSE and close_code(got[1]) == 1013, got
                closed += 1
        assert 30 < closed < 60, closed
        for peer in peers:
            peer.close()


@test
def s35_answers_that_nobody_reads_are_bounded_by_memory():
    count, limit = 400, 8 << 20
    with Broker("--memory", str(limit), "--sys", "--heartbeat", "300") as broker:
        watcher = Watcher(broker)
        peers = [typed(broker.port, rcvbuf=4096) for _ in range(count)]
        ask = frame(TEXT, json.dumps({"type": 6, "id": 1, "topic": "t" * 240}).encode()) * 200
        left = {peer: b"" for peer in peers}
        for peer in peers:
            peer.sock.setblocking(False)
        end, quiet, most, last = time.monotonic() + 2 * DEADLINE, 0, 0, [0]
        # Until the broker takes nothing more from any of them, and what it has stays as it is: near the limit.
        while quiet < 20 or len(last) < 3 or max(last) - min(last) > 4096 or min(last) < limit * 3 / 4:
            assert time.monotonic() < end, "it reads on: %s" % last
            if quiet >= 20:
                last = [*last[-2:], watcher.figures()["memory"]]
                most = max(most, last[-1])
            quiet += 1
            for peer in peers:
                left[peer] = left[peer] or ask
                try:
                    left[peer] = left[peer][peer.sock.send(left[peer]):]
                    quiet = 0
                except BlockingIOError:
                    pass
            time.sleep(0.01)
        most = max(most, watcher.figures()["memory"])
        assert most < limit + count * 12288, most  # not 64 KiB of both each
        for peer in peers:
            peer.close()
        watcher.settles(lambda f: f["memory"] < limit / 2, "their memory did not come back")


@test
def s40_floods_are_counted_in_the_log_and_written_once():
    count = 2000
    with Broker() as broker:
        for i in range(count):
            p = Peer(broker.port, upgrade=False)
            p.send(b"GET /nope\x1b[31m\nINJECTED event=x HTTP/1.1\r\n\r\n" if i % 2 else
                   b"GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: http://e\x1b]0;vil\\\"\r\nUpgrade: websocket\r\n\r\n")
            p.read_head()
            p.close()
        end = time.monotonic() + DEADLINE
        while True:
            log = broker.log()
            lines = [line for line in log.splitlines() if "request_refused" in line]
            suppressed = sum(int(n) for n in re.findall(r"request_refused suppressed=(\d+)", log))
            if len([line for line in lines if "suppressed=" not in line]) + suppressed == count:
                break
            assert time.monotonic() < end, (len(lines), suppressed)
            time.sleep(0.1)
        seconds = collections.Counter(line.split()[0] for line in lines if "suppressed=" not in line)
        assert suppressed > 0 and max(seconds.values()) <= 20, seconds  # ten of each second of the broker's
        assert "\x1b" not in log and not re.search(r"^INJECTED", log, re.M)


def clogged(kind):
    """Standard error that soon takes no more: what is given to the broker, and the other end to read from."""
    if kind == "pipe":
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    elif kind == "socket":  # as systemd's journal gives
        both = socket.socketpair()
        both[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reader, writer = (s.detach() for s in both)
    elif kind == "terminal":
        reader, writer = os.openpty()
        tty.setraw(writer)
    elif kind == "full disk":
        reader, writer = None, os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = None, os.open("/dev/null", os.O_RDONLY)  # nothing can be written to it
    return reader, writer


@contextlib.contextmanager
def raw_broker(*args, **descriptors):
    """A broker with these descriptors; it ends well, or at all events."""
    process = subprocess.Popen([os.path.join(peer_module.BIN, "fanfared"), *args], **descriptors)
    try:
        yield process
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


def port_of(process):
    with process.stdout as out:
        return int(re.search(rb":(\d+)/ws", out.readline()).group(1))


def check_lost(reader):
    """Somebody comes after all, and is told how many lines were lost."""
    text = b""
    os.set_blocking(reader, False)
    end = time.monotonic() + DEADLINE
    while not (lost := re.search(rb"\S+ warn log_lost lines=(\d+)\n", text)):
        assert time.monotonic() < end, text[-500:]
        with contextlib.suppress(BlockingIOError):
            text += os.read(reader, 1 << 16)
    assert int(lost.group(1)) > 0
    for line in text.split(b"\n")[:-1]:
        assert re.match(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (warn|info|debug|error) \w+ ", line), line


@test
def s40_a_log_that_nobody_empties_stops_nobody():
    count = 1000
    for kind in "pipe", "socket", "terminal", "full disk", "closed":
        reader, writer = clogged(kind)
        flags = fcntl.fcntl(writer, fcntl.F_GETFL)
        with raw_broker("--listen", "127.0.0.1:0", "--log-level", "debug", stderr=writer, stdout=subprocess.PIPE) as process:
            port = port_of(process)
            healthy = typed(port)
            healthy.ask({"type": 5, "id": 0, "topic": "t"})
            for i in range(count):
                with packed(port) as p:  # each end is a line
                    p.send(frame(TEXT, b"text"))
                    assert p.read_close()[0] == 1003, kind
                if i % 10 == 0:
                    with Peer(port, path="/ws?topic=//%d" % i) as bad:
                        assert bad.status == 400, kind
                assert healthy.ask({"type": 7, "id": i + 1, "topic": "t", "message": i})["receivers"] == 1, kind
            assert fcntl.fcntl(writer, fcntl.F_GETFL) == flags, "others write to it, too"
            if reader is not None:
                check_lost(reader)
                for _ in range(count):  # and nobody again
                    with packed(port) as p:
                        p.send(frame(TEXT, b"text"))
                        p.read_close()
            process.terminate()
            while healthy.read_json()["type"] != 13:
                pass  # until the signal was heard
            healthy.close()
        os.close(writer)
        if reader is not None:
            os.close(reader)


@test
def s40_who_is_told_where_it_listens_need_not_read_it():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, b"x" * 4096)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with raw_broker("--listen", "127.0.0.1:%d" % port, "--log-level", "error", stdout=writer) as process:
        end = time.monotonic() + DEADLINE
        p = None
        while not p:
            try:
                p = typed(port)
            except ConnectionRefusedError:
                assert process.poll() is None and time.monotonic() < end
                time.sleep(0.02)
        assert p.ask({"type": 1, "id": 1})["type"] == 1
        p.close()
    os.close(reader)
    os.close(writer)


@test
def s40_no_client_is_taken_for_standard_error():
    command = ["sh", "-c", 'exec 2>&- <&-; exec "$@"', "sh", os.path.join(peer_module.BIN, "fanfared"),
               "--listen", "127.0.0.1:0", "--log-level", "debug", "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        port = port_of(process)
        for fd in 0, 2:
            assert os.readlink("/proc/%d/fd/%d" % (process.pid, fd)) == "/dev/null"
        assert Peer(port, path="/ws?topic=//").status == 400
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


@test
def secrets_reach_no_log():
    """Tokens, payloads, topics of others, keys: not even at the level debug."""
    with Broker("--log-level", "debug", "--sys") as broker:
        p = Peer(broker.port, protocol="fanfare.v1.json, fanfare.token." + MARKER,
                 headers=["Cookie: " + MARKER, "Authorization: Bearer " + MARKER])
        p.read_json()
        for text in ('{"type":3,"id":1,"token":"%s"}', '{"type":7,"id":1,"topic":"t","message":"%s"}',
                     '{"type":7,"topic":"t","data":"%s"}', '{"type":7,"topic":"t","message":%s}', "%s", '{"type":"%s"}',
                     '{"type":7,"id":2,"topic":"t","key":"%s","message":1}'):
            p.send(frame(TEXT, text % MARKER))
        p.send(frame(TEXT, MARKER.encode() + b"\xff"))
        p.read_close()
        q = Peer(broker.port, path="/ws?token=" + MARKER)
        q.send(frame(TEXT, MARKER))
        assert q.read_json()["message"] == MARKER
        q.send(frame(CLOSE, b"\x03\xe8" + MARKER.encode()))
        q.read_close()
        for path in "/nope?topic=%&token=" + MARKER, "/ws?topic=//&token=" + MARKER:
            assert Peer(broker.port, path=path).status == 400
        r = Peer(broker.port, upgrade=False)
        r.send(b"GET /?" + MARKER.encode() + b" HTTP/9\r\nAuthorization: " + MARKER.encode() + b"\r\n\r\n")
        r.read_head()
        broker.process.terminate()
        broker.process.wait(DEADLINE)
        assert "close" in broker.log(), "the level is debug"
        assert MARKER not in broker.log()


class FakedTime:
    """A broker whose clocks a test moves (of the release build: faketime is preloaded)."""

    def __init__(self, *args, **env):
        self.stamp = "/tmp/faketime-%d" % os.getpid()
        self.jump("+0")
        found = subprocess.run(["sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1"], capture_output=True, text=True)
        assert found.returncode == 0, "faketime is missing: apt-get install faketime"
        env.update(LD_PRELOAD=found.stdout.strip(), FAKETIME_TIMESTAMP_FILE=self.stamp, FAKETIME_NO_CACHE="1")
        kept, peer_module.BIN = peer_module.BIN, os.environ.get("TEST_RELEASE", peer_module.BIN)
        self.broker = Broker("--sys", *args, env=env)
        peer_module.BIN = kept

    def jump(self, to):
        with open(self.stamp + "~", "w") as out:
            out.write(to)
        os.rename(self.stamp + "~", self.stamp)  # at once: an empty file would take the clocks back

    def __enter__(self):
        self.broker.__enter__()
        return self.broker, self.jump

    def __exit__(self, *why):
        self.broker.__exit__(*why)
        os.unlink(self.stamp)


@test
def f16_clocks_that_jump_disconnect_nobody():
    """Timers follow the monotonic clock; faketime moves the other one."""
    with FakedTime("--heartbeat", "5", DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_FAKE_MONOTONIC="1") as (broker, jump):
        a = typed(broker.port)
        a.ask({"type": 5, "id": 1, "topic": "t"})
        watcher = Watcher(broker)
        for i, to in enumerate(("+3600s", "-3600s", "@2038-01-19 03:14:05", "+0", "@1970-01-02 00:00:00", "@2100-01-01 00:00:00")):
            jump(to)
            before = watcher.peer.read_json()["message"]["uptime"]
            got = a.ask({"type": 7, "id": i, "topic": "t", "message": i})
            assert got["type"] == 8 and got["receivers"] == 1
            after = watcher.peer.read_json()["message"]
            assert 0 <= after["uptime"] - before < 60 and after["connections"] == 2, (before, after)
        bad = Peer(broker.port, path="/ws?topic=//")
        assert bad.status == 400 and broker.logged("2100-01-01"), "the clock did jump"


@test
def f16_a_broker_is_not_too_old_after_497_days():
    """Where ticks of 32 bits begin anew, and again: heartbeats, rates, publishes; and it waits when it has nothing to do."""
    def cpu_ticks(broker):
        with open("/proc/%d/stat" % broker.process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    with FakedTime("--heartbeat", "5") as (broker, jump):
        for to in "+249d", "+498d", "+995d":
            jump(to)
            a, watcher = typed(broker.port), Watcher(broker)
            watcher.figures()
            before = cpu_ticks(broker)
            for _ in range(5):
                watcher.peer.read_json()  # one a second
                a.ask({"type": 1, "id": 1})  # it lives
            assert cpu_ticks(broker) - before < 100, "it spins %s" % to
            a.ask({"type": 5, "id": 1, "topic": "slow", "rate": 2})
            a.ask({"type": 5, "id": 2, "topic": "t"})
            for i in range(100):
                assert a.ask({"type": 7, "id": 3, "topic": "slow", "message": i})["receivers"] == 1
                assert a.ask({"type": 7, "id": 4, "topic": "t", "message": i})["receivers"] == 1
            seen = []
            while not seen or seen[-1] != 99:  # the newest always arrives
                m = a.read_json()
                if m["type"] == 2 and m["topic"] == "slow":
                    seen.append(m["message"])
            assert len(seen) < 100, seen
            while a.read()[0] != PING:
                pass
            assert a.ask({"type": 1, "id": 1})["type"] == 1


@test
def f16_a_monotonic_clock_that_goes_back_stops_nothing():
    """It cannot, but virtual machines were seen to: figures, rates and heartbeats go on."""
    with FakedTime("--heartbeat", "5") as (broker, jump):
        a, watcher = typed(broker.port), Watcher(broker)
        a.ask({"type": 5, "id": 1, "topic": "slow", "rate": 5})
        for to in "+3600s", "-3600s", "+1s", "+100s", "-100s":
            jump(to)
            for i in range(3):
                watcher.peer.read_json()  # one a second
            a.ask({"type": 7, "id": 2, "topic": "slow", "message": to})
            while (got := a.read_json()).get("message") != to:
                assert got["type"] in (2, 10), got


only = sys.argv[1:]
for run in tests:
    if not only or run.__name__.startswith(tuple(only)):
        begun = time.monotonic()
        run()
        print("ok %s (%.1f s)" % (run.__name__, time.monotonic() - begun), flush=True)
