# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 The libvirt-nitro authors
"""virt-nitro-validate on hosts that are made up.

A host is a directory with the device, the files of /sys and the sockets that the tool
looks at (--root), and a PATH with a QEMU of its own. The helper, its probe for KVM, and
the vsock port are those of the real host.
"""

import contextlib
import errno
import grp
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import unittest

import taprunner

TOOL = os.path.join(os.environ["LIBVIRT_NITRO_BUILD"], "src/validate/virt-nitro-validate")
HELPER = os.path.join(os.environ["LIBVIRT_NITRO_BUILD"], "src/helper/libvirt_nitro")

LINE = re.compile(r"^ *(?P<group>nitro|nitro-enclave|virtnitrod): Checking (?P<text>.*?) *: "
                  r"(?P<result>PASS|WARN|FAIL)(?: \((?P<advice>.*)\))?$")

# What stands for QEMU; it prints what Debian's does, in short
QEMU = """#!/bin/sh
case $* in
"-machine help") printf 'Supported machines are:\\n%s\\n' '{machine}              microvm (i386)' ;;
*"-device help") printf 'name "%s", bus virtio-bus\\n' '{device}' '{nsm}' ;;
*"-device {nsm},help") printf '  %s=<uint16>         - (default: 0)\\n' virtio-id num_vqs vq_size ;;
*) exit 1 ;;
esac
"""

# Of the emulated machine of each architecture
MACHINES = {"x86_64": "microvm", "aarch64": "virt"}

# What the helper's probe of the real host is asked for
CONFINEMENT = ("if helpers can have namespaces of their own",
               "if QEMU can have namespaces of its own",
               "if Landlock can stand in for namespaces")
# and the real host itself
SERVICES_LANDLOCK = "if Landlock can limit what vsock services read"

SYS_POOL = "sys/module/nitro_enclaves/parameters/ne_cpus"
SYS_PRESENT = "sys/devices/system/cpu/present"
SYS_SIBLINGS = "sys/devices/system/cpu/cpu0/topology/thread_siblings_list"


class Host:
    """One made-up host: everything is there, until a test takes it away."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.write(SYS_POOL, "2-3,10-11\n")
        self.write(SYS_PRESENT, "0-15\n")
        self.write(SYS_SIBLINGS, "0,8\n")
        self.pages(0, 2048, 512, 512)
        self.write("dev/nitro_enclaves", "", 0o660)
        self.write("dev/vsock", "")
        self.qemu("microvm", "vhost-user-vsock-device")
        self.qemu("virt", "vhost-user-vsock-device", "aarch64")

    def write(self, path, text, mode=0o644):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")
        file.chmod(mode)

    def remove(self, path):
        (self.root / path).unlink()

    def pages(self, node, size, nr, free):
        top = f"sys/devices/system/node/node{node}/hugepages/hugepages-{size}kB"
        self.write(f"{top}/nr_hugepages", f"{nr}\n")
        self.write(f"{top}/free_hugepages", f"{free}\n")

    def no_pages(self, node):
        shutil.rmtree(self.root / f"sys/devices/system/node/node{node}/hugepages")

    def qemu(self, machine, device, arch="x86_64", nsm="vhost-user-device"):
        self.write(f"bin/qemu-system-{arch}",
                   QEMU.format(machine=machine, device=device, nsm=nsm), 0o755)

    def helper(self, nsm=("nsm-device", "vhost-user-device"), **reply):
        """
        Has a program in place of the helper that prints @reply for --probe, and the member @nsm of
        a reply for --probe-qemu.
        """
        replies = json.dumps(reply), json.dumps(dict([nsm]))
        self.write("helper/libvirt_nitro", "#!/bin/sh\ncase $1 in\n--probe) echo '{}' ;;\n"
                   "--probe-qemu) echo '{}' ;;\nesac\n".format(*replies), 0o755)
        self.write("helper/libvirt_nitro_nsm", "", 0o755)

    def run(self, *args, user=None, path=":/usr/bin:/bin"):
        """Returns the exit status and the output's lines as {text: (group, result, advice)}."""
        env = dict(os.environ, LC_ALL="C", PATH=f"{self.root}/bin{path}")
        if (self.root / "helper").exists():
            env["LIBVIRT_NITRO_HELPER_DIR"] = str(self.root / "helper")
        command = [TOOL, "--root", str(self.root), *args]
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        lines = {}
        for line in done.stdout.splitlines():
            match = LINE.match(line)
            if not match:
                raise AssertionError(f"not the line of a check: {line!r}")
            lines[match["text"]] = (match["group"], match["result"], match["advice"])
        return done.returncode, lines


