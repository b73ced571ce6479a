#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Abuse beside use: tests/fault/fault.py NAME|all [--seconds N] [--list], or cluster (cluster.py)

Each fault is played against a broker of its own while healthy clients chat in another process.
They may lose nothing; afterwards descriptors, connections, live blocks and live bytes must be back
where they were. A table at the end says what was done and what came of it; times are reported,
never judged.
"""
import argparse
import contextlib
import ctypes
import json
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import cluster  # noqa: E402
from peer import BINARY, CONT, DEADLINE, PING, TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

# libev's table of descriptors never shrinks: 24 bytes for each of the most there were.
WORKERS = int(os.environ.get("FANFARE_WORKERS") or os.cpu_count())
# Buffers that each worker keeps, and libev's table of descriptors: 16 octets for each that was ever open.
GROWTH_BLOCKS, GROWTH_BYTES, PATIENCE = 24 * WORKERS, (256 << 10 if WORKERS == 1 else 640 << 10) * WORKERS, 180
LEAST_MESSAGES = 10  # of the healthy ones, however short a fault is played
faults = {}


class Fault:
    def __init__(self, run, broker_args, prefix, tls, host):
        self.run, self.broker_args, self.prefix, self.tls, self.host = run, broker_args, prefix, tls, host
        self.about = run.__doc__


def fault(*broker_args, prefix=(), tls=False, host=None):
    def add(run):
        faults[run.__name__] = Fault(run, broker_args, prefix, tls, host)
        return run
    return add


class Stage:
    """What a fault plays on."""

    def __init__(self, broker, seconds, context, count=None):
        self.broker, self.port, self.context = broker, broker.port, context
        self.until = time.monotonic() + seconds
        self.count = count
        self.dice = random.Random(1)
        self.done = 0

    def is_on(self):
        return self.done < self.count if self.count else time.monotonic() < self.until

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        self.done += 1
        return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


HEAD = (b"GET /ws?topic=%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n")
JSON = b"Sec-WebSocket-Protocol: fanfare.v1.json\r\n"


def drain(sock):
    """What came is thrown away; False at the end."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(20)


@fault("--handshake-seconds", "2", "--max-half-open", "4096")
def slow_handshakes(stage):
    """thousands of half-open handshakes, an octet a second each (S07)"""
    socks, head = [], HEAD % (b"x", b"")
    while stage.is_on():
        for _ in range(100):
            if len(socks) < 4000:
                socks.append(stage.connect())
        for sock in socks:
            try:
                sock.send(head[stage.done % 60:][:1])
            except OSError:
                socks.remove(sock)
        time.sleep(0.02)
    for sock in socks:
        sock.close()


@fault()
def connect_and_reset(stage):
    """connections that are reset at once, before and after the handshake (S32, F11)"""
    while stage.is_on():
        for i in range(100):
            sock = stage.connect()
            if i % 2:
                sock.send(HEAD % (b"storm", JSON))
            reset(sock)


@fault()
def reset_in_a_frame(stage):
    """connections that are reset in the middle of a frame and while they are written to (S32, F11)"""
    half = HEAD % (b"storm", JSON) + frame(TEXT, "x" * 50000)
    while stage.is_on():
        sock = stage.connect()
        sock.send(half[:stage.dice.randrange(150, len(half))])
        if stage.dice.random() < 0.5:
            time.sleep(0.001)
        reset(sock)


