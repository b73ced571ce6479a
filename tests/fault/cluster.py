# SPDX-License-Identifier: Apache-2.0
"""Three nodes, a Redis, and everything that can become of them: ./dev fault cluster [--seconds N] [--seed S]

Publishers publish with keys and try again, with the same key, until there is an ACK. Subscribers come back at another
node with the last position that they know. Meanwhile links are cut, nodes and Redis are killed and stood still, Redis
is emptied, scripts are flushed, subscribers stall. When all is quiet each ACKed message has to be in each log, once,
in one order for all, or a GAP has to say that it is not (ledger.py).

Two controls show that this would be noticed: --without-recovery (subscribers come back without `since`) has to lose,
--without-keys (publishers retry without one) has to double. Then the verdict is `caught`, or the run has failed.

The seed draws the faults and who does what; what comes of it is time's, so a seed plays the like, not the same.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from ledger import NAMES_OF_WRONGS, Gap, Got, Ledger, Sent, matches  # noqa: E402
from peer import CLOSE, DEADLINE, PING, PONG, TEXT, Broker, Gone, Peer, frame  # noqa: E402
from redis_server import Redis, free_port  # noqa: E402

DEEP = ["deep/%d" % i for i in range(10)]  # all of it is kept
SHORT = ["short/%d" % i for i in range(2)]  # a window that moves on
LIVE = ["live/%d" % i for i in range(4)]  # no past
TOPICS = DEEP + SHORT + LIVE
FILTERS = ["#", "deep/+", "live/+", "short/#", "+/0", "+/1", "+/2", "+/3"]
RULES = """topic "short/#" { history = 50  history_bytes = "16K"  max_message = "2K"  max_buffered = "8K" }
topic "live/#" { history = 0 }
"""
ABOUT = "three nodes, a Redis and everything that can become of them"
NODES, PUBLISHERS, SUBSCRIBERS, BATCH = 3, 4, 8, 4
now = time.monotonic


class Node:
    def __init__(self, stage, index):
        self.stage, self.index, self.state, self.broker, self.port = stage, index, "down", None, free_port()
        self.start()

    def start(self):
        self.broker = Broker("--engine", "redis", "--redis", self.stage.redis.url, "--workers", str(self.stage.workers),
                             "--flush", self.stage.args.flush, "--config", self.stage.rules, "--history", str(self.stage.window),
                             "--history-bytes", "64M", "--max-message", "16K", listen="127.0.0.1:%d" % self.port,
                             env={"FANFARE_ENGINE": "redis", "FANFARE_REDIS_PREFIX": "fanfare:"})
        self.state = "up"

    def signal(self, what, state):
        assert self.broker.process.poll() is None, "node %d ended: %s" % (self.index, self.broker.log()[-6000:])
        self.broker.process.send_signal(what)
        self.state = state

    def kill(self):
        assert self.broker.process.poll() is None, "node %d ended: %s" % (self.index, self.broker.log()[-6000:])
        self.broker.kill()
        self.state = "down"
        log = self.broker.log()
        assert "Sanitizer" not in log and "runtime error" not in log, log
        with contextlib.suppress(AssertionError):
            self.broker.stop()  # it was killed: what remains is the log


class Client(threading.Thread):
    """Somebody with one connection at a time, at any node."""

    def __init__(self, stage, name, dice):
        super().__init__(name=name, daemon=True)
        self.stage, self.dice, self.peer, self.node, self.failure = stage, dice, None, None, None
        self.links = 0

    def connect(self, small=False):
        while not self.stage.is_over:
            others = [n for n in self.stage.nodes if n is not self.node] or self.stage.nodes
            self.node = self.dice.choice(others)
            sock = socket.socket()
            try:
                if small:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.settimeout(1 + 2 * self.dice.random())
                sock.connect(("127.0.0.1", self.node.port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer = Peer.over(sock)
                assert peer.status == 101, peer.status
                sock.settimeout(DEADLINE)
                peer.with_positions = True
                self.links += 1
                self.peer = peer
                return
            except (OSError, Gone):
                sock.close()
                time.sleep(0.02 + 0.1 * self.dice.random())
        raise SystemExit

    def leave(self):
        if self.peer:
            self.peer.close()
        self.peer = None

    def next(self, timeout):
        """The next message; None: nothing within so long."""
        event = self.peer.read(timeout)
        if event is None:
            return None
        if event[0] == PING:
            self.peer.send(frame(PONG, event[1]))
            return {"type": 0}
        if event[0] == CLOSE:
            raise Gone("closed: %s" % event[1][2:].decode())
        assert event[0] == TEXT, event
        return json.loads(event[1])

    def run(self):
        try:
            self.live()
        except SystemExit:
            pass
        except BaseException as why:  # told by who waits for it
            self.failure = why
            self.stage.failures.append("%s: %r" % (self.name, why))
            raise


class Publisher(Client):
    """A few topics at once; none of them is spoken to again before its ACK."""

    def __init__(self, stage, number, dice):
        super().__init__(stage, "publisher %d" % number, dice)
        self.number, self.n, self.ends, self.is_done = number, 0, 0, False
        self.slowest = 0

    def live(self):
        while not self.stage.is_over:
            if self.stage.is_on:
                self.publish(self.dice.sample(TOPICS, BATCH))
                time.sleep(self.stage.pause * (0.5 + self.dice.random()))
            elif self.ends < self.stage.ends:
                self.publish(TOPICS, is_end=True)
                self.ends += 1
            else:
                time.sleep(0.05)

    def publish(self, topics, is_end=False):
        open_ones, messages = {}, {}
        for topic in topics:
            self.n += 1
            m = Sent(self.number, self.n, topic, now())
            self.stage.ledger.sent[m.id] = m
            open_ones[self.n] = m
            messages[self.n] = {"type": 7, "id": self.n, "topic": topic,
                                "message": m.id + ":" + "x" * self.dice.randrange(300)}
            if not self.stage.args.without_keys:
                messages[self.n]["key"] = "%s-%s" % (self.stage.salt, m.id)
        while open_ones:
            if not self.peer:
                self.connect()
            try:
                self.attempt(open_ones, [messages[n] for n in open_ones])
            except (Gone, OSError):
                self.leave()
            if open_ones:
                self.stage.retries += 1
                if not is_end and self.dice.random() < 0.05:
                    for m in open_ones.values():
                        m.is_abandoned = True
                    return
                time.sleep(0.02 + 0.2 * self.dice.random())

    def attempt(self, open_ones, batch):
        waiting, patience = set(open_ones), now() + 1 + 4 * self.dice.random()
        self.peer.send_json(batch)
        while waiting:
            left = patience - now()
            answer = self.next(max(left, 0.001))
            if answer is None:
                if left <= 0.001:
                    raise Gone("no answer: it is tried elsewhere")
                continue
            if answer.get("id") not in waiting:
                continue
            waiting.remove(answer["id"])
            m = open_ones[answer["id"]]
            if answer["type"] == 8:
                m.acked, m.epoch, m.offset = now(), answer.get("epoch"), answer.get("offset")
                self.slowest = max(self.slowest, m.acked - m.started)
                del open_ones[answer["id"]]
            elif answer["code"] not in (408, 503) or not answer.get("retry"):
                self.stage.ledger.wrong("strange", "a publish is answered", answer)
                del open_ones[answer["id"]]


class Subscriber(Client):
    def __init__(self, stage, number, dice):
        super().__init__(stage, "subscriber %d" % number, dice)
        names = dice.sample(DEEP, 4) + dice.sample(SHORT, 1) + dice.sample(LIVE, 2)
        filters = {FILTERS[number % len(FILTERS)], dice.choice(FILTERS[1:])}
        self.accounts = [stage.ledger.open("subscriber %d" % number, t) for t in names + sorted(filters)]
        self.by_topic = {account.topic: account for account in self.accounts}
        self.is_small = number % 4 == 0
        self.stalls_until, self.is_cut = 0, False
        self.wanted_ends = {(account.topic, t, p) for account in self.accounts for t in TOPICS for p in range(PUBLISHERS)
                            if (matches(account.topic, t) if account.is_filter else t == account.topic)}
        self.has = collections.defaultdict(set)  # of each round

    def live(self):
        while not self.stage.is_over:
            self.connect(self.is_small)
            try:
                self.begin(self.accounts)
                self.follow()
            except (Gone, OSError):
                pass
            self.leave()
            if not self.stage.is_over:
                for account in self.accounts:
                    account.end(now(), self.links)
                time.sleep((4 if self.dice.random() < 0.3 else 0.5) * self.dice.random())

    def begin(self, accounts):
        requests, self.asked = [], {}
        for account in accounts:
            i = self.accounts.index(account)
            request = {"type": 5, "id": i, "topic": account.topic}
            if account.position and not account.is_filter and not self.stage.args.without_recovery:
                request["since"] = dict(zip(("epoch", "offset"), account.position))
            self.asked[i] = request.get("since")
            requests.append(request)
        self.peer.send_json(requests)

    def follow(self):
        again = []
        while not self.stage.is_over:
            if self.stalls_until > now():
                time.sleep(max(self.stalls_until - now(), 0))
            if self.is_cut:
                self.is_cut = False
                raise Gone("cut")
            message = self.next(0.1)
            if again and again[0][0] <= now():
                account = again.pop(0)[1]
                asked = self.asked
                self.begin([account])
                self.asked = {**asked, **self.asked}
            if message:
                self.take(message, again)

    def take(self, message, again):
        kind, time_now = message["type"], now()
        if kind == 8:
            self.accounts[message["id"]].begin(time_now, self.links, message, self.asked[message["id"]])
        elif kind == 9:
            if message["code"] != 503 or not message.get("retry"):
                self.stage.ledger.wrong("strange", "a subscription is answered", message)
                raise Gone("what now?")
            again.append((time_now + 0.2, self.accounts[message["id"]]))
        elif kind == 10:
            self.by_topic[message["topic"]].gap(time_now, self.links, message)
        elif kind == 2:
            name = message["message"].split(":")[0]
            account = self.by_topic[message.get("filter", message["topic"])]
            account.take(time_now, self.links, message, name)
            m = self.stage.ledger.sent.get(name)
            if m and self.stage.ends:
                self.has[self.stage.ends].add((account.topic, m.topic, m.publisher))

    def has_all(self, turn):
        return self.has[turn] >= self.wanted_ends


class Stage:
    """One run, with so many workers at each node."""

    def __init__(self, args, workers, seed):
        self.args, self.workers, self.seed, self.dice = args, workers, seed, random.Random("%d %d" % (seed, workers))
        self.folder = tempfile.mkdtemp(prefix="fanfare-cluster-")
        self.rules = os.path.join(self.folder, "rules.conf")
        with open(self.rules, "w") as f:
            f.write(RULES)
        # All of a deep topic, but no more: a window that is larger than epochs lie apart would hide what an epoch ends.
        self.window = max(1000, int(1.5 * args.rate * (args.seconds + 20) / len(TOPICS)))
        self.ledger = Ledger(TOPICS, set(LIVE), set(SHORT))
        self.pause, self.salt = PUBLISHERS * BATCH / args.rate, "%x" % random.getrandbits(64)
        self.is_on, self.is_over, self.ends, self.retries, self.failures = True, False, 0, 0, []
        self.undo, self.done, self.begun = [], collections.Counter(), now()
        self.redis, self.redis_state, self.down = Redis(True, "--stream-node-max-bytes", "512"), "up", 0
        self.nodes = [Node(self, i) for i in range(NODES)]
        self.publishers = [Publisher(self, i, random.Random(self.dice.random())) for i in range(PUBLISHERS)]
        self.subscribers = [Subscriber(self, i, random.Random(self.dice.random())) for i in range(SUBSCRIBERS)]

    def later(self, seconds, what, *args):
        self.undo.append((now() + seconds, what, args))
        self.undo.sort(key=lambda one: one[0])

    def settle(self, all_of_it=False):
        """What was to be undone by now is."""
        while self.undo and (all_of_it or self.undo[0][0] <= now()):
            _, what, args = self.undo.pop(0)
            what(*args)

    def tell(self, *what):
        if self.args.verbose:
            print("  %7.2f" % (now() - self.begun), *what, flush=True)

    def play(self):
        for client in self.subscribers:
            client.start()
        self.wait(lambda: all(a.log for s in self.subscribers for a in s.accounts), "to be subscribed")
        for client in self.publishers:
            client.start()
        until, spoken = now() + self.args.seconds, now()
        while now() < until and not self.failures:
            self.settle()
            if now() - spoken > 10:
                spoken = now()
                print("  %3.0f s: %d faults, %d sent" % (spoken - self.begun, sum(self.done.values()), len(self.ledger.sent)),
                      flush=True)
            at = now() + self.args.every * (0.15 + 0.85 * self.dice.random())
            self.one_fault()
            while now() < min(at, until):
                time.sleep(0.02)
                self.settle()
        self.calm()

    def one_fault(self):
        able = [f for f in FAULTS for _ in range(f.weight) if f.name not in self.args.without and f.can(self)]
        if able:
            fault = self.dice.choice(able)
            self.done[fault.name] += 1
            self.tell(fault.name)
            fault.run(self)

    def calm(self):
        """The faults have ended; when each subscriber has heard each publisher once more, nothing is under way."""
        self.settle(all_of_it=True)
        self.is_on = False
        end = now() + DEADLINE
        while not self.failures and not (self.ends and all(s.has_all(self.ends) for s in self.subscribers)):
            if now() > end:
                for s in self.subscribers:
                    for account, topic in sorted({miss[:2] for miss in s.wanted_ends - s.has[self.ends]}):
                        self.ledger.wrong("lost", "%s, %s hears nothing of %s any more, at node %d" % (
                            s.name, account, topic, s.node.index))
                break
            time.sleep(3)
            self.wait(lambda: all(p.ends == self.ends for p in self.publishers), "for publishers")
            self.ends += 1
            patience = now() + 10
            while now() < patience and not all(s.has_all(self.ends) for s in self.subscribers):
                time.sleep(0.1)
        time.sleep(0.5)
        self.is_over = True
        for client in self.publishers + self.subscribers:
            client.join(DEADLINE)

    def wait(self, is_so, what):
        end = now() + DEADLINE
        while not is_so() and not self.failures:
            assert now() < end, "waited " + what
            time.sleep(0.05)

    def kept(self):
        script = ("local r = {} for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do "
                  "r[#r + 1] = string.match(e[2][2], '\"(%d+%.%d+):') end return table.concat(r, ' ')")
        return {t: self.redis.ask("EVAL", script, 1, "fanfare:s:" + t).decode().split() for t in DEEP + SHORT}

    def close(self):
        self.is_over = True
        try:
            for node in self.nodes:
                if node.state == "stopped":
                    node.signal(signal.SIGCONT, "up")
            for node in self.nodes:
                if node.state == "up":
                    node.broker.stop()  # which looks at what a sanitizer may have said
        finally:
            for node in self.nodes:
                if node.broker.process.poll() is None:
                    node.broker.kill()
            self.redis.stop()
            shutil.rmtree(self.folder, ignore_errors=True)


# The faults. What has to be undone later is; others may come meanwhile.

Fault = collections.namedtuple("Fault", "name weight can run")
FAULTS = []


def fault(weight, can=lambda stage: True):
    def add(run):
        FAULTS.append(Fault(run.__name__.replace("_", "-"), weight, can, run))
        return run
    return add


def redis_is_up(stage):
    return stage.redis_state == "up"


def a_node_is_up(stage):
    return any(node.state == "up" for node in stage.nodes)


def some_node(stage):
    return stage.dice.choice([node for node in stage.nodes if node.state == "up"])


@fault(4, redis_is_up)
def cut_subscribing_links(stage):
    stage.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")


@fault(4, redis_is_up)
def cut_command_links(stage):
    stage.redis.ask("CLIENT", "KILL", "TYPE", "normal")


@fault(1, redis_is_up)
def cut_all_links(stage):
    for kind in stage.dice.sample(("pubsub", "normal"), 2):
        stage.redis.ask("CLIENT", "KILL", "TYPE", kind)


@fault(1, redis_is_up)
def flush_scripts(stage):
    stage.redis.ask("SCRIPT", "FLUSH")


@fault(3, a_node_is_up)
def kill_node(stage):
    node = some_node(stage)
    node.kill()
    stage.later(2 * stage.dice.random(), node.start)


def node_goes_on(node):
    if node.state == "stopped":
        node.signal(signal.SIGCONT, "up")


@fault(3, a_node_is_up)
def stop_node(stage):
    node = some_node(stage)
    node.signal(signal.SIGSTOP, "stopped")
    stage.later(0.5 + 3.5 * stage.dice.random(), node_goes_on, node)


def redis_goes_on(stage):
    stage.redis.go_on()
    stage.redis_state = "up"


@fault(3, redis_is_up)
def stop_redis(stage):
    stage.redis.stall()
    stage.redis_state = "stopped"
    stage.later(0.5 + 3.5 * stage.dice.random(), redis_goes_on, stage)


def redis_comes_back(stage, is_empty, down):
    if is_empty:
        shutil.rmtree(os.path.join(stage.redis.folder, "appendonlydir"))
    stage.redis.start()
    stage.redis_state = "up"
    (stage.ledger.wipes if is_empty else stage.ledger.restarts).append((down, now()))


def kill_it(stage, is_empty):
    down = now()
    stage.redis.kill()
    stage.redis_state = "down"
    stage.later(3 * stage.dice.random() ** 2, redis_comes_back, stage, is_empty, down)


@fault(3, redis_is_up)
def kill_redis(stage):
    kill_it(stage, False)


@fault(1, redis_is_up)
def empty_redis(stage):
    kill_it(stage, True)


@fault(2)
def stall_subscriber(stage):
    stage.dice.choice(stage.subscribers).stalls_until = now() + 0.5 + 2.5 * stage.dice.random()


@fault(2)
def cut_subscriber(stage):
    stage.dice.choice(stage.subscribers).is_cut = True


# What came of it.

def verdict(stage, wrongs):
    if stage.failures:
        return "FAILED: " + stage.failures[0]
    control = ("lost" if stage.args.without_recovery else "doubled" if stage.args.without_keys else None)
    if control:
        return "caught" if wrongs[control] else "FAILED: nothing was %s" % control
    return "FAILED" if any(wrongs[kind] for kind in NAMES_OF_WRONGS) else "held"


def run_one(args, workers, seed):
    row = {"workers": workers, "verdict": "FAILED"}
    stage = Stage(args, workers, seed)
    try:
        stage.play()
        wrongs = stage.ledger.judge(stage.kept())
        row.update(wrongs)
        row.update(faults=sum(stage.done.values()), acked=sum(bool(m.acked) for m in stage.ledger.sent.values()),
                   sent=len(stage.ledger.sent), retries=stage.retries, delivered=stage.ledger.delivered,
                   undone=len(stage.ledger.undone), outage=max(p.slowest for p in stage.publishers),
                   gaps=sum(stage.ledger.gaps.values()), verdict=verdict(stage, wrongs))
        print("  faults: " + ", ".join("%d %s" % (n, name) for name, n in stage.done.most_common()))
        print("  GAPs: " + (", ".join("%d %s" % (n, cause) for cause, n in stage.ledger.gaps.most_common()) or "none"))
        said = collections.Counter()
        for wrong in stage.ledger.wrongs:
            said[wrong[0]] += 1
            if said[wrong[0]] <= args.show:
                print("  " + " ".join(str(word) for word in wrong))
        for m in stage.ledger.undone[:args.show]:
            print("  undone %s at %s %s:%d, acked at %.2f" % (m.id, m.topic, m.epoch, m.offset, m.acked - stage.begun))
    except AssertionError as why:
        row["verdict"] = "FAILED: %s" % why
    finally:
        try:
            stage.close()
        except AssertionError as why:
            row["verdict"] = "FAILED: %s" % why
    return row


COLUMNS = ("workers", "faults", "sent", "acked", "retries", "delivered", "gaps", "lost", "doubled", "reordered", "silent",
           "strange", "undone")


def table(rows, seed):
    print("\n" + " ".join("%9s" % name for name in COLUMNS) + "   max outage s  verdict")
    for row in rows:
        print(" ".join("%9d" % row.get(name, 0) for name in COLUMNS) + "   %12.1f  %s" % (row.get("outage", 0), row["verdict"]))
    failed = sum(row["verdict"].startswith("FAILED") for row in rows)
    print("seed %d: %d passed, %d failed" % (seed, len(rows) - failed, failed))
    return 1 if failed else 0


def main(words):
    parser = argparse.ArgumentParser(prog="fault cluster", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="for which faults come, with each number of workers [30]")
    parser.add_argument("--seed", type=int, help="of the faults, and of who does what [drawn]")
    parser.add_argument("--workers", type=int, action="append", help="of each node; may be said again [1, then 4]")
    parser.add_argument("--flush", default="auto", help="as the broker's [auto]")
    parser.add_argument("--rate", type=float, default=800, help="messages a second, in all [800]")
    parser.add_argument("--every", type=float, default=2, help="seconds between faults, at most [2]")
    parser.add_argument("--without", action="append", default=[], metavar="FAULT", help="leave this one out: " +
                        ", ".join(f.name for f in FAULTS))
    parser.add_argument("--only", action="append", default=[], metavar="FAULT", help="no others than these")
    parser.add_argument("--without-recovery", action="store_true", help="control: subscribers come back without since")
    parser.add_argument("--without-keys", action="store_true", help="control: publishers retry without a key")
    parser.add_argument("--show", type=int, default=5, help="of each kind of what is wrong, so many [5]")
    parser.add_argument("--verbose", action="store_true", help="each fault as it comes")
    args = parser.parse_args(words)
    if args.only:
        args.without += [f.name for f in FAULTS if f.name not in args.only]
    seed = random.randrange(1 << 30) if args.seed is None else args.seed
    rows = []
    for workers in args.workers or [1, 4]:
        print("fault: cluster, %g s, %d workers, seed %d" % (args.seconds, workers, seed), flush=True)
        rows.append(run_one(args, workers, seed))
    return table(rows, seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
