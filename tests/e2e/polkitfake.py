#
# polkitfake.py: a D-Bus with an authority on it that answers as polkitd does
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
libvirt's access driver "polkit" asks org.freedesktop.PolicyKit1 on the system bus for each
access: may this process do this action, with these details? Authority is that service, with
a bus of its own, whose answers a test decides:

    daemon with DBUS_SYSTEM_BUS_ADDRESS -> dbus-daemon -> Authority.allow(action, details)

All that it is asked is in .asked, as (action without "org.libvirt.api.", details).
"""

import os
import subprocess
import threading

import gi
from gi.repository import Gio, GLib

from daemon import WITH_US

gi.require_version("Gio", "2.0")

NAME = "org.freedesktop.PolicyKit1"
PATH = "/org/freedesktop/PolicyKit1/Authority"
PREFIX = "org.libvirt.api."

INTERFACE = """<node><interface name='org.freedesktop.PolicyKit1.Authority'>
  <method name='CheckAuthorization'>
    <arg type='(sa{sv})' name='subject' direction='in'/>
    <arg type='s' name='action_id' direction='in'/>
    <arg type='a{ss}' name='details' direction='in'/>
    <arg type='u' name='flags' direction='in'/>
    <arg type='s' name='cancellation_id' direction='in'/>
    <arg type='(bba{ss})' name='result' direction='out'/>
  </method>
</interface></node>"""

# Who may connect to a system's bus and own a name on it is said in files of the system's
CONFIGURATION = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context='default'>
    <allow user='*'/>
    <allow own='*'/>
    <allow send_destination='*'/>
    <allow receive_sender='*'/>
  </policy>
</busconfig>"""


def everything(action, details):
    return True


def nothing(action, details):
    return False


class Authority:
    """Bus and service, with their files in @directory. Start them by start(), end by stop()."""

    def __init__(self, directory):
        self.socket = os.path.join(directory, "bus")
        self.address = f"unix:path={self.socket}"
        self.file = os.path.join(directory, "bus.conf")
        self.allow = everything
        self.asked = []
        self.process = self.loop = self.thread = None

    def start(self):
        with open(self.file, "w", encoding="utf-8") as conf:
            conf.write(CONFIGURATION.format(socket=self.socket))
        self.process = subprocess.Popen(
            WITH_US + ["dbus-daemon", f"--config-file={self.file}", "--nofork",
                       "--print-address"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        if not ready.wait(20):
            raise TimeoutError("the fake polkit has no name on its bus")

    def _run(self, ready):
        context = GLib.MainContext.new()
        context.push_thread_default()
        self.loop = GLib.MainLoop.new(context, False)
        connection = Gio.DBusConnection.new_for_address_sync(
            self.address, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT |
            Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
        connection.register_object(PATH, Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0],
                                   self._call, None, None)
        Gio.bus_own_name_on_connection(connection, NAME, Gio.BusNameOwnerFlags.NONE,
                                       lambda *args: ready.set(), None)
        self.loop.run()

    def _call(self, connection, sender, path, interface, method, parameters, invocation):
        _, action, details, _, _ = parameters.unpack()
        action = action.removeprefix(PREFIX)
        self.asked.append((action, details))
        answer = (bool(self.allow(action, details)), False, {})
        invocation.return_value(GLib.Variant("((bba{ss}))", (answer,)))

    def stop(self):
        if self.loop:
            self.loop.quit()
            self.thread.join()
        self.process.terminate()
        self.process.communicate(timeout=30)