@fault(tls=True)
def reset_in_tls(stage):
    """connections that are reset in the middle of TLS handshakes and records (S05, S08, F11)"""
    hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        stage.context.wrap_bio(*hello, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = hello[1].read()
    while stage.is_on():
        for _ in range(20):
            sock = socket.create_connection(("127.0.0.1", stage.broker.secure), timeout=20)
            sock.send(hello[:stage.dice.randrange(1, len(hello) + 1)])
            reset(sock)
            stage.done += 1
        sock = stage.context.wrap_socket(socket.create_connection(("127.0.0.1", stage.broker.secure), timeout=20),
                                         server_hostname="localhost")
        sock.send(HEAD % (b"storm", JSON))
        raw = socket.socket(fileno=sock.detach())
        raw.send(b"\x17\x03\x03\x01\x00" + b"\0" * 7)
        reset(raw)
        stage.done += 1


@fault("--handshake-seconds", "3", tls=True)
def tls_flood(stage):
    """as many TLS handshakes as go, and hundreds that never end (S08)"""
    def flood():
        while stage.is_on():
            try:
                with socket.create_connection(("127.0.0.1", stage.broker.secure), timeout=20) as sock:
                    stage.context.wrap_socket(sock, server_hostname="localhost").close()
            except OSError:
                pass  # crowded out: it is what should become of a flood
            stage.done += 1
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    idle = []
    while stage.is_on():
        if len(idle) < 600:
            idle.append(socket.create_connection(("127.0.0.1", stage.broker.secure), timeout=20))
        time.sleep(0.002)
    for thread in threads:
        thread.join()
    for sock in idle:
        sock.close()


@fault("--pings-per-second", "0")
def one_octet_segments(stage):
    """clients whose every octet is a segment of its own"""
    octets = HEAD % (b"storm", JSON) + b"".join(frame(TEXT, '{"type":7,"id":%d,"topic":"s","message":1}' % i) for i in range(8))
    while stage.is_on():
        socks = [stage.connect() for _ in range(20)]
        for sock in socks:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(octets)):
            for sock in socks:
                sock.send(octets[i:i + 1])
        for sock in socks:
            drain(sock)
            sock.close()


@fault()
def ping_flood(stage):
    """pings by the hundred thousand: closed with 4029"""
    flood = HEAD % (b"storm", b"") + frame(PING, b"p" * 100) * 2000
    while stage.is_on():
        sock = stage.connect()
        try:
            sock.sendall(flood)
            while sock.recv(1 << 16):
                pass
        except OSError:
            pass
        sock.close()


@fault("--pings-per-second", "0")
def pings_unread(stage):
    """pings of clients that read nothing (S20)"""
    socks = []
    for _ in range(20):
        sock = stage.connect()
        sock.send(HEAD % (b"none", b""))
        sock.setblocking(False)
        socks.append([sock, b""])
    flood = frame(PING, b"p" * 120) * 500
    while stage.is_on():
        for pair in socks:
            pair[1] = pair[1] or flood
            try:
                pair[1] = pair[1][pair[0].send(pair[1]):]
                stage.done += 1
            except BlockingIOError:
                time.sleep(0.001)
    for sock, _ in socks:
        reset(sock)


@fault("--max-subscriptions", "200")
def subscribe_flood(stage):
    """subscriptions past every limit, names and filters, from many clients"""
    def batch(k):
        topics = ["%d/%d" % (k, i) for i in range(250)] + ["%d/+/%d/#" % (k, i) for i in range(80)]
        return frame(TEXT, json.dumps([{"type": 5, "topic": t} for t in topics]))
    batches = [batch(k) for k in range(20)]
    while stage.is_on():
        socks = [stage.connect() for _ in range(20)]
        for k, sock in enumerate(socks):
            sock.sendall(HEAD % (b"storm", JSON) + batches[k])
            stage.done += 330
        for sock in socks:
            drain(sock)
            reset(sock) if stage.dice.random() < 0.5 else sock.close()


@fault("--history-seconds", "1", "--position-seconds", "1")  # what is remembered of them would stand for a day
def topic_churn(stage):
    """topics that are made and dropped, 500 a frame (F23)"""
    peer, n = typed(stage.port), 0
    while stage.is_on():
        batch = []
        for i in range(500):
            n += 1
            batch.append({"type": 5, "topic": "churn/%d" % n})
            batch.append({"type": 6, "topic": "churn/%d" % n})
        peer.send_json(batch)
        peer.ask({"type": 1, "id": n})
        stage.done += 500
    peer.close()


@fault("--max-message", "64M")
def declared_lengths(stage):
    """lengths that are declared and never sent (S12)"""
    socks = []
    while stage.is_on():
        sock = stage.connect()
        sock.send(HEAD % (b"none", b"") + frame(BINARY, b"", length=64 << 20) + b"x" * stage.dice.randrange(2000))
        socks.append(sock)
        if len(socks) > 1500:
            socks.pop(0).close()
    for sock in socks:
        sock.close()


