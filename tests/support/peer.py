# SPDX-License-Identifier: Apache-2.0
"""A small raw WebSocket peer of the tests' own: it sends exactly the octets it is told to.

Blocking, with a deadline on every read, so that a test reads like the conversation it checks.
"""
import atexit
import base64
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
import zlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# Seconds until what must come is given up: for hangs alone, however busy the machine is.
DEADLINE = float(os.environ.get("TEST_DEADLINE", 120))
# No clock of the broker's strikes in a test that does not ask for it by an option of its own.
QUIET = {"FANFARE_HEARTBEAT": "300", "FANFARE_PLAIN_HEARTBEAT": "0", "FANFARE_HANDSHAKE_SECONDS": "600"}

# What an ACK is worth: the engine is the one that a run is given by the broker's own variables.
STORED = os.environ.get("FANFARE_ENGINE", "memory")

# With Redis a broker is so many nodes.
NODES = int(os.environ.get("TEST_NODES", 1))

BIN = os.environ.get("TEST_BIN", os.path.join(os.path.dirname(__file__), "../../build/dev/bin"))


class Gone(Exception):
    """The peer ended the connection."""


def mask_bytes(payload, key):
    if not payload:
        return b""
    n = len(payload)
    pad = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\x12\x34\x56\x78", length=None):
    """One client frame; `mask` None sends it unmasked, `length` lies about the size."""
    if isinstance(payload, str):
        payload = payload.encode()
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if mask is not None else 0
    n = len(payload) if length is None else length
    if n < 126:
        head = struct.pack("!BB", first, bit | n)
    elif n < 65536:
        head = struct.pack("!BBH", first, bit | 126, n)
    else:
        head = struct.pack("!BBQ", first, bit | 127, n)
    if mask is None:
        return head + payload
    return head + mask + mask_bytes(payload, mask)


class Places:
    """Where a client stands in each topic: positions are held against each other, and left out of what it is shown."""

    def __init__(self):
        self.of = {}

    def take(self, message):
        message = dict(message)
        kind = message.get("type")
        key = (message.get("filter"), message.get("topic"))
        epoch, offset = message.pop("epoch", None), message.pop("offset", None)
        if kind == 8 and offset is not None and "topic" in message:
            self.of[key] = offset
        elif kind == 10:
            first, last = message.pop("from", None), message.pop("to", None)
            assert (first is None) == (epoch is None or message["cause"] == "lost"), message
            if message["cause"] == "lost" and offset:
                self.of[key] = offset - 1
            if first is not None:
                assert message["skipped"] <= last - first + 1 and offset == last + 1, (message, first, last, offset)
                assert message["cause"] == "rate" or message["skipped"] == last - first + 1, (message, first, last)
        elif kind == 2 and offset is not None:
            assert offset > self.of.get(key, 0), (message, offset, self.of.get(key))
            self.of[key] = offset
        return message


class Deflate:
    """What a server answered about permessage-deflate, obeyed to the letter (RFC 7692)."""

    def __init__(self, answer):
        name, *params = [part.strip() for part in answer.split(";")]
        assert name == "permessage-deflate", answer
        self.params = dict((param + "=").split("=")[:2] for param in params)
        assert len(self.params) == len(params) and self.params.keys() <= {
            "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits",
            "client_max_window_bits"}, answer
        self.server_bits = int(self.params.get("server_max_window_bits") or 15)
        self.client_bits = int(self.params.get("client_max_window_bits") or 15)
        self.compressor = self.decompressor = None
        self.level = zlib.Z_DEFAULT_COMPRESSION

    def compress(self, payload):
        """A message as a client sends it: with what it may lean on, unless it promised not to."""
        if not self.compressor or "client_no_context_takeover" in self.params:
            self.compressor = zlib.compressobj(self.level, zlib.DEFLATED, -max(self.client_bits, 9))
        out = self.compressor.compress(payload) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        assert out.endswith(b"\0\0\xff\xff")
        return out[:-4]

    def decompress(self, payload):
        """The window is as large as the server said, and empty at first if it promised so."""
        if not self.decompressor or "server_no_context_takeover" in self.params:
            self.decompressor = zlib.decompressobj(-self.server_bits)
        out = self.decompressor.decompress(payload + b"\0\0\xff\xff")
        assert not self.decompressor.eof and not self.decompressor.unconsumed_tail
        return out


