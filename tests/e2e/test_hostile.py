#
# test_hostile.py: helpers that are not what they should be
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A helper holds a guest at bay, and may have been taken over by it. Those of these tests are scripts
(tests/hostilehelper.py) that floods the daemon, lies to it or does not do as it is told. After
each the daemon is well and quick, the domain has ended with its helper, and nothing is left; what
a text could do to a terminal or a log is gone. What lines are refused at all is tested by
nitromonitormessagetest.c.
"""

import contextlib
import json
import os
import re
import statistics
import subprocess
import time

import daemon
import nitrodevmock
import taprunner
from daemon import wait_until
from e2etest import (ADDED, BOOTED, CRASHED, DESTROYED, RUNNING, SHUTDOWN, SHUTOFF, STARTED,
                     Background, EnclaveTest, libvirt, quick_xml)
from test_device import DeviceTest

# What every script begins with; it is run by a user who may not be able to write there.
PROLOGUE = f"""#!/usr/bin/python3 -B
import os, signal, sys, time
sys.path.insert(0, {os.path.join(daemon.SOURCE, "tests")!r})
import hostilehelper
helper = hostilehelper.Helper()
"""

# s: a query while a helper floods
QUICK = 0.2

BROKEN = "has broken the control protocol"

# What a terminal takes for a command, or a reader for something else; lines are checked one by one
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
NASTY = "\x1b[31mred\x1b]0;title\x07\r\nsecond\x08\x7f\x9b31m\u202eback\u2066\u2028end"


class HostileTest(EnclaveTest):

    @classmethod
    def warm_up(cls):
        super().warm_up()
        cls.log_start = 0

    def setUp(self):
        super().setUp()
        self.log_start = os.path.getsize(self.daemon.log)
        self.addCleanup(self.check_log)
        self.scripts = 0
        self.good = set() # PIDs of helpers that live on

    def log(self):
        """Returns what the daemon has logged since the last domain was forgotten."""
        with open(self.daemon.log, encoding="utf-8", errors="surrogateescape") as log:
            log.seek(self.log_start)
            return log.read()

    def check_log(self):
        """The daemon has answered until the end, and what it has logged can be looked at."""
        self.assertIsNone(self.daemon.process.poll(), "the daemon has ended")
        text = self.log()
        self.assertIsNone(UNPRINTABLE.search(text), text)
        self.assertNotRegex(text, "[\ud800-\udfff]")

    def script(self, body):
        """Writes the helper that does @body; returns its path."""
        self.scripts += 1
        # under its own name, or it would not be known as a helper
        path = os.path.join(self.path(f"bin{self.scripts}"), "libvirt_nitro")
        os.mkdir(os.path.dirname(path))
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        with open(path, "w", encoding="utf-8") as script:
            script.write(PROLOGUE + body)
        os.chmod(path, 0o755)
        return path

    def tell(self, path, name, content=""):
        """Makes the file @name that the helper @path waits for."""
        where = os.path.join(os.path.dirname(path), name)
        with open(where + ".new", "w", encoding="utf-8") as file:
            file.write(content)
        os.rename(where + ".new", where)

    def define(self, name, body, devices="", **more):
        """Returns the domain @name, whose helper does @body, and the helper's path."""
        path = self.script(body)
        xml = quick_xml(name, devices=f"<emulator>{path}</emulator>{devices}", **more)
        return self.conn.defineXML(xml), path

    def refuse(self, body, *words, code=libvirt.VIR_ERR_INTERNAL_ERROR, **more):
        """A start with a helper that does @body fails, in short time, and all is as before."""
        dom, _ = self.define("hostile", body, **more)
        with self.assertRaises(libvirt.libvirtError) as raised:
            dom.create()
        text = raised.exception.get_error_message()
        self.assertEqual(raised.exception.get_error_code(), code, text)
        for word in words:
            self.assertIn(word, text)
        self.assertIsNone(UNPRINTABLE.search(text), text)
        self.assertLess(len(text), 2500)
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
        self.events.check("hostile", [ADDED])
        self.forget(dom)

    def forget(self, dom):
        name = dom.name()
        dom.undefine()
        self.events.wait(name, libvirt.VIR_DOMAIN_EVENT_UNDEFINED,
                         libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED)
        self.events.seen.clear()
        self.check_log()
        self.log_start = os.path.getsize(self.daemon.log)

    def check_ended(self, dom, reason):
        self.wait_state(dom, SHUTOFF, reason)
        self.assertEqual(dom.isActive(), 0)
        wait_until(lambda: not self.helpers(), 5, "the helper's end")

    def check_aside(self, dom):
        """A helper of another daemon that is not understood is left alone until it is destroyed."""
        helper = self.helper_of(dom)
        wait_until(lambda: any("set aside" in text for text in dom.messages(0)), 20, "a message")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertIn(f"process {helper}, is left alone", self.log())
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)

    def helpers(self):
        return {pid for pid, name in self.living().items()
                if name == "libvirt_nitro" and pid not in self.good}

    def start_good(self):
        """Returns a domain whose helper behaves well until its end."""
        dom, _ = self.define("other", "helper.boot()\nhelper.serve()")
        dom.create()
        self.good = {self.helper_of(dom)}
        return dom

    def crash(self, body, *words, **more):
        """A helper whose enclave runs does @body, is ended, and the domain has crashed."""
        dom, path = self.define("hostile", "helper.boot()\nhelper.await_file('go')\n" + body,
                                **more)
        dom.create()
        self.assertState(dom, RUNNING, BOOTED)
        self.tell(path, "go")
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        self.events.check("hostile", [ADDED, STARTED, CRASHED])
        for word in words:
            self.assertEqual(self.log().count(word), 1, self.log())
        self.forget(dom)


