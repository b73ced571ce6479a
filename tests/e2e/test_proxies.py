# SPDX-License-Identifier: Apache-2.0
"""Behind proxies: the PROXY protocol, Unix sockets that a group may use, localhost."""
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
from peer import TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

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
    done = subprocess.run([FANFARED, "--listen", "proxy:127.0.0.1:0", "--check-config"], capture_output=True, text=True, timeout=30)
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
        done = subprocess.run([FANFARED, "--listen", "unix:%s,group=root" % path], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and "in that group" in done.stderr, done.stderr
        assert not os.path.exists(path)
    for spec, said in ("mode=0999", "octal"), ("group=no-such-group", "no group"), ("owner=root", "owner=root"):
        done = subprocess.run([FANFARED, "--check-config", "--listen", "unix:%s,%s" % (path, spec)], capture_output=True, text=True, timeout=30)
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


for run in proxy_protocol, a_reload_keeps_the_proxies_of_a_listener, unix_sockets, localhost:
    run()
    print("ok", run.__name__, flush=True)
