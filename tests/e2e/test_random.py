# SPDX-License-Identifier: Apache-2.0
"""Random clients against the real broker: what each saw is held against what a witness saw.

Lazy readers, filters, all overflow rules, rates, subscriptions that come and go, publishers that close
at any moment, 1 to 4 workers, both flushes. A witness of each topic reads all the time and gives the
order; everybody else must have seen the same order, each message once, and been told of exactly what
is missing; a publisher that closed cleanly was answered for all that anybody saw of it.

    test_random.py [--seeds N] [--messages N]        TEST_SEED=S begins with that seed
"""
import argparse
import json
import os
import random
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, DEADLINE, PING, PONG, TEXT, Broker, Peer, close_code, frame

IN_FLIGHT = 400000  # octets of messages that the witness has not seen: it must not be overrun while this program waits
TOPICS = ["a/1", "a/2", "a/3", "b/1", "b/2", "c"]
FILTERS = {"a/#": TOPICS[:3], "+/1": ["a/1", "b/1"], "#": TOPICS, "b/+": ["b/1", "b/2"]}


class Subscription:
    """What a client knows of a topic or filter, from its SUBSCRIBE on."""

    def __init__(self, name, rule, rate, since_begin):
        self.name, self.rule, self.rate, self.since_begin = name, rule, rate, since_begin
        self.seen = []     # (topic, message id), and ("gap", count) between them
        self.last = set()  # topics whose last message came
        self.is_acked = self.is_over = False

    def has_last(self):
        """The newest of a topic is never left out."""
        return self.last == set(FILTERS.get(self.name, [self.name]))

    def judge(self, order):
        """`order`: {topic: [message ids]}. Positions only go up; between two of them the gaps say what is missing."""
        place = {topic: {message: i for i, message in enumerate(ids)} for topic, ids in order.items()}
        last, gap, count, told = {}, 0, 0, 0
        for what, value in self.seen:
            if what == "gap":
                gap, told = gap + value, told + value
                continue
            count += 1
            at = place[what].get(value)
            assert at is not None, "%s: nobody published %s" % (self, value)
            before = last.get(what)
            assert before is None or at > before, "%s: %s came at %d, behind %d" % (self, value, at, before)
            if before is not None and self.rate == -1 and self.name in order:
                assert at - before - 1 == gap, "%s: %d are missing before %s, and %d were told" % (self, at - before - 1, value, gap)
            last[what], gap = at, 0
        if self.since_begin:
            topics = FILTERS.get(self.name, [self.name])
            total = sum(len(order[topic]) for topic in topics)
            assert count + told == total, "%s: saw %d and was told of %d, of %d" % (self, count, told, total)

    def __str__(self):
        return "%s (%s, rate %g%s)" % (self.name, self.rule, self.rate, ", from the beginning" if self.since_begin else "")


