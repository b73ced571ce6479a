# SPDX-License-Identifier: Apache-2.0
"""docs/protocol.md, sentence by sentence, spoken to the real broker."""
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, DEADLINE, PING, PONG, TEXT, Broker, Gone, Peer, bare, frame, typed  # noqa: E402

tests = []


def test(run):
    tests.append(run)
    return run


def raw(peer, text):
    """Sends text as it stands and returns the next message."""
    peer.send(frame(TEXT, text))
    return peer.read_json()


def error(peer, text, code, id=None):
    got = raw(peer, text)
    assert got["type"] == 9 and got["code"] == code and got.get("id") == id, (text, got)
    return got["reason"]


def packed(port):
    peer = Peer(port, protocol="fanfare.v1.msgpack")
    assert peer.read()[0] == BINARY
    return peer


def ask_packed(peer, octets):
    peer.send(frame(BINARY, octets))
    opcode, got = peer.read()
    assert opcode == BINARY
    return got


@test
def welcome_and_hello(broker):
    a = typed(broker.port)
    w = a.welcome
    assert list(w) == ["type", "session", "node", "heartbeat", "limits", "server"]
    assert w["limits"] == {"message": 65536, "topics": 1024, "buffered": 1048576}
    assert a.ask({"type": 3, "id": 7, "heartbeat": 1, "token": "secret"})["heartbeat"] == 5
    assert a.ask({"type": 3, "id": 8, "heartbeat": 1000})["heartbeat"] == 300
    got = raw(a, '{"type":3}')
    assert got["type"] == 4 and "id" not in got, "HELLO without id is answered, too"
    assert a.ask({"type": 1, "id": 3}) == {"type": 1, "id": 3, "buffered": 0}
    a.send_json({"type": 1})
    assert a.read(timeout=0.2) is None, "no answer is owed without an id"
    assert "secret" not in broker.log()


