# SPDX-License-Identifier: Apache-2.0
"""What several workers owe one client: each answer once, whole, in order about one topic, before the end."""
import json
import os
import random
import socket
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import CLOSE, TEXT, Broker, Gone, close_code, frame, typed  # noqa: E402

WORKERS = 4
tests = []


def test(function):
    tests.append(function)
    return function


def start(*args):
    return Broker("--workers", str(WORKERS), *args)


def frames(messages):
    return b"".join(frame(TEXT, json.dumps(m, separators=(",", ":"))) for m in messages)


def answers(peer, count):
    """The next `count` answers, messages and gaps left out."""
    got = []
    while len(got) < count:
        m = peer.read_json()
        if m["type"] in (8, 9):
            got.append(m)
    return got


@test
def a_subscription_is_acknowledged_before_its_end_and_by_name():
    with start() as broker:
        peer = typed(broker.port)
        for i in range(40):
            for topic in "order/%d" % i, "order/%d/#" % i:
                peer.send_json([{"type": 5, "id": 1, "topic": topic}, {"type": 6, "id": 2, "topic": topic},
                                {"type": 5, "id": 3, "topic": topic}, {"type": 5, "id": 4, "topic": topic, "echo": False},
                                {"type": 6, "id": 5, "topic": topic}])
                got = answers(peer, 5)
                assert got == [{"type": 8, "id": n, "topic": topic} for n in range(1, 6)], got


@test
def answers_about_one_topic_keep_their_order():
    """Whatever is asked, and whatever becomes of it; answers about other topics may come between."""
    dice, rounds, size = random.Random(7), 40, 400
    with start("--sys") as broker:
        peer = typed(broker.port)
        names = ["mix/%d" % i for i in range(12)] + ["mix/%d/+" % i for i in range(4)] + ["$SYS/broker"]
        for _ in range(rounds):
            asked, order = [], {}
            for n in range(size):
                topic = dice.choice(names)
                m = dict(dice.choice(({"type": 5}, {"type": 5}, {"type": 6}, {"type": 7, "message": n},
                                      {"type": 5, "echo": False}, {"type": 5, "since": 1}, {"type": 7, "message": n, "retain": True},
                                      {"type": 11}, {"type": 5, "rate": 3})), id=n, topic=topic)
                asked.append(m)
                order.setdefault(topic, []).append(n)
            if dice.random() < 0.5:
                peer.send(frames(asked))
            else:
                peer.send_json(asked)
            got = answers(peer, size)
            assert sorted(m["id"] for m in got) == list(range(size))
            place = {m["id"]: i for i, m in enumerate(got)}
            for topic, ids in order.items():
                assert [place[n] for n in ids] == sorted(place[n] for n in ids), (topic, [asked[n] for n in ids])
            for m in got:
                if m["type"] == 8 and asked[m["id"]]["type"] in (5, 6):
                    assert m["topic"] == asked[m["id"]]["topic"], m


@test
def a_change_shares_the_fate_of_what_it_changes():
    """Subscriptions over a limit are refused by the owner: a second SUBSCRIBE to one is not acknowledged then."""
    with start("--max-topics", "10") as broker:
        full, peer = typed(broker.port), typed(broker.port)
        for i in range(10):
            assert full.ask({"type": 5, "id": i, "topic": "full/%d" % i})["type"] == 8
        for i in range(40):
            peer.send_json([{"type": 5, "id": 1, "topic": "more/%d" % i}, {"type": 5, "id": 2, "topic": "more/%d" % i, "echo": False},
                            {"type": 6, "id": 3, "topic": "more/%d" % i}])
            got = [(m["id"], m["type"], m.get("code")) for m in answers(peer, 3)]
            assert got == [(1, 9, 429), (2, 9, 429), (3, 8, None)], got


