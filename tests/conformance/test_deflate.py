# SPDX-License-Identifier: Apache-2.0
"""permessage-deflate (RFC 7692) over the echo endpoint: what the usual suites check, row by row, and
what they do not see (S02, S18).

The client obeys the answer: it resets where it promised to, and inflates with exactly the window
that was answered. Every echo is compared to the octet.
"""
import hashlib
import random
import ssl
import sys
import zlib

import os

sys.path.insert(0, os.path.dirname(__file__))
from suite import (BINARY, CLOSE_1000, CONT, LONG, PING, PONG, TEXT, Broker, Gone, Peer, certificate, ends_with,  # noqa: E402
                   expect, frame)

MAX = 131072
RSV1 = 4
dice = random.Random(7692)
WORDS = ["und", "der", "die", "Haus", "Wasser", "gehen", "nicht", "Wort", "Schatten", "Morgen", "über", "Tür", "weiß",
         "lange", "Stadt", "Brücke", "leise", "Stimme", "Fenster", "Nacht", "warten", "Zeit", "Straße", "kommen"]


def json_text():
    return "[" + ",".join('{"id":%d,"name":"sensor-%d","values":[1,2,3,4],"ok":true,"place":"hall"}' % (i, i % 7)
                          for i in range(2600)) + "]"


def bitmap():
    grey, out = 128, bytearray()
    for _ in range(263222):
        grey = max(0, min(255, grey + dice.randrange(-60, 61)))
        out.append(grey)
    return bytes(out)


def prose():
    return " ".join(dice.choice(WORDS) + dice.choice(("", "", "e", "en", ",", ".")) for _ in range(34000)).encode()


def html():
    return "".join('<tr class="row"><td>%d</td><td>caf\u00e9 \u20ac %d</td></tr>\n' % (i, i % 13) for i in range(5600))


def document():
    return b"".join(dice.randbytes(700) + b"stream endobj 0 R /Type /Page /Parent 2 0 R >> " * 5 for _ in range(1100))


DATA = {1: (TEXT, json_text()), 2: (BINARY, bitmap()), 3: (BINARY, prose()), 4: (TEXT, html()), 5: (BINARY, document())}
SIZES = [16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072]
ROWS = [(size, 0) for size in SIZES] + [(size, 256) for size in SIZES[5:]] + [(131072, f) for f in (1024, 4096, 32768)]
BASE = "permessage-deflate; client_no_context_takeover; client_max_window_bits"
OFFERS = {1: BASE, 2: BASE + "; server_no_context_takeover", 3: BASE + "; server_max_window_bits=9",
          4: BASE + "; server_max_window_bits=15", 5: BASE + "; server_no_context_takeover; server_max_window_bits=9",
          6: BASE + "; server_no_context_takeover; server_max_window_bits=15",
          7: ", ".join((BASE + "; server_no_context_takeover; server_max_window_bits=9",
                        BASE + "; server_no_context_takeover", BASE))}
cases = []


def case(name, offer="permessage-deflate"):
    def add(run):
        cases.append((name, offer, run))
        return run
    return add


def cut(data, at, size):
    """A window that slides on by its size; behind the end the beginning follows."""
    at = at * size % len(data)
    out = data[at:at + size]
    while len(out) < size:
        out += data[:size - len(out)]
    return out.encode() if isinstance(out, str) else out


def compressed(peer, opcode, payload, fragment=0):
    body = peer.deflate.compress(payload)
    if not fragment:
        return frame(opcode, body, rsv=RSV1)
    pieces = [body[i:i + fragment] for i in range(0, len(body), fragment)] or [b""]
    return b"".join(frame(CONT if i else opcode, piece, fin=i == len(pieces) - 1, rsv=0 if i else RSV1)
                    for i, piece in enumerate(pieces))


