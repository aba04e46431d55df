#
# test_image.py: images are opened and checked beside everything else
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The daemon opens an image without the lock of its domain, and has it looked at by a process that
the image may take over. So here files hang, and checkers do, lie, or say what makes no sense: the
domain can be asked for and destroyed meanwhile, others start, and nothing is left behind. What the
checker says of each kind of image is tested by ../checktest.py, and what the start then says by
test_errors.py and test_host.py.
"""

import copy
import os
import re
import struct
import time
import unittest

import daemon
import eifsigner
import eifwriter
import nitrodevmock
import taprunner
from daemon import (CHECKER, HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, HELPER, NOBODY,
                    wait_until)
from e2etest import (ADDED, DESTROYED, UNDEFINED, Background, EnclaveTest, boot_image, domain_xml,
                     libvirt, quick_xml)

INTERNAL = libvirt.VIR_ERR_INTERNAL_ERROR
FAILED = libvirt.VIR_ERR_OPERATION_FAILED
ABORTED = libvirt.VIR_ERR_OPERATION_ABORTED
CONFIG = libvirt.VIR_ERR_CONFIG_UNSUPPORTED

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]")

# s: a query while a start hangs
QUICK = 1


class ImageTest(EnclaveTest):

    conf = ""

    @classmethod
    def before_start(cls):
        if cls.conf:
            os.makedirs(cls.daemon.config_dir, exist_ok=True)
            with open(os.path.join(cls.daemon.config_dir, "nitro.conf"), "w",
                      encoding="utf-8") as conf:
                conf.write(cls.conf)

    def assertQuick(self, call, *args):
        begin = time.monotonic()
        result = call(*args)
        self.assertLess(time.monotonic() - begin, QUICK)
        return result

    def check_usable(self, name):
        """All that does not wait for the start of the domain @name goes on, and is quick."""
        dom = libvirt.open(self.daemon.uri).lookupByName(name)
        self.assertQuick(dom.info)
        self.assertEqual(self.assertQuick(dom.state),
                         [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP])
        self.assertIn(name, self.assertQuick(dom.XMLDesc))
        done = self.daemon.virsh("dominfo", name, timeout=10)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertQuick(dom.destroy)

    def check_destroyed(self, start, name):
        """The start of @name, which was destroyed, has failed, and has taken nothing."""
        with self.refused(ABORTED, f"'{name}' was destroyed while it started"):
            start.result(20)
        self.events.check(name, [ADDED, DESTROYED])

    def forget(self, name):
        self.conn.lookupByName(name).undefine()
        self.events.wait(name, *UNDEFINED)
        self.events.seen.clear()

    def start_another(self):
        dom = self.conn.createXML(quick_xml("another"), 0)
        self.assertEqual(dom.isActive(), 1)
        dom.destroy()


class HangingFile(ImageTest):
    """open() waits, as it does for a server that is down"""

    conf = "max_starts = 1\n"

    @classmethod
    def daemon_environment(cls):
        cls.fifo = os.path.join(cls.daemon.dir, "fifo")
        cls.held = os.path.join(cls.daemon.dir, "held.eif")
        os.symlink(HELLO_EIF, cls.held)
        os.mkfifo(cls.fifo)
        os.chmod(cls.fifo, 0o666)
        libraries = filter(None, (nitrodevmock.libasan_of(daemon.DAEMON),
                                  os.path.join(daemon.BUILD, "tests", "holdmock.so")))
        return {"LD_PRELOAD": " ".join(libraries), "HOLDMOCK_OPEN": cls.fifo,
                "HOLDMOCK_OPEN_PATH": cls.held}

    def go_on(self):
        """Ends the wait; opening the FIFO succeeds only when somebody waits."""
        def opened():
            try:
                return os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return -1

        wait_until(lambda: (fd := opened()) >= 0 and (os.close(fd) or True), 10, "the open()")

    def start_held(self, boot):
        start = Background(self.conn.defineXML(quick_xml("held", boot=boot)).create)
        self.addCleanup(lambda: start.thread.is_alive() and self.go_on())
        wait_until(lambda: self.conn.lookupByName("held").isActive(), 10, "the start")
        return start

    def test_waits(self):
        """a start whose image comes late succeeds"""
        start = self.start_held(boot_image(self.held))
        self.go_on()
        start.result()
        self.conn.lookupByName("held").destroy()

    def test_destroy(self):
        """its domain can be asked for and destroyed, and its turn is another's then"""
        boots = (boot_image(self.held),
                 f"<kernel>{HELLO_KERNEL}</kernel><initrd>{self.held}</initrd>")
        for boot in boots:
            with self.subTest(boot):
                start = self.start_held(boot)
                self.check_usable("held")
                self.assertTrue(start.thread.is_alive())
                self.start_another()
                self.assertTrue(start.thread.is_alive())
                self.go_on()
                self.check_destroyed(start, "held")
                self.forget("held")

    def test_transient(self):
        """one that was made to be started is gone when it is destroyed"""
        start = Background(libvirt.open(self.daemon.uri).createXML,
                           quick_xml("held", boot=boot_image(self.held)))
        self.addCleanup(lambda: start.thread.is_alive() and self.go_on())
        wait_until(lambda: self.conn.listDomainsID(), 10, "the start")
        self.check_usable("held")
        self.assertEqual(self.conn.listAllDomains(), [])
        self.go_on()
        with self.refused(ABORTED, "was destroyed"):
            start.result(20)


