# SPDX-License-Identifier: Apache-2.0
"""1,000 subscribers that stop reading and 100 that read: what it costs, and what they are told.

20 MiB under the sanitizers, 200 MiB on the release binary (1 GiB with --long). Memory is the
broker's own count of live bytes in both, and RSS on the release binary.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer  # noqa: E402

TOOL = os.path.join(os.environ.get("TEST_PEERS", peer.BIN), "backpressure")
RELEASE = os.environ.get("TEST_RELEASE", os.path.join(peer.BIN, "../../release/bin"))
BOUND = (1 << 20) + (8 << 20)  # max_buffered + 8 MiB
LONG = bool(os.environ.get("TEST_LONG"))


def run(binaries, rule, mib, stalled=1000, readers=100, check_rss=False):
    peer.BIN = binaries
    with peer.Broker("--sys", "--max-buffered", "1M", "--max-message", "64K", "--heartbeat", "300") as broker:
        done = subprocess.run([TOOL, str(broker.port), str(broker.process.pid), rule, str(mib),
                               str(stalled), str(readers)], capture_output=True, text=True,
                              timeout=600)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        print(("release" if check_rss else "dev"), done.stdout.strip(), flush=True)
        assert seen["live_growth"] <= BOUND, seen
        if check_rss:
            assert seen["rss_growth"] <= BOUND, seen


dev = peer.BIN
for rule, mib in ("skip", 20), ("latest", 8), ("close", 8):
    run(dev, rule, mib)
run(RELEASE, "skip", 1024 if LONG else 200, check_rss=True)
for rule in "latest", "close":
    run(RELEASE, rule, 20, check_rss=True)
print("ok")
