#
# desktop.py: looks at, and clicks, what is on an X display
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A program of its own, as it needs the display and the accessibility bus of the programs
that it looks at in its environment (DISPLAY, DBUS_SESSION_BUS_ADDRESS):

    desktop.py tree                 what AT-SPI says: one JSON object for each visible element
    desktop.py click ROLE NAME      does the element's first action, as a click would
    desktop.py screenshot FILE      writes the display into a PNG file

Desktop, for tests, is an X server and a D-Bus with this program on it.
"""

import json
import subprocess
import sys

from daemon import WITH_US


class Desktop:
    """An X server without a screen and a session bus; .env is for programs on them."""

    def __init__(self, env, directory):
        self.directory = directory
        self.env = dict(env, GSETTINGS_BACKEND="memory", NO_AT_BRIDGE="0")
        self.env.pop("WAYLAND_DISPLAY", None)
        self.processes = []
        number = self._start("Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24",
                             "-nolisten", "tcp")
        self.env["DISPLAY"] = ":" + number
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self._start(
            "dbus-daemon", "--session", "--nofork", "--print-address")

    def _start(self, *command):
        """Starts a server; returns the first line that it writes, once it is ready."""
        process = subprocess.Popen(WITH_US + list(command), env=self.env, cwd=self.directory,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        self.processes.append(process)
        return process.stdout.readline().strip()

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.communicate(timeout=30)

    def _run(self, *args):
        return subprocess.run([sys.executable, __file__, *args], env=self.env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=True).stdout

    def tree(self):
        """Returns the visible elements of all windows: role, name, text, sensitive."""
        return [json.loads(line) for line in self._run("tree").splitlines()]

    def find(self, **wanted):
        """Returns the elements with the members @wanted."""
        return [element for element in self.tree()
                if all(element[name] == value for name, value in wanted.items())]

    def click(self, role, name):
        self._run("click", role, name)

    def screenshot(self, path):
        self._run("screenshot", path)


def elements(parent, visible):
    """Yields what is below @parent, or what of it is @visible; windows come and go meanwhile."""
    for i in range(parent.childCount):
        child = parent.getChildAtIndex(i)
        # an application is no window, and shows nothing itself
        if child is not None and (not visible or child.getRole() == pyatspi.ROLE_APPLICATION or
                                  child.getState().contains(pyatspi.STATE_SHOWING)):
            yield child
            yield from elements(child, visible)


def role_name(element):
    """As AT-SPI has it; at-spi2-core 2.56, of Debian 13, calls "button" what was a "push button"."""
    return "button" if element.getRole() == pyatspi.ROLE_PUSH_BUTTON else element.getRoleName()


def describe(element):
    try:
        text = element.queryText().getText(0, -1)
    except NotImplementedError:
        text = ""
    return {"role": role_name(element), "name": element.name, "text": text,
            "sensitive": element.getState().contains(pyatspi.STATE_SENSITIVE)}


def take_screenshot(path):
    gi.require_version("Gdk", "3.0")
    from gi.repository import Gdk  # pylint: disable=import-outside-toplevel

    root = Gdk.get_default_root_window()
    Gdk.pixbuf_get_from_window(root, 0, 0, root.get_width(), root.get_height()).savev(
        path, "png", [], [])


def main(command, *args):
    if command == "screenshot":
        take_screenshot(*args)
        return
    for element in elements(pyatspi.Registry.getDesktop(0), command == "tree"):
        if command == "tree":
            print(json.dumps(describe(element)))
        elif (role_name(element), element.name) == args:
            element.queryAction().doAction(0)
            return
    if command == "click":
        sys.exit(f"no {args[0]} '{args[1]}'")


if __name__ == "__main__":
    import gi
    import pyatspi

    main(*sys.argv[1:])
