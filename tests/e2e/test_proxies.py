# SPDX-License-Identifier: Apache-2.0
"""Behind proxies: the PROXY protocol, Unix sockets that a group may use, localhost; and nginx, HAProxy and Apache
themselves, with the lines of docs/proxies.md."""
import concurrent.futures
import contextlib
import grp
import os
import re
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer as peer_module  # noqa: E402
from peer import BINARY, CLOSE, DEADLINE, PING, PONG, TEXT, Broker, Gone, Peer, close_code, frame, typed  # noqa: E402
from proxies import Apache, Haproxy, HaproxyTcp, Nginx, Upstream, ask  # noqa: E402

FANFARED = os.path.join(peer_module.BIN, "fanfared")
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
folder = tempfile.mkdtemp()


def v1(client, port=4711):
    return ("PROXY TCP%d %s %s %d 443\r\n" % (6 if ":" in client else 4, client, "::1" if ":" in client else "192.0.2.1", port)).encode()


def v2(client, tlv=b"", command=1):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    address = socket.inet_pton(family, client) * 2 + struct.pack("!HH", 4711, 443) + tlv
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, 0x21 if ":" in client else 0x11, len(address)) + address


def connect(port, head, tls=None, chop=0, **more):
    """A typed client, after this head of the PROXY protocol."""
    p = Peer(port, upgrade=False)
    p.send(head, chop)
    if tls:
        p.sock = tls.wrap_socket(p.sock, server_hostname="localhost")
    p.upgrade("/ws", "fanfare.v1.json", more.get("headers", ()), more.get("host", "app.example"))
    return p


def is_turned_away(p):
    assert p.status == 101, p.status
    opcode, payload = p.read()
    if opcode == TEXT:
        return False
    assert payload[:2] == b"\x03\xf5" and b"max_connections_per_address is 2" in payload, payload
    return True


