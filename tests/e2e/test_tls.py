# SPDX-License-Identifier: Apache-2.0
"""TLS under bad weather: an octet at a time both ways, records cut and glued, old versions and
renegotiation refused, certificates expired, mismatched and reloaded, fifty readers that stall."""
import contextlib
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, DEADLINE, TEXT, Broker, Gone, Peer, frame, typed  # noqa: E402

folder = tempfile.mkdtemp()
MARKER = "5ec4e7-m4rk3r"


def certificate(name, *more):
    cert, key = os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", *(more or ("-days", "10"))], check=True, capture_output=True)
    return cert, key


cert, key = certificate("first")
context = ssl.create_default_context(cafile=cert)


def secure_broker(*more, cert=cert, key=key):
    broker = Broker("--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, *more)
    broker.secure = int(re.search(r":(\d+)/ws", broker.process.stdout.readline().decode()).group(1))
    return broker


class Proxy:
    """Passes octets on in pieces, both ways, `piece` at a time."""

    def __init__(self, port, piece):
        self.port, self.piece = port, piece
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            one, _ = self.listener.accept()
            other = socket.create_connection(("127.0.0.1", self.port))
            for a, b in (one, other), (other, one):
                a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pass_on, args=(a, b), daemon=True).start()

    def pass_on(self, source, target):
        try:
            while got := source.recv(self.piece() if callable(self.piece) else self.piece):
                target.sendall(got)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def an_octet_at_a_time():
    """S21: whatever TCP does to the records, both streams stay whole."""
    dice = random.Random(7)
    with secure_broker() as broker:
        for piece, count, size in (1, 20, 700), (lambda: dice.choice((1, 2, 5, 17, 1000, 16384, 16389)), 100, 40000):
            proxy = Proxy(broker.secure, piece)
            a, b = typed(proxy.at, tls=context), typed(broker.port)
            for p in a, b:
                p.ask({"type": 5, "id": 1, "topic": "t"})
            messages = ["%d:%s" % (i, "x" * dice.randrange(size)) for i in range(count)]
            for i, m in enumerate(messages):
                (a if i % 2 else b).send_json({"type": 7, "topic": "t", "message": m})
                assert a.read_json()["message"] == b.read_json()["message"] == m
            a.send(b"".join(frame(TEXT, '{"type":7,"topic":"t","message":%d}' % i) for i in range(count)))
            for p in a, b:
                assert [p.read_json()["message"] for _ in range(count)] == list(range(count))
            a.close()
            b.close()


