#
# test_nsm.py: the NSM of an emulated enclave, from the definition to a document that is verified
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
QEMU is one that says that it can have an NSM (fakeqemu.py), and this test is its guest: what it is
told of the device is the daemon's own doing. The distribution's QEMU may have none, and one that has
is used where LIBVIRT_NITRO_NSM_QEMU is its path: "make check-nsm" gets one, and a kernel with the
driver for each architecture, in LIBVIRT_NITRO_NSM_KERNELS.
"""

import contextlib
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree

import daemon
import eifsigner
import fakeqemu
import helpertest
import nsmclient
import ociwriter
import taprunner
import vsockdevicetest
from daemon import BUILD, HELLO_AARCH64, HELLO_EIF, NSM, wait_until
from e2etest import (BOOT_SECONDS, NAMESPACE, SHUTDOWN, STARTED, EnclaveTest, boot_image, domain_xml,
                     libvirt, quick_xml)
from liveprocess import LiveProcess
from nsmclient import encode
from nsmdevicetest import Guest
from nsmtest import INSTANCE, ROLE, ZERO, extend
from vsockclient import VsockClient

CONFIG_UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
OPERATION_FAILED = libvirt.VIR_ERR_OPERATION_FAILED
TOOL = os.environ["VIRT_EIF"]
QEMU = os.environ.get("LIBVIRT_NITRO_NSM_QEMU", "")
KERNELS = os.environ.get("LIBVIRT_NITRO_NSM_KERNELS", "")
PROGRAM = os.path.join(BUILD, "tests", "nsmguest")

YES = "<nitro:nsm enabled='yes'/>"
NO = "<nitro:nsm enabled='no'/>"
PARENT = f"<nitro:parent role='{ROLE}' id='{INSTANCE}'/>"

STEPS = fakeqemu.RUN + fakeqemu.SIGNAL + fakeqemu.RELEASE + fakeqemu.SIGNAL


class NsmCase(EnclaveTest):
    """Domains in debug mode or not; the start of some does not wait for a guest."""

    @classmethod
    def before_start(cls):
        cls.directory = ("/var/lib/libvirt/nitro/nsm" if cls.system else
                         os.path.join(cls.daemon.config_dir, "nitro", "nsm"))
        cls.key = os.path.join(cls.directory, "nsm-root.key")
        cls.root = os.path.join(cls.directory, "nsm-root.pem")

    def create_xml(self, xml, debug=True):
        if not debug:
            xml = xml.replace("<nitro:enclave debug='yes'/>", "")
        return self.conn.createXML(xml, 0)

    def create(self, name, elements="", debug=True):
        return self.create_xml(quick_xml(name, elements=elements), debug)

    def log(self, name):
        path = os.path.join(self.daemon.domain_log_dir, f"{name}.log")
        with open(path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def capability(self, machine="nitro-enclave"):
        """What the capabilities of domains say: "yes", "no", or None when nothing"""
        xml = self.conn.getDomainCapabilities(None, "x86_64", machine, "nitro")
        element = ElementTree.fromstring(xml).find(f"{{{NAMESPACE}}}nsm")
        return None if element is None else element.get("supported")

    def nsm_of(self, dom):
        """The PIDs of the NSMs of the running domain @dom"""
        below = self.processes.descendants(self.helper_of(dom))
        return [pid for pid, name in below.items() if name == os.path.basename(NSM)[:15]]

    def verify(self, document, *args):
        """What virt-eif says of the attestation document @document, below this daemon's root"""
        path = self.path("document")
        with open(path, "wb") as file:
            file.write(document)
        return subprocess.run([TOOL, "attest", "verify", "--json", "--root", self.root, *args, path],
                              capture_output=True, text=True, check=False)


