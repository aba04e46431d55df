#
# test_stress.py: fifty clients that do everything at once
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Fifty clients, each with a connection of its own, define, start, watch, end and undefine
the same few domains for a minute, at random. Each call may fail, but only for what others
may have done before it, and none may hang. At the end the daemon's lists, its files and
the processes have to agree.

It takes more than a minute of all processors: make check-slow runs it. The numbers of a
failed run are repeated with NITRO_STRESS_SEED.
"""

import collections
import contextlib
import os
import random
import threading
import time

import libvirt

import taprunner
from daemon import wait_until
from e2etest import EnclaveTest, StreamConsole, domain_xml

CLIENTS = 50
NAMES = [f"stress{number}" for number in range(10)]
SECONDS = 60

# A call that waits for a domain's job waits for another client's start or end
CALL_SECONDS = 60

# The domain is gone or there already, runs or does not, ends while it starts
EXPECTED = {
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_OPERATION_FAILED,
    libvirt.VIR_ERR_OPERATION_ABORTED,
}


class Client(threading.Thread):
    """One client. Its numbers depend on @seed alone, their effect does not."""

    def __init__(self, uri, seed, deadline):
        super().__init__(daemon=True)
        self.uri = uri
        self.random = random.Random(seed)
        self.deadline = deadline
        self.calls = collections.Counter()
        self.unexpected = []
        self.longest = {}
        self.conn = None
        # what is done, and how often
        self.operations = {
            self.define: 6, self.undefine: 2, self.start_domain: 6, self.create: 2,
            self.destroy: 3, self.shutdown: 1, self.reboot: 1, self.reset: 1,
            self.describe: 20, self.list: 10, self.statistics: 10, self.look_up: 10,
            self.console: 2, self.autostart: 3, self.reconnect: 2,
        }

    def run(self):
        self.conn = libvirt.open(self.uri)
        operations, weights = zip(*self.operations.items())
        while time.monotonic() < self.deadline:
            operation = self.random.choices(operations, weights)[0]
            name = operation.__name__
            begin = time.monotonic()
            try:
                operation()
                self.calls[name] += 1
            except libvirt.libvirtError as error:
                if error.get_error_code() not in EXPECTED:
                    self.unexpected.append((name, error.get_error_code(), str(error)))
                self.calls[f"{name}, refused"] += 1
            except Exception as error:  # pylint: disable=broad-except
                self.unexpected.append((name, None, repr(error)))
            self.longest[name] = max(self.longest.get(name, 0), time.monotonic() - begin)
        self.conn.close()

    def domain(self):
        return self.conn.lookupByName(self.random.choice(NAMES))

    def xml(self):
        return domain_xml(self.random.choice(NAMES), heartbeat="no",
                          memory=self.random.choice(["128", "192"]),
                          devices="<console type='pty'/>")

    def define(self):
        self.conn.defineXML(self.xml())

    def undefine(self):
        self.domain().undefine()

    def start_domain(self):
        self.domain().create()

    def create(self):
        self.conn.createXML(self.xml())

    def destroy(self):
        self.domain().destroy()

    def shutdown(self):
        self.domain().shutdown()

    def reboot(self):
        self.domain().reboot()

    def reset(self):
        self.domain().reset()

    def describe(self):
        dom = self.domain()
        dom.XMLDesc()
        dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        dom.info()
        dom.state()

    def list(self):
        self.conn.listAllDomains()
        self.conn.listDomainsID()
        self.conn.listDefinedDomains()

    def statistics(self):
        self.conn.getAllDomainStats()

    def look_up(self):
        dom = self.domain()
        self.conn.lookupByUUIDString(dom.UUIDString())
        dom.isActive()
        dom.isPersistent()

    def console(self):
        console = StreamConsole(self.conn, self.domain(), libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        # another client takes it over
        with contextlib.suppress(libvirt.libvirtError):
            console.read()
        console.close()

    def autostart(self):
        dom = self.domain()
        dom.setAutostart(not dom.autostart())

    def reconnect(self):
        self.conn.close()
        self.conn = libvirt.open(self.uri)


class Stress(EnclaveTest):
    """See the comment at the top of the file."""

    def names(self, *where):
        """Returns the names of the domains with a file in the directory @where."""
        directory = os.path.join(*where)
        return sorted(name.removesuffix(".xml") for name in os.listdir(directory)
                      if name.endswith(".xml"))

    def helpers(self):
        return [pid for pid, name in self.living().items() if name == "libvirt_nitro"]

    def check_consistent(self):
        """All that tells which domains there are tells the same."""
        doms = self.conn.listAllDomains()
        active = sorted(dom.name() for dom in doms if dom.isActive())
        inactive = sorted(dom.name() for dom in doms if not dom.isActive())
        persistent = sorted(dom.name() for dom in doms if dom.isPersistent())
        self.assertEqual(len(doms), len({dom.UUIDString() for dom in doms}))
        self.assertEqual(sorted(self.conn.lookupByID(number).name()
                                for number in self.conn.listDomainsID()), active)
        self.assertEqual(sorted(self.conn.listDefinedDomains()), inactive)
        self.assertEqual(sorted(set(inactive) - set(persistent)), [], "inactive and transient")
        self.assertEqual(self.names(self.daemon.config_dir, "nitro"), persistent)
        self.assertEqual(self.names(self.daemon.state_dir, "nitro", "run"), active)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: len(self.helpers()) == len(active), 30, "helpers")
        self.assertEqual(len(self.helpers()), len(active), self.living())
        for dom in doms:
            self.assertIn(dom.state()[0], (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_SHUTOFF))

    def test_clients(self):
        """no deadlock, no crash, nothing but expected errors, consistent at the end"""
        seed = int(os.environ.get("NITRO_STRESS_SEED", time.time()))
        pid = self.daemon.process.pid
        deadline = time.monotonic() + SECONDS
        clients = [Client(self.daemon.uri, seed + number, deadline) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(max(0, deadline - time.monotonic()) + CALL_SECONDS)
            self.assertFalse(client.is_alive(), f"a call hangs; seed {seed}")

        calls = sum((client.calls for client in clients), collections.Counter())
        longest = {name: max(client.longest.get(name, 0) for client in clients)
                   for name in clients[0].longest}
        print(f"seed {seed}: {sum(calls.values())} calls: {dict(calls)}\nlongest: "
              + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest.items()),
              flush=True)
        unexpected = [error for client in clients for error in client.unexpected]
        self.assertEqual(unexpected[:10], [], f"{len(unexpected)} errors; seed {seed}")
        self.assertEqual(self.daemon.process.pid, pid)
        self.assertIsNone(self.daemon.process.poll(), "the daemon has ended")
        for operation in ("define", "undefine", "start_domain", "create", "destroy", "shutdown"):
            self.assertGreater(calls[operation], 0, f"{operation} never worked")
        self.check_consistent()

        # and as a new daemon sees it
        self.daemon.restart()
        self.reconnect()
        self.check_consistent()


if __name__ == "__main__":
    taprunner.main()
