# SPDX-License-Identifier: Apache-2.0
"""Who is there: members of a topic, as their clients see each other come and go."""
import os
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, TEXT, Broker, Peer, frame, typed  # noqa: E402

RULES = 'topic "room/#" { presence = on  history = 0 }\ntopic "chat/#" { presence = on }\ntopic "$SYS/#" { presence = on }\n'
tests = []


def test(function):
    tests.append(function)
    return function


class Rooms(Broker):
    """A broker with rooms."""

    def __init__(self, *args):
        self.config = tempfile.NamedTemporaryFile("w", suffix=".conf")
        self.config.write(RULES)
        self.config.flush()
        super().__init__("--config", self.config.name, *args)


def client(port, user=None):
    peer = typed(port)
    peer.id = peer.welcome["session"]
    if user:
        assert peer.ask({"type": 3, "id": 1, "user": user})["type"] == 4
    peer.me = {"session": peer.id, **({"user": user} if user else {})}
    return peer


def enter(peer, topic, presence=True, **more):
    answer = peer.ask({"type": 5, "id": 2, "topic": topic, **({"presence": True} if presence else {}), **more})
    assert answer["type"] == 8, answer
    return answer


def news(peer):
    """The next PRESENCE."""
    while (m := peer.read_json())["type"] != 11:
        pass
    return m


def sessions(members):
    return sorted(one["session"] for one in members)


def who(peer, topic, i=9):
    answer = peer.ask({"type": 11, "id": i, "topic": topic})
    assert list(answer) == ["type", "id", "topic", "members", "count"] and answer["topic"] == topic, answer
    return answer


class View:
    """What a client knows that believes only what it was answered, and told since."""

    def __init__(self, peer, topic):
        answer = enter(peer, topic)
        self.peer, self.members, self.count = peer, set(sessions(answer["members"])), answer["count"]
        assert self.count == len(self.members) and peer.id in self.members, answer
        assert not [m for m in peer.seen if m["type"] == 11], peer.seen

    def take(self, m):
        for one in sessions(m["left"]):
            assert one in self.members, "%s left, who was not there" % one
            self.members.remove(one)
        for one in sessions(m["joined"]):
            assert one not in self.members, "%s came, who was there" % one
            self.members.add(one)
        self.count = m["count"]

    def wait(self, members):
        while self.members != set(members):
            self.take(news(self.peer))
        assert self.count == len(self.members)


@test
def members_are_answered_and_told():
    """Nine rooms, so that every worker owns some and not others."""
    with Rooms() as broker:
        for i in range(9):
            topic = "room/%d" % i
            a, b = client(broker.port, "anna"), client(broker.port, "bert")
            first = enter(a, topic)
            assert list(first) == ["type", "id", "topic", "members", "count"], first
            assert first["members"] == [a.me] and first["count"] == 1, first
            second = enter(b, topic)
            assert second["members"][0] == b.me and sessions(second["members"]) == sorted([a.id, b.id]), second
            assert news(a) == {"type": 11, "topic": topic, "joined": [b.me], "left": [], "count": 2}
            assert sessions(who(a, topic)["members"]) == sorted([a.id, b.id])
            b.ask({"type": 6, "id": 3, "topic": topic})
            assert not [m for m in b.seen if m["type"] == 11], "of itself it hears nothing"
            assert news(a) == {"type": 11, "topic": topic, "joined": [], "left": [b.me], "count": 1}
            a.close()
            b.close()


@test
def the_past_and_who_is_there_are_answered_together():
    with Rooms() as broker:
        for i in range(3):
            a, b = client(broker.port), client(broker.port)
            a.with_positions = b.with_positions = True
            topic = "chat/%d" % i
            first = enter(a, topic)
            assert list(first) == ["type", "id", "topic", "epoch", "offset", "members", "count"], first
            for n in range(3):
                b.ask({"type": 7, "id": n, "topic": topic, "message": n})
            answer = enter(b, topic, since={"epoch": first["epoch"], "offset": first["offset"] + 1})
            assert answer["recovered"] is True and answer["offset"] == first["offset"] + 1 and answer["count"] == 2, answer
            assert [b.read_json()["message"] for _ in range(2)] == [1, 2]
            assert news(a)["joined"] == [b.me]
            assert list(enter(a, topic)) == ["type", "id", "topic", "members", "count"]  # a change has no position
            a.close()
            b.close()