class Peer:
    """
    One connection. Events read are tuples (opcode, payload), fragments joined, compressed ones
    inflated. `deflate` is offered as it stands; what was agreed upon is in self.deflate.
    """

    def __init__(self, port=None, path="/ws", protocol=None, headers=(), host=None, upgrade=True,
                 tls=None, rcvbuf=None, unix=None, address="127.0.0.1", deflate=None):
        self.deflate = None
        self.compressed_count = 0
        if deflate:
            headers = [*headers, "Sec-WebSocket-Extensions: " + deflate]
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(unix)
        else:
            self.sock = socket.socket()
            if rcvbuf:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            self.sock.settimeout(DEADLINE)
            self.sock.connect((address, port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(DEADLINE)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""
        self.places = Places()
        self.with_positions = False  # messages as they came: the test looks at positions itself
        self.status = None
        self.protocol = protocol
        if upgrade:
            self.upgrade(path, protocol, headers, host or "%s:%s" % (address, port))

    @classmethod
    def over(cls, sock, host="localhost"):
        """A typed JSON client over a socket that is connected already, its handshake done."""
        peer = cls.__new__(cls)
        peer.sock, peer.buffer, peer.status, peer.protocol, peer.deflate = sock, b"", None, "fanfare.v1.json", None
        peer.places, peer.with_positions, peer.compressed_count = Places(), False, 0
        peer.upgrade("/ws", peer.protocol, (), host)
        return peer

    def upgrade(self, path, protocol, headers, host):
        key = base64.b64encode(os.urandom(16))
        lines = ["GET %s HTTP/1.1" % path, "Host: " + host, "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Key: " + key.decode(),
                 "Sec-WebSocket-Version: 13"]
        if protocol:
            lines.append("Sec-WebSocket-Protocol: " + protocol)
        lines.extend(headers)
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        self.read_head()
        if self.status == 101:
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
            assert self.headers["sec-websocket-accept"] == accept, "wrong accept"
            if "sec-websocket-extensions" in self.headers:
                self.deflate = Deflate(self.headers["sec-websocket-extensions"])

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.strip().lower()] = value.strip()

    def read_body(self):
        size = int(self.headers["content-length"])
        while len(self.buffer) < size:
            self.fill()
        body, self.buffer = self.buffer[:size], self.buffer[size:]
        return body.decode()

    def send(self, octets, chop=0):
        if not chop:
            self.sock.sendall(octets)
        for i in range(0, len(octets) if chop else 0, chop or 1):
            self.sock.sendall(octets[i:i + chop])

    def fill(self):
        try:
            got = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as why:
            raise Gone("reset: %s" % why)
        if not got:
            raise Gone("end")
        self.buffer += got

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def read_frame(self):
        first, second = self.take(2)
        assert not second & 0x80, "a server's frame is masked"
        n = second & 0x7F
        if n == 126:
            n, = struct.unpack("!H", self.take(2))
        elif n == 127:
            n, = struct.unpack("!Q", self.take(8))
        return first, self.take(n)

    def read(self, timeout=None):
        """The next event; None when nothing comes within `timeout` seconds."""
        whole = b""
        opcode = None
        is_compressed = False
        if timeout is not None and len(self.buffer) < 2:
            self.sock.settimeout(timeout)
            try:
                self.fill()
            except (TimeoutError, socket.timeout, ssl.SSLWantReadError):
                return None
            finally:
                self.sock.settimeout(DEADLINE)
        while True:
            first, payload = self.read_frame()
            may_be_compressed = self.deflate and opcode is None and first & 0x0F in (TEXT, BINARY)
            assert not first & (0x30 if may_be_compressed else 0x70), "reserved bits"
            if first & 0x0F >= 8:
                return first & 0x0F, payload
            if opcode is None:
                opcode, is_compressed = first & 0x0F, bool(first & 0x40)
            whole += payload
            if first & 0x80:
                self.compressed_count += is_compressed
                return opcode, self.deflate.decompress(whole) if is_compressed else whole

    def read_json(self):
        """The next message as a dict, heartbeats that nobody asked for left out: they end no waiting."""
        end = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < end, "nothing but heartbeats came"
            opcode, payload = self.read()
            if opcode == PING:
                self.send(frame(PONG, payload))
                continue
            if opcode == CLOSE:
                raise Gone("close %s" % (close_code(payload),))
            assert opcode == TEXT, opcode
            message = json.loads(payload)
            if message.get("type") != 1 or "id" in message:
                return message if self.with_positions else self.places.take(message)

    def send_json(self, message):
        self.send(frame(TEXT, json.dumps(message, separators=(",", ":"), ensure_ascii=False)))

    def ask(self, message):
        """Sends a request and returns its answer; what comes before it is kept in `seen`."""
        self.send_json(message)
        self.seen = []
        while True:
            got = self.read_json()
            if got.get("id") == message["id"] and got["type"] in (1, 4, 8, 9):
                return got
            self.seen.append(got)

    def read_close(self):
        """Reads up to the close frame; its code (None: without one) and reason."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                return close_code(payload), payload[2:].decode()

    def at_end(self):
        """True when the peer ends the connection without another frame."""
        try:
            self.fill()
        except Gone:
            return True
        return False

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def bare(event):
    """A MESSAGE without its offset, as it is where no history is kept; its octets are looked at."""
    opcode, octets = event
    if opcode == TEXT:
        return opcode, re.sub(rb',"offset":[1-9]\d*((,"epoch":"[^"]*","filter":"[^"]*")?})$', rb"\1", octets)
    assert octets[0] == 0x94, octets
    for size, head in ((9, 0xcf), (5, 0xce), (3, 0xcd), (2, 0xcc)):
        if len(octets) > size and octets[-size] == head:
            return opcode, b"\x93" + octets[1:-size]
    assert octets[-1] < 128
    return opcode, b"\x93" + octets[1:-1]


def close_code(payload):
    return struct.unpack("!H", payload[:2])[0] if payload else None


def typed(port, **more):
    """A typed JSON client whose WELCOME was read."""
    peer = Peer(port, protocol="fanfare.v1.json", **more)
    assert peer.status == 101, peer.status
    peer.welcome = peer.read_json()
    assert peer.welcome["type"] == 4
    return peer


@functools.cache
def shared_redis():
    """The address of a Redis that ends with the test."""
    from redis_server import Redis
    redis = Redis(is_kept=False)
    atexit.register(redis.stop)
    return redis.url


class Broker:
    """The real broker on a port of its own."""

    def __init__(self, *args, listen="127.0.0.1:0", env=None, prefix=(), is_first=True):
        if STORED == "redis": # one for all of a test; what each broker keeps there is its own
            env = {"FANFARE_REDIS": shared_redis(),
                   "FANFARE_REDIS_PREFIX": "%d-%f:" % (os.getpid(), time.monotonic()), **(env or {})}
        command = list(prefix) + [os.path.join(BIN, "fanfared")]
        if listen:
            command += ["--listen", listen]
        self.log_file = open("/tmp/fanfared-%d-%f.log" % (os.getpid(), time.monotonic()), "w+b")
        self.process = subprocess.Popen(command + list(args), stdout=subprocess.PIPE,
                                        stderr=self.log_file, env={**os.environ, **QUIET, **(env or {})})
        self.urls = []
        line = self.process.stdout.readline().decode()
        if not line:
            self.process.wait()
            raise AssertionError("the broker did not start: " + self.log())
        self.urls.append(line.split()[-1])
        found = re.search(r":(\d+)/ws", line)
        self.ports = [int(found.group(1)) if found else None]
        self.others = []
        if is_first and STORED == "redis":
            for _ in range(NODES - 1):
                self.others.append(Broker(*args, listen=listen, env=env, prefix=prefix, is_first=False))
                self.ports += self.others[-1].ports

    @property
    def port(self):
        """Of one of its nodes, each time of another one by chance."""
        return random.choice(self.ports)

    def log(self):
        with open(self.log_file.name, errors="replace") as text:
            return text.read()

    def logged(self, text):
        """Waits until the log has this text: a thread of its own writes it."""
        end = time.monotonic() + DEADLINE
        while text not in (log := self.log()):
            assert time.monotonic() < end, log
            time.sleep(0.01)
        return True

    def rss(self):
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def kill(self):
        for other in self.others:
            other.kill()
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an operator would and checks that it ended well."""
        for other in self.others:
            other.stop()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(DEADLINE)
        self.process.stdout.close()
        code, log = self.process.returncode, self.log()
        self.log_file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log_file.name)
        assert "AddressSanitizer" not in log and "runtime error" not in log, log
        assert "LeakSanitizer" not in log, log
        assert code == 0, "exit %s: %s" % (code, log)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.log()[-4000:])
            self.kill()
        elif self.process.returncode is None or self.process.returncode >= 0:
            self.stop()
