# SPDX-License-Identifier: Apache-2.0
"""For any cut of a client's connection: what it was sent and what it was told of is what was published, once, in order.

Readers are cut at any octet, or killed, and come back with the last position that they know. `--kills N` and
`--cuts N` play longer.
"""
import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import DEADLINE, TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

LONG = "TEST_LONG" in os.environ
TOPICS = ("room/1", "room/2", "feed")


class Publisher(threading.Thread):
    """Publishes to all topics in turn; each message says which one of its topic it is."""

    def __init__(self, broker, a_second):
        super().__init__()
        self.peer, self.pause, self.is_over, self.counts = typed(broker.port), 10 / a_second, False, dict.fromkeys(TOPICS, 0)

    def run(self):
        n = 0
        while not self.is_over:
            batch = []
            for _ in range(10):
                topic = TOPICS[n % len(TOPICS)]
                self.counts[topic] += 1
                n += 1
                batch.append({"type": 7, "id": n, "topic": topic, "message": [self.counts[topic], "x" * (n % 300)]})
            self.peer.send_json(batch)
            for _ in batch:
                ack = self.peer.read_json()
                assert ack["type"] == 8, ack
            time.sleep(self.pause)
        self.peer.close()


class Account:
    """What a reader of one topic was sent and told, over all its connections."""

    def __init__(self, topic):
        self.topic, self.position, self.passed, self.missed = topic, None, 0, 0

    def request(self):
        # offset 0: all that was ever said; the first time its epoch is not known yet
        return {"since": self.position} if self.position else {"since": 1000000}

    def take(self, message):
        if message["type"] == 8:
            if self.position is None:
                self.position = {"epoch": message["epoch"], "offset": message["offset"]}
                self.passed = message["offset"]
            assert message["epoch"] == self.position["epoch"], "nothing ended meanwhile"
            if message.get("recovered"):
                assert message["offset"] == self.position["offset"], message
        elif message["type"] == 10:
            assert message["from"] == self.passed + 1 and message["skipped"] == message["to"] - message["from"] + 1, (message, self.passed)
            assert message["offset"] == message["to"] + 1, message
            self.missed += message["skipped"]
            self.move(message["to"])
        elif message["type"] == 2:
            assert message["offset"] == self.passed + 1, ("lost, doubled or out of order", self.topic, message["offset"], self.passed)
            assert message["message"][0] == message["offset"], message
            self.move(message["offset"])

    def move(self, offset):
        self.passed = self.position["offset"] = offset


def come_back(port, account, **more):
    peer = typed(port)
    peer.with_positions = True
    peer.send_json({"type": 5, "id": 1, "topic": account.topic, **account.request(), **more})
    return peer


def read_until(port, account, count):
    """To the end, in one connection."""
    with come_back(port, account) as peer:
        while account.passed < count:
            account.take(peer.read_json())
    assert account.passed == count, (account.passed, count)


def cut_often(broker, dice, cuts):
    accounts = [Account(topic) for topic in TOPICS for _ in range(2)]
    publisher = Publisher(broker, 3000)
    publisher.start()
    for _ in range(cuts):
        account = dice.choice(accounts)
        peer = come_back(broker.port, account)
        try:
            for _ in range(dice.choice((0, 1, 2, 10, 100, 500))):
                account.take(peer.read_json())
        finally:
            if dice.random() < 0.5:
                peer.reset()
            else:
                peer.close()
    publisher.is_over = True
    publisher.join()
    for account in accounts:
        read_until(broker.port, account, publisher.counts[account.topic])
    return sum(account.missed for account in accounts), sum(publisher.counts.values())


def reader(port, topic, path):
    """The process that is killed: what it has taken is in its file, a line each, the last one perhaps half."""
    account = Account(topic)
    if os.path.exists(path):
        with open(path) as lines:
            whole = [line for line in lines.read().split("\n")[:-1]]
        if whole:
            account.position = json.loads(whole[-1])
            account.passed = account.position["offset"]
    peer = come_back(port, account)
    with open(path, "a") as out:
        if os.path.getsize(path):
            out.write("\n")  # what was half written is no line of its own
        while True:
            message = peer.read_json()
            account.take(message)
            out.write(json.dumps({**account.position, "type": message["type"], "skipped": message.get("skipped", 0)}) + "\n")
            out.flush()


def kill_often(broker, dice, kills):
    path = "/tmp/fanfare-recovery-%d" % os.getpid()
    publisher = Publisher(broker, 2000)
    publisher.start()
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, __file__, "--reader", str(broker.port), TOPICS[0], path])
        time.sleep(0.15 + dice.random() / 3)
        assert process.poll() is None, "the reader gave up: what it was sent was not right"
        process.send_signal(signal.SIGKILL)
        process.wait()
    publisher.is_over = True
    publisher.join()
    passed, skipped, rows = None, 0, []
    for line in open(path):
        try:
            rows.append(json.loads(line))
        except ValueError:
            pass  # what was half written when it was killed: it was asked for again
    os.unlink(path)
    for row in rows:
        if row["type"] == 8:
            assert passed is None or row["offset"] == passed, "it came back where it was"
        elif passed is not None:
            assert row["offset"] == passed + (row["skipped"] or 1), (row, passed)
        passed = row["offset"]
        skipped += row["skipped"]
    assert rows, "nothing was read"
    account = Account(TOPICS[0])
    account.position, account.passed = {"epoch": rows[-1]["epoch"], "offset": passed}, passed
    read_until(broker.port, account, publisher.counts[TOPICS[0]])
    return skipped + account.missed, publisher.counts[TOPICS[0]]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=100 if LONG else 10)
    options.add_argument("--cuts", type=int, default=2000 if LONG else 150)
    options.add_argument("--reader", nargs=3)
    given = options.parse_args()
    if given.reader:
        reader(int(given.reader[0]), *given.reader[1:])
    seed = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    print("   TEST_SEED=%d" % seed)
    dice = random.Random(seed)
    for workers in "1", "4":
        for flush in "send", "auto":
            with Broker("--workers", workers, "--flush", flush, "--history", "100000", "--history-bytes", "64M") as broker:
                missed, of = cut_often(broker, dice, given.cuts)
                assert missed == 0, "all of it is kept"
                print("ok %d messages, %s workers, flush %s: cut %d times, none is missing" % (of, workers, flush, given.cuts))
            with Broker("--workers", workers, "--flush", flush, "--history", "200", "--history-bytes", "8K") as broker:
                missed, of = cut_often(broker, dice, given.cuts)
                print("ok %d messages, %s workers, flush %s: cut %d times, %d are told of as missing" % (of, workers, flush, given.cuts, missed))
    with Broker("--workers", "2", "--history", "100000", "--history-bytes", "64M") as broker:
        missed, of = kill_often(broker, dice, given.kills)
        assert missed == 0
        print("ok %d messages, killed %d times: lost 0, doubled 0, reordered 0" % (of, given.kills))


main()
