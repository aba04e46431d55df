# linkclient.py: the other end of a link of an enclave's services, for tests
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the daemon and the services process say to a switch, as src/services/services_protocol.h has
# it: on the emulated machine to the helper, on the device to the broker.

import collections
import socket

import helpercase

# connections that wait in a switch, LINK_QUEUE_MAX
QUEUE_MAX = 256


class Link(helpercase.Client):
    def __init__(self, path):
        super().__init__(path)
        self.fds = collections.deque()
        self.ids = iter(range(1, 1 << 30))

    def close(self):
        for fd in self.fds:
            socket.socket(fileno=fd).close()
        self.fds.clear()
        super().close()

    def receive_bytes(self):
        data, fds, flags, _ = socket.recv_fds(self.socket, 65536, 8)
        assert not flags & socket.MSG_CTRUNC
        self.fds += fds
        return data

    def serve(self, *ports, cid=None):
        self.send(command='serve', ports=ports)
        message = self.line()
        assert message == {'event': 'serving'}, message
        if cid is not None:
            self.send(command='enclave', cid=cid)
        return self

    def taken(self):
        """The descriptor that has come with a line, as a socket."""
        sock = socket.socket(fileno=self.fds.popleft())
        sock.settimeout(helpercase.SHORT)
        return sock

    def connection(self, port=None):
        """The socket of the next connection of the enclave, which must be with @port."""
        message = self.line()
        assert message == {'event': 'connection', 'port': message['port']}, message
        assert port in (None, message['port']), message
        sock = self.taken()
        return sock if port is not None else (message['port'], sock)

    def ask(self, port):
        """Asks for a connection with @port of the enclave; returns the id."""
        ident = next(self.ids)
        self.send(command='connect', id=ident, port=port)
        return ident

    def answer(self, ident, timeout=helpercase.SHORT):
        """The connection that was asked for, or the errno of why there is none."""
        message = self.line(timeout)
        assert message['id'] == ident, message
        if 'return' in message:
            assert message['return'] == {}, message
            return self.taken()
        assert message['error']['code'] == 'refused', message
        return message['error']['errno']

    def ended(self):
        """Whether the link has been closed, and nothing is left to read."""
        return self.line() is None
