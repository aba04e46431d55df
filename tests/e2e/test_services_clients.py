#
# test_services_clients.py: unmodified programs that use an enclave's vsock services
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The guest is made of Debian's programs, as docs/drvnitro.rst shows it: what stands there is taken out of
it and run as it is written. This process has a network of its own, in which api.example.com is an
address of this host, and a certificate authority of its own.
"""

import ctypes
import http.server
import os
import re
import ssl
import subprocess
import textwrap
import threading

import daemon
import taprunner
from daemon import BUILD, HELLO_DIR, HELLO_KERNEL, SOURCE, wait_until
from e2etest import BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED
from test_services import ServicesTest, inbound_tcp
from test_vsock import DOCUMENTATION
from vsockclient import ECHO

# What the documentation names
HOST, ADDRESS = "api.example.com", "192.0.2.7"

# This host and another one, in the network between them
HERE, THERE = "198.51.100.1", "198.51.100.2"
DIRECTORIES = ("/srv/enclaves", "/var/log/enclaves")
IMAGE, LOG = "/srv/enclaves/client.eif", "/var/log/enclaves/client.log"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"

# taken literally but for these: the examples are not installed, and their kernel has been fetched
REPLACED = (("/usr/share/doc/libvirt-nitro/examples/hello", os.path.join(SOURCE, "examples", "hello")),
            ("$hello/fetch-kernel amd64 kernel vmlinuz",
             f"ln -sf {HELLO_DIR}/kernel kernel; ln -sf {HELLO_KERNEL} vmlinuz"))

# An enclave that serves HTTP to who connects to its port 8080
SERVER = """
echo 'from the enclave' > /run/index.html
socat VSOCK-LISTEN:8080,fork,reuseaddr 'EXEC:httpd -i -h /run' &
printf '\\267' | socat -t 5 - VSOCK-CONNECT:3:9000 > /dev/null
wait
"""


def enter_private_network():
    """
    Moves this process into a network namespace of its own, with the address ADDRESS and a name for it.
    Raises OSError where that is not allowed.
    """
    CLONE_NEWNET = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")
    for words in (["link", "set", "lo", "up"], ["addr", "add", f"{ADDRESS}/32", "dev", "lo"]):
        subprocess.run(["ip", *words], check=True)
    put("/etc/hosts", f"127.0.0.1 localhost\n{ADDRESS} {HOST}\n")


def put(path, text):
    """Puts a file with @text at @path, for this process and what it starts."""
    private = f"/run/{os.path.basename(path)}"
    with open(private, "w", encoding="ascii") as file:
        file.write(text)
    subprocess.run(["mount", "--bind", private, path], check=True)


def make_certificate(path):
    """Makes a certificate of HOST's, its own authority, at @path, and its key at @path.key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
                    "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", f"{path}.key",
                    "-out", path], check=True, capture_output=True)


