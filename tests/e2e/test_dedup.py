# SPDX-License-Identifier: Apache-2.0
"""A publish with a key is done once, however often it is asked for, and each time answered like the first."""
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, DEADLINE, STORED, TEXT, Broker, Peer, frame, typed  # noqa: E402

tests = []


def test(function):
    tests.append(function)
    return function


def publish(peer, i, topic, message, key=None, **more):
    return peer.ask({"type": 7, "id": i, "topic": topic, "message": message, **({"key": key} if key else {}), **more})


def without_id(answer):
    """What is the same in the first answer and the next; Redis does not keep how many heard it."""
    unlike = ("id", "receivers") if STORED == "redis" else ("id",)
    return {name: value for name, value in answer.items() if name not in unlike}


def listen(port, *topics):
    peer = typed(port)
    for topic in topics:
        assert peer.ask({"type": 5, "id": 1, "topic": topic})["type"] == 8
    return peer


def heard(peer, topic):
    """All messages that came, up to one that is published now."""
    peer.ask({"type": 7, "id": 2, "topic": topic, "message": "end"})
    got = [m["message"] for m in peer.seen if m["type"] == 2]
    while "end" not in got:
        got.append(peer.read_json()["message"])
    return got[:-1]


def packed(port):
    peer = Peer(port, protocol="fanfare.v1.msgpack")
    peer.read()
    return peer


def ask_packed(peer, octets):
    peer.send(frame(BINARY, octets))
    return peer.read()[1]


@test
def a_repeat_is_answered_as_the_first_was_whoever_asks():
    """Nine topics, so that every worker owns some and not others."""
    with Broker() as broker:
        for i in range(9):
            topic = "dedup/%d" % i
            a, b, reader = typed(broker.port), typed(broker.port), listen(broker.port, topic)
            a.with_positions = b.with_positions = True
            a.ask({"type": 7, "id": 1, "topic": topic, "message": "before"})
            first = publish(a, 1, topic, {"n": i}, "order-7")
            assert first["type"] == 8 and first["receivers"] == 1 and "duplicate" not in first, first
            late = listen(broker.port, topic)  # who came since does not count
            for peer in (a, b):
                again = publish(peer, 5, topic, {"n": i}, "order-7")
                assert without_id(again) == {**without_id(first), "duplicate": True}, (first, again)
            assert first["offset"] == 2 and first["epoch"], first
            assert heard(reader, topic) == ["before", {"n": i}]
            for peer in a, b, reader, late:
                peer.close()


