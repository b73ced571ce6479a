# SPDX-License-Identifier: Apache-2.0
"""Real proxies in front of the broker: Debian's nginx, HAProxy and Apache, each with the lines that stand in
docs/proxies.md, on ports of loopback and in folders of their own. What differs from the page is named here: addresses
and the paths of certificates."""
import os
import re
import shutil
import socket
import subprocess
import time

from peer import DEADLINE, Broker, Gone, Peer

PAGE = os.path.join(os.path.dirname(__file__), "../../docs/proxies.md")
BROKER = "127.0.0.1:8080"  # as the page has it


def lines_of(kind):
    """What stands in the page's one block of this kind."""
    with open(PAGE) as page:
        blocks = re.findall(r"^```%s\n(.*?)^```$" % re.escape(kind), page.read(), re.M | re.S)
    assert len(blocks) == 1, (kind, len(blocks))
    return blocks[0]


def replaced(text, pairs):
    for old, new in pairs:
        assert old in text, "%r no longer stands in docs/proxies.md" % old
        text = text.replace(old, new)
    return text


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Upstream:
    """The broker as the page configures it. It can go and come back on its port."""

    def __init__(self, folder, kind="fanfare", args=()):
        self.path = os.path.join(folder, "%s.conf" % kind)
        self.kind, self.args = kind, args
        self.port = 0
        self.start()

    def start(self):
        with open(self.path, "w") as out:
            out.write(replaced(lines_of(self.kind), [(BROKER, "127.0.0.1:%d" % self.port)]))
        self.broker = Broker("--config", self.path, *self.args, listen=None)
        self.port = self.broker.port

    def restart(self):
        self.broker.stop()
        self.start()


class Proxy:
    """One of them, in the foreground. `edit(text)` may change what the page says."""
    program = kind = None

    def __init__(self, folder, upstream, cert, key, edit=lambda text: text):
        self.folder = os.path.join(folder, "%s-%d" % (self.kind, time.monotonic_ns()))
        self.upstream, self.cert, self.key = upstream, cert, key
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o755)
        for _ in range(5):  # another program may take the port before it does
            self.port = free_port()
            text = edit(replaced(lines_of(self.kind), [(BROKER, "127.0.0.1:%d" % upstream.port)] + self.places()))
            self.conf = os.path.join(self.folder, "conf")
            with open(self.conf, "w") as out:
                out.write(self.around(text))
            if self.start():
                return
        raise AssertionError("%s did not start: %s" % (self.kind, self.log()))

    def start(self):
        program = shutil.which(self.program, path="/usr/sbin:" + os.environ["PATH"])
        assert program, "%s is missing: ./dev test installs it" % self.program
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen([program] + self.arguments(), stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                time.sleep(0.02)
        self.stop()
        return False

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as text:
            return text.read()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nginx(Proxy):
    program, kind, path = "nginx", "nginx", "/live/ws"

    def places(self):
        return [("listen 443 ssl", "listen 127.0.0.1:%d ssl" % self.port), ("/etc/ssl/app.example/chain.pem", self.cert),
                ("/etc/ssl/app.example/key.pem", self.key)]

    def around(self, text):
        temporary = "".join("    %s_temp_path %s/%s;\n" % (name, self.folder, name) for name in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return "daemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr info;\nevents {}\nhttp {\n    access_log off;\n%s%s}\n" % (
            self.folder, temporary, text)

    def arguments(self):
        return ["-p", self.folder, "-c", self.conf, "-e", "stderr"]


class Haproxy(Proxy):
    program, kind, path = "haproxy", "haproxy", "/ws"

    def places(self):
        both = os.path.join(self.folder, "both.pem")
        with open(both, "w") as out:
            out.write(open(self.cert).read() + open(self.key).read())
        return [("bind :443", "bind 127.0.0.1:%d" % self.port), ("/etc/haproxy/app.example.pem", both)]

    def around(self, text):
        return "global\n    stats socket %s/stats mode 600 level admin\n%s" % (self.folder, text)

    def arguments(self):
        return ["-db", "-f", self.conf]

    def sees(self, state):
        """Waits until its check of the broker says so; each look is a question, not a guess."""
        end = time.monotonic() + DEADLINE
        while not os.path.exists(os.path.join(self.folder, "stats")):  # it opens its ports a little before
            assert time.monotonic() < end, "haproxy has no stats"
            time.sleep(0.01)
        while True:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(DEADLINE)
                s.connect(os.path.join(self.folder, "stats"))
                s.sendall(b"show stat\n")
                rows = s.makefile().read().splitlines()
            names = rows[0].lstrip("# ").split(",")
            found = [dict(zip(names, row.split(","))) for row in rows[1:] if ",one," in row]
            if found[0]["status"].startswith(state) and "INI" not in found[0]["check_status"]:
                return dict(found[0], check_status=found[0]["check_status"].lstrip("* "))
            assert time.monotonic() < end, (state, found)
            time.sleep(0.1)


class HaproxyTcp(Haproxy):
    kind = "haproxy-tcp"

    def places(self):
        return [("bind :8443", "bind 127.0.0.1:%d" % self.port)]


class Apache(Proxy):
    program, kind, path = "apache2", "apache", "/live/ws"

    def places(self):
        return [("<VirtualHost *:443>", "<VirtualHost 127.0.0.1:%d>" % self.port), ("/etc/ssl/app.example/chain.pem", self.cert),
                ("/etc/ssl/app.example/key.pem", self.key)]

    def around(self, text):
        modules = "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (name, name) for name in
                          ("mpm_event", "authz_core", "socache_shmcb", "ssl", "headers", "proxy", "proxy_http"))
        user = "User www-data\nGroup www-data\n" if os.getuid() == 0 else ""
        return "%sServerRoot %s\nDefaultRuntimeDir %s\nPidFile %s/pid\nErrorLog /dev/stderr\nServerName localhost\n%sListen 127.0.0.1:%d\n%s" % (
            modules, self.folder, self.folder, self.folder, user, self.port, text)

    def arguments(self):
        return ["-d", self.folder, "-f", self.conf, "-DFOREGROUND"]


def ask(proxy, tls, target, method="GET"):
    """Status and body of one request; Gone where it gets no answer."""
    p = Peer(proxy.port, upgrade=False, tls=tls)
    p.send(("%s %s HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n" % (method, target)).encode())
    p.read_head()
    try:
        while True:
            p.fill()
    except Gone:
        return p.status, p.buffer.decode(errors="replace")


