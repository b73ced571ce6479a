# SPDX-License-Identifier: Apache-2.0
"""What was said before you came: positions, windows, recovery; docs/protocol.md, "Positions" and SUBSCRIBE."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, TEXT, NODES, STORED, Broker, Peer, frame, typed  # noqa: E402

WORKERS = os.environ.get("FANFARE_WORKERS", "1")
tests = []


def test(run):
    tests.append(run)
    return run


def client(broker):
    peer = typed(broker.port)
    peer.with_positions = True
    return peer


def publish(peer, topic, *messages):
    for n, message in enumerate(messages):
        ack = peer.ask({"type": 7, "id": n, "topic": topic, "message": message})
        assert ack["type"] == 8, ack
    return ack


def read(peer, count):
    got = [peer.read_json() for _ in range(count)]
    return [m.get("message") if m["type"] == 2 else m for m in got]


def silence(peer):
    """Nothing is on its way."""
    peer.ask({"type": 1, "id": 1})
    assert peer.seen == [], peer.seen


@test
def offsets_begin_at_one_and_have_no_holes(broker):
    a, b = client(broker), client(broker)
    first = publish(a, "off", "x")
    assert first["offset"] == 1 and len(first["epoch"]) == 11
    ack = b.ask({"type": 5, "id": 1, "topic": "off"})
    assert ack == {"type": 8, "id": 1, "topic": "off", "epoch": first["epoch"], "offset": 1}, ack
    for n in range(2, 300):
        ack = publish(a, "off", n)
        if NODES > 1: # who hears it may be at another one
            ack["receivers"] = 1
        assert ack == {"type": 8, "id": 0, "epoch": first["epoch"], "offset": n, "receivers": 1, "buffered": 0, "stored": STORED}
        assert b.read_json() == {"type": 2, "topic": "off", "message": n, "offset": n}
    c = client(broker)
    assert "epoch" not in c.ask({"type": 5, "id": 1, "topic": "off/#"})
    publish(a, "off", "f")
    assert c.read_json() == {"type": 2, "topic": "off", "message": "f", "offset": 300, "epoch": first["epoch"], "filter": "off/#"}


@test
def who_comes_back_misses_nothing(broker):
    a, b = client(broker), client(broker)
    ack = b.ask({"type": 5, "id": 1, "topic": "back"})
    publish(a, "back", 1, 2)
    assert read(b, 2) == [1, 2]
    b.reset()
    publish(a, "back", 3, 4, 5)
    b = client(broker)
    ack = b.ask({"type": 5, "id": 1, "topic": "back", "since": {"epoch": ack["epoch"], "offset": 2}})
    assert ack["recovered"] is True and ack["offset"] == 2, ack
    publish(a, "back", 6)
    assert read(b, 4) == [3, 4, 5, 6]
    silence(b)
    c = client(broker)
    ack = c.ask({"type": 5, "id": 1, "topic": "back", "since": {"epoch": ack["epoch"], "offset": 6}})
    assert ack["recovered"] is True and ack["offset"] == 6
    silence(c)
    c = client(broker)
    ack = c.ask({"type": 5, "id": 1, "topic": "back", "since": {"epoch": ack["epoch"], "offset": 0}})
    assert ack["recovered"] is True and ack["offset"] == 0 and read(c, 6) == [1, 2, 3, 4, 5, 6]


@test
def the_last_n(broker):
    a = client(broker)
    publish(a, "n", *range(10))
    for n, expected in ((3, [7, 8, 9]), (0, []), (100, list(range(10)))):
        b = client(broker)
        ack = b.ask({"type": 5, "id": 1, "topic": "n", "since": n})
        assert "recovered" not in ack and ack["offset"] == 10 - len(expected), ack
        assert read(b, len(expected)) == expected
        silence(b)


@test
def what_is_gone_is_told_exactly(broker):
    a = client(broker)
    epoch = publish(a, "small", *range(1, 26))["epoch"]
    b = client(broker)
    ack = b.ask({"type": 5, "id": 1, "topic": "small", "since": {"epoch": epoch, "offset": 3}})
    assert ack["recovered"] is False and ack["offset"] == 15, ack
    assert b.read_json() == {"type": 10, "topic": "small", "cause": "expired", "skipped": 12, "from": 4, "to": 15, "epoch": epoch, "offset": 16}
    assert read(b, 10) == list(range(16, 26))
    silence(b)


@test
def octets_bind_exactly(broker):
    a = client(broker)
    epoch = publish(a, "octets", *["%04d" % n + "x" * 96 for n in range(100)])["epoch"]
    b = client(broker)
    ack = b.ask({"type": 5, "id": 1, "topic": "octets", "since": {"epoch": epoch, "offset": 0}})
    gap = b.read_json()
    got = read(b, 100 - gap["to"])
    assert gap["to"] == ack["offset"] and [m[:4] for m in got] == ["%04d" % n for n in range(gap["to"], 100)]
    size = len(json.dumps({"type": 2, "topic": "octets", "message": got[0], "offset": 99}, separators=(",", ":"))) + 4
    assert 4096 - size < len(got) * size <= 4096 + len(got), (len(got), size)


@test
def another_epoch_is_lost(broker):
    a = client(broker)
    epoch = publish(a, "lost", 1, 2)["epoch"]
    for since in {"epoch": "Zzzzzzzzzz0", "offset": 1}, {"epoch": "somebody.elses", "offset": 1}, {"epoch": epoch, "offset": 3}:
        b = client(broker)
        ack = b.ask({"type": 5, "id": 1, "topic": "lost", "since": since})
        assert ack["recovered"] is False and ack["offset"] == 2 and ack["epoch"] == epoch, ack
        assert b.read_json() == {"type": 10, "topic": "lost", "cause": "lost", "epoch": epoch, "offset": 3}
        silence(b)


@test
def topics_without_history_say_so(broker):
    a, b = client(broker), client(broker)
    assert b.ask({"type": 5, "id": 1, "topic": "none/1", "since": {"epoch": "abc", "offset": 7}}) == {"type": 8, "id": 1, "topic": "none/1", "recovered": False}
    assert "offset" not in publish(a, "none/1", "x")
    assert b.read_json() == {"type": 2, "topic": "none/1", "message": "x"}
    assert b.ask({"type": 5, "id": 2, "topic": "none/1", "since": 1})["code"] == 400, "it is subscribed"
    assert b.ask({"type": 5, "id": 3, "topic": "none/#", "since": 1})["code"] == 422


@test
def a_quiet_topic_keeps_its_position(broker):
    a = client(broker)
    epoch = a.ask({"type": 5, "id": 1, "topic": "brief"})["epoch"]
    publish(a, "brief", 1, 2, 3)
    a.close()
    while True:  # until a second is over
        with client(broker) as b:
            if not b.ask({"type": 5, "id": 1, "topic": "brief", "since": {"epoch": epoch, "offset": 0}})["recovered"]:
                gap = b.read_json()
                assert gap["cause"] == "expired" and gap["from"] == 1 and gap["offset"] == gap["to"] + 1, gap
                if gap["to"] == 3:
                    break
    b = client(broker)
    ack = b.ask({"type": 5, "id": 1, "topic": "brief", "since": {"epoch": epoch, "offset": 3}})
    assert ack["recovered"] is True and ack["offset"] == 3 and ack["epoch"] == epoch, ack


@test
def each_kind_has_the_past(broker):
    a = client(broker)
    publish(a, "kinds", {"a": 1}, "text", [1.5])
    packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
    packed.read()
    packed.send(frame(BINARY, b"\x94\x07\xc0\xa5kinds\xc4\x02hi"))
    packed.send(frame(BINARY, b"\x94\x05\x01\xa5kinds\x0a"))
    ack = packed.read()[1]
    assert ack[:3] == b"\x95\x08\x01" and ack[-1] == 0, ack
    assert [packed.read()[1] for _ in range(4)] == [
        b"\x94\x02\xa5kinds\x81\xa1a\x01\x01", b"\x94\x02\xa5kinds\xa4text\x02", b"\x94\x02\xa5kinds\x91\xcb\x3f\xf8\0\0\0\0\0\0\x03", b"\x94\x02\xa5kinds\xc4\x02hi\x04"]
    b = client(broker)
    assert b.ask({"type": 5, "id": 1, "topic": "kinds", "since": 4})["offset"] == 0
    assert [m.get("message", m.get("data")) for m in (b.read_json() for _ in range(4))] == [{"a": 1}, "text", [1.5], "aGk="]
    for format, expected in (("json", ['{"a":1}', '"text"', "[1.5]"]), ("text", ['"{\\"a\\":1}"', '"text"', '"[1.5]"'])):
        plain = Peer(broker.port, path="/ws?topic=kinds&since=4&format=" + format)
        plain.with_positions = True
        ack = plain.read_json()
        assert ack["type"] == 8 and ack["id"] == 0 and ack["topic"] == "kinds" and ack["offset"] == 0, ack
        for n, text in enumerate(expected, 1):
            assert plain.read() == (TEXT, ('{"type":2,"topic":"kinds","message":%s,"offset":%d}' % (text, n)).encode())
    plain = Peer(broker.port, path="/ws?topic=kinds&since=4&format=raw")
    assert [plain.read() for _ in range(4)] == [(TEXT, b'{"a":1}'), (TEXT, b"text"), (TEXT, b"[1.5]"), (BINARY, b"hi")]


@test
def plain_clients_name_positions(broker):
    a = client(broker)
    epoch = publish(a, "plain", 1, 2, 3)["epoch"]
    plain = Peer(broker.port, path="/ws?topic=plain&since=%s%%3A1" % epoch)
    plain.with_positions = True
    assert plain.read_json() == {"type": 8, "id": 0, "topic": "plain", "epoch": epoch, "offset": 1, "recovered": True}
    assert read(plain, 2) == [2, 3]
    plain = Peer(broker.port, path="/ws?topic=plain&since=0")
    plain.with_positions = True
    assert plain.read_json() == {"type": 8, "id": 0, "topic": "plain", "epoch": epoch, "offset": 3}
    for query in "since=x", "since=", "since=-1", "since=a%20b:1", "since=%s:x" % epoch, "format=raw&since=%s:1" % epoch:
        assert Peer(broker.port, path="/ws?topic=plain&" + query).status == 400, query
    assert Peer(broker.port, path="/ws?topic=plain/%23&since=1").status == 400


@test
def the_past_is_exempt_from_rules(broker):
    a = client(broker)
    epoch = publish(a, "rules", *range(50))["epoch"]
    since = {"epoch": epoch, "offset": 0}
    for more in {"rate": 0.1}, {"overflow": "latest"}, {"overflow": "close", "buffered": 0}, {"buffered": 0}, {"echo": False}:
        b = client(broker)
        assert b.ask({"type": 5, "id": 1, "topic": "rules", "since": since, **more})["recovered"] is True
        assert read(b, 50) == list(range(50)), more
        b.close()
    b = client(broker)
    assert b.ask({"type": 5, "id": 1, "topic": "rules", "since": since, "rate": 0})["recovered"] is True
    silence(b)
    b.send_json({"type": 5, "id": 2, "topic": "rules", "rate": -1})
    got = [b.read_json() for _ in range(51)]
    assert [m["message"] for m in got if m["type"] == 2] == list(range(50)), "what waited comes when the pause ends"


def history(peer, topic, **more):
    ack = peer.ask({"type": 12, "id": 7, "topic": topic, **more})
    assert ack["type"] == 8 and ack["topic"] == topic, ack
    return [(m["offset"], m.get("message", m.get("data"))) for m in ack["messages"]], ack


@test
def what_was_said_is_listed(broker):
    a = client(broker)
    begun = time.time() * 1000
    epoch = publish(a, "said", *range(1, 251))["epoch"]
    all = [(n, n) for n in range(1, 251)]
    assert history(a, "said")[0] == all[:100] and history(a, "said")[1]["more"] is True
    assert history(a, "said", limit=1000)[0] == all and "more" not in history(a, "said", limit=250)[1]
    assert history(a, "said", since={"epoch": epoch, "offset": 240})[0] == all[240:]
    assert history(a, "said", since={"epoch": epoch, "offset": 250})[0] == []
    assert history(a, "said", since=3)[0] == all[-3:]
    assert history(a, "said", reverse=True, limit=5)[0] == all[:-6:-1]
    assert history(a, "said", reverse=True, since={"epoch": epoch, "offset": 4})[0] == all[2::-1]
    assert history(a, "said", reverse=True, since={"epoch": epoch, "offset": 1})[0] == []
    assert history(a, "said", reverse=True, since=2, limit=10)[0] == all[:-3:-1]
    page, seen = {"epoch": epoch, "offset": 0}, []
    while True:  # page by page
        messages, ack = history(a, "said", since=page, limit=33)
        seen += messages
        if "more" not in ack:
            break
        page = {"epoch": ack["epoch"], "offset": messages[-1][0]}
    assert seen == all
    for message in a.ask({"type": 12, "id": 1, "topic": "said"})["messages"]:
        assert list(message) == ["message", "offset", "time"] and begun - 10 <= message["time"] <= time.time() * 1000 + 10
    for more, code in (({"since": {"epoch": "other", "offset": 1}}, 416), ({"since": {"epoch": epoch, "offset": 251}}, 416), ({"limit": 0}, 400), ({"limit": 1001}, 400)):
        assert a.ask({"type": 12, "id": 1, "topic": "said", **more})["code"] == code, more
    assert a.ask({"type": 12, "id": 1, "topic": "none/x"})["code"] == 404 and a.ask({"type": 12, "id": 1, "topic": "said/#"})["code"] == 422
    assert a.ask({"type": 12, "id": 1, "topic": "never/said"}) == {"type": 8, "id": 1, "topic": "never/said", "messages": []}
    epoch = publish(a, "small", *range(40))["epoch"]
    assert a.ask({"type": 12, "id": 1, "topic": "small", "since": {"epoch": epoch, "offset": 3}})["code"] == 416
    assert len(history(a, "small")[0]) == 10


@test
def a_list_ends_at_256_kib_and_there_is_one_at_a_time(broker):
    a = client(broker)
    publish(a, "long", *["%03d" % n + "x" * 4000 for n in range(100)])
    a.send_json({"type": 12, "id": 1, "topic": "long", "limit": 1000})
    opcode, payload = a.read()
    ack = json.loads(payload)
    assert opcode == TEXT and 240 * 1024 < len(payload) <= 256 * 1024 and ack["more"] is True, len(payload)
    first = ack["messages"][0]["offset"]
    assert [m["offset"] for m in ack["messages"]] == list(range(first, first + len(ack["messages"])))
    watch = client(broker)
    watch.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
    before = watch.read_json()["message"]["memory"]
    lazy = [client(broker) for _ in range(20)]
    for peer in lazy:  # sixty octets buy no more than one list, however often they are sent
        peer.send_json([{"type": 12, "id": n, "topic": "long", "limit": 1000} for n in range(1000)])
    for _ in range(2):
        held = watch.read_json()["message"]["memory"] - before
        assert held < 20 * 400 * 1024, "twenty lists are owed, but %d octets are held" % held
    watch.close()
    for peer in lazy[:3]:
        assert [peer.read_json()["id"] for _ in range(20)] == list(range(20))
    for peer in lazy:
        peer.close()


@test
def lists_are_in_the_clients_encoding(broker):
    a = client(broker)
    packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
    packed.read()
    publish(a, "both", {"a": 1})
    packed.send(frame(BINARY, b"\x94\x07\xc0\xa4both\xc4\x02hi"))
    packed.send(frame(BINARY, b"\x93\x0c\x05\xa4both"))
    got = packed.read()[1]
    assert got[:9] == b"\x9a\x08\x05\xa4both\xab"[:9] or b"both" in got, got
    assert b"\xdd\0\0\0\x02\x83\xa7message\x81\xa1a\x01\xa6offset\x01\xa4time\xcf" in got and b"\x83\xa7message\xc4\x02hi\xa6offset\x02\xa4time" in got, got
    assert history(a, "both")[0] == [(1, {"a": 1}), (2, "aGk=")]


@test
def a_restart_is_told(broker):
    with Broker() as first:
        epoch = publish(client(first), "again", 1, 2)["epoch"]
    with Broker() as second:
        b = client(second)
        ack = b.ask({"type": 5, "id": 1, "topic": "again", "since": {"epoch": epoch, "offset": 2}})
        assert ack["recovered"] is False and ack["epoch"] != epoch and ack["offset"] == 0, ack
        assert b.read_json()["cause"] == "lost"


def main():
    with open("/tmp/fanfare-history-%d.conf" % os.getpid(), "w") as conf:
        conf.write('topic "none/#" { history = 0 }\ntopic "small" { history = 10 }\ntopic "long" { history_bytes = "1M" }\ntopic "brief" { history_seconds = 1 }\ntopic "octets" { history_bytes = "4K" }\n')
    try:
        with Broker("--config", conf.name, "--sys") as broker:
            for run in tests:
                run(broker)
                print("ok", run.__name__)
    finally:
        os.unlink(conf.name)


main()
