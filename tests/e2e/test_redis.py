# SPDX-License-Identifier: Apache-2.0
"""Many nodes as one by a real Redis: order, recovery, filters and keys across nodes, and what becomes of
them when links, Redis or its memory are lost (docs/cluster.md).
"""
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BIN, DEADLINE, TEXT, Broker, Gone, frame, typed  # noqa: E402
from redis_server import Redis, free_port, free_ports  # noqa: E402

WORKERS = os.environ.get("FANFARE_WORKERS", "1")
tests = []


def test(function):
    tests.append(function)
    return function


def client_of(broker):
    client = typed(broker.port)
    client.seen = []
    return client


def node(redis, *args):
    return Broker("--engine", "redis", "--redis", redis.url, "--workers", WORKERS, *args,
                  env={"FANFARE_ENGINE": "redis", "FANFARE_REDIS_PREFIX": "fanfare:"})


def rules(text):
    """A configuration with this in it, gone when the test ends."""
    path = "/tmp/fanfare-redis-%d-%d.conf" % (os.getpid(), len(text))
    with open(path, "w") as f:
        f.write(text)
    atexit.register(lambda: os.path.exists(path) and os.unlink(path))
    return path


def publish(client, topic, message, **more):
    """The answer as it came, with its position."""
    client.send_json({"type": 7, "id": 70, "topic": topic, "message": message, **more})
    while True:
        answer = json.loads(client.read()[1])
        if answer.get("id") == 70:
            return answer
        client.seen.append(answer)