@test
def everybody_on_the_name_is_a_member_and_nobody_else():
    with Rooms() as broker:
        a = client(broker.port)
        view = View(a, "room/1")
        silent, filtered, elsewhere, asks = (client(broker.port) for _ in range(4))
        enter(silent, "room/1", presence=False)
        enter(filtered, "room/#", presence=False)
        enter(elsewhere, "room/2", presence=False)
        assert who(asks, "room/1")["count"] in (1, 2)
        view.wait([a.id, silent.id])
        plain = Peer(broker.port, path="/ws?topic=room/1")
        view.take(news(a))
        assert view.count == 3
        plain.send(frame(TEXT, '{"type":11,"id":7,"topic":"room/1"}'))
        assert plain.read_json()["count"] == 3
        packed = Peer(broker.port, protocol="fanfare.v1.msgpack")
        packed.read()
        packed.send(frame(BINARY, b"\x97\x05\x01\xa6room/1\xc0\xc0\xc0\xc3"))
        opcode, got = packed.read()
        assert got.startswith(b"\x9d\x08\x01\xa6room/1" + b"\xc0" * 6 + b"\x94\x82"[:1]) and got.endswith(b"\xc0\xc0\x04"), got
        assert got.count(b"\xa7session\xb0") == 4
        view.take(news(a))
        silent.close()
        opcode, got = packed.read()
        assert got == b"\x96\x0b\xc0\xa6room/1\x90\x91\x81\xa7session\xb0" + silent.id.encode() + b"\x03", got
        packed.send(frame(BINARY, b"\x93\x0b\x05\xa6room/2"))
        assert packed.read()[1].count(b"\xa7session\xb0") == 1
        for peer in a, filtered, elsewhere, asks, plain, packed:
            peer.close()


@test
def where_presence_is_off_that_is_said():
    with Rooms("--sys") as broker:
        a = client(broker.port)
        for topic in "lobby", "rooms/1", "$SYS/broker":
            for request in {"type": 5, "presence": True}, {"type": 11}:
                got = a.ask({**request, "id": 1, "topic": topic})
                assert got["code"] == 403 and "presence = on" in got["reason"], got
        assert a.ask({"type": 5, "id": 1, "topic": "room/#", "presence": True})["code"] == 422
        assert a.ask({"type": 5, "id": 1, "topic": "room/#", "presence": True, "rate": -1})["code"] == 422
        assert a.ask({"type": 11, "id": 1, "topic": "room/+"})["code"] == 422
        assert a.ask({"type": 11, "id": 1, "topic": "room//1"})["code"] == 422
        assert a.ask({"type": 11, "id": 1})["code"] == 400
        assert a.ask({"type": 5, "id": 1, "topic": "lobby", "presence": False})["type"] == 8
        long = "room/" + "x" * 250
        assert a.ask({"type": 5, "id": 1, "topic": long, "presence": True})["code"] == 422
        enter(a, long[:-2])
        enter(a, long, presence=False)
        a.send_json({"type": 11, "topic": "room/1"})  # without an id only errors are answered
        a.send_json({"type": 11, "topic": "lobby"})
        got = a.read_json()
        assert got["code"] == 403 and "id" not in got, got
        for user in "x" * 65, 7:
            assert a.ask({"type": 3, "id": 2, "user": user})["code"] == 400
        got = a.ask({"type": 3, "id": 2, "user": "late"})
        assert got["code"] == 403 and "first SUBSCRIBE" in got["reason"], got


