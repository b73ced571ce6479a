# SPDX-License-Identifier: Apache-2.0
"""What publishers were promised, held against what subscribers were sent and told.

Everything that a client of tests/fault/cluster.py does or sees is written down here as it comes, and judged when all
is quiet. The words:

  lost       an ACKed message that a subscription's log has not, and no GAP covers it
  doubled    a message that a log has twice, though nobody said that the first one is no more
  reordered  an offset that does not grow, or another message at an offset than elsewhere; without history: the
             messages of one publisher, who waits for each ACK, in another order
  silent     offsets that were jumped over, or a return with recovered:false, without a GAP
  strange    what was never sent, an ACK that contradicts itself, a GAP "lost" for which there was no reason, an ERROR
             that nobody should get
  undone     ACKed, and no part of the topic any more, though Redis was never emptied since: subscribers are told of it
             by a GAP "rollback", but an ACK of a Redis that keeps its data should be worth more
"""
import bisect
import collections
import threading

NAMES_OF_WRONGS = ("lost", "doubled", "reordered", "silent", "strange")


def matches(pattern, topic):
    wanted, given = pattern.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(given) or level not in ("+", given[i]):
            return False
    return len(wanted) == len(given)


class Sent:
    """A message, from its first attempt on."""

    def __init__(self, publisher, n, topic, started):
        self.publisher, self.n, self.topic, self.started = publisher, n, topic, started
        self.acked, self.epoch, self.offset, self.is_abandoned, self.tries = None, None, None, False, 0

    @property
    def id(self):
        return "%d.%d" % (self.publisher, self.n)


Ack = collections.namedtuple("Ack", "time link epoch offset recovered since")
Got = collections.namedtuple("Got", "time link epoch offset id")
Gap = collections.namedtuple("Gap", "time link cause first last epoch offset before")
End = collections.namedtuple("End", "time link")


class Account:
    """One subscription's log, over all its connections. Where it stands is kept here, too: it is the next `since`."""

    def __init__(self, owner, topic, has_history):
        self.owner, self.topic, self.has_history = owner, topic, has_history
        self.is_filter = "+" in topic or "#" in topic
        self.log, self.position, self.wrongs = [], None, []
        self.owes_gap = False

    def wrong(self, kind, *what):
        self.wrongs.append((kind, "%s of %s" % (self.topic, self.owner)) + what)

    def begin(self, now, link, ack, since):
        epoch, offset = ack.get("epoch"), ack.get("offset")
        self.log.append(Ack(now, link, epoch, offset, ack.get("recovered"), since))
        if self.is_filter or not self.has_history:
            return
        if not epoch or offset is None:
            self.wrong("strange", "an ACK without a position", ack)
        elif since is None:
            if self.position is None:  # else it is a control, which forgets to say where it was
                self.position = [epoch, offset]
        else:
            self.owes_gap = not ack["recovered"]
            if ack["recovered"]:
                if offset != since["offset"]:
                    self.wrong("strange", "recovered, but elsewhere", since, ack)
                self.position = [epoch, offset]

    def gap(self, now, link, message):
        self.log.append(Gap(now, link, message["cause"], message.get("from"), message.get("to"), message.get("epoch"),
                            message.get("offset"), tuple(self.position) if self.position else None))
        self.owes_gap = False
        if self.is_filter or not self.has_history:
            return
        if message.get("offset"):
            expected = self.position[1] + 1
            if message["cause"] in ("expired", "slow") and message["from"] != expected:
                self.wrong("silent" if message["from"] > expected else "reordered", "GAP elsewhere", message, expected)
            self.position = [message["epoch"], message["offset"] - 1]
        else:
            self.wrong("strange", "a GAP without a position", message)

    def take(self, now, link, message, name):
        if self.is_filter or not self.has_history:
            self.log.append(Got(now, link, message.get("epoch"), message.get("offset"), name))
            return
        epoch, passed = self.position
        offset = message.get("offset", 0)
        if self.owes_gap or offset > passed + 1:
            self.wrong("silent", "after %s %d comes %d (%s)" % (epoch, passed, offset, name), "owed" if self.owes_gap else "")
        elif offset <= passed:
            self.wrong("reordered", "after %s %d comes %d (%s)" % (epoch, passed, offset, name))
        self.owes_gap = False
        self.log.append(Got(now, link, epoch, offset, name))
        self.position[1] = offset

    def end(self, now, link):
        self.log.append(End(now, link))


