#
# machinedfake.py: a D-Bus with a systemd-machined on it that makes real cgroups
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
libvirt has each domain's cgroup made by systemd: org.freedesktop.machine1 registers a machine and
puts its leader into a scope, org.freedesktop.systemd1 sets properties of that scope. Machined is
both, with a bus of its own, as far as libvirt's src/util/virsystemd.c and vircgroup.c call them:

    daemon with DBUS_SYSTEM_BUS_ADDRESS -> dbus-daemon -> Machined -> /sys/fs/cgroup

The slices are made below TOP, a cgroup of this process' own, in the hierarchies in which systemd has
them, so that what libvirt writes into them is the kernel's to obey. All calls are in .calls, as (method, arguments); a
test lets a method fail by .errors[method] = (name, message), and delays it by .delays[method].
"""

import contextlib
import os
import signal
import subprocess
import threading
import time

import gi
from gi.repository import Gio, GLib

from daemon import WITH_US

gi.require_version("Gio", "2.0")

MACHINE1 = "org.freedesktop.machine1"
SYSTEMD1 = "org.freedesktop.systemd1"

ROOT = "/sys/fs/cgroup"
TOP = f"nitro-test-{os.getpid()}"

INTERFACES = """<node>
<interface name='org.freedesktop.machine1.Manager'>
  <method name='CreateMachineWithNetwork'>
    <arg type='s' direction='in'/><arg type='ay' direction='in'/><arg type='s' direction='in'/>
    <arg type='s' direction='in'/><arg type='u' direction='in'/><arg type='s' direction='in'/>
    <arg type='ai' direction='in'/><arg type='a(sv)' direction='in'/>
    <arg type='o' direction='out'/>
  </method>
  <method name='GetMachine'>
    <arg type='s' direction='in'/><arg type='o' direction='out'/>
  </method>
  <method name='GetMachineByPID'>
    <arg type='u' direction='in'/><arg type='o' direction='out'/>
  </method>
  <method name='TerminateMachine'><arg type='s' direction='in'/></method>
</interface>
<interface name='org.freedesktop.machine1.Machine'>
  <property name='Name' type='s' access='read'/>
  <property name='Unit' type='s' access='read'/>
  <property name='Leader' type='u' access='read'/>
</interface>
<interface name='org.freedesktop.systemd1.Manager'>
  <method name='SetUnitProperties'>
    <arg type='s' direction='in'/><arg type='b' direction='in'/>
    <arg type='a(sv)' direction='in'/>
  </method>
</interface>
</node>"""

# libvirt asks which services can be activated; a service needs a file for that
SERVICE = "[D-BUS Service]\nName={name}\nExec=/bin/false\nUser=root\n"

CONFIGURATION = """<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{services}</servicedir>
  <policy context='default'>
    <allow user='*'/>
    <allow own='*'/>
    <allow send_destination='*'/>
    <allow receive_sender='*'/>
    {policy}
  </policy>