@fault()
def tiny_fragments(stage):
    """messages of one-octet and of empty fragments (S13)"""
    floods = [HEAD % (b"none", b"") + frame(TEXT, b"", fin=False) + frame(CONT, b, fin=False) * 70000 for b in (b"x", b"")]
    while stage.is_on():
        sock = stage.connect()
        try:
            sock.sendall(floods[stage.done % 2])
            while sock.recv(1 << 16):
                pass
        except OSError:
            pass
        sock.close()


@fault()
def stalled_readers(stage):
    """subscribers of a busy topic that read nothing, or a little (S33, F09)"""
    socks = []
    for _ in range(150):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", stage.port))
        sock.send(HEAD % (b"busy", b""))
        socks.append(sock)
    writer = typed(stage.port)
    octets = frame(TEXT, '{"type":7,"topic":"busy","message":"%s"}' % ("x" * 1000)) * 50
    while stage.is_on():
        writer.send(octets)
        writer.ask({"type": 1, "id": 1})
        stage.done += 50
        sock = stage.dice.choice(socks)
        drain(sock)
    writer.close()
    for sock in socks:
        sock.close()


@fault()
def bad_handshakes(stage):
    """requests that are none, each worth a line in the log (S06, S40)"""
    heads = [b"GET /nope\x1b[0m HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 100 + b"\n",
             b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
             b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 1000 + b"\r\n"]
    while stage.is_on():
        sock = stage.connect()
        try:
            sock.sendall(heads[stage.done % len(heads)])
            while sock.recv(4096):
                pass
        except OSError:
            pass
        sock.close()