class Client:
    """One connection, read when its turn comes. Requests and what came are noted for the end."""

    def __init__(self, port, lazy=False):
        peer = Peer(port, protocol="fanfare.v1.json", rcvbuf=4096 if lazy else None)
        self.sock, self.buffer, self.lazy = peer.sock, peer.buffer, lazy
        self.sock.setblocking(False)
        self.out, self.n, self.closed, self.subscriptions = b"", 0, None, []
        self.asked, self.acked, self.is_closing = {}, set(), False
        self.unseen = {}  # the witness's alone: {message id: (size, publisher)}

    def send(self, message):
        self.out += frame(TEXT, json.dumps(message, separators=(",", ":")))
        self.flush()

    def flush(self):
        while self.out and self.closed is None:
            try:
                self.out = self.out[self.sock.send(self.out):]
            except BlockingIOError:
                return
            except OSError:
                self.closed = "reset"

    def ask(self, **message):
        self.n += 1
        self.asked[self.n] = message
        self.send(dict(message, id=self.n))
        return self.n

    def subscribe(self, name, rule="skip", rate=-1, since_begin=False, buffered=None):
        subscription = Subscription(name, rule, rate, since_begin)
        more = {} if rate == -1 else {"rate": rate}
        if buffered is not None:
            more["buffered"] = buffered
        subscription.id = self.ask(type=5, topic=name, overflow=rule, **more)
        self.subscriptions.append(subscription)
        return subscription

    def current(self, name):
        for subscription in reversed(self.subscriptions):
            if subscription.name == name and not subscription.is_over:
                return subscription
        raise AssertionError("something of %s came, to which nobody is subscribed" % name)

    def read(self, most=1 << 20):
        if self.closed is not None:
            return False
        try:
            got = self.sock.recv(most)
        except BlockingIOError:
            return False
        except OSError:
            got = b""
        if not got:
            self.closed = self.closed or "end"
            return False
        self.buffer += got
        self.cut()
        return True

    def cut(self):
        while len(self.buffer) >= 2:
            first, n, at = self.buffer[0], self.buffer[1], 2
            if n == 126:
                n, at = int.from_bytes(self.buffer[2:4], "big"), 4
            elif n == 127:
                n, at = int.from_bytes(self.buffer[2:10], "big"), 10
            if len(self.buffer) < at + n:
                return
            payload, self.buffer = self.buffer[at:at + n], self.buffer[at + n:]
            self.handle(first & 15, payload)

    def handle(self, opcode, payload):
        if opcode == PING:
            self.out += frame(PONG, payload)
            self.flush()
        elif opcode == CLOSE:
            self.closed = close_code(payload)
        elif opcode == TEXT:
            self.take(json.loads(payload))
        else:
            assert opcode != BINARY, payload

    def take(self, message):
        kind = message["type"]
        if kind == 2:
            subscription = self.current(message.get("filter", message["topic"]))
            assert subscription.is_acked, "a message came before the ACK of %s" % subscription
            subscription.seen.append((message["topic"], message["message"][0]))
            self.unseen.pop(message["message"][0], None)
            if message["message"][0] == "last":
                subscription.last.add(message["topic"])
        elif kind == 10:
            self.current(message["topic"]).seen.append(("gap", message["skipped"]))
        elif kind == 8:
            request = self.asked.pop(message["id"])
            self.acked.add((message["id"], request["type"]))
            if request["type"] == 5:
                next(s for s in self.subscriptions if s.id == message["id"]).is_acked = True
            elif request["type"] == 6:
                self.current(request["topic"]).is_over = True
        elif kind == 9:
            raise AssertionError(message)


