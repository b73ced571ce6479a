# SPDX-License-Identifier: Apache-2.0
"""Every way in: handshakes, origins, hosts, TLS, Unix sockets; configuration, reload, the CLI."""
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer  # noqa: E402
from peer import TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

FANFARED = os.path.join(peer.BIN, "fanfared")
FANFARE = os.path.join(peer.BIN, "fanfare")
folder = tempfile.mkdtemp()


def request(port, octets, chop=0):
    p = Peer(port, upgrade=False)
    try:
        p.send(octets if isinstance(octets, bytes) else octets.encode(), chop)
    except OSError:
        pass
    p.read_head()
    return p


def upgrade(*more, method="GET", path="/ws", key="dGhlIHNhbXBsZSBub25jZQ==", version="13",
            host="localhost", http="1.1"):
    lines = ["%s %s HTTP/%s" % (method, path, http), "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Host: " + host] if host else []
    lines += ["Sec-WebSocket-Key: " + key] if key is not None else []
    lines += ["Sec-WebSocket-Version: " + version] if version else []
    return "\r\n".join(lines + list(more)) + "\r\n\r\n"


def handshakes():
    with Broker("--echo-path", "/echo") as broker:
        port = broker.port
        for octets, status, *text in (
                (upgrade(), 101), (upgrade(path="/"), 101), (upgrade(path="/echo"), 101),
                (upgrade(path="/nope"), 101), (upgrade(method="POST"), 405),
                (upgrade(http="1.0"), 400), (upgrade(key=None), 400), (upgrade(key="x" * 24), 400),
                (upgrade(key="dGhlIHNhbXBsZSBub25jZQ="), 400), (upgrade(key="dGhlIHNhbXBsZSBub25jZQ==="), 400),
                (upgrade(version="12"), 426), (upgrade(version=None), 400),
                (upgrade(host=None), 400), (upgrade("Host: localhost"), 400),
                (upgrade("Content-Length: 1"), 400), (upgrade("Transfer-Encoding: chunked"), 400),
                (upgrade("Bad Header: x"), 400), (upgrade("A: b\r\n folded"), 400),
                (upgrade("X: \x01"), 400), (upgrade().replace("\r\n", "\n"), 400),
                (upgrade(*["X-%d: y" % i for i in range(59)]), 101),
                (upgrade(*["X-%d: y" % i for i in range(60)]), 431),
                (upgrade("Cookie: " + "y" * 4096), 101), (upgrade("X: " + "y" * 16384), 431, "max_head"),
                (upgrade(path="/" + "x" * 9000), 101), (upgrade(path="/" + "x" * 16400), 414, "max_head"),
                (upgrade("Sec-WebSocket-Protocol: chat"), 101), (upgrade("Sec-WebSocket-Protocol: fanfare.token.abc"), 101),
                (upgrade("Sec-WebSocket-Protocol: fanfare.v2.json"), 400, "fanfare.v1.json"),
                (upgrade("Sec-WebSocket-Extensions: permessage-deflate; a=\"\\c\\c"), 101),
                (upgrade("Origin: null"), 403, "null"), (upgrade("Origin: http://evil.example"), 403, "origins"),
                (upgrade("Origin: http://localhost:3000"), 101), (upgrade("Origin: https://127.0.0.1"), 101),
                (upgrade("Origin: http://localhost.evil"), 403),
                (upgrade("Origin: http://localhost", "Origin: http://localhost"), 400),
                (upgrade(host="evil.example"), 403, "hosts"), (upgrade(host="127.evil.example"), 403),
                (upgrade(host="127.0.0.2:99"), 101), (upgrade(host="[::1]:80"), 101),
                ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "Fanfare"),
                ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, "ok"),
                ("GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
                ("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
                ("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
                ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\n\r\n", 200),
                ("GET /healthz HTTP/1.0\r\n\r\n", 200, "ok"), ("GET /healthz HTTP/1.0\r\nHost:\r\n\r\n", 200, "ok"),
                ("GET /healthz HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
                ("GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", 403), ("GET /healthz HTTP/1.1\r\n\r\n", 400),
                ("GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, "ok"),
                ("GET http://localhost/healthz HTTP/1.1\r\n\r\n", 400), ("GET http://localhost/healthz HTTP/1.0\r\n\r\n", 200),
                ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 403, "evil.example"),
                ("\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200), ("\r\n" + upgrade(), 101),
                ("nonsense\r\n\r\n", 400), ("\r\n" * 8192, 431), (b"\x16\x03\x01\x02\x00\x01\n", 400)):
            p = request(port, octets)
            assert p.status == status, (octets, p.status, status)
            if status != 101:
                body = p.read_body()
                assert not text or text[0] in body, (octets, body)
                assert p.at_end()
            p.close()
        p = request(port, upgrade("Sec-WebSocket-Protocol: x, fanfare.token.t0ken, fanfare.v1.msgpack, fanfare.v1.json"))
        assert p.headers["sec-websocket-protocol"] == "fanfare.v1.msgpack"
        p = request(port, upgrade(version="8"))
        assert p.headers["sec-websocket-version"] == "13"
        assert p.headers["connection"] == "upgrade, close" and p.headers["upgrade"] == "websocket"
        assert "sec-websocket-protocol" not in request(port, upgrade("Sec-WebSocket-Protocol: arduino, chat")).headers
        # Octet by octet, and frames glued to the request.
        p = request(port, upgrade().encode() + frame(TEXT, '{"type":1,"id":5}'), chop=1)
        assert p.status == 101 and p.read() == (TEXT, b'{"type":1,"id":5}')
        p = request(port, upgrade().encode() + frame(TEXT, '{"type":1,"id":6}'))
        assert p.status == 101 and p.read() == (TEXT, b'{"type":1,"id":6}')
        assert "t0ken" not in broker.log()
        # HEAD has the head of GET and no content, whatever is asked for and whatever is wrong.
        for target in "/", "/healthz", "/ws", "/nope", "/healthz HTTP/1.1\r\nHost: evil.example\r\nX:", "no", "/" + "x" * 17000:
            octets = " %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target
            full, head = request(port, "GET" + octets), request(port, "HEAD" + octets)
            assert (full.status, full.headers) == (head.status, head.headers), (target, full.headers, head.headers)
            assert full.read_body() and head.at_end() and not head.buffer, target
        p = request(port, upgrade(method="HEAD"))
        assert p.status == 426 and p.at_end() and not p.buffer, "HEAD opens no WebSocket"
    with Broker("--path", "/chat", "--path", "/ws/v1,/", "--echo-path", "/echo") as broker:
        for path, status in ("/chat", 101), ("/chat?topic=a", 101), ("/ws/v1", 101), ("/", 101), ("/echo", 101), ("/ws", 404), ("/chat/", 404):
            p = request(broker.port, upgrade(path=path))
            assert p.status == status, (path, p.status)
            assert status == 101 or "/chat or /ws/v1 or /" in p.read_body()
        assert request(broker.port, "GET /chat HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 426
        assert request(broker.port, "GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 404
    for max_head in 4096, 65536:
        with Broker("--max-head", str(max_head)) as broker:
            spare = max_head - len(upgrade("X: "))
            for octets, status in (upgrade("X: " + "y" * spare), 101), (upgrade("X: " + "y" * (spare + 1)), 431):
                for chop in 0, 4000:
                    p = request(broker.port, octets, chop)
                    assert p.status == status, (max_head, chop, p.status)
            p = request(broker.port, upgrade("Cookie: " + "y" * spare).encode()[:-9] + b"\r\n\r\n" + frame(TEXT, '{"type":1,"id":7}'))
            assert p.read() == (TEXT, b'{"type":1,"id":7}'), "what stands behind a long head"
    with Broker("--handshake-seconds", "1") as broker:
        p = Peer(broker.port, upgrade=False)
        p.send(b"GET / HT")
        p.read_head()
        assert p.status == 408, "slow handshakes end"
    with Broker("--origins", "null,http://APP.example/, https://app.example:443,https://*.c.example", "--hosts", "https://Broker.example/") as broker:
        for more, status in ((("Origin: https://app.example",), 101), (("Origin: https://a.c.example",), 101), (("Origin: https://c.example",), 403),
                             (("Origin: https://app.example/",), 403)):
            p = request(broker.port, upgrade(*more))
            assert p.status == status, more
            # What is suggested is not there yet, and would be taken.
            for entry in re.findall(r'origins = \{"(.*?)"\}', p.read_body() if status == 403 else ""):
                assert entry == "https://c.example", entry
        for more, status in (("Origin: null",), 101), (("Origin: HTTP://APP.example",), 101), (("Origin: http://b",), 403):
            assert request(broker.port, upgrade(*more)).status == status
        assert request(broker.port, upgrade("Origin: https://broker.example", host="broker.example")).status == 101


def refusals_are_utf8():
    """Whatever octets a refusal quotes: read_body() is strict."""
    with Broker() as broker:
        for octets in b"\xff\xfe", b"x" * 127 + "\u00e9".encode(), b"\xed\xa0\x80":
            head = upgrade("Origin: @").encode().replace(b"@", octets)
            with Peer(broker.port, upgrade=False) as p:
                p.send(head)
                p.read_head()
                assert p.status == 403 and "the Origin" in p.read_body()


def crowded():
    """Half-open handshakes, addresses behind a proxy, the environment, a second signal."""
    with Broker("--max-half-open", "2", "--workers", "1") as broker:  # several have a share each
        idle = [Peer(broker.port, upgrade=False) for _ in range(2)]
        time.sleep(0.2)
        late = Peer(broker.port, upgrade=False)  # accept waits until one of the others is a second old
        late.upgrade("/ws", "fanfare.v1.json", (), "localhost")
        assert late.status == 101 and late.read_json()["type"] == 4
        assert idle[0].at_end(), "the oldest was dropped"
        idle[1].upgrade("/ws", "fanfare.v1.json", (), "localhost")
        assert idle[1].status == 101, "the younger one was not"
    # What a proxy says of the site holds for Host and Origin; nobody else is believed.
    site = ["X-Forwarded-Host: app.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-For: 192.0.2.9"]
    for proxies, good in ("127.0.0.0/8", True), ("10.0.0.1", False):
        with Broker("--proxies", proxies) as broker:
            for origin, status in ("https://app.example", 101), ("http://app.example", 403), ("https://app.example:8443", 403), ("https://b.example", 403):
                p = Peer(broker.port, headers=site + ["Origin: " + origin], host="inner:8080")
                assert p.status == (status if good else 403), (proxies, origin, p.status)
                text = p.read_body() if p.status == 403 else ""
                assert good or 'hosts = {"inner:8080"}' in text, text
                assert not good or status == 101 or 'origins = {"%s"}' % origin in text, text
            p = Peer(broker.port, host="app.example", headers=["X-Forwarded-For: 192.0.2.9", "Origin: https://app.example:8443"])
            assert p.status == (101 if good else 403), "a Host without a port is compared by name there"
            assert Peer(broker.port, host="app.example", headers=["Origin: http://app.example"]).status == 403, "nobody forwarded it"
    with Broker("--proxies", "127.0.0.0/8, 10.0.0.1", "--max-connections-per-address", "1") as broker:
        def via(forwarded):
            return Peer(broker.port, protocol="fanfare.v1.json", headers=["X-Forwarded-For: " + forwarded])
        first, other = via("192.0.2.1"), via("192.0.2.2")
        assert first.read_json()["type"] == other.read_json()["type"] == 4
        for forwarded in "192.0.2.1", "6.6.6.6, 192.0.2.1, 10.0.0.1", "6.6.6.6,192.0.2.2":
            p = via(forwarded)
            code, reason = p.read_close()
            assert code == 1013 and "max_connections_per_address is 1" in reason, (code, reason)
        first.close()
        while via("192.0.2.1").read()[0] != TEXT:  # until the broker saw the first one go
            time.sleep(0.02)
    with Broker("--max-connections-per-address", "1") as broker:
        spoofed = [Peer(broker.port, protocol="fanfare.v1.json", headers=["X-Forwarded-For: 192.0.2.1"])
                   for _ in range(3)]
        for p in spoofed:
            assert p.ask({"type": 1, "id": 1})["type"] in (1, 4), "only proxies are believed"
    with Broker(listen=None, env={"FANFARE_LISTEN": "127.0.0.1:0", "FANFARE_SYS": "true"}) as broker:
        a = typed(broker.port)
        assert a.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})["type"] == 8
    broker = Broker("--drain-seconds", "3600", "--close-seconds", "600")
    a = typed(broker.port)
    broker.process.terminate()
    assert a.read_json()["type"] == 13
    broker.process.terminate()
    assert broker.process.wait(peer.DEADLINE) == 0, "a second signal ends at once"
    broker.stop()


def certificate(name):
    cert, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "10", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def tls():
    cert, key = certificate("a")
    _, other = certificate("b")
    context = ssl.create_default_context(cafile=cert)
    with Broker("--listen", "tls:127.0.0.1:0", "--listen", "unix:" + os.path.join(folder, "s"),
                "--tls-cert", cert, "--tls-key", key) as broker:
        lines = [broker.process.stdout.readline().decode() for _ in range(2)]
        secure = int(re.search(r"wss://127.0.0.1:(\d+)/ws", lines[0]).group(1))
        a, b = typed(secure, tls=context), typed(broker.port)
        assert a.sock.version() == "TLSv1.3" and a.sock.cipher()[0] == "TLS_AES_128_GCM_SHA256", a.sock.cipher()
        u = Peer(unix=os.path.join(folder, "s"), protocol="fanfare.v1.json", host="localhost")
        assert u.read_json()["type"] == 4
        for p in a, b, u:
            p.ask({"type": 5, "id": 1, "topic": "t"})
        big = "x" * 60000
        for i in range(10):
            b.send_json({"type": 7, "topic": "t", "message": [i, big]})
        for p in a, b, u:
            assert [p.read_json()["message"][0] for _ in range(10)] == list(range(10))
        a.send_json({"type": 7, "topic": "t", "message": big})
        for p in a, b, u:
            assert p.read_json()["message"] == big
        out = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % secure, "-CAfile", cert,
                              "-verify_return_error", "-tls1_2"], input=b"R\n", capture_output=True, timeout=peer.DEADLINE)
        assert b"Cipher is ECDHE-ECDSA-AES128-GCM-SHA256" in out.stdout, out.stdout[-2000:]
        env = dict(os.environ, FANFARE_URL="wss://localhost:%d/ws" % secure)
        run = lambda *args: subprocess.run([FANFARE, *args], env=env, capture_output=True, text=True, timeout=peer.DEADLINE)
        assert run("pub", "t", "secure", "--ca", cert).returncode == 0
        assert a.read_json()["message"] == "secure"
        refused = run("pub", "t", "x")
        assert refused.returncode == 2 and "--ca" in refused.stderr, refused
        assert run("ping", "--count", "1", "--insecure").returncode == 0
    for args, said in ((cert, other), "pair"), ((cert, "/nope"), "tls_key"), (("/nope", key), "tls_cert"):
        done = subprocess.run([FANFARED, "--listen", "tls:127.0.0.1:0", "--tls-cert", args[0], "--tls-key", args[1]],
                              capture_output=True, text=True, timeout=peer.DEADLINE)
        assert done.returncode == 1 and said in done.stderr, done.stderr


def stalled_tls():
    """A TLS reader that stops: its stream stays whole, its gap is exact."""
    cert, key = certificate("c")
    context = ssl.create_default_context(cafile=cert)
    with Broker("--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key) as broker:
        secure = int(re.search(r":(\d+)/ws", broker.process.stdout.readline().decode()).group(1))
        slow, p = typed(secure, tls=context), typed(broker.port)
        slow.ask({"type": 5, "id": 1, "topic": "t"})
        count = 6000
        for i in range(1, count + 1):
            p.send_json({"type": 7, "topic": "t", "message": [i, "x" * 1000]})
        p.ask({"type": 1, "id": 1})
        last = 0
        while last < count:
            m = slow.read_json()
            if m["type"] == 10:
                last += m["skipped"]
            else:
                assert m["message"][0] == last + 1, (m["message"][0], last)
                last += 1


def configuration():
    path = os.path.join(folder, "f.conf")

    def check(text, *args, env=None):
        with open(path, "w") as out:
            out.write(text)
        return subprocess.run([FANFARED, "--config", path, "--check-config", *args], capture_output=True,
                              text=True, timeout=peer.DEADLINE, env=dict(os.environ, **(env or {})))

    good = check('max_message = 128K # a comment\nlisten = {"127.0.0.1:1", "[::1]:2"}\nsys = true\n'
                 'topic "chat/#" { overflow = "latest" }\ntopic "#" { overflow = "close" }\n', "chat/1")
    assert good.returncode == 0, good.stderr
    assert "max_message = 128K" in good.stdout and 'listen = {"127.0.0.1:1", "[::1]:2"}' in good.stdout
    assert good.stdout.splitlines()[-1].startswith('# chat/1: topic "chat/#" { overflow = latest')
    assert "max_message = 1K" in check("max_message = 2K\n", env={"FANFARE_MAX_MESSAGE": "1K"}).stdout
    shown = check('origins = {"HTTPS://App.Example:443/", "null"}\nhosts = {"https://App.Example"}\n').stdout
    assert 'origins = {"https://app.example", "null"}' in shown and 'hosts = {"app.example"}' in shown, shown
    shown = check("origins = {%s}\n" % ", ".join('"https://A%d.example/"' % i for i in range(300))).stdout
    assert all('"https://a%d.example"' % i in shown for i in range(300)), "none is left out"
    again = check(good.stdout.split("# chat/1")[0])
    assert again.returncode == 0, "what it prints can be read: " + again.stderr
    for text, said in (
            ("nonsense = 1\n", ":1:"), ("\nmax_message = 1Q\n", ":2: max_message"), ("sys = maybe\n", ":1: sys"),
            ('topic "a" { overflow = "x" }\n', ":1: overflow"), ('topic "a" {\n', "}"),
            ('topic "a" { }\ntopic "a" { }\n', ":2:"), ('topic "a//b" { }\n', "level"),
            ("plain_topic = ${HOME}\n", ":1:"), ('listen = {"foo"}\n', ":1: listen"), ("workers = 65\n", ":1: workers"),
            ("max_buffered = 100K\n", ":1: max_buffered"), ('listen = {"tls:127.0.0.1:0"}\n', "tls_cert"),
            ('proxies = {"x"}\n', ":1: proxies"), ("max_message = 2G\n", ":1: max_message"),
            ('origins = {"app.example"}\n', ":1: origins: \"app.example\" has no scheme, and an Origin has one: write https://app.example"),
            ('origins = {"https://*.com"}\n', "https://*.app.example"), ('origins = {"https://*"}\n', ":1: origins"),
            ('origins = {"https://app.example/chat"}\n', "write https://app.example"), ('hosts = {"*"}\n', ":1: hosts"),
            ('proxy_header = "X Real"\n', ":1: proxy_header"), ("proxy_header = \"\"\n", ":1: proxy_header"), ("ipv6_prefix = 129\n", ":1: ipv6_prefix"),
            ('path = {"ws"}\n', ":1: path"), ('path = {"/ws?topic=a"}\n', "/ws"), ("max_head = 2K\n", ":1: max_head"),
            ("max_head = 128K\n", ":1: max_head"),
            ("max_connections = 999999\n", "ulimit"), ("max_mesage = 2K\n", ":1: no such option 'max_mesage': did you mean max_message?"),
            ('topic "a" { overflw = "skip" }\n', "did you mean overflow?"), ("frobnicate = 1\n", "no such option 'frobnicate'\n"),
            ("memory = 1K\n", ":1: memory is 1024 bytes, but")):
        done = check(text)
        assert done.returncode == 1 and said in done.stderr, (text, done.stderr)
    for args, said in ((["--bogus"], "--help"), (["--listen"], "needs a value"), (["--config", "/nope"], "/nope"),
                       (["--config"], "--config"), (["--workers", "99"], "--workers: workers"),
                       (["--lisen", "x"], "did you mean --listen?"), (["--max_mesage=1"], "did you mean --max-message?"),
                       (["--frobnicate"], "unknown argument --frobnicate; "), (["--listen", "foo"], '--listen: "foo" is no address'),
                       (["--proxies", "x"], '--proxies: "x" is no network'),
                       (["--memory", "1K", "--workers", "2"], "--memory: memory is 1024 bytes, but 2 workers need at least 5120K")):
        done = subprocess.run([FANFARED, *args], capture_output=True, text=True, timeout=peer.DEADLINE)
        assert done.returncode == 1 and said in done.stderr, (args, done.stderr)
    for name, meant in (("FANFARE_LISTN", "FANFARE_LISTEN"), ("FANFARE_max_message", "FANFARE_MAX_MESSAGE"), ("FANFARE_FROBNICATE", None),
                        ("FANFARE_", None), ("FANFARE_PORT", None), ("FANFARE_LISTEN_", "FANFARE_LISTEN")):
        done = check("sys = true\n", env={name: "80"})
        assert done.returncode == 1 and name + " is set in the environment" in done.stderr, (name, done)
        assert not meant or "did you mean %s?" % meant in done.stderr, done
    cluster = {"FANFARE_SERVICE_HOST": "10.0.0.1", "FANFARE_SERVICE_PORT": "80", "FANFARE_SERVICE_PORT_WS": "80",
               "FANFARE_PORT": "tcp://10.0.0.1:80", "FANFARE_PORT_80_TCP_ADDR": "10.0.0.1", "FANFARE_URL": "ws://x", "FANFARES": "x"}
    assert check("sys = true\n", env=cluster).returncode == 0, "what a cluster and the client say is not for us"
    done = subprocess.run(["sh", "-c", "ulimit -n 100; exec %s" % FANFARED], capture_output=True, text=True, timeout=peer.DEADLINE)
    assert done.returncode == 1 and "LimitNOFILE" in done.stderr, done.stderr
    with Broker() as broker:
        done = subprocess.run([FANFARED, "--listen", "127.0.0.1:%d" % broker.port], capture_output=True, text=True, timeout=peer.DEADLINE)
        assert done.returncode == 1 and "port is in use" in done.stderr, done.stderr
    help_text = subprocess.run([FANFARED, "--help"], capture_output=True, text=True, timeout=peer.DEADLINE).stdout
    with open(os.path.join(os.path.dirname(FANFARED), "../../../broker/app/options.def")) as table:
        for name in re.findall(r"^OPTION\(\w+, (\w+),", table.read(), re.M):
            assert "--" + name.replace("_", "-") in help_text, name
    dev = os.path.join(os.path.dirname(__file__), "../../dev")
    done = subprocess.run([dev, "typo"], capture_output=True, text=True, timeout=peer.DEADLINE)
    assert done.returncode == 64 and "no command typo" in done.stderr and "  run\t" in done.stderr and not done.stdout, done
    assert subprocess.run([dev, "help"], capture_output=True, timeout=peer.DEADLINE).returncode == 0
    for program in FANFARED, FANFARE:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=peer.DEADLINE)
        assert re.match(r"fanfared? \d+\.\d+\.\d+\n", done.stdout)


def reload():
    path = os.path.join(folder, "r.conf")

    def write(text):
        with open(path, "w") as out:
            out.write(text)

    def hang_up(broker, said):
        before = broker.log().count(said)
        broker.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + peer.DEADLINE
        while broker.log().count(said) == before:
            assert time.monotonic() < end, broker.log()
            time.sleep(0.02)

    write("max_message = 2K\n")
    with Broker("--config", path, "--log-format", "json") as broker:
        a = typed(broker.port)
        assert a.welcome["limits"]["message"] == 2048
        write("max_message = 4K\nsys = true\nlisten = {\"127.0.0.1:1\"}\n")
        hang_up(broker, "reloaded")
        assert typed(broker.port).welcome["limits"]["message"] == 4096
        assert a.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})["type"] == 8, "sessions stay, with the new rules"
        assert a.read_json()["message"]["connections"] >= 1
        write("max_message = broken\n")
        hang_up(broker, "reload_failed")
        assert typed(broker.port).welcome["limits"]["message"] == 4096, "the old configuration holds"
        os.remove(path)
        os.mkfifo(path)  # nobody writes into it: a reload that opened it would wait
        hang_up(broker, "not a regular file")
        assert typed(broker.port).welcome["limits"]["message"] == 4096, "the old configuration holds"
        os.remove(path)
        for text in "", " \n", 'topic "a" {', "listen = {\"127", "sys = tr":  # cut off while it was written (S29)
            write(text)
            hang_up(broker, "reload_failed")
        write("# all defaults\n")
        soft = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (broker.descriptors(), soft[1]))
        hang_up(broker, "reload_failed")  # not one descriptor left to read it with
        resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, soft)
        assert typed(broker.port).welcome["limits"]["message"] == 4096, "the old configuration holds"
        while True:
            m = a.read_json()
            if m["message"]["reload_failures"] == 8:
                break
        descriptors = broker.descriptors()
        for _ in range(20):
            hang_up(broker, '"reloaded"')
        assert broker.descriptors() == descriptors
        for line in broker.log().splitlines():
            json.loads(line)