@test
def who_reads_all_the_time_is_never_closed_for_what_it_asks():
    floods = {
        "publishes with ids": (60000, lambda i: {"type": 7, "id": i, "topic": "flood/%d" % (i % 64), "message": i}),
        "publishes that fail": (20000, lambda i: {"type": 7, "topic": "small/%d" % (i % 64), "message": "x" * 40}),
        "subscriptions": (20000, lambda i: {"type": 5 + i % 2, "id": i, "topic": "%03d" % (i // 2 % 64) + "n" * 250}),
    }
    rules = tempfile.NamedTemporaryFile("w", suffix=".conf")
    rules.write('topic "small/#" { max_message = 30 }\n')
    rules.flush()
    with start("--config", rules.name) as broker:
        for what, (count, make) in floods.items():
            for batch in 1, 50:
                peer = typed(broker.port)
                made = [make(i) for i in range(count)]
                octets = b"".join(frame(TEXT, json.dumps(made[i:i + batch] if batch > 1 else made[i])) for i in range(0, count, batch))
                thread = threading.Thread(target=peer.sock.sendall, args=(octets,))
                thread.start()
                got = answers(peer, count)
                thread.join()
                ids = sorted(m["id"] for m in got if "id" in m)
                assert ids == list(range(count)) or what == "publishes that fail", what
                peer.close()


def read_to_the_end(peer):
    """What comes up to the end: messages, and the code of the close frame (None: there is none)."""
    got, code = [], None
    try:
        while True:
            opcode, payload = peer.read()
            if opcode == CLOSE:
                code = close_code(payload)
            elif opcode == TEXT:
                assert code is None, "behind a close frame"
                got.append(json.loads(payload))
    except Gone as why:
        assert str(why) == "end", why
    return got, code


@test
def what_was_delivered_is_acknowledged_before_the_end():
    with start() as broker:
        reader = typed(broker.port)
        reader.ask({"type": 5, "id": 1, "topic": "end/+"})
        for i in range(40):
            peer, is_close = typed(broker.port), i % 2
            octets = frames({"type": 7, "id": n, "topic": "end/%d" % n, "message": n} for n in range(40))
            peer.send(octets + (frame(CLOSE, b"\x03\xe8") if is_close else b""))
            if not is_close:
                peer.sock.shutdown(socket.SHUT_WR)
            got, code = read_to_the_end(peer)
            assert code == (1000 if is_close else None), code
            assert sorted(m["id"] for m in got if m["type"] == 8) == list(range(40)), got
            assert sorted(reader.read_json()["message"] for _ in range(40)) == list(range(40))


@test
def a_refusal_overtakes_nothing():
    """A filter too many is refused by the worker that is asked, what was asked before waits for all of them."""
    with start("--max-filters", "1") as broker:
        reader = typed(broker.port)
        assert reader.ask({"type": 5, "id": 1, "topic": "a/#"})["type"] == 8
        for _ in range(12):  # at each worker
            peer = typed(broker.port)
            peer.send(frames([{"type": 7, "id": i, "topic": "t/%d" % i, "message": i} for i in range(8)] +
                             [{"type": kind, "id": 100 + i, "topic": "b/#"} for i, kind in enumerate((6, 5, 6, 5, 5, 6))]))
            got = [(m["id"], m["type"]) for m in answers(peer, 14) if m["id"] >= 100]
            assert got == [(100, 8), (101, 9), (102, 8), (103, 9), (104, 9), (105, 8)], got
            peer.close()


@test
def what_was_delivered_is_acknowledged_before_a_restart():
    """Publishers that do not stop while the broker drains: none has to wonder what became of a message that others saw."""
    for _ in range(3):
        with start("--drain-seconds", "6") as broker:
            writers = [typed(broker.port) for _ in range(3)]
            crowd = [typed(broker.port) for _ in range(600)]  # closed behind the writers, and before the reader
            reader = typed(broker.port)
            reader.ask({"type": 5, "id": 1, "topic": "drain/+"})
            acked, started = [set() for _ in writers], threading.Barrier(len(writers) + 1)

            def write(k):
                sent, window = 0, 300
                try:
                    while True:
                        n = min(50, window - (sent - len(acked[k])))
                        if n > 0:
                            writers[k].send_json([{"type": 7, "id": sent + i, "topic": "drain/%d" % (i % 40), "message": [k, sent + i]} for i in range(n)])
                            sent += n
                        m = writers[k].read_json()
                        if m["type"] == 8:
                            acked[k].add(m["id"])
                        if len(acked[k]) == 2000:
                            started.wait()
                except (Gone, OSError):
                    pass

            threads = [threading.Thread(target=write, args=(k,)) for k in range(len(writers))]
            seen = [set() for _ in writers]

            def listen():
                for m in read_to_the_end(reader)[0]:
                    if m["type"] == 2:
                        seen[m["message"][0]].add(m["message"][1])

            threads.append(threading.Thread(target=listen))
            for thread in threads:
                thread.start()
            started.wait()
            broker.process.terminate()
            for thread in threads:
                thread.join()
            for peer in crowd:
                peer.close()
            for k in range(len(writers)):
                assert seen[k] and seen[k] <= acked[k], sorted(seen[k] - acked[k])[:10]


for function in tests:
    function()
    print("ok", function.__name__, flush=True)
