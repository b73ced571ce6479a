# SPDX-License-Identifier: Apache-2.0
"""Messages that are compressed once for all their readers: when, for whom, and that nobody can tell
by what arrives."""
import json
import os
import random
import re
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, PING, PONG, TEXT, Broker, Gone, Peer, close_code, frame, typed  # noqa: E402

PMD = "permessage-deflate"
tests = []


def test(run):
    tests.append(run)
    return run


def reader(broker, topic, deflate=PMD, **subscription):
    p = typed(broker.port, deflate=deflate)
    p.ask({"type": 5, "id": 1, "topic": topic, **subscription})
    return p


def receive(p):
    """The next MESSAGE, and whether it came compressed."""
    before = p.compressed_count
    m = p.read_json()
    assert m["type"] == 2, m
    return m["message"], p.compressed_count > before


def text(size, n=0):
    return ("message %d, " % n * (size // 10 + 1))[:size]


@test
def a_message_is_compressed_from_1_KiB_and_8_readers_or_from_4_KiB():
    with Broker() as broker:
        writer = typed(broker.port)
        few = [reader(broker, "few") for _ in range(7)]
        many = [reader(broker, "many") for _ in range(8)]
        plain = reader(broker, "many", None)
        for topic, readers, cases in (("few", few, ((900, False), (1100, False), (3900, False), (4100, True))),
                                      ("many", many, ((900, False), (1100, True), (3900, True), (60000, True)))):
            for size, is_compressed in cases:
                ack = writer.ask({"type": 7, "id": 2, "topic": topic, "message": text(size)})
                assert ack["receivers"] == len(readers) + (topic == "many"), ack
                for p in readers:
                    assert receive(p) == (text(size), is_compressed), (topic, size)
                if topic == "many":
                    assert receive(plain) == (text(size), False)


@test
def what_is_no_smaller_stands_plain_between_compressed_ones():
    with Broker() as broker:
        writer, p = typed(broker.port), reader(broker, "a")
        noise = random.Random(1).randbytes(9000).hex()[:4500]
        low = "".join(random.Random(2).choice("".join(map(chr, range(0x100, 0xd000)))) for _ in range(3000))
        for payload, is_compressed in ((text(5000), True), (low, None), (noise, True), ("short", False), (text(5000), True)):
            writer.ask({"type": 7, "id": 2, "topic": "a", "message": payload})
            got, how = receive(p)
            assert got == payload and is_compressed in (how, None), (how, is_compressed)


@test
def options_say_when_and_off_is_off():
    with Broker("--deflate-min", "10", "--deflate-readers", "2", "--deflate-level", "9") as broker:
        writer, p = typed(broker.port), reader(broker, "a")
        writer.ask({"type": 7, "id": 2, "topic": "a", "message": text(100)})
        assert receive(p) == (text(100), False)
        q = reader(broker, "a")
        writer.ask({"type": 7, "id": 2, "topic": "a", "message": text(100)})
        assert receive(p) == receive(q) == (text(100), True)
    with Broker("--deflate", "off") as broker:
        writer, p = typed(broker.port), reader(broker, "a")
        assert p.deflate is None
        writer.ask({"type": 7, "id": 2, "topic": "a", "message": text(9000)})
        assert receive(p) == (text(9000), False)


@test
def one_window_for_all_and_a_smaller_one_reads_plain_frames():
    with Broker("--deflate-window", "12") as broker:
        writer = typed(broker.port)
        readers = {bits: reader(broker, "a", PMD + ("; server_max_window_bits=%d" % bits if bits else ""))
                   for bits in (0, 8, 9, 11, 12, 13, 15)}
        for bits, p in readers.items():
            assert p.deflate.server_bits == min(bits or 12, 12), (bits, p.deflate.params)
        for n in range(20):
            writer.ask({"type": 7, "id": 2, "topic": "a", "message": text(30000, n)})
            for bits, p in readers.items():
                assert receive(p) == (text(30000, n), bits not in (8, 9, 11)), bits


@test
def filters_and_other_formats_stay_plain():
    with Broker() as broker:
        writer = typed(broker.port)
        both = reader(broker, "a/b")
        both.ask({"type": 5, "id": 2, "topic": "a/#"})
        forms = {form: Peer(broker.port, path="/ws?topic=a/b&format=" + form, deflate=PMD) for form in ("json", "text", "raw")}
        packed = Peer(broker.port, protocol="fanfare.v1.msgpack", deflate=PMD)
        assert packed.deflate
        payload = {"values": [1, 2, 3], "text": text(6000)}
        writer.ask({"type": 7, "id": 2, "topic": "a/b", "message": payload})
        got = sorted((receive(both), receive(both)), key=lambda pair: pair[1])
        assert got == [(payload, False), (payload, True)]
        for form, is_compressed in (("json", 1), ("text", 1), ("raw", 0)):
            opcode, octets = forms[form].read()
            value = json.loads(octets)
            value = value if form == "raw" else value["message"]
            assert (json.loads(value) if form == "text" else value) == payload
            assert forms[form].compressed_count == is_compressed, form


@test
def requests_may_come_compressed_in_every_mode():
    with Broker() as broker:
        p = typed(broker.port, deflate=PMD)
        for n in range(20):  # leaning on what came before
            request = {"type": 7, "id": n, "topic": "a", "message": text(300)}
            p.send(frame(TEXT, p.deflate.compress(json.dumps(request).encode()), rsv=4))
            ack = p.read_json()
            assert (ack["type"], ack["id"]) == (8, n), ack
        plain = Peer(broker.port, path="/ws?topic=b", deflate=PMD + "; client_no_context_takeover")
        plain.send(frame(TEXT, plain.deflate.compress(b'{"type":2,"message":"hello"}'), rsv=4))
        assert plain.read_json() == {"type": 2, "topic": "b", "message": "hello"}
        packed = Peer(broker.port, protocol="fanfare.v1.msgpack", deflate=PMD)
        packed.read()
        packed.send(frame(BINARY, packed.deflate.compress(b"\x92\x01\x07"), rsv=4))
        opcode, answer = packed.read()
        assert (opcode, answer[:3]) == (BINARY, b"\x93\x01\x07"), answer
        p.send(frame(TEXT, b"\xff", rsv=4))
        assert p.read_close() == (1007, "the compressed data is broken")


@test
def a_bomb_harms_only_who_sent_it():
    """S18: many of them, of 64 MiB each; others are served meanwhile, and the memory is given back."""
    import zlib
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (c.compress(b" " * (64 << 20)) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with Broker("--sys") as broker:
        other = typed(broker.port)
        other.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
        before = broker.rss()
        for _ in range(100):
            p = typed(broker.port, deflate=PMD)
            p.send(frame(TEXT, bomb, rsv=4))
            code, reason = p.read_close()
            assert code == 1009 and "max_message, 65536" in reason, (code, reason)
            p.close()
            assert other.ask({"type": 1, "id": 2})["id"] == 2
        assert broker.rss() - before < 64 << 20, broker.rss() - before


@test
def who_may_lean_is_bounded_by_memory():
    """4 MiB have room for the windows of a dozen: all others are asked to forget, and can talk all the same."""
    with Broker("--memory", "6M") as broker:
        peers = [typed(broker.port, deflate=PMD) for _ in range(40)]
        lean = [p for p in peers if "client_no_context_takeover" not in p.deflate.params]
        assert 2 <= len(lean) <= 19, len(lean)
        for p in peers:
            for n in range(2):
                p.send(frame(TEXT, p.deflate.compress(b'{"type":1,"id":%d}' % n), rsv=4))
                assert p.read_json()["id"] == n
        for p in lean:
            p.close()
        while True:  # their places are given back when the broker has seen them go
            p = typed(broker.port, deflate=PMD)
            if "client_no_context_takeover" not in p.deflate.params:
                break
            p.close()


@test
def slow_readers_are_told_exactly_what_they_missed():
    """Overruns in a log of compressed frames: delivered and skipped add up, in order."""
    with Broker("--max-message", "16K", "--max-buffered", "64K", "--deflate-readers", "1") as broker:
        writer = typed(broker.port)
        slow = typed(broker.port, deflate=PMD, rcvbuf=2048)
        slow.ask({"type": 5, "id": 1, "topic": "a"})
        dice, count = random.Random(3), 4000
        for n in range(count):
            noise = dice.randbytes(700).hex() if n % 3 else text(1400, n)
            writer.send_json({"type": 7, "topic": "a", "message": "%d %s" % (n, noise)})
        writer.ask({"type": 7, "id": 2, "topic": "a", "message": "end"})
        at, skipped = 0, 0
        while True:
            m = slow.read_json()
            if m["type"] == 10:
                at += m["skipped"]
                skipped += m["skipped"]
                continue
            if m["message"] == "end":
                break
            assert m["message"].split()[0] == str(at), (m["message"][:20], at)
            at += 1
        assert at == count and skipped and slow.compressed_count, (at, skipped, slow.compressed_count)


@test
def it_is_the_same_through_other_workers():
    """Links to logs of other workers, rates, echo and churn."""
    with Broker("--workers", "3", "--deflate-readers", "1") as broker:
        writer = typed(broker.port, deflate=PMD)
        topics = ["t/%d" % i for i in range(6)]
        readers = [(topic, reader(broker, topic, PMD if i % 3 else None)) for topic in topics for i in range(5)]
        for topic in topics:
            writer.ask({"type": 5, "id": 3, "topic": topic, "echo": False})
        for n in range(60):
            for topic in topics:
                request = json.dumps({"type": 7, "topic": topic, "message": text(500 + 100 * n, n)})
                writer.send(frame(TEXT, writer.deflate.compress(request.encode()), rsv=4))
            if n % 20 == 10:
                topic, p = readers.pop(0)
                p.close()
        for topic, p in readers:
            for n in range(60):
                payload, is_compressed = receive(p)
                assert payload == text(500 + 100 * n, n), (topic, n)
                assert is_compressed == bool(p.deflate and n >= 5), (topic, n)


@test
def who_comes_back_gets_the_past_and_goes_on_compressed():
    """What was said meanwhile, then what is said now: no hole and no repeat, whatever of it is compressed."""
    with Broker("--deflate-readers", "1") as broker:
        for form in "typed", "json", "text":
            for case, first in ("position", 10), ("last", 25):
                topic = "%s/%s" % (form, case)
                writer = typed(broker.port)
                writer.with_positions = True
                acks = [writer.ask({"type": 7, "id": 2, "topic": topic, "message": text(2000, n)}) for n in range(30)]
                since = {"epoch": acks[9]["epoch"], "offset": acks[9]["offset"]} if case == "position" else 5
                p = typed(broker.port, deflate=PMD) if form == "typed" else Peer(broker.port, path="/ws?format=" + form, deflate=PMD)
                p.with_positions = True
                p.send_json({"type": 5, "id": 1, "topic": topic, "since": since})
                ack = p.read_json()
                assert (ack["type"], ack["offset"]) == (8, first), ack
                for n in range(30, 35):
                    writer.ask({"type": 7, "id": 2, "topic": topic, "message": text(2000, n)})
                for n in range(first, 35):
                    m = p.read_json()
                    assert (m["type"], m["message"], m["offset"]) == (2, text(2000, n), n + 1), (form, since, n, m)
                assert p.compressed_count >= 5, p.compressed_count


@test
def a_reload_does_not_change_the_window_of_those_who_are_there():
    path = "/tmp/fanfare-deflate-%d.conf" % os.getpid()
    with open(path, "w") as conf:
        conf.write("deflate = on\ndeflate_window = 10\n")
    try:
        with Broker("--config", path) as broker:
            writer, p = typed(broker.port), reader(broker, "a")
            with open(path, "w") as conf:
                conf.write("deflate = off\ndeflate_window = 15\ndeflate_level = 9\n")
            broker.process.send_signal(1)
            assert broker.logged("deflate_window")
            far = "".join(chr(97 + i * i % 26) for i in range(5000))
            writer.ask({"type": 7, "id": 2, "topic": "a", "message": far + text(30000) + far})
            assert receive(p) == (far + text(30000) + far, True)
            assert typed(broker.port, deflate=PMD).deflate is None
    finally:
        os.unlink(path)


for run in tests:
    if sys.argv[1:] and run.__name__ not in sys.argv[1:]:
        continue
    run()
    print("ok", run.__name__)