@test
def news_begin_and_end_when_it_is_asked_for():
    with Rooms() as broker:
        a, b = client(broker.port), client(broker.port)
        answer = enter(a, "room/1", presence=False)
        assert list(answer) == ["type", "id", "topic"], answer
        assert sessions(enter(a, "room/1")["members"]) == [a.id]  # of what is subscribed
        view = View(a, "room/1")  # and once more
        enter(b, "room/1", rate=0)
        view.wait([a.id, b.id])
        answer = a.ask({"type": 5, "id": 4, "topic": "room/1", "presence": False})
        assert list(answer) == ["type", "id", "topic"], answer
        c = client(broker.port)
        hearer = View(b, "room/1")
        enter(c, "room/1")
        hearer.wait([a.id, b.id, c.id])
        assert who(a, "room/1")["count"] == 3
        assert not [m for m in a.seen if m["type"] == 11], a.seen
        enter(a, "room/1")
        c.close()
        assert news(a)["left"] == [c.me]


@test
def who_comes_back_within_two_seconds_has_not_left():
    with Rooms() as broker:
        watcher = client(broker.port)
        view = View(watcher, "room/1")
        first = client(broker.port, "anna")
        enter(first, "room/1")
        view.wait([watcher.id, first.id])
        for again in range(3):
            open_ones = broker.descriptors()
            first.reset() if again else first.close()
            while broker.descriptors() >= open_ones:  # else the new one may be there before the old one is missed
                time.sleep(0.001)
            back = client(broker.port, "anna")
            answer = enter(back, "room/1")
            assert answer["count"] == 2 and answer["members"][0]["user"] == "anna", answer
            first, known = back, answer["members"][0]["session"]
        other = client(broker.port)
        enter(other, "room/1")
        m = news(watcher)  # the first that is told since
        assert m["joined"] == [other.me] and m["left"] == [] and m["count"] == 3, m
        view.take(m)
        for _ in range(5):  # the same session to and fro
            other.ask({"type": 6, "id": 5, "topic": "room/1"})
            enter(other, "room/1")
        first.close()
        m = news(watcher)
        assert m["left"] == [{"session": known, "user": "anna"}] and m["joined"] == [], m
        view.take(m)
        assert view.members == {watcher.id, other.id}


@test
def a_crowd_comes_and_dies_at_once():
    with Rooms() as broker:
        watchers = [client(broker.port) for _ in range(3)]
        views = [View(watcher, "room/crowd") for watcher in watchers]
        for _ in range(2):
            crowd = [client(broker.port) for _ in range(150)]
            for i, peer in enumerate(crowd):
                peer.send_json({"type": 5, "id": 1, "topic": "room/crowd", "presence": i % 2 == 0})
            everybody = [one.id for one in crowd + watchers]
            for view in views:
                view.wait(everybody)
            for peer in crowd:
                peer.reset()
            for view in views:
                view.wait([one.id for one in watchers])


@test
def above_a_thousand_only_the_number_is_told():
    with Rooms("--sys") as broker:
        watcher = client(broker.port)
        view = View(watcher, "room/large")
        crowd = [Peer(broker.port, path="/ws?topic=room/large") for _ in range(1100)]
        while "joined" in (m := news(watcher)):
            view.take(m)
            assert m["count"] <= 1000
        while m["count"] < 1101:
            m = news(watcher)
            assert list(m) == ["type", "topic", "count"], m
        answer = who(watcher, "room/large")
        assert answer["count"] == 1101 and len(answer["members"]) == 1000
        late = client(broker.port)
        answer = enter(late, "room/large")
        assert answer["count"] == 1102 and answer["members"][0] == late.me and len(answer["members"]) == 1000
        sys_reader = client(broker.port)
        sys_reader.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
        while sys_reader.read_json()["message"]["members"] != 1102:
            pass
        for peer in crowd[:300]:
            peer.close()
        while (m := news(watcher))["count"] != 802:
            assert "joined" not in m, m
        while "joined" in m:
            m = news(watcher)
        answer = who(watcher, "room/large")  # as a client does that was told a number
        assert len(answer["members"]) == answer["count"] == 802
        late.ask({"type": 6, "id": 7, "topic": "room/large"})
        while (m := news(watcher)).get("left") != [late.me]:
            assert m.get("count") == 802, m
        for peer in crowd:
            peer.close()