class With(NsmCase):
    """A QEMU that can have one"""

    @classmethod
    def before_start(cls):
        cls.qemu = os.path.join(cls.daemon.dir, "qemu-system-x86_64")
        fakeqemu.make(cls.qemu, fakeqemu.nsm() + STEPS)
        cls.daemon.daemon_env["PATH"] = cls.daemon.dir + ":" + os.environ["PATH"]
        super().before_start()

    def guest_of(self, dom):
        """Takes the NSM from the fake QEMU of @dom."""
        qemu = self.qemu_of(dom)
        guest = Guest(vsockdevicetest.FrontEnd(fakeqemu.take_descriptor(qemu, fakeqemu.NSM)))
        self.addCleanup(guest.close)
        os.kill(qemu, signal.SIGUSR1)
        helpertest.wait_for(lambda: not os.path.lexists(f"/proc/{qemu}/fd/{fakeqemu.NSM}"))
        guest.hello()
        guest.set_up()
        guest.enable()
        return guest

    def register(self, guest, index):
        return guest.ask("DescribePCR", index=index)["DescribePCR"]["data"]

    def test_document(self):
        """the whole way: a document of what was started, below the root of this daemon"""
        dom = self.create("attested", YES + PARENT, debug=False)
        guest = self.guest_of(dom)
        self.assertEqual(self.register(guest, 3), extend(ZERO, ROLE.encode()))
        self.assertEqual(self.register(guest, 4), extend(ZERO, INSTANCE.encode()))
        document = guest.ask("Attestation", nonce=b"nonce")["Attestation"]["document"]
        done = self.verify(document, "--image", HELLO_EIF, "--nonce", b"nonce".hex())
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn(f"{INSTANCE}-enc{dom.UUIDString()}", json.dumps(json.loads(done.stdout)))
        self.assertNotEqual(self.verify(document, "--nonce", "00").returncode, 0)
        xml = dom.XMLDesc()
        self.assertIn(YES, xml)
        self.assertIn(PARENT, xml)

    def test_debug(self):
        """zero registers, as on the hypervisor"""
        guest = self.guest_of(self.create("debugged", PARENT))
        for index in (0, 3, 4):
            self.assertEqual(self.register(guest, index), ZERO)

    def test_default(self):
        """there is one when nobody asks, and none is missed"""
        dom = self.create("default")
        self.assertEqual(len(self.nsm_of(dom)), 1)
        self.assertNotIn("no NSM", self.log("default"))
        dom.destroy()

    def test_off(self):
        dom = self.create("off", NO)
        self.assertEqual(self.nsm_of(dom), [])
        self.assertNotIn("NSM", self.log("off"))

    def test_capabilities(self):
        self.assertEqual(self.capability(), "yes")

    def test_root_stays(self):
        """it is made once, and nobody else reads its key"""
        with open(self.root, encoding="ascii") as file:
            before = file.read()
        self.assertEqual(stat.S_IMODE(os.stat(self.key).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.root).st_mode), 0o644)
        self.assertEqual(stat.S_IMODE(os.stat(self.directory).st_mode), 0o711)
        self.daemon.restart()
        self.reconnect()
        self.create("again", YES)
        with open(self.root, encoding="ascii") as file:
            self.assertEqual(file.read(), before)

    def test_root_unreadable(self):
        """what is there and is no key is not replaced"""
        with open(self.key, "r+b") as file:
            content = file.read()
            file.seek(0)
            file.truncate()
            file.write(b"precious\n")
            file.flush()
            with self.refused(OPERATION_FAILED, "--issue", self.key, "restore it"):
                self.create("keyless")
            with open(self.key, "rb") as now:
                self.assertEqual(now.read(), b"precious\n")
            # one that asks for none needs none
            self.create("careless", NO)
            file.seek(0)
            file.truncate()
            file.write(content)
        self.create("keyed", YES)

    def test_directory_of_all(self):
        os.chmod(self.directory, 0o777)
        with self.refused(OPERATION_FAILED, self.directory, "by others"):
            self.create("shared")
        os.chmod(self.directory, 0o711)
        self.create("private", YES)

    def test_other_qemu(self):
        """QEMU is asked anew when it has changed, and the daemon runs on"""
        fakeqemu.make(self.qemu, STEPS)
        with self.refused(CONFIG_UNSUPPORTED, "enabled='yes'", self.qemu, "QEMU 10.2"):
            self.create("older", YES)
        self.assertEqual(self.capability(), "no")
        fakeqemu.make(self.qemu, fakeqemu.nsm("vhost-user-device") + STEPS)
        dom = self.create("other", YES)
        self.assertIn("vhost-user-device", self.log("other"))
        self.assertEqual(len(self.nsm_of(dom)), 1)
        fakeqemu.make(self.qemu, fakeqemu.nsm() + STEPS)

    def test_no_program(self):
        """QEMU alone is no NSM"""
        self.daemon.wrap_helper("")
        link = os.path.join(self.daemon.daemon_env["LIBVIRT_NITRO_HELPER_DIR"], os.path.basename(NSM))
        os.rename(link, link + ".not")
        self.daemon.restart()
        self.reconnect()
        with self.refused(CONFIG_UNSUPPORTED, link, "install it"):
            self.create("lacking", YES)
        os.rename(link + ".not", link)
        self.create("complete", YES)

    def test_not_found_out(self):
        """no answer is none: the start fails, and the next one asks"""
        answer = self.path("broken")
        self.daemon.wrap_helper(f'[ "$1" = --probe-qemu ] && [ -e {answer} ] && kill -9 $$')
        with open(answer, "wb"):
            pass
        self.daemon.restart()
        self.reconnect()
        with self.refused(OPERATION_FAILED, "--probe-qemu", "signal 9"):
            self.create("unsure")
        self.create("sure", NO)
        os.unlink(answer)
        self.create("asked", YES)


