#
# vsockclient.py: a program of the host that talks to an emulated enclave
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The convention of the UNIX sockets that lead to the vsock of an enclave, for the tests
and the benchmarks: see docs/drvnitro.rst. The ports and commands are those of the
sample enclave: see examples/hello/services.h.
"""

import os
import re
import socket

ECHO, DISCARD, SOURCE, STALL, COMMANDS = 7, 9, 19, 11, 5000

HEARTBEAT_PORT = 9000

# Emulation is slow
SECONDS = 60


def receive_line(conn):
    """Returns the next line, without its end; raises ConnectionError when there is none."""
    line = b""
    while not line.endswith(b"\n"):
        byte = conn.recv(1)
        if not byte:
            raise ConnectionError(f"the connection has ended after {line!r}")
        line += byte
    return line[:-1].decode()


def receive_all(conn):
    """Returns what comes until the end."""
    data = bytearray()
    while True:
        part = conn.recv(65536)
        if not part:
            return bytes(data)
        data += part


class VsockClient:
    """The host's end of the vsock of one enclave, whose sockets are in @directory."""

    def __init__(self, directory):
        self.directory = directory

    @classmethod
    def of_xml(cls, xml):
        """For the domain whose live XML is @xml."""
        return cls(re.search(r"<nitro:vsock directory='([^']*)'", xml).group(1))

    @classmethod
    def of(cls, dom):
        """For the running domain @dom."""
        return cls.of_xml(dom.XMLDesc(0))

    def path(self, port=None):
        return os.path.join(self.directory, "vsock" if port is None else f"vsock_{port}")

    def dial(self):
        """Returns a connection on which the line CONNECT is expected."""
        conn = socket.socket(socket.AF_UNIX)
        conn.settimeout(SECONDS)
        try:
            conn.connect(self.path())
        except OSError:
            conn.close()
            raise
        return conn

    def connect(self, port):
        """Returns a connection with @port of the enclave."""
        conn = self.dial()
        try:
            conn.sendall(f"CONNECT {port}\n".encode())
            answer = receive_line(conn)
        except OSError:
            conn.close()
            raise
        if not re.fullmatch(r"OK \d+", answer):
            conn.close()
            raise ConnectionError(f"the enclave's port {port}: {answer!r}")
        return conn

    def listen(self, port, backlog=1024):
        """Returns the listening socket for connections of the enclave to @port."""
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(SECONDS)
        listener.bind(self.path(port))
        # the enclave's helper is another user's when root runs the tests
        os.chmod(self.path(port), 0o666)
        listener.listen(backlog)
        return listener

    def command(self, text):
        """Has the enclave do @text; returns its answer."""
        with self.connect(COMMANDS) as conn:
            conn.sendall(text.encode() + b"\n")
            return receive_line(conn)

    def order(self, text):
        """Has the enclave do @text, of which there is no answer as it ends by that."""
        with self.connect(COMMANDS) as conn:
            conn.sendall(text.encode() + b"\n")
            try:
                return receive_all(conn)
            except ConnectionResetError:
                return b""
