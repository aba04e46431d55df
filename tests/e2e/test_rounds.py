#
# test_rounds.py: processes are killed at random, again and again
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Each round starts or defines some domains, kills a process with SIGKILL that chance has chosen (a
helper, its QEMU, the heartbeat broker, the daemon, or two of them), starts the daemon again when
it is dead, and looks: what libvirt says and what runs must be the same. Most domains have
the helper of tests/quickhelper.c, some are emulated, and some run on the mock of the device,
where there is one (root).

NITRO_ROUNDS says how many rounds (2,000 by default), NITRO_ROUNDS_SEED which ones: it is
printed, and the same seed has the same rounds up to what time decides.
"""

import contextlib
import os
import random
import signal
import sys
import time
import unittest

import daemon
import nitrodevmock
import taprunner
import tinyguest
from daemon import wait_until
from e2etest import BOOTED, RUNNING, SHUTOFF, Background, domain_xml, libvirt, quick_xml
from quicktest import QuickTest

ROUNDS = int(os.environ.get("NITRO_ROUNDS", "2000"))
SEED = int(os.environ.get("NITRO_ROUNDS_SEED", time.time()))

# Enclaves on the device: MiB of each, how many, and the huge pages of 2 MiB for them
DEVICE_MEMORY = 64
DEVICE_DOMAINS = 2
PAGES = DEVICE_DOMAINS * 40

# s: a killed enclave is noticed, restarted, or taken over
SETTLE_SECONDS = 30

# What a round kills, and how often in a hundred
KILLS = {"helper": 40, "daemon": 30, "helper and daemon": 15, "QEMU": 7, "broker": 8}


class Rounds(QuickTest):
    """See the comment at the top of the file."""

    seconds = 3 * 3600

    @classmethod
    def setUpClass(cls):
        cls.mock_device = None
        if not daemon.outside:
            cls.system = True
            with contextlib.suppress(unittest.SkipTest):
                cls.enterClassContext(nitrodevmock.HugePages(PAGES))
                cls.mock_device = cls.enterClassContext(
                    nitrodevmock.NitroMock(cpus=16, pool="1-7,9-15"))
        super().setUpClass()

    @classmethod
    def daemon_environment(cls):
        env = super().daemon_environment()
        if cls.mock_device:
            device = cls.mock_device.environment(daemon.DAEMON)
            device["LD_PRELOAD"] = " ".join((device["LD_PRELOAD"], cls.mock.LIBRARY))
            env.update(device)
        return env

    @classmethod
    def living(cls):
        found = super().living()
        if cls.mock_device:
            found.pop(cls.mock_device.process.pid, None)
        return found

    @classmethod
    def warm_up(cls):
        cls.kernel = os.path.join(cls.daemon.dir, "kernel")
        with open(cls.kernel, "wb") as kernel:
            kernel.write(tinyguest.kernel(b""))
        super().warm_up()

    def definitions(self):
        """Returns {name: definition} of the domains of all rounds."""
        restart = "<on_crash>restart</on_crash>"
        found = {f"quick-{number}": self.xml(f"quick-{number}",
                                             elements=restart if number % 3 == 0 else "")
                 for number in range(8)}
        for number in range(2):
            found[f"emulated-{number}"] = quick_xml(f"emulated-{number}")
        for number in range(DEVICE_DOMAINS if self.mock_device else 0):
            found[f"device-{number}"] = domain_xml(
                f"device-{number}", machine="nitro", memory=str(DEVICE_MEMORY),
                vcpu="<vcpu>2</vcpu>", boot=f"<kernel>{self.kernel}</kernel>")
        return found

    def start_some(self, rng):
        """Starts some of the domains that are off, and ends one now and then."""
        off = [dom for dom in self.conn.listAllDomains() if not dom.isActive()]
        for dom in rng.sample(off, min(len(off), rng.randint(1, 3))):
            try:
                dom.create()
            except libvirt.libvirtError as error:
                # a restart may have been first
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise
        if rng.random() < 0.2:
            active = [dom for dom in self.conn.listAllDomains() if dom.isActive()]
            dom = rng.choice(active)
            with contextlib.suppress(libvirt.libvirtError):
                dom.destroy()

    def victims(self, kind):
        """Returns the PIDs of the processes of this kind."""
        living = self.living()
        if kind == "helper":
            return [pid for pids in self.helpers().values() for pid in pids]
        if kind == "QEMU":
            return [pid for pid, name in living.items() if name.startswith("qemu-")]
        return [pid for pid, name in living.items() if "broker" in self.arguments(pid)]

    @staticmethod
    def arguments(pid):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as cmdline:
                return cmdline.read()
        except OSError:
            return ""

    def kill(self, rng, kinds):
        """Kills one process of each of @kinds, if there is any. Returns what it has killed."""
        killed = []
        for kind in kinds.split(" and "):
            if kind == "daemon":
                self.daemon.kill()
                killed.append(kind)
                continue
            victims = self.victims(kind)
            if victims:
                victim = rng.choice(sorted(victims))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                wait_until(lambda victim=victim: victim not in self.living(), SETTLE_SECONDS,
                           f"the end of {kind} {victim}")
                killed.append(f"{kind} {victim}")
        return killed

    def differences(self):
        """Returns what is not the same in what libvirt says and what runs; [] if nothing."""
        helpers = self.helpers()
        found = []
        for dom in self.conn.listAllDomains():
            mine = helpers.pop(dom.UUIDString(), [])
            state = dom.state()
            if state[0] not in (RUNNING, SHUTOFF):
                found.append(f"{dom.name()}: state {state}")
            elif len(mine) != dom.isActive():
                found.append(f"{dom.name()}: active {dom.isActive()}, helpers {mine}")
            elif dom.isActive() and state != [RUNNING, BOOTED]:
                found.append(f"{dom.name()}: state {state}")
        found += [f"no domain: {uuid}, helpers {pids}" for uuid, pids in helpers.items()]
        names = {dom.name() for dom in self.conn.listAllDomains() if dom.isActive()}
        files = {name.removesuffix(".xml") for name in os.listdir(self.run_top)
                 if name.endswith(".xml")}
        if files != names:
            found.append(f"status files {sorted(files)}, active {sorted(names)}")
        dirs = sorted(name for name in os.listdir(self.run_top) if name.startswith("domain-"))
        if dirs != sorted(f"domain-{dom.ID()}-{dom.name()}" for dom in self.conn.listAllDomains()
                          if dom.isActive()):
            found.append(f"directories {dirs}")
        qemus = len(self.victims("QEMU"))
        emulated = sum(name.startswith("emulated") for name in names)
        if qemus != emulated:
            found.append(f"{qemus} QEMUs for {emulated} emulated enclaves")
        return found

    def running(self):
        """Returns {PID: name of the domain} of the helpers."""
        names = {dom.UUIDString(): dom.name() for dom in self.conn.listAllDomains()}
        return {pid: names.get(uuid, uuid) for uuid, pids in self.helpers().items()
                for pid in pids}

    def look(self, number, what):
        """The state of the domains settles, and then nothing is different."""
        end = time.monotonic() + SETTLE_SECONDS
        # a restart can come between two looks at it
        while (found := self.differences()) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(found, [], f"round {number} of seed {SEED}, after: {', '.join(what)}")
        lost = self.before.keys() - self.running().keys() - self.killed
        self.assertEqual({pid: self.before[pid] for pid in lost}, {},
                         f"round {number} of seed {SEED}, after: {', '.join(what)}: helpers "
                         "have ended that nobody has killed")

    def play(self, number, rng):
        kinds = rng.choices(list(KILLS), KILLS.values())[0]
        self.start_some(rng)
        self.before = self.running()
        during = None
        if rng.random() < 0.3:
            # in the middle of a start
            off = [dom for dom in self.conn.listAllDomains() if not dom.isActive()]
            if off:
                during = Background(rng.choice(off).create)
                time.sleep(rng.random() * 0.05)
        what = self.kill(rng, kinds)
        self.killed = self.killed_with(what)
        if during:
            with contextlib.suppress(libvirt.libvirtError):
                during.result(60)
            what.append("during a start")
        if self.daemon.process.poll() is not None:
            self.daemon.start()
            self.reconnect()
        self.look(number, what or [f"no {kinds}"])
        return kinds if what else f"no {kinds}"

    def killed_with(self, what):
        """A helper ends with its QEMU, and a start with its broker."""
        if any(word.startswith(("QEMU", "broker")) for word in what):
            return self.before.keys()
        return {int(word.split()[1]) for word in what if word.startswith("helper")}

    def test_rounds(self):
        rng = random.Random(SEED)
        definitions = self.definitions()
        print(f"seed {SEED}, {ROUNDS} rounds with {', '.join(definitions)}", flush=True)
        for xml in definitions.values():
            self.conn.defineXML(xml)
        counts = {}
        begin = time.monotonic()
        for number in range(1, ROUNDS + 1):
            kind = self.play(number, rng)
            counts[kind] = counts.get(kind, 0) + 1
            if number % 50 == 0 or number == ROUNDS:
                print(f"round {number} of {ROUNDS}, {time.monotonic() - begin:.0f} s: {counts}",
                      flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].isdigit():
        ROUNDS = int(sys.argv.pop(1))
    daemon.try_private_system()
    taprunner.main()
