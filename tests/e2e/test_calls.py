#
# test_calls.py: every call of libvirt-python on a domain
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each method of a domain, running and shut off, answers, or says why not: no client is told that
"an error occurred, but the cause is unknown". What the answers are is the other tests' subject.
"""

import gc
import inspect
import itertools
import resource

import taprunner
from e2etest import EnclaveTest, libvirt, quick_xml

# Arguments that have no default, by their names; for all others VALUES are tried in turn.
VALUES = (0, "x", None)

# Those whose defaults are no arguments
ARGUMENTS = {"setTime": [({"seconds": 1},)]}

# Methods that are of libvirt-python's own
SKIPPED = {"c_pointer", "connect", "ref"}


class Calls(EnclaveTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # libvirt-python asks for memory as strange arguments say; the daemon runs already
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, hard))

    def setUp(self):
        super().setUp()
        # errors are in circles with frames that hold the connection
        self.addCleanup(gc.collect)

    def value_of(self, name):
        """Returns the candidates for the argument @name: libvirt-python takes any for a list."""
        known = {"codeset": 0, "dconn": self.conn, "files": [], "holdtime": 0,
                 "keycodes": [30], "nkeycodes": 1, "params": {"x": 1}, "snap": None, "uri": None}
        if name in ("st", "stream"):
            return [self.conn.newStream()]
        if name == "cpumap":
            return [(True,), "0"]
        return [known[name]] if name in known else VALUES

    def call(self, dom, name):
        """
        Calls the method @name of @dom with the first arguments that Python takes. Returns the
        libvirtError that it raises, or None.
        """
        method = getattr(dom, name)
        needed = [parameter.name for parameter in inspect.signature(method).parameters.values()
                  if parameter.default is parameter.empty and
                  parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        for values in ARGUMENTS.get(name) or itertools.product(*map(self.value_of, needed)):
            try:
                method(*values)
                return None
            except libvirt.libvirtError as error:
                return error
            except (AttributeError, LookupError, OverflowError, SystemError, TypeError,
                    ValueError):
                continue
        raise AssertionError(f"{name}: no arguments were found for {needed}")

    def check(self, dom, name):
        error = self.call(dom, name)
        if error:
            text = error.get_error_message()
            self.assertNotIn(error.get_error_code(), (None, libvirt.VIR_ERR_OK,
                                                      libvirt.VIR_ERR_INTERNAL_ERROR), text)
            self.assertNotIn("cause is unknown", text)

    @staticmethod
    def methods():
        return [name for name, value in sorted(vars(libvirt.virDomain).items())
                if callable(value) and not name.startswith("_") and name not in SKIPPED]

    def test_running_domain(self):
        for name in self.methods():
            with self.subTest(name):
                try:
                    self.check(self.conn.createXML(quick_xml("running"), 0), name)
                finally:
                    self.remove_domains()

    def test_stored_domain(self):
        for name in self.methods():
            with self.subTest(name):
                try:
                    self.check(self.conn.defineXML(quick_xml("stored")), name)
                finally:
                    self.remove_domains()

    def test_security_labels(self):
        """the driver labels nothing: an empty list"""
        dom = self.conn.createXML(quick_xml("labels"), 0)
        self.assertEqual(dom.securityLabelList(), [])
        dom.destroy()
        dom = self.conn.defineXML(quick_xml("labels"))
        self.assertEqual(dom.securityLabelList(), [])


if __name__ == "__main__":
    taprunner.main()
