# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""What "make install" installs, and where.

Installs into a scratch directory. No file may have the path of one that a
package of the distribution owns; and the daemon must run with its own libvirt,
which is tried in an overlay of the installed files over the root file system.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import taprunner

BUILD = os.environ["LIBVIRT_NITRO_BUILD"]
SOURCE = pathlib.Path(os.environ["LIBVIRT_NITRO_SOURCE"])
LIBVIRT = pathlib.Path(os.environ["LIBVIRT_NITRO_LIBVIRT"]).name

# Runs what is in $1 as if it was installed: overlay of it over "/", in a mount
# namespace of its own.
IN_OVERLAY = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/installed /mnt/root
cp -a "$1/." /mnt/installed
mount -t overlay overlay -o lowerdir=/mnt/installed:/ /mnt/root
mount -t proc proc /mnt/root/proc
shift
exec chroot /mnt/root "$@"
"""


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # pylint: disable=consider-using-with
        cls.scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-install-")
        subprocess.run(
            ["meson", "install", "-C", BUILD, "--no-rebuild", "--skip-subprojects", "--quiet",
             "--destdir", cls.scratch.name],
            check=True, stdout=subprocess.DEVNULL)
        root = pathlib.Path(cls.scratch.name)
        cls.paths = ["/" + str(path.relative_to(root))
                     for path in root.rglob("*") if not path.is_dir()]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def in_overlay(self, *command):
        if os.geteuid() != 0:
            self.skipTest("mounting an overlay needs root")
        probe = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_OVERLAY, "sh",
             self.scratch.name, "true"], capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            self.skipTest("no overlay can be mounted: " + probe.stderr.strip())
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", IN_OVERLAY, "sh",
             self.scratch.name, *command],
            capture_output=True, text=True, check=True).stdout

    def test_what_is_needed_is_there(self):
        for name in ("sbin/virtnitrod", "libvirt_driver_nitro.so", "libvirt_nitro",
                     "libvirt_nitro_check", "libvirt_nitro_nsm", "libvirt_nitro_services",
                     "bin/virt-eif",
                     f"libexec/virt-eif/init-{os.uname().machine}", "libvirt.so.0", "domain.rng",
                     "virtnitrod.conf", "virtnitrod.service",
                     "virtnitrod.socket", "virtnitrod-ro.socket", "virtnitrod-admin.socket",
                     "virtnitrod.8", "libvirt_nitro.8", "libvirt_nitro_check.8",
                     "libvirt_nitro_nsm.8", "libvirt_nitro_services.8",
                     "virt-eif.1",
                     "virt-nitro-validate.1", "nitrodomain.rng", "nitro.conf", "virtnitrod.aug",
                     "libvirtd_nitro.aug", "tests/test_virtnitrod.aug",
                     "tests/test_libvirtd_nitro.aug", "org.libvirt.nitro.unix.policy",
                     "org.libvirt.nitro.api.policy", "60-libvirt-nitro.rules",
                     "logrotate.d/virtnitrod", "sysusers.d/libvirt-nitro.conf",
                     "tmpfiles.d/libvirt-nitro.conf", "bin/virt-nitro-validate",
                     "bash-completion/completions/virt-eif",
                     "bash-completion/completions/virt-nitro-validate"):
            with self.subTest(name):
                self.assertEqual(1, len([p for p in self.paths if p.endswith("/" + name)]),
                                 f"{name} among {self.paths}")
        self.assertTrue((pathlib.Path(self.scratch.name) / "var/log/libvirt").is_dir())

    def test_symbols_are_stripped(self):
        """of programs and of the private libraries, where the option "strip" is on"""
        options = json.loads(subprocess.run(["meson", "introspect", BUILD, "--buildoptions"],
                                            check=True, capture_output=True, text=True).stdout)
        strip = next(option["value"] for option in options if option["name"] == "strip")
        stripped = [path for path in self.paths
                    if path.endswith(("/sbin/virtnitrod", "/libvirt_nitro", "/bin/virt-eif")) or
                    "/libvirt-nitro/libvirt" in path]
        self.assertEqual(len(stripped), 6, stripped)
        for path in stripped:
            with self.subTest(path):
                sections = subprocess.run(["readelf", "--wide", "--section-headers",
                                           self.scratch.name + path], capture_output=True,
                                          text=True, check=True).stdout
                self.assertIn(" .dynsym ", sections)
                self.assertEqual(" .symtab " not in sections, strip)

    def test_search_paths(self):
        """libraries are looked for where they are installed, and nowhere below the working
        directory"""
        paths = {}
        for path in self.paths:
            file = pathlib.Path(self.scratch.name + path)
            with file.open("rb") as stream:
                if file.is_symlink() or stream.read(4) != b"\x7fELF":
                    continue
            dynamic = subprocess.run(["readelf", "--wide", "--dynamic", file], capture_output=True,
                                     text=True, check=True).stdout
            found = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic)
            if found:
                paths[file.name] = found
        private = str(pathlib.Path(next(path for path in self.paths
                                        if path.endswith("/libvirt.so.0"))).parent)
        self.assertEqual(paths, {
            "libvirt-lxc.so.0": ["$ORIGIN"],
            "libvirt-qemu.so.0": ["$ORIGIN"],
            "libvirt_driver_nitro.so": [private],
            "virt-nitro-validate": [private],
            "virtnitrod": [private],
        })

    def test_uninstall(self):
        """it removes all that was installed, and nothing else"""
        with tempfile.TemporaryDirectory(prefix="libvirt-nitro-uninstall-") as destdir:
            shutil.copytree(self.scratch.name, destdir, dirs_exist_ok=True)
            conf, other = (pathlib.Path(destdir, "etc/libvirt", name)
                           for name in ("nitro.conf", "other.conf"))
            text = conf.read_text(encoding="utf-8")
            conf.write_text(text + "max_starts = 4\n", encoding="utf-8")
            other.touch()
            command = ["make", "-C", SOURCE, f"BUILD={BUILD}", f"DESTDIR={destdir}", "uninstall"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            self.assertIn(f"{conf} has been changed, and stays", done.stdout)
            self.assertEqual({path for path in pathlib.Path(destdir).rglob("*")
                              if not path.is_dir()}, {conf, other})
            conf.write_text(text, encoding="utf-8")
            other.unlink()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            self.assertEqual(os.listdir(destdir), [])

    def test_apparmor_profiles_are_there(self):
        if not shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin"):
            self.skipTest("no apparmor_parser here, so that they are not installed")
        for name in ("usr.sbin.virtnitrod", "usr.libexec.libvirt_nitro",
                     "usr.libexec.libvirt_nitro_check", "abstractions/libvirt-nitro-qemu",
                     "abstractions/libvirt-nitro-sandbox", "tunables/libvirt-nitro"):
            with self.subTest(name):
                self.assertIn("/etc/apparmor.d/" + name, self.paths)

    def test_user_of_helpers(self):
        """the file for systemd-sysusers makes the user that the daemon looks for"""
        self.assertIn("/usr/lib/sysusers.d/libvirt-nitro.conf", self.paths)
        text = (pathlib.Path(self.scratch.name) /
                "usr/lib/sysusers.d/libvirt-nitro.conf").read_text(encoding="ascii")
        header = (SOURCE / "src/nitro/nitro_conf.h").read_text(encoding="utf-8")
        user = re.search(r'#define NITRO_USER "(.*)"', header).group(1)
        self.assertRegex(text, rf"(?m)^u {user} - ")
        self.assertRegex(text, rf"(?m)^m {user} kvm$")

    def test_users_are_made(self):
        tool = shutil.which("systemd-sysusers")
        if not tool:
            self.skipTest("systemd-sysusers is not installed")
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(f"{root}/etc")
            subprocess.run([tool, f"--root={root}",
                            f"{self.scratch.name}/usr/lib/sysusers.d/libvirt-nitro.conf"],
                           check=True, capture_output=True)
            passwd = pathlib.Path(root, "etc/passwd").read_text(encoding="utf-8")
            group = pathlib.Path(root, "etc/group").read_text(encoding="utf-8")
        self.assertRegex(passwd, r"(?m)^libvirt-nitro:x:\d+:\d+:")
        self.assertRegex(group, r"(?m)^kvm:x:\d+:libvirt-nitro$")
        self.assertRegex(group, r"(?m)^libvirt:x:\d+:$")

    def test_translations_are_there(self):
        for language in (SOURCE / "po" / "LINGUAS").read_text(encoding="utf-8").split():
            self.assertIn(f"/usr/share/locale/{language}/LC_MESSAGES/libvirt-nitro.mo", self.paths)

    def test_nothing_replaces_a_packages_file(self):
        try:
            owned = subprocess.run(["dpkg-query", "-S", *self.paths], capture_output=True,
                                   text=True, check=False)
        except FileNotFoundError:
            self.skipTest("no dpkg here")
        self.assertEqual("", owned.stdout)
        self.assertEqual(len(self.paths), owned.stderr.count("no path found"))

    def test_daemon_runs_with_its_own_libvirt(self):
        self.assertIn(LIBVIRT.removeprefix("libvirt-"),
                      self.in_overlay("/usr/sbin/virtnitrod", "--version"))
        libraries = [line for line in self.in_overlay("ldd", "/usr/sbin/virtnitrod").splitlines()
                     if "libvirt" in line]
        self.assertEqual(3, len(libraries))
        for line in libraries:
            self.assertIn("/libvirt-nitro/", line)

    def test_plugin_parses_no_images(self):
        """nothing that reads images or certificates is in the daemon by way of the plugin"""
        plugin = next(pathlib.Path(self.scratch.name).rglob("libvirt_driver_nitro.so"))
        needed = subprocess.run(["readelf", "--dynamic", plugin], capture_output=True, text=True,
                                check=True).stdout
        self.assertIn("[libvirt.so.0]", needed)
        for library in ("libcbor", "libdeflate", "libgnutls", "libnettle"):
            self.assertNotIn(library, needed)

    def test_helper_has_its_libraries_in_itself(self):
        """it starts once for each enclave, and would wait for the dynamic loader"""
        helper = next(path for path in pathlib.Path(self.scratch.name).rglob("libvirt_nitro")
                      if path.is_file())
        dynamic = subprocess.run(["readelf", "--dynamic", helper], capture_output=True, text=True,
                                 check=True).stdout
        self.assertIn("[libc.so.6]", dynamic)
        self.assertIn("BIND_NOW", dynamic)
        for library in ("libcbor", "libdeflate", "libglib", "libgnutls", "libnettle",
                        "libpcre2", "libyajl"):
            self.assertNotIn(library, dynamic)

    def test_stock_client_keeps_its_library(self):
        if not os.path.exists("/usr/bin/virsh"):
            self.skipTest("virsh is not installed")
        self.assertNotIn("/libvirt-nitro/", self.in_overlay("ldd", "/usr/bin/virsh"))

    def test_virt_xml_validate_accepts_the_examples(self):
        """libvirt's own tool of this build, with the installed schemas"""
        tool = f"{BUILD}/subprojects/{LIBVIRT}/tools/virt-xml-validate"
        for example in [*(SOURCE / "examples").glob("*.xml"),
                        pathlib.Path(BUILD) / "examples/hello/hello.xml"]:
            with self.subTest(example.name):
                if os.stat(example).st_dev != os.stat("/").st_dev:
                    self.skipTest("the build tree is not in the root file system")
                # fails if the tool does
                self.in_overlay("bash", tool, str(example), "domain")

    def test_tools_run(self):
        self.assertIn("virt-eif", self.in_overlay("/usr/bin/virt-eif", "--version"))
        # with the init that is installed
        self.in_overlay("sh", "-ec", "unset VIRT_EIF_INITDIR; mount -t tmpfs tmpfs /tmp; cd /tmp; "
                        "echo kernel > kernel; mkdir root; "
                        "virt-eif build --kernel kernel --rootfs root --cmd x --output x.eif; "
                        "virt-eif verify x.eif")
        self.assertIn("libvirt_nitro", self.in_overlay("/usr/libexec/libvirt_nitro", "--version"))
        self.assertIn("libvirt_nitro_check",
                      self.in_overlay("/usr/libexec/libvirt_nitro_check", "--version"))
        self.assertIn("virt-nitro-validate",
                      self.in_overlay("/usr/bin/virt-nitro-validate", "--version"))


if __name__ == "__main__":
    taprunner.main()
