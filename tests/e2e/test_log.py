# SPDX-License-Identifier: Apache-2.0
"""The log says who: peer, session, path or topic, on each line about a connection; and what went wrong with TLS."""
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import CLOSE, DEADLINE, Broker, Peer, frame, typed  # noqa: E402

folder = tempfile.mkdtemp()


class Logged(Broker):
    def __init__(self, *args, **more):
        super().__init__("--log-format", "json", *args, **more)

    def lines(self, event, **fields):
        found = [json.loads(line) for line in self.log().splitlines()]
        return [line for line in found if line["event"] == event and
                all(line.get(key) == value for key, value in fields.items())]

    def wait(self, event, count=1, **fields):
        """Waits for so many lines; the last one."""
        end = time.monotonic() + DEADLINE
        while len(found := self.lines(event, **fields)) < count:
            assert time.monotonic() < end, (event, fields, self.log())
            time.sleep(0.01)
        assert len(found) == count, found
        return found[-1]


def address(peer):
    return "%s:%d" % peer.sock.getsockname()[:2]


def lives():
    with Logged("--log-level", "debug") as broker:
        p = typed(broker.port)
        session, who = p.welcome["session"], address(p)
        assert broker.wait("connect", session=session)["peer"] == who
        opened = broker.wait("open", session=session)
        assert opened["path"] == "/ws" and opened["mode"] == "typed" and opened["peer"] == who, opened
        p.ask({"type": 1, "id": 1})
        p.send(frame(CLOSE, struct.pack("!H", 4321) + b"bye"))
        p.read_close()
        p.close()
        ended = broker.wait("end", session=session)
        assert ended["peer"] == who and ended["path"] == "/ws" and ended["code"] == 4321 and ended["ms"] >= 0, ended
        assert ended["received"] > 150 and ended["sent"] > 150, ended
        # A plain client's topic; one that goes without a word; one that the broker closes; what is no WebSocket.
        q = Peer(broker.port, path="/ws?topic=a%2Fb&token=s3cret")
        opened = broker.wait("open", mode="plain")
        assert opened["topic"] == "a/b" and opened["path"] == "/ws", opened
        q.reset()
        assert broker.wait("end", session=opened["session"])["code"] == 1006
        r = typed(broker.port)
        r.send(frame(0xB))
        assert r.read_close()[0] == 1002
        r.close()
        assert broker.wait("close", session=r.welcome["session"])["code"] == 1002
        assert broker.wait("end", session=r.welcome["session"])["code"] == 1002
        h = Peer(broker.port, upgrade=False)
        h.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        h.read_head()
        name = address(h)
        h.close()
        assert broker.wait("end", peer=name)["code"] == 200
        assert broker.lines("end", path="/healthz")
        assert "s3cret" not in broker.log(), "a query may hold a token"
    with Logged() as broker:
        p = typed(broker.port)
        p.close()
        typed(broker.port).close()
        assert not any(broker.lines(event) for event in ("connect", "open", "end", "close"))


def refusals():
    with Logged("--proxies", "127.0.0.1") as broker:
        def ask(path, *headers):
            p = Peer(broker.port, upgrade=False)
            p.send("\r\n".join(["GET %s HTTP/1.1" % path, "Host: localhost", *headers, "", ""]).encode())
            p.read_head()
            name = address(p)
            p.close()
            return p.status, name
        status, who = ask("/nothing?token=s3cret")
        line = broker.wait("request_refused")
        assert status == line["status"] == 404 and line["peer"] == who and line["path"] == "/nothing", line
        assert re.fullmatch("[0-9a-f]{16}", line["session"])
        ask("/there", "X-Forwarded-For: 192.0.2.77")
        assert broker.wait("request_refused", path="/there")["peer"] == "192.0.2.77", "the client, not its proxy"
        p = Peer(broker.port, upgrade=False)
        p.send(b"nonsense\r\n\r\n")
        p.read_head()
        assert "path" not in broker.wait("request_refused", status=400)
        assert ask("/favicon.ico")[0] == 200 and len(broker.lines("request_refused")) == 3, "browsers ask for it by themselves"
        assert "s3cret" not in broker.log()


def slow_and_silent():
    with Logged("--max-buffered", "1M", "--proxies", "127.0.0.1") as broker:
        slow = typed(broker.port, rcvbuf=4096, headers=["X-Forwarded-For: 192.0.2.5"])
        slow.ask({"type": 5, "id": 1, "topic": "t/1", "overflow": "close"})
        p = typed(broker.port)
        for i in range(400):
            p.ask({"type": 7, "id": i, "topic": "t/1", "message": "x" * 30000})
            if broker.lines("slow_consumer_closed"):
                break
        line = broker.wait("slow_consumer_closed")
        assert line["topic"] == "t/1" and line["session"] == slow.welcome["session"] and line["peer"] == "192.0.2.5", line
    with Logged("--heartbeat", "5") as broker:
        silent = typed(broker.port)
        who = address(silent)
        assert silent.read_close()[0] == 4009
        assert broker.wait("heartbeat_lost", session=silent.welcome["session"])["peer"] == who


def certificate(name):
    cert, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "10", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def tls():
    cert, key = certificate("a")
    with Logged("--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key) as broker:
        secure = int(re.search(r":(\d+)/ws", broker.process.stdout.readline().decode()).group(1))
        # ws:// to a port of TLS: the answer can be read, and comes whole.
        for octets in (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST / HTTP/1.1\r\n" + b"x" * 20000,
                       b"HEAD / HTTP/1.1\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"):
            p = Peer(secure, upgrade=False)
            p.send(octets)
            p.read_head()
            assert p.status == 400 and "this port speaks TLS: use wss://" in p.read_body(), octets
            assert p.at_end()
            p.close()
        broker.wait("tls_failed", 4)
        assert broker.lines("tls_failed")[0]["why"] == "ws:// or http:// to a port of TLS"
        assert typed(secure, tls=ssl.create_default_context(cafile=cert)).welcome["type"] == 4
        # A client that does not trust the certificate; nonsense; one that only looks whether the port is open.
        try:
            Peer(secure, tls=ssl.create_default_context())
            raise AssertionError("trusted")
        except ssl.SSLError:
            pass
        line = broker.wait("tls_failed", 5)
        assert "alert" in line["why"] and line["peer"].startswith("127.0.0.1:"), line
        nonsense = Peer(secure, upgrade=False)
        nonsense.send(b"\x00\x01\x02nonsense\r\n\r\n")
        assert nonsense.at_end()
        broker.wait("tls_failed", 6)
        socket.create_connection(("127.0.0.1", secure)).close()
        # wss:// to a plain port is told as that, and at once.
        p = Peer(broker.port, upgrade=False)
        p.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        p.read_head()
        assert p.status == 400 and "this is TLS, and the port is plain" in p.read_body()
        assert "this is TLS" in broker.wait("request_refused")["why"]
        assert len(broker.lines("tls_failed")) == 6, "a look at a port makes no line"
        # A flood makes ten lines a second, the others are counted.
        for _ in range(300):
            p = Peer(secure, upgrade=False)
            p.send(b"\x00" * 20)
            assert p.at_end()
            p.close()
        end = time.monotonic() + DEADLINE
        while sum(line.get("suppressed", 1) for line in broker.lines("tls_failed")) < 306:
            assert time.monotonic() < end, broker.log()
            time.sleep(0.05)
        assert sum(line.get("suppressed", 1) for line in broker.lines("tls_failed")) == 306


for run in lives, refusals, slow_and_silent, tls:
    run()
    print("ok", run.__name__, flush=True)