class Api:
    """The HTTPS server of the documentation; @requests has (name that TLS asked for, Host, path)."""

    def __init__(self, certificate):
        requests = self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                requests.append((self.connection.asked, self.headers["Host"], self.path))
                body = b"all is well\n"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, f"{certificate}.key")
        context.sni_callback = lambda conn, name, _: setattr(conn, "asked", name)
        self.server = http.server.HTTPServer((ADDRESS, 443), Handler)
        # what a client that goes away early makes of it is no fault
        self.server.handle_error = lambda request, address: None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Clients(ServicesTest):

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        if os.uname().machine != "x86_64":
            cls.skipTest(cls, "the documentation's example is for x86_64, of programs of the host")
        super().setUpClass()
        cls.where = os.path.join(cls.daemon.dir, "client")
        os.mkdir(cls.where)
        cls.certificate = os.path.join(cls.where, "certificate")
        make_certificate(cls.certificate)
        with open(cls.certificate, encoding="ascii") as text:
            put(AUTHORITIES, text.read())
        cls.init, cls.build, cls.xml, cls.run_it = cls.example()
        cls.write("client.xml", cls.xml)

    @classmethod
    def example(cls):
        """The four blocks of the documentation"""
        with open(DOCUMENTATION, encoding="utf-8") as text:
            section = text.read().partition("\nAn enclave that calls an HTTPS API\n")[2]
        section = section.partition("\nWhat is known of services\n")[0]
        blocks = re.findall(r"^\.\. code-block:: \w+\n\n((?:(?:   .*)?\n)+)", section, re.MULTILINE)
        return [textwrap.dedent(block).rstrip() + "\n" for block in blocks]

    @staticmethod
    def redirection():
        """What the documentation has the kernel lead a TCP port to another enclave with"""
        with open(DOCUMENTATION, encoding="utf-8") as text:
            section = text.read().partition("\nA new image without a gap\n")[2]
        begin = section.index("     nft -f -")
        end = "     END\n"
        return textwrap.dedent(section[begin:section.index(end, begin) + len(end)])

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.where, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
        return path

    @classmethod
    def shell(cls, script):
        """Runs @script; returns its output."""
        for before, after in REPLACED:
            script = script.replace(before, after)
        path = f"{os.path.join(BUILD, 'src', 'eif')}:{os.environ['PATH']}"
        done = subprocess.run(["sh", "-eu", "-c", script], cwd=cls.where, capture_output=True,
                              env=dict(cls.daemon.client_env, PATH=path), text=True, timeout=120,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{script}: {done.stdout}{done.stderr}")
        return done.stdout

    def build_image(self, init):
        self.write("init", init)
        self.shell(self.build)

    def serve(self, certificate):
        api = Api(certificate)
        self.addCleanup(api.close)
        return api

    def run_example(self, event):
        """Does what the documentation tells; the enclave ends with @event. Returns its log."""
        create, show = self.run_it.splitlines()
        self.build_image(self.init)
        self.addCleanup(lambda: os.path.exists(LOG) and os.unlink(LOG))
        self.shell(create)
        self.events.check("client", [STARTED, event], seconds=120)
        return self.shell(show)

    def test_https(self):
        """The example of the documentation"""
        api = self.serve(self.certificate)
        log = self.run_example(SHUTDOWN)
        self.assertRegex(log, r"^\S+ all is well\n$")
        self.assertEqual(api.requests, [(HOST, HOST, "/status")])

    def test_wrong_certificate(self):
        """It says nothing to a server that another authority vouches for."""
        other = self.path("certificate")
        make_certificate(other)
        api = self.serve(other)
        log = self.run_example(CRASHED)
        self.assertIn("certificate", log)
        self.assertEqual(api.requests, [])

    def test_curl(self):
        """The host's curl and the enclave's HTTP server"""
        self.build_image(self.init.partition("\n# the heartbeat")[0] + SERVER)
        port = daemon.free_port("127.0.0.1")
        xml = re.sub("(?s)<devices>.*</devices>|<nitro:services>.*</nitro:services>", "", self.xml)
        xml = xml.replace("</domain>", "<devices>" + inbound_tcp(8080, "127.0.0.1", port) +
                          "</devices></domain>")
        dom = self.conn.createXML(xml, 0)
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        curl = "curl -sS --fail --retry 20 --retry-delay 1 --retry-all-errors"
        self.assertEqual(self.shell(f"{curl} http://127.0.0.1:{port}/index.html"),
                         "from the enclave\n")
        stats = self.stats_of(dom)[8080]
        self.assertGreater(stats["received.bytes"], stats["sent.bytes"])
        dom.destroy()

    def neighbour(self):
        """Makes another host, which reaches this one at HERE; returns what runs a program there."""
        other = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        self.addCleanup(other.wait)
        self.addCleanup(other.stdin.close)
        ours = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{other.pid}/ns/net") != ours, 20, "another network")
        there = ["nsenter", "--net", "--target", str(other.pid)]
        for words in (["ip", "link", "add", "here", "type", "veth", "peer", "name", "there",
                       "netns", str(other.pid)],
                      ["ip", "addr", "add", f"{HERE}/24", "dev", "here"],
                      ["ip", "link", "set", "here", "up"],
                      [*there, "ip", "addr", "add", f"{THERE}/24", "dev", "there"],
                      [*there, "ip", "link", "set", "there", "up"]):
            subprocess.run(words, check=True)
        return there

    def client(self, prefix, address):
        """A client of port 443 at @address, run with @prefix"""
        client = subprocess.Popen([*prefix, "socat", "-", f"TCP:{address}:443"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(client.wait)
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.stdin.close)
        return client

    def assertEchoes(self, *clients):
        for number, client in enumerate(clients):
            client.stdin.write(b"%d\n" % number)
            client.stdin.flush()
            self.assertEqual(client.stdout.readline(), b"%d\n" % number)

    def test_redirected(self):
        """Clients of a TCP port go to the new enclave; who was connected with the old one stays."""
        there = self.neighbour()
        self.addCleanup(subprocess.run, ["nft", "delete", "table", "ip", "enclaves"], check=True)
        clients, doms = [], []
        for name, port in (("web-1", 8081), ("web-2", 8082)):
            doms.append(self.boot(name, inbound_tcp(ECHO, "0.0.0.0", port)))
            self.shell(self.redirection().replace(":8082", f":{port}"))
            clients += [self.client([], "127.0.0.1"), self.client(there, HERE)]
            self.assertEchoes(*clients)
        self.assertEqual([self.stats_of(dom)[ECHO]["connections.total"] for dom in doms], [2, 2])
        doms[0].destroy()
        self.assertEchoes(*clients[2:])
        doms[1].destroy()


if __name__ == "__main__":
    daemon.try_private_system(*DIRECTORIES)
    if not daemon.outside:
        try:
            enter_private_network()
        except (OSError, subprocess.CalledProcessError) as error:
            daemon.outside = str(error)
    taprunner.main()