@test
def requests_on_their_way_do_not_wait_for_each_other():
    with Broker() as broker:
        p, reader = typed(broker.port), listen(broker.port, "burst")
        for i in range(200):
            p.send_json({"type": 7, "id": i, "topic": "burst", "message": i // 4, "key": "k%d" % (i // 4)})
        answers = [p.read_json() for _ in range(200)]
        assert [m["id"] for m in answers] == list(range(200))
        assert ["duplicate" in m for m in answers] == [i % 4 > 0 for i in range(200)]
        p.send_json([{"type": 7, "id": i, "topic": "burst", "message": "batch", "key": "b"} for i in range(3)])
        assert ["duplicate" in p.read_json() for _ in range(3)] == [False, True, True]
        assert heard(reader, "burst") == list(range(50)) + ["batch"]


@test
def the_key_of_another_payload_is_refused():
    with Broker() as broker:
        p, reader = typed(broker.port), listen(broker.port, "t")
        publish(p, 1, "t", {"a": 1}, "k")
        for message in {"a": 2}, [1], None, "":
            wrong = publish(p, 2, "t", message, "k")
            assert wrong["type"] == 9 and wrong["code"] == 422 and "key" in wrong["reason"], wrong
            assert "retry" not in wrong, wrong
        p.send(frame(TEXT, '{"type":7,"id":3,"topic":"t","message":{"a": 1},"key":"k"}'))
        assert p.read_json()["code"] == 422  # other octets
        assert publish(p, 4, "t", {"a": 1}, "k")["duplicate"] is True
        assert "duplicate" not in publish(p, 5, "t", {"a": 1}, "K")
        assert "duplicate" not in publish(p, 6, "t", {"a": 1})
        assert publish(p, 7, "u", {"a": 2}, "k")["type"] == 8  # another topic's
        assert heard(reader, "t") == [{"a": 1}] * 3


@test
def every_door_has_keys():
    with Broker() as broker:
        reader = listen(broker.port, "t", "lobby")
        m = packed(broker.port)
        first = ask_packed(m, b"\x95\x07\x01\xa1t\xa3one\xa1k")
        again = ask_packed(m, b"\x95\x07\x01\xa1t\xa3one\xa1k")
        assert first[1:3] == again[1:3] == b"\x08\x01" and first[3:8] == again[3:8], (first, again)
        assert first.count(b"\xc3") == 0 and again.count(b"\xc3") == 1, again  # nil became true
        other = typed(broker.port)
        assert publish(other, 1, "t", "one", "k")["code"] == 422  # the same value, in other octets
        plain = Peer(broker.port)
        for i in range(2):  # a request like any other: only its own publishes are not answered
            plain.send(frame(TEXT, '{"type":7,"id":%d,"topic":"lobby","message":"x","key":"p"}' % i))
        answers = []
        while len(answers) < 2:
            got = plain.read_json()
            if got["type"] == 8:
                answers.append(got)
        assert ["duplicate" in got for got in answers] == [False, True], answers
        assert heard(reader, "lobby") == ["one", "x"]


@test
def what_is_no_key_is_said():
    with Broker() as broker:
        p = typed(broker.port)
        for key, code in ("", 400), ("k" * 65, 400), ("é" * 33, 400), ("k" * 64, None), ("é" * 32, None), ("\0", None):
            got = publish(p, 1, "t", 1, key) if key else p.ask({"type": 7, "id": 1, "topic": "t", "message": 1, "key": ""})
            assert got.get("code") == code, (key, got)
            assert code is None or "1 to 64 bytes" in got["reason"], got
        for key in 7, True, ["k"]:
            assert publish(p, 2, "t", 1, key)["code"] == 400, key
        assert "duplicate" not in p.ask({"type": 7, "id": 1, "topic": "t", "message": 2, "key": None})
        m = packed(broker.port)
        assert b"\xcd\x01\x90" in ask_packed(m, b"\x95\x07\x01\xa1t\x01\xa0")
        # What may not be published is not, whatever its key.
        assert publish(p, 3, "$SYS/x", 1, "k")["code"] == 403
        assert publish(p, 4, "t/#", 1, "k")["code"] == 422


def write_config(file, text):
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


@test
def a_refused_publish_leaves_its_key_free():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        write_config(file, 'topic "small" { max_message = 10 }\n')
        with Broker("--config", file.name) as broker:
            p = typed(broker.port)
            assert publish(p, 1, "small", "x" * 20, "k")["code"] == 413
            write_config(file, "# nothing is asked for\n")
            broker.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + DEADLINE
            while (got := publish(p, 2, "small", "x" * 20, "k")).get("code") == 413:
                assert time.monotonic() < end
            assert got["type"] == 8 and "duplicate" not in got, got
            assert publish(p, 3, "small", "x" * 20, "k")["duplicate"] is True


@test
def a_key_is_forgotten_in_its_time_by_topic():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        write_config(file, 'topic "quick/#" { dedup_seconds = 1 }\n')
        with Broker("--config", file.name) as broker:
            p = typed(broker.port)
            publish(p, 1, "quick/1", 1, "k")
            publish(p, 2, "long", 1, "k")
            end = time.monotonic() + DEADLINE
            while "duplicate" in publish(p, 3, "quick/1", 1, "k"):
                assert time.monotonic() < end
            assert publish(p, 4, "long", 1, "k")["duplicate"] is True
    for args, wrong in ((("--dedup-seconds", "0"), "dedup_seconds"), (("--max-keys", "0"), "max_keys")):
        try:
            Broker(*args)
        except AssertionError as why:
            assert wrong in str(why), why
        else:
            raise AssertionError("%s was taken" % (args,))


@test
def keys_are_counted_and_bounded():
    """The figure in $SYS/broker: those of all workers, a second old; it says how many went early."""
    if STORED == "redis":
        return # no worker has any: Redis' own memory bounds them
    with Broker("--sys", "--max-keys", "60") as broker:
        p, watcher = typed(broker.port), listen(broker.port, "$SYS/broker")
        before = publish(p, 1, "t", 1, "first")
        assert "duplicate" not in before
        for i in range(200):
            publish(p, i, "t", i, "k%d" % i)
        end = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < end
            figures = watcher.read_json()["message"]
            if figures["keys"] + figures["keys_forgotten"] == 201:
                break
        assert 0 < figures["keys"] <= 61 and figures["topics"] == 1, figures
        assert "duplicate" not in publish(p, 2, "t", 1, "first")
        assert publish(p, 3, "t", 199, "k199")["duplicate"] is True


for function in tests:
    function()
    print("ok", function.__name__, flush=True)
