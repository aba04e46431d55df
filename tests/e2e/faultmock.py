#
# faultmock.py: arms the faults of tests/faultmock.c in a daemon that runs, and lists its calls
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Flow: FaultMock() makes the shared file -> environment() for the daemon -> with record(): what
it does has its calls in .calls -> with fault(): one of these fails.

    mock.fault("connect", errno.EAGAIN, path="*/control", skip=1)

has the second connect() to such a path fail; count=-1 means all from then on. Calls: open (and
openat, opendir), read, write, fsync (and fdatasync), rename, unlink (and unlinkat), mkdir,
socket, bind, connect, accept, recv, send, pipe, fork, pthread_create, pidfd_open,
pidfd_send_signal.
"""

import contextlib
import ctypes
import mmap
import os
import sys
import typing

import daemon
import nitrodevmock

FAULTS = 8
CALLS = 8192


class _Fault(ctypes.Structure):
    _fields_ = [("armed", ctypes.c_int32), ("error", ctypes.c_int32), ("skip", ctypes.c_int32),
                ("count", ctypes.c_int32), ("hits", ctypes.c_int32),
                ("call", ctypes.c_char * 20), ("thread", ctypes.c_char * 16),
                ("path", ctypes.c_char * 220)]


class _Call(ctypes.Structure):
    _fields_ = [("error", ctypes.c_int32), ("child", ctypes.c_int32), ("done", ctypes.c_int32),
                ("call", ctypes.c_char * 20), ("thread", ctypes.c_char * 16),
                ("path", ctypes.c_char * 220)]


class _Control(ctypes.Structure):
    _fields_ = [("recording", ctypes.c_int32), ("ncalls", ctypes.c_int32),
                ("faults", _Fault * FAULTS), ("calls", _Call * CALLS)]


class Call(typing.NamedTuple):
    """A call that the daemon has made."""
    name: str
    path: str     # "" where it has none
    thread: str   # the name of the thread
    child: bool   # in a child that has not executed its program yet
    error: int    # errno that was injected, or 0


class FaultMock:
    """See the comment at the top of the file. @path is that of the shared file."""

    LIBRARY = os.path.join(daemon.BUILD, "tests", "faultmock.so")

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(ctypes.sizeof(_Control))
            self.map = mmap.mmap(file.fileno(), 0)
        # session daemons are another user's
        os.chmod(path, 0o666)
        self.control = _Control.from_buffer(self.map)

    def environment(self):
        """What the environment of the daemon has besides."""
        libraries = filter(None, (nitrodevmock.libasan_of(daemon.DAEMON), self.LIBRARY))
        return {"LD_PRELOAD": " ".join(libraries), "FAULTMOCK_CONTROL": self.path,
                "FAULTMOCK_PROGRAM": os.path.basename(daemon.DAEMON)}

    def calls(self):
        """Returns the calls of the latest record(), and those that failed since."""
        count = min(self.control.ncalls, CALLS)
        return [Call(call.call.decode(), call.path.decode(errors="replace"),
                     call.thread.decode(), bool(call.child), call.error)
                for call in self.control.calls[:count] if call.done]

    def clear(self):
        self.control.recording = 0
        for call in self.control.calls[:min(self.control.ncalls, CALLS)]:
            call.done = 0
        self.control.ncalls = 0

    @contextlib.contextmanager
    def record(self):
        """Has all calls listed that are made within."""
        self.clear()
        self.control.recording = 1
        try:
            yield
        finally:
            self.control.recording = 0

    def arm(self, call, error, path="*", thread="*", skip=0, count=1):
        """
        From now on the call fails with the errno @error after @skip times, @count times (-1:
        for ever), where the patterns (as of a shell) fit. Returns what disarm() takes.
        """
        fault = next((fault for fault in self.control.faults if not fault.call), None)
        if fault is None:
            raise OverflowError(f"there are {FAULTS} faults armed")
        fault.call = call.encode()
        fault.error, fault.skip, fault.count, fault.hits = error, skip, count, 0
        fault.path, fault.thread = path.encode(), thread.encode()
        fault.armed = 1
        return fault

    @staticmethod
    def disarm(fault):
        """Returns how often it has happened."""
        fault.armed = 0
        fault.call = b""
        return fault.hits

    @contextlib.contextmanager
    def fault(self, *args, **kwargs):
        """As arm(), within; the value has the member hits."""
        fault = self.arm(*args, **kwargs)
        try:
            yield fault
        finally:
            self.disarm(fault)


if __name__ == "__main__":
    sys.exit("faultmock.py is a module: see test_injected.py")