@test
def errors_say_what_is_wrong(broker):
    # In order; a session closes at the tenth 400 of a minute, so each gets its own.
    for text, code, id in (
            ("{", 400, None), ("[]", 400, None), ('"x"', 400, None), ('{"type":5', 400, None),
            ('{"id":1}', 400, 1), ('{"type":5,"id":1}', 400, 1),
            ('{"type":7,"id":1,"topic":"a"}', 400, 1), ('{"type":5,"id":-1,"topic":"a"}', 400, None),
            ('{"type":5,"id":1.5,"topic":"a"}', 400, None),
            ('{"type":5,"id":9007199254740992,"topic":"a"}', 400, None),
            ('{"type":5,"id":1,"topic":5}', 400, 1),
            ('{"type":5,"id":1,"topic":"a","overflow":"x"}', 400, 1),
            ('{"type":5,"id":1,"topic":"a","rate":101}', 400, 1),
            ('{"type":5,"id":1,"topic":"a","rate":-2}', 400, 1),
            ('{"type":5,"id":1,"topic":"a","since":{}}', 400, 1),
            ('{"type":7,"id":1,"topic":"a","message":1,"data":"AA=="}', 400, 1),
            ('{"type":7,"id":1,"topic":"a","message":1,"key":"%s"}' % ("k" * 65), 400, 1),
            ('{"type":7,"id":1,"topic":"a","message":1,"key":""}', 400, 1),
            ('{"type":7,"id":1,"topic":"a","message":1e999,"retain":5}', 400, 1),
            ('{"type":99,"id":5} x', 400, 5),
            ('[{"type":6,"id":10,"topic":"a"},{"type":7,"id":11,"message":1}]', 400, None),
            ('[[{"type":1}]]', 400, None)):
        with typed(broker.port) as a:
            error(a, text, code, id)
            assert a.ask({"type": 6, "id": 99, "topic": "q"})["type"] == 8, "the session goes on"
            assert a.seen == [], "a malformed frame does nothing"
    a = typed(broker.port)
    for text, code in (
            ('{"type":99,"id":1}', 404), ('{"type":"5","id":1}', 404), ('{"type":{"a":1},"id":1}', 404),
            ('{"type":true,"id":1}', 404), ('{"type":5.5,"id":1}', 404), ('{"type":"ping","id":1}', 404), ('{"type":2,"id":1,"message":1}', 404),
            ('{"type":11,"id":1,"topic":"a"}', 403), ('{"type":12,"id":1,"topic":"$SYS/a"}', 404),
            ('{"type":5,"id":1,"topic":"a/#","since":3}', 422),
            ('{"type":5,"id":1,"topic":"a","presence":true}', 403),
            ('{"type":7,"id":1,"topic":"a/#","message":1,"retain":true}', 422),
            ('{"type":7,"id":1,"topic":"$SYS/x","message":1}', 403),
            ('{"type":5,"id":1,"topic":"$SYS/broker"}', 403),
            ('{"type":5,"id":1,"topic":""}', 422), ('{"type":5,"id":1,"topic":"a//b"}', 422),
            ('{"type":5,"id":1,"topic":"a\\u0000"}', 422), ('{"type":5,"id":1,"topic":"a+"}', 422),
            ('{"type":5,"id":1,"topic":"a/#/b"}', 422), ('{"type":5,"id":1,"topic":"\\ud800"}', 422),
            ('{"type":5,"id":1,"topic":"%s"}' % ("x" * 256), 422),
            ('{"type":5,"id":1,"topic":"%s"}' % "/".join("x" * 33), 422),
            ('{"type":5,"id":1,"topic":"a/#","rate":1}', 422),
            ('{"type":7,"id":1,"topic":"a/#","message":1}', 422),
            ('{"type":7,"id":1,"topic":"a","message":"\\udc00"}', 422),
            ('{"type":7,"id":1,"topic":"a","message":1e999}', 422), ('{"type":7,"id":1,"topic":"a","message":[NaN]}', 422),
            ('{"type":7,"id":1,"topic":"a","message":-Infinity}', 422), ('{"type":5,"id":1,"topic":"a","rate":Infinity}', 422),
            ('{"type":7,"id":1,"topic":"a","message":%s}' % ("[" * 25 + "]" * 25), 422),
            ('{"type":7,"id":1,"topic":"a","message":%s}' % ("[" * 2000 + "]" * 2000), 422),
            ('{"type":7,"id":1,"topic":"a","data":"AB=="}', 422)):
        error(a, text, code, 1)
    for text in ('{"type":5,"id":1,"topic":"a","presence":false,"rate":-1}',
                 '{"type":7,"id":1,"topic":"a","message":1,"retain":false}',
                 '{"type":7,"id":1,"topic":"a","message":null}',
                 '{"type":7,"id":1,"topic":"a","message":null,"key":"k"}',
                 '{"type":7,"id":1,"topic":"b","message":%s}' % ("[" * 24 + "]" * 24),
                 '{"type":5,"id":1,"topic":"%s"}' % "/".join("x" * 32),
                 '\ufeff{"type":7.0,"id":1e0,"topic":"a","message":1}', '{"type":7e0,"id":10E-1,"topic":"a","message":1}',
                 '{"typ\\u0065":5,"id":2,"id":1,"topic":"x","topic":"a\\u002fb","echo":null}'):
        got = raw(a, text)
        while got["type"] == 2:
            got = a.read_json()
        assert got["type"] == 8 and got["id"] == 1, (text, got)


@test
def what_is_malformed_is_told_where(broker):
    a = typed(broker.port)
    for text, at, words in (
            ('nonsense', 0, "a JSON object"), ('{"type":5', 9, "too early"), ('{"type":5,}', 10, "does not belong here"),
            ('{"type":5,"topic":"a\\x"}', 20, "escape"), ('{"type":5,"topic":"a\x01"}', 20, "control"), ('{"type":1} x', 11, "more behind"),
            ('{"type":5,"topic":7}', 18, "topic"), ('[{"type":1},{"type":6 1}]', 22, "does not belong here"), ('\ufeff{]', 4, "does not belong here")):
        got = error(a, text, 400)
        assert got.startswith("octet %d: " % at) and words in got, (text, got)
        a.ask({"type": 1, "id": 1})


@test
def home_made_keepalives_end_nobody(broker):
    for protocol in "fanfare.v1.json", None:
        a = Peer(broker.port, protocol=protocol)
        for _ in range(5):
            for text in "", " ", "\r\n", "ping", '{"type":"ping"}', '{"event":"ping"}', "{}":
                a.send(frame(TEXT, text))
        a.send_json({"type": 5, "id": 7, "topic": "x"})
        while (got := a.read_json()).get("id") != 7:
            assert got["type"] in (1, 2, 4, 9, "pong"), got
        assert got["type"] == 8


