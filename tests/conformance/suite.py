# SPDX-License-Identifier: Apache-2.0
"""What the conformance suites share: a case is a way of sending and the exact events that must
come back; a dropped connection or a close without a code does not pass for the right code."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, Broker, Gone, Peer, close_code, frame  # noqa: E402

LONG = bool(os.environ.get("TEST_LONG"))
CLOSE_1000 = frame(CLOSE, b"\x03\xe8")
cases = []


def case(name):
    def add(run):
        cases.append((name, run))
        return run
    return add


def send(peer, frames, way="whole"):
    """whole: one write; frames: a write a frame; an int: so many octets a write."""
    if way == "frames":
        for one in frames:
            peer.send(one)
    elif way == "whole":
        peer.send(b"".join(frames))
    else:
        peer.send(b"".join(frames), chop=way)


def expect(peer, events):
    for event in events:
        got = peer.read()
        wanted = (event[0], event[1].encode() if isinstance(event[1], str) else event[1])
        assert got == wanted, "got %.80r, wanted %.80r" % (got, wanted)


def ends_with(peer, code, answer=False):
    """The next event is a close with exactly this code; then the server ends TCP."""
    opcode, payload = peer.read()
    assert opcode == CLOSE, "an event %d %.40r instead of a close" % (opcode, payload)
    assert close_code(payload) == code, "close %s, wanted %s" % (close_code(payload), code)
    if answer:
        try:
            peer.send(frame(CLOSE, payload[:2]))
        except OSError:
            pass
    assert peer.at_end(), "the server did not end the connection"


def positive(name, frames, events, way="whole"):
    def run(peer):
        send(peer, frames, way)
        expect(peer, events)
        peer.send(frame(CLOSE, b"\x03\xe8"))
        ends_with(peer, 1000)
    cases.append((name, run))


def negative(name, frames, events, code, way="whole"):
    def run(peer):
        send(peer, frames, way)
        expect(peer, events)
        ends_with(peer, code, answer=True)
    cases.append((name, run))


def certificate():
    """A certificate for localhost and its key, as files."""
    folder = tempfile.mkdtemp()
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", key, "-out", cert, "-days", "10", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


def play(port, tls=None):
    """All cases against /echo; returns the names of those that failed."""
    failed = []
    only = sys.argv[1:]
    for name, run in cases:
        if only and not name.startswith(tuple(only)):
            continue
        peer = Peer(port, path="/echo", tls=tls)
        assert peer.status == 101
        try:
            run(peer)
        except (AssertionError, Gone, OSError) as why:
            failed.append(name)
            print("%s: %s: %s" % (name, type(why).__name__, why))
        peer.close()
    return failed
