# SPDX-License-Identifier: Apache-2.0
"""A link as a phone has it: 800 kbit/s from the broker to its clients, a queue of 200 ms, MTU 1500.

The broker runs in a network namespace of its own, made and removed here. Needs root and iproute2.
"""
import json
import os
import shutil
import subprocess
import threading
import time

from peer import PING, PONG, TEXT, Broker, frame, typed

KBIT = 800


class SlowLink:
    count = 0

    def __init__(self, congestion_control):
        if os.getuid() or not shutil.which("ip") or not shutil.which("tc"):
            raise SystemExit("a slow link needs root, and the package iproute2 (ip, tc)")
        SlowLink.count += 1
        n = (os.getpid() + SlowLink.count) % 200
        self.name = "fs%d%d" % (os.getpid(), SlowLink.count)
        self.here, self.there = "10.214.%d.1" % n, "10.214.%d.2" % n
        for line in ("ip netns add {n}", "ip link add {n}a type veth peer name {n}b netns {n}", "ip addr add {a}/30 dev {n}a",
                     "ip link set {n}a mtu 1500 up", "ip -n {n} addr add {b}/30 dev {n}b", "ip -n {n} link set {n}b mtu 1500 up",
                     "ip -n {n} link set lo up",
                     "tc -n {n} qdisc add dev {n}b root tbf rate {k}kbit burst 1600 latency 200ms",
                     "ip -n {n} route replace {net}/30 dev {n}b src {b} congctl lock {c}"):
            subprocess.run(line.format(n=self.name, a=self.here, b=self.there, k=KBIT, c=congestion_control,
                                       net="10.214.%d.0" % n).split(), check=True)
        self.prefix = ["ip", "netns", "exec", self.name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


class Dashboard:
    """Feeds that change faster than the link carries them, and one client that reads as fast as they come."""

    def __init__(self, link, feeds, rules, size, args=()):
        self.feeds, self.size = feeds, size
        self.published = [0] * feeds
        self.seen = [0] * feeds    # the next number that is expected
        self.gaps = 0
        self.ages = []             # seconds between publish and arrival
        self.owed = []             # what the broker says that it still holds: `buffered`
        self.is_over = False
        self.broker = Broker("--workers", "2", *args, listen=link.there + ":0", prefix=link.prefix)
        self.client, self.publisher = (typed(self.broker.port, address=link.there) for _ in range(2))
        for i in range(feeds):
            got = self.client.ask(dict({"type": 5, "id": i, "topic": "feed/%d" % i}, **rules))
            assert got["type"] == 8, got

    def publish(self, seconds, interval):
        begun = time.monotonic()
        for turn in range(round(seconds / interval)):  # as many as there should be, also where some are late
            for i in range(self.feeds):
                self.publisher.send_json({"type": 7, "topic": "feed/%d" % i,
                                          "message": [self.published[i], time.monotonic(), "x" * self.size]})
                self.published[i] += 1
            self.client.send_json({"type": 1, "id": 1})
            time.sleep(max(0, begun + (turn + 1) * interval - time.monotonic()))
        self.is_over = True
        self.client.send_json({"type": 1, "id": 2})

    def take(self, message):
        i = int(message["topic"].split("/")[1]) if "topic" in message else None
        if message["type"] == 10:
            assert message["cause"] == "slow", message
            self.seen[i] += message["skipped"]
            self.gaps += 1
        elif message["type"] == 2:
            number, at, _ = message["message"]
            assert number == self.seen[i], "feed %d: %d came, expected was %d" % (i, number, self.seen[i])
            self.seen[i] += 1
            self.ages.append(time.monotonic() - at)
        elif message["type"] == 1:
            self.owed.append(message["buffered"])

    def play(self, seconds, interval):
        """Until all that was published came, or was told of."""
        publisher = threading.Thread(target=self.publish, args=(seconds, interval))
        publisher.start()
        while not self.is_over or self.seen != self.published:
            opcode, payload = self.client.read()
            if opcode == PING:
                self.client.send(frame(PONG, payload))
            else:
                assert opcode == TEXT, (opcode, payload)
                self.take(json.loads(payload))
        publisher.join()
        self.broker.stop()
        return sorted(self.ages)
