#
# rawrpc.py: libvirt's RPC protocol, as a client that keeps no rule of it speaks it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
libvirt's client library checks what it is given before it sends it; who wants to harm a
daemon does not. A message is its length, a header and arguments in XDR: libvirt's
docs/kbase/internals/rpc.rst and src/remote/remote_protocol.x.
"""

import socket
import struct

PROGRAM = 0x20008086
VERSION = 1

CALL = 0
REPLY = 1
OK = 0

# Procedures
CONNECT_OPEN = 1
AUTH_LIST = 66
NODE_GET_CPU_STATS = 227
NODE_GET_FREE_PAGES = 340
NODE_ALLOC_PAGES = 347

READ_ONLY = 1  # VIR_CONNECT_RO


class RpcError(Exception):
    """The answer was an error: its @code and @domain, and the text as str()."""

    def __init__(self, code, domain, text):
        super().__init__(text)
        self.code = code
        self.domain = domain


def u32(number):
    return struct.pack(">I", number % 2**32)


def array(form, numbers):
    """Returns @numbers, each packed by @form, with their count before them."""
    return u32(len(numbers)) + b"".join(struct.pack(f">{form}", number) for number in numbers)


def string(text):
    """Returns @text as an optional string that is there."""
    data = text.encode()
    return u32(1) + u32(len(data)) + data + bytes(-len(data) % 4)


class RawClient:
    """A connection to the daemon that listens on the UNIX socket @path, opened as @uri."""

    def __init__(self, path, uri, flags=0):
        self.serial = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        # root need not prove to the system's daemon who it is, but has to ask
        self.call(AUTH_LIST, b"")
        self.call(CONNECT_OPEN, string(uri) + u32(flags))

    def _read(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise ConnectionError("the daemon has closed the connection")
            data += more
        return data

    def call(self, procedure, arguments):
        """Returns the answer's bytes; raises RpcError, or ConnectionError."""
        self.serial += 1
        body = struct.pack(">IIiiIi", PROGRAM, VERSION, procedure, CALL, self.serial,
                           OK) + arguments
        self.socket.sendall(u32(len(body) + 4) + body)
        while True:
            length, = struct.unpack(">I", self._read(4))
            body = self._read(length - 4)
            _, _, answered, kind, _, status = struct.unpack(">IIiiIi", body[:24])
            # events and keep-alive messages come in between
            if kind == REPLY and answered == procedure:
                break
        if status != OK:
            code, domain, there = struct.unpack(">iiI", body[24:36])
            size = struct.unpack(">I", body[36:40])[0] if there else 0
            raise RpcError(code, domain, body[40:40 + size].decode())
        return body[24:]

    def close(self):
        self.socket.close()