def publish_until_taken(client, topic, message, key):
    """As a client does that is told to come back: the same key, until there is an ACK."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = publish(client, topic, message, key=key)
        if answer["type"] == 8:
            return answer
        assert answer["code"] in (408, 503) and answer["retry"] is True, answer
        assert time.monotonic() < end, answer
        time.sleep(0.05)


def subscribe(client, topic, **more):
    client.send_json({"type": 5, "id": 50, "topic": topic, **more})
    while True:
        answer = json.loads(client.read()[1])
        if answer.get("id") == 50:
            return answer
        client.seen.append(answer)


def until(client, topic, last):
    """What comes of a topic up to this message: messages as values, GAPs as they are."""
    got, at = [], 0
    while True:
        if at == len(client.seen):
            client.seen.append(json.loads(client.read()[1]))
        m = client.seen[at]
        if m.get("topic") != topic or m["type"] not in (2, 10):
            at += 1
            continue
        client.seen.pop(at)
        got.append(m["message"] if m["type"] == 2 else m)
        if m["type"] == 2 and m["message"] == last:
            return got


@test
def two_nodes_are_one():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        a, b = client_of(one), client_of(two)
        first = subscribe(b, "room/1")
        assert first["offset"] == 0 and subscribe(a, "room/1")["epoch"] == first["epoch"]
        for n in range(1, 51):
            ack = publish(a if n % 2 else b, "room/1", n)
            assert (ack["epoch"], ack["offset"], ack["stored"]) == (first["epoch"], n, "redis"), ack
        for client in a, b:
            assert until(client, "room/1", 50) == list(range(1, 51))
        # A third one that comes later, by a position and by a list, has all of it.
        c = client_of(two)
        ack = subscribe(c, "room/1", since={"epoch": first["epoch"], "offset": 20})
        assert ack["recovered"] and until(c, "room/1", 50) == list(range(21, 51))
        c.send_json({"type": 12, "id": 1, "topic": "room/1", "limit": 1000})
        listed = json.loads(c.read()[1])
        assert [m["message"] for m in listed["messages"]] == list(range(1, 51))


@test
def a_key_is_done_once_whatever_node_is_asked():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        a, b = client_of(one), client_of(two)
        first = publish(a, "orders", "pay", key="k")
        again = publish(b, "orders", "pay", key="k")
        assert again["duplicate"] and again["offset"] == first["offset"] == 1, (first, again)
        assert publish(b, "orders", "pay twice", key="k")["code"] == 422
        assert publish(b, "orders", "next")["offset"] == 2


@test
def who_was_told_of_a_message_finds_it_at_every_node():
    """What Redis publishes comes later than its answers: neither an ACK nor a position may be ahead of a log."""
    with Redis() as redis, node(redis) as one, node(redis) as two:
        a, watcher = client_of(one), client_of(two)
        epoch = subscribe(watcher, "room")["epoch"]
        for n in range(1, 201):
            ack = publish(a, "room", n)
            if n % 2:
                a.send_json({"type": 12, "id": 1, "topic": "room", "since": 1})
                listed = json.loads(a.read()[1])
                assert [m["message"] for m in listed["messages"]] == [n], (n, listed)
            comer = client_of(two)
            got = subscribe(comer, "room", since={"epoch": epoch, "offset": ack["offset"]})
            assert got["recovered"] is True and got["offset"] == n, (n, got)
            comer.close()


@test
def what_is_retained_is_there_at_every_node():
    config = rules('topic "short/#" { history = 2 }\ntopic "none/#" { history = 0 }\n')
    with Redis() as redis, node(redis, "--config", config, "--max-retained", "3") as one, \
            node(redis, "--config", config, "--max-retained", "3") as two:
        writer, reader = client_of(one), client_of(two)
        for topic in "short/a", "none/a":
            publish(writer, topic, "kept", retain=True)
            for n in range(7):
                publish(writer, topic, n)
        subscribe(reader, "short/a", since={"epoch": "x", "offset": 0})
        assert json.loads(reader.read()[1])["cause"] == "lost"
        late = client_of(two)
        ack = subscribe(late, "short/a", since=10)
        got = until(late, "short/a", 6)
        assert got[0] == "kept" and got[-2:] == [5, 6] and told(got) == ["expired"], (ack, got)
        subscribe(late, "none/a", since=1)
        assert until(late, "none/a", "kept") == ["kept"]
        # Another value reaches who is there, and who comes; null takes it back everywhere.
        publish(writer, "none/a", "newer", retain=True)
        assert until(late, "none/a", "newer") == ["newer"]
        publish(writer, "none/a", None, retain=True)
        publish(writer, "none/a", "end")
        assert until(late, "none/a", "end") == [None, "end"]
        for n in 2, 3: # one is retained
            assert publish(writer, "short/%d" % n, n, retain=True)["type"] == 8
        assert publish(writer, "short/4", 4, retain=True)["code"] == 429
        assert publish(writer, "short/3", None, retain=True)["type"] == 8
        assert publish(writer, "short/4", 4, retain=True)["type"] == 8
        late = client_of(one)
        subscribe(late, "none/a", since=1)
        publish(writer, "none/a", "live")
        assert until(late, "none/a", "live") == ["live"]


@test
def filters_hear_each_message_once():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        a, b = client_of(one), client_of(two)
        subscribe(b, "news/+")
        for n in range(200):
            publish(a, "news/%d" % (n % 3), n)
            if n == 100: # of one of them there is a log of its own now
                subscribe(b, "news/1")
        heard, named = [], []
        while len(heard) < 200:
            m = b.seen.pop(0) if b.seen else json.loads(b.read()[1])
            (heard if m.get("filter") else named).append(m["message"])
        for topic in range(3): # the order is each topic's own
            assert [n for n in heard if n % 3 == topic] == list(range(topic, 200, 3)), heard
        while len(named) < 33:
            named.append(json.loads(b.read()[1])["message"])
        assert named == [n for n in range(101, 200) if n % 3 == 1]


@test
def who_joins_amid_a_flood_loses_and_repeats_nothing():
    """S41: from the offset of his ACK on, every message, once."""
    with Redis() as redis, node(redis) as one, node(redis) as two:
        stop = threading.Event()

        def flood():
            writer, n = client_of(one), 0
            while not stop.is_set():
                batch = range(n, n + 20)
                writer.send_json([{"type": 7, "topic": "flood/%d" % (m % 2), "message": m // 2} for m in batch])
                writer.ask({"type": 7, "id": 1, "topic": "pace", "message": 0})
                n += 20

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for join in range(100):
                client = client_of((one, two)[join % 2])
                topic = "flood/%d" % (join // 2 % 2)
                since = {"since": join % 7} if join % 3 == 0 else {}
                ack = subscribe(client, topic, **since)
                offsets = []
                while len(offsets) < 40:
                    m = client.seen.pop(0) if client.seen else json.loads(client.read()[1])
                    assert m["type"] == 2, m
                    offsets.append(m["offset"])
                begin = offsets[0] if since.get("since") else ack["offset"] + 1
                assert offsets == list(range(begin, begin + 40)), (join, ack, offsets)
                client.close()
        finally:
            stop.set()
            thread.join()


@test
def lost_links_are_healed():
    """Redis drops both kinds of links, again and again: nobody notices but by a retry."""
    with Redis() as redis, node(redis) as one, node(redis) as two:
        readers = [client_of(one), client_of(two)]
        for reader in readers:
            subscribe(reader, "room")
        writer = client_of(one)
        for n in range(1, 301):
            if n % 50 == 0:
                redis.ask("CLIENT", "KILL", "TYPE", "pubsub" if n % 100 else "normal")
            publish_until_taken(writer, "room", n, "k%d" % n)
        for reader in readers:
            assert until(reader, "room", 300) == list(range(1, 301))


def told(gaps):
    return [gap["cause"] for gap in gaps if isinstance(gap, dict)]


@test
def redis_is_killed_and_comes_back_with_what_it_had():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        reader, writer = client_of(two), client_of(one)
        subscribe(reader, "room")
        for n in range(1, 11):
            publish(writer, "room", n)
        redis.kill()
        refused = publish(writer, "room", 11, key="k")
        assert refused["code"] in (408, 503) and refused["retry"] is True, refused
        redis.start()
        ack = publish_until_taken(writer, "room", 11, "k")
        got = until(reader, "room", 11)
        # Nobody knows whether Redis lost something: the epoch is another one, and that is told.
        assert [m for m in got if not isinstance(m, dict)] == list(range(1, 12)), got
        gaps = [m for m in got if isinstance(m, dict)]
        assert [g["cause"] for g in gaps] == ["rollback"] and "from" not in gaps[0], gaps
        assert gaps[0]["epoch"] == ack["epoch"] and gaps[0]["offset"] == ack["offset"], (gaps, ack)


@test
def redis_is_killed_and_comes_back_empty():
    with Redis(is_kept=False) as redis, node(redis) as one, node(redis) as two:
        reader, writer, old = client_of(two), client_of(one), client_of(one)
        epoch = subscribe(reader, "room")["epoch"]
        for n in range(1, 11):
            publish(writer, "room", n)
        assert until(reader, "room", 10) == list(range(1, 11))
        redis.kill()
        redis.start()
        ack = publish_until_taken(writer, "room", 11, "k")
        got = until(reader, "room", 11)
        assert told(got) == ["lost"] and got[-1] == 11 and len(got) == 2, got
        assert got[0]["epoch"] == ack["epoch"] != epoch and got[0]["offset"] == ack["offset"], (got, ack)
        again = subscribe(old, "room", since={"epoch": epoch, "offset": 5})
        assert again["recovered"] is False and again["epoch"] == ack["epoch"], again
        assert json.loads(old.read()[1])["cause"] == "lost"


@test
def what_has_no_history_is_told_that_it_may_have_lost():
    config = rules('topic "live/#" { history = 0 }\n')
    with Redis() as redis, node(redis, "--config", config) as one:
        reader, writer = client_of(one), client_of(one)
        assert "epoch" not in subscribe(reader, "live/a")
        subscribe(reader, "+/b")
        assert "offset" not in publish(writer, "live/a", 1)
        publish(writer, "x/b", 1)
        assert until(reader, "live/a", 1) == [1] and until(reader, "x/b", 1) == [1]
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        # Each worker tells what its own link may have lost of a filter.
        gaps = [json.loads(reader.read()[1]) for _ in range(int(WORKERS) + 1)]
        assert sorted(g["topic"] for g in gaps) == ["+/b"] * int(WORKERS) + ["live/a"], gaps
        assert all(g["cause"] == "lost" and "skipped" not in g for g in gaps), gaps
        publish(writer, "live/a", 2)
        publish(writer, "x/b", 2)
        assert until(reader, "live/a", 2) == [2] and until(reader, "x/b", 2) == [2]


@test
def what_has_no_history_is_heard_while_the_other_link_comes_back():
    """A topic is looked at again then, and what its channel brings meanwhile is held back, not had already."""
    config = rules('topic "live/#" { history = 0 }\n')
    with Redis() as redis, node(redis, "--config", config) as one:
        reader = client_of(one)
        subscribe(reader, "live/a")
        with socket.create_connection(("127.0.0.1", redis.port)) as by_hand:
            def ask(*words):
                by_hand.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
                while not by_hand.recv(100).endswith(b"\r\n"):
                    pass

            for n in range(1, 10001):
                if n % 500 == 0:
                    ask(b"CLIENT", b"KILL", b"TYPE", b"normal", b"SKIPME", b"yes")
                ask(b"PUBLISH", b"fanfare:0:c:live/a", b"0:0:1:\x01\x01\x15\x00" + bytes(17) + b"%d" % n)
        assert until(reader, "live/a", 10000) == list(range(1, 10001))


@test
def redis_that_stands_still_holds_nobody_for_long():
    with Redis() as redis, node(redis) as one:
        reader, writer = client_of(one), client_of(one)
        subscribe(reader, "room")
        publish(writer, "room", 1)
        redis.stall()
        answer = publish(writer, "room", 2, key="two")
        assert answer["code"] in (408, 503) and answer["retry"], answer
        answer = subscribe(client_of(one), "other")
        assert answer["code"] == 503 and answer["retry"], answer
        redis.go_on()
        publish_until_taken(writer, "room", 2, "two") # done before or now: once
        publish(writer, "room", 3)
        assert until(reader, "room", 3) == [1, 2, 3]


@test
def a_script_that_is_gone_is_loaded_again():
    with Redis() as redis, node(redis) as one:
        writer = client_of(one)
        publish(writer, "room", 1)
        redis.ask("SCRIPT", "FLUSH")
        assert publish_until_taken(writer, "room", 2, "k")["offset"] == 2


@test
def who_subscribes_and_publishes_at_once_hears_himself():
    with Redis() as redis, node(redis) as one:
        for topic in "fresh", "fresh/+":
            client = client_of(one)
            client.send_json([{"type": 5, "id": 1, "topic": topic},
                              {"type": 7, "id": 2, "topic": topic.replace("+", "a"), "message": "me"}])
            got = [json.loads(client.read()[1]) for _ in range(3)]
            assert [m["type"] for m in got if "id" in m] == [8, 8], got
            assert [m["message"] for m in got if m["type"] == 2] == ["me"], got


@test
def messages_of_another_hand_end_nothing():
    with Redis() as redis, node(redis) as one:
        reader, writer = client_of(one), client_of(one)
        subscribe(reader, "room")
        subscribe(reader, "+")
        for channel in "fanfare:0:c:room", "fanfare:0:f:*":
            for text in "", "x", "1:2:3:", "4:room1:1:1:", "999999999999999999999:1:1:", "4:room0:0:0:\x01\x01\x15":
                redis.ask("PUBLISH", channel, text)
        redis.ask("XADD", "fanfare:s:room", "1-0", "m", "junk")
        assert publish(writer, "room", "real")["offset"] == 1
        assert until(reader, "room", "real")[-1] == "real"


@test
def what_is_not_there_yet_says_so():
    for args, text in ((["--engine", "redis"], "needs an address"),
                       (["--redis", "redis://localhost"], "engine = redis"),
                       (["--engine", "redis", "--redis", "rediss://localhost"], "not there yet"),
                       (["--engine", "redis", "--redis", "redis://a,redis://b"], "not there yet"),
                       (["--engine", "redis", "--redis", "redis://a", "--max-message", "3M"], "at most 2048K"),
                       (["--engine", "redis", "--redis", "http://a"], "redis://")):
        done = subprocess.run([os.path.join(BIN, "fanfared"), "--listen", "127.0.0.1:0", *args],
                              capture_output=True, text=True)
        assert done.returncode and text in done.stderr, (args, done.stderr)


@test
def the_operator_is_told_how_redis_is_to_be_set_up():
    with Redis(False, "--maxmemory-policy", "allkeys-lru") as redis, node(redis) as one:
        for option in "maxmemory-policy", "appendonly", "client-output-buffer-limit pubsub":
            assert one.logged('option="%s"' % option if " " in option else "option=" + option)
    good = ["--maxmemory-policy", "noeviction", "--client-output-buffer-limit", "pubsub 256mb 64mb 60"]
    with Redis(True, *good) as redis, node(redis) as one:
        publish(client_of(one), "room", 1)
        assert "redis_advice" not in one.log(), one.log()
    with Redis(False, "--rename-command", "CONFIG", "") as redis, node(redis) as one:
        assert one.logged("not seen") and one.logged("option=appendonly")


@test
def redis_comes_back_empty_and_a_new_node_is_there_before_the_others():
    """It begins with offset 1, as nobody has told it better; who knows better ends that, and finds it in the stream."""
    with Redis(is_kept=False) as redis, node(redis) as one:
        reader, writer = client_of(one), client_of(one)
        subscribe(reader, "room")
        for n in 1, 2:
            publish(writer, "room", n)
        assert until(reader, "room", 2) == [1, 2]
        one.process.send_signal(signal.SIGSTOP)
        redis.kill()
        redis.start()
        with node(redis) as two:
            writer = client_of(two)
            for n in range(3, 8): # past the offset where the reader stands
                assert publish_until_taken(writer, "room", n, "k%d" % n)["offset"] == n - 2
            one.process.send_signal(signal.SIGCONT)
            publish_until_taken(client_of(one), "pace", 1, "pace")
            publish_until_taken(writer, "room", 8, "k8")
            got = until(reader, "room", 8)
            assert told(got)[0] == "lost" and got[-1] == 8, got
            assert "generation ends" not in one.log()


@test
def what_has_no_history_gets_none_by_a_lost_link():
    """The link for requests comes back, and later Redis as another one: there is nothing to be read, and none begins."""
    config = rules('topic "live/#" { history = 0 }\n')
    with Redis() as redis, node(redis, "--config", config) as one:
        reader, writer = client_of(one), client_of(one)
        subscribe(reader, "live/a")
        for kill in lambda: redis.ask("CLIENT", "KILL", "TYPE", "normal"), lambda: (redis.kill(), redis.start()):
            kill()
            publish_until_taken(writer, "pace", 1, "pace")
            assert "epoch" not in subscribe(client_of(one), "live/a")
            assert redis.ask("EXISTS", "fanfare:m:live/a") == b"0"
        deadline = time.monotonic() + DEADLINE
        while not any(m.get("message") == 1 for m in reader.seen): # until its channel is heard again
            assert time.monotonic() < deadline
            publish_until_taken(writer, "live/a", 1, None)
            subscribe(reader, "other")


@test
def who_comes_to_a_node_that_is_behind_loses_and_repeats_nothing():
    """It has not read yet what another one has told already: its log is no measure of what is."""
    with Redis() as redis, node(redis, "--history", "10000", "--history-bytes", "64M") as one, \
            node(redis, "--history", "10000", "--history-bytes", "64M") as two:
        reader, writer, hopper = client_of(two), client_of(one), client_of(two)
        subscribe(reader, "room")
        two.process.send_signal(signal.SIGSTOP)
        for n in range(1, 4001): # more than it reads in one turn
            ack = publish(writer, "room", [n, "x" * 1000])
        since = {"epoch": ack["epoch"], "offset": 4000}
        hopper.send_json({"type": 5, "id": 50, "topic": "room", "since": since})
        two.process.send_signal(signal.SIGCONT)
        answer = json.loads(hopper.read()[1])
        deadline = time.monotonic() + DEADLINE
        while answer["type"] == 9: # it has much to read, and says so
            assert answer["code"] == 503 and answer["retry"] and time.monotonic() < deadline, answer
            answer = subscribe(hopper, "room", since=since)
        assert answer["id"] == 50 and answer["recovered"] and answer["offset"] == 4000, answer
        publish(writer, "room", "next")
        assert json.loads(hopper.read()[1])["message"] == "next"
        # A position that there is nowhere stays one.
        answer = subscribe(client_of(two), "room", since={"epoch": ack["epoch"], "offset": 5000})
        assert answer["recovered"] is False and answer["offset"] == 4001, answer


@test
def who_only_listens_makes_a_link_fit_again():
    """A node without publishers: that the script is gone, or the generation another one, it learns by reading alone."""
    with Redis() as redis, node(redis) as one, node(redis) as two:
        reader, writer = client_of(one), client_of(two)
        redis.ask("SCRIPT", "FLUSH")
        subscribe(reader, "room")
        publish_until_taken(writer, "room", 1, "k")
        assert until(reader, "room", 1) == [1]
        redis.ask("HSET", "fanfare:generation", "n", "7") # as by a node that has found Redis behind
        subscribe(reader, "other")
        publish_until_taken(writer, "other", 1, "k")
        assert until(reader, "other", 1) == [1]


@test
def a_topic_that_redis_forgot_ends_no_other():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        reader, writer = client_of(two), client_of(one)
        subscribe(reader, "quiet")
        subscribe(reader, "busy")
        publish(writer, "busy", 1)
        redis.ask("DEL", "fanfare:m:quiet")
        publish(writer, "quiet", "first") # of an epoch that nobody at two knows
        publish(writer, "quiet", "end")
        got = until(reader, "quiet", "end")
        assert told(got)[0] == "lost" and got[-1] == "end", got
        publish(writer, "busy", 2)
        assert until(reader, "busy", 2) == [1, 2]
        assert redis.ask("HGET", "fanfare:generation", "n") == b"1"


@test
def who_comes_back_after_a_restart_of_redis_misses_nothing():
    with Redis() as redis, node(redis) as one, node(redis) as two:
        writer, reader = client_of(one), client_of(two)
        epoch = subscribe(reader, "room")["epoch"]
        for n in range(1, 11):
            publish(writer, "room", n)
        redis.kill()
        redis.start()
        publish_until_taken(writer, "room", 11, "k")
        until(reader, "room", 11)
        for broker in one, two:
            late = client_of(broker)
            ack = subscribe(late, "room", since={"epoch": epoch, "offset": 5})
            assert ack["recovered"] is True, ack
            got = until(late, "room", 11)
            assert [m for m in got if not isinstance(m, dict)] == list(range(6, 12)) and told(got) == ["rollback"], got
            late = client_of(broker)
            subscribe(late, "room", since=3)
            assert [m for m in until(late, "room", 11) if not isinstance(m, dict)] == [9, 10, 11]


@test
def history_that_is_turned_off_elsewhere_makes_nobody_deaf():
    config = rules('topic "live/#" { history = 0 }\n')
    with Redis() as redis, node(redis) as one, node(redis, "--config", config) as two:
        reader, filtered = client_of(one), client_of(one)
        subscribe(reader, "live/a")
        subscribe(filtered, "live/+")
        publish(client_of(one), "live/a", 1)
        for n in 2, 3:
            publish(client_of(two), "live/a", n)
        assert until(reader, "live/a", 3) == [1, 2, 3]
        assert until(filtered, "live/a", 3) == [1, 2, 3]


@test
def an_end_waits_for_no_redis():
    """Requests of all kinds under way, in the order that once left some unanswered."""
    with Redis() as redis, node(redis) as one:
        clients = [client_of(one) for _ in range(20)]
        subscribe(clients[0], "room")
        redis.stall()
        for n, client in enumerate(clients):
            client.send_json({"type": 12, "id": 1, "topic": "x"} if n % 2 else {"type": 7, "id": 1, "topic": "x", "message": n})
            client.send_json({"type": 5, "id": 2, "topic": "+"})
        time.sleep(0.2) # and so it ends: how is checked


@test
def a_cluster_to_try_is_one_command():
    """./dev cluster, without installing and building: Redis, nodes, nginx, and nothing is left of them."""
    port = free_ports(3)
    root = os.path.join(os.path.dirname(__file__), "../..")
    run = subprocess.Popen([os.path.join(root, "bench/cluster"), "2", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        told = run.stdout.readline()
        assert "2 nodes" in told, told
        folder = told.split("Logs: ")[1].strip()
        clients = [typed(port + 1), typed(port + 2), typed(port)] # nginx is the last one
        for client in clients:
            client.seen = []
            subscribe(client, "room")
        for n, client in enumerate(clients):
            publish(client, "room", n)
        for client in clients:
            assert until(client, "room", 2) == [0, 1, 2]
    finally:
        run.terminate()
        assert run.wait(DEADLINE) == 0
    assert not os.path.exists(folder)


@test
def a_node_that_comes_before_its_redis_waits():
    port = free_port()
    redis = Redis.__new__(Redis)
    redis.port = port
    with Broker("--engine", "redis", "--redis", "redis://127.0.0.1:%d" % port,
                env={"FANFARE_ENGINE": "redis"}) as one:
        client = client_of(one)
        answer = publish(client, "room", 1)
        assert answer["code"] == 503 and answer["retry"], answer
        with Redis() as real: # on another port: this one is still not there
            assert real.port != port
        answer = subscribe(client, "room")
        assert answer["code"] == 503, answer


if __name__ == "__main__":
    for run in tests:
        if len(sys.argv) < 2 or run.__name__ in sys.argv[1:]:
            run()
            print("ok", run.__name__, flush=True)
