# SPDX-License-Identifier: Apache-2.0
"""Retained messages: docs/protocol.md, PUBLISH, `retain`."""
import json
import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BIN, BINARY, TEXT, STORED, Broker, Peer, frame, typed  # noqa: E402

WORKERS = os.environ.get("FANFARE_WORKERS", "1")
RULES = 'topic "off/#" { history = 0 }\ntopic "few/#" { history = 3 }\n'
tests = []


def test(run):
    tests.append(run)
    return run


def client(broker):
    peer = typed(broker.port)
    peer.with_positions = True
    return peer


def msgpack(broker):
    peer = Peer(broker.port, protocol="fanfare.v1.msgpack")
    peer.read_frame()  # WELCOME
    return peer


def publish(peer, topic, *messages, **more):
    for n, message in enumerate(messages):
        ack = peer.ask(dict({"type": 7, "id": n, "topic": topic, "message": message}, **more))
        assert ack["type"] == 8, ack
    return ack


def retain(peer, topic, message):
    return publish(peer, topic, message, retain=True)


def read(peer, count):
    got = [peer.read_json() for _ in range(count)]
    return [m["message"] if m["type"] == 2 else (m["cause"], m.get("from"), m.get("to"), m["skipped"]) for m in got]


def silence(peer):
    peer.ask({"type": 1, "id": 1})
    assert peer.seen == [], peer.seen


def subscribe(broker, topic, since, **more):
    peer = client(broker)
    ack = peer.ask(dict({"type": 5, "id": 1, "topic": topic, "since": since}, **more))
    assert ack["type"] == 8, ack
    return peer, ack


@test
def it_is_sent_in_its_place_with_exact_gaps(broker):
    a = client(broker)
    epoch = publish(a, "few/a", 1)["epoch"]
    assert retain(a, "few/a", 2)["offset"] == 2
    publish(a, "few/a", *range(3, 11))
    p, ack = subscribe(broker, "few/a", {"epoch": epoch, "offset": 0})
    assert (ack["offset"], ack["recovered"]) == (1, False), ack
    assert read(p, 6) == [("expired", 1, 1, 1), 2, ("expired", 3, 7, 5), 8, 9, 10]
    publish(a, "few/a", 11)
    assert read(p, 1) == [11]
    p, ack = subscribe(broker, "few/a", {"epoch": epoch, "offset": 2})
    assert (ack["offset"], ack["recovered"]) == (8, False) and read(p, 4) == [("expired", 3, 8, 6), 9, 10, 11]
    p, ack = subscribe(broker, "few/a", 3)
    assert ack["offset"] == 8 and read(p, 3) == [9, 10, 11]
    p, ack = subscribe(broker, "few/a", 4)
    assert ack["offset"] == 1 and "recovered" not in ack and read(p, 5) == [2, ("expired", 3, 8, 6), 9, 10, 11]
    p = client(broker)  # nothing old is sent to who does not ask
    assert p.ask({"type": 5, "id": 1, "topic": "few/a"})["offset"] == 11
    silence(p)
    got = [(m["message"], m["offset"]) for m in a.ask({"type": 12, "id": 5, "topic": "few/a"})["messages"]]
    assert got == [(2, 2), (9, 9), (10, 10), (11, 11)]
    publish(a, "few/a", None, retain=True)
    p, ack = subscribe(broker, "few/a", 9)
    assert ack["offset"] == 9 and read(p, 3) == [10, 11, None]


@test
def what_is_next_to_the_window_is_recovered(broker):
    a = client(broker)
    epoch = retain(a, "few/b", 1)["epoch"]
    publish(a, "few/b", 2, 3, 4)
    p, ack = subscribe(broker, "few/b", {"epoch": epoch, "offset": 0})
    assert ack["recovered"] is True and read(p, 4) == [1, 2, 3, 4]
    p, ack = subscribe(broker, "few/b", {"epoch": "0", "offset": 0})
    assert ack["recovered"] is False and p.read_json()["cause"] == "lost"
    silence(p)


@test
def without_history_it_comes_first(broker):
    a = client(broker)
    ack = retain(a, "off/a", {"now": 1})
    assert ack == {"type": 8, "id": 0, "receivers": 0, "buffered": 0, "stored": STORED}
    publish(a, "off/a", 2, 3)
    for since in 1, 100, {"epoch": "x", "offset": 7}:
        p, ack = subscribe(broker, "off/a", since)
        assert ack == dict({"type": 8, "id": 1, "topic": "off/a"}, **({} if isinstance(since, int) else {"recovered": False})), ack
        assert p.read_json() == {"type": 2, "topic": "off/a", "message": {"now": 1}}
        publish(a, "off/a", 4)
        assert read(p, 1) == [4]
        silence(p)
    p, _ = subscribe(broker, "off/a", 0)
    silence(p)
    assert a.ask({"type": 12, "id": 1, "topic": "off/a"})["code"] == 404
    retain(a, "off/a", 5)
    assert read(p, 1) == [5]
    p, _ = subscribe(broker, "off/a", 1)
    assert read(p, 1) == [5]
    assert a.ask({"type": 5, "id": 9, "topic": "off/#", "since": 1})["code"] == 422