class ValidateTest(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        scratch = tempfile.TemporaryDirectory(prefix="libvirt-nitro-validate-")
        self.addCleanup(scratch.cleanup)
        os.chmod(scratch.name, 0o755)
        self.host = Host(scratch.name)

    def check(self, text, result, *words, args=("nitro",), **more):
        """Runs the tool: the line that has @text must end with @result, advice with @words."""
        status, lines = self.host.run(*args, **more)
        found = [(line, *rest) for line, rest in lines.items() if text in line]
        self.assertEqual(len(found), 1, f"{text!r} in {lines}")
        _, _, actual, advice = found[0]
        self.assertEqual(actual, result, lines)
        if result == "PASS" and not words:
            self.assertIsNone(advice)
        for word in words:
            self.assertIn(word, advice)
        if result == "FAIL":
            self.assertEqual(status, 1)
        return lines

    def test_all_there(self):
        status, lines = self.host.run("nitro")
        results = {text: result for text, (_, result, _) in lines.items()}
        # what depends on the real host
        self.assertIn(results.pop("if the heartbeat's vsock port 9000 is free"),
                      ("PASS", "WARN", "FAIL"))
        group = results.pop("if the group 'ne' may use the device")
        self.assertEqual(group, "WARN")
        self.assertEqual(results.pop(f"if it listens on {self.host.root}/run/libvirt/"
                                     "virtnitrod-sock"), "WARN")
        for text in (*CONFINEMENT, SERVICES_LANDLOCK):
            self.assertIn(results.pop(text), ("PASS", "WARN"))
        if os.geteuid() == 0:
            self.assertIn(results.pop("for the user 'libvirt-nitro', whom helpers run as"),
                          ("PASS", "FAIL"))
            self.assertIn(results.pop(f"if {self.host.root}/run can have access control lists"),
                          ("PASS", "WARN"))
            self.assertEqual(results.pop(f"if it has set enclaves aside in {self.host.root}"
                                         "/run/libvirt/nitro"), "PASS")
        else:
            results = {text: result for text, result in results.items() if "listens" not in text}
        self.assertEqual(results, {
            "if the kernel module 'nitro_enclaves' is loaded": "PASS",
            "if the device /dev/nitro_enclaves exists": "PASS",
            "if the device /dev/nitro_enclaves can be opened": "PASS",
            "if the CPU pool is set (4 CPUs: 2-3,10-11)": "PASS",
            "if the CPU pool has whole cores": "PASS",
            "for huge pages on node0 (2048 KiB: 512 of 512 free)": "PASS",
            "if the device /dev/vsock exists": "PASS",
        })
        self.assertEqual(status, int(any(result == "FAIL" for _, result, _ in lines.values())))

    def test_nothing_there(self):
        with tempfile.TemporaryDirectory() as empty:
            host = Host.__new__(Host)
            host.root = pathlib.Path(empty)
            (host.root / "bin").mkdir()
            status, lines = host.run()
        self.assertEqual(status, 1)
        failed = [text for text, (_, result, _) in lines.items() if result == "FAIL"]
        for text in ("if the kernel module 'nitro_enclaves' is loaded",
                     "if the device /dev/nitro_enclaves exists", "if the CPU pool is set",
                     "for huge pages (none)", "if the device /dev/vsock exists"):
            self.assertIn(text, failed)
        for text, (_, result, advice) in lines.items():
            self.assertEqual(result == "PASS", advice is None, text)

    def test_device(self):
        if os.geteuid() == 0:
            self.host.root.joinpath("dev/nitro_enclaves").chmod(0o600)
            _, lines = self.host.run("nitro", user=65534)
            group, result, advice = lines["if the device /dev/nitro_enclaves can be opened"]
            self.assertEqual((group, result), ("nitro", "FAIL"))
            self.assertIn("usermod -a -G ne", advice)
        self.host.remove("dev/nitro_enclaves")
        lines = self.check("/dev/nitro_enclaves exists", "FAIL", "EC2")
        self.assertNotIn("if the device /dev/nitro_enclaves can be opened", lines)

    def test_device_group(self):
        with contextlib.suppress(KeyError):
            grp.getgrnam("ne")
            self.skipTest("there is a group 'ne' on this host")
        self.check("if the group 'ne'", "WARN", "groupadd ne")

    def test_pool(self):
        for text in ("", "\n", "nonsense\n"):
            self.host.write(SYS_POOL, text)
            self.check("if the CPU pool is set", "FAIL", "ne_cpus", "CPU 0")
        self.host.write(SYS_POOL, "7,,14-N\n")
        self.check("(3 CPUs: 7,14-15)", "PASS")
        self.host.write(SYS_POOL, "2-4\n")
        self.check("(3 CPUs: 2-4)", "PASS")
        self.check("whole cores", "FAIL", "2 threads")
        self.host.write(SYS_SIBLINGS, "0\n")
        self.check("whole cores", "PASS")
        self.host.remove(SYS_SIBLINGS)
        self.check("whole cores", "WARN", "thread_siblings_list")

    def test_hugepages(self):
        self.host.pages(0, 2048, 31, 31)
        self.check("on node0 (2048 KiB: 31 of 31 free)", "FAIL", "64 MiB", "nr_hugepages")
        self.host.pages(0, 2048, 32, 32)
        self.check("on node0", "PASS")
        self.host.pages(0, 2048, 32, 31)
        self.check("on node0", "WARN", "Too few are free")
        self.host.pages(0, 1048576, 1, 1)
        lines = self.check("on node0", "PASS")
        self.assertTrue(any("1048576 KiB: 1 of 1 free" in text for text in lines), lines)
        # a size that the device cannot take
        self.host.pages(0, 64, 4096, 4096)
        self.assertFalse(any(" 64 KiB" in text for text in self.host.run("nitro")[1]))

    def test_graviton(self):
        """one thread a core, and the huge pages of kernels with base pages of 4, 16 and 64 KiB"""
        self.host.write(SYS_SIBLINGS, "0\n")
        self.host.write(SYS_POOL, "8-14\n")
        self.check("(7 CPUs: 8-14)", "PASS")
        self.check("whole cores", "PASS")
        for sizes in ((64, 2048, 32768, 1048576), (2048, 32768, 1048576),
                      (2048, 524288, 16777216)):
            shutil.rmtree(self.host.root / "sys/devices/system/node/node0")
            for size in sizes:
                self.host.pages(0, size, 0, 0)
            with self.subTest(sizes):
                self.check("on node0 (none)", "FAIL", "hugepages-2048kB/nr_hugepages")
            for size in sizes[-2:]:
                with self.subTest((sizes, size)):
                    self.host.pages(0, size, 2, 2)
                    self.check(f"{size} KiB: 2 of 2 free", "PASS")
                    self.host.pages(0, size, 0, 0)
            if sizes[0] == 64:
                with self.subTest("a size that the device cannot take"):
                    self.host.no_pages(0)
                    self.host.pages(0, 64, 4096, 4096)
                    self.check("on node0 (none)", "FAIL", "has no huge pages of a multiple of 2 MiB",
                               "CONFIG_HUGETLBFS")

    def test_hugepages_nodes(self):
        self.host.pages(1, 2048, 0, 0)
        self.check("on node0", "PASS")
        self.check("on node1 (none)", "WARN", "this node")
        self.host.pages(0, 2048, 0, 0)
        self.check("on node0 (none)", "FAIL")
        self.check("on node1 (none)", "FAIL")

    def test_hugepages_without_numa(self):
        for path in sorted(self.host.root.joinpath("sys/devices/system/node").rglob("*"),
                           reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.check("for huge pages (none)", "FAIL", "/sys/kernel/mm/hugepages has no")

    def test_heartbeat_port(self):
        listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        try:
            listener.bind((socket.VMADDR_CID_ANY, 9000))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                self.skipTest(f"no vsock here: {error}")
        self.check("vsock port 9000", "WARN", "virtnitrod")

    def test_emulated(self):
        args = ("nitro-enclave",)
        for arch, machine in MACHINES.items():
            name = f"qemu-system-{arch}"
            has_machine = f"if {name} has the machine '{machine}'"
            has_device = f"if {name} has the device 'vhost-user-vsock-device'"
            self.check(f"for {name}", "PASS", args=args)
            self.check(has_machine, "PASS", args=args)
            self.check(has_device, "PASS", args=args)
            _, lines = self.host.run(*args)
            self.assertIn(lines["if KVM works"][1], ("PASS", "WARN"))

            self.host.qemu("pc", "vhost-vsock-device", arch)
            self.check(has_machine, "FAIL", "7.2", args=args)
            self.check(has_device, "FAIL", "7.2", args=args)
            self.host.write(f"bin/{name}", "#!/bin/sh\necho broken >&2; exit 3\n", 0o755)
            self.check(has_machine, "FAIL", "broken", args=args)

            # that of the other architecture is for who has images of it
            self.host.remove(f"bin/{name}")
            native = os.uname().machine == arch
            self.check(f"for {name}", "FAIL" if native else "WARN", "Debian's package is",
                       args=args, path="")

    def test_nsm(self):
        """whether QEMU can have an NSM, and as which device"""
        args = ("nitro-enclave",)
        for arch, machine in MACHINES.items():
            text = f"if qemu-system-{arch} can have an NSM"
            for device in "vhost-user-device", "vhost-user-test-device":
                self.host.qemu(machine, "vhost-user-vsock-device", arch, nsm=device)
                self.check(text, "PASS", device, args=args)
            self.host.qemu(machine, "vhost-user-vsock-device", arch, nsm="virtio-nsm-device")
            self.check(text, "WARN", f"qemu-system-{arch}", "vhost-user-test-device", "10.2",
                       args=args)
            self.host.remove(f"bin/qemu-system-{arch}")
            self.assertNotIn(text, self.host.run(*args, path="")[1])
            self.host.qemu(machine, "vhost-user-vsock-device", arch)

    def test_nsm_programs(self):
        """without the NSM's own program there is none; that the helper cannot say is a fault"""
        args, text = ("nitro-enclave",), "if qemu-system-x86_64 can have an NSM"
        self.host.write("etc/libvirt/nitro.conf", 'user = "daemon"\n')
        self.host.write("run/x", "")
        self.host.helper(accel="tcg", unprotected=[])
        self.check(text, "PASS", "vhost-user-device", args=args)
        # a host that only lacks it is good
        self.host.helper(("reason", "it has no device for one"), accel="tcg", unprotected=[])
        self.check(text, "WARN", "it has no device for one", args=args)
        self.assertEqual(self.host.run(*args)[0], 0)
        self.host.remove("helper/libvirt_nitro_nsm")
        self.check(text, "WARN", "libvirt_nitro_nsm", "install it", args=args)
        self.assertEqual(self.host.run(*args)[0], 0)
        self.host.helper(accel="tcg", unprotected=[])
        self.host.write("helper/libvirt_nitro", "#!/bin/sh\necho broken >&2; exit 2\n", 0o755)
        self.check(text, "FAIL", "--probe-qemu", "broken", args=args)
        self.host.write("helper/libvirt_nitro", "#!/bin/sh\necho '{}'\n", 0o755)
        self.check(text, "FAIL", "makes no sense", args=args)

    def test_real_qemu(self):
        for arch, machine in MACHINES.items():
            name = f"qemu-system-{arch}"
            if not os.path.exists(f"/usr/bin/{name}"):
                self.skipTest(f"{name} is not installed")
            self.host.remove(f"bin/{name}")
            self.check(f"if {name} has the machine '{machine}'", "PASS", args=("nitro-enclave",))
            self.check(f"if {name} has the device 'vhost-user-vsock-device'", "PASS",
                       args=("nitro-enclave",))
            probe = json.loads(subprocess.run([HELPER, "--probe-qemu", f"/usr/bin/{name}"],
                                              capture_output=True, check=True).stdout)
            result = "PASS" if "nsm-device" in probe else "WARN"
            self.check(f"if {name} can have an NSM", result, *probe.values(),
                       args=("nitro-enclave",))

    def test_daemon(self):
        path = self.host.root / "run/libvirt/virtnitrod-sock"
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            self.check(f"listens on {path}", "WARN", "Connection refused")
            listener.listen()
            self.check(f"listens on {path}", "PASS")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_asides(self):
        """enclaves that the daemon has set aside"""
        state = "run/libvirt/nitro"
        self.check("has set enclaves aside", "PASS")
        self.host.write(f"{state}/domain-1-well/pid", "1\n")
        self.check("has set enclaves aside", "PASS")
        self.host.write(f"{state}/domain-3-web/aside", "4711 its status cannot be read\n")
        self.check("has set enclaves aside", "WARN", "domain-3-web, process 4711 its status cannot")

    def test_confinement(self):
        """what the helper says that is missing, one line each"""
        codes = ("namespaces", "qemu-namespaces", "landlock")
        words = ("user namespaces are refused", "install bubblewrap", "no Landlock")
        self.host.helper(accel="tcg", unprotected=[])
        for text in CONFINEMENT:
            self.check(text, "PASS")
        for code, text, word in zip(codes, CONFINEMENT, words):
            self.host.helper(accel="tcg", unprotected=[code, "from-tomorrow"])
            lines = self.check(text, "WARN", word)
            for other in CONFINEMENT:
                self.assertEqual(lines[other][1], "WARN" if other == text else "PASS")
        self.host.write("helper/libvirt_nitro", "#!/bin/sh\necho broken >&2; exit 3\n", 0o755)
        self.check("what confines helpers", "FAIL", "broken")
        self.host.helper(accel="tcg")
        self.check("what confines helpers", "FAIL", "does not tell")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_user(self):
        """whom helpers run as, and what nitro.conf has to do with it"""
        conf = "etc/libvirt/nitro.conf"
        self.host.write("run/x", "")
        self.host.write(conf, 'user = "no-such-user"\n')
        self.check("for the user 'no-such-user'", "FAIL", "systemd-sysusers", "useradd")
        self.host.write(conf, 'user = "daemon"\n')
        self.host.write("helper/libvirt_nitro",
                        '#!/bin/sh\n[ $(id -u) = 1 ] && echo \'{"unprotected": []}\'\n', 0o755)
        self.check("for the user 'daemon'", "PASS")
        self.check(CONFINEMENT[0], "PASS")
        self.host.helper(unprotected=["namespaces"])
        self.host.write(conf, 'user = "root"\n')
        self.check("for the user 'root'", "WARN", "helpers run as root")
        self.host.write(conf, 'user = "root"\nsecurity_required = 1\n')
        self.check("for the user 'root'", "FAIL", "security_required = 1")
        self.check(CONFINEMENT[0], "FAIL", "security_required = 1")
        self.check("can have access control lists", "PASS")
        self.host.write(conf, 'user = "daemon"\ngroup = "root"\n')
        self.check("for the user 'daemon'", "WARN", "in root's group", "'group'")
        self.host.write(conf, 'user = "daemon"\ngroup = "no-such-group"\n')
        self.check("for the user 'daemon'", "FAIL", "no group 'no-such-group'")
        self.host.write("helper/libvirt_nitro",
                        '#!/bin/sh\n[ $(id -g) = 2 ] && echo \'{"unprotected": []}\'\n', 0o755)
        self.host.write(conf, 'user = "daemon"\ngroup = "bin"\n')
        self.check("for the user 'daemon'", "PASS")
        self.check(CONFINEMENT[0], "PASS")
        self.host.write(conf, "user = 1\n")
        self.check("for settings in", "FAIL", "expected a string")

    def test_machines(self):
        groups = {group for group, _, _ in self.host.run("nitro")[1].values()}
        self.assertEqual(groups, {"nitro", "virtnitrod"})
        groups = {group for group, _, _ in self.host.run("nitro-enclave")[1].values()}
        self.assertEqual(groups, {"nitro-enclave", "virtnitrod"})
        groups = {group for group, _, _ in self.host.run()[1].values()}
        self.assertEqual(groups, {"nitro", "nitro-enclave", "virtnitrod"})

    def test_one_machine_suffices(self):
        """without an argument: an EC2 instance without QEMU, and a laptop without the device"""
        self.host.write("etc/libvirt/nitro.conf", 'user = "daemon"\n')
        self.host.write("run/x", "")
        self.host.helper(accel="tcg", unprotected=[])
        # the port may be somebody's on the real host, or there may be no vsock
        real, _ = self.host.run("nitro")
        for machines, args, status in (
                (("nitro", "nitro-enclave"), (), 0),
                (("nitro",), (), real),
                (("nitro",), ("nitro-enclave",), 1),
                (("nitro-enclave",), (), 0),
                (("nitro-enclave",), ("nitro",), 1),
                ((), (), 1)):
            with self.subTest(machines=machines, args=args):
                self.host.qemu("microvm" if "nitro-enclave" in machines else "pc",
                               "vhost-user-vsock-device")
                self.host.write("dev/nitro_enclaves", "", 0o660)
                if "nitro" not in machines:
                    self.host.remove("dev/nitro_enclaves")
                done, lines = self.host.run(*args)
                self.assertEqual(done, status, lines)
                failed = {group for group, result, _ in lines.values() if result == "FAIL"}
                checked = set(args) or {"nitro", "nitro-enclave"}
                self.assertLessEqual(checked - set(machines), failed)
        # what both need
        self.host.write("helper/libvirt_nitro", "#!/bin/sh\nexit 3\n", 0o755)
        self.assertEqual(self.host.run()[0], 1)

    def test_quiet(self):
        self.host.write(SYS_POOL, "")
        _, all_lines = self.host.run("nitro")
        status, lines = self.host.run("--quiet", "nitro")
        self.assertEqual(status, 1)
        self.assertEqual(lines, {text: line for text, line in all_lines.items()
                                 if line[1] != "PASS"})

    def test_command_line(self):
        def run(*args):
            return subprocess.run([TOOL, *args], env=dict(os.environ, LC_ALL="C"),
                                  capture_output=True, text=True, check=False)

        for option in ("-h", "--help"):
            self.assertIn("--quiet", run(option).stdout)
            self.assertEqual(run(option).returncode, 0)
        for option in ("-v", "--version"):
            self.assertRegex(run(option).stdout, r"^version: virt-nitro-validate [\d.]+\n$")
        for args, words in ((["microvm"], "'nitro' and 'nitro-enclave'"),
                            (["nitro", "nitro"], "too many"), (["--loud"], "loud"),
                            (["--try", "microvm"], "'nitro' and 'nitro-enclave'"),
                            (["--try", "nitro", "nitro"], "too many"),
                            (["--image", "a.eif", "nitro"], "'a.eif' is for the option --try")):
            done = run(*args)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(words, done.stderr)

    def test_device_is_not_touched(self):
        """looking at a host changes nothing"""
        before = {path: path.stat().st_mtime_ns for path in self.host.root.rglob("*")
                  if stat.S_ISREG(path.stat().st_mode)}
        self.host.run("nitro")
        self.assertEqual({path: path.stat().st_mtime_ns for path in before}, before)


if __name__ == "__main__":
    taprunner.main()