def certificate():
    cert, key = os.path.join(folder, "c.pem"), os.path.join(folder, "c.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", cert, "-days", "10", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    return cert, key


def proxy_protocol():
    cert, key = certificate()
    context = ssl.create_default_context(cafile=cert)
    with Broker("--listen", "proxy:tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--proxies", "127.0.0.1,10.0.0.0/8",
                "--max-connections-per-address", "2", listen="proxy:127.0.0.1:0") as broker:
        secure = int(re.search(r":(\d+)/ws", broker.process.stdout.readline().decode()).group(1))
        for port, tls in (broker.port, None), (secure, context):
            for head, chop in (v1("192.0.2.9"), 0), (v2("192.0.2.9"), 0), (v2("2001:db8::9", b"\4\0\x40" + b"x" * 64), 0), \
                    (v1("2001:db8::9"), 1), (v2("192.0.2.9"), 1), (v2("192.0.2.9", b"\4\7\x80" + b"x" * 1920), 700):
                p = connect(port, head, tls, chop)
                assert not is_turned_away(p), "the head is not an octet longer or shorter"
                assert p.ask({"type": 1, "id": 1})["type"] == 1
                p.close()
        # Whom it names is counted, by /64; the proxy itself never is, nor is what cannot be told.
        for heads, away in ([v1("192.0.2.1", n) for n in range(4)], 2), ([v2("2001:db8:0:7::%d" % n) for n in range(4)], 2), \
                ([v1("192.0.2.%d" % n) for n in range(10, 14)], 0), ([b"PROXY UNKNOWN\r\n"] * 4, 0), ([v2("192.0.2.7", command=0)] * 4, 0), \
                ([v1("10.0.0.1")] * 4, 0):
            peers = [connect(broker.port, head) if b"UNKNOWN" not in head and head[12:13] != b"\x20" else
                     connect(broker.port, head, host="localhost") for head in heads]
            assert sum(map(is_turned_away, peers)) == away, heads[0]
            for p in peers:
                p.close()
        # Who was named is believed about others only if it is a proxy, too.
        for named, forwarded, away in ("192.0.2.50", "192.0.2.%d", 1), ("10.0.0.1", "192.0.2.%d", 0), ("10.0.0.1", "192.0.2.60, 10.9.9.%d", 1):
            peers = [connect(broker.port, v2(named), headers=["X-Forwarded-For: " + forwarded % (100 + n)]) for n in range(3)]
            assert sum(map(is_turned_away, peers)) == away, (named, forwarded)
            for p in peers:
                p.close()
        # What is something else is nobody's, and makes nobody wait.
        for head in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PROXY TCP4 x y 1 2\r\n", SIGNATURE + b"\x21\x11\xff\xff", b"\x16\x03\x01\x02":
            p = Peer(broker.port, upgrade=False)
            p.send(head)
            assert p.at_end(), head
        assert broker.logged("no head of the PROXY protocol")
        for _ in range(3):  # a check that only connects is no event
            Peer(broker.port, upgrade=False).close()
        late = [Peer(broker.port, upgrade=False) for _ in range(3)]
        late[0].send(v2("192.0.2.9")[:20])
        for p in late:
            assert p.at_end(), "it ends who is silent"
        assert broker.logged("did not come in")
        assert broker.log().count("proxy_refused") == 5, broker.log()
    with Broker("--proxies", "10.0.0.1", listen="proxy:127.0.0.1:0") as broker:
        p = Peer(broker.port, upgrade=False)
        p.send(v1("192.0.2.9"))
        assert p.at_end() and broker.logged("is not in the option proxies"), "only proxies are believed"
    with Broker("--proxies", "127.0.0.1", "--max-half-open", "3", "--workers", "1", listen="proxy:127.0.0.1:0") as broker:
        guests = [Peer(broker.port, upgrade=False) for _ in range(3)]
        for p in guests:
            p.send(b"PROXY TCP4 ")
        late = connect(broker.port, v1("192.0.2.9"))  # when they are gone
        assert late.read_json()["type"] == 4 and all(p.at_end() for p in guests)
        waiting = Peer(broker.port, upgrade=False)
        waiting.send(b"PROXY TCP4 ")
    assert waiting.at_end(), "nobody waits at the end"
    done = subprocess.run([FANFARED, "--listen", "proxy:127.0.0.1:0", "--check-config"], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1 and "set proxies" in done.stderr, done.stderr


def a_reload_keeps_the_proxies_of_a_listener():
    path = os.path.join(folder, "p.conf")

    def write(text):
        with open(path, "w") as out:
            out.write(text)

    write('listen = "proxy:127.0.0.1:0"\nproxies = "127.0.0.1"\n')
    with Broker("--config", path, listen=None) as broker:
        write('listen = "127.0.0.1:0"\n')
        broker.process.send_signal(signal.SIGHUP)
        assert broker.logged("reload_failed") and "proxies are not set" in broker.log(), broker.log()
        assert connect(broker.port, v1("192.0.2.9")).read_json()["type"] == 4


def unix_sockets():
    path = os.path.join(folder, "s")
    group = grp.getgrgid(os.getgid()).gr_name
    for mode, spec in (0o660, "mode=0660"), (0o606, "mode=606,group=" + group), (0o600, "group=%d,mode=600" % os.getgid()):
        for args in ["--listen", "unix:%s,%s" % (path, spec)], []:
            env = {} if args else {"FANFARE_LISTEN": "127.0.0.1:0,unix:%s,%s" % (path, spec)}
            broker = Broker(*args, "--proxies", "unix:", "--max-connections-per-address", "1",
                            listen="127.0.0.1:0" if args else None, env=env)
            with broker:
                assert stat.S_IMODE(os.stat(path).st_mode) == mode, oct(os.stat(path).st_mode)
                # What comes by it comes through a proxy of ours: clients are counted, names are not compared.
                peers = [Peer(unix=path, protocol="fanfare.v1.json", host="app.example", headers=["X-Forwarded-For: 192.0.2.%d" % (n % 2),
                                                                                                 "Origin: https://app.example"])
                         for n in range(3)]
                assert [p.read()[0] == TEXT for p in peers] == [True, True, False]
    with open(os.path.join(folder, "u.conf"), "w") as out:
        out.write('listen = "unix:%s,mode=0666"\n' % path)
    with Broker("--config", os.path.join(folder, "u.conf"), listen=None):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
        assert Peer(unix=path, host="app.example").status == 101, "nobody's browser reaches a Unix socket"
    if os.getuid():  # root may give it to any group
        done = subprocess.run([FANFARED, "--listen", "unix:%s,group=root" % path], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 1 and "in that group" in done.stderr, done.stderr
        assert not os.path.exists(path)
    for spec, said in ("mode=0999", "octal"), ("group=no-such-group", "no group"), ("owner=root", "owner=root"):
        done = subprocess.run([FANFARED, "--check-config", "--listen", "unix:%s,%s" % (path, spec)], capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 1, done
        assert said in done.stderr, done.stderr


def localhost():
    with Broker(listen="localhost:0") as broker:
        assert typed(broker.port).welcome["type"] == 4
        has_ipv6 = os.path.exists("/proc/net/if_inet6") and "00000000000000000000000000000001" in open("/proc/net/if_inet6").read()
        if has_ipv6:
            assert "[::1]:%d/ws" % broker.port in broker.process.stdout.readline().decode(), "both, on one port"
            with socket.create_connection(("::1", broker.port), 30) as s:
                s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert s.recv(100).startswith(b"HTTP/1.1 200")
        else:
            assert broker.logged("no_ipv6")


class Way:
    """Through a real proxy to the broker."""

    def __init__(self, kind, cert, key, context, args=(), edit=lambda text: text):
        self.tls = None if kind is HaproxyTcp else context
        self.upstream = Upstream(folder, "fanfare-proxy" if kind is HaproxyTcp else "fanfare", args)
        self.proxy = kind(folder, self.upstream, cert, key, edit)

    def client(self, host="app.example", **more):
        return Peer(self.proxy.port, path=self.proxy.path, tls=self.tls, host=host, **more)

    def comes_back(self):
        """A client once there is a broker again: until then each attempt is told so, and at once."""
        end = time.monotonic() + DEADLINE
        while True:
            assert time.monotonic() < end, self.proxy.log()
            try:
                p = self.client(protocol="fanfare.v1.json")
                if p.status == 101:
                    assert p.read_json()["type"] == 4
                    return p
                assert p.status in (502, 503), p.status
            except (Gone, OSError):
                pass  # one that passes TCP on has no other way to tell
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.proxy.log()[-4000:], self.upstream.broker.log()[-4000:])
        self.proxy.stop()
        self.upstream.broker.__exit__(kind)


def chat(way):
    """Text and binary, large and small, both ways and in order."""
    a, b = (way.client(protocol="fanfare.v1.json", headers=["Origin: https://app.example"]) for _ in range(2))
    plain = way.client()
    m = way.client(protocol="fanfare.v1.msgpack")
    assert "sec-websocket-protocol" not in plain.headers and m.headers["sec-websocket-protocol"] == "fanfare.v1.msgpack"
    for p in a, b:
        assert p.read_json()["type"] == 4 and p.ask({"type": 5, "id": 1, "topic": "lobby"})["type"] == 8
    assert a.ask({"type": 1, "id": 1})["type"] == 1
    plain.send(frame(TEXT, '{"type":1,"id":1}'))  # its subscription stands
    assert plain.read_json()["id"] == 1
    sizes = [10, 60000, 1, 30000, 200] * 20
    for i, size in enumerate(sizes):
        a.send_json({"type": 7, "topic": "lobby", "message": [i, "x" * size]})
    for p in a, b, plain:
        assert [(m["message"][0], len(m["message"][1])) for m in (p.read_json() for _ in sizes)] == list(enumerate(sizes))
    m.send(frame(BINARY, b"\x94\x07\x01\xa5lobby\xc4\x03\x01\x02\x03"))
    assert plain.read_json()["data"] == "AQID"
    for p in a, b, plain, m:
        p.close()


def close_codes(way):
    """A client's code reaches the broker, which gives it back; the broker's reaches the client."""
    for code in 1000, 1001, 3001, 4999:
        p = way.client(protocol="fanfare.v1.json")
        p.send(frame(CLOSE, struct.pack("!H", code) + b"bye"))
        assert p.read_close()[0] == code and p.at_end(), code
    for octets, code in ((frame(BINARY, b"x"), 1003), (frame(TEXT, b"\xff"), 1007), (frame(TEXT, b"x", length=70000), 1009),
                         (frame(TEXT, b"x", mask=None), 1002)):
        p = way.client(protocol="fanfare.v1.json")
        p.send(octets)
        assert p.read_close()[0] == code and p.at_end(), code
    p = way.client()
    p.send(frame(PING, b"are you there"))
    assert p.read() == (PONG, b"are you there")
    watcher = way.comes_back()
    watcher.ask({"type": 5, "id": 1, "topic": "$SYS/broker"})
    p.reset()  # a client that is gone is gone at the broker, too
    while watcher.read_json()["message"]["connections"] != 1:
        pass
    watcher.close()


def clients_are_told_apart(way):
    """Limits are those of clients, sites those of browsers. Who asks says that it is a proxy of our own for another."""
    peers = [way.client(protocol="fanfare.v1.json", headers=["X-Forwarded-For: " + who])
             for who in ["192.0.2.9"] * 3 + ["192.0.2.10", "2001:db8::1", "2001:db8::2", "2001:db8::3", "127.0.0.1"]]
    seen = [p.read() for p in peers]
    assert [opcode == TEXT or close_code(payload) for opcode, payload in seen] == [True, True, 1013, True, True, True, 1013, True], seen
    for p in peers:
        p.close()
    https = way.tls is not None
    for host, origin, status in (("app.example", "https://app.example", 101), ("app.example:8443", "https://app.example:8443", 101),
                                 ("app.example", "https://app.example:8443", 101), ("app.example", "https://evil.example", 403),
                                 ("app.example", "null", 403), ("app.example", "http://app.example", 403 if https else 101)):
        p = way.client(host, headers=["Origin: " + origin])
        assert p.status == status, (host, origin, p.status)
        assert status == 101 or 'origins = {"%s"}' % origin in p.read_body()


def health(way):
    prefix = way.proxy.path[:-len("/ws")]
    if way.tls:
        assert ask(way.proxy, way.tls, prefix + "/healthz") == (200, "ok\n")
        assert ask(way.proxy, way.tls, prefix + "/healthz", "HEAD") == (200, "")
        assert "Fanfare" in ask(way.proxy, way.tls, prefix + "/")[1], "the console page"
        assert ask(way.proxy, way.tls, prefix + "/ws")[0] == 426
        p = way.client(headers=["Cookie: " + "x" * 4096])
        assert p.status == 101, "a cookie as long as browsers have"


def restart_beneath(way):
    """Who is there is told; who comes back is served as soon as there is a broker; also after a kill -9."""
    a, b = way.comes_back(), way.comes_back()
    way.upstream.restart()
    for p in a, b:
        assert p.read_json()["type"] == 13, "GOODBYE"
        assert p.read_close()[0] == 1012 and p.at_end()
    way.comes_back().close()
    p = way.comes_back()
    way.upstream.broker.kill()
    assert p.at_end(), "the end is seen, without a close frame"
    for _ in range(3):  # while it is away each is told so, and no proxy holds that against it later
        with contextlib.suppress(Gone, OSError):
            assert way.client().status in (502, 503)
    if isinstance(way.proxy, Haproxy):
        way.proxy.sees("DOWN")
    way.upstream.start()
    if isinstance(way.proxy, Haproxy):
        way.proxy.sees("UP")
    way.comes_back().close()


def real_proxies():
    cert, key = certificate()
    context = ssl.create_default_context(cafile=cert)
    # What chat() sends before it reads is kept, however late a proxy takes it.
    args = "--sys", "--max-connections-per-address", "2", "--workers", "2", "--max-buffered", "16M"
    for kind in Nginx, Haproxy, HaproxyTcp, Apache:
        with Way(kind, cert, key, context, args) as way:
            if isinstance(way.proxy, Haproxy):
                assert way.proxy.sees("UP")["check_status"] in ("L7OK", "L4OK")
            for run in chat, close_codes, clients_are_told_apart, health, restart_beneath:
                run(way)
                print("ok %s, %s" % (run.__name__, way.proxy.kind), flush=True)


def stays(p, intervals):
    """Reads through so many intervals of silence, but for PINGs and their answers; then it is asked."""
    while intervals:
        opcode, payload = p.read()
        assert opcode != CLOSE, close_code(payload)
        if opcode == PING:
            p.send(frame(PONG, payload))
            intervals -= 1
    p.send(frame(TEXT, '{"type":1,"id":7}'))
    while b'"id":7' not in payload:
        opcode, payload = p.read()
        assert opcode != CLOSE, close_code(payload)
        if opcode == PING:
            p.send(frame(PONG, payload))


def quiet_connections_outlive_the_time_outs():
    """Time-outs a little over two heartbeats, of both directions: the quiet stay, in plain mode and typed."""
    cert, key = certificate()
    context = ssl.create_default_context(cafile=cert)
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = []
        for kind, old in (Nginx, "75s"), (Haproxy, "1h "), (HaproxyTcp, "75s"), (Apache, "timeout=75"):
            way = stack.enter_context(Way(kind, cert, key, context, ["--heartbeat", "5"],
                                          lambda text, old=old: text.replace(old, "timeout=12" if "=" in old else "12s")))
            clients += [way.client(protocol="fanfare.v1.json"), way.client()]
        for done in [pool.submit(stays, p, 4) for p in clients]:
            done.result()


def old_checks_of_haproxy():
    """HAProxy's check as it was written for years: HTTP/1.0, and no Host."""
    cert, key = certificate()
    for line in "option httpchk GET /healthz", "option httpchk HEAD /healthz", "option httpchk GET /healthz HTTP/1.1\\r\\nHost:\\ localhost", \
            "option httpchk\n    http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host localhost":
        with Way(Haproxy, cert, key, None, edit=lambda text, line=line: text.replace("option httpchk GET /healthz", line)) as way:
            found = way.proxy.sees("UP")
            assert found["check_status"] == "L7OK" and found["check_code"] == "200", (line, found)


only = sys.argv[1:]
for run in (proxy_protocol, a_reload_keeps_the_proxies_of_a_listener, unix_sockets, localhost, real_proxies,
            old_checks_of_haproxy, quiet_connections_outlive_the_time_outs):
    if not only or run.__name__.startswith(tuple(only)):
        run()
        print("ok", run.__name__, flush=True)