@test
def who_gets_something_right_is_never_closed_for_what_is_malformed(broker):
    a = typed(broker.port)
    for i in range(30):
        error(a, "{", 400)
        if i % 5 == 4:
            assert a.ask({"type": 1, "id": i})["type"] == 1


@test
def the_tenth_malformed_message_of_a_minute_closes(broker):
    a = typed(broker.port)
    for _ in range(9):
        error(a, "{", 400)
    a.send(frame(TEXT, "{"))
    code, reason = a.read_close()
    assert code == 1008 and "10" in reason


@test
def the_wrong_kind_of_frame_closes(broker):
    a = typed(broker.port)
    a.send(frame(BINARY, b"x"))
    assert a.read_close()[0] == 1003
    b = packed(broker.port)
    b.send(frame(TEXT, "x"))
    assert b.read_close()[0] == 1003
    c = typed(broker.port)
    c.send(frame(TEXT, b"", length=65537))
    code, reason = c.read_close()
    assert code == 1009 and "65536" in reason


@test
def batches_are_done_in_order(broker):
    a = typed(broker.port)
    a.send_json([{"type": 5, "id": 1, "topic": "b"}, {"type": 7, "id": 2, "topic": "b", "message": 1},
                 {"type": 7, "id": 3, "topic": "a/#", "message": 1}, {"type": 6, "id": 4, "topic": "z"}])
    got = [a.read_json() for _ in range(5)]
    by_id = {m.get("id"): m for m in got}
    assert [by_id[i]["type"] for i in (1, 2, 3, 4)] == [8, 8, 9, 8] and by_id[None]["message"] == 1
    a.send_json([{"type": 6, "topic": "z"}] * 1024)
    assert a.ask({"type": 6, "id": 5, "topic": "z"})["type"] == 8 and a.seen == []
    error(a, json.dumps([{"type": 6, "topic": "z"}] * 1025), 400)


@test
def subscriptions_change_and_end(broker):
    a, p = typed(broker.port), typed(broker.port)
    a.ask({"type": 5, "id": 1, "topic": "s"})
    a.ask({"type": 5, "id": 2, "topic": "s", "echo": False})
    a.ask({"type": 7, "id": 3, "topic": "s", "message": "own"})
    p.ask({"type": 7, "id": 1, "topic": "s", "message": "other"})
    assert a.read_json()["message"] == "other", "its own was not sent"
    assert a.ask({"type": 6, "id": 4, "topic": "s"}) == {"type": 8, "id": 4, "topic": "s"}
    assert p.ask({"type": 7, "id": 2, "topic": "s", "message": 1})["receivers"] == 0
    assert a.ask({"type": 6, "id": 5, "topic": "never"})["type"] == 8
    for topic in "f/+", "f/#", "#", "f/1":
        a.ask({"type": 5, "id": 6, "topic": topic})
    assert p.ask({"type": 7, "id": 3, "topic": "f/1", "message": 1})["receivers"] == 4
    got = [a.read_json().get("filter") for _ in range(4)]
    assert sorted(got, key=str) == sorted(["f/+", "f/#", "#", None], key=str), got


@test
def rates_pass_over_and_tell(broker):
    a, p = typed(broker.port), typed(broker.port)
    a.ask({"type": 5, "id": 1, "topic": "r", "rate": 0})
    for i in range(5):
        p.ask({"type": 7, "id": i + 1, "topic": "r", "message": i})
    assert a.read(timeout=0.2) is None, "a pause"
    ack = a.ask({"type": 5, "id": 2, "topic": "r", "rate": -1})
    gap, newest = (a.seen + [a.read_json() for _ in range(2 - len(a.seen))])
    assert gap == {"type": 10, "topic": "r", "cause": "rate", "skipped": 4}, gap
    assert newest["message"] == 4 and ack["type"] == 8
    a.ask({"type": 5, "id": 3, "topic": "r", "rate": 2})
    p.ask({"type": 7, "id": 10, "topic": "r", "message": 10})
    assert a.read_json()["message"] == 10, "the first at once"
    for i in range(1, 10):
        p.ask({"type": 7, "id": 10 + i, "topic": "r", "message": 10 + i})
    skipped = 0
    while True:
        m = a.read_json()
        if m["type"] == 2:
            assert m["message"] == 19, "at the end of the interval the newest"
            break
        skipped += m["skipped"]
    a.ask({"type": 6, "id": 4, "topic": "r"})
    skipped += sum(m["skipped"] for m in a.seen if m["type"] == 10)
    assert skipped == 8, skipped


