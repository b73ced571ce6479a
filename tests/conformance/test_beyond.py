# SPDX-License-Identifier: Apache-2.0
"""What the usual suites do not see, each alone and with the exact code: handshakes, masks, length
forms, control frames by themselves, closes of every kind, UTF-8 across fragments and far in.

Each case is played over TCP and over TLS.
"""
import contextlib
import os
import socket
import ssl
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from suite import (BINARY, CLOSE, CLOSE_1000, CONT, PING, PONG, TEXT, Broker, Gone, Peer, case, cases,  # noqa: E402
                   certificate, ends_with, expect, frame, negative, play, positive)

MAX = 65536
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
GOOD = ["Host: localhost", "Upgrade: websocket", "Connection: Upgrade", KEY, "Sec-WebSocket-Version: 13"]


def but(old, *new):
    """A good handshake with one line changed, doubled or left out."""
    return [line for good in GOOD for line in (new if good.startswith(old) else (good,))]


# D.1: the opening handshake (S01, S03, S04, S06): head lines, status, and for the head as it is sent
HANDSHAKES = [
    ("good", GOOD, 101), ("names in any case", [line.split(": ")[0].upper() + ": " + line.split(": ")[1] for line in GOOD], 101),
    ("Upgrade last", but("Upgrade:") + ["Upgrade: websocket"], 101),
    ("Connection: keep-alive, Upgrade", but("Connection", "Connection: keep-alive, Upgrade"), 101),
    ("Connection in two lines", but("Connection", "Connection: keep-alive", "Connection: Upgrade"), 101),
    ("Upgrade: WebSocket", but("Upgrade", "Upgrade: WebSocket"), 101),
    ("Upgrade: websocket, h2c", but("Upgrade", "Upgrade: h2c, websocket"), 101),
    ("Upgrade: websockets", but("Upgrade", "Upgrade: websockets"), 400),
    ("no Upgrade", but("Upgrade"), 400), ("no Connection", but("Connection"), 400),
    ("Connection: close", but("Connection", "Connection: close"), 400),
    ("no key", but("Sec-WebSocket-Key"), 400), ("two keys", but("Sec-WebSocket-Key", KEY, KEY), 400),
    ("a key of 23", but("Sec-WebSocket-Key", KEY[:-1]), 400), ("a key of 25", but("Sec-WebSocket-Key", KEY + "="), 400),
    ("a key that is no base64", but("Sec-WebSocket-Key", KEY[:-3] + "*=="), 400),
    ("a key of 18 octets", but("Sec-WebSocket-Key", "Sec-WebSocket-Key: " + "A" * 24), 400),
    ("a key with unused bits", but("Sec-WebSocket-Key", KEY[:-3] + "R=="), 101),
    ("version 12", but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 12"), 426),
    ("version 14", but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"), 426),
    ("version 013", but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), 426),
    ("two versions", but("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"), 400),
    ("no version", but("Sec-WebSocket-Version"), 400),
    ("no Host", but("Host"), 400), ("two Hosts", but("Host", "Host: localhost", "Host: localhost"), 400),
    ("an empty Host", but("Host", "Host:"), 400),
    ("8 KB of spaces in a list (S03)", GOOD + ["Sec-WebSocket-Protocol: fanfare.v1.json" + " " * 4000 + ", x"], 101),
    ("a cookie as long as browsers have", GOOD + ["Cookie: " + "y" * 4096], 101),
    ("a line of 15 KiB", GOOD + ["X: " + "y" * 15 * 1024], 101), ("a line over 16 KiB", GOOD + ["X: " + "y" * 16384], 431),
    ("an unclosed string in the extensions (S02)", GOOD + ['Sec-WebSocket-Extensions: a;b="' + "\\c" * 1900], 101),
    ("a thousand extensions (S02)", GOOD + ["Sec-WebSocket-Extensions: " + "a," * 1000], 101),
    ("permessage-deflate, permessage-deflate", GOOD + ["Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate"], 101),
    ("a window of 99999999999 bits", GOOD + ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99999999999"], 101),
    ("unknown subprotocols", GOOD + ["Sec-WebSocket-Protocol: chat, superchat"], 101),
    ("an unknown one of ours", GOOD + ["Sec-WebSocket-Protocol: chat, fanfare.v2.json"], 400),
    ("a Host that is none", but("Host", "Host: local host"), 400), ("a Host with a path", but("Host", "Host: localhost/ws"), 400),
    ("an empty subprotocol list", GOOD + ["Sec-WebSocket-Protocol:"], 101),
    ("Content-Length: 0", GOOD + ["Content-Length: 0"], 101), ("Content-Length: 5", GOOD + ["Content-Length: 5"], 400),
    ("Content-Length and chunked (S06)", GOOD + ["Content-Length: 5", "Transfer-Encoding: chunked"], 400),
    ("Transfer-Encoding: identity (S06)", GOOD + ["Transfer-Encoding: identity"], 400),
    ("two lengths (S06)", GOOD + ["Content-Length: 0", "Content-Length: 44"], 400),
    ("+0 as a length (S06)", GOOD + ["Content-Length: +0"], 400),
    ("a folded line (S06)", GOOD + ["X: a\r\n b"], 400), ("a space before the colon (S06)", GOOD + ["X : a"], 400),
    ("a bare LF (S06)", GOOD + ["X: a\nY: b"], 400), ("a bare CR (S06)", GOOD + ["X: a\rY: b"], 400),
    ("a NUL", GOOD + ["X: a\0b"], 400), ("no colon", GOOD + ["X"], 400),
    ("a space first (S06)", ["X: y"] + [" " + GOOD[0]] + GOOD[1:], 400),
]
for count in 1, 63 - len(GOOD), 64 - len(GOOD), 65 - len(GOOD), 2000, 100000:  # S01
    HANDSHAKES.append(("%d more headers, Upgrade last" % count,
                       but("Upgrade:") + ["a: b"] * count + ["Upgrade: websocket"], 101 if count <= 59 else 431))
LINES = [("GET /ws HTTP/1.1", 101), ("GET / HTTP/1.1", 101), ("POST /ws HTTP/1.1", 405), ("get /ws HTTP/1.1", 405),
         ("OPTIONS * HTTP/1.1", 400), ("GET /ws HTTP/1.0", 400), ("GET /ws HTTP/2.0", 400), ("GET /ws http/1.1", 400),
         ("GET /ws", 400), ("GET  /ws HTTP/1.1", 400), ("GET /ws HTTP/1.1 ", 400), (" GET /ws HTTP/1.1", 400),
         ("GET ws HTTP/1.1", 400), ("GET http://localhost/ws HTTP/1.1", 101), ("GET /w\x80 HTTP/1.1", 400),
         ("GET /nope HTTP/1.1", 101), ("GET /ws/ HTTP/1.1", 101), ("GET ws://LOCALHOST:1 HTTP/1.1", 101),
         ("GET http://evil.example/ws HTTP/1.1", 403), ("GET http://a@localhost/ws HTTP/1.1", 400), ("GET /ws?topic=%zz HTTP/1.1", 400),
         ("GET /" + "x" * 8000 + " HTTP/1.1", 101), ("GET /" + "x" * 16400 + " HTTP/1.1", 414)]


def handshakes(port, tls):
    failed = []
    for line, status in LINES:
        HANDSHAKES.append((line[:40], [line], status))
    for name, lines, status in HANDSHAKES:
        if not lines[0].endswith(("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "/ws")) or lines[0] in GOOD:
            octets = "\r\n".join(["GET /ws HTTP/1.1"] + lines)
        else:
            octets = "\r\n".join(lines + GOOD)
        octets = (octets + "\r\n\r\n").encode("latin-1")
        for glued in b"", frame(PING, "glued"):  # a second request or frames right behind must do nothing more
            peer = Peer(port, upgrade=False, tls=tls)
            try:
                peer.send(octets + (glued if status == 101 else glued and b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            except OSError:
                pass
            try:
                peer.read_head()
                assert peer.status == status, "status %d, wanted %d" % (peer.status, status)
                if status == 101:
                    assert peer.headers.get("sec-websocket-extensions") == (
                        "permessage-deflate; server_no_context_takeover" if name.startswith("permessage-deflate") else None)
                    seen = peer.read() if glued else None
                    while seen and seen[0] == TEXT:
                        seen = peer.read()
                    assert not glued or seen == (PONG, b"glued"), seen
                else:
                    peer.read_body()
                    assert peer.at_end() and not peer.buffer, "something behind the answer"
            except (AssertionError, Gone, OSError) as why:
                failed.append(name)
                print("D.1 %s: %s" % (name, why))
            peer.close()
    return failed


# D.2: masks
negative("D.2 an unmasked text", [frame(TEXT, "x", mask=None)], [], 1002)
negative("D.2 an unmasked empty text", [frame(TEXT, "", mask=None)], [], 1002)
negative("D.2 an unmasked ping", [frame(PING, "x", mask=None)], [], 1002)
negative("D.2 an unmasked close", [frame(CLOSE, b"\x03\xe8", mask=None)], [], 1002)
negative("D.2 an unmasked continuation", [frame(TEXT, "a", fin=False), frame(CONT, "b", mask=None)], [], 1002)
positive("D.2 a mask of zeros", [frame(TEXT, "x", mask=b"\0\0\0\0")], [(TEXT, "x")])
positive("D.2 a mask of ones, a new one each frame",
         [frame(TEXT, "one", fin=False, mask=b"\xff" * 4), frame(CONT, "two", mask=b"\0\1\2\3")], [(TEXT, "onetwo")])


# D.3: how lengths are written (S11)
def raw(first, second, extended, payload=b""):
    return bytes((first, 0x80 | second)) + extended + b"\0\0\0\0" + payload


for opcode, name in (TEXT, "text"), (BINARY, "binary"):
    for n in 0, 1, 125:
        negative("D.3 %s of %d in 16 bits" % (name, n), [raw(0x80 | opcode, 126, struct.pack("!H", n), b"x" * n)], [], 1002)
    for n in 0, 125, 126, 65535:
        negative("D.3 %s of %d in 64 bits" % (name, n), [raw(0x80 | opcode, 127, struct.pack("!Q", n), b"x" * n)], [], 1002)
    for n in 0x8000000000000001, (1 << 64) - 1, 1 << 63:
        negative("D.3 %s of %x: top bit" % (name, n), [raw(0x80 | opcode, 127, struct.pack("!Q", n), b"x")], [], 1002)
    for n in MAX + 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 63) - 1:
        negative("D.3 %s of %x: over the limit, nothing sent" % (name, n), [raw(0x80 | opcode, 127, struct.pack("!Q", n))], [], 1009)
    positive("D.3 %s of exactly the limit" % name, [frame(opcode, b"x" * MAX)], [(opcode, b"x" * MAX)])
    negative("D.3 %s over the limit by fragments" % name,
             [frame(opcode, b"x" * MAX, fin=False), frame(CONT, b"x")], [], 1009)
    positive("D.3 %s of the limit by fragments" % name,
             [frame(opcode, b"x" * (MAX - 1), fin=False), frame(CONT, b"x", fin=False), frame(CONT)], [(opcode, b"x" * MAX)])
for opcode, name in (PING, "ping"), (PONG, "pong"), (CLOSE, "close"):
    negative("D.3 a %s of 126" % name, [raw(0x80 | opcode, 126, struct.pack("!H", 126), b"x" * 126)], [], 1002)
    negative("D.3 a %s of 5 in 16 bits" % name, [raw(0x80 | opcode, 126, struct.pack("!H", 5), b"x" * 5)], [], 1002)
    negative("D.3 a %s of 2^63" % name, [raw(0x80 | opcode, 127, struct.pack("!Q", 1 << 63))], [], 1002)

# D.5: each fault by itself, with nothing behind it that would be found instead
for rsv in range(1, 8):
    for opcode, name in (CLOSE, "close"), (PING, "ping"), (PONG, "pong"), (TEXT, "text"), (BINARY, "binary"):
        negative("D.5 a %s with reserved bits %d" % (name, rsv), [frame(opcode, b"", rsv=rsv)], [], 1002)
    negative("D.5 a continuation with reserved bits %d" % rsv,
             [frame(TEXT, "a", fin=False), frame(CONT, "b", rsv=rsv)], [], 1002)
for opcode, name in (PING, "ping"), (PONG, "pong"), (CLOSE, "close"):
    negative("D.5 a fragmented %s" % name, [frame(opcode, b"\x03\xe8", fin=False)], [], 1002)
    negative("D.5 a fragmented empty %s" % name, [frame(opcode, b"", fin=False)], [], 1002)
    negative("D.5 a fragmented %s in a message" % name, [frame(TEXT, "a", fin=False), frame(opcode, b"\x03\xe8", fin=False)], [], 1002)
for fin in True, False:
    negative("D.5 an orphan continuation, fin %d" % fin, [frame(CONT, "x", fin=fin)], [], 1002)
    negative("D.5 an empty orphan continuation, fin %d" % fin, [frame(CONT, b"", fin=fin)], [], 1002)
    negative("D.5 an orphan after a whole message, fin %d" % fin,
             [frame(TEXT, "a"), frame(CONT, "x", fin=fin)], [(TEXT, "a")], 1002)
negative("D.5 a close with one octet", [frame(CLOSE, b"\x03")], [], 1002)
for opcode in 3, 4, 5, 6, 7, 11, 12, 13, 14, 15:
    negative("D.5 opcode %d" % opcode, [frame(opcode)], [], 1002)
    negative("D.5 opcode %d in a message" % opcode, [frame(TEXT, "a", fin=False), frame(opcode)], [], 1002)
for i in range(1, 6):
    negative("D.5 the first %d octets of a bad head are enough" % (i + 1), [frame(TEXT, "x", rsv=4)[:i + 1]], [], 1002)


# D.8: closes (S17)
def closing(name, payload, answer, way="whole"):
    negative("D.8 " + name, [frame(CLOSE, payload)], [], answer, way)


for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4008, 4999):
    closing("code %d" % code, struct.pack("!H", code), code)
    closing("code %d with a reason" % code, struct.pack("!H", code) + b"why", code, 1)
for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535):
    closing("code %d may not be sent" % code, struct.pack("!H", code), 1002)
    closing("code %d may not be sent, with a reason" % code, struct.pack("!H", code) + b"why", 1002)
closing("1005 and 1006 in a reason are text", b"\x03\xe81005 1006", 1000)
closing("a reason of 123 octets", b"\x03\xe8" + b"r" * 123, 1000)
closing("a reason cut in a code point", b"\x03\xe8\xe2\x82", 1007)
closing("a surrogate in a reason", b"\x03\xe8\xed\xa0\x80", 1007)


@case("D.8 an empty close is answered by an empty one")
def empty_close(peer):
    peer.send(frame(CLOSE))
    ends_with(peer, None)


@case("D.8 nothing comes behind a close frame")
def after_close(peer):
    peer.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, "late") + frame(PING, "late") + b"\xff" * 100)
    ends_with(peer, 1000)


@case("D.8 a close between the pieces of a frame on TCP")
def close_in_pieces(peer):
    octets = frame(TEXT, "whole") + frame(CLOSE, b"\x03\xe8bye")
    for cut in octets[:3], octets[3:12], octets[12:15], octets[15:]:
        peer.send(cut)
        time.sleep(0.02)
    expect(peer, [(TEXT, "whole")])
    ends_with(peer, 1000)


@case("D.8 a close while a fragmented message is under way")
def close_in_message(peer):
    peer.send(frame(TEXT, "part", fin=False) + CLOSE_1000)
    ends_with(peer, 1000)


@case("D.8 half-closed TCP: what was sent before is answered")
def half_closed(peer):
    peer.send(frame(TEXT, "last words"))
    expect(peer, [(TEXT, "last words")])
    if isinstance(peer.sock, ssl.SSLSocket):
        with contextlib.suppress(OSError):  # our close_notify is the end: none comes back
            peer.sock.unwrap()
    else:
        peer.sock.shutdown(socket.SHUT_WR)
        assert peer.at_end(), "the connection is over"


@case("D.8 an abrupt reset in a frame is nobody else's business")
def reset(peer):
    peer.send(frame(TEXT, "x" * 100)[:50])
    if isinstance(peer.sock, ssl.SSLSocket):
        peer.close()
    else:
        peer.reset()
    other = Peer(PORT, path="/echo")
    other.send(frame(TEXT, "here"))
    expect(other, [(TEXT, "here")])
    other.close()


# D.9: UTF-8 across fragments, at the end, and far in (S16)
for name, bad in (("overlong", b"\xc0\xaf"), ("surrogate", b"\xed\xa0\x80"), ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
                  ("overlong of four", b"\xf0\x80\x80\xaf"), ("stray", b"\x80"), ("ff", b"\xff")):
    for cut in range(1, len(bad) + 1):
        negative("D.9 %s cut after %d by fragments" % (name, cut),
                 [frame(TEXT, "κόσμε".encode() + bad[:cut], fin=False), frame(CONT, bad[cut:] + b"!")], [], 1007)
for good in "é".encode(), "€".encode(), "😀".encode():
    for cut in range(1, len(good)):
        positive("D.9 %d octets cut after %d by fragments" % (len(good), cut),
                 [frame(TEXT, b"a" + good[:cut], fin=False), frame(PING, "between"), frame(CONT, good[cut:] + b"z")],
                 [(PONG, "between"), (TEXT, b"a" + good + b"z")])
        negative("D.9 %d octets cut off after %d at the end" % (len(good), cut), [frame(TEXT, b"a" + good[:cut])], [], 1007)
        negative("D.9 %d octets cut off after %d at the end of fragments" % (len(good), cut),
                 [frame(TEXT, "a", fin=False), frame(CONT, good[:cut], fin=False), frame(CONT)], [], 1007)
        positive("D.9 %d octets, one a fragment" % len(good),
                 [frame(TEXT, good[:1], fin=False)] + [frame(CONT, good[i:i + 1], fin=False) for i in range(1, len(good))] + [frame(CONT)],
                 [(TEXT, good)])
long_text = ("abcdefgh" * 2000 + "κόσμε €😀" * 1500).encode()
positive("D.9 a long text", [frame(TEXT, long_text)], [(TEXT, long_text)])
for at in (0, 1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 4095, 8191, 15999, 16000):
    for bad in b"\x80", b"\xff", b"\xc3":
        negative("D.9 %02x at octet %d of a long text" % (bad[0], at),
                 [frame(TEXT, long_text[:at] + bad + b"x" + long_text[at:16000])], [], 1007)
negative("D.9 a bad last octet of a long text", [frame(TEXT, long_text + b"\xff")], [], 1007, 1000)
positive("D.9 binary need not be UTF-8", [frame(BINARY, b"\xff\xc0\x80")], [(BINARY, b"\xff\xc0\x80")])


cert, key = certificate()
context = ssl.create_default_context(cafile=cert)
failed, count = [], 0
with Broker("--echo-path", "/echo", "--listen", "tls:127.0.0.1:0", "--tls-cert", cert, "--tls-key", key) as broker:
    secure = int(broker.process.stdout.readline().decode().rsplit(":", 1)[1].split("/")[0])
    for PORT, tls in (broker.port, None), (secure, context):
        failed += handshakes(PORT, tls)
        count += 2 * len(HANDSHAKES)
        del HANDSHAKES[-len(LINES):]
        PLAIN, PORT = PORT, broker.port
        failed += play(PLAIN, tls)
        count += len(cases)
print("%d passed, %d failed" % (count - len(failed), len(failed)))
sys.exit(1 if failed else 0)