class OfSystem:
    """The same of the system's daemon, whose helpers are another user's"""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()


class WithSystem(OfSystem, With):
    """A QEMU that can have one"""


class Without(NsmCase):
    """The distribution's QEMU, where that can have none"""

    @classmethod
    def setUpClass(cls):
        done = subprocess.run(["qemu-system-x86_64", "-machine", "none", "-display", "none",
                               "-device", "vhost-user-test-device,help"],
                              capture_output=True, text=True, check=False)
        if "virtio-id" in done.stdout:
            raise unittest.SkipTest("the QEMU of this host can have an NSM")
        super().setUpClass()

    def test_refused(self):
        with self.refused(CONFIG_UNSUPPORTED, "<nitro:nsm enabled='yes'/> of domain 'wanting'",
                          "qemu-system-x86_64' can create neither", "use QEMU 10.2 or newer; or remove"):
            self.create("wanting", YES)

    def test_default(self):
        """the log says that there is none, and why"""
        self.create("plain", PARENT)
        self.assertIn("this enclave has no NSM, as '", self.log("plain"))
        self.assertIn("use QEMU 10.2 or newer", self.log("plain"))

    def test_off(self):
        """nobody misses what nobody wants"""
        self.create("silent", NO)
        self.assertNotIn("NSM", self.log("silent"))

    def test_capabilities(self):
        self.assertEqual(self.capability(), "no")


class Device(NsmCase):
    """Machine 'nitro' has the hypervisor's"""

    def test_refused(self):
        for elements in (YES, NO, PARENT):
            with self.subTest(elements), self.refused(CONFIG_UNSUPPORTED, "'nitro-enclave' only"):
                self.conn.defineXML(domain_xml("device", machine="nitro", elements=elements))

    def test_capabilities(self):
        if os.uname().machine != "x86_64":
            self.skipTest("machine 'nitro' of x86_64 is not of this host")
        self.assertIsNone(self.capability("nitro"))


class Enclave:
    """The NSM of the running domain @dom, whose program is tests/nsmguest.c"""

    PORT = 5005

    def __init__(self, dom):
        self.client = VsockClient.of(dom)
        self.conn = wait_until(self.connect, BOOT_SECONDS, "the enclave's program")

    def connect(self):
        # the heartbeat came before the program
        with contextlib.suppress(ConnectionError):
            return self.client.connect(self.PORT)
        return None

    def send(self, message):
        self.conn.sendall(struct.pack("<I", len(message)) + message)

    def ask(self, request, **fields):
        self.send(encode({request: fields} if fields else request))
        return self.reply()

    def reply(self):
        length, = struct.unpack("<i", self.receive(4))
        if length < 0:
            raise OSError(-length, os.strerror(-length))
        return nsmclient.decode(self.receive(length))

    def receive(self, count):
        data = self.conn.recv(count, socket.MSG_WAITALL)
        if len(data) != count:
            raise ConnectionError(f"{len(data)} bytes in place of {count}")
        return data

    def register(self, index):
        return self.ask("DescribePCR", index=index)["DescribePCR"]

    def close(self):
        self.conn.close()


