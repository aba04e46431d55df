#
# test_container.py: from a container image to an enclave that runs
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
An OCI archive with busybox becomes an image by virt-eif, with the sample's kernel and the init that
the project has for containers. Its application tells who and where it is, and then is the sample's
program, which tests talk to over vsock.
"""

import os
import re
import subprocess

import ociwriter
import taprunner
from daemon import HELLO_AARCH64, HELLO_EIF, HELLO_KERNEL, SOURCE, wait_until
from e2etest import (BOOT_SECONDS, BOOTED, CRASHED, RUNNING, SHUTDOWN, STARTED, StreamConsole,
                     boot_image, domain_xml)
from test_services import ServicesTest, inbound_unix, log, outbound, with_services
from vsockclient import COMMANDS

TOOL = os.environ["VIRT_EIF"]
HELLO = os.path.dirname(HELLO_EIF)
TREE = os.path.join(HELLO, "kernel", "tree")
# since Debian 13 in /usr
MODULES = next(path for path in (os.path.join(TREE, "lib", "modules"),
                                 os.path.join(TREE, "usr", "lib", "modules"))
               if os.path.isdir(path))
BUSYBOX = "/bin/busybox"

TITLE = "From a container to a running enclave"

LOG = 9514
EXIT = 9001
OUT = 8443

# What runs in the container. The sample's program does what of its work a user may do.
APPLICATION = b"""#!/bin/sh
echo "app: uid $(id -u) gid $(id -g) groups $(id -G)"
echo "app: in $PWD, says $GREETING, home $HOME"
echo "app: $1 of $#"
touch /tmp/mine && echo "app: /tmp is mine"
touch /etc/mine 2>/dev/null || echo "app: /etc is not"
[ -e /cmd ] || echo "app: no /cmd"
/hello
exit 42
"""


def read_file(path):
    with open(path, "rb") as source:
        return source.read()


def image_files(**config):
    """The files of the OCI layout of the test's image"""
    base = ociwriter.layer(
        ociwriter.directory("./"), ociwriter.directory("./bin"), ociwriter.directory("./etc"),
        ociwriter.entry("./bin/busybox", read_file(BUSYBOX), mode=0o755),
        *(ociwriter.symlink(f"./bin/{name}", "busybox") for name in ("sh", "id", "touch")),
        ociwriter.entry("./etc/passwd", b"root:x:0:0::/root:/bin/sh\n"
                                        b"app:x:1234:2345:An app:/home/app:/bin/sh\n"),
        ociwriter.entry("./etc/group", b"app:x:2345:\nmore:x:77:other,app\n"),
        ociwriter.entry("./gone", b"of a lower layer"))
    top = ociwriter.layer(
        ociwriter.entry("app.sh", APPLICATION, mode=0o755),
        ociwriter.entry("hello", read_file(os.path.join(HELLO, "hello-init")), mode=0o755),
        ociwriter.entry(".wh.gone"))
    return ociwriter.layout([base, top], tag="1.0", **{
        "Entrypoint": ["/bin/sh", "/app.sh"], "Cmd": ["an\nargument"], "User": "app",
        "WorkingDir": "/srv/work", "Env": ["GREETING=good day", "PATH=/bin"], **config})


class Container(ServicesTest):

    def build(self, files, *extra, suffix=""):
        """Makes an image of the OCI layout @files; returns its path. @suffix: of the sample's"""
        directory = os.path.join(self.daemon.dir, "run")
        archive = os.path.join(directory, "image.tar")
        ociwriter.write_archive(archive, files)
        image = os.path.join(directory, "image.eif")
        subprocess.run([
            TOOL, "build", "--oci", archive, "--kernel", HELLO_KERNEL + suffix, "--module-dir",
            os.path.join(HELLO, "kernel" + suffix, "tree"), "--module", "virtio_mmio", "--module",
            "vmw_vsock_virtio_transport", "--output", image, *extra], check=True,
            timeout=BOOT_SECONDS)
        return image

    def start(self, name, image, devices="", services="", **kwargs):
        xml = domain_xml(name, boot_image(image), devices=devices, **kwargs)
        return self.conn.createXML(with_services(xml, services) if services else xml, 0)

    def test_boot(self):
        """Command, environment, user, directory of the image; vsock in and out, log, exit code"""
        image = self.build(image_files(), "--cmdline", "console=ttyS0 quiet reboot=t panic=-1 "
                           f"init.log={LOG} init.exit={EXIT} hello.heartbeat=no hello.seed=5")
        file = os.path.join(self.daemon.dir, "run", "application.log")
        dom = self.start("container", image,
                         "<console type='pty'/>" + inbound_unix(COMMANDS) + log(LOG, file) +
                         outbound(OUT, "127.0.0.1", self.echo.port), f"<nitro:exit port='{EXIT}'/>")
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        console = StreamConsole(self.conn, dom)
        self.addCleanup(console.close)

        def logged():
            with open(file, encoding="utf-8") as lines:
                text = lines.read()
            return "enclave ready" in text and text
        text = wait_until(logged, BOOT_SECONDS, "the application's words")
        for line in ("app: uid 1234 gid 2345 groups 2345 77",
                     "app: in /srv/work, says good day, home /home/app", "argument of 1",
                     "app: /tmp is mine", "app: /etc is not",
                     "app: no /cmd", "hello: enclave ready, check number 26"):
            with self.subTest(line):
                self.assertIn(line, text)

        self.assertEqual(self.order(dom, f"send {OUT} there-and-back"), "there-and-back")
        conn = self.connect(self.path_of(dom, COMMANDS))
        conn.sendall(b"exit\n")
        console.wait("init: the command has ended with 42")
        # what has told another exit code than 0 has crashed
        self.events.check("container", [STARTED, CRASHED], seconds=BOOT_SECONDS)


