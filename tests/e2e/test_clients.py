#
# test_clients.py: the distribution's tools on enclaves
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
virt-install, virt-xml, virt-clone, collectd's virt plugin and libvirt-guests, each as
Debian packages it, on nitro:///system. Only their configuration is ours.

Left out: virt-top, which is not in Debian 12, and virt-viewer, as an enclave has no
graphics.
"""

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import libvirt

import daemon
import taprunner
from daemon import HELLO_EIF, WITH_US, wait_until
from e2etest import BOOT_SECONDS, NAMESPACE, EnclaveTest, domain_xml, quick_xml

COLLECTD = "/usr/sbin/collectd"
COLLECTD_PLUGIN = "/usr/lib/collectd/virt.so"
LIBVIRT_GUESTS = "/usr/lib/libvirt/libvirt-guests.sh"
VIRT_ADMIN = "/usr/bin/virt-admin"

# What they use beside libvirt's directories
MORE_DIRS = ["/etc/default", "/var/lib/libvirt"]

# What virt-install needs to be told to make an enclave of what it takes for a machine:
# all that is not needed has to be switched off
NO_DEVICES = ["--import", "--disk", "none", "--network", "none", "--graphics", "none",
              "--osinfo", "generic"]

COLLECTD_CONFIG = """
BaseDir "{dir}"
PIDFile "{dir}/collectd.pid"
Hostname "parent"
Interval 1
LoadPlugin logfile
LoadPlugin csv
LoadPlugin virt
<Plugin logfile>
    LogLevel info
    File "{dir}/collectd.log"
</Plugin>
<Plugin csv>
    DataDir "{dir}/metrics"
</Plugin>
<Plugin virt>
    Connection "{uri}"
    RefreshInterval 1
    HostnameFormat hostname
    PluginInstanceFormat name
    ExtraStats "domain_state pcpu vcpu memory"