@unittest.skipUnless(QEMU, "no LIBVIRT_NITRO_NSM_QEMU that can have an NSM: make check-nsm gets one")
class Real(NsmCase):
    """Such a QEMU, Linux' own driver, and the init of images of containers, which loads it"""

    seconds = 10 * BOOT_SECONDS

    arch = "x86_64"
    architecture = "amd64"  # the same for Debian and for containers
    suffix = ""

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.daemon_env["PATH"] = os.path.dirname(QEMU) + ":" + os.environ["PATH"]
        cls.image = os.path.join(cls.daemon.dir, "nsm.eif")
        with open(PROGRAM + cls.suffix, "rb") as program:
            layer = ociwriter.layer(ociwriter.entry("nsmguest", program.read(), mode=0o755))
        archive, key, certificate = (os.path.join(cls.daemon.dir, name)
                                     for name in ("nsm.tar", "signer.key", "signer.pem"))
        ociwriter.write_archive(archive, ociwriter.layout(
            [layer], architecture=cls.architecture, Entrypoint=["/nsmguest"],
            Cmd=[str(Enclave.PORT)]))
        kernel = os.path.join(KERNELS, cls.architecture)
        signer = eifsigner.Signer()
        for path, content in ((key, signer.private_pem()), (certificate, signer.pem)):
            with open(path, "wb") as file:
                file.write(content)
        subprocess.run([
            TOOL, "build", "--oci", archive, "--kernel", os.path.join(kernel, "vmlinuz"),
            "--module-dir", os.path.join(kernel, "tree"), "--module", "virtio_mmio",
            "--module", "vmw_vsock_virtio_transport", "--module", "nsm",
            "--cmdline", "console=ttyS0 quiet reboot=t panic=-1", "--sign-key", key,
            "--sign-certificate", certificate, "--output", cls.image], check=True)
        described = subprocess.run([TOOL, "describe", "--json", cls.image], stdout=subprocess.PIPE,
                                   check=True)
        values = json.loads(described.stdout)["Measurements"]
        cls.measured = {index: bytes.fromhex(values[f"PCR{index}"]) for index in (0, 1, 2, 8)}

    def boot(self, name, elements, debug=True, **kwargs):
        return self.create_xml(domain_xml(name, boot_image(self.image), arch=self.arch, memory="384",
                                          elements=elements, **kwargs), debug)

    def enclave(self, dom):
        enclave = Enclave(dom)
        self.addCleanup(enclave.close)
        return enclave

    def check_sandbox(self, dom):
        """QEMU has a file system of its own, and QEMU and the NSM have filters."""
        nsm, = self.nsm_of(dom)
        qemu = self.qemu_of(dom)
        for pid in (nsm, qemu):
            self.assertEqual(LiveProcess(pid).of_threads("Seccomp"), {"2"})
        self.assertEqual(os.listdir(f"/proc/{qemu}/root/etc"), ["ld.so.cache"])

    def test_boot(self):
        """What an application does to attest itself, and what a verifier makes of it"""
        dom = self.boot("real", YES + PARENT, debug=False)
        self.check_sandbox(dom)
        # nothing that a newer QEMU is to do without
        self.assertNotIn("QEMU: ", self.log("real"))
        enclave = self.enclave(dom)
        expected = {**self.measured, 3: extend(ZERO, ROLE.encode()),
                    4: extend(ZERO, INSTANCE.encode())}
        for index in range(32):
            self.assertEqual(enclave.register(index),
                             {"lock": index < 16, "data": expected.get(index, ZERO)}, index)
        first, second = (enclave.ask("GetRandom")["GetRandom"]["random"] for _ in range(2))
        self.assertEqual(len(first), 256)
        self.assertNotEqual(first, second)

        value = extend(ZERO, b"configuration")
        self.assertEqual(enclave.ask("ExtendPCR", index=16, data=b"configuration"),
                         {"ExtendPCR": {"data": value}})
        self.assertEqual(enclave.ask("LockPCR", index=16), "LockPCR")
        self.assertEqual(enclave.ask("ExtendPCR", index=16, data=b"more"), {"Error": "ReadOnlyIndex"})
        self.assertEqual(enclave.register(16), {"lock": True, "data": value})

        # as long as they can be
        data, key, nonce = os.urandom(1024), os.urandom(1024), os.urandom(1024)
        reply = enclave.ask("Attestation", user_data=data, public_key=key, nonce=nonce)
        document = reply["Attestation"]["document"]
        arguments = ["--image", self.image, "--pcr", f"16={value.hex()}", "--time", "now"]
        done = self.verify(document, *arguments, "--nonce", nonce.hex())
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn(data.hex(), done.stdout)
        self.assertIn(key.hex(), done.stdout)
        self.assertNotEqual(self.verify(document, *arguments, "--nonce", "00").returncode, 0)

        # the end of its program is that of the enclave, and the next one has registers of its own
        enclave.send(b"")
        wait_until(lambda: self.events.of("real").count(STARTED) == 2, BOOT_SECONDS, "the restart")
        self.check_fresh(self.conn.lookupByName("real"))
        self.conn.lookupByName("real").reboot()
        self.check_fresh(self.conn.lookupByName("real"))

    def check_fresh(self, dom):
        enclave = self.enclave(dom)
        self.assertEqual(enclave.register(16), {"lock": False, "data": ZERO})
        self.assertEqual(enclave.register(0)["data"], self.measured[0])

    def test_debug(self):
        """zero registers, in the document as well: it proves no image"""
        enclave = self.enclave(self.boot("debugged", YES + PARENT))
        self.assertEqual([enclave.register(index) for index in range(16)],
                         [{"lock": True, "data": ZERO}] * 16)
        document = enclave.ask("Attestation", nonce=b"nonce")["Attestation"]["document"]
        done = self.verify(document, "--image", self.image)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("debug mode", done.stderr)

    def test_none(self):
        """the driver finds none where there is none, and the enclave does without"""
        path, console = self.console_file()
        self.boot("lacking", NO + "<on_reboot>destroy</on_reboot>", devices=console)
        self.events.wait("lacking", *SHUTDOWN, seconds=BOOT_SECONDS)
        self.assertIn("/dev/nsm: No such file or directory", self.wait_text(path, "has ended with 1"))


class RealSystem(OfSystem, Real):
    """Such a QEMU, Linux' own driver"""


class RealAarch64(Real):
    """As much on the other architecture"""

    arch = "aarch64"
    architecture = "arm64"
    suffix = HELLO_AARCH64


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