def round_trips(peer, kind, size, fragment):
    opcode, data = DATA[kind]
    count = 1000 if LONG else max(3, min(100, 200000 // size))
    assert peer.deflate, "not negotiated"
    for k in range(count):
        payload = cut(data, k, size)[:MAX]
        while opcode == TEXT and len(payload.decode(errors="ignore").encode()) != len(payload):
            payload = payload[:-1]  # a code point that MAX has cut
        peer.send(compressed(peer, opcode, payload, fragment))
        got, echo = peer.read()
        assert (got, len(echo)) == (opcode, len(payload)), (got, len(echo), len(payload))
        assert hashlib.sha256(echo).digest() == hashlib.sha256(payload).digest(), "another content"
    if peer.deflate.server_bits > 8 and size >= 1024 and kind == 1:
        assert peer.compressed_count == count, "%d of %d came compressed" % (peer.compressed_count, count)
    peer.send(CLOSE_1000)
    ends_with(peer, 1000)


def row(name, offer, kind, size, fragment):
    cases.append((name, offer, lambda peer: round_trips(peer, kind, size, fragment)))


for kind in DATA:
    for i, (size, fragment) in enumerate(ROWS, 1):
        row("12.%d.%d" % (kind, i), BASE, kind, size, fragment)
for kind, offer in OFFERS.items():
    for i, (size, fragment) in enumerate(ROWS, 1):
        row("13.%d.%d" % (kind, i), offer, 1, size, fragment)
assert len(cases) == 216


# D.7: offers and answers
def answered(name, offer, params):
    """`params` None: it is declined, and the conversation goes on without."""
    @case("D.7 " + name, offer)
    def run(peer):
        if params is None:
            assert peer.deflate is None, peer.headers
            peer.send(frame(TEXT, "plain"))
            expect(peer, [(TEXT, "plain")])
            peer.send(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\0", rsv=RSV1))
            ends_with(peer, 1002, answer=True)
            return
        wanted = {"server_no_context_takeover": "", **params}
        assert peer.deflate.params == wanted, peer.deflate.params
        for size in 1, 5000, 20000:
            payload = cut(DATA[1][1], size, size)
            peer.send(compressed(peer, TEXT, payload))
            expect(peer, [(TEXT, payload)])
        assert peer.compressed_count == (0 if peer.deflate.server_bits == 8 else 2), peer.compressed_count
        peer.send(CLOSE_1000)
        ends_with(peer, 1000)


PMD = "permessage-deflate"
answered("an offer alone", PMD, {})
answered("client_max_window_bits without a value", PMD + "; client_max_window_bits", {})
for bits in range(8, 16):
    answered("client_max_window_bits=%d" % bits, PMD + "; client_max_window_bits=%d" % bits, {"client_max_window_bits": str(bits)})
    answered("server_max_window_bits=%d" % bits, PMD + "; server_max_window_bits=%d" % bits, {"server_max_window_bits": str(bits)})
answered("a value in quotes", PMD + '; server_max_window_bits="10"', {"server_max_window_bits": "10"})
answered("everything", BASE + "=11; server_no_context_takeover; server_max_window_bits=10",
         {"client_no_context_takeover": "", "client_max_window_bits": "11", "server_max_window_bits": "10"})
answered("two of the same", PMD + ", " + PMD, {})
answered("the second, where the first is bad", PMD + "; x, " + PMD + "; client_no_context_takeover", {"client_no_context_takeover": ""})
answered("behind others", 'x-webkit-deflate-frame, a; b="c, d; e", ' + PMD, {})
for bad in ("; server_max_window_bits", "; server_max_window_bits=7", "; server_max_window_bits=16", "; server_max_window_bits=08",
            "; server_max_window_bits=99999999999", "; client_max_window_bits=7", "; client_max_window_bits=16",
            "; client_max_window_bits=", "; server_no_context_takeover=1", "; client_no_context_takeover=1", "; unknown",
            "; server_no_context_takeover; server_no_context_takeover", "; client_max_window_bits; client_max_window_bits=10",
            "; server_max_window_bits=10; server_max_window_bits=10", ";", "; a=\"", " x", "=1", "".join("; p%d" % i for i in range(17))):
    answered("declined: %.60s" % bad, PMD + bad, None)
answered("declined: the ninth extension", "a, " * 8 + PMD, None)
answered("declined: in capitals", PMD.upper(), None)


# D.7: messages
def talk(name, octets, events, code=1000, offer=PMD):
    """Octets as they are, what comes back, and how it ends: 1000 after our own close, else theirs."""
    @case("D.7 " + name, offer)
    def run(peer):
        peer.send(b"".join(octets))
        expect(peer, events)
        if code == 1000:
            peer.send(CLOSE_1000)
        ends_with(peer, code, answer=code != 1000)


HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\0"


def raw(payload, opcode=TEXT, rsv=RSV1, fin=True):
    return frame(opcode, payload, rsv=rsv, fin=fin)


@case("D.7 a client may lean on what it sent before")
def leaning(peer):
    assert "client_no_context_takeover" not in peer.deflate.params
    sizes = set()
    for k in range(200):
        payload = ("the same words again and again, number %d" % (k % 3)).encode()
        octets = compressed(peer, TEXT, payload)
        sizes.add(len(octets))
        peer.send(octets)
        expect(peer, [(TEXT, payload)])
    assert min(sizes) < max(sizes) / 2, "it never did"


@case("D.7 a window that is full slides, with fragments and plain messages between")
def sliding(peer):
    for k in range(30):
        payload = cut(DATA[3][1], k, 9000)
        peer.send(compressed(peer, BINARY, payload, 100) + frame(TEXT, "between"))
        expect(peer, [(BINARY, payload), (TEXT, "between")])


talk("who promised to forget and leans all the same", [raw(HELLO), raw(b"\xf2\0\x11\0\0")], [(TEXT, "Hello")], 1007,
     PMD + "; client_no_context_takeover")
talk("an uncompressed message", [frame(TEXT, "plain"), frame(BINARY, b"\xff"), raw(HELLO)],
     [(TEXT, "plain"), (BINARY, b"\xff"), (TEXT, "Hello")])
talk("an empty message is one octet", [raw(b"\0"), raw(b"\0", BINARY), raw(HELLO)], [(TEXT, b""), (BINARY, b""), (TEXT, "Hello")])
talk("an empty message of no octet", [raw(b""), raw(HELLO)], [(TEXT, b""), (TEXT, "Hello")])
talk("a last block (BFINAL)", [raw(b"\xf3\x48\xcd\xc9\xc9\x07\0\0"), raw(HELLO)], [(TEXT, "Hello")] * 2)
talk("a last block and nothing behind it", [raw(b"\xf3\x48\xcd\xc9\xc9\x07\0"), raw(HELLO)], [(TEXT, "Hello")] * 2)
talk("a last block in the midst", [raw(b"\xf3\x48\xcd\xc9\xc9\x07\0" + HELLO)], [(TEXT, "HelloHello")])
talk("stored blocks", [raw(b"\0\5\0\xfa\xffHello\0"), raw(b"\0\2\0\xfd\xffHe\0\3\0\xfc\xffllo\0")], [(TEXT, "Hello")] * 2)
talk("two blocks", [raw(b"\xf2\x48\5\0\0\0\xff\xff\xca\xc9\xc9\7\0")], [(TEXT, "Hello")])
talk("a ping between compressed fragments of one octet",
     [raw(HELLO[:1], fin=False)] + [f for i in range(1, 7) for f in (frame(PING, b"%d" % i), raw(HELLO[i:i + 1], CONT, 0, i == 6))],
     [(PONG, b"%d" % i) for i in range(1, 7)] + [(TEXT, "Hello")])
talk("an empty last fragment", [raw(HELLO, fin=False), raw(b"", CONT, 0)], [(TEXT, "Hello")])
talk("an empty first fragment", [raw(b"", fin=False), raw(HELLO, CONT, 0)], [(TEXT, "Hello")])
for opcode, name in (PING, "ping"), (PONG, "pong"), (8, "close"):
    talk("RSV1 on a " + name, [raw(b"", opcode)], [], 1002)
talk("RSV1 on a continuation", [raw(HELLO[:3], fin=False), raw(HELLO[3:], CONT, RSV1)], [], 1002)
talk("RSV1 on a continuation of a plain message", [frame(TEXT, "a", fin=False), raw(b"\0", CONT, RSV1)], [], 1002)
for rsv in 1, 2, 3, 5, 6, 7:
    talk("reserved bits %d" % rsv, [raw(HELLO, rsv=rsv)], [], 1002)
for name, payload in (("a reserved block type", b"\xff"), ("a stored length that is none", b"\0\5\0\xfa\xfeHello\0"), ("cut in a block", HELLO[:3]),
                      ("cut in a stored block", b"\0\x40\0\xbf\xffHello"), ("garbage behind a last block", b"\xf3\x48\xcd\xc9\xc9\x07\0\xff\xff"),
                      ("leaning on nothing", b"\xf2\0\x11\0\0"), ("octets of noise", bytes(range(255, 0, -1))), ("plain text", b"Hello")):
    talk("broken data: " + name, [raw(payload), frame(TEXT, "behind")], [], 1007)


def squeeze(payload):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (c.compress(payload) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]


for name, bad in (("overlong", b"\xc0\xaf"), ("surrogate", b"\xed\xa0\x80"), ("cut", b"\xe2\x82"), ("ff", b"\xff")):
    for size in 0, 10, 5000:
        talk("inflated text is judged: %s after %d" % (name, size), [raw(squeeze(b"k" * size + bad))], [], 1007)
talk("inflated binary is not", [raw(squeeze(b"\xff" * 100), BINARY)], [(BINARY, b"\xff" * 100)])


@case("D.7 inflated text fails fast")
def fail_fast(peer):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = c.compress("κόσμε".encode()) + c.flush(zlib.Z_SYNC_FLUSH)
    bad = c.compress(b"\xf4\x90") + c.flush(zlib.Z_SYNC_FLUSH)
    peer.send(raw(begin, fin=False) + frame(PING, "alive"))
    expect(peer, [(PONG, "alive")])
    peer.send(raw(bad, CONT, 0, fin=False))
    ends_with(peer, 1007, answer=True)


talk("exactly max_message", [raw(squeeze(b"x" * MAX))], [(TEXT, b"x" * MAX)])
talk("one octet more", [raw(squeeze(b"x" * (MAX + 1)))], [], 1009)
talk("a bomb (S18)", [raw(squeeze(b"\0" * (64 << 20)), BINARY)], [], 1009)
talk("a bomb in fragments (S18)", [raw(squeeze(b"\0" * (1 << 20))[:100], BINARY, fin=False), raw(squeeze(b"\0" * (1 << 20))[100:], CONT, 0)], [], 1009)
talk("a message of empty blocks has an end, too (S18)",
     [raw(b"\0\0\0\xff\xff" * 1000, BINARY, fin=False)] + [raw(b"\0\0\0\xff\xff" * 1000, CONT, 0, fin=False)] * 40, [], 1009)


@case("D.7 noise of exactly max_message is larger when it is compressed")
def noise(peer):
    payload = random.Random(1).randbytes(MAX)
    octets = squeeze(payload)
    assert len(octets) > MAX
    peer.send(raw(octets, BINARY))
    expect(peer, [(BINARY, payload)])
    assert peer.compressed_count == 0
    peer.send(CLOSE_1000)
    ends_with(peer, 1000)


@case("D.7 a compressed message one octet a write")
def octet_wise(peer):
    payload = cut(DATA[4][1], 3, 3000)
    peer.send(compressed(peer, TEXT, payload, 50), chop=1)
    expect(peer, [(TEXT, payload)])


@case("D.7 many at once keep their order")
def pipelined(peer):
    payloads = [cut(DATA[1][1], k, 1 + k * 7 % 3000) for k in range(300)]
    peer.send(b"".join(compressed(peer, TEXT, p) for p in payloads))
    expect(peer, [(TEXT, p) for p in payloads])


def play(port, tls, among):
    failed = []
    for name, offer, run in among:
        peer = Peer(port, path="/echo", tls=tls, deflate=offer)
        try:
            run(peer)
        except (AssertionError, Gone, OSError, zlib.error) as why:
            failed.append(name)
            print("%s: %s: %s" % (name, type(why).__name__, why))
        peer.close()
    return failed


only = sys.argv[1:]
cases = [c for c in cases if not only or c[0].startswith(tuple(only))]
beyond = [c for c in cases if c[0].startswith("D.")]
cert, key = certificate()
with Broker("--echo-path", "/echo", "--max-message", str(MAX), "--listen", "tls:127.0.0.1:0", "--tls-cert", cert,
            "--tls-key", key) as broker:
    secure = int(broker.process.stdout.readline().decode().rsplit(":", 1)[1].split("/")[0])
    failed = play(broker.port, None, cases)
    failed += play(secure, ssl.create_default_context(cafile=cert), beyond)
count = len(cases) + len(beyond)
with Broker("--echo-path", "/echo", "--deflate", "off") as broker:  # and where it is turned off
    peer = Peer(broker.port, path="/echo", deflate=PMD)
    assert peer.deflate is None
    peer.close()
with Broker("--echo-path", "/echo", "--deflate-window", "11") as broker:  # a smaller window is named unasked
    peer = Peer(broker.port, path="/echo", deflate=PMD)
    assert peer.deflate.params == {"server_no_context_takeover": "", "server_max_window_bits": "11"}
    text = cut(DATA[1][1], 1, 20000)
    peer.send(compressed(peer, TEXT, text))
    expect(peer, [(TEXT, text)])
    peer.close()
print("%d passed, %d failed" % (count - len(failed), len(failed)))
sys.exit(1 if failed else 0)