class Play:
    def __init__(self, seed, count):
        self.dice, self.count = random.Random(seed), count
        workers, flush = self.dice.choice("1234"), self.dice.choice(("send", "auto"))
        print("   TEST_SEED=%d: %s workers, flush %s" % (seed, workers, flush), flush=True)
        self.broker = Broker("--workers", workers, "--flush", flush, "--max-message", "64K", "--max-buffered", "1M", "--heartbeat", "300", "--close-seconds", "120")

    def wait(self, what, clients):
        end = time.monotonic() + DEADLINE
        while not what():
            assert time.monotonic() < end, "it does not come to its end"
            select.select([c.sock for c in clients if c.closed is None] or [self.witness.sock], [], [], 0.02)
            for client in clients:
                client.flush()
                client.read()

    def begin(self):
        dice = self.dice
        self.witness = Client(self.broker.port)
        for topic in TOPICS:
            self.witness.subscribe(topic, since_begin=True)
        self.readers = [Client(self.broker.port, lazy=dice.random() < 0.6) for _ in range(16)]
        for reader in self.readers:
            for name in dice.sample(TOPICS + list(FILTERS), dice.randrange(1, 4)):
                is_filter = name in FILTERS
                reader.subscribe(name, dice.choice(("skip", "skip", "close") if is_filter else ("skip", "latest", "close")),
                                 -1 if is_filter else dice.choice((-1, -1, 5, 50)), since_begin=True,
                                 # through a filter the last of each topic comes if all of them are within the bound
                                 buffered=dice.choice((None, 500000) if is_filter else (None, None, 0, 1000, 30000, 500000)))
        self.wait(lambda: all(s.is_acked for c in [self.witness, *self.readers] for s in c.subscriptions), [self.witness, *self.readers])
        self.comers = [Client(self.broker.port) for _ in range(4)]
        self.publishers, self.past = [Client(self.broker.port) for _ in range(4)], []

    def publish(self):
        publisher = self.dice.choice(self.publishers)
        self.sent += 1
        size = self.dice.choice((10, 10, 200, 3000, 20000))
        self.witness.unseen[self.sent] = size, publisher
        publisher.ask(type=7, topic=self.dice.choice(TOPICS), message=[self.sent, "x" * size])
        self.wait(lambda: sum(size for size, by in self.witness.unseen.values() if by.closed is None) < IN_FLIGHT,
                  [self.witness, *self.publishers, *self.comers, *self.past])

    def come_and_go(self):
        comer, name = self.dice.choice(self.comers), self.dice.choice(TOPICS + list(FILTERS))
        if any(s.name == name and not s.is_over for s in comer.subscriptions):
            if not any(r.get("topic") == name for r in comer.asked.values()):
                comer.ask(type=6, topic=name)
        else:
            comer.subscribe(name)

    def replace_publisher(self):
        """It closes in the midst of what it asked: by a close frame, or at once."""
        i = self.dice.randrange(len(self.publishers))
        old = self.publishers[i]
        if self.dice.random() < 0.7:
            old.is_closing = True
            old.out += frame(CLOSE, b"\x03\xe8")
            old.flush()
        else:
            old.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            old.sock.close()
            old.closed = "gone"
        self.past.append(old)
        self.publishers[i] = Client(self.broker.port)

    def run(self):
        self.begin()
        self.sent = 0
        while self.sent < self.count:
            for _ in range(self.dice.randrange(1, 60)):
                self.publish()
            if self.dice.random() < 0.3:
                self.come_and_go()
            if self.dice.random() < 0.05:
                self.replace_publisher()
            for client in [self.witness, *self.publishers, *self.comers, *self.past]:
                client.flush()
                while client.read():
                    pass
            for reader in self.readers:
                if not reader.lazy or self.dice.random() < 0.05:
                    reader.read(self.dice.choice((1000, 100000)))

    def end(self):
        """Everything arrives; whoever is there still ends its subscriptions, and with them what it was not told yet."""
        everybody = [self.witness, *self.readers, *self.publishers, *self.comers, *self.past]
        self.wait(lambda: all(c.closed is not None or not c.asked for c in self.publishers + self.past + self.comers), everybody)
        marks = {topic: self.publishers[0].ask(type=7, topic=topic, message=["last", ""]) for topic in TOPICS}
        self.wait(lambda: all((mark, 7) in self.publishers[0].acked for mark in marks.values()), everybody)
        self.wait(lambda: all(s.is_over or s.has_last() for c in [self.witness, *self.readers, *self.comers]
                              if c.closed is None for s in c.subscriptions), everybody)
        for client in [*self.readers, *self.comers]:
            if client.closed is None:
                for name in {s.name for s in client.subscriptions if not s.is_over}:
                    client.ask(type=6, topic=name)
        self.wait(lambda: all(c.closed is not None or not c.asked for c in everybody), everybody)

    def judge(self):
        order = {s.name: [message for _, message in s.seen] for s in self.witness.subscriptions}
        seen = set().union(*order.values())
        assert not any(what == "gap" for s in self.witness.subscriptions for what, _ in s.seen), "the witness was overrun"
        skipped = closed = 0
        for client in [self.witness, *self.readers, *self.comers]:
            if client.closed is not None:  # its rule was `close`: what it saw until then was right
                assert client.closed == 4008 and any(s.rule == "close" for s in client.subscriptions), client.closed
                closed += 1
            for subscription in client.subscriptions:
                subscription.since_begin &= client.closed is None
                subscription.judge(order)
                skipped += sum(value for what, value in subscription.seen if what == "gap")
        for publisher in self.past + self.publishers:
            unanswered = [r for r in publisher.asked.values() if r["type"] == 7 and r["message"][0] in seen]
            assert publisher.closed == "gone" or not unanswered, "%d were delivered and not answered" % len(unanswered)
            assert not publisher.is_closing or publisher.closed == 1000, publisher.closed
        print("      %d messages in order, %d told as missing, %d closed, %d publishers went" % (len(seen), skipped, closed, len(self.past)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40 if os.environ.get("TEST_LONG") else 5)
    parser.add_argument("--messages", type=int, default=3000)
    wanted = parser.parse_args()
    first = int(os.environ.get("TEST_SEED", random.randrange(1 << 30)))
    for seed in range(first, first + wanted.seeds):
        play = Play(seed, wanted.messages)
        with play.broker:
            play.run()
            play.end()
            play.judge()


main()
