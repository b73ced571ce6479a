# SPDX-License-Identifier: Apache-2.0
"""Nobody who lives is taken for dead: a broker that was held still, a client that reads slowly, one that is gone."""
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import CLOSE, PING, PONG, TEXT, Broker, Peer, close_code, frame, typed

INTERVAL = 5
faults = []


def answer_pings(client, until, pings):
    """Reads what comes and answers each PING, until the broker has sent it so many."""
    try:
        while pings[client] < until:
            opcode, payload = client.read()
            assert opcode != CLOSE, close_code(payload)
            if opcode == PING:
                pings[client] += 1
                client.send(frame(PONG, payload))
    except Exception as why:
        faults.append(repr(why))


def a_broker_that_was_held_still_ends_nobody():
    with Broker("--heartbeat", str(INTERVAL)) as broker:
        clients = [typed(broker.port) for _ in range(20)]
        for client in clients:
            client.ask({"type": 5, "id": 1, "topic": "t"})
        pings = dict.fromkeys(clients, 0)
        readers = [threading.Thread(target=answer_pings, args=(client, 2, pings)) for client in clients]
        for reader in readers:
            reader.start()
        os.kill(broker.process.pid, signal.SIGSTOP)
        time.sleep(INTERVAL * 2.5 + 1)  # what is waited for is the broker's misfortune
        os.kill(broker.process.pid, signal.SIGCONT)
        for reader in readers:
            reader.join()
        assert not faults, faults
        for client in clients:
            assert client.ask({"type": 7, "id": 2, "topic": "t", "message": 1})["receivers"] == 20


def who_reads_a_burst_slowly_is_not_dead():
    with Broker("--heartbeat", str(INTERVAL)) as broker:
        slow, publisher = typed(broker.port), typed(broker.port)
        slow.ask({"type": 5, "id": 1, "topic": "t"})
        for i in range(40):
            assert publisher.ask({"type": 7, "id": i, "topic": "t", "message": i})["receivers"] == 1
        begun = time.monotonic()
        for i in range(40):  # the PING waits behind them, for longer than 1.5 intervals
            opcode, payload = slow.read()
            assert opcode == TEXT and b'"message":%d' % i in payload, (opcode, payload)
            time.sleep(max(0, begun + (i + 1) * 0.25 - time.monotonic()))  # what is late once is not late each time
        while (event := slow.read())[0] != PING:
            assert event == (TEXT, b'{"type":1}'), event
        slow.send(frame(PONG, event[1]))
        assert slow.ask({"type": 1, "id": 1})["type"] == 1


def who_is_gone_behind_other_data_is_closed():
    """After three intervals, and within six; the kernel takes all that is sent to it. A clock is another client's PINGs."""
    with Broker("--heartbeat", str(INTERVAL)) as broker:
        gone, publisher, alive = (typed(broker.port) for _ in range(3))
        gone.ask({"type": 5, "id": 1, "topic": "t"})
        code, pings, i = [], {alive: 0}, 0
        threads = [threading.Thread(target=lambda: code.append(gone.read_close()[0])),
                   threading.Thread(target=answer_pings, args=(alive, 6, pings))]
        for thread in threads:
            thread.start()
        while not code and pings[alive] < 6:
            i += 1
            publisher.ask({"type": 7, "id": i, "topic": "t", "message": i})
            time.sleep(INTERVAL / 10)
        assert code == [4009] and pings[alive] >= 3, (code, pings)
        for thread in threads:
            thread.join()


def plain_heartbeats_come_beside_data():
    with Broker("--plain-heartbeat", "1") as broker:
        plain = Peer(broker.port)
        beats = 0
        while beats < 4:
            plain.send(frame(TEXT, "data"))
            got = set()
            while not any(b'"data"' in payload for _, payload in got):
                got.add(plain.read())
            beats += (TEXT, b'{"type":1}') in got
            time.sleep(0.1)


def run(test):
    try:
        test()
        print("ok", test.__name__, flush=True)
    except Exception as why:
        faults.append("%s: %r" % (test.__name__, why))


# They mostly wait, so they wait together.
threads = [threading.Thread(target=run, args=(test,)) for test in (
    a_broker_that_was_held_still_ends_nobody, who_reads_a_burst_slowly_is_not_dead,
    who_is_gone_behind_other_data_is_closed, plain_heartbeats_come_beside_data)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not faults, faults
