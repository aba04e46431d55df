#
# test_restart.py: new enclaves of a domain: reboot, life cycle actions, autostart
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A reboot is a new run of the domain, with a new id. Restarts by <on_*> actions come at once,
then after 1, 2, 4 and 8 s, and after five in a row no more: see src/nitro/nitro_restart.h.
"""

import os
import shutil
import signal
import time

import taprunner
from daemon import HELLO_EIF, wait_until
from e2etest import (ADDED, BOOTED, CRASHED, DESTROYED, RUNNING, SHUTDOWN, SHUTOFF, STARTED,
                     EnclaveTest, boot_image, libvirt, quick_xml)

RESTART_MAX = 5
ON_CRASH = "<on_crash>restart</on_crash>"


class RestartTest(EnclaveTest):

    def kill_helper(self, dom):
        os.kill(self.helper_of(dom), signal.SIGKILL)

    def wait_count(self, name, event, count, seconds=60):
        wait_until(lambda: self.events.of(name).count(event) >= count, seconds,
                   f"{count} times {event} of {name}")

    def crash(self, name, times):
        """Kills the enclave of @name @times, each time when it runs."""
        for number in range(1, times + 1):
            self.wait_count(name, STARTED, number)
            self.kill_helper(self.conn.lookupByName(name))
            self.wait_count(name, CRASHED, number)


class Reboot(RestartTest):

    def test_reboot(self):
        """reboot and reset: another helper and id, the same domain, persistent or not"""
        self.conn.defineXML(quick_xml("kept")).create()
        self.conn.createXML(quick_xml("passing"), 0)
        for name in ("kept", "passing"):
            for count, call in enumerate(("reboot", "reset"), start=1):
                dom = self.conn.lookupByName(name)
                number, helper = dom.ID(), self.helper_of(dom)
                getattr(dom, call)(0)
                self.assertState(dom, RUNNING, BOOTED)
                again = self.conn.lookupByName(name)
                self.assertGreater(again.ID(), number)
                self.assertNotEqual(self.helper_of(again), helper)
                self.assertEqual(again.UUIDString(), dom.UUIDString())
                self.wait_count(name, STARTED, count + 1)
                self.assertEqual(self.events.reboots.count(name), count)
            self.assertEqual(again.isPersistent(), name == "kept")
            again.destroy()
            self.events.wait(name, *DESTROYED)
            runs = [STARTED, SHUTDOWN, STARTED, SHUTDOWN, STARTED, DESTROYED]
            self.events.check(name, [ADDED] + runs if name == "kept" else runs)
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN):
            self.conn.lookupByName("passing")

    def test_new_definition(self):
        """the new enclave is of the stored definition"""
        dom = self.conn.defineXML(quick_xml("grown"))
        dom.create()
        dom.setMemoryFlags(192 * 1024, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self.assertEqual(dom.info()[1], 128 * 1024)
        dom.reboot()
        self.assertEqual(dom.info()[1], 192 * 1024)
        dom.destroy()

    def test_flags(self):
        dom = self.conn.defineXML(quick_xml("flags"))
        for call in (lambda: dom.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN),
                     lambda: dom.reset(1)):
            with self.refused(libvirt.VIR_ERR_INVALID_ARG):
                call()

    def test_fails(self):
        """a reboot whose start fails leaves the domain shut off, or a transient one gone"""
        image = self.path("image.eif")
        shutil.copy(HELLO_EIF, image)
        os.chmod(image, 0o644)
        for name, make in (("kept", lambda xml: self.conn.defineXML(xml).create()),
                           ("passing", lambda xml: self.conn.createXML(xml, 0))):
            make(quick_xml(name, boot=boot_image(image)))
        os.unlink(image)
        for name in ("kept", "passing"):
            with self.assertRaises(libvirt.libvirtError) as raised:
                self.conn.lookupByName(name).reboot()
            self.assertIn(image, str(raised.exception))
            self.events.wait(name, *SHUTDOWN)
        dom = self.conn.lookupByName("kept")
        self.assertEqual((dom.state()[0], dom.ID()), (SHUTOFF, -1))
        self.assertEqual(len(self.conn.listAllDomains()), 1)
        self.events.check("kept", [ADDED, STARTED, SHUTDOWN])


class Actions(RestartTest):

    def test_given_up(self):
        """five restarts in a row, ever later; then the log and an event say so"""
        errors = []
        number = self.conn.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_CONTROL_ERROR,
            lambda conn, dom, opaque: errors.append(dom.name()), None)
        self.addCleanup(lambda: self.conn.domainEventDeregisterAny(number))
        kept = self.conn.defineXML(quick_xml("kept", elements=ON_CRASH))
        kept.create()
        self.conn.createXML(quick_xml("passing", elements=ON_CRASH), 0)
        begin = time.monotonic()
        for turn in range(1, RESTART_MAX + 2):
            for name in ("kept", "passing"):
                self.wait_count(name, STARTED, turn)
                self.kill_helper(self.conn.lookupByName(name))
            for name in ("kept", "passing"):
                self.wait_count(name, CRASHED, turn)
        # 0 + 1 + 2 + 4 + 8
        self.assertGreaterEqual(time.monotonic() - begin, 14.5)
        wait_until(lambda: len(errors) == 2, 10, "the event control error")
        self.assertEqual(sorted(errors), ["kept", "passing"])
        self.assertState(kept, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        wait_until(lambda: len(self.conn.listAllDomains()) == 1, 10, "the transient's end")
        self.events.check("kept", [ADDED] + [STARTED, CRASHED] * (RESTART_MAX + 1))
        with open(self.daemon.log, encoding="utf-8") as log:
            text = log.read()
        for name in ("kept", "passing"):
            self.assertRegex(text, f"'{name}' is not restarted any more: it has been 5 times")
        # who starts it by hand begins a new row
        kept.create()
        self.kill_helper(kept)
        self.wait_count("kept", STARTED, RESTART_MAX + 3)
        self.conn.lookupByName("kept").destroy()

    def test_called_off(self):
        """destroy, shutdown, undefine and start call off the restart that waits"""
        names = ("destroyed", "shut", "undefined", "started", "passing")
        for name in names[:-1]:
            self.conn.defineXML(quick_xml(name, elements=ON_CRASH)).create()
        self.conn.createXML(quick_xml("passing", elements=ON_CRASH), 0)
        # the fifth start would come 4 s after the fourth end
        for turn in range(1, 5):
            for name in names:
                self.wait_count(name, STARTED, turn)
                self.kill_helper(self.conn.lookupByName(name))
        for name in names:
            self.wait_count(name, CRASHED, 4)
        dom = self.conn.lookupByName("started")
        self.assertEqual([self.conn.lookupByName(name).isActive() for name in names], [0] * 5)
        self.conn.lookupByName("destroyed").destroy()
        self.conn.lookupByName("shut").shutdown()
        self.conn.lookupByName("undefined").undefine()
        self.conn.lookupByName("passing").destroy()
        dom.create()
        number = dom.ID()
        self.assertEqual(sorted(one.name() for one in self.conn.listAllDomains()),
                         ["destroyed", "shut", "started"])
        for name in ("destroyed", "shut"):
            with self.refused(libvirt.VIR_ERR_OPERATION_INVALID):
                self.conn.lookupByName(name).destroy()
        time.sleep(6)
        self.assertEqual(dom.ID(), number)
        for name in names:
            self.assertEqual(self.events.of(name).count(STARTED), 5 if name == "started" else 4)
        dom.destroy()

    def test_start_fails(self):
        """a restart that fails is tried again"""
        image = self.path("image.eif")
        shutil.copy(HELLO_EIF, image)
        os.chmod(image, 0o644)
        dom = self.conn.defineXML(quick_xml("patient", boot=boot_image(image),
                                            elements=ON_CRASH))
        dom.create()
        os.rename(image, image + ".away")
        self.kill_helper(dom)
        wait_until(lambda: "cannot restart domain 'patient'" in self.daemon.logs(), 20,
                   "a restart that fails")
        self.assertEqual(dom.isActive(), 0)
        os.rename(image + ".away", image)
        self.wait_count("patient", STARTED, 2)
        dom.destroy()
        os.unlink(image)

    def test_ended_meanwhile(self):
        """an enclave that ended while no daemon ran is restarted as well"""
        dom = self.conn.defineXML(quick_xml("awaited", elements=ON_CRASH))
        self.conn.createXML(quick_xml("vanished"), 0)
        dom.create()
        number = dom.ID()
        helpers = [self.helper_of(self.conn.lookupByName(name))
                   for name in ("awaited", "vanished")]
        self.daemon.kill()
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("awaited")
        wait_until(lambda: dom.state() == [RUNNING, BOOTED] and
                   self.conn.lookupByName("awaited").ID() > number, 20, "the new enclave")
        wait_until(lambda: len(self.conn.listAllDomains()) == 1, 10, "the transient's end")
        dom.destroy()


class Autostart(RestartTest):

    def boot_host(self):
        """What a boot of the host does: no state is left, and the daemon starts."""
        self.daemon.stop()
        shutil.rmtree(os.path.join(self.daemon.state_dir, "nitro"))
        self.daemon.start(LIBVIRT_LOG_FILTERS="2:nitro 3:*")
        self.reconnect()

    def log_since(self, position):
        with open(self.daemon.log, encoding="utf-8") as log:
            log.seek(position)
            return log.read()

    def test_summary(self):
        """all at once, and a summary in the log when the last one is done"""
        for name in ("one", "two"):
            self.conn.defineXML(quick_xml(name)).setAutostart(1)
        self.conn.defineXML(quick_xml("manual"))
        for broken, words in ((False, "Autostart: all of 2 domains are running"),
                              (True, "Autostart: 2 of 3 domains are running")):
            if broken:
                self.conn.defineXML(quick_xml(
                    "broken", boot=boot_image("/nothing.eif"))).setAutostart(1)
            position = os.path.getsize(self.daemon.log)
            self.boot_host()
            wait_until(lambda: words in self.log_since(position), 60, words)
            text = self.log_since(position)
            self.assertEqual(text.count("Autostart:"), 1, text)
            self.assertEqual("/nothing.eif" in text, broken)
            for name in ("one", "two"):
                self.assertState(self.conn.lookupByName(name), RUNNING, BOOTED)
            self.assertEqual(self.conn.lookupByName("manual").isActive(), 0)
            for name in ("one", "two"):
                self.conn.lookupByName(name).destroy()
        # the second daemon of a boot starts nothing, and has nothing to say
        position = os.path.getsize(self.daemon.log)
        self.daemon.restart(LIBVIRT_LOG_FILTERS="2:nitro 3:*")
        self.reconnect()
        self.assertNotIn("Autostart", self.log_since(position))
        self.assertEqual([dom.isActive() for dom in self.conn.listAllDomains()], [0] * 4)


if __name__ == "__main__":
    taprunner.main()
