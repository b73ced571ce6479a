# SPDX-License-Identifier: Apache-2.0
"""What several workers owe one client: each answer once, whole, in order about one topic, before the end."""
import json
import os
import random
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import TEXT, Broker, frame, typed  # noqa: E402

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


for function in tests:
    function()
    print("ok", function.__name__, flush=True)
