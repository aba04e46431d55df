# hostilehelper.py: a helper that tests start by way of <emulator>, and that is up to no good
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The test writes a script, named libvirt_nitro, that begins with
#
#     helper = hostilehelper.Helper()
#
# and then does what its test is about with the functions of that; serve() behaves well from then
# on. No enclave is run: to the daemon a helper is what it says.

import json
import os
import selectors
import signal
import socket
import sys
import time

PCR = 'c' * 96

# What a helper of version 1 answers
MEASUREMENTS = {'hash': 'sha384', 'pcr0': PCR, 'pcr1': PCR, 'pcr2': PCR}


class Helper:
    def __init__(self):
        arguments = sys.argv[1:]
        # the options without a value are of no interest
        self.options = dict(zip(arguments, arguments[1:]))
        self.cid = int(self.options['--cid']) if '--cid' in self.options else None
        self.listener = socket.socket(fileno=int(self.options['--control-fd']))
        self.listener.setblocking(True)
        self.answers = {'query-status': {'phase': 'boot', 'unprotected': []},
                        'query-measurements': MEASUREMENTS,
                        'terminate': {}}
        self.gone = self.stay  # what is done when nobody listens any more
        self.accept()

    def accept(self):
        self.control = self.listener.accept()[0]
        self.control.setblocking(True)
        self.buffer = b''

    # What is said

    def raw(self, data):
        try:
            self.control.sendall(data.encode() if isinstance(data, str) else data)
        except (BrokenPipeError, ConnectionResetError):
            self.gone()

    def say(self, message):
        self.raw(json.dumps(message) + '\n')

    def greet(self, **more):
        self.say({'libvirt-nitro': {'protocol': 1, 'version': '0.1.0', **more}})

    def event(self, name, **data):
        self.say({'event': name, 'data': data})

    def started(self):
        self.event('started', unprotected=[], **({} if self.cid is None else {'cid': self.cid}))

    def boot(self):
        """All that belongs to a good start"""
        self.greet()
        self.started()
        self.event('booted')
        self.running()

    def running(self):
        self.answers['query-status'] = {'phase': 'running', 'unprotected': [],
                                        **({} if self.cid is None else {'cid': self.cid})}

    def flood(self, data):
        """Says @data for ever."""
        chunk = data * (65536 // len(data) + 1)
        while True:
            self.raw(chunk)

    # What is heard

    def command(self):
        """Waits for the next command; returns (name, id), or None at the end of the connection."""
        while b'\n' not in self.buffer:
            data = self.control.recv(65536)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        command = json.loads(line)
        return command['command'], command['id']

    def answer(self, name, number):
        self.say({'return': self.answers[name], 'id': number})
        if name == 'terminate':
            self.event('exited', reason='terminated')
            sys.exit()

    def serve(self):
        """Behaves well, also to the next daemon."""
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ)
        selector.register(self.control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is self.listener:
                    self.accept()
                    self.greet()
                    selector.register(self.control, selectors.EVENT_READ)
                    continue
                command = self.command() if key.fileobj is self.control else None
                if command:
                    self.answer(*command)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()

    # What is done besides

    def stay(self):
        """Lives on, whatever is asked of it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while True:
            time.sleep(60)

    def await_file(self, name):
        """Waits until the test has made the file @name beside the script; returns its content."""
        path = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
        while not os.path.exists(path):
            time.sleep(0.02)
        with open(path, 'rb') as file:
            return file.read()
