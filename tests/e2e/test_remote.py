#
# test_remote.py: enclaves of another host, with the distribution's parts
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
virtnitrod listens on UNIX sockets alone. In front of it stands what the distribution
has for that: its libvirtd with a TLS socket, or its virt-ssh-helper behind SSH. Debian
has no virtproxyd, and its libvirtd takes "nitro:///system" for a driver of its own; but a
URI that names the socket is passed on. So the client says

    nitro+tls://HOST/system?name=nitro%2Bunix:///system%3Fsocket%3D/run/libvirt/virtnitrod-sock

The certificates are made here. SSH is played by a script that runs the command at once.
"""

import os
import subprocess
import unittest

import libvirt

import daemon
import taprunner
from daemon import HELLO_BANNER, WITH_US, wait_until
from e2etest import EnclaveTest, Events, StreamConsole, quick_xml

LIBVIRTD = "/usr/sbin/libvirtd"
SSH_HELPER = "/usr/bin/virt-ssh-helper"
OPENSSL = "/usr/bin/openssl"

# What they use beside libvirt's directories
MORE_DIRS = ["/var/lib/libvirt", "/var/cache/libvirt"]

HOST = "127.0.0.1"

PROXY_CONFIG = """
listen_tls = 1
listen_tcp = 0
listen_addr = "{host}"
tls_port = "{port}"
auth_unix_rw = "none"
ca_file = "{pki}/cacert.pem"
cert_file = "{pki}/servercert.pem"
key_file = "{pki}/serverkey.pem"
log_outputs = "3:file:{dir}/libvirtd.log"
"""

# Stands for ssh: its last argument is the command for the other host, which has a session of its
# own there. Libvirt ends it with a signal; it stays until the command has ended too, unless libvirt
# is short of patience (10 ms) and kills it.
SSH = """#!/bin/sh
trap '' TERM
for command; do :; done
setsid --wait sh -c "$command"
"""

CERTIFICATES = {
    "ca": "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
    "server": f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,"
              f"keyEncipherment\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:{HOST}\n",
    "client": "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,"
              "keyEncipherment\nextendedKeyUsage=clientAuth\n",
}


def make_certificates(directory):
    """Makes the certificates and keys of an authority, a server and a client."""
    def openssl(*args):
        subprocess.run([OPENSSL, *args], cwd=directory, check=True, capture_output=True)

    for name, extensions in CERTIFICATES.items():
        with open(os.path.join(directory, f"{name}.ext"), "w", encoding="utf-8") as file:
            file.write(extensions)
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}key.pem",
                "-out", f"{name}.csr")
        issuer = ["-signkey", "cakey.pem"] if name == "ca" else \
            ["-CA", "cacert.pem", "-CAkey", "cakey.pem", "-CAcreateserial"]
        openssl("x509", "-req", "-in", f"{name}.csr", "-days", "2", "-extfile", f"{name}.ext",
                "-out", f"{name}cert.pem", *issuer)


class Remote(EnclaveTest):
    """See the comment at the top of the file."""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        for path in (LIBVIRTD, SSH_HELPER):
            if not os.path.exists(path):
                raise unittest.SkipTest(f"{path} is not there: install libvirt-daemon")
        super().setUpClass()
        cls.pki = os.path.join(cls.daemon.dir, "pki")
        os.mkdir(cls.pki)
        make_certificates(cls.pki)

    def start_proxy(self):
        """Starts libvirtd, with no driver; returns the port of its TLS socket."""
        port = daemon.free_port(HOST)
        config = self.path("libvirtd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(PROXY_CONFIG.format(host=HOST, port=port, pki=self.pki,
                                           dir=self.daemon.dir))
        self.proxy = subprocess.Popen(
            WITH_US + [LIBVIRTD, "--config", config, "--listen"],
            env=dict(self.daemon.client_env, LIBVIRT_DRIVER_DIR=self.daemon.dir),
            cwd=self.daemon.dir, stdin=subprocess.DEVNULL)
        self.addCleanup(self.proxy.wait, 30)
        self.addCleanup(self.proxy.terminate)

        def listens():
            if self.proxy.poll() is not None:
                raise RuntimeError(f"libvirtd ended with status {self.proxy.returncode}")
            with open(f"/proc/{self.proxy.pid}/net/tcp", encoding="ascii") as table:
                return f":{port:04X} 00000000:0000 0A" in table.read()

        wait_until(listens, 30, "the TLS socket of libvirtd")
        return port

    def tls_uri(self, port, pki):
        return (f"nitro+tls://{HOST}:{port}/system?pkipath={pki}"
                "&name=nitro%2Bunix:///system%3Fsocket%3D/run/libvirt/virtnitrod-sock")

    def use(self, uri):
        """What can be done through @uri: read-write with events and console, read-only."""
        conn = libvirt.open(uri)
        self.addCleanup(conn.close)
        events = Events(conn)
        dom = conn.defineXML(quick_xml("far", devices="<console type='pty'/>"))
        dom.create()
        events.wait("far", libvirt.VIR_DOMAIN_EVENT_STARTED,
                    libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED)
        self.assertEqual(self.conn.lookupByName("far").UUIDString(), dom.UUIDString())

        reader = libvirt.openReadOnly(uri)
        self.addCleanup(reader.close)
        seen = reader.lookupByName("far")
        self.assertState(seen, libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
        self.assertIn("<name>far</name>", seen.XMLDesc())
        with self.refused(libvirt.VIR_ERR_OPERATION_DENIED, "read only"):
            seen.destroy()

        console = StreamConsole(conn, dom)
        console.wait(HELLO_BANNER)
        dom.destroy()
        console.wait_end()
        events.wait("far", libvirt.VIR_DOMAIN_EVENT_STOPPED,
                    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED)
        events.stop()
        dom.undefine()

    def test_tls(self):
        """through libvirtd's TLS socket; nobody without a certificate of the authority"""
        port = self.start_proxy()
        self.use(self.tls_uri(port, self.pki))

        stranger = os.path.join(self.daemon.dir, "stranger")
        os.mkdir(stranger)
        make_certificates(stranger)
        # it trusts the server, but is not trusted
        with open(os.path.join(self.pki, "cacert.pem"), "rb") as own, \
                open(os.path.join(stranger, "cacert.pem"), "wb") as other:
            other.write(own.read())
        with self.refused((libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_RPC,
                           libvirt.VIR_ERR_GNUTLS_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)):
            libvirt.open(self.tls_uri(port, stranger)).close()

    def test_ssh(self):
        """through SSH, where virt-ssh-helper finds the socket by itself"""
        ssh = self.path("ssh")
        with open(ssh, "w", encoding="utf-8") as script:
            script.write(SSH)
        os.chmod(ssh, 0o755)
        self.use(f"nitro+ssh://{HOST}/system?command={ssh}&proxy=native")


if __name__ == "__main__":
    daemon.try_private_system(*MORE_DIRS)
    taprunner.main()
