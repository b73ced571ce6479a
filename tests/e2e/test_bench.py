# SPDX-License-Identifier: Apache-2.0
"""fanfare-bench: its loads run against the broker, and it sees what a server does wrong."""
import asyncio
import json
import os
import subprocess
import sys
import threading

import websockets

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import DEADLINE, Broker  # noqa: E402

BENCH = os.environ["TEST_BIN"] + "/fanfare-bench"


def bench(*arguments):
    done = subprocess.run([BENCH, *arguments, "--json"], capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def load(port, *arguments):
    """Longer and longer, until something was measured: a busy machine may take all of a short time for itself."""
    for seconds in "0.3", "2", "10", "30":
        code, got = bench(*arguments, "--url", "ws://127.0.0.1:%d/ws" % port, "--seconds", seconds, "--warm-up", "0.1")
        assert code == 0, got
        if all(value > 0 for name, value in got.items() if name.endswith("_s")):
            return got
    raise AssertionError(got)


def loads_run():
    with Broker() as broker:
        pid = str(broker.process.pid)
        for dialect in "fanfare-json", "fanfare-msgpack", "fanfare-plain":
            for arguments in (["fanout", "--subscribers", "20", "--window", "50", "--publishers", "3"],
                              ["fanout", "--subscribers", "20", "--window", "5", "--sliding", "--size", "5000"],
                              ["rooms", "--topics", "20", "--subscribers", "3"],
                              ["rate", "--subscribers", "10", "--rate", "500"]):
                got = load(broker.port, *arguments, "--dialect", dialect, "--pid", pid)
                assert got["verdict"] == "all arrived" and got["deliveries_s"] > 0 and got["cpu_ns"] > 0, got
        for size in "100", "1024", "20000":  # some go plain, some compressed
            got = load(broker.port, "fanout", "--subscribers", "20", "--window", "20", "--size", size, "--deflate")
            assert got["verdict"] == "all arrived", got
        got = load(broker.port, "slow", "--subscribers", "20", "--stalled", "5", "--window", "50", "--size", "1024")
        assert got["verdict"] == "all arrived" and got["stalled_gone"] == 0, got
        assert load(broker.port, "publish", "--window", "100")["messages_s"] > 0
        assert load(broker.port, "connect", "--concurrency", "8")["connections_s"] > 0
        assert load(broker.port, "return", "--connections", "200")["returned"] == 200
        got = load(broker.port, "idle", "--connections", "300", "--processes", "3", "--pid", pid)
        assert got["connections"] == 300, got


class Liar:
    """Broadcasts, and does to every 20th message what it was told."""

    def __init__(self, lie):
        self.lie, self.count, self.held, self.listeners = lie, 0, None, set()
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self.serve, args=(ready,), daemon=True).start()
        ready.wait()

    def serve(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(websockets.serve(self.take, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def take(self, socket, path):
        if "publish" not in path:
            self.listeners.add(socket)
        try:
            while True:
                message = await socket.recv()
                self.count += 1
                for text in self.twist(message) if self.count % 20 < 2 else [message]:
                    websockets.broadcast(self.listeners, text)
        except websockets.ConnectionClosed:
            self.listeners.discard(socket)

    def twist(self, message):
        if self.lie == "swap":  # with the next one
            if self.count % 20 == 0:
                self.held = message
                return []
            held, self.held = self.held, None
            return [message, held] if held else [message]
        if self.count % 20 == 1:
            return [message]
        return {"drop": [], "double": [message, message], "alter": [message[:-1] + "!"], "cut": [message[:40]]}[self.lie]


def lies_are_seen():
    for lie, figure in (("drop", "lost"), ("double", "repeated"), ("swap", "repeated"), ("alter", "altered"), ("cut", "altered")):
        for seconds in "0.3", "2", "10", "30":
            liar = Liar(lie)
            code, got = bench("fanout", "--dialect", "raw", "--url", "ws://127.0.0.1:%d" % liar.port, "--subscribers", "5",
                              "--window", "100", "--seconds", seconds, "--warm-up", "0")
            if liar.count > 40:  # it had the time to lie
                break
        assert code == 2 and got[figure] > 0 and got["verdict"] != "all arrived", (lie, code, got)


def mistakes_are_explained():
    for arguments, words in ((["fan"], "there is no scenario fan"), (["fanout", "--windows", "1"], "there is no --windows"),
                             (["fanout", "--window", "x"], "--window wants a number"), (["fanout", "--size", "5"], "from 32 octets"),
                             (["fanout", "--dialect", "x"], "there is no dialect x"), (["idle"], "--pid"),
                             (["fanout", "--url", "ws://127.0.0.1:1/ws"], "cannot connect to 127.0.0.1:1")):
        code, got = bench(*arguments)
        assert code == 1 and words in got, (arguments, got)


for run in loads_run, lies_are_seen, mistakes_are_explained:
    run()
    print("ok", run.__name__, flush=True)