class Floods(HostileTest):
    """One helper floods, others are asked for meanwhile."""

    FLOODS = {
        "unknown events": r"""b'{"event": "news"}\n'""",
        "events": r"""b'{"event": "started", "data": {}}\n'""",
        "a line without end": "b'x' * 65536",
        "an object without end": r"""b'{"event": "a", "data": {"x": [' + b'1,' * 32000""",
        "small lines": r"b'{}\n'",
        "empty lines": r"b'\n'",
        "replies": r"""b'{"return": {}, "id": 1}\n'""",
        "nesting": r"b'{\"event\":' + b'[' * 60000 + b'\n'",
        "members": r"""b'{' + b','.join(b'"m%d": 1' % i for i in range(6000)) + b'}\n'""",
        "long texts": r"""b'{"event": "news", "text": "' + b'\\u001b' * 10000 + b'"}\n'""",
        "long lists": r"""b'{"event": "news", "list": [' + b'1,' * 30000 + b'1]}\n'""",
    }

    def measure(self, call, until):
        """Calls again and again until @until is true, 20 times at least; returns the seconds."""
        took = []
        while len(took) < 20 or not until():
            begin = time.monotonic()
            call()
            took.append(time.monotonic() - begin)
        return took

    def start_refused(self, dom):
        with self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, BROKEN):
            dom.create()

    def check_queries(self, kind, other):
        """Starts the domain again and again: queries of @other take no longer than ever."""
        end = time.monotonic() + 2

        def starts(dom=libvirt.open(self.daemon.uri).lookupByName("hostile")):
            count = 0
            while time.monotonic() < end:
                self.start_refused(dom)
                count += 1
            return count

        flood = Background(starts)
        took = self.measure(other.info, lambda: not flood.thread.is_alive())
        self.assertGreater(flood.result(), 0)
        print(f"{kind}: {len(took)} queries, median {statistics.median(took) * 1000:.1f} "
              f"ms, longest {max(took) * 1000:.1f} ms")
        self.assertLess(statistics.median(took), QUICK)
        # of the daemon's own doing; a busy machine has its share in it
        self.assertLess(max(took), 10 * QUICK)

    def test_floods(self):
        """each kind, while others are asked for, but for sanitizers"""
        other = self.start_good()
        for kind, data in self.FLOODS.items():
            with self.subTest(kind):
                dom, _ = self.define("hostile", f"helper.greet()\nhelper.flood({data})")
                self.start_refused(dom)
                # the child of a busy daemon can wait for ever for a lock of gcc 12's libasan
                if not nitrodevmock.libasan_of(daemon.DAEMON):
                    self.check_queries(kind, other)
                self.forget(dom)
        self.assertState(other, RUNNING, BOOTED)
        other.destroy()

    def test_virsh(self):
        """virsh dominfo while a helper floods that has booted"""
        other = self.start_good()
        dom, path = self.define(
            "hostile", "helper.boot()\nhelper.await_file('go')\n"
                       "helper.flood(b'{\"event\": \"news\"}\\n')")
        took = {False: [], True: []}
        for _ in range(7):
            dom.create()
            for flood in took:
                if flood:
                    self.tell(path, "go")
                begin = time.monotonic()
                done = self.daemon.virsh("dominfo", "other")
                took[flood].append(time.monotonic() - begin)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
            os.unlink(os.path.join(os.path.dirname(path), "go"))
        print({flood: [f"{one * 1000:.0f} ms" for one in times] for flood, times in took.items()})
        # of this most is the start of a process, which takes its time on a busy machine
        self.assertLess(statistics.median(took[True]) - statistics.median(took[False]), QUICK)
        other.destroy()

    def test_a_million(self):
        """a million events from a helper whose enclave runs: one line in the log, and crashed"""
        self.crash("for _ in range(1000):\n"
                   "    helper.raw(b'{\"event\": \"news\"}\\n' * 1000)\nhelper.stay()",
                   "domain 'hostile': the helper " + BROKEN, "256 events")

    def test_news(self):
        """events of a newer helper, as many as there may be: nothing happens"""
        dom, _ = self.define("newer", "helper.greet(protocol=7, oldest=1, more=[1])\n"
                                      "helper.started()\n"
                                      "for i in range(256):\n"
                                      "    helper.event(f'news-{i}', text='\\x1b[31m')\n"
                                      "helper.event('booted', more={'x': 1})\nhelper.serve()")
        dom.create()
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(dom.launchSecurityInfo()["nitro-hash"], "sha384")
        dom.destroy()
        self.events.check("newer", [ADDED, STARTED, DESTROYED])
        self.assertEqual(self.log(), "")


