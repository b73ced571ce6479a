# SPDX-License-Identifier: Apache-2.0
"""What an operator installs: paths that agree, a unit that is hardened, a restart that refuses nobody."""
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
import peer  # noqa: E402
from peer import Broker, Gone, Peer, typed  # noqa: E402

FANFARED = os.path.join(peer.BIN, "fanfared")
BUILD = os.path.dirname(os.path.abspath(peer.BIN))


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=peer.DEADLINE, **more)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


def installed():
    root = tempfile.mkdtemp()
    env = dict(os.environ, DESTDIR=root)
    run("cmake", "--install", BUILD, env=env)
    with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        prefix = re.search(r"^CMAKE_INSTALL_PREFIX:PATH=(.*)$", cache.read(), re.M).group(1)
    folder = root + prefix + "/lib/systemd/system/"
    with open(folder + "fanfared.service") as text:
        unit = text.read()
    # All that the unit names is where it says.
    program, config = re.search(r"^ExecStart=(\S+) --config (\S+)$", unit, re.M).groups()
    keys = re.search(r"^LoadCredential=tls:(\S+)$", unit, re.M).group(1)
    assert os.access(root + program, os.X_OK) and os.path.isdir(root + keys)
    assert os.stat(root + keys).st_mode & 0o777 == 0o700
    out = run(root + program, "--config", root + config, "--check-config")
    assert 'listen = {"127.0.0.1:8080"}' in out
    with open(folder + "fanfared.socket") as text:
        assert re.search(r"^ListenStream=127\.0\.0\.1:8080$", text.read(), re.M), "the same address as in fanfare.conf"
    # A configuration that is there stays.
    with open(root + config, "w") as text:
        text.write("# the operator's\n")
    run("cmake", "--install", BUILD, env=env)
    with open(root + config) as text:
        assert text.read() == "# the operator's\n"
    # systemd's own opinion of both units, with the paths of where they stand now.
    units = tempfile.mkdtemp()
    for name in "fanfared.service", "fanfared.socket":
        with open(folder + name) as text, open(os.path.join(units, name), "w") as out:
            out.write(text.read().replace(prefix + "/", root + prefix + "/"))
    said = run("systemd-analyze", "verify", "--man=no", os.path.join(units, "fanfared.socket"), os.path.join(units, "fanfared.service"))
    assert "fanfared" not in said, said
    said = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", os.path.join(units, "fanfared.service"))
    exposure = float(re.search(r"Overall exposure level for fanfared.service: ([0-9.]+)", said).group(1))
    print("   exposure", exposure)
    assert exposure < 2.0
    shutil.rmtree(root)
    shutil.rmtree(units)


class Passed(Broker):
    """A broker to which the test passes listening sockets, as systemd does."""

    def __init__(self, sockets, *args, pid=None, listen=None):
        script = ("import os, sys\n"
                  "for i, fd in enumerate(%r): os.dup2(fd, 3 + i)\n"
                  "os.environ.update(LISTEN_PID=str(%r or os.getpid()), LISTEN_FDS='%d')\n"
                  "os.execv(sys.argv[1], sys.argv[1:])" % ([one.fileno() for one in sockets], pid, len(sockets)))
        for one in sockets:
            os.set_inheritable(one.fileno(), True)
        popen = subprocess.Popen
        try:
            subprocess.Popen = lambda *a, **more: popen(*a, close_fds=False, **more)
            super().__init__(*args, listen=listen, prefix=(sys.executable, "-c", script))
        finally:
            subprocess.Popen = popen


def high(one):
    """The same socket on a descriptor that is above those to which it is moved."""
    fd = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 100)
    return socket.socket(fileno=fd)


def held():
    one = socket.create_server(("127.0.0.1", 0), backlog=1024)
    moved = high(one)
    one.close()
    return moved


def passed():
    a, b = held(), held()
    ports = [one.getsockname()[1] for one in (a, b)]
    with Passed([a, b], "--workers", "3") as broker:
        assert broker.port == ports[0] and str(ports[1]) in broker.process.stdout.readline().decode()
        assert all(typed(port).welcome["type"] == 4 for port in ports)
        environment = open("/proc/%d/environ" % broker.process.pid).read()
        assert "LISTEN_FDS=2" in environment
    # An entry of listen takes the one of its address, and opens the others by itself.
    with Passed([a], "--listen", "127.0.0.1:%d" % ports[0], "--listen", "127.0.0.1:0") as broker:
        assert broker.port == ports[0] and typed(broker.port).welcome["type"] == 4
    for sockets, args, said in (([a], ["--listen", "127.0.0.1:0"], "a socket for 127.0.0.1:%d was passed" % ports[0]),
                                ([high(socket.socket())], [], "descriptor 3 is no stream socket that listens"),
                                ([high(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))], [], "descriptor 3 is no stream socket")):
        try:
            Passed(sockets, *args)
            raise AssertionError("it started")
        except AssertionError as why:
            assert said in str(why), why
    # What was meant for another process is none of ours.
    with Passed([a], "--listen", "127.0.0.1:0", pid=1) as broker:
        assert broker.port != ports[0]


class Client(threading.Thread):
    """Comes back at once, whatever happens, and remembers what did."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.refused, self.cut, self.nodes, self.is_over = port, 0, 0, [], False

    def run(self):
        while not self.is_over:
            try:
                p = Peer(self.port, protocol="fanfare.v1.json")
            except ConnectionRefusedError:
                self.refused += 1
                continue
            except (Gone, OSError):
                self.cut += 1
                continue
            try:
                self.nodes.append(p.read_json()["node"])
                while not self.is_over:
                    p.read_json()
            except (Gone, OSError, AssertionError):
                pass
            p.close()


def a_restart_refuses_nobody():
    one = held()
    port = one.getsockname()[1]
    first = Passed([one], "--workers", "2")
    clients = [Client(port) for _ in range(200)]
    for client in clients:
        client.start()

    def until(is_so):
        end = time.monotonic() + peer.DEADLINE
        while not all(is_so(client) for client in clients):
            assert time.monotonic() < end, [(c.refused, c.cut, c.nodes) for c in clients]
            time.sleep(0.02)
    until(lambda client: client.nodes)
    first.process.send_signal(signal.SIGUSR2)
    assert first.process.wait(peer.DEADLINE) == 0
    with Passed([one], "--workers", "2") as second:
        until(lambda client: len(set(client.nodes)) == 2)
        assert sum(client.refused for client in clients) == 0
        for client in clients:
            client.is_over = True
        second.process.terminate()
        for client in clients:
            client.join(peer.DEADLINE)
        second.process.wait(peer.DEADLINE)
    first.stop()
    print("   cut in their handshakes:", sum(client.cut for client in clients))


for test in installed, passed, a_restart_refuses_nobody:
    test()
    print("ok", test.__name__, flush=True)