class CheckerTest(ImageTest):

    @classmethod
    def before_start(cls):
        super().before_start()
        cls.daemon.wrap(CHECKER, "true")

    def tearDown(self):
        self.daemon.wrap(CHECKER, "true")
        super().tearDown()

    def checkers(self, *names):
        return [pid for pid, name in self.living().items() if name in names]

    def start_with(self, script):
        """Starts a domain, whose checker does @script, and waits for that."""
        self.daemon.wrap(CHECKER, script)
        return Background(self.conn.defineXML(quick_xml("odd")).create)

    def refuse(self, script, code, *words):
        """A start fails whose checker does the lines @script of shell."""
        self.daemon.wrap(CHECKER, script)
        dom = self.conn.defineXML(quick_xml("odd"))
        with self.assertRaises(libvirt.libvirtError) as raised:
            dom.create()
        text = raised.exception.get_error_message()
        self.assertEqual(raised.exception.get_error_code(), code, text)
        for word in words:
            self.assertIn(word, text)
        self.assertIsNone(UNPRINTABLE.search(text), text)
        self.assertLess(len(text), 5000)
        self.assertEqual(dom.isActive(), 0)
        self.assertEqual(self.living(), {})
        dom.undefine()
        return text


class HangingChecker(CheckerTest):
    """What it reads does not come, or it does not want to end"""

    conf = "max_starts = 1\n"

    SLEEP = "exec sleep 600"

    def test_destroy(self):
        """destroy ends it"""
        start = self.start_with(self.SLEEP)
        wait_until(lambda: self.checkers("sleep"), 10, "the checker")
        self.check_usable("odd")
        self.check_destroyed(start, "odd")
        self.assertEqual(self.checkers("sleep"), [])
        self.daemon.wrap(CHECKER, "true")
        self.start_another()

    def test_deaf(self):
        """also one that does not listen to SIGTERM, or has been stopped"""
        for script in ("trap '' TERM\n" + self.SLEEP, "kill -STOP $$"):
            with self.subTest(script):
                start = self.start_with(script)
                names = ("sleep", "libvirt_nitro_c")
                wait_until(lambda: self.checkers(*names), 10, "the checker")
                time.sleep(0.2)
                self.check_usable("odd")
                self.check_destroyed(start, "odd")
                self.assertEqual(self.checkers(*names), [])
                self.forget("odd")

    def test_talks_on(self):
        """and one that says a byte now and then"""
        # the shell would need a program to wait, which would be left
        start = self.start_with("exec /usr/bin/python3 -c 'import time\n"
                                "while True:\n    print(end=\"x\", flush=True)\n"
                                "    time.sleep(0.02)'")
        wait_until(lambda: self.checkers("python3"), 10, "the checker")
        time.sleep(0.5)
        self.check_usable("odd")
        self.check_destroyed(start, "odd")

    def test_silent_end(self):
        """one that closes its output and lives on is killed after some seconds"""
        begin = time.monotonic()
        self.refuse("printf '{}\\n'; exec sleep 600 >/dev/null 2>&1", INTERNAL, CHECKER_NAME,
                    "does not end")
        self.assertLess(time.monotonic() - begin, 15)

    def test_daemon_ends(self):
        """the daemon does not wait for it"""
        start = self.start_with(self.SLEEP)
        wait_until(lambda: self.checkers("sleep"), 10, "the checker")
        begin = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5)
        with self.assertRaises(libvirt.libvirtError):
            start.result(20)
        self.assertEqual(self.checkers("sleep"), [])
        self.daemon.wrap(CHECKER, "true")
        self.daemon.start()
        self.reconnect()
        self.start_another()


