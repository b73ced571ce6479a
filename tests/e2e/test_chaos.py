# SPDX-License-Identifier: Apache-2.0
"""Abuse beside use: random clients subscribe, publish, stall, reset and send rubbish, while two
healthy ones chat and lose nothing. Afterwards descriptors and live bytes are back to base.

The seed is printed; TEST_SEED replays it (threads still interleave as they like).
"""
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, CONT, DEADLINE, PING, TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

SECONDS = 60 if os.environ.get("TEST_LONG") else 10
seed = int(os.environ.get("TEST_SEED", time.time()))
print("TEST_SEED=%d" % seed, flush=True)
WORKERS = int(os.environ.get("FANFARE_WORKERS", "1"))
TOPICS = ["a", "b/1", "b/2", "c/x/y", "b/#", "+/1", "#"]


def misbehave(port, dice):
    """One client's short and strange life."""
    kind = dice.choice(["typed", "typed", "plain", "packed", "half", "rubbish"])
    if kind == "half":
        p = Peer(port, upgrade=False)
        p.send(b"GET /ws HTTP/1.1\r\nHost: lo"[:dice.randrange(25)])
        return p.reset() if dice.random() < 0.5 else p.close()
    if kind == "rubbish":
        p = Peer(port, upgrade=False)
        p.send(dice.randbytes(dice.randrange(1, 3000)))
        return p.close()
    protocol = {"typed": "fanfare.v1.json", "packed": "fanfare.v1.msgpack"}.get(kind)
    p = Peer(port, protocol=protocol, rcvbuf=dice.choice([None, 4096]),
             path="/ws?topic=" + dice.choice(["a", "b%2F1", "%23"]) if kind == "plain" else "/ws")
    for i in range(dice.randrange(60)):
        topic = dice.choice(TOPICS)
        what = dice.random()
        if kind == "packed":
            p.send(frame(BINARY, dice.choice([
                b"\x93\x05\x01" + bytes([0xa0 + len(topic)]) + topic.encode(),
                b"\x93\x06\x01" + bytes([0xa0 + len(topic)]) + topic.encode(),
                b"\x94\x07\x01\xa1a\x93\x01\xc0\xcb" + dice.randbytes(8), dice.randbytes(20)])))
        elif what < 0.25:
            p.send_json({"type": 5, "id": i, "topic": topic, "echo": dice.random() < 0.5,
                         "overflow": dice.choice(["skip", "latest", "close"])})
        elif what < 0.35:
            p.send_json({"type": 5, "id": i, "topic": dice.choice(TOPICS[:4]),
                         "rate": dice.choice([0, 1, 50, -1])})
        elif what < 0.45:
            p.send_json({"type": 6, "id": i, "topic": topic})
        elif what < 0.85:
            p.send_json([{"type": 7, "topic": dice.choice(TOPICS[:4]),
                          "message": "x" * dice.choice([1, 100, 5000, 60000 // (1 + i)])}])
        elif what < 0.9:
            p.send(frame(PING, b"p" * dice.randrange(126)))
        elif what < 0.93:
            p.send(frame(TEXT, "part", fin=False) + frame(PING) + frame(CONT, "ial"))
        elif what < 0.96:
            p.send(frame(TEXT, b"", length=dice.randrange(100, 60000)))
            break
        else:
            time.sleep(dice.random() / 20)
        if dice.random() < 0.3:
            p.read(timeout=0.001)
    if dice.random() < 0.2:
        time.sleep(dice.random())
    ending = dice.random()
    if ending < 0.4:
        p.reset()
    elif ending < 0.7:
        p.send(frame(CLOSE, b"\x03\xe8"))
        p.close()
    else:
        p.close()


def crowd(port, number, until, failures):
    dice = random.Random(seed * 1000 + number)
    while time.monotonic() < until:
        try:
            misbehave(port, dice)
        except (Gone, OSError, AssertionError):
            pass  # it is what becomes of those who behave like this
        except Exception as why:  # noqa: BLE001
            failures.append(why)


def live_bytes(watcher):
    for _ in range(2):
        while True:
            m = watcher.read_json()
            if m["type"] == 2 and m["topic"] == "$SYS/broker":
                break
    return m["message"]["memory"], m["message"]["connections"]


def abuse(broker, seconds, reader, writer, n):
    """The crowd does its worst for so long, beside two who chat from message n on and lose nothing."""
    failures, until = [], time.monotonic() + seconds
    threads = [threading.Thread(target=crowd, args=(broker.port, i, until, failures)) for i in range(12)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        n += 1
        ack = writer.ask({"type": 7, "id": n, "topic": "healthy", "message": n})
        assert ack["type"] == 8 and ack["receivers"] >= 1, ack
        got = reader.read_json()
        assert got == {"type": 2, "topic": "healthy", "message": n}, got
    for thread in threads:
        thread.join()
    assert not failures, failures
    return n


def settle(broker, watcher, connections, descriptors, limit):
    """Waits until what the crowd used is back: messages and positions, which are kept for a second, too."""
    end, before = time.monotonic() + DEADLINE, 0
    while True:
        now, left = live_bytes(watcher)
        if (left == connections and broker.descriptors() <= descriptors and now <= limit
                and abs(now - before) < 1 << 16):
            return now
        assert time.monotonic() < end, (now, limit, left, connections, broker.descriptors(), descriptors)
        before = now


with Broker("--sys", "--close-seconds", "1", "--history-seconds", "1", "--position-seconds", "1") as broker:
    watcher, reader, writer = (typed(broker.port) for _ in range(3))
    watcher.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
    reader.ask({"type": 5, "id": 1, "topic": "healthy"})
    cold, connections = live_bytes(watcher)
    descriptors = broker.descriptors()
    # Each worker's scratch buffers keep their size and its pool some free blocks: what a first
    # crowd leaves is their sum; what a second one leaves beyond that would be a leak.
    n = abuse(broker, 3, reader, writer, 0)
    warm = settle(broker, watcher, connections, descriptors, cold + (2 << 20) * WORKERS)
    n = abuse(broker, SECONDS, reader, writer, n)
    now = settle(broker, watcher, connections, descriptors, warm + (1 << 20))
    print("%d healthy messages, live bytes %d cold, %d warm, %d after" % (n, cold, warm, now))
    for peer in watcher, reader, writer:
        peer.close()