@test
def in_every_kind(broker):
    a = client(broker)
    text = "x" * 2000
    retain(a, "off/kinds", text)
    a.ask({"type": 7, "id": 1, "topic": "off/data", "data": "aGk=", "retain": True})
    packed = msgpack(broker)
    subscribing = b"\x94\x05\x01\xa9off/kinds\x01"  # [5, id, topic, since]
    packed.send(frame(BINARY, subscribing))
    packed.read_frame()
    assert text.encode() in packed.read_frame()[1]
    deflated = typed(broker.port, deflate="permessage-deflate")
    deflated.with_positions = True
    assert deflated.ask({"type": 5, "id": 1, "topic": "off/kinds", "since": 1})["type"] == 8
    assert read(deflated, 1) == [text]
    for form, wanted in ("json", None), ("text", None), ("raw", (TEXT, text.encode())):
        plain = Peer(broker.port, path="/ws?topic=off/kinds&since=1&format=" + form)
        if wanted:
            assert plain.read() == wanted
        else:
            assert plain.read_json()["type"] == 8 and plain.read_json()["message"] == text
    plain = Peer(broker.port, path="/ws?topic=off/data&since=1&format=raw")
    assert plain.read() == (BINARY, b"hi")
    # A window, and what is before it: raw readers have no GAPs, and stay.
    retain(a, "few/raw", 1)
    publish(a, "few/raw", *range(2, 10))
    plain = Peer(broker.port, path="/ws?topic=few/raw&since=100&format=raw")
    assert [plain.read()[1] for _ in range(4)] == [b"1", b"7", b"8", b"9"]
    publish(a, "few/raw", 10)
    assert plain.read()[1] == b"10"


