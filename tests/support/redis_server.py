# SPDX-License-Identifier: Apache-2.0
"""A real redis-server on a port and in a folder of the test's own."""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from peer import DEADLINE

COMMAND = "/usr/bin/redis-server"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def free_ports(count):
    """The first of so many in a row, below those that the kernel gives to clients."""
    while True:
        first = random.randrange(20000, 32000)
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for port in range(first, first + count):
                taken.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first


class Redis:
    """Started at once; `is_kept`: what it has survives a kill -9 (appendonly)."""

    def __init__(self, is_kept=True, *options):
        assert os.path.exists(COMMAND), "apt install redis-server"
        self.folder = tempfile.mkdtemp(prefix="fanfare-redis-")
        self.port = free_port()
        self.options = ["--appendonly", "yes" if is_kept else "no", *options]
        self.start()

    @property
    def url(self):
        return "redis://127.0.0.1:%d" % self.port

    def start(self):
        self.process = subprocess.Popen(
            [COMMAND, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder,
             "--logfile", os.path.join(self.folder, "log"), *self.options])
        end = time.monotonic() + DEADLINE
        while True:
            try:
                if self.ask("PING") == b"PONG":
                    return
            except OSError:
                pass
            assert self.process.poll() is None, open(os.path.join(self.folder, "log")).read()
            assert time.monotonic() < end
            time.sleep(0.02)

    def ask(self, *words):
        """One command on a connection of its own; a plain answer, or the error as it is."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as s:
            s.sendall(b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(w), w) for w in (str(word).encode() for word in words)))
            line = b""
            while not line.endswith(b"\r\n"):
                line += s.recv(1) or b"\r\n"
            if line[:1] != b"$":
                return line[1:-2]
            left, got = int(line[1:]) + 2, b""
            while len(got) < left:
                got += s.recv(left - len(got))
            return got[:-2]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stall(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
