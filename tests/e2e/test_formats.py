# SPDX-License-Identifier: Apache-2.0
"""What plain clients are sent: `json`, `text` and `raw`, beside each other and beside typed clients."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, PING, PONG, TEXT, Broker, Peer, bare, close_code, frame, typed


def plain(broker, format=None, topic="t"):
    query = "?topic=" + topic + ("&format=" + format if format else "")
    peer = Peer(broker.port, path="/ws" + query)
    assert peer.status == 101, peer.status
    return peer


def message(of):
    return (TEXT, ('{"type":2,"topic":"t",%s}' % of).encode())


# What is sent (opcode, octets), and what readers of json, text and raw get of it.
SENT = (
    ((TEXT, "Hi"), '"message":"Hi"', '"message":"Hi"', (TEXT, b"Hi")),
    ((TEXT, '{"a": [1.50, "x\\n"]}'), '"message":{"a": [1.50, "x\\n"]}', '"message":"{\\"a\\": [1.50, \\"x\\\\n\\"]}"', (TEXT, b'{"a": [1.50, "x\\n"]}')),
    ((TEXT, "1e2"), '"message":1e2', '"message":"1e2"', (TEXT, b"1e2")),
    ((TEXT, "null"), '"message":null', '"message":"null"', (TEXT, b"null")),
    ((TEXT, 'say "hi"\t\\'), '"message":"say \\"hi\\"\\t\\\\"', '"message":"say \\"hi\\"\\t\\\\"', (TEXT, b'say "hi"\t\\')),
    ((TEXT, "\u00e9\U0001f600"), '"message":"\u00e9\U0001f600"', '"message":"\u00e9\U0001f600"', (TEXT, "\u00e9\U0001f600".encode())),
    ((BINARY, b"\0\xff"), '"data":"AP8="', '"data":"AP8="', (BINARY, b"\0\xff")),
    ((BINARY, b"text"), '"data":"dGV4dA=="', '"message":"text"', (BINARY, b"text")),
    ((BINARY, b"x" * 70000), '"data":"%s"' % ("eHh4" * 23333 + "eA=="), '"message":"%s"' % ("x" * 70000), (BINARY, b"x" * 70000)),
)


def each_reader_gets_its_own(broker):
    readers = [plain(broker, format) for format in ("json", "text", "raw")]
    sender = plain(broker)
    for (opcode, octets), *expected in SENT:
        sender.send(frame(opcode, octets))
        for reader, wanted in zip(readers, expected):
            got = reader.read()
            while got == (TEXT, b'{"type":1}'):
                got = reader.read()
            if reader is not readers[2]:
                got = bare(got)
            assert got == (message(wanted) if isinstance(wanted, str) else wanted), (octets[:50], got[1][:200])
    packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
    packed.read()
    for octets, text, raw in ((b"\x82\xa1a\x01\xa1b\xc0", '"message":"{\\"a\\":1,\\"b\\":null}"', (TEXT, b'{"a":1,"b":null}')), (b"\xa2hi", '"message":"hi"', (TEXT, b"hi")),
                              (b"\xc4\x02\xff\0", '"data":"/wA="', (BINARY, b"\xff\0")), (b"\xc4\x00", '"message":""', (BINARY, b"")), (b"\xa0", '"message":""', (TEXT, b""))):
        packed.send(frame(BINARY, b"\x94\x07\xc0\xa1t" + octets))
        assert bare(readers[1].read()) == message(text), octets
        assert readers[2].read() == raw, octets
    t = typed(broker.port)
    t.send_json({"type": 7, "topic": "t", "message": "a\n\"\0"})
    assert readers[2].read() == (TEXT, b"a\n\"\0")


def raw_comes_back_to_the_octet(broker):
    raw = plain(broker, "raw", "echo")
    for opcode, octets in ((TEXT, b"Hello"), (TEXT, b'"quoted"'), (TEXT, b' {"a":1} '), (TEXT, b'{"type":2,"message":"m"}'), (TEXT, b'{"type":7,"topic":"x","message":1}'),
                           (TEXT, b'{"type":5,"id":1,"topic":"x"}'), (TEXT, b"[1,2]"), (TEXT, b"NaN"), (BINARY, b"\x00\x01"), (TEXT, b'"\\u0041"'), (TEXT, "\ufeff1".encode())):
        raw.send(frame(opcode, octets))
        assert raw.read() == (opcode, octets), octets
    for octets in b"", b" ", b"ping", b'{"type":1,"id":3}', b'{"type":"ping"}', b'{"token":"secret"}':
        raw.send(frame(TEXT, octets))  # keepalives and tokens are swallowed: RFC PINGs do for them
    raw.send(frame(TEXT, b"next"))
    assert raw.read() == (TEXT, b"next")


def what_is_refused_closes_a_raw_client(broker):
    for topic, octets, code, words in (("t/%23", b"x", 1008, b"filter"), ("t", b"[" * 30 + b"]" * 30, 1008, b"24 levels"), ("t", b"1e999", 1008, b"overflows")):
        raw = plain(broker, "raw", topic)
        raw.send(frame(TEXT, octets))
        opcode, payload = raw.read()
        assert opcode == CLOSE and close_code(payload) == code and words in payload, (opcode, payload)
    refused = Peer(broker.port, path="/ws?format=xml")
    assert refused.status == 400 and "json, text or raw" in refused.read_body()


def a_slow_raw_client_is_closed_and_misses_nothing_before():
    with Broker("--max-buffered", "256K") as broker:
        raw = Peer(broker.port, path="/ws?topic=t&format=raw", rcvbuf=4096)
        t = typed(broker.port)
        for i in range(4000):
            t.send_json({"type": 7, "topic": "t", "message": "%d %s" % (i, "x" * 4000)})
            if i % 50 == 49:
                t.ask({"type": 1, "id": i})
        broker.logged("slow_consumer_closed")
        expected = 0
        try:
            while True:
                opcode, payload = raw.read()
                if opcode == CLOSE:
                    assert close_code(payload) == 4008, payload
                    break
                if opcode == TEXT:
                    assert payload.startswith(b"%d " % expected), (expected, payload[:20])
                    expected += 1
        except Exception as why:
            assert "reset" in repr(why) or "end" in repr(why), why
        assert expected > 0


def heartbeats_and_goodbyes_of_a_raw_client_are_control_frames():
    with Broker("--heartbeat", "5", "--plain-heartbeat", "1", "--plain-format", "raw", "--drain-seconds", "30") as broker:
        raw, spoken = Peer(broker.port), plain(broker, "json", "lobby")
        assert raw.read() == (PING, b"")
        raw.send(frame(PONG))
        assert spoken.read() == (TEXT, b'{"type":1}')
        broker.process.terminate()
        opcode, payload = raw.read()
        assert opcode == CLOSE and close_code(payload) == 1012, (opcode, payload)
        raw.send(frame(CLOSE, payload[:2]))
        while spoken.read()[0] != CLOSE:
            pass
        spoken.close()


def an_option_says_what_is_sent_where_the_url_does_not():
    with Broker("--plain-format", "text") as broker:
        a = plain(broker)
        a.send(frame(TEXT, "[1]"))
        assert bare(a.read()) == message('"message":"[1]"')
        assert a.ask({"type": 5, "id": 1, "topic": "u"})["type"] == 8, "typed requests are taken"


with Broker("--max-message", "128K") as shared:
    for run in each_reader_gets_its_own, raw_comes_back_to_the_octet, what_is_refused_closes_a_raw_client:
        run(shared)
        print("ok", run.__name__, flush=True)
for run in (a_slow_raw_client_is_closed_and_misses_nothing_before, heartbeats_and_goodbyes_of_a_raw_client_are_control_frames,
            an_option_says_what_is_sent_where_the_url_does_not):
    run()
    print("ok", run.__name__, flush=True)