def records_of_every_size():
    """A frame over many records, many frames in one, a record an octet; and a cut one is waited for."""
    with secure_broker() as broker:
        a = typed(broker.secure, tls=context)
        a.ask({"type": 5, "id": 1, "topic": "t"})
        octets = b"".join(frame(TEXT, '{"type":7,"topic":"t","message":%d}' % i) for i in range(300))
        for size in 1, 7, 16384:
            for i in range(0, len(octets), size):
                a.sock.send(octets[i:i + size])
            assert [a.read_json()["message"] for _ in range(300)] == list(range(300))
        out = ssl.MemoryBIO()
        raw = socket.create_connection(("127.0.0.1", broker.secure))
        into = ssl.MemoryBIO()
        tls = context.wrap_bio(into, out, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(out.read())
                into.write(raw.recv(65536))
        tls.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        record = out.read()
        raw.sendall(record[:-1])
        raw.settimeout(0.3)
        try:
            while True:  # the session ticket may come, an answer may not
                into.write(raw.recv(65536))
                try:
                    assert tls.read(100) == b"", "answered before the record was whole"
                except ssl.SSLWantReadError:
                    pass
        except TimeoutError:
            pass
        raw.sendall(record[-1:])
        raw.settimeout(DEADLINE)
        answer = b""
        while len(answer) < 12:  # what comes first may be the ticket
            into.write(raw.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += tls.read(100)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        raw.close()
        # Rubbish in the place of a record ends that connection only.
        evil = typed(broker.secure, tls=context)
        os.write(evil.sock.fileno(), b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        assert evil.at_end()
        assert a.ask({"type": 1, "id": 1})["type"] == 1


def s_client(port, *more, text=b""):
    done = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, "-CAfile", cert, *more],
                          input=text, capture_output=True, timeout=DEADLINE)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def old_versions_and_renegotiation():
    """S08."""
    with secure_broker() as broker:
        for version in "-tls1", "-tls1_1":
            said = s_client(broker.secure, version, "-cipher", "ALL:@SECLEVEL=0")
            assert "Cipher is (NONE)" in said or "no protocols available" in said, said
        for version, name in ("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3"):
            said = s_client(broker.secure, version, "-verify_return_error")
            assert name in said and "Verify return code: 0 (ok)" in said, said
        client = subprocess.Popen(["openssl", "s_client", "-connect", "127.0.0.1:%d" % broker.secure, "-CAfile", cert,
                                   "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while b"Extended master secret" not in (line := client.stdout.readline()):
            assert line, "no handshake"
        client.stdin.write(b"R\n")
        client.stdin.flush()
        said = client.communicate(timeout=DEADLINE)[0].decode(errors="replace")
        assert "no renegotiation" in said or "RENEGOTIATING" in said and "error" in said, said
        said = s_client(broker.secure, "-tls1_2", "-cipher", "AES128-SHA")
        assert "Cipher is (NONE)" in said, "no forward secrecy"
        tickets = os.path.join(folder, "ticket")
        s_client(broker.secure, "-tls1_2", "-sess_out", tickets)
        assert "Reused, TLSv1.2" in s_client(broker.secure, "-tls1_2", "-sess_in", tickets), "tickets are on"


def certificates():
    """Expired and wrong ones are the client's to refuse; a bad pair is ours; SIGHUP keeps connections."""
    old_cert, old_key = os.path.join(folder, "old.pem"), os.path.join(folder, "old.key")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    old_key, "-out", folder + "/old.csr", "-subj", "/CN=localhost"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", folder + "/old.csr", "-signkey", old_key, "-out", old_cert,
                    "-days", "-1"], check=True, capture_output=True)
    with secure_broker(cert=old_cert, key=old_key) as broker:
        assert broker.logged("certificate_expired"), "an operator is told"
        try:
            typed(broker.secure, tls=ssl.create_default_context(cafile=old_cert))
            raise AssertionError("an expired certificate was believed")
        except ssl.SSLCertVerificationError as why:
            assert "expired" in str(why), why
        assert typed(broker.port).welcome["type"] == 4
    here_cert, here_key = os.path.join(folder, "here.pem"), os.path.join(folder, "here.key")

    def use(which):
        for source, target in zip(which, (here_cert, here_key)):
            with open(source, "rb") as read, open(target, "wb") as write:
                write.write(read.read())

    def hang_up(broker, said):
        before = broker.log().count(said)
        broker.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + DEADLINE
        while broker.log().count(said) == before:
            assert time.monotonic() < end, broker.log()
            time.sleep(0.02)

    second = certificate("second")
    use((cert, key))
    with secure_broker(cert=here_cert, key=here_key) as broker:
        kept = typed(broker.secure, tls=context)
        use(second)
        hang_up(broker, "reloaded")
        assert kept.ask({"type": 5, "id": 1, "topic": "t"})["type"] == 8, "connections stay"
        new = typed(broker.secure, tls=ssl.create_default_context(cafile=second[0]))
        try:
            typed(broker.secure, tls=context)
            raise AssertionError("the old certificate is still shown")
        except ssl.SSLCertVerificationError:
            pass
        for pair in (second[0], key), (cert, second[1]), (os.devnull, key), (second[0], os.devnull):
            use(pair)
            hang_up(broker, "reload_failed")
        descriptors = broker.descriptors()
        use(second)
        for _ in range(10):
            hang_up(broker, "reloaded")
        assert broker.descriptors() == descriptors
        for p in kept, new:
            assert p.ask({"type": 7, "id": 2, "topic": "t", "message": 1})["type"] == 8
        for text in broker.log(), broker.log():
            assert "PRIVATE KEY" not in text


def a_record_is_read_whole_where_memory_is_short():
    """4 KiB are read at once then; of the rest of a record no event of the socket tells."""
    with secure_broker("--memory", "16M", "--heartbeat", "300") as broker:
        peer, n = typed(broker.secure, tls=context), 0
        others, got = [], {"type": 8}
        while got["type"] == 8:  # names until there is no room for one more
            others.append(typed(broker.port))
            try:
                for k in range(3):
                    n += 1
                    others[-1].send_json([{"type": 5, "topic": "%d/%d/%s" % (n, i, "n" * 230)} for i in range(200)])
                got = others[-1].ask({"type": 5, "id": 1, "topic": "last/%d" % n})
            except Gone as why:  # in half a message
                assert "1013" in str(why), why
                break
        answers = 0
        peer.send(b"".join(frame(TEXT, '{"type":6,"id":%d,"topic":"%s"}' % (i, "x" * 100)) for i in range(100)))  # one record
        while answers < 100:
            answers += peer.read_json()["type"] == 8
        for other in others:
            other.close()


def fifty_stalled_readers():
    """They stall under overflow: each stream is whole, each gap is exact, some are told to leave."""
    count, readers = 5000, 50
    with secure_broker("--heartbeat", "300") as broker:
        peers = []
        for i in range(readers):
            p = typed(broker.secure, tls=context, rcvbuf=4096)
            p.rule = ("skip", "latest")[i % 2]
            p.ask({"type": 5, "id": 1, "topic": "t", "overflow": p.rule})
            peers.append(p)
        writer = typed(broker.port)
        for i in range(1, count + 1):
            writer.send_json({"type": 7, "topic": "t", "message": [i, "%06d" % i * 100]})
        writer.ask({"type": 1, "id": 1})
        gaps = 0
        for p in peers:
            last = skipped = 0
            while last < count:
                m = p.read_json()
                if m["type"] == 10:
                    assert m["cause"] == "slow" and m["skipped"] > 0, m
                    last += m["skipped"]
                    skipped += 1
                    continue
                i, text = m["message"]
                assert i == last + 1 and text == "%06d" % i * 100, (p.rule, i, last)
                last = i
            gaps += skipped
            p.close()
        assert gaps >= readers, "nobody was overrun: nothing was tried"


def a_record_is_read_whole_where_many_wait():
    """A turn reads a part of it, and is over: of the rest, which OpenSSL holds, no event tells."""
    asked = b"".join(frame(TEXT, '{"type":1,"id":%d}' % n) for n in range(1, 600))
    assert 12000 < len(asked) < 16384
    with secure_broker("--workers", "1") as broker:
        peers = [typed(broker.secure, tls=context) for _ in range(60)]
        for _ in range(3):
            os.kill(broker.process.pid, signal.SIGSTOP)
            for p in peers:
                p.send(asked)
            os.kill(broker.process.pid, signal.SIGCONT)
            for p in peers:
                for n in range(1, 600):
                    assert p.read_json()["id"] == n


for run in (an_octet_at_a_time, records_of_every_size, old_versions_and_renegotiation, certificates,
            a_record_is_read_whole_where_memory_is_short,
            a_record_is_read_whole_where_many_wait, fifty_stalled_readers):
    run()
    print("ok", run.__name__, flush=True)
