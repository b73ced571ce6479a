# SPDX-License-Identifier: Apache-2.0
"""fanfare: it teaches, it guesses what was meant, it comes back, and nobody can forge what it prints."""
import base64
import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer  # noqa: E402
from peer import CLOSE, TEXT, Broker, typed  # noqa: E402

FANFARE = os.path.join(peer.BIN, "fanfare")
COMMANDS = "sub", "pub", "chat", "ping"


def run(*args, **more):
    return subprocess.run([FANFARE, *args], capture_output=True, text=True, timeout=peer.DEADLINE, **more)


class Follow:
    """A process whose lines can be waited for."""

    def __init__(self, *args, stdin=None):
        self.process = subprocess.Popen([FANFARE, *args], stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.out, self.err = [], []
        self.threads = [threading.Thread(target=self.read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for thread in self.threads:
            thread.start()

    def read(self, stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def until(self, lines, text, count=1):
        end = time.monotonic() + peer.DEADLINE
        while sum(text in line for line in list(lines)) < count:
            assert time.monotonic() < end, (text, self.out, self.err)
            time.sleep(0.01)

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None and number:
            self.process.send_signal(number)
        code = self.process.wait(peer.DEADLINE)
        for thread in self.threads:
            thread.join()
        assert not any("Sanitizer" in line for line in self.err), self.err
        return code


class Script(threading.Thread):
    """A broker that does what a test says: a function for each connection, in order."""

    def __init__(self, *scenes, limit=65536, heartbeat=25):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "ws://127.0.0.1:%d/ws" % self.listener.getsockname()[1]
        self.scenes, self.limit, self.heartbeat, self.failure = scenes, limit, heartbeat, None
        self.start()

    def run(self):
        try:
            for scene in self.scenes:
                self.sock, _ = self.listener.accept()
                self.sock.settimeout(peer.DEADLINE)
                self.buffer = b""
                self.shake_hands()
                scene(self)
                self.sock.close()
        except BaseException as why:  # told where the test waits
            self.failure = why

    def done(self):
        self.join(peer.DEADLINE)
        assert not self.is_alive() and not self.failure, self.failure

    def take(self, n):
        while len(self.buffer) < n:
            got = self.sock.recv(65536)
            assert got, "the client went"
            self.buffer += got
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def shake_hands(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.take(1)
        key = re.search(rb"Sec-WebSocket-Key: (\S+)", head).group(1)
        accept = base64.b64encode(hashlib.sha1(key + peer.GUID).digest())
        self.sock.sendall(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                          + accept + b"\r\nSec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n")
        self.say({"type": 4, "session": "s", "node": "n", "heartbeat": self.heartbeat,
                  "limits": {"message": self.limit, "topics": 9, "buffered": 1 << 20}})

    def frame(self, opcode, payload):
        assert len(payload) < 65536
        head = bytes([0x80 | opcode, len(payload)]) if len(payload) < 126 else struct.pack("!BBH", 0x80 | opcode, 126, len(payload))
        self.sock.sendall(head + payload)

    def say(self, message):
        self.frame(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode())

    def close(self, code, reason=""):
        self.frame(CLOSE, struct.pack("!H", code) + reason.encode())

    def read(self):
        """The next message of the client's; None: it closed."""
        first, second = self.take(2)
        n = second & 0x7F
        n = struct.unpack("!H", self.take(2))[0] if n == 126 else struct.unpack("!Q", self.take(8))[0] if n == 127 else n
        key = self.take(4)
        payload = peer.mask_bytes(self.take(n), key)
        return json.loads(payload) if first & 15 == TEXT else None


def help_teaches():
    whole = run("--help").stdout
    for command in COMMANDS:
        done = run(command, "--help")
        assert done.returncode == 0 and done.stdout.startswith("fanfare %s" % command), done
        assert "Examples:\n  " in done.stdout and "fanfare %s " % command in done.stdout.split("Examples:")[1]
        assert run("help", command).stdout == run("--help", command).stdout == run(command, "x", "-h").stdout == done.stdout
        for option in re.findall(r"^  (--[a-z-]+)", done.stdout, re.M):
            assert "\n  %s" % option in whole, option
    for option in "--time", "--rate", "--overflow", "--buffered", "--once":
        assert option in run("sub", "--help").stdout
    assert "twice" in run("pub", "--help").stdout, "what is sent again is explained"


def what_was_meant_is_guessed():
    for args, said in ((["subb", "x"], "did you mean sub?"), (["pbu", "x", "y"], "did you mean pub?"),
                       (["caht", "x"], "did you mean chat?"), (["sub", "x", "--overflw", "skip"], "did you mean --overflow?"),
                       (["sub", "x", "--Rate", "1"], "did you mean --rate?"), (["pub", "--no_wait", "x", "y"], "did you mean --no-wait?"),
                       (["frobnicate"], "no command frobnicate; fanfare --help"), (["sub", "--frobnicate", "x"], "no option --frobnicate; "),
                       (["sub", "x", "--overflow", "newest"], "skip, latest or close"), (["sub", "x", "--rate", "101"], "0 to 100"),
                       (["sub", "x", "--rate", "fast"], "0 to 100"), (["sub", "x", "--rate", ""], "0 to 100"),
                       (["sub", "x", "--buffered", "64K"], "number of octets"), (["sub", "x", "--buffered", "-1"], "number of octets"),
                       (["sub", "x", "--count", "-1"], "above 0"), (["sub", "x", "--count", "4294967296"], "above 0"),
                       (["sub", "x", "--rate"], "value is missing"), (["sub", "x", "--once=1"], "takes no value"),
                       (["ping", "--overflow", "skip"], "does nothing for fanfare ping")):
        done = run(*args)
        assert done.returncode == 64 and said in done.stderr and not done.stdout, (args, done)


def options_arrive():
    """What sub was told stands in its SUBSCRIBE; --time stands before what comes."""
    asked = []

    def scene(script):
        asked.append(script.read())
        script.say({"type": 8, "id": 1})
        script.say('{"type":2,"topic":"a","message":{"x":\n1}}')
        assert script.read() is None

    for args, fields in (((), {}), (("--rate", "2.5", "--overflow=latest"), {"overflow": "latest", "rate": 2.5}),
                         (("--overflow", "close", "--rate=-1", "--time", "--buffered", "65536"), {"overflow": "close", "rate": -1, "buffered": 65536})):
        script = Script(scene)
        done = run("sub", "a", "--count", "1", "--url", script.url, *args)
        script.done()
        assert asked.pop() == dict({"type": 5, "id": 1, "topic": "a"}, **fields)
        lines = done.stdout.split("\n")
        assert len(lines) == 2 and lines[1] == "" and json.loads(lines[0])["message"] == {"x": 1}, done
        if "--time" in args:
            assert re.match(r'{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","type":2,', lines[0]), lines
        else:
            assert lines[0] == '{"type":2,"topic":"a","message":{"x": 1}}', "as it came, but on one line"


def sub_comes_back():
    first = Broker()
    listen = "127.0.0.1:%d" % first.port
    url = first.urls[0]
    sub, once = Follow("sub", "--url", url, "a", "b/#"), Follow("sub", "--url", url, "--once", "a")
    closer = typed(first.port)

    def heard_by(p, topic):
        while p.ask({"type": 7, "id": 1, "topic": topic, "message": "before"})["receivers"] == 0:
            time.sleep(0.01)
    heard_by(closer, "a")
    heard_by(closer, "b/x")
    sub.until(sub.out, '"topic":"b/x"')
    first.kill()
    sub.until(sub.err, "connecting again in")
    assert once.end(None) == 2 and not any("again" in line for line in once.err), once.err
    with Broker(listen=listen) as second:
        sub.until(sub.err, "connected again")
        sub.until(sub.err, "is missed")
        p = typed(second.port)
        for topic in "a", "b/y":
            while p.ask({"type": 7, "id": 1, "topic": topic, "message": "after"})["receivers"] == 0:
                time.sleep(0.01)
        sub.until(sub.out, '"message":"after"', 2)
        assert not second.process.send_signal(signal.SIGTERM)
        sub.until(sub.err, "closed with 1012")  # GOODBYE's delay holds, and it goes on
        second.process.wait(peer.DEADLINE)
        sub.until(sub.err, "connecting again in", 2)
    assert sub.end() == 0, "Ctrl-C while away ends cleanly"
    for line in sub.out:
        json.loads(line)
    assert not any("time" in line for line in sub.out)
    # Nobody reads on, while the connection is away.
    script = Script(lambda s: (s.read(), s.sock.close()))
    sub = subprocess.Popen([FANFARE, "sub", "a", "--url", script.url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    script.done()
    script.listener.close()
    sub.stdout.close()
    assert sub.wait(peer.DEADLINE) == 0


def close_codes_are_obeyed():
    for code, comes_back in ((1001, True), (1006, True), (1011, True), (1012, True), (4008, True), (4009, True), (4999 - 500, True),
                             (1000, False), (1002, False), (1008, False), (4501, False), (4503, False)):
        def scene(script):
            script.read()
            if code == 1012:
                script.say({"type": 13, "within": 10, "retry": 0, "reason": "restarting"})
            if code != 1006:
                script.close(code, "because")

        def again(script):
            script.read()
            script.close(1008, "enough")
        script = Script(scene, again) if comes_back else Script(scene)
        done = run("sub", "a", "--url", script.url)
        script.done()
        assert done.returncode == 2 and ("connected again" in done.stderr) == comes_back, (code, done)
        assert ("1008: enough" if comes_back else "%d: because" % code) in done.stderr, done
        if code == 1012:
            assert "because; connecting again in 0.0 s" in done.stderr, "GOODBYE said when: " + done.stderr
    # A refusal that may not last, and one that does.
    script = Script(lambda s: s.say({"type": 9, "id": s.read()["id"], "code": 503, "reason": "memory", "retry": True}),
                    lambda s: s.say({"type": 9, "id": s.read()["id"], "code": 403, "reason": "no"}))
    done = run("sub", "a", "--url", script.url)
    script.done()
    assert done.returncode == 1 and "503: memory" in done.stderr and "403: no" in done.stderr, done


def pub_loses_nothing():
    got = []

    def first(script):
        """Takes ten, answers two of them in the wrong order, goes."""
        got.append([script.read() for _ in range(10)])
        script.say({"type": 8, "id": got[0][3]["id"], "receivers": 1})
        script.say({"type": 8, "id": got[0][0]["id"], "receivers": 1})

    def second(script):
        got.append([script.read() for _ in range(8)])
        script.close(1012, "restarting")

    def third(script):
        got.append([])
        while (message := script.read()) is not None:
            got[-1].append(message)
            script.say({"type": 8, "id": message["id"], "receivers": 1})
    script = Script(first, second, third)
    pub = Follow("pub", "t", "-", "--url", script.url, stdin=subprocess.PIPE)
    pub.process.stdin.write("".join("line %d\n" % i for i in range(10)))
    pub.process.stdin.flush()
    pub.until(pub.err, "8 had no answer", 2)
    pub.process.stdin.write("the last one, without a newline")
    pub.process.stdin.close()
    assert pub.end(None) == 0, pub.err
    script.done()
    unanswered = [m for i, m in enumerate(got[0]) if i not in (0, 3)]
    assert [m["message"] for m in got[0]] == ["line %d" % i for i in range(10)]
    assert got[1] == unanswered, "the same ids, in order"
    assert got[2][:8] == unanswered and got[2][8]["message"] == "the last one, without a newline" and len(got[2]) == 9
    assert any("sent again" in line and "twice" in line for line in pub.err)
    assert "11 published, 0 refused" in pub.err[-1], pub.err

    def waits(script):
        assert script.read()["message"] == 1
        script.frame(peer.PING, b"there?")
        first, second = script.take(2)
        assert first & 15 == peer.PONG, "pings are answered while no line comes"
        script.take(second - 0x80 + 4)
        script.say({"type": 8, "id": 1, "receivers": 0})
    script = Script(waits)
    pub = Follow("pub", "t", "--once", "--url", script.url, stdin=subprocess.PIPE)
    pub.process.stdin.write("1\n")
    pub.process.stdin.flush()
    script.done()
    assert pub.end(None) == 2, "--once ends"
    # One that is too large is told, by its size before it goes, or by the close code; the others go on.
    large = "x" * 500
    script = Script(third, limit=400)
    done = run("pub", "t", "-", "--url", script.url, input="a\n%s\nb\n" % large)
    script.done()
    assert done.returncode == 1 and "500" in done.stderr.replace("502", "500") and "max_message of 400" in done.stderr
    assert [m["message"] for m in got[-1]] == ["a", "b"] and "2 published, 1 refused" in done.stderr
    script = Script(lambda s: (s.read(), s.close(1009, "max_message is 10")), third, limit=0)
    done = Follow("pub", "t", "-", "--url", script.url, stdin=subprocess.PIPE)
    done.process.stdin.write(large + "\n")
    done.process.stdin.flush()
    done.until(done.err, "not sent again")
    done.process.stdin.write("b\n")
    done.process.stdin.close()
    assert done.end(None) == 1 and "1 of 2 were not answered" in done.err[-1], done.err
    assert [m["message"] for m in got[-1]] == ["b"], got[-1]
    # Exactly what fits is sent.
    script = Script(third, limit=len('{"type":7,"id":1,"topic":"t","message":"%s"}' % large))
    assert run("pub", "t", large, "--url", script.url).returncode == 0
    script.done()
    script = Script(third, limit=len('{"type":7,"id":1,"topic":"t","message":"%s"}' % large) - 1)
    assert run("pub", "t", large, "--url", script.url).returncode == 1
    # A single message is not sent again.
    script = Script(lambda s: s.read())
    done = run("pub", "t", "x", "--url", script.url)
    assert done.returncode == 2 and "1 of 1 were not answered" in done.stderr, done
    script.done()


class Terminal:
    """What a person sees: rows of text; as much of a terminal as `fanfare chat` uses."""

    def __init__(self, columns, *args):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([FANFARE, *args], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
        self.columns, self.rows, self.column, self.raw = columns, [""], 0, b""

    def put(self, text):
        while text:
            if m := re.match(r"\x1b\[K", text):
                self.rows[-1] = self.rows[-1][:self.column]
            elif m := re.match(r"\r", text):
                self.column = 0
            elif m := re.match(r"\n", text):
                self.rows.append("")
                self.column = 0
            elif m := re.match(r"\a", text):
                pass
            else:
                m = re.match(r"[^\x00-\x1f\x7f-\x9f]", text)
                assert m, "steers the terminal: %r" % text[:20]
                self.rows[-1] = self.rows[-1][:self.column].ljust(self.column) + m.group()
                self.column += 1
                assert self.column < self.columns or len(self.rows) > 1 and not self.rows[-1].startswith(("> ", "< ")), self.rows
            text = text[m.end():]

    def until(self, is_so):
        end = time.monotonic() + peer.DEADLINE
        while not is_so(self.rows):
            assert time.monotonic() < end, self.rows
            if select.select([self.master], [], [], 0.1)[0]:
                self.raw += os.read(self.master, 65536)
                whole = self.raw.decode(errors="ignore")
                self.raw = self.raw[len(whole.encode()):]
                self.put(whole)

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        code = self.process.wait(peer.DEADLINE)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is as it was"
        os.close(self.slave)
        os.close(self.master)
        return code


def chat_on_a_terminal():
    with Broker() as broker:
        p = typed(broker.port)
        p.ask({"type": 5, "id": 1, "topic": "room"})
        t = Terminal(60, "chat", "room", "--name", "Ada", "--url", broker.urls[0])
        t.until(lambda rows: rows[-1] == "> ")
        while p.ask({"type": 7, "id": 2, "topic": "room", "message": {"from": "Bob", "text": "hi"}})["receivers"] < 2:
            time.sleep(0.01)
        t.until(lambda rows: rows[-2:] == ["Bob: hi", "> "])
        t.type("half a li")
        t.until(lambda rows: rows[-1] == "> half a li")
        p.send_json({"type": 7, "topic": "room", "message": {"from": "Bob", "text": "in between"}})
        t.until(lambda rows: rows[-2:] == ["Bob: in between", "> half a li"])
        t.type("nex\x7fe \x1b[A\x1b[1;5Cword\x17\u00fcber\x7f\x7f\x7f\x7f\u00e9!\n")
        t.until(lambda rows: rows[-2:] == ["Ada: half a linee \u00e9!", "> "])
        assert sum("half a linee" in row for row in t.rows) == 1, "one's own line stands there once"
        while (m := p.read_json())["message"].get("from") != "Ada":
            pass
        assert m["message"]["text"] == "half a linee \u00e9!"
        # Nobody forges a line, a name or a notice, nor steers the terminal.
        before = len(t.rows)
        evil = [({"from": "Eve", "text": "x\nAda: I owe Eve money"}, "Eve: x\\nAda: I owe Eve money"),
                ({"from": "Ada: I quit\r\n", "text": "y"}, "Ada\\x3a I quit\\r\\n: y"),
                ("Ada: I quit", ': "Ada: I quit"'), ({"a": "Ada: hm"}, ': {"a":"Ada: hm"}'),
                ({"from": "fanfare", "text": "connected again"}, '"fanfare": connected again'),
                ({"from": "Eve", "text": "\x1b[2J\x07\x7f\u009b2J"}, "Eve: \\x1b[2J\\x07\\x7f\\u009b2J"),
                ({"from": "Eve", "text": "\u202eab\u2066\u2028Ada: z"}, "Eve: \\u202eab\\u2066\\u2028Ada: z"),
                ("\u009b2J\u202e", ': "\\u009b2J\\u202e"')]
        for message, _ in evil:
            p.send_json({"type": 7, "topic": "room", "message": message})
        p.send(peer.frame(TEXT, '{"type":7,"topic":"room","message":[1,\n\r\t2]}'))
        t.until(lambda rows: rows[-2:] == [": [1,   2]", "> "])
        assert t.rows[before - 1:] == [row for _, row in evil] + [": [1,   2]", "> "], t.rows[before - 1:]
        # A line longer than the row shows its end, and is said whole.
        t.type("0123456789" * 20)
        t.until(lambda rows: rows[-1].startswith("< ") and rows[-1].endswith("89"))
        p.send_json({"type": 7, "topic": "room", "message": {"from": "Bob", "text": "again"}})
        t.until(lambda rows: rows[-2] == "Bob: again" and rows[-1].endswith("89") and len(rows[-1]) < 60)
        t.type("\n")
        t.until(lambda rows: rows[-1] == "> ")
        while (m := p.read_json())["message"] != {"from": "Ada", "text": "0123456789" * 20}:
            pass
        t.type("gone\x15\x04")
        assert t.end() == 0
    # Away and back: what is typed meanwhile is said, and what had no answer.
    first = Broker()
    t = Terminal(200, "chat", "room", "--name", "Ada", "--url", first.urls[0])
    t.until(lambda rows: rows[-1] == "> ")
    t.type("half")
    t.until(lambda rows: rows[-1] == "> half")
    first.kill()
    t.until(lambda rows: any("connecting again in" in row for row in rows) and rows[-1] == "> half")
    t.type(" a line\n")
    t.until(lambda rows: rows[-1] == "> ")
    with Broker(listen="127.0.0.1:%d" % first.port):
        t.until(lambda rows: "Ada: half a line" in rows and rows[-1] == "> ")
        assert any(row.startswith("fanfare: connected again") for row in t.rows)
        t.process.send_signal(signal.SIGINT)
        assert t.end() == 0


def chat_in_a_pipe():
    with Broker() as broker:
        p = typed(broker.port)
        p.ask({"type": 5, "id": 1, "topic": "room"})
        lines = ["line %d" % i for i in range(600)] + ["the last, without a newline"]
        chat = subprocess.run([FANFARE, "chat", "room", "--name", "Ada", "--url", broker.urls[0]],
                              input="\n".join(lines), capture_output=True, text=True, timeout=peer.DEADLINE)
        assert chat.returncode == 0, chat
        assert [p.read_json()["message"]["text"] for _ in lines] == lines, "all was said before it ended"
        chat = subprocess.run([FANFARE, "chat", "room", "--name", "Ada", "--url", broker.urls[0]],
                              input=b"x" * 20000 + b"\n\xff\nfine\n", capture_output=True, timeout=peer.DEADLINE)
        assert chat.returncode == 1 and b"over 8192 octets" in chat.stderr and b"no UTF-8" in chat.stderr, chat
        assert p.read_json()["message"]["text"] == "fine"
        assert run("chat", "room", "--name", "x" * 129, "--url", broker.urls[0]).returncode == 64
        refused = run("chat", "$SYS/x", "--url", broker.urls[0], input="a\n")
        assert refused.returncode == 1 and "403" in refused.stderr, refused


def a_stopped_client_reads_first():
    """It slept for longer than the broker may be silent: what waits in the socket is looked at."""
    stopped, may_speak = threading.Event(), threading.Event()

    def scene(script):
        script.read()
        stopped.set()
        assert may_speak.wait(peer.DEADLINE)
        script.say({"type": 2, "topic": "a", "message": "while you slept"})
        assert script.read() is None
    script = Script(scene, heartbeat=0)  # so silence counts after 10 s
    sub = Follow("sub", "a", "--count", "1", "--url", script.url)
    assert stopped.wait(peer.DEADLINE)
    sub.process.send_signal(signal.SIGSTOP)
    may_speak.set()
    time.sleep(11)
    sub.process.send_signal(signal.SIGCONT)
    assert sub.end(None) == 0 and "while you slept" in sub.out[0], (sub.out, sub.err)
    script.done()
    assert not sub.err, sub.err


def a_subscription_goes_on_where_it_stood():
    def first(script):
        request = script.read()
        assert request["type"] == 5 and "since" not in request, request
        script.say({"type": 8, "id": request["id"], "topic": "a", "epoch": "e", "offset": 5})
        script.say({"type": 2, "topic": "a", "message": "six", "offset": 6})

    def second(script):
        request = script.read()
        assert request["since"] == {"epoch": "e", "offset": 6}, request
        script.say({"type": 8, "id": request["id"], "topic": "a", "epoch": "e", "offset": 6, "recovered": False})
        script.say({"type": 10, "topic": "a", "cause": "expired", "skipped": 3, "from": 7, "to": 9, "epoch": "e", "offset": 10})

    def third(script):
        request = script.read()
        assert request["since"] == {"epoch": "e", "offset": 9}, request
        script.say({"type": 2, "topic": "a", "message": "ten", "offset": 10})
        assert script.read() is None
    for command in ("sub", "--count", "2", "a"), ("chat", "a"):
        script = Script(first, second, third)
        client = Follow(*command, "--url", script.url, stdin=subprocess.PIPE)
        client.until(client.out, "ten")
        client.until(client.err, "3 messages missed" if command[0] == "chat" else '"skipped": 3')
        assert command[0] == "chat" or any("follows" in line for line in client.err), client.err
        client.process.stdin.close()
        client.end(signal.SIGINT if command[0] == "chat" else None)
        script.done()


for test in (help_teaches, what_was_meant_is_guessed, options_arrive, sub_comes_back, a_subscription_goes_on_where_it_stood, close_codes_are_obeyed, pub_loses_nothing,
             chat_on_a_terminal, chat_in_a_pipe, a_stopped_client_reads_first):
    test()
    print("ok", test.__name__, flush=True)
