#
# test_lifecycle.py: enclaves that boot, run and end, with libvirt-python
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each test boots a real kernel and looks at states, reasons and events on its way."""

import contextlib
import os
import shutil
import signal
import threading
import time

import taprunner
from daemon import HELPER, HELLO_BANNER, wait_until
from e2etest import (ADDED, BOOT_SECONDS, BOOTED, CRASHED, DESTROYED, RUNNING, SHUTDOWN, SHUTOFF,
                     STARTED, UNDEFINED, EnclaveTest, banner, boot_kernel, domain_xml,
                     libvirt, quick_xml)

# Helpers that keep a start waiting: one that is stopped until it gets SIGCONT, and one
# that accepts connections and says no more than hello
STOPPED_HELPER = """#!/bin/sh
kill -STOP $$
exec '{}' "$@"
"""
MUTE_HELPER = """#!/usr/bin/python3 -IS
import socket, sys
listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--control-fd") + 1]))
clients = []
while True:
    clients.append(listener.accept()[0])
    try:
        clients[-1].sendall(b'{"libvirt-nitro": {"protocol": 1, "version": "0"}}\\n')
    except OSError:
        pass  # a daemon that has ended
"""


class Lifecycle(EnclaveTest):

    def wait_gone(self, name):
        def gone():
            try:
                self.conn.lookupByName(name)
                return False
            except libvirt.libvirtError as error:
                self.assertEqual(error.get_error_code(), libvirt.VIR_ERR_NO_DOMAIN)
                return True

        wait_until(gone, 20, f"the end of domain {name}")

    def test_transient(self):
        """create boots the image; destroy leaves nothing of it"""
        path, console = self.console_file()
        dom = self.conn.createXML(domain_xml("hello", devices=console), 0)
        self.assertState(dom, RUNNING, BOOTED)
        self.assertGreater(dom.ID(), 0)
        self.assertEqual((dom.isActive(), dom.isPersistent(), dom.isUpdated()), (1, 0, 0))
        text = self.wait_text(path, HELLO_BANNER)
        self.assertIn("Linux version", text)
        self.assertIn("this text comes from the second ramdisk", text)
        dom.destroy()
        self.events.wait("hello", *DESTROYED)
        self.assertEqual(self.events.of("hello"), [STARTED, DESTROYED])
        self.wait_gone("hello")
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN):
            dom.destroy()

    def test_persistent(self):
        """define, start, destroy, undefine: state, flags and events on the way"""
        path, console = self.console_file()
        dom = self.conn.defineXML(quick_xml("kept", boot=boot_kernel(seed=5), devices=console))
        self.assertEqual((dom.isActive(), dom.isPersistent(), dom.ID()), (0, 1, -1))
        self.assertState(dom, SHUTOFF, 0)
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID):
            dom.destroy()

        dom.create()
        first = dom.ID()
        self.assertEqual((dom.isActive(), dom.isPersistent()), (1, 1))
        self.assertState(dom, RUNNING, BOOTED)
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID):
            dom.create()
        self.wait_text(path, banner(5))

        dom.destroy()
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
        self.assertEqual(dom.ID(), -1)
        dom.createWithFlags(0)
        self.assertNotEqual(dom.ID(), first, "ids are unique for each start")
        dom.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        dom.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE |
                          libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        self.events.wait("kept", *UNDEFINED)
        self.assertEqual(self.events.of("kept"),
                         [ADDED, STARTED, DESTROYED, STARTED, DESTROYED, UNDEFINED])
        self.wait_gone("kept")

    def test_two_at_once(self):
        """two domains run side by side and end apart"""
        one, console_one = self.console_file("one")
        two, console_two = self.console_file("two")
        first = self.conn.createXML(
            quick_xml("one", boot=boot_kernel(seed=11), devices=console_one), 0)
        second = self.conn.createXML(
            quick_xml("two", boot=boot_kernel(seed=12), devices=console_two), 0)
        self.wait_text(one, banner(11))
        self.wait_text(two, banner(12))
        self.assertNotEqual(first.ID(), second.ID())
        self.assertNotEqual(self.helper_of(first), self.helper_of(second))
        first.destroy()
        self.assertState(second, RUNNING, BOOTED)
        second.destroy()

    def test_poweroff(self):
        """a guest that powers off: shut off (shutdown), and the event says so"""
        path, console = self.console_file()
        dom = self.conn.defineXML(domain_xml(
            "off", boot_kernel("hello.action=poweroff", seed=3), devices=console))
        dom.create()
        self.events.wait("off", *SHUTDOWN, seconds=60)
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
        self.assertIn(banner(3), self.wait_text(path, "enclave ready"))
        self.assertEqual(self.events.of("off"), [ADDED, STARTED, SHUTDOWN])

    def test_poweroff_transient(self):
        """a transient domain is gone when its guest has powered off"""
        self.conn.createXML(domain_xml("off", boot_kernel("hello.action=poweroff")), 0)
        self.events.wait("off", *SHUTDOWN, seconds=60)
        self.wait_gone("off")

    def test_poweroff_restart(self):
        """on_poweroff restart: a new enclave of the same domain"""
        dom = self.conn.createXML(domain_xml(
            "again", boot_kernel("hello.action=poweroff"),
            elements="<on_poweroff>restart</on_poweroff>"), 0)
        first = dom.ID()
        self.events.wait("again", *SHUTDOWN, seconds=60)
        wait_until(lambda: self.events.of("again").count(STARTED) == 2, 60, "the second start")
        self.assertNotEqual(self.conn.lookupByName("again").ID(), first)
        self.conn.lookupByName("again").destroy()

    def test_reboot_by_guest(self):
        """on_reboot destroy: the guest's restart is the end"""
        dom = self.conn.defineXML(domain_xml(
            "reset", boot_kernel("hello.action=reboot"),
            elements="<on_reboot>destroy</on_reboot>"))
        dom.create()
        self.events.wait("reset", *SHUTDOWN, seconds=60)
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)

    def test_reboot_by_guest_restart(self):
        """on_reboot restart (the default): a new enclave, and the event reboot"""
        dom = self.conn.createXML(domain_xml("reset", boot_kernel("hello.action=reboot")), 0)
        first = dom.ID()
        wait_until(lambda: "reset" in self.events.reboots, 60, "the event reboot")
        wait_until(lambda: self.events.of("reset").count(STARTED) == 2, 60, "the second start")
        dom = self.conn.lookupByName("reset")
        self.assertNotEqual(dom.ID(), first)
        dom.destroy()

    def test_panic(self):
        """a guest kernel that panics: shut off (crashed), and no restart"""
        dom = self.conn.defineXML(domain_xml("panic", boot_kernel("hello.action=panic")))
        dom.create()
        self.events.wait("panic", *CRASHED, seconds=60)
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)

    def test_shutdown(self):
        """shutdown ends the enclave: shut off (shutdown)"""
        dom = self.conn.defineXML(quick_xml("polite"))
        for shutdown in (dom.shutdown, lambda: dom.shutdownFlags(0)):
            dom.create()
            shutdown()
            self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)
        self.events.wait("polite", *SHUTDOWN)
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID):
            dom.shutdown()

    def test_helper_terminated(self):
        """SIGTERM to the helper ends the enclave in order"""
        dom = self.conn.defineXML(quick_xml("told"))
        dom.create()
        os.kill(self.helper_of(dom), signal.SIGTERM)
        self.events.wait("told", *DESTROYED)
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)

    def test_destroy_booting(self):
        """destroy right after create, again and again"""
        dom = self.conn.defineXML(quick_xml("brief"))
        for _ in range(5):
            dom.create()
            dom.destroy()
        self.assertState(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)

    def test_race(self):
        """four clients start and end the same domain: one at a time wins, none hangs"""
        self.conn.defineXML(domain_xml("contested"))
        strange = []

        def client():
            conn = libvirt.open(self.daemon.uri)
            dom = conn.lookupByName("contested")
            for call in [dom.create, dom.destroy] * 4:
                try:
                    call()
                except libvirt.libvirtError as error:
                    if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID,
                                                      libvirt.VIR_ERR_OPERATION_ABORTED):
                        strange.append(str(error))
            conn.close()

        clients = [threading.Thread(target=client) for _ in range(4)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        self.assertEqual(strange, [])
        wait_until(lambda: len(self.living()) in (0, 2), 10, "one enclave or none")
        # a start that is cut short has an end only
        events = [event for event, _ in self.events.of("contested")]
        for event, following in zip(events, events[1:]):
            self.assertFalse(event == following == STARTED[0], "two starts, and no end between")

    def test_flags_refused(self):
        """starts with flags that an enclave cannot honour are refused"""
        dom = self.conn.defineXML(quick_xml("flags"))
        for flag in (libvirt.VIR_DOMAIN_START_PAUSED, libvirt.VIR_DOMAIN_START_AUTODESTROY):
            with self.refused(libvirt.VIR_ERR_INVALID_ARG):
                dom.createWithFlags(flag)
        for call in (dom.suspend, dom.resume, lambda: dom.managedSave(0),
                     lambda: dom.save("/nowhere")):
            with self.refused(libvirt.VIR_ERR_NO_SUPPORT):
                call()


class Restart(EnclaveTest):
    """The daemon ends and comes again; enclaves do not notice."""

    def test_keeps_running(self):
        """a restarted daemon takes over: same id, same helper, and it can end the enclave"""
        path, console = self.console_file()
        dom = self.conn.defineXML(domain_xml("kept", boot_kernel(seed=31), devices=console))
        dom.create()
        number, helper = dom.ID(), self.helper_of(dom)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("kept")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual((dom.ID(), self.helper_of(dom)), (number, helper))
        self.assertEqual((dom.isActive(), dom.isPersistent()), (1, 1))
        self.wait_text(path, banner(31))

        other = self.conn.createXML(quick_xml("other"), 0)
        self.assertNotEqual(other.ID(), number, "ids stay unique")
        other.destroy()
        dom.destroy()
        self.events.wait("kept", *DESTROYED)

    def test_killed_daemon(self):
        """a daemon that was killed leaves its transient domain to the next one"""
        dom = self.conn.createXML(quick_xml("orphan"), 0)
        uuid = dom.UUIDString()
        self.daemon.kill()
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByUUIDString(uuid)
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual(dom.isPersistent(), 0)
        os.kill(self.qemu_of(dom), signal.SIGKILL)
        self.events.wait("orphan", *CRASHED)

    def start_with(self, name, script):
        """
        Starts the domain @name with the helper @script in a thread; returns the PID of that
        helper, the thread, and the list that an error of the start will be in.
        """
        # under its own name, or it would not be known as a helper
        emulator = os.path.join(self.path("bin"), "libvirt_nitro")
        os.mkdir(os.path.dirname(emulator))
        with open(emulator, "w", encoding="ascii") as helper:
            helper.write(script)
        os.chmod(emulator, 0o755)
        xml = domain_xml(name, devices=f"<emulator>{emulator}</emulator>")
        errors = []

        def start():
            conn = libvirt.open(self.daemon.uri)
            try:
                conn.createXML(xml, 0)
            except libvirt.libvirtError as error:
                errors.append(error)
            conn.close()

        def helper_pid():
            # a new daemon runs one for a probe as well, which has no domain
            with contextlib.suppress(libvirt.libvirtError, AssertionError, FileNotFoundError):
                return self.helper_of(self.conn.lookupByName(name))

        thread = threading.Thread(target=start)
        thread.start()
        return wait_until(helper_pid, 10, "the helper"), thread, errors

    def end_while_starting(self, thread, errors):
        """Ends the daemon while @thread starts a domain; starts the next one."""
        begin = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5)
        thread.join(5)
        self.assertFalse(thread.is_alive())
        self.assertEqual(len(errors), 1)
        self.daemon.start()
        self.reconnect()

    def test_ended_while_starting(self):
        """SIGTERM does not wait for a start, and the next daemon goes on with it"""
        script = STOPPED_HELPER.format(self.daemon.program(HELPER))
        helper, thread, errors = self.start_with("slow", script)
        wait_until(lambda: self.is_stopped(helper), 10, "the helper's stop")
        self.end_while_starting(thread, errors)
        dom = self.conn.lookupByName("slow")
        self.assertState(dom, libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
        os.kill(helper, signal.SIGCONT)
        self.wait_state(dom, RUNNING, BOOTED, BOOT_SECONDS)
        self.events.wait("slow", *STARTED)
        self.assertEqual(self.helper_of(dom), helper)
        dom.destroy()
        self.assertEqual(self.conn.listAllDomains(), [])

    @staticmethod
    def is_stopped(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "T"

    def test_ended_while_starting_for_ever(self):
        """a start that never ends: the next daemon has it as well, and can destroy it"""
        helper, thread, errors = self.start_with("never", MUTE_HELPER)
        dom = self.conn.lookupByName("never")
        self.assertState(dom, libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
        self.end_while_starting(thread, errors)
        dom = self.conn.lookupByName("never")
        self.assertEqual(self.helper_of(dom), helper)
        begin = time.monotonic()
        dom.destroy()
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(self.conn.listAllDomains(), [])
        wait_until(lambda: not self.living(), 5, "the helper's end")

    def test_ended_meanwhile(self):
        """an enclave that ended while no daemon ran is shut off afterwards"""
        dom = self.conn.defineXML(quick_xml("gone"))
        transient = self.conn.createXML(quick_xml("vanished"), 0)
        dom.create()
        helpers = [self.helper_of(dom), self.helper_of(transient)]
        self.daemon.kill()
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("gone")
        self.wait_state(dom, SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED)
        wait_until(lambda: len(self.conn.listAllDomains()) == 1, 10, "the transient domain's end")

    def test_definitions_stay(self):
        """definitions outlive the daemon, word for word"""
        vsock = "<vsock><cid auto='no' address='99'/></vsock>"
        dom = self.conn.defineXML(quick_xml("stored", devices=vsock))
        before = dom.XMLDesc(0)
        self.daemon.restart()
        self.reconnect()
        dom = self.conn.lookupByName("stored")
        self.assertEqual(dom.XMLDesc(0), before)
        self.assertEqual((dom.isActive(), dom.isPersistent()), (0, 1))

    def test_autostart(self):
        """
        a domain with autostart comes up with the host's first daemon, one without does
        not; nor does it with later daemons, as it may have been ended on purpose
        """
        path, console = self.console_file()
        dom = self.conn.defineXML(domain_xml("auto", boot_kernel(seed=41), devices=console))
        self.conn.defineXML(quick_xml("manual"))
        self.assertEqual(dom.autostart(), 0)
        dom.setAutostart(1)
        self.assertEqual(dom.autostart(), 1)
        self.assertEqual([one.name() for one in self.conn.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART)], ["auto"])
        self.daemon.restart()
        self.reconnect()
        self.assertEqual(self.conn.lookupByName("auto").isActive(), 0)

        # what a boot of the host does
        self.daemon.stop()
        shutil.rmtree(os.path.join(self.daemon.state_dir, "nitro"))
        self.daemon.start()
        self.reconnect()
        dom = self.conn.lookupByName("auto")
        self.wait_state(dom, RUNNING, BOOTED)
        self.assertEqual(dom.autostart(), 1)
        self.assertEqual(self.conn.lookupByName("manual").isActive(), 0)
        self.wait_text(path, banner(41))
        dom.destroy()
        dom.setAutostart(0)
        self.assertEqual(dom.autostart(), 0)


if __name__ == "__main__":
    taprunner.main()