class Lies(HostileTest):

    def test_cids(self):
        """a CID that the enclave was not given is refused, whatever it looks like"""
        for cid in (0, 3, 5000, 4294967295, 4294967296, 2 ** 64 + 4, -1, 1e20, "4", None, [4], {},
                    True):
            with self.subTest(cid):
                self.refuse(f"helper.greet()\nhelper.event('started', cid={cid!r})\n"
                                  "helper.event('booted')\nhelper.stay()", BROKEN)
        # nothing has been taken: it is the next one's
        dom, _ = self.define("good", "helper.boot()\nhelper.serve()")
        dom.create()
        self.assertIn("<cid auto='yes' address='4'/>", dom.XMLDesc(0))
        dom.destroy()

    def test_cpus(self):
        """more CPUs than there are vCPUs, or one of them twice"""
        for cpus in ([1, 2, 3], [1, 1], [-1], [99999], ["1"], [], {}):
            with self.subTest(cpus):
                self.refuse(f"helper.greet()\nhelper.event('started', cpus={cpus!r})\n"
                                  "helper.stay()", BROKEN, "'cpus'", vcpu="<vcpu>2</vcpu>")

    def test_order(self):
        """events twice, too early and too late, before and after the boot"""
        started, booted = "helper.started()\n", "helper.event('booted')\n"
        exited = "helper.event('exited', reason='poweroff')\n"
        failed = "helper.event('failed', code='image', text='x')\n"
        for body in (booted, started + started, exited + exited):
            with self.subTest(body):
                self.refuse("helper.greet()\n" + body + "helper.stay()",
                                  *[] if exited in body else [BROKEN],
                                  code=libvirt.VIR_ERR_OPERATION_FAILED if exited in body
                                  else libvirt.VIR_ERR_INTERNAL_ERROR)
        for body in (booted, started, failed):
            with self.subTest(body):
                self.crash(body + "helper.stay()", BROKEN)

    def test_greeting(self):
        """no greeting, a late one, two, and such of another protocol"""
        for greeting in ("helper.started()", "helper.say({})", "helper.greet()\nhelper.greet()",
                         "helper.greet(protocol=0)", "helper.greet(protocol='1')",
                         "helper.greet(protocol=1e20)", "helper.greet(protocol=9, oldest=10)"):
            with self.subTest(greeting):
                self.refuse(greeting + "\nhelper.stay()", BROKEN)
        self.refuse("helper.greet(protocol=9, oldest=2)\nhelper.stay()", "2 to 9, not 1")
        dom, _ = self.define("late", "time.sleep(3)\nhelper.boot()\nhelper.serve()")
        dom.create()
        dom.destroy()

    def test_bytes(self):
        """what is no line of the protocol, before and after the boot"""
        for data in (b"\0\n", b"{}\0\n", b"\xff\xfe\n", b"GET / HTTP/1.0\r\n\r\n", b"[1]\n",
                     b"{}{}\n",
                     b'{"event": "booted", "event": "x", "data": {}}\n',
                     b'{"x\\u001b[31m": 1, "x\\u001b[31m": 2}\n', b'{"event": "\x1b[31m"}\n',
                     b'{"event": 1' + b"0" * 60000 + b"}\n"):
            with self.subTest(data[:40]):
                self.refuse(f"helper.greet()\nhelper.raw({data!r})\nhelper.stay()", BROKEN)
        self.crash("helper.raw(b'{\"event\": \"\\x1b[31m\\xff\"}\\n')\nhelper.stay()", BROKEN)

    def test_halves(self):
        """a line that comes byte by byte is a line; half a one is none"""
        dom, _ = self.define("slow", "helper.greet()\n"
                                     "for byte in b'{\"event\": \"started\", \"data\": {}}\\n':\n"
                                     "    helper.raw(bytes([byte]))\n    time.sleep(0.01)\n"
                                     "helper.event('booted')\nhelper.serve()")
        dom.create()
        dom.destroy()
        self.refuse("helper.greet()\nhelper.started()\n"
                          "helper.raw(b'{\"event\": \"booted\", \"data\": {}}')",
                          "ended while the enclave started",
                          code=libvirt.VIR_ERR_OPERATION_FAILED)
        self.crash("helper.raw(b'{\"event\": \"exited\", \"data\"')")

    def test_texts(self):
        """what the helper says of its failure, in errors and in the log"""
        self.refuse(f"helper.greet()\nhelper.event('failed', code='image', text={NASTY!r})",
                          "?[31mred?", "second", "back?", code=libvirt.VIR_ERR_OPERATION_FAILED)
        self.refuse("helper.greet()\nhelper.event('failed', code='x', text='y' * 60000)",
                          "yyy...")
        dom, _ = self.define("virsh", "helper.greet()\n"
                                      f"helper.event('failed', code='image', text={NASTY!r})")
        done = subprocess.run(self.daemon.virsh_command("start", "virsh"), check=False,
                              env=self.daemon.client_env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        text = done.stderr.decode("utf-8")
        self.assertIn("?[31mred?", text)
        self.assertIsNone(UNPRINTABLE.search(text), text)
        for field in ("code", "reason"):
            with self.subTest(field):
                event = "failed" if field == "code" else "exited"
                self.refuse(f"helper.greet()\nhelper.event({event!r}, {field}={NASTY!r}, "
                                  "text='x')\nhelper.stay()", BROKEN)

    def test_refusals(self):
        """the text of an answer is cleaned, too"""
        dom, _ = self.define("refuser", "helper.boot()\nname, number = helper.command()\n"
                                        "helper.say({'error': {'code': 'internal', "
                                        f"'text': {NASTY!r}}}, 'id': number}})\nhelper.serve()")
        dom.create()
        with self.assertRaises(libvirt.libvirtError) as raised:
            dom.launchSecurityInfo()
        text = raised.exception.get_error_message()
        self.assertIn("?[31mred?", text)
        self.assertIsNone(UNPRINTABLE.search(text), text)
        self.assertState(dom, RUNNING, BOOTED)
        dom.destroy()

    def test_measurements(self):
        """a PCR that is none: an error, and the enclave runs on"""
        for answer in ({}, {"hash": "sha384"}, {"hash": "md5", "pcr0": "c" * 96},
                       {"hash": "sha384", "pcr0": "c" * 95}, {"hash": "sha384", "pcr0": 1},
                       {"hash": "sha384", "pcr0": "\x1b" * 96},
                       {"hash": "sha384", "pcr0": "c" * 96, "pcr1": "g" * 96}):
            with self.subTest(answer):
                dom, _ = self.define("liar", f"helper.answers['query-measurements'] = {answer!r}\n"
                                             "helper.boot()\nhelper.serve()")
                dom.create()
                with self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, "make no sense"):
                    dom.launchSecurityInfo()
                self.assertState(dom, RUNNING, BOOTED)
                dom.destroy()
                self.forget(dom)

    def test_replies(self):
        """replies to no command, with another id, twice, with both parts or none"""
        self.crash("helper.say({'return': {}, 'id': 1})\nhelper.stay()", BROKEN, "no command")
        for reply in ({"return": {}, "id": 2}, {"return": {}, "id": 0}, {"return": {}, "id": "1"},
                      {"return": {}, "id": 1e300}, {"return": {}}, {"id": 1},
                      {"return": {}, "error": {}, "id": 1}, {"return": [], "id": 1},
                      {"error": {"text": NASTY}, "id": None}):
            with self.subTest(reply):
                dom, _ = self.define("odd", "helper.boot()\nhelper.command()\n"
                                            f"helper.say({reply!r})\nhelper.stay()")
                dom.create()
                with self.refused(libvirt.VIR_ERR_OPERATION_FAILED, "did not answer"):
                    dom.launchSecurityInfo()
                self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
                self.events.check("odd", [ADDED, STARTED, CRASHED])
                self.forget(dom)
        dom, _ = self.define("twice", "helper.boot()\ncommand = helper.command()\n"
                                      "helper.answer(*command)\nhelper.answer(*command)\n"
                                      "helper.stay()")
        dom.create()
        self.assertEqual(dom.launchSecurityInfo()["nitro-hash"], "sha384")
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)


