#
# test_heartbeat.py: starts that wait for the boot heartbeat, with a real guest kernel
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The sample enclave sends its heartbeat as its command line says, which includes all the
wrong ways: see examples/hello/heartbeat.h.
"""

import contextlib
import math
import os
import pathlib
import time

import taprunner
from daemon import wait_until
from e2etest import (BOOTED, RUNNING, SHUTOFF, STARTED, Background, EnclaveTest, boot_kernel,
                     domain_xml, libvirt)
from vsockclient import ECHO, HEARTBEAT_PORT, VsockClient, receive_line

OPERATION_FAILED = libvirt.VIR_ERR_OPERATION_FAILED

STARTING_UP = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP]

# The init sends its heartbeat so much later with hello.heartbeat=late
LATE_SECONDS = 5


class Heartbeat(EnclaveTest):
    """The start waits for the heartbeat, and fails without."""

    def beat_xml(self, name, *words, timeout=None, **xml):
        text = domain_xml(name, boot_kernel(*words), **xml)
        if timeout:
            text = text.replace("<nitro:heartbeat enabled='yes'",
                                f"<nitro:heartbeat enabled='yes' timeout='{timeout}'")
        return text

    @staticmethod
    def echoes(client):
        """Whether the vsock of the enclave works."""
        with contextlib.suppress(ConnectionError), client.connect(ECHO) as conn:
            conn.sendall(b"beat\n")
            return receive_line(conn) == "beat"
        return False

    def refuse_start(self, xml, code, *words):
        dom = self.conn.defineXML(xml)
        with self.refused(code, *words):
            dom.create()
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)
        self.assertEqual(dom.ID(), -1)
        self.assertNotIn(STARTED, self.events.of(dom.name()))
        dom.undefine()

    def test_wait(self):
        """create returns with the heartbeat; until then the domain is paused (starting up)"""
        dom = self.conn.defineXML(self.beat_xml("late", "hello.heartbeat=late"))
        start = time.monotonic()
        creation = Background(dom.create)
        other = libvirt.open(self.daemon.uri)
        self.addCleanup(other.close)
        seen = other.lookupByName("late")
        wait_until(lambda: seen.state() == STARTING_UP, 20, "paused (starting up)")
        self.assertEqual(seen.isActive(), 1)
        self.assertIn("nitro:heartbeat", seen.XMLDesc(0))
        creation.result()
        self.assertGreater(time.monotonic() - start, LATE_SECONDS)
        self.assertState(dom, RUNNING, BOOTED)
        self.events.wait("late", *STARTED)
        self.assertEqual(self.events.of("late").count(STARTED), 1)
        dom.destroy()
        dom.undefine()

    def test_wrong(self):
        """another byte; a transient domain is gone then"""
        xml = self.beat_xml("wrong", "hello.heartbeat=wrong")
        reason = OPERATION_FAILED, "byte 0x48", "0xb7", HEARTBEAT_PORT
        with self.refused(*reason):
            self.conn.createXML(xml, 0)
        self.assertEqual(self.conn.listAllDomains(), [])
        self.refuse_start(xml, *reason)

    def test_closed(self):
        """a connection that is closed without a byte"""
        self.refuse_start(self.beat_xml("hasty", "hello.heartbeat=close"), OPERATION_FAILED,
                          "closed the connection", HEARTBEAT_PORT, "without")

    def test_timeout(self):
        """no connection, and one on which nothing comes"""
        for how, timeout in (("no", 3), ("silent", 6)):
            with self.subTest(how):
                start = time.monotonic()
                self.refuse_start(
                    self.beat_xml("mute", f"hello.heartbeat={how}", timeout=timeout),
                    libvirt.VIR_ERR_OPERATION_TIMEOUT, "no heartbeat", f"{timeout} seconds",
                    "enabled='no'")
                # the helper's clock is rounded
                self.assertGreater(time.monotonic() - start, timeout - 0.5)
                self.assertLess(time.monotonic() - start, 2 * timeout + 5)

    def boot_seconds(self):
        """What is enough for a boot here, with some more of them beside it"""
        start = time.monotonic()
        self.conn.createXML(self.beat_xml("clock")).destroy()
        return math.ceil(3 * (time.monotonic() - start))

    def test_last_lines(self):
        """the error says where the console's last lines are, and there they are"""
        console = "<console type='pty'/>"
        log = os.path.join(self.daemon.domain_log_dir, "mute.log")
        timeout = self.boot_seconds()
        xml = self.beat_xml("mute", "hello.heartbeat=no", timeout=timeout, devices=console)
        with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, f"no heartbeat in {timeout} seconds",
                          f"the last lines of its console are in {log}"):
            self.conn.createXML(xml)
        with open(log, encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"(: info : console: [^\n]+\n)+[^\n]+: error : The enclave has sent no")

        with self.refused(libvirt.VIR_ERR_OPERATION_TIMEOUT, "debug='yes'",
                          f"its last lines would be in {log}"):
            self.conn.createXML(xml.replace("debug='yes'", "debug='no'"))
        with open(log, encoding="utf-8") as file:
            self.assertEqual(file.read()[len(text):].count("console: "), 0)

        with self.refused(OPERATION_FAILED, "before it had booted",
                          f"the last lines of its console are in {log}"):
            self.conn.createXML(self.beat_xml("mute", "rdinit=/nowhere", "init=/nowhere",
                                              devices=console))

    def test_end_before(self):
        """an enclave that ends before it has sent anything"""
        self.refuse_start(self.beat_xml("stillborn", "rdinit=/nowhere", "init=/nowhere"),
                          OPERATION_FAILED, "before it had booted")

    def test_destroyed_meanwhile(self):
        """destroy ends a domain that waits; its creation fails"""
        dom = self.conn.defineXML(self.beat_xml("waiting", "hello.heartbeat=no"))
        creation = Background(dom.create)
        other = libvirt.open(self.daemon.uri)
        self.addCleanup(other.close)
        seen = other.lookupByName("waiting")
        wait_until(lambda: seen.state() == STARTING_UP, 20, "paused (starting up)")
        seen.destroy()
        with self.assertRaises(libvirt.libvirtError) as raised:
            creation.result(20)
        self.assertIn(raised.exception.get_error_code(),
                      (libvirt.VIR_ERR_OPERATION_ABORTED, OPERATION_FAILED))
        self.assertEqual(dom.isActive(), 0)
        dom.undefine()

    def test_daemon_restart_meanwhile(self):
        """a daemon that is killed while an enclave boots: the next one sees it boot"""
        dom = self.conn.defineXML(self.beat_xml("late", "hello.heartbeat=late"))
        creation = Background(dom.create)
        other = libvirt.open(self.daemon.uri)
        seen = other.lookupByName("late")
        wait_until(lambda: seen.state() == STARTING_UP, 20, "paused (starting up)")
        # before its helper is written down, a start is the daemon's alone
        log = pathlib.Path(self.daemon.domain_log_dir, "late.log")
        wait_until(lambda: log.exists() and "vCPUs run" in log.read_text(encoding="utf-8"), 20,
                   "the boot")
        self.daemon.kill()
        with self.assertRaises(libvirt.libvirtError):
            creation.result(20)
        other.close()
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("late")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertTrue(self.echoes(VsockClient.of(dom)))
        dom.destroy()
        dom.undefine()

    def test_disabled(self):
        """without the wait for the heartbeat there is a vsock all the same"""
        dom = self.conn.createXML(self.beat_xml("quiet", "hello.heartbeat=no", heartbeat="no"), 0)
        client = VsockClient.of(dom)
        wait_until(lambda: self.echoes(client), 60, "an answer on the echo port")
        dom.destroy()

    def test_unexpected(self):
        """a heartbeat that nobody waits for is answered"""
        path, console = self.console_file()
        dom = self.conn.createXML(self.beat_xml("eager", heartbeat="no", devices=console), 0)
        self.wait_text(path, "enclave ready")
        dom.destroy()


if __name__ == "__main__":
    taprunner.main()