</Plugin>
"""

GUESTS_CONFIG = """
URIS={uri}
ON_BOOT=start
ON_SHUTDOWN=shutdown
PARALLEL_SHUTDOWN=2
SHUTDOWN_TIMEOUT=60
"""


class Clients(EnclaveTest):
    """See the comment at the top of the file."""

    system = True

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()

    def require(self, package, *paths):
        for path in paths:
            if not os.path.exists(path):
                self.skipTest(f"{path} is not there: install {package}")

    def run_tool(self, *command):
        """Runs a tool; returns the finished process with its output."""
        return subprocess.run(WITH_US + list(command), env=self.daemon.client_env,
                              cwd=self.daemon.dir, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=2 * BOOT_SECONDS, check=False)

    def tool(self, *command):
        """Runs a tool that has to succeed; returns its output."""
        done = self.run_tool(*command)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def tool_fails(self, *command, words=()):
        """Runs a tool that has to fail with all @words in its output."""
        done = self.run_tool(*command)
        self.assertNotEqual(done.returncode, 0, f"{command}: {done.stdout}")
        for word in words:
            self.assertIn(word, done.stdout + done.stderr)

    def start_without_heartbeat(self, name, **kwargs):
        """Starts a persistent domain that is running as soon as its vCPUs are."""
        dom = self.conn.defineXML(quick_xml(name, **kwargs))
        dom.create()
        return dom

    def config(self, dom):
        """Returns the stored definition of @dom, parsed."""
        return ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def install(self, name, *more):
        return ["virt-install", "--connect", self.daemon.uri, "--name", name, "--memory", "128",
                "--vcpus", "1", "--machine", "nitro-enclave", "--boot", f"kernel={HELLO_EIF}",
                "--noautoconsole", *more]

    def test_install(self):
        """virt-install starts a transient domain, then defines it: persistent, and running on"""
        output = self.tool(*self.install("installed", *NO_DEVICES, "--vsock", "cid.auto=yes",
                                         "--autostart"))
        self.assertIn("Domain creation completed", output)
        dom = self.conn.lookupByName("installed")
        self.assertState(dom, libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
        self.assertTrue(dom.isPersistent())
        self.assertTrue(dom.autostart())
        self.assertEqual(dom.info()[1], 128 * 1024)
        cid = ElementTree.fromstring(dom.XMLDesc()).find("devices/vsock/cid")
        self.assertEqual(cid.get("auto"), "yes")
        self.assertGreater(int(cid.get("address")), 3)
        self.assertEqual(self.config(dom).find("devices/vsock/cid").get("address"), None)
        self.assertEqual(self.events.of("installed"), [
            (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED),
            (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED)])

        # the name is taken now
        self.tool_fails(*self.install("installed", *NO_DEVICES), words=["'installed' is already"])
        dom.destroy()
        self.assertTrue(dom.isPersistent())

    def test_install_transient(self):
        """virt-install --transient: it is gone with its end"""
        self.tool(*self.install("passing", *NO_DEVICES, "--transient"))
        dom = self.conn.lookupByName("passing")
        self.assertFalse(dom.isPersistent())
        dom.destroy()
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN, "passing"):
            self.conn.lookupByName("passing")

    def test_install_device(self):
        """a device that virt-install adds unless told otherwise: the user reads why not"""
        without = NO_DEVICES[:NO_DEVICES.index("--network")] + \
            NO_DEVICES[NO_DEVICES.index("--graphics"):]
        self.tool_fails(*self.install("wired", *without), words=["<interface> is not supported"])
        with self.refused(libvirt.VIR_ERR_NO_DOMAIN):
            self.conn.lookupByName("wired")

    def test_edit(self):
        """virt-xml changes the stored definition, one element a call, and nothing of ours"""
        dom = self.conn.defineXML(domain_xml("edited", devices="<console type='pty'/>"))
        edit = ["virt-xml", "--connect", self.daemon.uri, "edited", "--define"]
        self.tool(*edit, "--edit", "--memory", "256,currentMemory=256")
        self.tool(*edit, "--edit", "--vcpus", "2")
        self.tool(*edit, "--edit", "--vsock", "cid.auto=no,cid.address=77")
        self.tool_fails(*edit, "--add-device", "--watchdog", "default",
                        words=["<watchdog> is not supported"])
        self.tool(*edit, "--remove-device", "--console", "1")
        self.tool(*edit, "--edit", "--metadata", "title=Of an enclave")

        self.assertEqual(dom.info()[1:4], [256 * 1024, 256 * 1024, 2])
        config = self.config(dom)
        self.assertEqual(config.find("devices/vsock/cid").attrib,
                         {"auto": "no", "address": "77"})
        self.assertEqual(config.findtext("title"), "Of an enclave")
        self.assertEqual(config.find(f"{{{NAMESPACE}}}enclave").get("debug"), "yes")

    def test_edit_channels(self):
        """virt-xml adds, changes and removes channels, as it does for other drivers"""
        dom = self.conn.defineXML(domain_xml("channels"))
        edit = ["virt-xml", "--connect", self.daemon.uri, "channels", "--define"]
        self.tool(*edit, "--add-device", "--channel",
                  "unix,source.mode=bind,target.type=virtio,target.name=vsock.5000")
        self.tool(*edit, "--add-device", "--channel",
                  "tcp,source.mode=connect,source.host=kms.example.com,source.service=443,"
                  "target.type=virtio,target.name=vsock.8443")
        self.tool_fails(*edit, "--add-device", "--channel", "spicevmc", words=["spicevmc"])
        self.tool_fails(*edit, "--add-device", "--channel",
                        "unix,target.type=virtio,target.name=org.qemu.guest_agent.0",
                        words=["org.qemu.guest_agent.0", "vsock.PORT"])
        self.tool(*edit, "--edit", "2", "--channel", "source.service=8443")
        channels = self.config(dom).findall("devices/channel")
        self.assertEqual([channel.find("target").get("name") for channel in channels],
                         ["vsock.5000", "vsock.8443"])
        self.assertEqual(channels[1].find("source").attrib,
                         {"mode": "connect", "host": "kms.example.com", "service": "8443"})
        self.assertEqual(self.config(dom).findall("devices/controller"), [])
        self.tool(*edit, "--remove-device", "--channel", "1")
        self.assertEqual(len(self.config(dom).findall("devices/channel")), 1)

    def test_edit_running(self):
        """virt-xml on a running domain changes the next start only"""
        dom = self.start_without_heartbeat("edited-live")
        self.tool("virt-xml", "--connect", self.daemon.uri, "edited-live", "--define", "--edit",
                  "--vcpus", "2")
        self.assertEqual(self.config(dom).findtext("vcpu"), "2")
        self.assertEqual(ElementTree.fromstring(dom.XMLDesc()).findtext("vcpu"), "1")
        dom.destroy()
        self.assertEqual(ElementTree.fromstring(dom.XMLDesc()).findtext("vcpu"), "2")

    def test_clone(self):
        """virt-clone makes a domain with a name and UUID of its own, of an inactive one"""
        dom = self.conn.defineXML(domain_xml("origin", memory="192"))
        clone = ["virt-clone", "--connect", self.daemon.uri, "--original", "origin",
                 "--auto-clone", "--name"]
        self.tool(*clone, "copy")
        copy = self.conn.lookupByName("copy")
        self.assertNotEqual(copy.UUIDString(), dom.UUIDString())
        texts = [re.sub("<(name|uuid)>.*", "", xml) for xml in (dom.XMLDesc(), copy.XMLDesc())]
        self.assertEqual(*texts)

    # collectd

    def start_collectd(self):
        """Starts collectd, and waits for its read-only connection."""
        self.require("collectd-core", COLLECTD, COLLECTD_PLUGIN)
        config = self.path("collectd.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(COLLECTD_CONFIG.format(dir=self.daemon.dir, uri=self.daemon.uri))
        collectd = subprocess.Popen(
            WITH_US + [COLLECTD, "-f", "-C", config], env=self.daemon.client_env,
            cwd=self.daemon.dir, stdin=subprocess.DEVNULL)
        self.addCleanup(collectd.wait, 30)
        self.addCleanup(collectd.terminate)
        # the other one is ours
        wait_until(lambda: self.read_only_clients() == ["no", "yes"], 30,
                   "the read-only connection of collectd")

    def read_only_clients(self):
        """Returns whether the daemon's clients are read-only, "yes" or "no" for each."""
        admin = [VIRT_ADMIN, "-c", "virtnitrod:///system"]
        clients = re.findall(r"^ (\d+)", self.tool(*admin, "client-list", "virtnitrod"), re.M)
        infos = [self.run_tool(*admin, "client-info", "virtnitrod", client).stdout
                 for client in clients]
        return sorted(re.findall(r"^readonly *: *(\w+)", "".join(infos), re.M))

    def collectd_file(self, *path):
        """Returns the content of one of collectd's files, empty if it is not there."""
        path = os.path.join(self.daemon.dir, *path)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def samples(self, name, kind):
        """Returns what collectd has noted of @kind of the domain @name, but for the times."""
        where = ("metrics", "parent", f"virt-{name}")
        directory = os.path.join(self.daemon.dir, *where)
        return [line.split(",", 1)[1]
                for file in (os.listdir(directory) if os.path.isdir(directory) else ())
                if file.startswith(kind + "-")
                for line in self.collectd_file(*where, file).splitlines()[1:] if "," in line]

    def test_collectd(self):
        """collectd, read-only: the values of what runs, and a notification by event"""
        self.start_collectd()
        self.start_without_heartbeat("metered", memory="192", vcpu="<vcpu>2</vcpu>")
        running = f"{libvirt.VIR_DOMAIN_RUNNING:f},{libvirt.VIR_DOMAIN_RUNNING_BOOTED:f}"
        try:
            for kind, value in (("domain_state", running), ("memory-total", f"{192 << 20:f}")):
                wait_until(lambda: value in self.samples("metered", kind), 30, f"{kind} {value}")
            wait_until(lambda: any(float(value) > 0
                                   for value in self.samples("metered", "virt_cpu_total")),
                       30, "CPU time")
            wait_until(lambda: re.search("instance = metered.*is running",
                                         self.collectd_file("collectd.log")), 30, "the event")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.collectd_file('collectd.log')}") from None

    # libvirt-guests

    def test_libvirt_guests(self):
        """what ends the domains with the host, and starts the persistent ones again"""
        self.require("libvirt-daemon", LIBVIRT_GUESTS, "/lib/lsb/init-functions")
        with open("/etc/default/libvirt-guests", "w", encoding="utf-8") as config:
            config.write(GUESTS_CONFIG.format(uri=self.daemon.uri))

        doms = [self.start_without_heartbeat(f"guest{number}") for number in range(2)]
        self.conn.createXML(quick_xml("passing"))
        output = self.tool(LIBVIRT_GUESTS, "stop")
        self.assertEqual(len(re.findall("Shutdown of guest guest. complete", output)), 2, output)
        self.assertEqual(self.conn.listDomainsID(), [], output)
        for dom in doms:
            self.assertState(dom, libvirt.VIR_DOMAIN_SHUTOFF,
                             libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN)

        # it fails for the transient one, after the others
        output = self.run_tool(LIBVIRT_GUESTS, "start").stdout
        self.assertEqual([dom.isActive() for dom in doms], [1, 1], output)


if __name__ == "__main__":
    daemon.try_private_system(*MORE_DIRS)
    taprunner.main()