class HeldTurn(CheckerTest):
    """
    A start that hangs does not keep its turn for ever. The daemon's monotonic clock is the test's:
    see tests/clockmock.c.
    """

    conf = "max_starts = 1\n"

    @classmethod
    def daemon_environment(cls):
        cls.clock = os.path.join(cls.daemon.dir, "clock")
        cls.set_clock(0)
        os.chmod(cls.clock, 0o644)
        libraries = filter(None, (nitrodevmock.libasan_of(daemon.DAEMON),
                                  os.path.join(daemon.BUILD, "tests", "clockmock.so")))
        return {"LD_PRELOAD": " ".join(libraries), "CLOCKMOCK_MONOTONIC": cls.clock}

    @classmethod
    def set_clock(cls, seconds):
        with open(cls.clock, "r+b" if os.path.exists(cls.clock) else "wb", buffering=0) as clock:
            clock.write(struct.pack("=q", seconds))

    def check_turn(self, start, seconds):
        """The start has its turn for @seconds, goes on then, and can be destroyed."""
        self.set_clock(seconds - 10)
        waiting = Background(self.conn.defineXML(quick_xml("next")).create)
        waits = libvirt.open(self.daemon.uri).lookupByName("next")
        wait_until(lambda: any("its turn" in line for line in waits.messages()), 10, "the queue")
        time.sleep(0.5)
        self.assertTrue(waiting.thread.is_alive())
        # which the wait does not notice by itself, as it is the kernel's
        self.set_clock(seconds + 10)
        self.assertTrue(waiting.thread.is_alive())
        self.start_another()
        waiting.result(20)
        waits.destroy()
        waits.undefine()
        # who hangs does not wait for its turn, and is still there
        hangs = libvirt.open(self.daemon.uri).lookupByName("odd")
        self.assertEqual([line for line in hangs.messages() if "its turn" in line], [])
        self.assertTrue(start.thread.is_alive())
        # a wait of a few seconds until a time of this clock would be the kernel's, too
        self.set_clock(0)
        hangs.destroy()
        with self.refused(ABORTED, "'odd' was destroyed while it started"):
            start.result(20)

    def test_checker(self):
        """a checker that says nothing"""
        start = self.start_with("exec sleep 600")
        wait_until(lambda: self.checkers("sleep"), 10, "the checker")
        self.daemon.wrap(CHECKER, "true")
        self.check_turn(start, 60)
        self.assertEqual(self.checkers("sleep"), [])

    def test_helper(self):
        """and a helper that does not, with its own time for the boot and without"""
        for seconds, heartbeat in ((100 + 60, "yes' timeout='100"), (180 + 60, "yes")):
            with self.subTest(heartbeat):
                self.set_clock(0)
                self.daemon.wrap(HELPER, "kill -STOP $$")
                start = Background(self.conn.defineXML(domain_xml(
                    "odd", heartbeat=heartbeat)).create)
                wait_until(lambda: self.checkers("libvirt_nitro"), 10, "the helper")
                self.daemon.wrap(HELPER, "true")
                self.check_turn(start, seconds)
                wait_until(lambda: not self.checkers("libvirt_nitro"), 5, "its end")
                self.forget("odd")


CHECKER_NAME = "libvirt_nitro_check"
NONSENSE = "makes no sense"
NO_VERDICT = "had no verdict"