@test
def a_raw_reader_is_not_ended_by_the_next_one(broker):
    """Both in one turn: it asks for the past, and another message takes the retained one's place."""
    a = client(broker)
    for n in range(6):
        topic = "few/race%d" % n
        retain(a, topic, 1)
        publish(a, topic, *range(2, 10))
        plain = Peer(broker.port, upgrade=False)
        os.kill(broker.process.pid, signal.SIGSTOP)
        plain.send(b"GET /ws?topic=%s&since=100&format=raw HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % topic.encode())
        a.send_json({"type": 7, "id": 9, "topic": topic, "message": 10, "retain": True})
        os.kill(broker.process.pid, signal.SIGCONT)
        a.read_json()
        plain.read_head()
        got = []
        while not got or got[-1] != b"10":
            opcode, payload = plain.read()
            assert opcode == TEXT, (opcode, payload)
            got.append(payload)
        assert got in ([b"1", b"7", b"8", b"9", b"10"], [b"7", b"8", b"9", b"10"], [b"8", b"9", b"10"]), got


@test
def it_is_passed_byte_for_byte(broker):
    a = client(broker)
    a.send(frame(TEXT, '{"type":7,"id":1,"topic":"off/raw","message":{"n":1.50e+2,"n":1},"retain":true}'))
    assert a.read_json()["type"] == 8
    p = client(broker)
    p.send_json({"type": 5, "id": 1, "topic": "off/raw", "since": 1})
    p.read_frame()
    assert b'{"n":1.50e+2,"n":1}' in p.read_frame()[1]


@test
def the_newest_is_kept_and_null_forgets_it(broker):
    a = client(broker)
    for n in range(50):
        retain(a, "off/last", n)
    p, _ = subscribe(broker, "off/last", 1)
    assert read(p, 1) == [49]
    retain(a, "off/last", None)
    assert read(p, 1) == [None]
    p.close()
    p, _ = subscribe(broker, "off/last", 1)
    silence(p)
    packed = msgpack(broker)
    for message in b"\x01", b"\xc0":  # [7, id, topic, message, key, retain]
        body = b"\x96\x07\x01\xa8off/nils" + message + b"\xc0\xc3"
        packed.send(frame(BINARY, body))
        packed.read_frame()
    p, _ = subscribe(broker, "off/nils", 1)
    silence(p)
    # A repeat by its key is not done again.
    assert publish(a, "off/key", 1, retain=True, key="k")["receivers"] == 0
    retain(a, "off/key", 2)
    assert publish(a, "off/key", 1, retain=True, key="k")["duplicate"] is True
    p, _ = subscribe(broker, "off/key", 1)
    assert read(p, 1) == [2]


@test
def so_many_and_no_more():
    if STORED == "redis":
        return # the bound is Redis', and memory too: e2e_redis
    with Broker("--max-retained", "3", "--sys") as broker:
        a = client(broker)
        for n in range(3):
            retain(a, "r/%d" % n, n)
        refused = a.ask({"type": 7, "id": 7, "topic": "r/3", "message": 1, "retain": True})
        assert refused["code"] == 429 and "max_retained" in refused["reason"], refused
        p, ack = subscribe(broker, "r/3", 5)
        assert ack["offset"] == 0, "it was not published"
        retain(a, "r/0", "again")
        retain(a, "r/1", None)
        retain(a, "r/3", 3)
        assert a.ask({"type": 7, "id": 7, "topic": "r/4", "message": 1, "retain": True})["code"] == 429
        publish(a, "r/4", 1)
        a.ask({"type": 5, "id": 8, "topic": "$SYS/broker"})
        while (m := a.read_json())["message"]["retained"] != 3:
            pass
    with Broker("--memory", "16M", "--max-message", "64K") as broker:
        a, kept = client(broker), []
        for n in range(1000):
            answer = a.ask({"type": 7, "id": n, "topic": "big/%d" % n, "message": "x" * 60000, "retain": True})
            if answer["type"] == 8:
                kept.append(n)
                continue
            assert answer["code"] == 429, answer
            break
        assert 30 <= len(kept) <= 80, len(kept)  # a half of the half of 16 MiB
        publish(a, "small", "goes on")
        for n in kept:
            p, _ = subscribe(broker, "big/%d" % n, 1)
            assert read(p, 1) == ["x" * 60000]
            p.close()


@test
def the_command_line_has_it(broker):
    url = "ws://127.0.0.1:%d/ws" % broker.port

    def run(*words):
        return subprocess.run([os.path.join(BIN, "fanfare"), *words, "--url", url], capture_output=True, timeout=60, check=True, text=True).stdout

    run("pub", "off/cli", "title", "--retain")
    run("pub", "off/cli", "not kept")
    assert json.loads(run("sub", "off/cli", "--since", "1", "--count", "1"))["message"] == "title"


@test
def many_stalled_readers_share_one_copy(broker):
    """Sockets full in the midst of 60 KB: nobody is ended, and it costs no memory."""
    a, large = client(broker), "x" * 60000
    retain(a, "off/large", large)
    stalled = []
    for n in range(200):
        p = typed(broker.port, rcvbuf=2048)
        p.with_positions = True
        p.send_json({"type": 5, "id": 1, "topic": "off/large", "since": 1})
        stalled.append(p)
    a.ask({"type": 1, "id": 1})
    retain(a, "off/large", "small")
    for p in stalled:
        assert p.read_json()["type"] == 8
        got = read(p, 1)
        got += read(p, 1) if got == [large] else []
        assert got in ([large, "small"], ["small"]), [len(m) for m in got]


@test
def in_any_order_of_things(broker):
    """Readers that come at any moment, while values, messages and rules change: in order, once, told."""
    dice = random.Random(11)
    a = client(broker)
    for round_ in range(60):
        topic = dice.choice(("few/mix%d", "off/mix%d", "mix%d")) % round_
        if STORED == "redis" and topic.startswith("off"):
            continue # what has no offset may be heard by who subscribes a moment behind its ACK
        has_history, said, kept, readers = not topic.startswith("off"), [], None, []
        for n in range(1, dice.randrange(5, 40)):
            is_kept = dice.random() < 0.2
            publish(a, topic, n, retain=is_kept)
            said.append(n)
            kept = n if is_kept else kept
            if dice.random() < 0.2:
                window = said[-3:] if topic.startswith("few") else said if has_history else []
                count = dice.randrange(1, 6)
                kind = dice.choice(({}, {"overflow": "latest"}, {"overflow": "close"}, {"buffered": 0}))
                p, ack = subscribe(broker, topic, count, **kind)
                expected = window[-count:]
                if kept and kept not in window and count > len(window):
                    expected = [kept] + expected
                readers.append((p, expected, len(said)))
        for p, expected, since in readers:
            wanted = expected + said[since:]
            got, next_ = [], None
            while len(got) < len(wanted):
                m = p.read_json()
                if m["type"] == 10:
                    assert has_history and m["cause"] == "expired" and m["skipped"] == m["to"] - m["from"] + 1, m
                    assert m["from"] == got[-1] + 1, m
                    next_ = m["to"] + 1
                    continue
                assert next_ in (None, m["message"]) or not has_history, (m, next_)
                got.append(m["message"])
                next_ = m["message"] + 1 if has_history else None
            assert got == wanted, (topic, got, wanted)
            silence(p)
            p.close()


def main():
    path = "/tmp/fanfare-retained-%d.conf" % os.getpid()
    with open(path, "w") as conf:
        conf.write(RULES)
    try:
        with Broker("--config", path, "--sys") as broker:
            for run in tests:
                print("  " + run.__name__, flush=True)
                run(broker) if run.__code__.co_argcount else run()
    finally:
        os.unlink(path)
    print("%d passed, 0 failed" % len(tests))


if __name__ == "__main__":
    main()
