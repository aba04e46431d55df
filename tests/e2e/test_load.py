#
# test_load.py: many enclaves, many starts and many clients at a time
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Five hundred running domains are taken over, fifty domains start that never boot, a thousand
clients hold a connection and say nothing: the daemon answers, and loses nothing. The enclaves
are those of tests/quickhelper.c.
"""

import contextlib
import os
import resource
import signal
import socket
import time

import taprunner
from daemon import wait_until
from e2etest import (BOOTED, CRASHED, DESTROYED, RUNNING, SHUTOFF, STARTED, Background, libvirt)
from quicktest import QuickTest

# Running domains that the next daemon takes over; so many clients start them
DOMAINS = 500
CLIENTS = 8

# Starts at once
STARTS = 50

# Connections that nobody uses
IDLE = 1000

# s: for an answer while many starts wait
ANSWER_SECONDS = 1

# What a system's daemon gets from its unit, or a user's from the shell
SOFT_LIMIT = 1024


class Takeover(QuickTest):

    seconds = 300

    def start_many(self, numbers):
        conn = libvirt.open(self.daemon.uri)
        for number in numbers:
            conn.createXML(self.xml(f"many-{number}"), 0)
        conn.close()

    def test_many(self):
        """500 domains: the daemon answers meanwhile, and has each of them again"""
        begin = time.monotonic()
        starts = [Background(self.start_many, range(first, DOMAINS, CLIENTS))
                  for first in range(CLIENTS)]
        for start in starts:
            start.result()
        ids = {dom.UUIDString(): dom.ID() for dom in self.conn.listAllDomains()}
        helpers = self.helpers()
        print(f"{len(ids)} starts: {time.monotonic() - begin:.1f} s", flush=True)
        self.assertEqual(len(ids), DOMAINS)
        self.assertEqual(helpers.keys(), ids.keys())

        self.daemon.stop()
        begin = time.monotonic()
        self.daemon.start()
        self.reconnect()
        longest = self.longest_answer()
        self.assertEqual({dom.UUIDString(): dom.ID() for dom in self.conn.listAllDomains()}, ids)
        print(f"taken over: {time.monotonic() - begin:.1f} s; longest answer {longest:.2f} s; "
              f"{self.threads()} threads", flush=True)
        self.assertLess(longest, ANSWER_SECONDS)
        self.assertEqual(self.helpers(), helpers)
        self.assertEqual(self.events.seen, [])
        self.destroy_many()

    def threads(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/task"))

    def longest_answer(self):
        """Asks until all domains are taken over; returns the s that the slowest answer took."""
        longest = 0
        waiting = set(range(DOMAINS))
        end = time.monotonic() + 60
        threads = 0
        while waiting and time.monotonic() < end:
            threads = max(threads, self.threads())
            for number in sorted(waiting)[:50]:
                begin = time.monotonic()
                dom = self.conn.lookupByName(f"many-{number}")
                self.assertEqual(dom.state(), [RUNNING, BOOTED])
                # with its helper, which it can ask for the measurements
                if dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK:
                    with contextlib.suppress(libvirt.libvirtError):
                        dom.launchSecurityInfo()
                        waiting.discard(number)
                longest = max(longest, time.monotonic() - begin)
        self.assertEqual(waiting, set(), "not taken over")
        self.assertLess(threads, 200)
        return longest

    def destroy_many(self):
        def destroy(first):
            conn = libvirt.open(self.daemon.uri)
            for number in range(first, DOMAINS, CLIENTS):
                conn.lookupByName(f"many-{number}").destroy()
            conn.close()

        for end in [Background(destroy, first) for first in range(CLIENTS)]:
            end.result()
        wait_until(lambda: len(self.events.seen) == DOMAINS, 20, "the events")


class Starts(QuickTest):

    def ask(self, name):
        """Asks all that a user asks for. Returns {question: s that the answer took}."""
        conn = libvirt.open(self.daemon.uri)
        dom = conn.lookupByName(name)
        took = {}
        for question, call in (("list", conn.listAllDomains), ("dominfo", dom.info),
                               ("state", dom.state), ("dumpxml", dom.XMLDesc),
                               ("capabilities", conn.getCapabilities),
                               ("stats", conn.getAllDomainStats),
                               ("controlInfo", dom.controlInfo)):
            begin = time.monotonic()
            call()
            took[question] = time.monotonic() - begin
        del dom
        conn.close()
        return took

    def test_never_boot(self):
        """50 starts at once that never boot: queries are answered within a second"""
        names = [f"slow-{number}" for number in range(STARTS)]
        for name in names:
            self.conn.defineXML(self.xml(name, "quick.boot=never"))
        idle = self.conn.defineXML(self.xml("idle"))
        starts = [Background(self.conn.lookupByName(name).create) for name in names]
        wait_until(lambda: len(self.conn.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)) == STARTS, 60, "the starts")
        took = {}
        for name in ("idle", "slow-0", f"slow-{STARTS - 1}"):
            for question, seconds in self.ask(name).items():
                took[question] = max(took.get(question, 0), seconds)
        print("answers while 50 domains start: " + ", ".join(
            f"{question} {seconds:.3f} s" for question, seconds in took.items()), flush=True)
        self.assertLess(max(took.values()), ANSWER_SECONDS, took)
        for name in names:
            state = self.conn.lookupByName(name).state()
            self.assertEqual(state, [libvirt.VIR_DOMAIN_PAUSED,
                                     libvirt.VIR_DOMAIN_PAUSED_STARTING_UP], name)
        print(f"{len(self.helpers())} of {STARTS} have a helper", flush=True)
        self.assertEqual(idle.isActive(), 0)
        # those that wait for their turn can be destroyed as those that wait for their guest
        for name in reversed(names):
            self.conn.lookupByName(name).destroy()
        for start in starts:
            with self.assertRaises(libvirt.libvirtError):
                start.result(30)
        for name in names:
            self.assertEqual(self.conn.lookupByName(name).state()[0], SHUTOFF)
            self.assertNotIn(STARTED, self.events.of(name))
        # and another one starts as ever
        idle.create()
        idle.destroy()

    def test_turns(self):
        """more starts than turns: all of them run in the end"""
        names = [f"turn-{number}" for number in range(STARTS)]
        for name in names:
            self.conn.defineXML(self.xml(name, "quick.boot=0.2"))
        starts = [Background(self.conn.lookupByName(name).create) for name in names]
        for start in starts:
            start.result(60)
        for name in names:
            self.assertState(self.conn.lookupByName(name), RUNNING, BOOTED)
            self.conn.lookupByName(name).destroy()

    def test_daemon_ends(self):
        """a daemon that ends while starts wait for their turn leaves no half of one"""
        names = [f"cut-{number}" for number in range(STARTS)]
        for name in names:
            self.conn.defineXML(self.xml(name, "quick.boot=never"))
        starts = [Background(self.conn.lookupByName(name).create) for name in names]
        wait_until(lambda: len(self.conn.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)) == STARTS, 60, "the starts")
        self.daemon.restart()
        for start in starts:
            with self.assertRaises(libvirt.libvirtError):
                start.result(30)
        self.reconnect()
        helpers = self.helpers()
        for name in names:
            dom = self.conn.lookupByName(name)
            self.assertEqual(dom.isActive(), dom.UUIDString() in helpers, name)
            if dom.isActive():
                dom.destroy()


class Idle(QuickTest):
    """Connections that say nothing: to a user's daemon any program of hers can have them"""

    @classmethod
    def setUpClass(cls):
        # for the connections of this process
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 4 * IDLE:
            cls.skipTest(cls, f"this process may have {hard} descriptors only")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * IDLE, hard))
        super().setUpClass()

    def tearDown(self):
        for client in self.idle:
            client.close()

    def connect(self, number):
        self.idle = []
        for _ in range(number):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            self.idle.append(client)
            with contextlib.suppress(BlockingIOError):
                client.connect(self.daemon.socket)

    def limited(self, hard):
        """The daemon again, with the limits that most programs have."""
        self.daemon.stop()
        prefix = self.daemon.prefix
        self.daemon.prefix = ["/usr/bin/prlimit", f"--nofile={SOFT_LIMIT}:{hard}"] + prefix
        try:
            self.daemon.start()
        finally:
            self.daemon.prefix = prefix
        self.reconnect()

    def check_restart(self):
        """An enclave that crashes is restarted, without a client's help."""
        uuid = self.conn.lookupByName("again").UUIDString()
        (helper,) = self.helpers()[uuid]
        os.kill(helper, signal.SIGKILL)
        wait_until(lambda: self.helpers().get(uuid, [helper]) != [helper], 30, "the restart")
        (helper,) = self.helpers()[uuid]
        return helper

    def run_idle(self, hard, number):
        self.limited(hard)
        self.conn.createXML(self.xml("again", elements="<on_crash>restart</on_crash>"), 0)
        self.connect(number)
        time.sleep(1)
        self.check_restart()
        # the connection that there was, and those that end make room
        wait_until(lambda: self.conn.lookupByName("again").state() == [RUNNING, BOOTED], 10,
                   "the restarted domain")

    def test_soft_limit(self):
        """1,000 of them with the usual limits: list works, and so does a restart"""
        self.run_idle(4 * IDLE, IDLE)
        begin = time.monotonic()
        listed = self.daemon.virsh("list", "--name", timeout=20)
        print(f"list beside {IDLE} idle clients: {time.monotonic() - begin:.1f} s", flush=True)
        self.assertEqual((listed.returncode, listed.stdout.split()), (0, ["again"]),
                         listed.stderr)
        self.conn.lookupByName("again").destroy()
        self.events.check("again", [STARTED, CRASHED, STARTED, DESTROYED])

    def test_hard_limit(self):
        """with no more to be had they do not take what the daemon's own enclaves need"""
        self.run_idle(SOFT_LIMIT, IDLE + 500)
        for client in self.idle:
            client.close()
        self.idle = []
        listed = self.daemon.virsh("list", "--name", timeout=20)
        self.assertEqual((listed.returncode, listed.stdout.split()), (0, ["again"]),
                         listed.stderr)
        self.conn.lookupByName("again").destroy()


if __name__ == "__main__":
    taprunner.main()