class Ledger:
    def __init__(self, topics, without_history, windowed):
        self.topics, self.without_history, self.windowed = topics, without_history, windowed
        self.lock = threading.Lock()
        self.sent, self.accounts, self.wrongs = {}, [], []
        self.restarts, self.wipes = [], []  # of Redis: (down, up)

    def open(self, owner, topic):
        account = Account(owner, topic, topic not in self.without_history)
        self.accounts.append(account)
        return account

    def wrong(self, kind, *what):
        with self.lock:
            self.wrongs.append((kind,) + what)

    def was_wiped(self, since, until):
        return any(up >= since and down <= until for down, up in self.wipes)

    def was_restarted(self, since, until):
        return any(up >= since and down <= until for down, up in self.restarts + self.wipes)

    def judge(self, kept):
        """`kept`: the ids that Redis has at the end, for each topic with history."""
        self.kept = {topic: set(ids) for topic, ids in kept.items()}
        self.by_topic = collections.defaultdict(list)
        for m in self.sent.values():
            self.by_topic[m.topic].append(m)
        self.places = {}
        for topic, ids in kept.items():
            for name, count in collections.Counter(ids).items():
                if count > 1:
                    self.wrong("doubled", "%s stands %d times in the stream of %s" % (name, count, topic))
        for m in self.sent.values():
            if m.epoch:
                self.stands(m.topic, m.epoch, m.offset, m.id, "ACK")
        for account in self.accounts:
            self.judge_account(account)
            self.wrongs += account.wrongs
        last_wipe = max((up for _, up in self.wipes), default=0)
        self.undone = [m for m in self.sent.values() if m.acked and m.started > last_wipe and m.topic in kept and
                       m.topic not in self.windowed and m.id not in self.kept[m.topic]]
        self.delivered = sum(isinstance(e, Got) for a in self.accounts for e in a.log)
        self.gaps = collections.Counter(e.cause for a in self.accounts for e in a.log if isinstance(e, Gap))
        return collections.Counter(w[0] for w in self.wrongs)

    def stands(self, topic, epoch, offset, name, who):
        other = self.places.setdefault((topic, epoch, offset), name)
        if other != name:
            self.wrong("reordered", "%s %s:%s is %s for some, %s for %s" % (topic, epoch, offset, other, name, who))

    def judge_account(self, account):
        gots = [(i, e) for i, e in enumerate(account.log) if isinstance(e, Got)]
        for _, e in gots:
            m = self.sent.get(e.id)
            if not m or not (matches(account.topic, m.topic) if account.is_filter else m.topic == account.topic):
                self.wrong("strange", "%s was never sent to %s" % (e.id, account.topic))
            elif e.epoch:
                self.stands(m.topic, e.epoch, e.offset, e.id, account.owner)
        if account.is_filter or not account.has_history:
            self.judge_links(account)
        else:
            self.judge_recovery(account, gots)

    # A name with history: one log, whatever connections it came by.

    def judge_recovery(self, account, gots):
        self.judge_doubles(account)
        begun = next((e for e in account.log if isinstance(e, Ack)), None)
        if not begun:
            self.wrong("lost", "%s of %s never began" % (account.topic, account.owner))
            return
        delivered = {e.id for _, e in gots}
        gaps = [e for e in account.log if isinstance(e, Gap)]
        for gap in gaps:
            if not self.is_just(account, gap):
                at = account.log.index(gap)
                self.wrong("strange", "%s without a reason: %s of %s" % (gap.cause, account.topic, account.owner), gap,
                           "after", *account.log[max(at - 3, 0):at])
        for m in self.by_topic[account.topic]:
            if not m.acked or m.id in delivered:
                continue
            if not (m.started > begun.time or (m.epoch == begun.epoch and m.offset > begun.offset)):
                continue
            if not any(self.covers(gap, m) for gap in gaps):
                self.wrong("lost", "%s at %s %s:%d by %s, acked at %.2f" % (
                    m.id, m.topic, m.epoch, m.offset, account.owner, m.acked))

    def covers(self, gap, m):
        if gap.cause == "expired" and m.topic not in self.windowed and m.id in self.kept[m.topic]:
            return False  # it is there
        if gap.cause in ("expired", "slow"):
            return gap.first <= m.offset <= gap.last
        if gap.before and m.epoch == gap.before[0] and m.offset <= gap.before[1]:
            return bool(gap.first and gap.first <= m.offset <= gap.last)
        is_before = m.started < gap.time and not (m.epoch == gap.epoch and m.offset >= gap.offset)
        if gap.cause == "rollback":  # what is still there was to be sent first
            return is_before and m.id not in self.kept[m.topic]
        return is_before

    def is_just(self, account, gap):
        """Emptied since, or where it stood is itself no more, or it was slow while one epoch became another. What is kept
        as a whole does not expire."""
        if gap.cause not in ("lost", "expired") or (gap.cause == "expired" and account.topic in self.windowed):
            return True
        before = [e for e in account.log[:account.log.index(gap)] if isinstance(e, (Got, Ack))]
        if not before or self.was_wiped(before[-1].time - 8, gap.time):
            return True
        if account.topic in self.windowed:
            return self.was_restarted(before[-1].time - 8, gap.time)
        last = next((e.id for e in reversed(before) if isinstance(e, Got)), None)
        return last is not None and last not in self.kept[account.topic]

    def judge_doubles(self, account):
        seen = {}
        for e in account.log:
            if isinstance(e, Gap) and e.cause == "rollback" and e.first:
                seen = {name: got for name, got in seen.items() if not e.first <= got.offset <= e.last}
            if not isinstance(e, Got):
                continue
            first = seen.setdefault(e.id, e)
            m = self.sent.get(e.id)
            if first is not e and m and not (first.epoch != e.epoch and self.was_wiped(m.started, e.time)):
                self.wrong("doubled", "%s of %s has %s at %s:%s and %s:%s" % (
                    account.topic, account.owner, e.id, first.epoch, first.offset, e.epoch, e.offset))

    # Filters, and names without history: each connection for itself; order is that of each publisher.

    def judge_links(self, account):
        links = collections.defaultdict(list)
        for e in account.log:
            links[e.link].append(e)
        final = account.log[-1].link if account.log and not isinstance(account.log[-1], End) else None
        for link, log in links.items():
            self.judge_link(account, log, link == final)

    def judge_link(self, account, log, is_final):
        begun = next((i for i, e in enumerate(log) if isinstance(e, Ack)), None)
        if begun is None:
            return
        gaps = [i for i, e in enumerate(log) if isinstance(e, Gap)]
        lines = collections.defaultdict(list)  # of a topic and a publisher: (n, where in the log)
        seen, tops = {}, {}
        for i, e in enumerate(log):
            m = self.sent.get(e.id) if isinstance(e, Got) else None
            if not m:
                continue
            if e.id in seen:
                if not self.was_wiped(m.started, e.time):
                    self.wrong("doubled", "%s of %s has %s twice by one connection: %s, %s" % (
                        account.topic, account.owner, e.id, log[seen[e.id]], e))
                continue
            seen[e.id] = i
            if e.offset:
                top = tops.get(m.topic)
                if top and top[0] == e.epoch and e.offset <= top[1]:
                    self.wrong("reordered", "%s of %s: %s comes after %d" % (account.topic, account.owner, e, top[1]))
                tops[m.topic] = (e.epoch, e.offset)
            if m.acked:
                line = lines[m.topic, m.publisher]
                if line and line[-1][0] > m.n:
                    self.wrong("reordered", "%s of %s: %s comes after %d" % (account.topic, account.owner, e.id, line[-1][0]))
                else:
                    line.append((m.n, i))
        for topic in self.topics:
            if matches(account.topic, topic) if account.is_filter else topic == account.topic:
                self.judge_lines(account, topic, log, begun, gaps, seen, lines, is_final)

    def judge_lines(self, account, topic, log, begun, gaps, seen, lines, is_final):
        """What misses between two messages of one publisher has a GAP between them."""
        for m in self.by_topic[topic]:
            if not m.acked or m.id in seen or m.started <= log[begun].time:
                continue
            line = lines[topic, m.publisher]
            at = bisect.bisect(line, (m.n, len(log)))
            if at == len(line) and not is_final:
                continue  # cut before it could come
            before = line[at - 1][1] if at else begun
            after = line[at][1] if at < len(line) else len(log)
            if bisect.bisect(gaps, before) < bisect.bisect(gaps, after):
                continue
            late = bisect.bisect(gaps, before) < len(gaps)
            self.wrong("lost", "%s at %s %s:%s by %s of %s, acked at %.2f%s" % (
                m.id, topic, m.epoch, m.offset, account.topic, account.owner, m.acked,
                ", a GAP comes only behind later ones" if late else ""))