@test
def the_slowest_rates_are_rates_too(broker):
    p = typed(broker.port)
    for k, rate in enumerate(("1e-9", "1e-17", "1e-300", "5e-324")):
        a = typed(broker.port)
        assert raw(a, '{"type":5,"id":1,"topic":"slow/%d","rate":%s}' % (k, rate))["type"] == 8
        for i in range(5):
            p.ask({"type": 7, "id": i, "topic": "slow/%d" % k, "message": i})
            if i == 0:
                assert a.read_json()["message"] == 0, "the first at once"
        time.sleep(0.1)
        a.ask({"type": 1, "id": 1})
        assert [m for m in a.seen if m["type"] == 2] == [], (rate, a.seen)


@test
def payloads_cross_the_encodings(broker):
    a, m, p = typed(broker.port), packed(broker.port), typed(broker.port)
    a.ask({"type": 5, "id": 1, "topic": "x"})
    assert ask_packed(m, b"\x93\x05\x01\xa1x")[:6] == b"\x95\x08\x01\xa1x\xab"
    for text, octets in (
            ("1", b"\x01"), ("-1", b"\xff"), ("-0", b"\xcb\x80" + b"\0" * 7), ("1.0", b"\xcb\x3f\xf0" + b"\0" * 6),
            ("18446744073709551615", b"\xcf" + b"\xff" * 8),
            ("-9223372036854775808", b"\xd3\x80" + b"\0" * 7),
            ("18446744073709551616", b"\xcb" + struct.pack("!d", 2.0 ** 64)),
            ('"\\u00e9\\ud83d\\ude00"', b"\xa6" + "é😀".encode()), ("null", b"\xc0"),
            ('{"a":1,"a":2}', b"\x82\xa1a\x01\xa1a\x02"), ("[true,false,[]]", b"\x93\xc3\xc2\x90")):
        p.send(frame(TEXT, '{"type":7,"topic":"x","message":%s}' % text))
        assert bare(a.read()) == (TEXT, ('{"type":2,"topic":"x","message":%s}' % text).encode())
        assert bare(m.read()) == (BINARY, b"\x93\x02\xa1x" + octets), text
    for octets, text in (
            (b"\x01", "1"), (b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1"), (b"\xca\x3f\x80\0\0", "1.0"),
            (b"\xcb\x44\xb5\x2d\x02\xc7\xe1\x4a\xf6", "1e+23"), (b"\xa3a\"\n", '"a\\"\\n"'),
            (b"\xcb" + struct.pack("!d", 2.0 ** -44), "5.684341886080802e-14"),
            (b"\xcb" + struct.pack("!d", 5e-324), "5e-324"),
            (b"\x82\xa1a\x01\xa1b\x92\xc0\xc3", '{"a":1,"b":[null,true]}')):
        m.send(frame(BINARY, b"\x94\x07\xc0\xa1x" + octets))
        assert bare(a.read()) == (TEXT, ('{"type":2,"topic":"x","message":%s}' % text).encode()), text
        assert bare(m.read()) == (BINARY, b"\x93\x02\xa1x" + octets)
    m.send(frame(BINARY, b"\x94\x07\xc0\xa1x\xc4\x03abc"))
    assert bare(a.read()) == (TEXT, b'{"type":2,"topic":"x","data":"YWJj"}') and m.read()
    p.send(frame(TEXT, '{"type":7,"topic":"x","data":"YW\\u004aj"}'))
    assert bare(a.read()) == (TEXT, b'{"type":2,"topic":"x","data":"YWJj"}')
    assert bare(m.read()) == (BINARY, b"\x93\x02\xa1x\xc4\x03abc")
    m.send(frame(BINARY, b"\x93\x07\xc0\xa1x"))
    assert a.read_json()["message"] is None and m.read()
    for octets in (b"\xd4\x01\0", b"\x91\xc4\x01a", b"\x81\x01\x01", b"\xcb\x7f\xf0" + b"\0" * 6,
                   b"\xa1\xff", b"\x91" * 24 + b"\x90", b"\x91" * 1100 + b"\x90"):
        got = ask_packed(m, b"\x94\x07\x05\xa1x" + octets)
        assert got[:6] == b"\x94\x09\x05\xcd\x01\xa6", (octets[:10], got)
    for octets in b"\xc1", b"\x94\x07\x05\xa1x\xdd\xff\xff\xff\xff", b"\x95\x07\x05\xa1x\xd4\x01\0\xc1":
        got = ask_packed(m, octets)
        assert got[1] == 9 and b"\xcd\x01\x90" in got[:8], (octets, got)
    assert ask_packed(m, b"\x93\x63\xa1a\x01")[:6] == b"\x94\x09\xc0\xcd\x01\x94", "404 without an id"
    assert ask_packed(m, b"\x93\x06\xcb\x40\x14" + b"\0" * 6 + b"\xa1q")[:3] == b"\x93\x08\x05"


@test
def plain_mode_takes_what_tutorials_send(broker):
    a = Peer(broker.port)
    a.send(frame(TEXT, '{"type":1,"id":7}'))
    assert a.read() == (TEXT, b'{"type":1,"id":7}')
    a.send(frame(TEXT, "ping"))
    time.sleep(1.1)
    a.send(frame(TEXT, '{"type":1}') + frame(TEXT, "ping"))
    assert a.read() == (TEXT, b'{"type":1}')
    for text, message in (("Hi", "Hi"), ('{"type":2,"message":"m"}', "m"), ("[1]", [1]), ("5", 5),
                          ('{"type":2,"id":"u1","message":1,"offset":"x","filter":{}}', 1),
                          ('{"a":1}', {"a": 1}), ('{"type":2}', {"type": 2}), ('"q"', "q"),
                          ('{"type":2,"data":null}', {"type": 2, "data": None}),
                          ('{"type":7,"topic":null,"message":1}', {"type": 7, "topic": None, "message": 1}),
                          ('{"t\\u0079pe":2,"message":"escaped"}', "escaped"),
                          ('{"type":2,"message":null}', None), ("{", "{"), ("NaN", "NaN"), ('{"a":-Infinity}', '{"a":-Infinity}'), ("\ufeff[1]", [1]),
                          ('{"type":2.0,"message":"m"}', "m"), ('{"type":"pong"}', {"type": "pong"}),
                          ('{"token":"t","message":1}', {"token": "t", "message": 1})):
        a.send(frame(TEXT, text))
        assert a.read_json() == {"type": 2, "topic": "lobby", "message": message}, text
    a.send(frame(BINARY, b"\0\xff"))
    assert a.read_json() == {"type": 2, "topic": "lobby", "data": "AP8="}
    a.send(frame(TEXT, '{"type":5,"id":1,"topic":"other"}'))
    assert a.read_json() == {"type": 8, "id": 1, "topic": "other"}
    a.send(frame(TEXT, '{"type":2,"topic":"other","message":1}'))
    assert a.read_json() == {"type": 2, "topic": "other", "message": 1}
    assert raw(a, "[" * 1500)["code"] == 422
    a.send(frame(TEXT, '{"type":6,"id":2,"topic":"lobby"}'))
    assert a.read_json() == {"type": 8, "id": 2, "topic": "lobby"}
    watcher = Peer(broker.port)
    a.send(frame(TEXT, "still to the lobby"))
    assert watcher.read_json()["message"] == "still to the lobby"
    assert a.read(timeout=0.2) is None
    f = Peer(broker.port, path="/ws?topic=room%2F%2B&topic=x")
    assert raw(f, "x")["code"] == 422
    for path in "/ws?topic=", "/ws?topic=a//b", "/ws?topic=%zz":
        assert Peer(broker.port, path=path).status == 400
    for path, topic in ("living+room", "living room"), ("a%2F+%2Fb", "a/+/b"), ("a+/%2B/+", "a /+/+"), ("+", "+"), ("%2b/c+d", "+/c d"):
        b = Peer(broker.port, path="/?topic=" + path)
        a.ask({"type": 7, "id": 1, "topic": topic.replace("+", "x"), "message": topic})
        assert b.read_json()["message"] == topic, path
    for path in "living%2Broom", "a%7f", "a+%7f", "a%01b":
        assert Peer(broker.port, path="/?topic=" + path).status == 400, path


@test
def plain_keepalives_and_tokens_are_never_published(_):
    with Broker("--plain-heartbeat", "0") as broker:
        play_plain_keepalives(broker)


def play_plain_keepalives(broker):
    a, watcher = Peer(broker.port), typed(broker.port)
    watcher.ask({"type": 5, "id": 1, "topic": "lobby"})
    for octets in frame(TEXT, ""), frame(TEXT, " \r\n\t"), frame(TEXT, "ping"), frame(BINARY, b""), frame(TEXT, '{"type":1.0}'):
        a.send(octets)
        assert a.read() == (TEXT, b'{"type":1}'), octets
        time.sleep(1.05)  # who echoes heartbeats does not loop: one answer a second
    for text in '{"type":"ping"}', '{"n":1,"type":"p\\u0069ng"}':
        a.send(frame(TEXT, text))
        assert a.read() == (TEXT, b'{"type":"pong"}'), text
        time.sleep(1.05)
    for text in ('{"token":"secret"}', '{"type":3,"token":"secret"}', '{"type":"auth","token":"secret"}', '{"type":99,"token":"secret","a":1}',
                 '{"type":2,"token":"secret"}'):
        a.send(frame(TEXT, text))
    a.send(frame(TEXT, "the end"))
    assert watcher.read_json()["message"] == "the end"
    assert "secret" not in broker.log()


@test
def a_close_is_given_back_with_its_reason(broker):
    for protocol in None, "fanfare.v1.json", "fanfare.v1.msgpack":
        for payload in b"", b"\x03\xe8", b"\x0b\xb8bye", b"\x0f\xa0" + "é".encode() * 61, b"\x03\xe8a\0b":
            a = Peer(broker.port, protocol=protocol)
            a.send(frame(CLOSE, payload))
            while (event := a.read())[0] != CLOSE:
                pass
            assert event[1] == payload, (event, payload)


@test
def fields_that_are_null_are_missing(broker):
    """In plain mode, too, whatever else is there: {"type":null} once ended the broker."""
    values = "null", "1", '"x"', "{}", "[]", "true", "1e999", "NaN"
    for name in "type", "id", "topic", "message", "data", "token", "since", "overflow", "rate", "buffered":
        for more in "", '"type":1,', '"type":2,"message":1,', '"type":5,"topic":"a",', '"type":7,"topic":"a","message":1,', '"type":"ping",', '"type":3,"token":"t",':
            a = Peer(broker.port)
            for value in values:
                a.send(frame(TEXT, "{%s\"%s\":%s}" % (more, name, value)) + frame(TEXT, '{"%s":%s}' % (name, value)))
            a.send(frame(TEXT, '{"type":5,"id":77,"topic":"still here"}'))
            while a.read_json().get("id") != 77:
                pass
            a.close()


@test
def names_and_values_with_faults_end_nothing(broker):
    """Escapes that a scanner finds fault with stand in keys, values and envelopes of every door."""
    faulty = [r"\ud800abcde\\x", r"\ud800", r"\ud83d\ud83d", r"\udc00", r"\ud800\u0041", r"\ud800\n" * 3]
    shapes = ['{"%s":1}', '{"a":"%s"}', '{"type":2,"%s":1}', '{"type":2,"message":"%s"}', '{"type":2,"data":"%s"}',
              '{"type":7,"topic":"%s","message":1}', '{"type":5,"topic":"%s"}', '{"type":3,"token":"%s"}', '{"%s":{"%s":1}}',
              '["%s"]', '"%s"', '{"type":"%s"}', '{"type":1,"id":"%s"}', '{"id":1,"%s":{"type":1}}']
    plain, both = Peer(broker.port, path="/?topic=faults"), typed(broker.port)
    for text in faulty:
        for shape in shapes:
            plain.send(frame(TEXT, shape.replace("%s", text)))
            plain.send(frame(TEXT, '{"type":1,"id":7}'))
            while plain.read_json() != {"type": 1, "id": 7}:
                pass
        for type in 3, 5, 6, 7, 11, 12:
            got = both.ask({"type": 1, "id": 1})
            both.send(frame(TEXT, '[{"type":1,"id":2},{"type":%d,"%s":1,"topic":"a","message":{"%s":"%s"}}]' % (type, text, text, text)))
            assert got["type"] == 1
            while both.read_json().get("id") != 2:
                pass
    plain.send(frame(TEXT, '"still here"'))
    while plain.read_json().get("message") != "still here":
        pass


@test
def pings_are_answered_and_floods_closed(broker):
    a = typed(broker.port)
    a.send(frame(PING, "x"))
    assert a.read() == (PONG, b"x")
    a.send(frame(PING) * 300)
    code, reason = a.read_close()
    assert code == 4029 and "pings_per_second" in reason


@test
def one_long_batch_does_not_overrun_who_reads(broker):
    a = typed(broker.port)
    topic = "t" * 255
    for i in range(3):
        batch = [{"type": 6, "id": k, "topic": topic[:20]} for k in range(1000)]
        a.send_json(batch)
        assert [a.read_json()["id"] for _ in range(1000)] == list(range(1000))


@test
def who_asks_without_reading_is_read_no_more(broker):
    a = typed(broker.port)
    a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    asked = 30000
    questions = b"".join(
        frame(TEXT, json.dumps([{"type": 6, "id": k, "topic": "t" * 200} for k in range(i, i + 200)]).encode())
        for i in range(0, asked, 200))
    a.sock.settimeout(1)  # a broker that is late is asked less, and all the same answers all
    sent = 0
    try:
        while sent < len(questions):
            sent += a.sock.send(questions[sent:sent + (1 << 16)])
    except TimeoutError:
        pass
    assert sent < len(questions), "the socket's buffers took it all?"
    rest = threading.Thread(target=lambda: (a.sock.settimeout(DEADLINE), a.sock.sendall(questions[sent:])))
    rest.start()
    for k in range(asked):
        got = a.read_json()
        assert got["id"] == k and got["type"] in (8, 9), "all are answered, in order"
    rest.join()


def a_batch_owed_more_than_the_outbox():
    with Broker("--max-message", "1M") as broker:
        a = typed(broker.port)
        a.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        b = typed(broker.port)
        assert a.ask({"type": 5, "id": 1, "topic": "fill"})["type"] == 8
        for i in range(40):  # deliveries fill the socket; they are no part of the outbox
            b.ask({"type": 7, "id": i, "topic": "fill", "message": "x" * 500000})
        a.send_json([{"type": 6, "id": i, "topic": "t" * 255} for i in range(1024)])  # answered with 300 KiB
        a.send_json({"type": 1, "id": 1024})
        answers = []
        while len(answers) < 1025:  # it stops in the midst of the batch, and goes on when they are read
            m = a.read_json()
            answers += [m["id"]] if m["type"] in (1, 8) else []
        assert answers == list(range(1025)), answers[:10]


def limits():
    with Broker("--max-subscriptions", "3", "--max-subscribed-filters", "1", "--max-topics", "4",
                "--max-connections", "3", "--messages-per-second", "50") as broker:
        a = typed(broker.port)
        for topic in "1", "2":
            assert a.ask({"type": 5, "id": 1, "topic": topic})["type"] == 8
        assert a.ask({"type": 5, "id": 1, "topic": "#"})["type"] == 8
        got = a.ask({"type": 5, "id": 1, "topic": "3"})
        assert got["code"] == 429 and "max_subscriptions" in got["reason"] and "3" in got["reason"]
        a.ask({"type": 6, "id": 1, "topic": "1"})
        got = a.ask({"type": 5, "id": 1, "topic": "+"})
        assert got["code"] == 429 and "max_subscribed_filters" in got["reason"]
        b = typed(broker.port)
        for topic in "4", "5", "6":
            assert b.ask({"type": 5, "id": 1, "topic": topic})["type"] == 8
        got = a.ask({"type": 5, "id": 1, "topic": "7"})
        assert got["code"] == 429 and "max_topics" in got["reason"], got
        c = typed(broker.port)
        d = Peer(broker.port, protocol="fanfare.v1.json")
        assert d.status == 101, "told after the handshake"
        code, reason = d.read_close()
        assert code == 1013 and "max_connections is 3" in reason
        for i in range(120):  # what is over the rate waits unread; nothing is lost
            c.send_json({"type": 6, "id": i, "topic": "x"})
        assert [c.read_json()["id"] for _ in range(120)] == list(range(120))


def a_limit_holds_beyond_sixteen_bits():
    limit, frames = 70000, 500
    with Broker("--max-subscriptions", str(limit)) as broker:
        a = typed(broker.port)
        taken = refused = 0
        for first in range(0, limit + frames, frames):
            a.send_json([{"type": 5, "id": i, "topic": "t/%d" % i} for i in range(first, first + frames)])
            for i in range(first, first + frames):
                got = a.read_json()
                taken += got["type"] == 8
                refused += got.get("code") == 429
                assert taken + refused == i + 1, got
        assert (taken, refused) == (limit, frames), (taken, refused)


def descriptors_run_out():
    """More clients than descriptors: who is there goes on, the others are told or wait."""
    with Broker(prefix=["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]) as broker:
        good = [typed(broker.port) for _ in range(136)]
        late = [Peer(broker.port, upgrade=False) for _ in range(100)]
        time.sleep(0.3)
        good[0].ask({"type": 5, "id": 1, "topic": "t"})
        assert good[1].ask({"type": 7, "id": 1, "topic": "t", "message": 1})["receivers"] == 1
        assert good[0].read_json()["message"] == 1
        refused = Peer(broker.port, upgrade=False)  # waits behind the others
        for peer in late + good[2:]:
            peer.close()
        refused.upgrade("/ws", "fanfare.v1.json", (), "localhost")
        assert refused.status == 101 and refused.read_json()["type"] == 4
        refused.close()


def heartbeats():
    with Broker("--heartbeat", "5") as broker:
        a = typed(broker.port)
        events = [a.read() for _ in range(2)]
        assert sorted(events) == [(TEXT, b'{"type":1}'), (PING, b"")], events
        assert a.read_close()[0] == 4009, "no answer in 2.5 intervals"


def goodbye_beside_one_who_does_not_read():
    broker = Broker("--max-message", "1M", "--drain-seconds", "600")
    stalled, p = typed(broker.port), typed(broker.port)
    stalled.ask({"type": 5, "id": 1, "topic": "g"})
    for i in range(20):
        p.ask({"type": 7, "id": i, "topic": "g", "message": "x" * 500000})
    peers = [typed(broker.port) for _ in range(300)]
    broker.process.terminate()
    for peer in peers:
        assert peer.read_json()["type"] == 13 and peer.read_close()[0] == 1012
    stalled.send_json({"type": 1, "id": 77})  # it is open still: nobody waited for it
    assert stalled.ask({"type": 1, "id": 78})["id"] == 78 and {"type": 1, "id": 77} in [
        {k: m[k] for k in ("type", "id") if k in m} for m in stalled.seen]
    assert stalled.read_close()[0] == 1012
    for peer in (stalled, p, *peers):
        peer.close()
    broker.stop()


def goodbye_says_why():
    for number, reason in ((signal.SIGTERM, "the broker is stopping"), (signal.SIGINT, "the broker is stopping"),
                           (signal.SIGUSR2, "the broker is restarting")):
        broker = Broker("--workers", "3")
        peers = [typed(broker.port) for _ in range(6)]
        broker.process.send_signal(number)
        for peer in peers:
            assert peer.read_json()["reason"] == reason
            assert peer.read_close() == (1012, reason)
            peer.close()
        broker.process.wait(DEADLINE)
        draining = [line for line in broker.log().splitlines() if " draining " in line]
        assert len(draining) == 1 and "connections=6" in draining[0] and reason in draining[0], draining
        broker.stop()


def goodbye():
    broker = Broker()
    a, b = typed(broker.port), Peer(broker.port)
    m = packed(broker.port)
    half = Peer(broker.port, upgrade=False)
    broker.process.terminate()
    got = a.read_json()
    assert got["type"] == 13 and 0 <= got["retry"] < 1000 and got["within"] == 5000, got
    assert a.read_close()[0] == 1012
    assert b.read_json()["type"] == 13 and b.read_close()[0] == 1012
    assert m.read()[1][:2] == b"\x94\x0d" and m.read_close()[0] == 1012
    for peer in a, b, m, half:
        peer.close()
    broker.stop()


with Broker() as broker:
    for run in tests:
        run(broker)
        print("ok", run.__name__, flush=True)
for run in a_batch_owed_more_than_the_outbox, limits, a_limit_holds_beyond_sixteen_bits, descriptors_run_out, heartbeats, goodbye_beside_one_who_does_not_read, goodbye_says_why, goodbye:
    run()
    print("ok", run.__name__, flush=True)