class HostileChecker(CheckerTest):
    """An image has taken it over"""

    def test_nonsense(self):
        signature = ",".join(["0" * 96] * 3)
        for script, words in (
                ("exit 0", NONSENSE),
                ("printf '{}'; exit 0", NONSENSE),
                ("printf '{}\\n{}\\n'; exit 0", NONSENSE),
                ("printf 'all is well\\n'; exit 0", NONSENSE),
                ("printf '{}\\0\\n'; exit 0", NONSENSE),
                ("printf '{\"x\\377\": 1}\\n'; exit 0", NONSENSE),
                ("printf '{\"\\033[31m\": 1}\\n'; exit 0", NONSENSE),
                (f"printf '{{\"signature\": \"{signature}\", \"failure\": {{}}}}\\n'; exit 0",
                 NONSENSE),
                ("printf '{\"signature\": \"ab\"}\\n'; exit 0", NONSENSE),
                ("printf '{\"failure\": {\"code\": \"no\", \"text\": \"a\"}}\\n'; exit 0",
                 NONSENSE),
                ("tr '\\0' x < /dev/zero | head -c 40000; exit 0", NONSENSE),
                ("head -c 100000000 /dev/zero", NONSENSE),
                ("{ printf '{'; tr '\\0' '[' < /dev/zero | head -c 30000; echo; }; exit 0",
                 NONSENSE)):
            with self.subTest(script):
                self.refuse(script, INTERNAL, CHECKER_NAME, HELLO_EIF, words)

    def test_dies(self):
        for script, *words in (
                ("exit 3", "exit status 3", "has not said why"),
                ("printf '{}\\n'; exit 1", "exit status 1"),
                ("kill -SEGV $$", "signal 11"),
                ("printf '{}\\n'; kill -KILL $$", "signal 9"),
                ("printf 'a \\033[31mred\\n\\377 end' >&2; exit 2", "a ?[31mred", "end"),
                ("yes >&2; exit 2", NO_VERDICT),
                ("exec yes", NONSENSE)):
            with self.subTest(script):
                self.refuse(script, INTERNAL, CHECKER_NAME, HELLO_EIF, *words)

    def test_text(self):
        """what it says is shown, printable and cut"""
        self.refuse("printf '{\"failure\": {\"code\": \"config\", "
                    "\"text\": \"a\\\\u001b[31mb\\\\u202ec\"}}\\n'; exit 0", CONFIG, "a?[31mb?c")
        text = self.refuse("printf '{\"failure\": {\"code\": \"image\", \"text\": \"'; "
                           "tr '\\0' x < /dev/zero | head -c 30000; printf '\"}}\\n'; exit 0",
                           FAILED, "xxx...")
        self.assertLess(len(text), 2200)

    def test_spins(self):
        """a checker that spins is ended by its own limit, which nobody can raise again"""
        begin = time.monotonic()
        self.refuse("ulimit -t 1\nwhile :; do :; done", INTERNAL, NO_VERDICT, "signal")
        self.assertLess(time.monotonic() - begin, 30)

    def test_missing(self):
        path = os.path.join(self.daemon.dir, "helper", CHECKER_NAME)
        dom = self.conn.defineXML(quick_xml("bare"))
        os.rename(path, path + ".away")
        try:
            with self.refused(INTERNAL, path, "No such file or directory"):
                dom.create()
        finally:
            os.rename(path + ".away", path)
        dom.create()
        dom.destroy()

    def test_lies(self):
        """a verdict that is wrong: what the helper loads is measured, and is another"""
        dom = self.conn.defineXML(domain_xml("lied"))
        signature = ",".join(["ab" * 48] * 3)
        self.daemon.wrap(CHECKER, f"printf '{{\"signature\": \"{signature}\"}}\\n'; exit 0")
        with self.refused(FAILED, HELLO_EIF, "its signature is not the one that was checked"):
            dom.create()
        bad = os.path.join(self.daemon.dir, "bad.eif")
        eifwriter.simple(version=99).write(bad)
        self.daemon.wrap(CHECKER, "printf '{}\\n'; exit 0")
        with self.refused(FAILED, bad, "99"):
            self.conn.createXML(quick_xml("lied2", boot=boot_image(bad)), 0)


