#
# test_commands.py: each virsh command for domains, and what comes of it
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
Two tables of the distribution's virsh: commands that do something for an enclave, with a pattern
of their output, and commands that cannot, with one of their error. A command of the groups
"domain" and "monitor" that is in neither table makes the test fail.

"runs" is a domain that runs, "idle" is one that does not; a table is worked through in its
order, so that a line can rely on those above it.
"""

import contextlib
import os
import re
import subprocess

import taprunner
from e2etest import EnclaveTest, quick_xml

# What libvirt says for a callback that a driver does not have
NO_SUPPORT = r"not supported by the connection driver"
LIVE = r"cannot change after its start.*--config"
NOT_RUNNING = r"not running"
NO_CGROUP = r"in a session there are no cgroups"

# Commands with tests of their own
ELSEWHERE = {
    "console": "test_console.py",
    "domlaunchsecinfo": "test_host.py",
    "domxml-from-native": "test_native.py",
    "domxml-to-native": "test_native.py",
}

# Commands that libvirt 9.0 does not have yet
LATER = ["domdisplay-reload", "domthrottlegroupdel", "domthrottlegroupinfo", "domthrottlegrouplist",
         "domthrottlegroupset"]

WORKS = [
    # lists and states
    ("list", r"^ +\d+ +runs +running"),
    ("list --all", r"- +idle +shut off"),
    ("list --all --name", r"^idle$"),
    ("list --inactive --title", r"idle"),
    ("list --state-shutoff --persistent", r"idle"),
    ("dominfo runs", r"State: +running"),
    ("dominfo idle", r"Max memory: +131072 KiB"),
    ("dominfo runs", r"Messages: +tainted: debug mode"),
    ("domstate runs --reason", r"^running \(booted\)$"),
    ("domcontrol runs", r"^ok$"),
    ("domid runs", r"^\d+$"),
    ("domid idle", r"^-$"),
    ("domname {uuid}", r"^idle$"),
    ("domuuid idle", r"^{uuid}$"),
    ("domthrottlegrouplist runs", r"^ Name"),
    # of a group that there is not
    ("domthrottlegroupinfo runs x", r"\A\s*\Z"),
    ("domstats", r"state.state=1"),
    ("domstats --state --vcpu --balloon runs", r"nitro.boot-time=\d+"),
    ("domstats --state --enforce runs", r"nitro.cid=\d+"),
    ("dommemstat runs", r"^actual 131072$"),
    ("dumpxml runs", r"<domain type='nitro' id='\d+'"),
    ("dumpxml idle --inactive --security-info", r"<nitro:enclave debug='yes'/>"),
    ("domblklist runs", r"Target +Source"),
    ("domiflist runs", r"Interface +Type"),
    ("ttyconsole runs", r"^/dev/pts/\d+$"),
    # vCPUs and memory
    ("vcpucount runs --live --current", r"^1$"),
    ("vcpucount idle --config --maximum", r"^1$"),
    ("vcpuinfo runs", r"State: +running"),
    ("vcpupin runs", r"^ 0 +0"),
    ("setvcpus idle 2 --config", r""),
    ("vcpucount idle --config --current", r"^2$"),
    ("setvcpus idle 1 --config --maximum", r""),
    ("vcpupin idle 0 1 --config", r""),
    ("vcpupin idle --config", r"^ 0 +1$"),
    ("vcpupin idle 0 r --config", r""),
    ("setmem idle 256M --config", r""),
    ("dominfo idle", r"Used memory: +262144 KiB"),
    ("setmaxmem idle 192M --config", r""),
    ("setmaxmem idle 128M", r""),
    ("setmem runs 256M --config", r""),
    # devices of the definition
    ("attach-device idle {vsock} --config", r"attached successfully"),
    ("update-device idle {vsock} --config", r"updated successfully"),
    ("detach-device idle {vsock} --config", r"detached successfully"),
    ("attach-device idle {console} --config", r"attached successfully"),
    ("detach-device idle {console} --config", r"detached successfully"),
    # words
    ("desc idle --title --config a title", r"updated successfully"),
    ("desc idle --title", r"^a title$"),
    ("desc runs --live now", r"updated successfully"),
    ("metadata idle http://example.com/a --key a --set <b/>", r"modified"),
    ("metadata idle http://example.com/a", r"^<b/>$"),
    ("metadata idle http://example.com/a --remove", r"removed"),
    ("domrename idle other", r"renamed"),
    ("domrename other idle", r"renamed"),
    ("autostart idle", r"marked as autostarted"),
    ("autostart idle --disable", r"unmarked as autostarted"),
    ("set-lifecycle-action idle crash restart --config", r""),
    ("set-lifecycle-action runs poweroff restart --live", r""),
    ("edit idle", r"not changed"),
    ("define {xml} --validate", r"defined"),
    ("managedsave-remove idle", r"no manage save image"),
    # life
    ("reboot runs", r"is being rebooted"),
    ("reset runs", r"was reset"),
    ("shutdown runs", r"is being shutdown"),
    ("domstate runs --reason", r"^shut off \(shutdown\)$"),
    ("start runs", r"started"),
    ("destroy runs --graceful", r"destroyed"),
    ("create {xml}", r"created"),
    ("destroy idle", r"destroyed"),
    ("undefine idle --nvram --managed-save --snapshots-metadata", r"undefined"),
]

# virsh has a thread that calls the daemon for these, and ends the main thread's loop then. When
# the answer is there before that loop has begun, virsh misses it and waits for ever: refusals are that
# fast, now and then. (virshWatchJob() in libvirt's tools/virsh-domain.c)
WITH_WORKER = ("save", "managedsave", "dump", "migrate")
HANG_SECONDS = 15
TRIES = 4

REFUSED = [
    # in the wrong state
    ("start runs", r"already (active|running)"),
    ("destroy idle", NOT_RUNNING),
    ("shutdown idle", NOT_RUNNING),
    ("reboot idle", NOT_RUNNING),
    ("reset idle", NOT_RUNNING),
    ("dommemstat idle", NOT_RUNNING),
    ("domcontrol idle", NOT_RUNNING),
    ("domrename runs other", r"is running"),
    ("create {running}", r"already active"),
    ("vcpucount idle --live --current", NOT_RUNNING),
    ("setmem idle 256M --live", NOT_RUNNING),
    # an enclave is fixed
    ("setmem runs 256M", LIVE),
    ("setmem runs 256M --live", LIVE),
    ("setmaxmem runs 256M", LIVE),
    ("setvcpus runs 2", LIVE),
    ("vcpupin runs 0 1", LIVE),
    ("attach-device runs {vsock}", LIVE),
    ("update-device runs {vsock}", LIVE),
    ("detach-device runs {vsock}", LIVE),
    ("attach-disk idle /x vda --config", r"<disk> is not supported"),
    ("attach-interface idle network default --config", r"<interface> is not supported"),
    ("detach-device-alias idle serial0", NO_SUPPORT),
    ("set-lifecycle-action idle crash preserve --config", r"'destroy' and 'restart'"),
    ("reboot runs --mode acpi", r"unsupported flags"),
    ("shutdown runs --mode agent", r"unsupported flags"),
    ("start idle --paused", r"unsupported flags"),
    ("start idle --autodestroy", r"unsupported flags"),
    # nothing of the sort exists
    ("suspend runs", NO_SUPPORT), ("resume runs", NO_SUPPORT),
    ("save runs {away}", NO_SUPPORT), ("restore {away}", r".*"),
    ("save-image-dumpxml {away}", NO_SUPPORT), ("save-image-define {away} {xml}", NO_SUPPORT),
    ("save-image-edit {away}", NO_SUPPORT),
    ("managedsave runs", NO_SUPPORT), ("managedsave-edit runs", NO_SUPPORT),
    ("managedsave-dumpxml runs", NO_SUPPORT), ("managedsave-define runs {xml}", NO_SUPPORT),
    ("dump runs {away}", NO_SUPPORT), ("screenshot runs {away}", NO_SUPPORT),
    ("migrate runs qemu+unix:///session?socket=/none", r".*"),
    ("migrate-setmaxdowntime runs 1", NO_SUPPORT), ("migrate-getmaxdowntime runs", NO_SUPPORT),
    ("migrate-compcache runs", NO_SUPPORT), ("migrate-setspeed runs 1", NO_SUPPORT),
    ("migrate-getspeed runs", NO_SUPPORT), ("migrate-postcopy runs", NO_SUPPORT),
    ("blkdeviotune runs vda", NO_SUPPORT), ("blkiotune runs", NO_SUPPORT),
    ("blockcommit runs vda", r".*"), ("blockcopy runs vda /x", NO_SUPPORT),
    ("blockjob runs vda", NO_SUPPORT), ("blockpull runs vda", NO_SUPPORT),
    ("blockresize runs vda 1", NO_SUPPORT), ("change-media runs vda --eject", r"disk information"),
    ("detach-disk runs vda", r"disk information"), ("detach-interface runs user", r"No interface"),
    ("cpu-stats runs", NO_SUPPORT), ("domdisplay runs", r".*"), ("vncdisplay runs", r".*"),
    ("domblkerror runs", NO_SUPPORT), ("domblkinfo runs vda", NO_SUPPORT),
    ("domblkstat runs vda", NO_SUPPORT), ("domblkthreshold runs vda 1", NO_SUPPORT),
    ("domif-getlink runs eth0", r"not found"),
    ("domif-setlink runs eth0 up", r"no interfaces found"),
    ("domifaddr runs", NO_SUPPORT), ("domifstat runs eth0", NO_SUPPORT),
    ("domiftune runs eth0", NO_SUPPORT), ("domtime runs", NO_SUPPORT),
    ("domfsfreeze runs", NO_SUPPORT), ("domfsthaw runs", NO_SUPPORT),
    ("domfsinfo runs", NO_SUPPORT), ("domfstrim runs", NO_SUPPORT),
    ("domhostname runs", NO_SUPPORT), ("domjobabort runs", NO_SUPPORT),
    ("domjobinfo runs", NO_SUPPORT),
    ("domsetlaunchsecstate runs --secrethdr {xml} --secret {xml}", NO_SUPPORT),
    ("dompmsuspend runs mem", NO_SUPPORT), ("dompmwakeup runs", NO_SUPPORT),
    ("get-user-sshkeys runs root", NO_SUPPORT), ("set-user-sshkeys runs root --reset", NO_SUPPORT),
    ("set-user-password runs root x", NO_SUPPORT), ("inject-nmi runs", NO_SUPPORT),
    ("iothreadinfo runs", NO_SUPPORT), ("iothreadpin runs 1 1", NO_SUPPORT),
    ("iothreadadd runs 1", NO_SUPPORT), ("iothreadset runs 1 --poll-max-ns 1", NO_SUPPORT),
    ("iothreaddel runs 1", NO_SUPPORT), ("send-key runs KEY_A", NO_SUPPORT),
    ("send-process-signal runs 1 term", NO_SUPPORT), ("lxc-enter-namespace runs /bin/true", r".*"),
    ("memtune runs", NO_CGROUP), ("perf runs", NO_SUPPORT), ("numatune runs", NO_SUPPORT),
    ("schedinfo runs", NO_CGROUP), ("emulatorpin runs", NO_SUPPORT),
    ("qemu-attach 1", NO_SUPPORT), ("qemu-monitor-command runs x", NO_SUPPORT),
    ("qemu-monitor-event runs --timeout 1", NO_SUPPORT), ("qemu-agent-command runs x", NO_SUPPORT),
    ("guest-agent-timeout runs --timeout 1", NO_SUPPORT), ("guestvcpus runs", NO_SUPPORT),
    ("setvcpu runs 0 --enable", NO_SUPPORT), ("guestinfo runs", NO_SUPPORT),
    ("domdirtyrate-calc runs", NO_SUPPORT), ("update-memory-device runs", r".*"),
    ("dom-fd-associate runs x 1", r".*"),
    ("domthrottlegroupset runs x --total-bytes-sec 1", NO_SUPPORT),
    ("domthrottlegroupdel runs x", NO_SUPPORT), ("domdisplay-reload runs", NO_SUPPORT),
]


class Commands(EnclaveTest):

    def setUp(self):
        super().setUp()
        self.daemon.client_env["EDITOR"] = "true"
        for name, kwargs in (("idle", {}), ("runs", {"devices": "<console type='pty'/>"})):
            self.conn.defineXML(quick_xml(name, **kwargs))
        self.conn.lookupByName("runs").create()
        uuid = self.conn.lookupByName("idle").UUIDString()
        self.words = {"uuid": uuid, "away": self.path("away")}
        elements = f"<uuid>{uuid}</uuid>"
        running = self.conn.lookupByName("runs").XMLDesc(0)
        idle = quick_xml("idle", elements=elements)
        for name, text in (("running", running), ("xml", idle),
                           ("vsock", "<vsock><cid auto='no' address='60'/></vsock>"),
                           ("console", "<console type='pty'/>")):
            self.words[name] = self.path(f"{name}.xml")
            with open(self.words[name], "w", encoding="utf-8") as xml:
                xml.write(text)

    def commands(self):
        """The names of this virsh's commands"""
        names = set()
        for group in ("domain", "monitor"):
            text = self.daemon.virsh("help", group).stdout
            found = re.findall(r"^    ([a-z][a-z-]*) ", text, re.MULTILINE)
            self.assertTrue(found)
            names.update(found)
        return names

    def table(self, lines):
        """@lines without those whose commands come with a later virsh than this"""
        missing = set(LATER) - self.commands()
        return [line for line in lines if line[0].split(" ")[0] not in missing]

    def run_line(self, line):
        words = [self.words.get(word.strip("{}"), word) if word.startswith("{") else word
                 for word in line.split(" ")]
        if words[0] not in WITH_WORKER:
            return self.daemon.virsh(*words)
        for _ in range(TRIES):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.daemon.virsh(*words, timeout=HANG_SECONDS)
        return self.fail(f"virsh hangs each time: {line}")

    def test_works(self):
        for line, pattern in self.table(WORKS):
            with self.subTest(line):
                done = self.run_line(line)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, re.compile(
                    pattern.replace("{uuid}", self.words["uuid"]), re.MULTILINE))

    def test_refused(self):
        """an error that says why, and the domains are as before"""
        before = [self.conn.lookupByName(name).XMLDesc(0) for name in ("idle", "runs")]
        for line, pattern in self.table(REFUSED):
            with self.subTest(line):
                done = self.run_line(line)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertRegex(done.stderr, pattern)
        self.assertEqual([self.conn.lookupByName(name).XMLDesc(0) for name in ("idle", "runs")],
                         before)
        self.assertFalse(os.path.exists(self.words["away"]))

    def test_complete(self):
        """no command is forgotten"""
        known = {line.split(" ")[0] for line, _ in WORKS + REFUSED} | set(ELSEWHERE)
        self.assertEqual(self.commands() - known, set())


if __name__ == "__main__":
    taprunner.main()