class Aarch64(Container):
    """As much on the other architecture; there is no shell for it here"""

    def test_boot(self):
        with open(os.path.join(HELLO, f"hello-init{HELLO_AARCH64}"), "rb") as program:
            layer = ociwriter.layer(ociwriter.entry("hello", program.read(), mode=0o755))
        files = ociwriter.layout([layer], architecture="arm64", Cmd=["/hello"], User="1234:5")
        image = self.build(files, "--cmdline", "quiet reboot=t panic=-1 hello.heartbeat=no "
                           f"hello.seed=7 init.exit={EXIT}", suffix=HELLO_AARCH64)
        dom = self.start("arm", image, "<console type='pty'/>" + inbound_unix(COMMANDS),
                         f"<nitro:exit port='{EXIT}'/>", arch="aarch64",
                         elements="<on_reboot>destroy</on_reboot>")
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        console = StreamConsole(self.conn, dom)
        self.addCleanup(console.close)
        console.wait("hello: enclave ready, check number 50", 2 * BOOT_SECONDS)
        conn = self.connect(self.path_of(dom, COMMANDS))
        conn.sendall(b"exit\n")
        console.wait("init: the command has ended with 0")
        self.events.check("arm", [STARTED, SHUTDOWN], seconds=BOOT_SECONDS)


def commands(path):
    """The commands of the section "From a container to a running enclave" of the file @path"""
    with open(os.path.join(SOURCE, path), encoding="utf-8") as text:
        section = text.read().partition(f"\n{TITLE}\n")[2]
    return re.search(r"\n::\n\n((?:   .*\n)+)", section)[1].replace("\n   ", "\n").strip()


class Documentation(ServicesTest):
    """The three commands of README.rst and docs/drvnitro.rst, run as they are written"""

    # taken literally but for these
    URI, IMAGES, LOGFILE = "nitro:///system", "/var/lib/libvirt/images", "/var/log/app.log"

    # there is no network: what comes from a registry is here
    SKOPEO = """#!/bin/sh
[ "$*" = "copy docker://registry.example.com/app:1.0 oci-archive:app.tar" ] &&
    cp registry.tar app.tar
"""

    def test_commands(self):
        script = commands("docs/drvnitro.rst")
        self.assertEqual(script, commands("README.rst"))
        self.assertEqual(len(script.replace("\\\n", "").splitlines()), 3, script)
        where = os.path.join(self.daemon.dir, "run")

        def local(text):
            for word, here in ((self.URI, self.daemon.url), (self.IMAGES, where),
                               (self.LOGFILE, os.path.join(where, "app.log"))):
                text = text.replace(word, here)
            return text

        os.mkdir(os.path.join(where, "bin"))
        os.symlink(TOOL, os.path.join(where, "bin", "virt-eif"))
        with open(os.path.join(where, "bin", "skopeo"), "w", encoding="utf-8") as skopeo:
            skopeo.write(self.SKOPEO)
        os.chmod(skopeo.name, 0o755)
        os.symlink(HELLO_KERNEL, os.path.join(where, "vmlinuz"))
        os.symlink(MODULES, os.path.join(where, "modules"))
        ociwriter.write_archive(os.path.join(where, "registry.tar"), image_files(Entrypoint=[
            "/bin/sh", "-c", "echo documented: $GREETING; exec busybox sleep 1000"]))
        with open(os.path.join(SOURCE, "docs", "drvnitro.rst"), encoding="utf-8") as text:
            xml = text.read().partition(f"\n{TITLE}\n")[2]
        xml = re.search(r"\n\.\. code-block:: xml\n\n((?:   .*\n)+)", xml)[1]
        with open(os.path.join(where, "app.xml"), "w", encoding="utf-8") as file:
            file.write(local(xml))

        path = os.path.join(where, "bin") + ":" + os.environ["PATH"]
        done = subprocess.run(self.daemon.prefix + ["sh", "-eu", "-c", local(script)], cwd=where,
                              env={**self.daemon.client_env, "PATH": path, "VIRT_EIF_INITDIR":
                                   os.environ["VIRT_EIF_INITDIR"]},
                              capture_output=True, text=True, timeout=self.seconds, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        dom = self.conn.lookupByName("app")
        self.assertEqual(dom.state(), [RUNNING, BOOTED])
        console = StreamConsole(self.conn, dom)
        self.addCleanup(console.close)
        console.wait("documented: good day")
        dom.destroy()


if __name__ == "__main__":
    taprunner.main()