def reload_keeps_what_listeners_need():
    path = os.path.join(folder, "t.conf")
    cert, key = certificate("r")
    context = ssl.create_default_context(cafile=cert)
    pair = 'tls_cert = "%s"\ntls_key = "%s"\n' % (cert, key)

    def hang_up(broker, text):
        """Reloads with this text; returns what was logged of it."""
        with open(path, "w") as out:
            out.write(text)
        before = len(broker.log())
        broker.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + peer.DEADLINE
        while not re.search("reload(ed|_failed).*\n", broker.log()[before:]):
            assert time.monotonic() < end, broker.log()
            time.sleep(0.02)
        return broker.log()[before:]

    with open(path, "w") as out:
        out.write('listen = {"tls:127.0.0.1:0"}\n' + pair)
    with Broker("--config", path, "--workers", "2", listen=None) as broker:
        first = typed(broker.port, tls=context)
        for lost in 'listen = {"127.0.0.1:0"}\n', 'listen = {"127.0.0.1:0"}\ntls_cert = ""\ntls_key = ""\n':
            said = hang_up(broker, lost)
            assert "reload_failed" in said and "tls_cert" in said and "wss://127.0.0.1:%d" % broker.port in said, said
            assert typed(broker.port, tls=context).ask({"type": 1, "id": 1})["type"] == 1, "who comes now is served"
        said = hang_up(broker, 'max_message = 8K\nlisten = {"127.0.0.1:0"}\n' + pair)
        assert "reloaded" in said and "needs_restart options=listen" in said, said
        late = typed(broker.port, tls=context)
        assert late.welcome["limits"]["message"] == 8192
        for _ in range(2):  # it still does
            said = hang_up(broker, 'listen = {"127.0.0.1:0"}\nflush = "uring"\n' + pair)
            assert "reloaded" in said and "needs_restart options=\"listen, flush\"" in said, said
        said = hang_up(broker, 'listen = {"tls:127.0.0.1:0"}\n' + pair)
        assert "reloaded" in said and "needs_restart" not in said, "as it began"
        for p in first, late:
            assert p.ask({"type": 1, "id": 1})["type"] == 1