@fault(prefix=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
def descriptors_run_out(stage):
    """more clients than descriptors, in waves (S31, F12)"""
    while stage.is_on():
        socks = [stage.connect() for _ in range(400)]
        for sock in socks[::3]:
            sock.send(HEAD % (b"crowd", b""))
        time.sleep(0.05)
        for sock in socks:
            sock.close()


@fault("--heartbeat", "5")
def vanished_peers(stage):
    """peers that acknowledge nothing any more (S34)"""
    code = (ctypes.c_ubyte * 8).from_buffer_copy(struct.pack("HBBI", 6, 0, 0, 0))  # RET 0: drop all
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    socks = []
    while stage.is_on():
        sock = stage.connect()
        sock.send(HEAD % (b"healthy", b""))
        time.sleep(0.01)
        sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        socks.append(sock)
    stage.keep = socks  # closed when the figures are back


class Namespace:
    """A network namespace for the broker, tied to ours by two ends of a veth pair."""

    def __init__(self):
        self.name, n = "ff%d" % os.getpid(), os.getpid() % 200
        self.here, self.there = "10.213.%d.1" % n, "10.213.%d.2" % n
        need = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
        if need or os.getuid():
            raise SystemExit("fault: this one needs root, and the packages iproute2 and nftables")
        for line in ("netns add {n}", "link add {n}a type veth peer name {n}b netns {n}", "addr add {a}/30 dev {n}a",
                     "link set {n}a mtu 576 up", "-n {n} addr add {b}/30 dev {n}b", "-n {n} link set {n}b mtu 576 up",
                     "-n {n} link set lo up"):
            subprocess.run(["ip"] + line.format(n=self.name, a=self.here, b=self.there).split(), check=True)

    def lose(self, per_cent):
        rules = "flush ruleset\ntable inet t {\n"
        for hook, match in ("input", "iifname"), ("output", "oifname"):
            rules += "chain %s {\ntype filter hook %s priority 0;\n%s \"%sb\" numgen random mod 100 < %d drop\n}\n" % (
                hook, hook, match, self.name, per_cent)
        rules += "}\n"
        subprocess.run(["ip", "netns", "exec", self.name, "nft", "-f", "-"], input=rules.encode(), check=True)

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


@fault(host="namespace")
def lossy_network(stage):
    """packets lost, 5 and then 20 in a hundred, MTU 576: the healthy ones themselves suffer it (F17)"""
    half = (stage.until - time.monotonic()) / 2
    for per_cent in 5, 20:
        stage.namespace.lose(per_cent)
        time.sleep(half)
        stage.done += 1
    stage.namespace.lose(0)


def chat(host, port):
    """The healthy ones: until standard input ends. What they saw goes to standard output."""
    def join():
        sock = socket.create_connection((host, port), timeout=DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer.over(sock)
        assert peer.read_json()["type"] == 4
        return peer
    reader, writer = join(), join()
    reader.ask({"type": 5, "id": 1, "topic": "healthy"})
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("ready", flush=True)
    n, wrong, times = 0, 0, []
    while not over.is_set() or n <= LEAST_MESSAGES:
        n += 1
        begun = time.monotonic()
        ack = writer.ask({"type": 7, "id": n, "topic": "healthy", "message": n})
        got = reader.read_json()
        times.append(time.monotonic() - begun)
        wrong += ack["type"] != 8 or got != {"type": 2, "topic": "healthy", "message": n}
        time.sleep(0.001)
    times.sort()
    print(json.dumps({"messages": n, "wrong": wrong, "p99": times[len(times) * 99 // 100] * 1000, "max": times[-1] * 1000}))


class Figures:
    """The broker's own figures, the latest ones; read all the time, so that its pings are answered."""

    def __init__(self, host, port):
        self.connect(host, port)
        self.peer.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})

    def connect(self, host, port):
        self.peer = Peer.over(socket.create_connection((host, port), timeout=DEADLINE))

    def next(self):
        while "memory" not in (m := self.peer.read_json()).get("message", {}):
            pass
        return m["message"]

    def keep_reading(self):
        try:
            while True:
                self.latest = self.next()
        except (Gone, OSError, ValueError) as why:
            self.latest = {"gone": str(why)}


def warm(host, port):
    """Every worker has asked every other one: the rings between them are made once, and stay."""
    peers = []
    for _ in range(8):
        peer = Figures.__new__(Figures)
        Figures.connect(peer, host, port)
        peer.peer.ask({"type": 5, "id": 1, "topic": "warm/#"})
        peers.append(peer.peer)
    for peer in peers:
        peer.close()


def play(name, seconds, count, row):
    fault, namespace, context, args = faults[name], None, None, ["--sys", "--close-seconds", "1", *faults[name].broker_args]
    host, prefix = "127.0.0.1", list(fault.prefix)
    folder = tempfile.mkdtemp()
    if fault.host:
        namespace = Namespace()
        host, prefix = namespace.there, ["ip", "netns", "exec", namespace.name]
        args += ["--hosts", "localhost"]
    if fault.tls:
        cert, key = folder + "/cert", folder + "/key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, capture_output=True)
        args += ["--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]
        context = ssl.create_default_context(cafile=cert)
    try:
        with Broker(*args, listen=host + ":0", prefix=prefix) as broker:
            if fault.tls:
                broker.secure = int(broker.process.stdout.readline().decode().rsplit(":", 1)[1].split("/")[0])
            beside(fault, broker, host, (seconds, count), context, namespace, row)
    finally:
        if namespace:
            namespace.close()
        shutil.rmtree(folder)


@contextlib.contextmanager
def niced():
    """A storm from other machines takes no time of who measures here: this thread, and those that it starts, stand back."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, 15)
        yield
    finally:
        with contextlib.suppress(PermissionError):  # who may not come back stays where it is
            os.setpriority(os.PRIO_PROCESS, 0, 0)


def beside(fault, broker, host, extent, context, namespace, row):
    """The fault, the healthy ones beside it, and whether all is as before."""
    healthy = subprocess.Popen([sys.executable, __file__, "--chat", host, str(broker.port)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert healthy.stdout.readline() == "ready\n", "the healthy ones could not come in"
    figures = Figures(host, broker.port)
    warm(host, broker.port)
    if context:  # OpenSSL keeps what its first handshakes and refusals made
        for octets in HEAD % (b"warm", b""), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":
            with socket.create_connection((host, broker.secure), timeout=DEADLINE) as sock:
                context.wrap_socket(sock, server_hostname="localhost").send(octets)
        with socket.create_connection((host, broker.secure), timeout=DEADLINE) as sock:
            sock.send(b"no TLS at all\r\n\r\n")
            drain(sock)
    time.sleep(1)
    before = [figures.next() for _ in range(2)][1]
    descriptors, rss = broker.descriptors(), broker.rss()
    stage = Stage(broker, extent[0], context, extent[1])
    stage.namespace = namespace
    threading.Thread(target=figures.keep_reading, daemon=True).start()
    with niced():
        fault.run(stage)
    row.update(done=stage.done, before=before["memory"], rss=(broker.rss() - rss) >> 10)
    end = time.monotonic() + PATIENCE
    while True:
        time.sleep(1)
        now = figures.latest
        assert "gone" not in now, now
        row.update(after=now["memory"], blocks=now["blocks"] - before["blocks"], descriptors=broker.descriptors() - descriptors,
                   rss_after=(broker.rss() - rss) >> 10)
        if now["connections"] == before["connections"] and row["descriptors"] <= 0 and row["blocks"] <= GROWTH_BLOCKS \
                and now["memory"] <= before["memory"] + GROWTH_BYTES:
            break
        assert time.monotonic() < end, "not back to base: before %s, now %s" % (before, now)
    out, _ = healthy.communicate(timeout=DEADLINE)
    row.update(json.loads(out))
    assert healthy.returncode == 0 and row["wrong"] == 0 and row["messages"] > LEAST_MESSAGES, "the healthy ones: " + out


def table(rows):
    print("\n%-22s %9s %9s %6s %9s %9s %9s %7s %7s %10s  %s" % (
        "fault", "done", "healthy", "wrong", "p99 ms", "max ms", "bytes +", "blocks+", "fds +", "RSS KiB +", "verdict"))
    for name, row in rows.items():
        print("%-22s %9d %9d %6d %9.1f %9.1f %9d %7d %7d %4d > %3d  %s" % (
            name, row.get("done", 0), row.get("messages", 0), row.get("wrong", 0), row.get("p99", 0), row.get("max", 0),
            row.get("after", 0) - row.get("before", 0), row.get("blocks", 0), row.get("descriptors", 0), row.get("rss", 0),
            row.get("rss_after", 0), row["verdict"]))
    failed = [name for name, row in rows.items() if row["verdict"] != "held"]
    print("%d passed, %d failed" % (len(rows) - len(failed), len(failed)))
    return 1 if failed else 0


def main():
    if sys.argv[1:2] == ["cluster"]:  # it has a table and options of its own
        return cluster.main(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, or some of those that --list names")
    parser.add_argument("--seconds", type=float, default=10, help="how long each fault is played [10]")
    parser.add_argument("--count", type=int, help="play until so much is done, however long it takes")
    parser.add_argument("--without", action="append", default=[], help="leave this one out of all")
    parser.add_argument("--list", action="store_true", help="the faults and what they do")
    parser.add_argument("--chat", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.chat:
        return chat(args.chat[0], int(args.chat[1]))
    unknown = [name for name in args.names if name not in faults and name != "all"]
    if args.list or unknown or not args.names:
        for name, one in faults.items():
            print("%-22s %s" % (name, one.about))
        print("%-22s %s (alone: it has options of its own, --help)" % ("cluster", cluster.ABOUT))
        return "fault: there is no %s" % unknown[0] if unknown else 0
    rows = {}
    for name in faults if "all" in args.names else args.names:
        if name in args.without:
            continue
        print("fault: %s, %g s: %s" % (name, args.seconds, faults[name].about), flush=True)
        rows[name] = {"verdict": "held"}
        try:
            play(name, args.seconds, args.count, rows[name])
        except (AssertionError, OSError, Gone, SystemExit, subprocess.SubprocessError) as why:
            rows[name]["verdict"] = "FAILED: %s" % why
    return table(rows)


if __name__ == "__main__":
    sys.exit(main())