class Replaced(CheckerTest):
    """The image is written to between its check and its use"""

    def setUp(self):
        super().setUp()
        with open(HELLO_KERNEL, "rb") as kernel, open(HELLO_INITRD, "rb") as initrd:
            self.image = eifwriter.simple(kernel=kernel.read(), ramdisks=[initrd.read()],
                                          cmdline=b"console=ttyS0 reboot=t panic=-1 quiet")

    def refuse_replaced(self, good, other, *words):
        """@good becomes @other as whoever may write to it does it, while the checker has it open"""
        paths = [os.path.join(self.daemon.dir, name) for name in ("good.eif", "other.eif")]
        good.write(paths[0])
        os.chmod(paths[0], 0o666)
        other.write(paths[1])
        inode = os.stat(paths[0]).st_ino
        self.daemon.wrap(CHECKER, f'{CHECKER} "$@" || exit\ncat {paths[1]} > {paths[0]}\nexit 0')
        dom = self.conn.defineXML(domain_xml("replaced", boot=boot_image(paths[0])))
        with self.refused(FAILED, paths[0], *words):
            dom.create()
        self.assertEqual(os.stat(paths[0]).st_ino, inode)

    def test_replaced(self):
        good = eifsigner.Signer().sign(self.image)
        other = copy.deepcopy(good)
        other.sections[1].data += b" evil"
        self.refuse_replaced(good, other, "is not the one that was signed", good.pcrs()[0],
                             other.pcrs()[0])

    def test_replaced_signature(self):
        """by somebody else's, which is good as well: it would be another PCR8 than is told"""
        good, other = (eifsigner.Signer().sign(self.image) for _ in range(2))
        self.assertEqual(good.pcrs()[0], other.pcrs()[0])
        self.refuse_replaced(good, other, "its signature is not the one that was checked")

    def test_signature_taken_away(self):
        self.refuse_replaced(eifsigner.Signer().sign(self.image), self.image,
                             "its signature is not the one that was checked")

    def test_replaced_name(self):
        """another file of the same name: what was checked is what is run"""
        name, other = (os.path.join(self.daemon.dir, name) for name in ("name.eif", "junk.eif"))
        with open(HELLO_EIF, "rb") as image, open(name, "wb") as file:
            file.write(image.read())
        with open(other, "wb") as file:
            file.write(b"junk")
            self.daemon.wrap(CHECKER, f'{CHECKER} "$@" || exit\nmv {other} {name}\nexit 0')
        dom = self.conn.createXML(quick_xml("renamed", boot=boot_image(name)), 0)
        self.assertFalse(os.path.exists(other))
        dom.destroy()


class User(CheckerTest):
    """The checker of a system daemon runs as the user of helpers, and so it gets its files"""

    system = True
    conf = f"user = \"+{NOBODY}\"\ngroup = \"+{NOBODY}\"\n"

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        if not daemon.build_is_for_all():
            raise unittest.SkipTest("the build tree cannot be reached by the user nobody")
        super().setUpClass()

    @classmethod
    def before_start(cls):
        super().before_start()
        os.chmod(cls.daemon.dir, 0o755)

    def test_user(self):
        """it is another's, and reads an image that only root can open"""
        path = self.path("secret.eif")
        with open(HELLO_EIF, "rb") as image, open(path, "wb") as file:
            file.write(image.read())
        os.chmod(path, 0o600)
        self.daemon.wrap(CHECKER, 'id -u >&2; grep "locked memory" /proc/$$/limits >&2\n'
                                  'ls -l /proc/self/fd >&2')
        dom = self.conn.createXML(quick_xml("humble", boot=boot_image(path)), 0)
        with open(self.daemon.log, encoding="utf-8") as log:
            words = [line for line in log if CHECKER_NAME in line and "of the image" in line][-1]
        self.assertRegex(words, rf": {NOBODY}\b")
        # NITRO_LOCKED_MEMORY_MAX, or less where the daemon's own limit is
        limits = re.search(r"Max locked memory +(\d+) +(\d+)", words)
        self.assertLessEqual(int(limits[2]), 8 << 20)
        # of the daemon's files it has that one, and standard ones
        found = set(re.findall(r"-> (\S+)", words))
        self.assertIn(path, found)
        self.assertEqual([name for name in found if not re.match(
            r"/dev/null|pipe:|/proc/", name)], [path])
        os.unlink(path)
        with open(path, "wb") as file:
            file.write(eifwriter.simple(version=99).to_bytes())
        os.chmod(path, 0o600)
        with self.refused(FAILED, path, "99"):
            self.conn.createXML(quick_xml("wrong", boot=boot_image(path)), 0)
        dom.destroy()


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
