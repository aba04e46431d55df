# guestrun.py: runs tests in a QEMU guest, and tells the host of it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What the first processes of both guests share (guest/init, kernel/guestinit.py); qemuguest.py is
their counterpart on the host. A test is a dict: "name", "cmd", and "env", what its environment
has besides the usual one. To the host go lines of JSON:

    {"test": NAME, "line": a line of the test's standard output}
    {"test": NAME, "log": a line of its standard error}
    {"test": NAME, "status": its exit status}
"""

import concurrent.futures
import ctypes
import json
import os
import subprocess
import threading

ENVIRONMENT = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'HOME': '/root', 'USER': 'root',
               'LC_ALL': 'C.UTF-8'}
POWER_OFF = 0x4321fedc  # <linux/reboot.h>

libc = ctypes.CDLL(None, use_errno=True)


def mount(kind, where, options='', source='none', flags=0):
    """Mounts on the directory @where, which is made if it is not there."""
    os.makedirs(where, exist_ok=True)
    if libc.mount(source.encode(), where.encode(), kind.encode(), flags, options.encode()):
        raise OSError(ctypes.get_errno(), f'mount {where}: {os.strerror(ctypes.get_errno())}')


class Host:
    """Lines to the host, of several tests at once, by the terminal @stream."""

    def __init__(self, stream):
        self.lock = threading.Lock()
        self.stream = stream

    def tell(self, **message):
        with self.lock:
            self.stream.write(json.dumps(message) + '\n')
            self.stream.flush()

    def forward(self, name, kind, lines):
        for line in lines:
            self.tell(test=name, **{kind: line.rstrip('\n')})

    def run(self, test):
        name = test['name']
        with subprocess.Popen(test['cmd'], env={**ENVIRONMENT, **test['env']}, cwd='/',
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors='backslashreplace',
                              start_new_session=True) as process:
            log = threading.Thread(target=self.forward, args=(name, 'log', process.stderr))
            log.start()
            self.forward(name, 'line', process.stdout)
            status = process.wait()
            log.join()
        self.tell(test=name, status=status)

    def run_all(self, tests):
        """Runs as many at once as there are CPUs."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for result in [pool.submit(self.run, test) for test in tests]:
                result.result()


def power_off():
    os.sync()
    libc.reboot(POWER_OFF)
