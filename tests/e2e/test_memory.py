# SPDX-License-Identifier: Apache-2.0
"""`memory` is a bound: whatever clients do, the release binary stays below it + 32 MiB + 10 %."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer
from peer import *

peer.BIN = os.environ.get("TEST_RELEASE", peer.BIN)  # sanitizers keep what was freed
MIB = 1 << 20
TESTS = []


def test(run):
    TESTS.append(run)
    return run


class Limited(Broker):
    """A broker with so many MiB, and the most that it ever had resident."""

    def __init__(self, mib, *args):
        super().__init__("--memory", "%dM" % mib, "--heartbeat", "300", *args)  # its clients answer no PINGs
        self.bound = (mib * 11 // 10 + 32) * MIB
        self.most, self.is_over = 0, False
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()

    def watch(self):
        while not self.is_over:
            try:
                self.most = max(self.most, self.rss())
            except (OSError, AttributeError):
                return
            time.sleep(0.005)

    def judge(self):
        self.is_over = True
        self.watcher.join()
        print("   at most %d MiB resident of %d" % (self.most / MIB, self.bound / MIB))
        assert self.most < self.bound

    def __exit__(self, kind, *rest):
        self.is_over = True
        super().__exit__(kind, *rest)


def come(broker, **more):
    """A typed client, or None where there is no memory for one."""
    try:
        client = Peer(broker.port, protocol="fanfare.v1.json", **more)
        opcode, payload = client.read()
    except (Gone, OSError):
        return None
    if opcode == TEXT:
        return client
    assert close_code(payload) == 1013, payload
    client.close()
    return None


@test
def paused_readers_of_large_messages():
    for workers in "1", "3":
        with Limited(64, "--workers", workers) as broker:
            readers, answers = [typed(broker.port) for _ in range(10)], {}
            for k, reader in enumerate(readers):
                for part in range(2):
                    reader.send_json([{"type": 5, "topic": "%d/%d" % (k, part * 500 + i), "rate": 0} for i in range(500)])
                reader.ask({"type": 1, "id": 1})
            publisher = typed(broker.port)
            for k in range(10):
                for i in range(1000):
                    got = publisher.ask({"type": 7, "id": i, "topic": "%d/%d" % (k, i), "message": "x" * 60000})
                    assert got["type"] == 8 or (got["code"], got["retry"]) == (503, True), got
                    answers[got["type"]] = answers.get(got["type"], 0) + 1
            assert answers[8] > 5000, answers
            for k, reader in enumerate(readers):  # each is told of exactly the one it missed, or gets it
                reader.send_json({"type": 5, "id": 5, "topic": "%d/1" % k, "rate": -1})
                got = [reader.read_json(), reader.read_json()]
                assert {"type": 10, "topic": "%d/1" % k, "cause": "rate", "skipped": 1} in got or got[1]["type"] == 2, got
            broker.judge()


@test
def half_messages():
    with Limited(64) as broker:
        half = frame(TEXT, b"x" * 64100, fin=False)[:64000]
        there = [typed(broker.port) for _ in range(4000)]
        for client in there:
            try:
                client.send(half)
            except OSError:
                pass
        broker.judge()
        for client in there:
            client.close()


@test
def echoes_that_nobody_reads():
    with Limited(48, "--echo-path", "/echo", "--max-message", "1M") as broker:
        there = []
        for _ in range(200):
            client = Peer(broker.port, path="/echo", rcvbuf=4096)
            client.sock.settimeout(0.2)
            there.append(client)
            try:
                for _ in range(3):
                    client.send(frame(BINARY, b"x" * 1000000))
            except OSError:
                pass
        broker.judge()
        for client in there:
            client.close()


@test
def large_frames_in_which_readers_stand():
    """Each stands in a frame of its own, of a topic of its own: no topic's budget stops them."""
    with Limited(32, "--max-message", "1M") as broker:
        readers, publisher = [typed(broker.port, rcvbuf=4096) for _ in range(200)], typed(broker.port)
        for k, reader in enumerate(readers):
            reader.ask({"type": 5, "id": 1, "topic": "t/%d" % k})
            for i in range(3):
                got = publisher.ask({"type": 7, "id": 1, "topic": "t/%d" % k, "message": "x" * 900000})
                assert got["type"] == 8 or got["code"] == 503, got
        broker.judge()
        for reader in readers:
            reader.close()


class Mix:
    """Clients each of which takes memory in its own way, all they can, one after the other and again."""

    def __init__(self, broker, dice):
        self.broker, self.dice, self.clients = broker, dice, []
        size, self.topics = dice.choice((200, 5000, 60000, 250000)), dice.choice((30, 300, 1000))
        self.messages = [frame(TEXT, json.dumps({"type": 7, "topic": "t/%d" % dice.randrange(self.topics), "message": "x" * size}))
                         for _ in range(50)]
        self.rounds = 1 + 3000000 // (size * 50)
        self.ways = [self.hoard, self.stall, self.publish] + dice.sample([self.half, self.unread, self.names, self.publish, self.go], 3)

    def do(self):
        client = come(self.broker, rcvbuf=self.dice.choice((None, 4096)))
        if client:
            client.sock.settimeout(0.05)
            self.clients.append(client)
        if not self.clients:
            return
        client = self.dice.choice(self.clients)
        try:
            self.dice.choice(self.ways)(client)
        except (OSError, Gone):
            self.clients.remove(client)
            client.close()

    def subscribe(self, client, topics, **more):
        client.send_json([dict(more, type=5, topic=topic) for topic in topics])

    def hoard(self, client):  # paused, so the newest of each topic is kept
        self.subscribe(client, ["t/%d" % i for i in range(self.topics)], rate=0)

    def stall(self, client):
        self.subscribe(client, ["t/%d" % i for i in range(self.topics)])

    def names(self, client):
        self.subscribe(client, ["%d/%s" % (self.dice.randrange(1 << 30), "n" * 230) for _ in range(900)])

    def publish(self, client):
        for _ in range(self.rounds):
            client.send(b"".join(self.messages))

    def half(self, client):
        client.send(frame(TEXT, b"x" * 250000, fin=False, length=250001))

    def unread(self, client):
        client.send(frame(TEXT, '{"type":6,"id":1,"topic":"%s"}' % ("t" * 200)) * 2000)

    def go(self, client):
        self.clients.remove(client)
        client.reset()


@test
def random_mixes():
    count = 200 if os.environ.get("TEST_LONG") else 5
    first = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    for seed in range(first, first + count):
        dice = random.Random(seed)
        mib, workers = dice.choice((24, 48, 96)), dice.choice("124")
        print("   TEST_SEED=%d: %d MiB, %s workers" % (seed, mib, workers))
        with Limited(mib, "--workers", workers, "--max-message", "300K") as broker:
            mix = Mix(broker, dice)
            for _ in range(120):
                mix.do()
            broker.judge()
            for client in mix.clients:
                client.close()
            end = time.monotonic() + DEADLINE  # their memory comes back
            while not (late := come(broker)) or late.ask({"type": 7, "id": 1, "topic": "late", "message": 1})["type"] != 8:
                assert time.monotonic() < end, "nobody comes in any more"


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for run in TESTS:
        if not wanted or run.__name__ in wanted:
            run()
            print("ok", run.__name__, flush=True)
