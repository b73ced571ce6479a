# SPDX-License-Identifier: Apache-2.0
"""RFC 6455 over the echo endpoint, case by case, with the exact close code asked for.

A case is a way of sending and the exact list of events that must come back. Stricter than the
usual suites: a dropped connection or a close without a code does not pass for the right code,
and the content of every echo is compared.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from suite import (BINARY, CLOSE, CLOSE_1000, CONT, LONG, PING, PONG, TEXT, Broker, case, cases, close_code,  # noqa: E402
                   ends_with, expect, frame, negative, play, positive, send)

GOOD = "Hello, world!"

# 1: framing
for kind, opcode, fill in (1, TEXT, b"*"), (2, BINARY, b"\xfe"):
    for i, size in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
        positive("1.%d.%d" % (kind, i), [frame(opcode, fill * size)], [(opcode, fill * size)],
                 997 if i == 8 else "whole")

# 2: pings and pongs
for i, payload in enumerate((b"", b"Hello, world!", b"\0\xff\xfe\xfd\xfc\xfb\0\xff", b"\xfe" * 125), 1):
    positive("2.%d" % i, [frame(PING, payload)], [(PONG, payload)])
negative("2.5", [frame(PING, b"\xfe" * 126)], [], 1002)
positive("2.6", [frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)], 1)
positive("2.7", [frame(PONG)], [])
positive("2.8", [frame(PONG, "unsolicited pong payload")], [])
positive("2.9", [frame(PONG, "unsolicited pong payload"), frame(PING, "ping payload")],
         [(PONG, "ping payload")])
for i, way in (10, "whole"), (11, 1):
    positive("2.%d" % i, [frame(PING, "payload-%d" % k) for k in range(10)],
             [(PONG, "payload-%d" % k) for k in range(10)], way)

# 3: reserved bits
negative("3.1", [frame(TEXT, GOOD, rsv=1)], [], 1002)
for i, rsv, way in (2, 2, "whole"), (3, 3, "frames"), (4, 4, 1):
    negative("3.%d" % i, [frame(TEXT, GOOD), frame(TEXT, GOOD, rsv=rsv), frame(PING)],
             [(TEXT, GOOD)], 1002, way)
negative("3.5", [frame(BINARY, b"\0\xff\xfe\xfd\xfc\xfb\0\xff", rsv=5)], [], 1002)
negative("3.6", [frame(BINARY, GOOD, rsv=6)], [], 1002)
negative("3.7", [frame(CLOSE, rsv=7)], [], 1002)

# 4: opcodes
for group, first in (1, 3), (2, 11):
    negative("4.%d.1" % group, [frame(first)], [], 1002)
    negative("4.%d.2" % group, [frame(first + 1, "reserved opcode payload")], [], 1002)
    for i, payload, way in (3, b"", "whole"), (4, b"reserved opcode payload", "whole"), (5, b"x", 1):
        negative("4.%d.%d" % (group, i),
                 [frame(TEXT, GOOD), frame(first + i - 1, payload), frame(PING)], [(TEXT, GOOD)],
                 1002, way)

# 5: fragmentation
negative("5.1", [frame(PING, "fragment1", fin=False), frame(CONT, "fragment2")], [], 1002)
negative("5.2", [frame(PONG, "fragment1", fin=False), frame(CONT, "fragment2")], [], 1002)
negative("5.1a a fragmented ping alone", [frame(PING, "x", fin=False)], [], 1002)
negative("5.2a a fragmented pong alone", [frame(PONG, "x", fin=False)], [], 1002)
two = [frame(TEXT, "fragment1", fin=False), frame(CONT, "fragment2")]
for i, way in (3, "whole"), (4, "frames"), (5, 1):
    positive("5.%d" % i, two, [(TEXT, "fragment1fragment2")], way)
    positive("5.%d" % (i + 3), [two[0], frame(PING, "ping payload"), two[1]],
             [(PONG, "ping payload"), (TEXT, "fragment1fragment2")], way)
for base, fin in (9, True), (12, False):
    for i, way in enumerate(("whole", "frames", 1)):
        negative("5.%d" % (base + i), [frame(CONT, "non-continuation payload", fin=fin),
                                       frame(TEXT, GOOD)], [], 1002, way)
negative("5.15", two + [frame(CONT, "orphan", fin=False), frame(TEXT, GOOD)],
         [(TEXT, "fragment1fragment2")], 1002)
for i, fin in (16, False), (17, True):
    negative("5.%d" % i, [frame(CONT, "fragment1", fin=fin), frame(TEXT, "fragment2", fin=False),
                          frame(CONT, "fragment3")] * 2, [], 1002)
negative("5.18", [frame(TEXT, "fragment1", fin=False), frame(TEXT, "fragment2")], [], 1002)
for i, way in (19, "whole"), (20, "frames"):
    @case("5.%d" % i)
    def five_fragments(peer, way=way):
        send(peer, [frame(TEXT, "f1", fin=False), frame(CONT, "f2", fin=False),
                    frame(PING, "pongme 1!")], way)
        expect(peer, [(PONG, "pongme 1!")])
        send(peer, [frame(CONT, "f3", fin=False), frame(CONT, "f4", fin=False),
                    frame(PING, "pongme 2!"), frame(CONT, "f5")], way)
        expect(peer, [(PONG, "pongme 2!"), (TEXT, "f1f2f3f4f5")])
        peer.send(frame(CLOSE, b"\x03\xe8"))
        ends_with(peer, 1000)

# 6: UTF-8
positive("6.1.1", [frame(TEXT)], [(TEXT, b"")])
positive("6.1.2", [frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)], [(TEXT, b"")])
positive("6.1.3", [frame(TEXT, fin=False), frame(CONT, "middle frame payload", fin=False),
                   frame(CONT)], [(TEXT, "middle frame payload")])


def single_octets(payload):
    frames = [frame(TEXT if i == 0 else CONT, payload[i:i + 1], fin=False)
              for i in range(len(payload))]
    return frames + [frame(CONT)]


HELLO = bytes.fromhex("48656c6c6f2dc2b540c39fc3b6c3a4c3bcc3a0c3a12d5554462d382121")
KOSME = bytes.fromhex("cebae1bdb9cf83cebcceb5")
positive("6.2.1", [frame(TEXT, HELLO)], [(TEXT, HELLO)])
positive("6.2.2", [frame(TEXT, HELLO[:15], fin=False), frame(CONT, HELLO[15:])], [(TEXT, HELLO)])
positive("6.2.3", single_octets(HELLO), [(TEXT, HELLO)])
positive("6.2.4", single_octets(KOSME), [(TEXT, KOSME)])
BAD = KOSME + bytes.fromhex("eda080656469746564")
negative("6.3.1", [frame(TEXT, BAD)], [], 1007)
negative("6.3.2", single_octets(BAD), [], 1007)


def fail_fast(name, parts):
    """Still open after part 1, closed with 1007 before part 3 was sent."""
    def run(peer):
        peer.send(parts[0])
        peer.send(frame(PING, "alive") if name.endswith(("1", "2")) else b"")
        if name.endswith(("1", "2")):
            expect(peer, [(PONG, "alive")])
        else:
            assert peer.read(timeout=0.3) is None, "closed too early"
        peer.send(parts[1])
        ends_with(peer, 1007, answer=True)
    cases.append((name, run))


A, B, C = KOSME, bytes.fromhex("f4908080"), bytes.fromhex("656469746564")
fail_fast("6.4.1", [frame(TEXT, A, fin=False), frame(CONT, B, fin=False), frame(CONT, C)])
fail_fast("6.4.2", [frame(TEXT, A + B[:1], fin=False), frame(CONT, B[1:2], fin=False),
                    frame(CONT, B[2:] + C)])
whole = frame(TEXT, A + B + C, fin=False)
head = len(whole) - 21
fail_fast("6.4.3", [whole[:head + 11], whole[head + 11:head + 15], whole[head + 15:]])
fail_fast("6.4.4", [whole[:head + 12], whole[head + 12:head + 13], whole[head + 13:]])

sequences = {
    5: ["68656c6c6f24", "68656c6c6fc2a2", "68656c6c6fe282ac", "68656c6c6ff0a4ada2776f726c64",
        "cebae1bdb9cf83cebcceb5"],
    6: [KOSME[:n].hex() for n in range(1, 12)],
    7: ["00", "c280", "e0a080", "f0908080"],
    8: ["f888808080", "fc8480808080"],
    9: ["7f", "dfbf", "efbfbf", "f48fbfbf"],
    10: ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
    11: ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"],
    12: ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf",
         bytes(range(0x80, 0xbf)).hex()],
    13: ["".join("%02x20" % c for c in chars) for chars in
         (range(0xc0, 0xdf), range(0xe0, 0xef), range(0xf0, 0xf7), range(0xf8, 0xfb), (0xfc,))],
    14: ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf",
         "fdbfbfbfbf"],
    16: ["fe", "ff", "fefeffff"],
    17: ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
    18: ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
    19: ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
    20: ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"],
    21: [a + b for a in ("eda080", "edadbf", "edae80", "edafbf") for b in ("edb080", "edbfbf")],
    22: ["efbfbe", "efbfbf"] + [chr(plane * 0x10000 + last).encode().hex()
                                for plane in range(1, 17) for last in (0xfffe, 0xffff)],
    23: ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"],
}
sequences[15] = ["".join(sequences[14])]
valid_count = 0
for group in sorted(sequences):
    for i, text in enumerate(sequences[group], 1):
        payload = bytes.fromhex(text)
        try:
            payload.decode("utf-8")
            positive("6.%d.%d" % (group, i), [frame(TEXT, payload)], [(TEXT, payload)])
            valid_count += 1
        except UnicodeDecodeError:
            negative("6.%d.%d" % (group, i), [frame(TEXT, payload)], [], 1007)
assert valid_count == 63, valid_count

# What the usual suites leave out: bad octets far into long text, cut sequences at a message's end.
for at in (0, 15, 16, 17, 1000, 65000):
    long_text = bytearray(b"a" * 65536)
    long_text[at] = 0xff
    negative("6.a bad octet at %d of 65536" % at, [frame(TEXT, bytes(long_text))], [], 1007)
negative("6.b code point cut at the end of a fragmented message",
         [frame(TEXT, "abc", fin=False), frame(CONT, b"\xe2\x82")], [], 1007)
positive("6.c code point cut between fragments with a ping inside",
         [frame(TEXT, b"\xe2", fin=False), frame(PING, "p"), frame(CONT, b"\x82\xac")],
         [(PONG, "p"), (TEXT, b"\xe2\x82\xac")])

# 7: closing
positive("7.1.1", [frame(TEXT, "Hello World!")], [(TEXT, "Hello World!")])


def after_close(name, frames):
    def run(peer):
        peer.send(b"".join(frames))
        ends_with(peer, 1000)
    cases.append((name, run))


after_close("7.1.2", [CLOSE_1000, frame(CLOSE)])
after_close("7.1.3", [CLOSE_1000, frame(PING)])
after_close("7.1.4", [CLOSE_1000, frame(TEXT, "Hello World!")])
after_close("7.1.5", [frame(TEXT, "fragment1", fin=False), CLOSE_1000, frame(CONT, "fragment2")])


@case("7.1.6")
def close_behind_bulk(peer):
    bulk = (b"BAsd7&jh23" * 26215)[:262144]
    peer.send(frame(TEXT, bulk) + frame(TEXT, "Hello World!") + CLOSE_1000 + frame(PING))
    expect(peer, [(TEXT, bulk), (TEXT, "Hello World!")])
    ends_with(peer, 1000)


def closes(name, body, code, one_of=None):
    def run(peer):
        peer.send(frame(CLOSE, body))
        opcode, payload = peer.read()
        assert opcode == CLOSE
        assert close_code(payload) in (one_of or (code,)), close_code(payload)
        assert peer.at_end()
    cases.append((name, run))


closes("7.3.1", b"", None)
closes("7.3.2", b"a", 1002)
closes("7.3.3", b"\x03\xe8", 1000)
closes("7.3.4", b"\x03\xe8Hello World!", 1000)
closes("7.3.5", b"\x03\xe8" + b"*" * 123, 1000)
closes("7.3.6", b"\x03\xe8" + b"*" * 124, 1002)
closes("7.5.1", b"\x03\xe8" + BAD, 1007)
for i, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000,
                          4999, 1012, 1013, 1014), 1):
    closes("7.7.%d" % i, code.to_bytes(2, "big"), code)
for i, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 1015, 5000, 65535), 1):
    closes("7.9.%d" % i, code.to_bytes(2, "big"), 1002)
negative("7.a a fragmented close", [frame(CLOSE, b"\x03\xe8", fin=False)], [], 1002)


@case("7.b close in the middle of a frame, split over TCP")
def split_close(peer):
    octets = frame(CLOSE, b"\x03\xe8bye")
    for i in range(len(octets)):
        peer.send(octets[i:i + 1])
        time.sleep(0.001)
    ends_with(peer, 1000)


# Masks and lengths
negative("8.1 an unmasked frame", [frame(TEXT, GOOD, mask=None)], [], 1002)
positive("8.2 a mask of zeros", [frame(TEXT, GOOD, mask=b"\0\0\0\0")], [(TEXT, GOOD)])
negative("8.3 125 in 16 bits", [b"\x81\xfe\0\x7d" + b"\1\2\3\4"], [], 1002)
negative("8.4 65535 in 64 bits", [b"\x81\xff" + b"\0" * 6 + b"\xff\xff" + b"\1\2\3\4"], [], 1002)
negative("8.5 the top bit of 64", [b"\x82\xff\x80" + b"\0" * 6 + b"\1" + b"\1\2\3\4"], [], 1002)
negative("8.6 2^62 octets announced", [b"\x82\xff\x40" + b"\0" * 7 + b"\1\2\3\4"], [], 1009)
negative("8.7 one octet over max_message",
         [frame(BINARY, b"", length=(16 << 20) + 1)], [], 1009)

# 9 and 10: bulk; the content is compared.
pattern = b"BAsd7&jh23" * (1 << 21)
sizes = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20)
for i, size in enumerate(sizes, 1):
    if size > 4 << 20 and not LONG and i != 6:
        continue
    positive("9.1.%d" % i, [frame(TEXT, pattern[:size])], [(TEXT, pattern[:size])])
    positive("9.2.%d" % i, [frame(BINARY, b"\0\xfe\x23\xfa\xf0" * (size // 5))],
             [(BINARY, b"\0\xfe\x23\xfa\xf0" * (size // 5))])


def fragments(opcode, payload, size):
    """When `size` divides the length the last frame is an empty one."""
    out = []
    for at in range(0, len(payload) + 1, size):
        piece = payload[at:at + size]
        out.append(frame(opcode if at == 0 else CONT, piece, fin=len(piece) < size))
    return out


big = b"*" * (4 << 20)
for group, opcode in (3, TEXT), (4, BINARY):
    for i, size in enumerate((64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 8 << 20), 1):
        if LONG or i in (1, 4, 9):
            positive("9.%d.%d" % (group, i), fragments(opcode, big, size), [(opcode, big)])
for group, opcode in (5, TEXT), (6, BINARY):
    for i, chop in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        if LONG or i in (1, 6):
            positive("9.%d.%d" % (group, i), [frame(opcode, big[:1 << 20])],
                     [(opcode, big[:1 << 20])], chop)
for group, opcode in (7, TEXT), (8, BINARY):
    for i, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
        @case("9.%d.%d" % (group, i))
        def round_trips(peer, opcode=opcode, size=size):
            payload = b"*" * size
            octets = frame(opcode, payload)
            for _ in range(1000 if LONG else 200):
                peer.send(octets)
                expect(peer, [(opcode, payload)])
            peer.send(CLOSE_1000)
            ends_with(peer, 1000)


@case("9.a a thousand messages in flight keep their order")
def pipelined(peer):
    for i in range(1000):
        peer.send(frame(TEXT, "message %d" % i))
    expect(peer, [(TEXT, "message %d" % i) for i in range(1000)])
    peer.send(CLOSE_1000)
    ends_with(peer, 1000)


positive("10.1.1", fragments(TEXT, b"*" * 65536, 1300), [(TEXT, b"*" * 65536)])

with Broker("--echo-path", "/echo", "--max-message", "16777216") as broker:
    failed = play(broker.port)
print("%d passed, %d failed" % (len(cases) - len(failed), len(failed)))
sys.exit(1 if failed else 0)
