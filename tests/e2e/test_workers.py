# SPDX-License-Identifier: Apache-2.0
"""Several workers, as seen from outside: who serves whom, one order for all, nothing lost between threads."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BIN, BINARY, DEADLINE, PING, PONG, TEXT, Broker, Peer, frame, typed  # noqa: E402

WORKERS = 3
tests = []


def test(function):
    tests.append(function)
    return function


def start(*args, **more):
    return Broker("--workers", str(WORKERS), *args, **more)


def sockets_of_each_worker(broker):
    """Each worker has an epoll instance; how many of these descriptors does each one watch?"""
    folder, counts = "/proc/%d" % broker.process.pid, []
    for fd in os.listdir(folder + "/fd"):
        if "eventpoll" not in os.readlink(folder + "/fd/" + fd):
            continue
        with open(folder + "/fdinfo/" + fd) as info:
            watched = set(re.findall(r"^tfd:\s+(\d+)", info.read(), re.M))
        counts.append({int(one) for one in watched})
    return counts


def at_rest(broker):
    """The same when all loops have begun: they watch their listeners, at least, and nothing is added any more."""
    counts = None
    while True:
        before, counts = counts, sockets_of_each_worker(broker)
        if counts == before and len(counts) == WORKERS and all(len(one) >= len(broker.urls) + 1 for one in counts):
            return counts
        time.sleep(0.05)


@test
def connections_are_spread_evenly_before_anything_is_read():
    with start() as broker:
        before = at_rest(broker)
        idle = [Peer(broker.port, upgrade=False) for _ in range(4 * WORKERS)]
        peers = [typed(broker.port) for _ in range(4 * WORKERS)]  # the idle ones were accepted before them
        grown = sorted(len(now - old) for now, old in zip(sockets_of_each_worker(broker), before))
        assert grown == [8] * WORKERS, grown
        del idle, peers


@test
def a_port_in_use_is_an_error_and_not_shared():
    with start() as broker:
        for workers in "1", "4":
            done = subprocess.run([os.path.join(BIN, "fanfared"), "--listen", "127.0.0.1:%d" % broker.port, "--workers", workers],
                                  capture_output=True, text=True, timeout=DEADLINE)
            assert done.returncode == 1 and "in use" in done.stderr, done
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        done = subprocess.run([os.path.join(BIN, "fanfared"), "--listen", "127.0.0.1:%d" % other.getsockname()[1], "--workers", "2"],
                              capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 1 and "in use" in done.stderr, done


@test
def a_unix_socket_has_all_workers_behind_it():
    path = tempfile.mkdtemp() + "/s"
    with start("--listen", "unix:" + path) as broker:
        before = at_rest(broker)
        peers = []
        for _ in range(3 * WORKERS):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            sock.sendall(b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 101"), "no handshake"
            peers.append(sock)
        grown = sorted(len(now - old) for now, old in zip(sockets_of_each_worker(broker), before))
        assert grown == [3] * WORKERS, grown
        for sock in peers:
            sock.close()


@test
def all_see_one_order_and_each_message_once():
    with start() as broker:
        readers = [typed(broker.port) for _ in range(2 * WORKERS)]
        for k, reader in enumerate(readers):
            reader.ask({"type": 5, "id": 1, "topic": "hot" if k % 2 else "+"})
        writers, count = [typed(broker.port) for _ in range(2 * WORKERS)], 500

        def write(k):
            for n in range(0, count, 50):
                writers[k].send_json([{"type": 7, "topic": "hot", "message": [k, n + i]} for i in range(50)])
            assert writers[k].ask({"type": 7, "id": 1, "topic": "hot", "message": [k, count]})["receivers"] == len(readers)

        threads = [threading.Thread(target=write, args=(k,)) for k in range(len(writers))]
        for thread in threads:
            thread.start()
        seen = [[tuple(reader.read_json()["message"]) for _ in range(len(writers) * (count + 1))] for reader in readers]
        for thread in threads:
            thread.join()
        for order in seen[1:]:
            assert order == seen[0], "another order"
        for k in range(len(writers)):
            assert [n for who, n in seen[0] if who == k] == list(range(count + 1)), "of one publisher"


@test
def large_payloads_and_full_rings_lose_nothing():
    """More than the rings hold, to owners that every message is foreign to for two of three."""
    with start("--max-message", "256K", "--max-buffered", "64M") as broker:
        names, sizes = ["ring/%d" % i for i in range(12)], (10, 3000, 15000, 17000, 200000)
        reader = typed(broker.port)
        reader.ask({"type": 5, "id": 1, "topic": "ring/+"})
        writers = [typed(broker.port) for _ in range(WORKERS)]
        wanted, got = {}, {}

        def write(k):
            for n in range(120):
                size = sizes[n % len(sizes)]
                writers[k].send_json({"type": 7, "id": n, "topic": names[(n * 5 + k) % 12], "message": [k, n, "x" * size]})
            answers = [writers[k].read_json() for _ in range(120)]
            assert all(a["type"] == 8 for a in answers) and sorted(a["id"] for a in answers) == list(range(120)), answers[:3]

        for k in range(WORKERS):
            for n in range(120):
                wanted.setdefault((names[(n * 5 + k) % 12], k), []).append((n, sizes[n % len(sizes)]))
        threads = [threading.Thread(target=write, args=(k,)) for k in range(WORKERS)]
        for thread in threads:
            thread.start()
        for _ in range(WORKERS * 120):
            m = reader.read_json()
            k, n, text = m["message"]
            assert text == "x" * len(text)
            got.setdefault((m["topic"], k), []).append((n, len(text)))
        for thread in threads:
            thread.join()
        assert got == wanted


@test
def a_flood_that_stalls_is_taken_whole_and_in_order():
    """One connection sends far more than a ring takes at once, in batches; the broker holds it back and drops nothing."""
    with start("--sys") as broker:
        reader, writer, count = typed(broker.port), typed(broker.port), 60000
        for i in range(4):
            reader.ask({"type": 5, "id": i, "topic": "flood/%d" % i, "overflow": "skip"})

        def write():
            for n in range(0, count, 500):
                writer.send_json([{"type": 7, "topic": "flood/%d" % ((n + i) % 4), "message": n + i} for i in range(500)])

        thread = threading.Thread(target=write)
        thread.start()
        seen, last, skipped = 0, [i - 4 for i in range(4)], [0] * 4
        while seen + sum(skipped) < count:
            m = reader.read_json()
            i = int(m["topic"][-1])
            if m["type"] == 10:
                skipped[i] += m["skipped"]
                last[i] += 4 * m["skipped"]
                continue
            assert m["message"] == last[i] + 4, (m, last)
            last[i] = m["message"]
            seen += 1
        thread.join()
        assert writer.ask({"type": 1, "id": 5})["type"] == 1
        figures = typed(broker.port)
        figures.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
        while (m := figures.read_json())["message"]["published"] < count:
            pass
        assert m["message"]["connections"] == 3 and m["message"]["topics"] == 5, m


@test
def requests_of_one_client_keep_their_order():
    """Its own publish before a subscription is not seen, the one behind it is: whoever owns the name."""
    with start() as broker:
        peer = typed(broker.port)
        for i in range(30):
            topic = "order/%d" % i
            peer.send_json([{"type": 7, "topic": topic, "message": "before"}, {"type": 5, "id": 1, "topic": topic},
                            {"type": 7, "topic": topic, "message": "behind"}, {"type": 6, "id": 2, "topic": topic},
                            {"type": 5, "id": 3, "topic": topic}])
            got = [peer.read_json() for _ in range(3)]
            acks = [m["id"] for m in got if m["type"] == 8]
            assert sorted(acks) == [1, 2, 3] and not any(m.get("message") == "before" for m in got), got
            peer.ask({"type": 6, "id": 4, "topic": topic})
            peer.seen.clear()


@test
def limits_hold_for_all_workers_together():
    with start("--max-connections", "10", "--max-topics", "20") as broker:
        peers = [typed(broker.port) for _ in range(10)]
        late = Peer(broker.port, protocol="fanfare.v1.json")
        code, reason = late.read_close()
        assert code == 1013 and "max_connections is 10" in reason, (code, reason)
        codes = [peers[i % 10].ask({"type": 5, "id": i, "topic": "limit/%d" % i}).get("code") for i in range(25)]
        assert codes == [None] * 20 + [429] * 5, codes
        peers[0].ask({"type": 6, "id": 1, "topic": "limit/0"})
        while "code" in peers[1].ask({"type": 5, "id": 2, "topic": "limit/again"}):
            pass  # the owner hears of it in its next turn


@test
def who_goes_in_the_middle_leaves_nothing_behind():
    with start("--sys") as broker:
        watcher = typed(broker.port)
        watcher.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
        for _ in range(40):
            peer = typed(broker.port)
            peer.send_json([{"type": 5, "topic": "gone/%d" % i} for i in range(200)] + [{"type": 5, "topic": "gone/%d/#" % i} for i in range(20)])
            peer.send(frame(TEXT, json.dumps([{"type": 7, "id": i, "topic": "gone/%d" % i, "message": i} for i in range(200)])))
            peer.reset()
        while True:
            m = watcher.read_json()["message"]
            if (m["connections"], m["topics"], m["filters"]) == (1, 1, 0):
                break


@test
def a_plain_client_hears_all_that_is_sent_after_its_handshake():
    with start() as broker:
        senders = [typed(broker.port) for _ in range(WORKERS)]
        for i in range(60):
            topic = "plain/%d" % i
            watcher = Peer(broker.port, path="/ws?topic=" + topic)  # returns when the handshake is over
            senders[i % WORKERS].send_json({"type": 7, "topic": topic, "message": i})
            got = watcher.read(timeout=20)
            assert got and json.loads(got[1])["message"] == i, (i, got)
            watcher.close()


@test
def a_reload_while_it_ends_does_not_hold_it_up():
    for _ in range(8):
        with start() as broker:
            peers = [typed(broker.port) for _ in range(30)]
            broker.process.send_signal(signal.SIGTERM)
            while broker.process.poll() is None:
                broker.process.send_signal(signal.SIGHUP)
                time.sleep(0.001)
            del peers


@test
def sys_is_complete():
    """$SYS/slow from its first second, whoever speaks for it; $SYS/topics with what filters hear; published without $SYS."""
    with Broker("--sys", "--workers", "4") as broker:
        p = typed(broker.port)
        slow = [typed(broker.port, rcvbuf=4096) for _ in range(16)]
        for i, s in enumerate(slow):
            s.ask({"type": 5, "id": 1, "topic": "slow/%d" % i})
        for i in range(len(slow)):
            for k in range(40):
                p.ask({"type": 7, "id": k, "topic": "slow/%d" % i, "message": "x" * 60000})
        watcher = typed(broker.port)
        watcher.ask({"type": 5, "id": 1, "topic": "$SYS/slow"})
        first = watcher.read_json()["message"]["slow"]
        assert sorted(one["topic"] for one in first) == sorted("slow/%d" % i for i in range(16)), first
        assert {one["session"] for one in first} == {s.welcome["session"] for s in slow}
        for s in slow:
            s.close()


@test
def sys_hears_through_filters():
    with Broker("--sys", "--workers", "4") as broker:
        p, watcher, other = typed(broker.port), typed(broker.port), typed(broker.port)
        watcher.ask({"type": 5, "id": 1, "topic": "heard/#"})
        watcher.ask({"type": 5, "id": 2, "topic": "heard/+"})
        other.ask({"type": 5, "id": 2, "topic": "$SYS/topics"})
        heard, end = set(), time.monotonic() + DEADLINE
        while len(heard) < 12:
            assert time.monotonic() < end, heard
            for i in range(36):
                p.ask({"type": 7, "id": i, "topic": "heard/%d" % (i % 12), "message": i})
            p.ask({"type": 7, "id": 1, "topic": "unheard/1", "message": 1})
            while event := other.read(timeout=0.05):
                m = json.loads(event[1]) if event[0] == TEXT else {}
                for one in m["message"]["topics"] if m.get("topic") == "$SYS/topics" else ():
                    assert one["topic"] != "unheard/1", "nobody hears it"
                    if one["topic"].startswith("heard/") and one["rate"] and one["subscribers"] == 2:
                        heard.add(one["topic"])
        other.ask({"type": 6, "id": 3, "topic": "$SYS/topics"})
        for peer in p, watcher, other:
            peer.close()


@test
def sys_leaves_itself_out():
    with Broker("--sys", "--workers", "2") as broker:
        p, q = typed(broker.port), typed(broker.port)
        for i, name in enumerate(("broker", "topics", "slow")):
            p.ask({"type": 5, "id": i, "topic": "$SYS/" + name})
        for i in range(7):
            q.ask({"type": 7, "id": i, "topic": "t", "message": i})
        figures = []
        while len(figures) < 4:
            m = p.read_json()
            if m["topic"] == "$SYS/broker":
                figures.append(m["message"])
        assert figures[-1]["published"] == 7 and figures[-1]["rate"] == 0, figures


@test
def sys_is_told_in_every_encoding_however_small_messages_must_be():
    with Broker("--sys", "--workers", "2", "--max-message", "1K") as broker:
        p, q = typed(broker.port), typed(broker.port)
        for i in range(120):
            p.ask({"type": 5, "id": i, "topic": "%s%03d" % ('"' * 250, i)})
        others = [Peer(broker.port, path="/ws?topic=$SYS/topics&format=" + name) for name in ("text", "raw")]
        others.append(Peer(broker.port, protocol="fanfare.v1.msgpack"))
        others[-1].send(frame(BINARY, b"\x93\x05\x01\xab$SYS/topics"))
        q.ask({"type": 5, "id": 1, "topic": "$SYS/topics"})
        while len((m := q.read_json())["message"]["topics"]) < 100:
            pass
        for other, size in zip(others, (100000, 50000, 25000)):
            while True:
                opcode, payload = other.read()
                if opcode == PING:
                    other.send(frame(PONG, payload))
                if len(payload) > size:
                    break
        for peer in p, q, *others:
            peer.close()


for function in tests:
    function()
    print("ok", function.__name__, flush=True)