</busconfig>"""


# For a bus that refuses to say which services there are
NO_LISTS = ("<deny send_destination='org.freedesktop.DBus' send_interface='org.freedesktop.DBus'"
            " send_member='ListActivatableNames'/>")


def hierarchies():
    """
    Returns {controller: directory} of this host's cgroups, as libvirt sees them: "systemd" is where
    systemd has its scopes.
    """
    with open(os.path.join(ROOT, "cgroup.controllers") if os.path.exists(
            os.path.join(ROOT, "cgroup.controllers")) else os.devnull, encoding="ascii") as file:
        unified = file.read().split()
    if unified:
        return {name: ROOT for name in ("systemd", *unified)}
    return {name: os.path.join(ROOT, name) for name in ("systemd", "cpu", "cpuacct", "memory")
            if os.path.isdir(os.path.join(ROOT, name))}


def own():
    """Returns the directories in which systemd makes scopes; in others libvirt does."""
    hybrid = os.path.join(ROOT, "unified")
    return [hierarchies()["systemd"]] + ([hybrid] if os.path.isdir(hybrid) else [])


def why_not():
    """Returns why no cgroups can be made here, or None when they can."""
    found = hierarchies()
    if {"systemd", "cpu", "memory"} - set(found):
        return f"no cgroups for CPU and memory in {ROOT}: {sorted(found)}"
    for directory in set(found.values()):
        try:
            os.mkdir(os.path.join(directory, TOP))
            os.rmdir(os.path.join(directory, TOP))
        except OSError as error:
            return f"no cgroup can be made: {error}"
    return None


class Machined:
    """Bus and services, with their files in @directory. Start them by start(), end by stop()."""

    def __init__(self, directory, policy=""):
        self.policy = policy
        self.socket = os.path.join(directory, "machined-bus")
        self.address = f"unix:path={self.socket}"
        self.directory = directory
        self.calls = []
        self.errors = {}
        self.delays = {}
        self.machines = {}  # name -> (leader, unit, path of its scope below a hierarchy)
        self.process = self.loop = self.thread = None

    def start(self):
        services = os.path.join(self.directory, "services")
        os.mkdir(services)
        for name in (MACHINE1, SYSTEMD1):
            with open(os.path.join(services, f"{name}.service"), "w", encoding="ascii") as file:
                file.write(SERVICE.format(name=name))
        config = os.path.join(self.directory, "machined-bus.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(socket=self.socket, services=services,
                                            policy=self.policy))
        self.process = subprocess.Popen(
            WITH_US + ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        ready = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        for _ in range(2):
            if not ready.acquire(timeout=20):
                raise TimeoutError("the fake systemd-machined has no name on its bus")

    def _run(self, ready):
        context = GLib.MainContext.new()
        context.push_thread_default()
        self.loop = GLib.MainLoop.new(context, False)
        connection = Gio.DBusConnection.new_for_address_sync(
            self.address, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT |
            Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
        node = Gio.DBusNodeInfo.new_for_xml(INTERFACES)
        self.connection = connection
        self.machine_interface = node.lookup_interface(f"{MACHINE1}.Machine")
        for name, path in ((MACHINE1, "/org/freedesktop/machine1"),
                           (SYSTEMD1, "/org/freedesktop/systemd1")):
            connection.register_object(path, node.lookup_interface(f"{name}.Manager"),
                                       self._call, None, None)
            Gio.bus_own_name_on_connection(connection, name, Gio.BusNameOwnerFlags.NONE,
                                           lambda *args: ready.release(), None)
        self.loop.run()

    def _call(self, connection, sender, path, interface, method, parameters, invocation):
        arguments = parameters.unpack()
        self.calls.append((method, arguments))
        time.sleep(self.delays.get(method, 0))
        if method in self.errors:
            invocation.return_dbus_error(*self.errors[method])
            return
        try:
            answer = getattr(self, f"_{method}")(*arguments)
        except KeyError as error:
            invocation.return_dbus_error(f"{MACHINE1}.NoSuchMachine", f"No machine {error} known")
        except FileExistsError as error:
            invocation.return_dbus_error(f"{MACHINE1}.MachineExists", str(error))
        except OSError as error:
            invocation.return_dbus_error("org.freedesktop.DBus.Error.Failed", str(error))
        else:
            invocation.return_value(GLib.Variant("(o)", (answer,)) if answer else None)

    @staticmethod
    def object_of(name):
        return "/org/freedesktop/machine1/machine/" + "".join(
            char if char.isalnum() else f"_{ord(char):02x}" for char in name)

    def _CreateMachineWithNetwork(self, name, uuid, service, kind, leader, root, nics, properties):
        if name in self.machines:
            raise FileExistsError(f"Machine '{name}' already exists")
        return self.add(name, leader, dict(properties)["Slice"])

    def add(self, name, leader, slice_name="machine.slice"):
        """Puts the process @leader into a machine @name. Returns the path of its object."""
        unit = "machine-" + name.replace("-", "\\x2d") + ".scope"
        scope = os.path.join(TOP, *self.slices(slice_name), unit)
        for hierarchy in own():
            os.makedirs(os.path.join(hierarchy, scope))
            with open(os.path.join(hierarchy, scope, "cgroup.procs"), "w",
                      encoding="ascii") as procs:
                procs.write(str(leader))
        self.machines[name] = (leader, unit, scope)
        self.connection.register_object(self.object_of(name), self.machine_interface, None,
                                        lambda *args: self._property(name, args[4]), None)
        return self.object_of(name)

    def _property(self, name, which):
        leader, unit, _ = self.machines[name]
        return {"Name": GLib.Variant("s", name), "Unit": GLib.Variant("s", unit),
                "Leader": GLib.Variant("u", leader)}[which]

    @staticmethod
    def slices(name):
        """a-b.slice is in a.slice"""
        parts = name.removesuffix(".slice").replace("\\x2d", "-").split("-")
        return ["-".join(parts[:n + 1]) + ".slice" for n in range(len(parts))]

    def _GetMachine(self, name):
        if name not in self.machines:
            raise KeyError(name)
        return self.object_of(name)

    def _GetMachineByPID(self, pid):
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
            text = file.read()
        for name, (_, _, scope) in self.machines.items():
            if f"/{scope}" in text:
                return self.object_of(name)
        raise KeyError(pid)

    def _SetUnitProperties(self, unit, runtime, properties):
        scope, = (scope for _, name, scope in self.machines.values() if name == unit)
        files = {"CPUShares": ("cpu", "cpu.shares"), "CPUWeight": ("cpu", "cpu.weight")}
        for key, value in properties:
            controller, name = files[key]
            with open(os.path.join(hierarchies()[controller], scope, name), "w",
                      encoding="ascii") as file:
                file.write(str(value))

    def _TerminateMachine(self, name):
        _, _, scope = self.machines[name]
        for pid in self.processes_in(scope):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        del self.machines[name]

    @staticmethod
    def processes_in(scope):
        """Returns the PIDs that are in @scope and below it."""
        found = []
        for where, _, _ in os.walk(os.path.join(hierarchies()["systemd"], scope)):
            with (contextlib.suppress(OSError),
                  open(os.path.join(where, "cgroup.procs"), encoding="ascii") as procs):
                found += [int(line) for line in procs]
        return found

    def called(self, method):
        """Returns the arguments of the calls of @method."""
        return [arguments for name, arguments in self.calls if name == method]

    @staticmethod
    def read(controller, scope, name):
        """Returns the content of the file @name of @scope, in which libvirt has one more cgroup."""
        where = os.path.join(hierarchies()[controller], scope)
        below = os.path.join(where, "libvirt")
        return Machined.read_file(below if os.path.exists(below) else where, name)

    @staticmethod
    def read_file(where, name):
        with open(os.path.join(where, name), encoding="ascii") as file:
            return file.read().strip()

    @staticmethod
    def collect():
        """
        Removes slices and scopes that have no processes any more, as systemd does of its own
        accord, in all hierarchies. Returns whether nothing is left.
        """
        for directory in {*hierarchies().values(), *own()}:
            for where, _, _ in os.walk(os.path.join(directory, TOP), topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(where)
        return not any(os.path.exists(os.path.join(directory, TOP))
                       for directory in {*hierarchies().values(), *own()})

    def stop(self):
        if self.loop:
            self.loop.quit()
            self.thread.join()
        self.process.terminate()
        self.process.communicate(timeout=30)