class DeviceLies(DeviceTest, HostileTest):
    """On the device the hypervisor may choose the CID, and only the helper knows."""

    def define(self, name, body, devices="", **more):
        path = self.script(body)
        devices += f"<emulator>{path}</emulator>"
        return self.conn.defineXML(self.xml(name, devices=devices, heartbeat="no", **more)), path

    def test_cids(self):
        """one that no enclave can have, none, and another than was asked for"""
        for cid in (0, 3, 4294967295, 4294967300, -1, 1e20, "16"):
            with self.subTest(cid):
                self.refuse(f"helper.greet()\nhelper.event('started', cid={cid!r})\n"
                                  "helper.event('booted')\nhelper.stay()", BROKEN, "'cid'")
        self.refuse("helper.greet()\nhelper.event('started')\nhelper.stay()", BROKEN)
        self.refuse("helper.greet()\nhelper.event('started', cid=21)\nhelper.stay()",
                          "CID is 20, not 21",
                          devices="<vsock><cid auto='no' address='20'/></vsock>")

    def test_cpus(self):
        """more than the enclave has vCPUs, and one twice"""
        for cpus in ([1, 2, 3], [1, 1]):
            with self.subTest(cpus):
                self.refuse(f"helper.greet()\nhelper.event('started', cid=16, cpus={cpus})\n"
                                  "helper.stay()", BROKEN, "'cpus'")

    def test_takeover(self):
        """what was told is kept: the next daemon is not told otherwise"""
        for cid, good in ((4294967294, True), (77, True), (78, False), (4294967295, False)):
            with self.subTest(cid):
                told = cid if good else 77
                dom, _ = self.define("kept", f"helper.cid = {told}\nhelper.boot()\n"
                                     f"helper.answers['query-status']['cid'] = {cid}\n"
                                     "helper.serve()")
                dom.create()
                self.assertEqual(self.cid_of(dom), told)
                self.daemon.restart()
                self.reconnect()
                dom = self.conn.lookupByName("kept")
                if good:
                    wait_until(lambda dom=dom: dom.controlInfo()[0] == 0, 20, "the takeover")
                    self.assertState(dom, RUNNING, BOOTED)
                    self.assertEqual(self.cid_of(dom), told)
                    dom.destroy()
                else:
                    self.assertEqual(self.cid_of(dom), told)
                    self.check_aside(dom)
                self.forget(dom)


