# SPDX-License-Identifier: Apache-2.0
"""Who is slow gets what the rule of its subscription says: the newest, what lies within its bound, or an end."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, TEXT, Broker, Gone, Peer, close_code, frame, typed

COUNT, SIZE = 2000, 4000  # 8 MB: more than sockets take, within what the topic keeps
ARGS = "--max-buffered", "64M"


def publish(publisher, topic="t", count=COUNT, first=0, size=SIZE):
    text = "x" * size
    for i in range(first, first + count):
        publisher.send_json({"type": 7, "topic": topic, "message": [i, text]})
        if i % 50 == 49:
            assert publisher.ask({"type": 1, "id": i})["type"] == 1
    publisher.ask({"type": 1, "id": 0})


def read_all(client, count=COUNT):
    """What came, in order: numbers, and (number it was before, skipped) for each GAP."""
    numbers, gaps, expected = [], [], 0
    while expected < count:
        got = client.read_json()
        if got["type"] == 10:
            assert got["cause"] == "slow" and got["skipped"] > 0, got
            expected += got["skipped"]
            gaps.append((expected, got["skipped"]))
        else:
            assert got["message"][0] == expected, (got["message"][0], expected)
            numbers.append(expected)
            expected += 1
    return numbers, gaps


def stalled(broker, topic="t", **rules):
    client = typed(broker.port, rcvbuf=4096)
    got = client.ask(dict({"type": 5, "id": 1, "topic": topic}, **rules))
    assert got["type"] == 8, got
    return client


def latest_is_the_latest():
    """Nothing was cut from the topic's log: the socket was full, that is enough."""
    with Broker(*ARGS) as broker:
        client, publisher = stalled(broker, overflow="latest"), typed(broker.port)
        publish(publisher)
        numbers, gaps = read_all(client)
        assert numbers[-1] == COUNT - 1 and len(gaps) == 1, gaps
        assert gaps[0][0] == COUNT - 1, "the GAP leads to the newest: %s" % gaps
        publish(publisher, count=5, first=COUNT)  # it is at the head again: each is sent
        assert [client.read_json()["message"][0] for _ in range(5)] == list(range(COUNT, COUNT + 5))


def a_burst_into_an_empty_socket_is_sent_whole():
    with Broker(*ARGS) as broker:
        client, publisher = typed(broker.port), typed(broker.port)
        client.ask({"type": 5, "id": 1, "topic": "t", "overflow": "latest"})
        publisher.send_json([{"type": 7, "topic": "t", "message": [i, ""]} for i in range(256)])
        numbers, gaps = read_all(client, 256)
        assert len(numbers) == 256 and not gaps


def skip_goes_to_its_own_bound():
    with Broker(*ARGS) as broker:
        client, publisher = stalled(broker, buffered=100000), typed(broker.port)
        publish(publisher)
        numbers, gaps = read_all(client)
        assert len(gaps) == 1, gaps
        frame_size = SIZE + 60
        kept = COUNT - gaps[0][0]
        assert 100000 - 2 * frame_size < kept * frame_size <= 100000 + frame_size, kept


def close_is_compared_though_no_tail_moves():
    with Broker(*ARGS) as broker:
        client, publisher = stalled(broker, overflow="close", buffered=1000000), typed(broker.port)
        publish(publisher)
        try:
            while True:
                opcode, payload = client.read()
                if opcode == CLOSE:
                    assert close_code(payload) == 4008 and b"buffered, 1000000 bytes, of topic t" in payload, payload
                    break
        except Gone:
            pass  # a reset, where its stream stood in the midst of a frame
        broker.logged("slow_consumer_closed")


def a_change_of_the_bound_acts_at_once():
    with Broker(*ARGS) as broker:
        client, publisher = stalled(broker), typed(broker.port)
        publish(publisher)
        client.send_json({"type": 5, "id": 2, "topic": "t", "overflow": "latest"})
        expected = 0
        while expected < COUNT:
            got = client.read_json()
            if got["type"] == 8:
                continue
            expected += got["skipped"] if got["type"] == 10 else 1
        assert got["message"][0] == COUNT - 1


def own_messages_are_no_gap():
    with Broker(*ARGS) as broker:
        client = stalled(broker, overflow="latest", echo=False)
        client.send_json({"type": 7, "topic": "t", "message": 1})
        assert client.ask({"type": 7, "id": 2, "topic": "t", "message": 1})["receivers"] == 1
        assert client.seen == []


def wrong_ones_are_refused():
    with Broker("--max-buffered", "2M") as broker:
        client = typed(broker.port)
        for request, code, words in (
                ({"topic": "a/#", "overflow": "latest"}, 422, "skip with a small buffered"),
                ({"topic": "a", "buffered": 2 * 1024 * 1024 + 1}, 400, "max_buffered, which is 2097152"),
                ({"topic": "a", "buffered": -1}, 400, "buffered"), ({"topic": "a", "buffered": "9"}, 400, "buffered"),
                ({"topic": "a", "rate": 101}, 400, "100 messages a second"), ({"topic": "a", "overflow": "new"}, 400, "skip, latest or close")):
            got = client.ask(dict({"type": 5, "id": 1}, **request))
            assert (got["type"], got["code"]) == (9, code) and words in got["reason"], got
        assert client.ask({"type": 5, "id": 1, "topic": "a/#", "overflow": "skip", "buffered": 0})["type"] == 8
        packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
        packed.read()
        packed.send(frame(BINARY, b"\x98\x05\x01\xa1a\xc0\xa4skip\xc0\xc0\xc0"))       # [5, 1, "a", nil, "skip", nil, nil, nil]
        assert packed.read()[1][:6] == b"\x95\x08\x01\xa1a\xab"
        packed.send(frame(BINARY, b"\x99\x05\x02\xa1a\xc0\xc0\xc0\xc0\xc0\xcd\x10\x00"))  # the ninth element: buffered
        assert packed.read()[1][:5] == b"\x93\x08\x02\xa1a"
        packed.send(frame(BINARY, b"\x99\x05\x03\xa1a\xc0\xc0\xc0\xc0\xc0\xce\x7f\xff\xff\xff"))
        opcode, payload = packed.read()
        assert payload.startswith(b"\x94\x09\x03\xcd\x01\x90"), payload


def a_rule_for_filters_acts_as_skip():
    path = "/tmp/overflow-%d.conf" % os.getpid()
    with open(path, "w") as conf:
        conf.write('max_message = 8K\nmax_buffered = 32K\ntopic "f/#" { overflow = latest  max_message = 1K  max_buffered = 4K }\n')
    with Broker("--config", path) as broker:
        client, publisher = stalled(broker, topic="f/#"), typed(broker.port)
        publish(publisher, topic="f/1", count=4000, size=1000)
        numbers, gaps = read_all(client, 4000)
        assert gaps and gaps[-1][0] < 3999, "more than the newest was kept: %s" % gaps
    os.unlink(path)


for run in (latest_is_the_latest, a_burst_into_an_empty_socket_is_sent_whole, skip_goes_to_its_own_bound,
            close_is_compared_though_no_tail_moves, a_change_of_the_bound_acts_at_once, own_messages_are_no_gap,
            wrong_ones_are_refused, a_rule_for_filters_acts_as_skip):
    run()
    print("ok", run.__name__, flush=True)