def command_line():
    with Broker() as broker:
        env = dict(os.environ, FANFARE_URL=broker.urls[0])
        run = lambda *args, **more: subprocess.run([FANFARE, *args], env=env, capture_output=True, text=True,
                                                   timeout=peer.DEADLINE, **more)
        sub = subprocess.Popen([FANFARE, "sub", "--url", broker.urls[0], "--count", "1003", "a/1", "b/#"],
                               stdout=subprocess.PIPE, text=True)
        watcher = typed(broker.port)
        while watcher.ask({"type": 7, "id": 1, "topic": "b/x", "message": 0})["receivers"] == 0:
            time.sleep(0.02)
        while watcher.ask({"type": 7, "id": 1, "topic": "a/1", "message": 0})["receivers"] == 0:
            time.sleep(0.02)
        done = run("pub", "a/1", "hello")
        assert done.returncode == 0 and json.loads(done.stdout)["receivers"] == 1, done
        assert run("pub", "b/2", '{"n": 1}').returncode == 0
        lines = "".join("line %d\n" % i for i in range(2000))
        done = run("pub", "a/1", "-", input=lines)
        assert done.returncode == 0 and "2000 published" in done.stderr, done
        got = [json.loads(line) for line in sub.stdout]
        got = [m for m in got if m["message"] != 0]
        assert got[0]["message"] == "hello" and got[1]["message"] == {"n": 1} and got[1]["filter"] == "b/#"
        assert [m["message"] for m in got[2:]] == ["line %d" % i for i in range(len(got) - 2)]
        done = run("pub", "a/#", "x")
        assert done.returncode == 1 and "422" in done.stderr, done
        done = run("pub", "ok", "-", input="a\n" + "b" * 70000 + "\n")
        assert done.returncode == 1 and "max_message of 65536" in done.stderr and "1 published, 1 refused" in done.stderr, done
        done = subprocess.run([FANFARE, "pub", "ok", "-"], env=env, input=b"\xff\nfine\n1e999\n", capture_output=True, timeout=peer.DEADLINE)
        assert done.returncode == 1 and b"1 published, 2 refused" in done.stderr and b"422" in done.stderr, done
        assert run("chat", "a/#", input="").returncode == 64
        assert run("sub", "$SYS/broker").returncode == 1
        assert [json.loads(line)["ping"] for line in run("ping", "--count", "2").stdout.splitlines()] == [1, 2]
        chat = subprocess.Popen([FANFARE, "chat", "room", "--name", "Ada"], env=env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        watcher.ask({"type": 5, "id": 2, "topic": "room"})
        chat.stdin.write("Hi all\n")
        chat.stdin.flush()
        assert watcher.read_json()["message"] == {"from": "Ada", "text": "Hi all"}
        assert chat.stdout.readline() == "Ada: Hi all\n"
        chat.stdin.close()
        assert chat.wait(peer.DEADLINE) == 0
        for args in (), ("sub",), ("nonsense",), ("pub", "a", "b", "c"), ("sub", "--what", "x"):
            assert run(*args).returncode == 64
    done = run("ping")
    assert done.returncode == 2 and "Is fanfared running there?" in done.stderr, done


for run in handshakes, refusals_are_utf8, crowded, tls, stalled_tls, configuration, reload, reload_keeps_what_listeners_need, command_line:
    run()
    print("ok", run.__name__, flush=True)