class Disobedience(HostileTest):

    def test_silent(self):
        """a helper that says nothing: its start waits, queries do not, and destroy ends it"""
        for body in ("helper.stay()", "helper.greet()\nhelper.stay()",
                     "helper.greet()\nhelper.started()\nhelper.stay()"):
            with self.subTest(body):
                dom, _ = self.define("silent", body)
                start = Background(dom.create)
                wait_until(self.helpers, 10, "the helper")
                begin = time.monotonic()
                self.assertEqual(dom.state()[0], libvirt.VIR_DOMAIN_PAUSED)
                self.assertIn("silent", dom.XMLDesc(0))
                self.assertLess(time.monotonic() - begin, 1)
                dom.destroy()
                with self.refused(libvirt.VIR_ERR_OPERATION_ABORTED, "was destroyed"):
                    start.result()
                self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
                self.forget(dom)

    def test_exited_while_starting(self):
        """the end of an enclave that has not booted, from a helper that goes, or does not"""
        for end, seconds in (("", 8), ("helper.stay()", 30)):
            with self.subTest(end or "goes"):
                begin = time.monotonic()
                self.refuse("helper.greet()\nhelper.event('exited', reason='poweroff')\n" + end,
                                  "ended while the enclave started",
                                  code=libvirt.VIR_ERR_OPERATION_FAILED)
                self.assertLess(time.monotonic() - begin, seconds)

    def test_exited_lives_on(self):
        """one that has told its end and keeps its connection is ended"""
        dom, path = self.define("undead", "helper.boot()\nhelper.await_file('go')\n"
                                          "helper.event('exited', reason='poweroff')\n"
                                          "helper.stay()")
        dom.create()
        self.tell(path, "go")
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
        self.events.check("undead", [ADDED, STARTED, SHUTDOWN])
        self.assertIn("keeps the connection", self.log())

    def test_ignores_terminate(self):
        """neither words nor SIGTERM: it is killed"""
        dom, _ = self.define("deaf", "helper.boot()\nhelper.stay()")
        dom.create()
        dom.destroy()
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
        self.events.check("deaf", [ADDED, STARTED, DESTROYED])

    def hang_up(self, body):
        """Returns the running domain whose helper has done @body, which ends its connection."""
        dom, path = self.define("hostile", "import socket\nhelper.boot()\n"
                                "helper.await_file('go')\n" + body)
        dom.create()
        self.tell(path, "go")
        wait_until(lambda: "has ended, and the helper lives" in self.log(), 10, "the log")
        return dom

    def test_closes_and_lives_on(self):
        """one that hangs up and lives on, or says no more: its enclave may be well"""
        for body in ("helper.control.close()\nhelper.stay()",
                     "helper.control.shutdown(socket.SHUT_WR)\nhelper.stay()"):
            with self.subTest(body):
                dom = self.hang_up(body)
                self.check_aside(dom)
                self.forget(dom)

    def test_closes_and_listens(self):
        """one that hangs up and listens is connected to anew"""
        dom = self.hang_up("helper.control.close()\nhelper.accept()\nhelper.greet()\n"
                           "helper.serve()")
        helper = self.helper_of(dom)

        def answers():
            with contextlib.suppress(libvirt.libvirtError):
                return dom.launchSecurityInfo()
            return None

        wait_until(answers, 20, "the connection")
        self.assertState(dom, RUNNING, BOOTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
        self.events.check("hostile", [ADDED, STARTED, DESTROYED])

    def test_closes_for_ever(self):
        """one that hangs up after each answer: it is connected to ever later"""
        dom = self.hang_up("import time\nhelper.control.close()\nwhile True:\n"
                           "    helper.accept()\n    helper.greet()\n"
                           "    helper.answer(*helper.command())\n"
                           "    time.sleep(0.1)\n    helper.control.close()")
        before = self.log().count("has ended, and the helper lives")
        time.sleep(8)
        count = self.log().count("has ended, and the helper lives") - before
        self.assertGreater(count, 1)
        self.assertLess(count, 8)
        self.assertState(dom, RUNNING, BOOTED)
        dom.destroy()
        self.check_ended(dom, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)


class Takeover(HostileTest):
    """Helpers that behave well until another daemon comes"""

    def next_daemon(self, dom):
        """Returns the domain as the next daemon has it."""
        name = dom.name()
        self.daemon.restart()
        self.reconnect()
        return self.conn.lookupByName(name)

    def test_good(self):
        """one of version 1 is taken over, and says what it says once"""
        dom, _ = self.define("good", "helper.boot()\nhelper.serve()")
        dom.create()
        for _ in range(2):
            self.daemon.restart()
            self.reconnect()
            dom = self.conn.lookupByName("good")
            wait_until(lambda dom=dom: dom.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK, 20,
                       "the takeover")
            self.assertState(dom, RUNNING, BOOTED)
            self.assertEqual(dom.launchSecurityInfo()["nitro-hash"], "sha384")
        dom.destroy()

    def test_status(self):
        """a status with another CID, another's, or none: the enclave is set aside, not believed"""
        for status in ({"phase": "running", "cid": 4294967295}, {"phase": "running", "cid": 5},
                       {"phase": "running", "cpus": [1, 2]}, {"phase": NASTY}, {}):
            with self.subTest(status):
                dom, _ = self.define("hostile", "helper.boot()\n"
                                     f"helper.answers['query-status'] = {status!r}\nhelper.serve()")
                dom.create()
                dom = self.next_daemon(dom)
                self.assertIn("address='4'", dom.XMLDesc(0))
                self.check_aside(dom)
                self.assertIn("makes no sense", self.log())
                self.forget(dom)

    def test_breaks(self):
        """floods, and events that cannot come, each time that it is tried: the same"""
        for body in ("helper.greet()\n    helper.flood(b'{\"event\": \"news\"}\\n')",
                     "helper.flood(b'x' * 65536)",
                     "helper.greet()\n"
                     "    helper.flood(b'{\"event\": \"booted\", \"data\": {}}\\n')"):
            with self.subTest(body):
                dom, _ = self.define("hostile", "def play():\n    helper.accept()\n    " + body +
                                     "\nhelper.gone = play\nhelper.boot()\n"
                                     "helper.control.recv(1)\nplay()")
                dom.create()
                dom = self.next_daemon(dom)
                self.check_aside(dom)
                self.assertIn(BROKEN, self.log())
                self.forget(dom)


class Descriptors(HostileTest):
    """What a helper can do with the descriptors that it inherits"""

    # Prints all of its descriptors, and writes what it can into regular files.
    LIST = r"""
import fcntl, json, stat
found = []
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        mode = os.fstat(fd).st_mode
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    except OSError:
        continue
    path = os.readlink(f"/proc/self/fd/{fd}")
    writable = flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_PATH
    found.append([fd, path, stat.S_ISREG(mode), writable])
    if stat.S_ISREG(mode) and writable:
        try:
            os.pwrite(fd, b"1\n", 0)
        except OSError:
            pass
where = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "found")
with open(where + ".new", "w") as file:
    json.dump(found, file)
os.rename(where + ".new", where)
"""

    def inherited(self, **more):
        """Returns [descriptor, path, regular, writable] of all that a helper has."""
        dom, path = self.define("curious", self.LIST + "helper.boot()\nhelper.serve()", **more)
        # it is the helper's user that writes
        os.chmod(os.path.dirname(path), 0o777)
        dom.create()
        with open(os.path.join(os.path.dirname(path), "found"), encoding="utf-8") as found:
            result = json.load(found)
        self.pid_file = os.path.join(self.daemon.state_dir, "nitro", "run",
                                     f"domain-{dom.ID()}-curious", "pid")
        self.pid_written = None
        with contextlib.suppress(FileNotFoundError), open(self.pid_file, encoding="ascii") as pid:
            # the second line is the time of its start
            self.pid_written = (pid.readline().strip(), str(self.helper_of(dom)))
        dom.destroy()
        return result

    def test_files(self):
        """it can write to its own logs and console, and to no file of the daemon's"""
        console, device = self.console_file()
        mine = [path + backup
                for path in (console, os.path.join(self.daemon.domain_log_dir, "curious.log"))
                for backup in ("", ".0", ".1", ".2")]
        found = self.inherited(devices=device)
        self.assertTrue(any(path == console for _, path, _, _ in found), found)
        for fd, path, regular, writable in found:
            with self.subTest(f"{fd}: {path}"):
                # the image can be read, no more; the pid file has a test of its own
                if regular and writable and path != self.pid_file:
                    # and to what these become when they are long
                    self.assertIn(re.sub(r"\.[0-9]+$", "", path), mine)
                self.assertNotEqual(path, self.daemon.log)

    def test_pid_file(self):
        """it does not have its pid file, by which the daemon finds it, and cannot change it"""
        found = self.inherited()
        self.assertEqual([path for _, path, _, _ in found if path == self.pid_file], [])
        if self.pid_written:
            self.assertEqual(*self.pid_written)


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
