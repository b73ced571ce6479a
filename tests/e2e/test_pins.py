# SPDX-License-Identifier: Apache-2.0
"""Many clients stall, each in a large frame of its own: they pay, and never who reads."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import TEXT, Broker, Gone, frame, typed

TEXT_OF = "x" * 60000


def publish(publisher, i):
    got = publisher.ask({"type": 7, "id": i, "topic": "big", "message": [i, TEXT_OF]})
    assert got["type"] == 8, got


def stall(broker, publisher, count):
    """The k-th client is cut in the k-th message."""
    stalled = []
    for k in range(count):
        client = typed(broker.port, rcvbuf=4096)
        assert client.ask({"type": 5, "id": 1, "topic": "big"})["type"] == 8
        stalled.append(client)
        publish(publisher, k)
    return stalled


def read_on(client, first, last):
    """Reads what it stood in, what it missed is told exactly, then up to the newest. False: it was closed."""
    expected = first
    try:
        while expected <= last:
            got = client.read_json()
            if got["type"] == 10:
                assert got["cause"] == "slow", got
                expected += got["skipped"]
            elif got["type"] == 2:
                assert got["message"][0] == expected, (got["message"][0], expected)
                expected += 1
    except Gone:
        return False
    return True


def who_reads_gets_all():
    for workers, stalled_count, least, most in ("1", 75, 60, 70), ("3", 75, 60, 75), ("1", 60, 60, 60):
        with Broker("--workers", workers) as broker:
            publisher = typed(broker.port)
            stalled = stall(broker, publisher, stalled_count)
            reader = typed(broker.port)
            assert reader.ask({"type": 5, "id": 1, "topic": "big"})["type"] == 8
            for i in range(480):
                publish(publisher, stalled_count + i)
                assert reader.read_json() == {"type": 2, "topic": "big", "message": [stalled_count + i, TEXT_OF]}
            lived = [read_on(client, k, stalled_count + 479) for k, client in enumerate(stalled)]
            print("   %s workers: %d of %d stalled clients lived" % (workers, sum(lived), stalled_count))
            assert least <= sum(lived) <= most, lived
            if workers == "1":  # who was idle longest went, nobody else
                assert lived == sorted(lived), lived


who_reads_gets_all()
print("ok")