@test
def who_asks_much_and_reads_late_waits_and_is_answered_all():
    """A list is a large answer: one at a time is owed, in a batch, in frames of their own and in SUBSCRIBEs."""
    with Rooms("--outbox", "128K") as broker:
        crowd = [Peer(broker.port, path="/ws?topic=room/%d" % (i % 2)) for i in range(600)]
        asks, late = client(broker.port), Peer(broker.port, path="/ws?topic=room/0")
        while not all(who(asks, "room/%d" % i)["count"] >= 300 for i in range(2)):
            pass
        before = broker.rss()
        asks.send_json([{"type": 11, "id": i, "topic": "room/%d" % (i % 2)} for i in range(400)])
        for i in range(400, 600):
            asks.send_json({"type": 11, "id": i, "topic": "room/%d" % (i % 2)})
        asks.send_json([{"type": 5, "id": 600 + i, "topic": "room/%d" % i, "presence": True} for i in range(2)])
        asks.send_json({"type": 1, "id": 602})
        others = client(broker.port)
        assert who(others, "room/0")["count"] == 301  # nobody waits for it
        assert broker.rss() - before < 8 << 20, broker.rss() - before
        got = {}
        while len(got) < 603:
            m = asks.read_json()
            if m["type"] == 11:
                continue
            assert m["id"] not in got
            got[m["id"]] = m
        assert all(len(got[i]["members"]) == got[i]["count"] >= 300 for i in range(602))
        assert [i for i in got if i < 600 and i % 2] == list(range(1, 600, 2)), "in order about one topic"
        asks.send_json([{"type": 11, "id": i, "topic": "room/0"} for i in range(400)])
        asks.reset()  # in the midst of it
        for peer in crowd:
            peer.close()
        late.close()


@test
def a_reload_concerns_subscriptions_that_begin_then():
    with Rooms() as broker:
        a, b = client(broker.port), client(broker.port)
        enter(a, "room/1")
        enter(b, "lobby", presence=False)
        broker.config.seek(0)
        broker.config.truncate()
        broker.config.write('topic "lobby" { presence = on }\n')
        broker.config.flush()
        broker.process.send_signal(signal.SIGHUP)
        for peer in a, b:  # their workers take it one after the other
            while peer.ask({"type": 11, "id": 5, "topic": "lobby"})["type"] != 8:
                pass
        assert who(a, "lobby")["count"] == 0  # b was there before
        got = b.ask({"type": 5, "id": 6, "topic": "lobby", "presence": True})
        assert got["code"] == 403 and "unsubscribe first" in got["reason"], got
        b.ask({"type": 6, "id": 7, "topic": "lobby"})
        assert enter(b, "lobby")["members"] == [b.me]
        assert a.ask({"type": 11, "id": 8, "topic": "room/1"})["code"] == 403
        a.ask({"type": 6, "id": 9, "topic": "room/1"})
        got = enter(a, "lobby")
        assert sessions(got["members"]) == sorted([a.id, b.id])


@test
def whatever_happens_all_agree_on_who_is_there():
    dice = random.Random(20)
    with Rooms() as broker:
        views = {}
        for turn in range(150):
            if len(views) < 4 or dice.random() < 0.6:
                peer = client(broker.port, dice.choice([None, "user%d" % turn]))
                views[peer.id] = View(peer, "room/all")
            else:
                peer = views.pop(dice.choice(list(views))).peer
                dice.choice([peer.close, peer.reset, lambda: peer.ask({"type": 6, "id": 1, "topic": "room/all"})])()
        for view in views.values():
            view.wait(views)
        for view in views.values():
            assert sessions(who(view.peer, "room/all")["members"]) == sorted(views)


for function in tests:
    function()
    print("ok", function.__name__, flush=True)
