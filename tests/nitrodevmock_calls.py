# nitrodevmock_calls.py: the messages between the mock's library and its server
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Flow: a program connects to one of the sockets that Calls listens on, and calls as often as it
# wants -> one thread waits for the next message of all of them -> another one takes its place
# while it has the call handled -> the answer has the number of the call, as several calls of
# a connection can go on at once.
#
# Who calls is what the kernel says of each message (SCM_CREDENTIALS).

import array
import contextlib
import os
import select
import socket
import struct
import threading

from nitrodevmock_driver import NeError

# See nitrodevmock.h and nitrodevmock_call.c
REQUEST = struct.Struct('=QQQQ')
ANSWER = struct.Struct('=QqQQ')
(OPEN, IOCTL, WRITE, BIND, CONNECT, SOCKET) = range(1, 7)

CREDENTIALS = struct.Struct('=3i')
# more than the largest argument of an ioctl
MESSAGE_SIZE = 1 << 15


class Call:
    """What a program wants: a copy of its descriptor (-1: none) is closed with the answer."""

    def __init__(self, connection, message, control):
        self.connection = connection
        self.id, self.op, self.number, self.argument = REQUEST.unpack_from(message)
        self.data = message[REQUEST.size:]
        self.fd = self.pid = self.uid = -1
        for _, kind, payload in control:
            if kind == socket.SCM_RIGHTS:
                self.fd, = struct.unpack_from('=i', payload)
            elif kind == socket.SCM_CREDENTIALS:
                self.pid, self.uid, _ = CREDENTIALS.unpack_from(payload)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)


class Result:
    """What a call returns: a number, or @fd, a socket of which the caller gets a copy; bytes."""

    def __init__(self, value=0, fd=None, data=b''):
        self.value, self.fd, self.data = value, fd, data


class Connection:
    def __init__(self, sock, handler):
        self.sock, self.handler = sock, handler
        self.lock = threading.Lock()

    def receive(self):
        """The next Call. EOFError or OSError: there will be no other one."""
        message, control, _, _ = self.sock.recvmsg(
            MESSAGE_SIZE, socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(4),
            socket.MSG_CMSG_CLOEXEC)
        if len(message) < REQUEST.size:
            raise EOFError
        return Call(self, message, control)

    def send(self, parts, control=()):
        # the caller may have been killed
        with self.lock, contextlib.suppress(OSError):
            self.sock.sendmsg(parts, control)

    def shut(self):
        """Whoever waits for an answer hears that there will be none."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        with self.lock:
            self.sock.close()


class Calls:
    """
    The callers. Handlers get a Call, and return a Result or raise NeError. @lock is held while
    the copy of a descriptor that goes to a caller is here, too.
    """

    def __init__(self, lock):
        self.lock = lock
        self.epoll = select.epoll()
        self.listeners = {}    # by descriptor
        self.connections = {}
        self.ready = []        # descriptors
        self.turn = threading.Lock()   # of who looks for the next message
        self.counting = threading.Lock()
        self.waiting = 0       # threads that want their turn, or have it

    def listen(self, sock, handler):
        # who connects has it from the first message on
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.listeners[sock.fileno()] = sock, handler
        self.epoll.register(sock, select.EPOLLIN)

    def start(self):
        with self.counting:
            self.waiting += 1
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self):
        while True:
            with self.turn:
                call = self._next()
                with self.counting:
                    self.waiting -= 1
                    alone = self.waiting == 0
            if alone:
                self.start()
            self._serve(call)
            with self.counting:
                self.waiting += 1

    def _next(self):
        while True:
            if not self.ready:
                self.ready = [fd for fd, _ in self.epoll.poll()]
            fd = self.ready.pop(0)
            if fd in self.listeners:
                self._accept(*self.listeners[fd])
                continue
            try:
                return self.connections[fd].receive()
            except (OSError, EOFError):
                self.epoll.unregister(fd)
                self.connections.pop(fd).close()

    def _accept(self, listener, handler):
        try:
            sock = listener.accept()[0]
        except OSError:
            # it comes again, unless the caller has gone
            return
        self.connections[sock.fileno()] = Connection(sock, handler)
        self.epoll.register(sock, select.EPOLLIN)

    def _serve(self, call):
        try:
            result = call.connection.handler(call)
        except NeError as e:
            result = e
        except BaseException:
            call.connection.shut()
            raise
        finally:
            # a copy keeps an enclave alive: it must be gone when the caller goes on
            call.close()
        self._answer(call, result)

    def _answer(self, call, result):
        if isinstance(result, NeError):
            call.connection.send([ANSWER.pack(call.id, -1, result.errno, 0)])
        elif result.fd is not None:
            # no sweep() between, which would find this copy of the descriptor
            with self.lock, result.fd:
                call.connection.send(
                    [ANSWER.pack(call.id, 0, 0, 1), result.data],
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                      array.array('i', [result.fd.fileno()]))])
        else:
            call.connection.send([ANSWER.pack(call.id, result.value, 0, 0), result.data])
