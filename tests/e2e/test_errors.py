#
# test_errors.py: what cannot work is refused with a sentence and the right code
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each refusal is looked at three times: its error code, that its text names the value
at fault, and (by the base class) that it leaves nothing behind.
"""

import os
import socket
import threading
import time
import unittest

import eifwriter
import fakeqemu
import taprunner
from daemon import HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, NOBODY, build_is_for_all
from e2etest import EnclaveTest, boot_image, boot_kernel, domain_xml, libvirt

CONFIG_UNSUPPORTED = libvirt.VIR_ERR_CONFIG_UNSUPPORTED
OPERATION_FAILED = libvirt.VIR_ERR_OPERATION_FAILED

# <devices> that an enclave cannot have, and the words that the error must have
DEVICES = [
    ("<disk type='file'><source file='/tmp/x'/><target dev='vda' bus='virtio'/></disk>", "<disk>"),
    ("<interface type='user'/>", "<interface>"),
    ("<graphics type='vnc'/>", "<graphics>"),
    ("<video><model type='vga'/></video>", "<video>"),
    ("<input type='tablet' bus='usb'/>", "<input>"),
    ("<sound model='ich6'/>", "<sound>"),
    ("<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' slot='0'"
     " function='0'/></source></hostdev>", "<hostdev>"),
    ("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>", "<rng>"),
    ("<memballoon model='virtio'/>", "<memballoon"),
    ("<watchdog model='i6300esb'/>", "<watchdog>"),
    ("<filesystem><source dir='/tmp'/><target dir='x'/></filesystem>", "<filesystem>"),
    ("<console type='tcp'><source mode='bind' host='::1' service='4'/></console>", "'tcp'"),
    ("<console type='pty'/><console type='pty'><target type='virtio'/></console>", "console"),
    ("<vsock><cid auto='no' address='3'/></vsock>", "CID 3"),
]

# memory in KiB, and the words
MEMORY = [(0, "0 KiB"), (1, "1 KiB"), (63 * 1024, "64512 KiB"), (65 * 1024, "66560 KiB"),
          (64 * 1024 - 4, "65532 KiB")]


class Definitions(EnclaveTest):
    """What the XML alone shows is refused when it is defined, and when it is created."""

    def refuse_both(self, xml, code, *words):
        for make in (self.conn.defineXML, lambda xml: self.conn.createXML(xml, 0)):
            with self.refused(code, *words):
                make(xml)
        self.assertEqual(self.conn.listAllDomains(), [])

    def test_devices(self):
        """devices that an enclave cannot have are refused by name"""
        for number, (device, word) in enumerate(DEVICES):
            with self.subTest(word):
                self.refuse_both(domain_xml(f"dev{number}", devices=device),
                                 CONFIG_UNSUPPORTED, word)

    def test_memory(self):
        """memory that no enclave can have"""
        for memory, word in MEMORY:
            with self.subTest(f"{memory} KiB"):
                self.refuse_both(domain_xml("mem", memory=memory, unit="KiB"),
                                 CONFIG_UNSUPPORTED, "memory", word)

    def test_vcpus(self):
        """0 and 10000 vCPUs"""
        # the text and the code are of libvirt's parser, before any driver is asked
        self.refuse_both(domain_xml("none", vcpu="<vcpu>0</vcpu>"),
                         libvirt.VIR_ERR_INTERNAL_ERROR, "<vcpu>")
        self.refuse_both(domain_xml("many", vcpu="<vcpu>10000</vcpu>"),
                         CONFIG_UNSUPPORTED, "10000")

    def test_names_of_types(self):
        """a wrong domain type, OS type, machine or architecture"""
        good = domain_xml("names")
        for old, new, code, word in [
                ("type='nitro'", "type='kvm'", CONFIG_UNSUPPORTED, "kvm"),
                (">hvm<", ">exe<", CONFIG_UNSUPPORTED, "exe"),
                ("machine='nitro-enclave'", "machine='pc'", CONFIG_UNSUPPORTED, "'pc'"),
                ("arch='x86_64'", "arch='s390x'", CONFIG_UNSUPPORTED, "s390x")]:
            with self.subTest(word):
                self.refuse_both(good.replace(old, new), code, word)

    def test_no_image(self):
        """no <kernel>, or one with a relative path"""
        self.refuse_both(domain_xml("none", boot="<boot dev='hd'/>"), CONFIG_UNSUPPORTED, "kernel")
        self.refuse_both(domain_xml("relative", boot=boot_image("hello.eif")),
                         libvirt.VIR_ERR_XML_ERROR, "kernel", "'hello.eif'")

    def test_not_xml(self):
        """text that is no domain"""
        self.refuse_both("<domain type='nitro'>", libvirt.VIR_ERR_XML_DETAIL)
        self.refuse_both("<network/>", libvirt.VIR_ERR_XML_ERROR)
        self.refuse_both(domain_xml("bad name\n"), libvirt.VIR_ERR_XML_DETAIL, "name")
        self.refuse_both(domain_xml("a/b"), libvirt.VIR_ERR_XML_ERROR, "name")

    def test_namespace(self):
        """nonsense in the elements of the nitro namespace"""
        good = domain_xml("ns")
        for old, new, word in [
                ("debug='yes'", "debug='maybe'", "maybe"),
                ("enabled='yes'", "enabled='perhaps'", "perhaps"),
                ("<nitro:enclave", "<nitro:measurement pcr='0'>xyz</nitro:measurement>"
                 "<nitro:enclave", "xyz")]:
            with self.subTest(word):
                self.refuse_both(good.replace(old, new, 1), libvirt.VIR_ERR_XML_ERROR, word)
        pcr3 = f"<nitro:measurement pcr='3'>{'0' * 96}</nitro:measurement><nitro:enclave"
        self.refuse_both(good.replace("<nitro:enclave", pcr3), CONFIG_UNSUPPORTED, "PCR 3")

    def test_validate(self):
        """a definition that is checked against the schema"""
        validate = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        good = domain_xml("valid", devices="<console type='pty'/>")
        self.conn.defineXMLFlags(good, validate).undefine()
        with self.refused(libvirt.VIR_ERR_XML_INVALID_SCHEMA):
            self.conn.defineXMLFlags(good.replace("<os>", "<colour>red</colour><os>"), validate)
        with self.refused(libvirt.VIR_ERR_XML_INVALID_SCHEMA):
            self.conn.createXML(good.replace("debug='yes'", "colour='red'"),
                                libvirt.VIR_DOMAIN_START_VALIDATE)

    def test_clashes(self):
        """a name or a UUID that another domain has"""
        first = self.conn.defineXML(domain_xml("first"))
        uuid = first.UUIDString()
        with_uuid = f"<uuid>{uuid}</uuid><name>"
        # the same name with another UUID, and the other way round
        for xml in (domain_xml("first"),
                    domain_xml("second").replace("<name>", with_uuid)):
            for make in (self.conn.defineXML, lambda xml: self.conn.createXML(xml, 0)):
                with self.refused(OPERATION_FAILED, "first", uuid):
                    make(xml)

        first.create()
        with self.refused(libvirt.VIR_ERR_OPERATION_INVALID, "first"):
            self.conn.createXML(domain_xml("first").replace("<name>", with_uuid), 0)
        with self.refused(OPERATION_FAILED, "first"):
            self.conn.createXML(domain_xml("first"), 0)
        self.assertEqual(first.isActive(), 1)
        self.assertEqual(first.isPersistent(), 1)


class Starts(EnclaveTest):
    """What only the start can see; the definition of a persistent domain stays."""

    def refuse_start(self, xml, code, *words):
        with self.refused(code, *words):
            self.conn.createXML(xml, 0)
        self.assertEqual(self.conn.listAllDomains(), [], "the transient domain is gone")

        dom = self.conn.defineXML(xml)
        with self.refused(code, *words):
            dom.create()
        self.assertEqual(dom.ID(), -1)
        state, reason = dom.state()
        self.assertEqual(state, libvirt.VIR_DOMAIN_SHUTOFF)
        # unknown: refused before anything was started
        self.assertIn(reason, (libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN,
                               libvirt.VIR_DOMAIN_SHUTOFF_FAILED))
        self.assertEqual([event for event, _ in self.events.of(dom.name())
                          if event == libvirt.VIR_DOMAIN_EVENT_STARTED], [])
        dom.undefine()

    def write(self, name, data):
        path = self.path(name)
        with open(path, "wb") as image:
            image.write(data)
        return path

    def refuse_image(self, path, code, *words, **xml):
        self.refuse_start(domain_xml("image", boot_image(path), **xml), code,
                          os.path.basename(path), *words)

    def test_no_device(self):
        """machine 'nitro' where there is no device: the error names both ways out"""
        if os.path.exists("/dev/nitro_enclaves"):
            self.skipTest("this host has /dev/nitro_enclaves")
        self.refuse_start(domain_xml("real", machine="nitro"),
                          libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
                          "/dev/nitro_enclaves", "nitro-enclave")

    def test_image_missing(self):
        self.refuse_image(self.path("nothing.eif"), libvirt.VIR_ERR_SYSTEM_ERROR,
                          "No such file")

    def test_image_directory(self):
        path = self.path("directory.eif")
        os.mkdir(path)
        self.refuse_image(path, CONFIG_UNSUPPORTED, "regular file")

    def test_image_fifo(self):
        """a FIFO does not make the daemon wait"""
        path = self.path("fifo.eif")
        os.mkfifo(path)
        self.refuse_image(path, CONFIG_UNSUPPORTED, "regular file")

    def test_image_empty(self):
        self.refuse_image(self.write("empty.eif", b""), OPERATION_FAILED)

    def test_image_nonsense(self):
        """a file that is neither an image nor a kernel"""
        self.refuse_image(self.write("text.eif", b"I am not an image.\n" * 100), OPERATION_FAILED)

    def test_image_truncated(self):
        with open(HELLO_EIF, "rb") as image:
            data = image.read()
        for size in (5, 547, 600, len(data) // 2, len(data) - 1):
            with self.subTest(size):
                self.refuse_image(self.write(f"cut{size}.eif", data[:size]), OPERATION_FAILED)

    def test_image_checksum(self):
        with open(HELLO_EIF, "rb") as image:
            data = bytearray(image.read())
        data[len(data) // 2] ^= 1
        self.refuse_image(self.write("flipped.eif", data), OPERATION_FAILED, "checksum")

    def test_image_architecture(self):
        path = eifwriter.simple(flags=1).write(self.path("arm.eif"))
        self.refuse_image(path, CONFIG_UNSUPPORTED, "aarch64", "x86_64")

    def test_image_version(self):
        path = eifwriter.simple(version=99).write(self.path("future.eif"))
        self.refuse_image(path, OPERATION_FAILED, "99")

    def test_image_order(self):
        """a ramdisk before the kernel, which the hypervisor would not boot without a word"""
        image = eifwriter.simple()
        image.sections.insert(1, image.sections.pop(2))
        image.sections.append(image.sections.pop(0))
        self.refuse_image(image.write(self.path("order.eif")), OPERATION_FAILED,
                          "section 0 (ramdisk) is before the kernel, section 3")

    def test_image_signed_twice(self):
        """by a tool that left the size of the first signature in the table"""
        image = eifwriter.signed()
        image.sections[-1].table_size = 17
        size = len(image.sections[-1].data)
        self.refuse_image(image.write(self.path("twice.eif")), OPERATION_FAILED,
                          f"section 5 (signature) has 17 bytes in the table and {size} in its own "
                          "header")

    def test_image_too_large(self):
        """the image must fit into a quarter of the memory"""
        path = self.path("large.eif")
        self.refuse_image(eifwriter.simple(ramdisks=(bytes(33 << 20),)).write(path),
                          CONFIG_UNSUPPORTED, "131072 KiB", "4")
        boot = boot_kernel().replace(HELLO_INITRD, HELLO_KERNEL)
        self.refuse_start(domain_xml("small", boot, memory="64"), CONFIG_UNSUPPORTED, "65536 KiB")

    def test_image_and_initrd(self):
        """an image has a ramdisk and a command line of its own"""
        for element in ("initrd", "cmdline"):
            boot = boot_image() + f"<{element}>{HELLO_EIF}</{element}>"
            self.refuse_start(domain_xml("both", boot), CONFIG_UNSUPPORTED, element)

    def test_measurement(self):
        """an image that does not measure to what the definition says"""
        xml = domain_xml("measured").replace(
            "<nitro:enclave", f"<nitro:measurement pcr='0'>{'0' * 96}</nitro:measurement>"
            "<nitro:enclave")
        self.refuse_start(xml, OPERATION_FAILED, "PCR0")

    def test_initrd_missing(self):
        boot = boot_kernel().replace("/hello-initrd", "/no-initrd")
        self.refuse_start(domain_xml("half", boot), libvirt.VIR_ERR_SYSTEM_ERROR, "no-initrd")

    def test_console_path(self):
        """a console file that cannot be made"""
        console = "<console type='file'><source path='/nowhere/at/all'/></console>"
        self.refuse_start(domain_xml("deaf", devices=console), libvirt.VIR_ERR_SYSTEM_ERROR,
                          "/nowhere/at/all")

    def listener(self, name, backlog=5):
        """A program that listens on a socket; returns its path and the socket."""
        path = self.path(name)
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(os.unlink, path)
        self.addCleanup(server.close)
        server.bind(path)
        server.listen(backlog)
        return path, server

    def fill(self, path):
        """Connects to @path until its queue is full."""
        for _ in range(10):
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            try:
                client.connect(path)
            except BlockingIOError:
                return
        self.fail("the queue takes more than it should")

    def unix_console(self, mode, path):
        return f"<console type='unix'><source mode='{mode}' path='{path}'/></console>"

    def test_console_queue_full(self):
        """a listener that accepts nobody is not waited for, nor is anybody else kept waiting"""
        path, _ = self.listener("full", backlog=0)
        self.fill(path)
        xml = domain_xml("queued", devices=self.unix_console("connect", path))
        took = []

        def start():
            begin = time.monotonic()
            self.refuse_start(xml, libvirt.VIR_ERR_SYSTEM_ERROR, path)
            took.append(time.monotonic() - begin)

        thread = threading.Thread(target=start)
        thread.start()
        listed = self.daemon.virsh("list", "--all", timeout=5)
        self.assertEqual(listed.returncode, 0, listed.stderr)
        thread.join(10)
        self.assertEqual(len(took), 1, "the start has ended as it should")
        self.assertLess(took[0], 5)

    def test_console_path_in_use(self):
        """a socket that another program listens on stays its own, also when it is busy"""
        for backlog in (5, 0):
            with self.subTest(f"backlog {backlog}"):
                path, server = self.listener(f"used{backlog}", backlog)
                if backlog == 0:
                    self.fill(path)
                inode = os.stat(path).st_ino
                self.refuse_start(domain_xml("late", devices=self.unix_console("bind", path)),
                                  libvirt.VIR_ERR_SYSTEM_ERROR, path, "in use")
                self.assertEqual(os.stat(path).st_ino, inode)
                server.settimeout(5)
                server.accept()[0].close()

    def test_console_path_of_file(self):
        """a file that is no socket is not removed for one"""
        path = self.write("notes", b"precious")
        self.refuse_start(domain_xml("rude", devices=self.unix_console("bind", path)),
                          libvirt.VIR_ERR_SYSTEM_ERROR, path)
        with open(path, "rb") as notes:
            self.assertEqual(notes.read(), b"precious")

    def test_emulator(self):
        """a helper that is not there"""
        self.refuse_start(domain_xml("helpless", devices="<emulator>/nowhere/helper</emulator>"),
                          (CONFIG_UNSUPPORTED, libvirt.VIR_ERR_SYSTEM_ERROR), "/nowhere/helper")


class Hosts(EnclaveTest):
    """What the host lacks."""

    def test_no_qemu(self):
        """QEMU is not in the daemon's PATH"""
        self.daemon.restart(PATH=self.daemon.dir)
        self.reconnect()
        with self.refused(libvirt.VIR_ERR_OPERATION_UNSUPPORTED, "qemu-system-x86_64", "PATH"):
            self.conn.createXML(domain_xml("bare"), 0)
        self.daemon.restart()
        self.reconnect()

    def test_broken_qemu(self):
        """a QEMU that does not work: its last words reach the user"""
        fake = fakeqemu.make(os.path.join(self.daemon.dir, "qemu-system-x86_64"),
                             fakeqemu.message("the fake has no microvm\n") + fakeqemu.leave(1))
        self.daemon.restart(PATH=self.daemon.dir + ":" + os.environ["PATH"])
        self.reconnect()
        with self.assertRaises(libvirt.libvirtError) as raised:
            self.conn.createXML(domain_xml("broken"), 0)
        self.assertIn("the fake has no microvm", str(raised.exception))
        os.unlink(fake)
        self.daemon.restart()
        self.reconnect()


class Unprivileged(EnclaveTest):
    """A daemon that is not root's, which may not read everything."""

    read_all = False

    @classmethod
    def setUpClass(cls):
        if not build_is_for_all():
            raise unittest.SkipTest("the build tree cannot be reached by the user nobody")
        super().setUpClass()

    def test_image_unreadable(self):
        path = self.path("secret.eif")
        with open(path, "wb") as image:
            image.write(b"secret")
        os.chmod(path, 0)
        with self.refused(libvirt.VIR_ERR_SYSTEM_ERROR, path, "Permission denied"):
            self.conn.createXML(domain_xml("curious", boot_image(path)), 0)

    def test_boot(self):
        """an enclave needs no privileges on the emulated machine"""
        dom = self.conn.createXML(domain_xml("humble"), 0)
        owner = os.stat(f"/proc/{self.helper_of(dom)}").st_uid
        self.assertEqual(owner, os.geteuid() or NOBODY)
        dom.destroy()


if __name__ == "__main__":
    taprunner.main()
