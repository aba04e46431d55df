#
# test_access.py: libvirt's access control in front of each call
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
#
"""
The daemon has access_drivers = [ "polkit" ]: libvirt's own driver, which asks an authority of
this test (polkitfake.py). Each entry of the driver's table is called by somebody who may do
nothing, and must be refused before it does anything; a new entry needs a call here.
"""

import os
import re

import daemon
import polkitfake
import taprunner
from e2etest import EnclaveTest, libvirt, quick_xml
from rawrpc import RawClient, RpcError, u32

DENIED = libvirt.VIR_ERR_ACCESS_DENIED

CONNECT_GET_TYPE = 3
CONNECT_SUPPORTS_FEATURE = 60
EVENT_REGISTER = 316
EVENT_DEREGISTER = 317
NO_DOMAIN = u32(0)
FEATURE_MIGRATION_V2 = 3

CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
LIFECYCLE = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
CONSOLE = "<console type='pty'/>"

# Entries that libvirt lets everybody have, as its scripts/check-aclrules.py says
OPEN_TO_ALL = {"connectURIProbe", "connectClose", "connectIsEncrypted", "connectIsSecure",
               "connectIsAlive"}
# Entries that the daemon never calls for a client: it registers all events by ...RegisterAny
NOT_REMOTE = {"connectDomainEventRegister", "connectDomainEventDeregister"}

# Whose refusal libvirt itself replaces by an answer: the name of the driver
ANSWERED = {"connectGetType"}

NONSENSE = "<nonsense"
SHARES = {"cpu_shares": 1024}


def raw(procedure, arguments=b""):
    """Returns a call of libvirt's protocol that its client library does not pass on."""
    return lambda test: test.raw.call(procedure, arguments)


# Entry of the table -> the call. In each the test has .conn, the domain .dom, which runs,
# .idle, which does not, and .callback, the number of an event's.
CALLS = {
    "connectOpen": lambda test: libvirt.open(test.daemon.uri),
    "connectSupportsFeature": raw(CONNECT_SUPPORTS_FEATURE, u32(FEATURE_MIGRATION_V2)),
    "connectGetType": raw(CONNECT_GET_TYPE),
    "connectGetVersion": lambda test: test.conn.getVersion(),
    "connectGetHostname": lambda test: test.conn.getHostname(),
    "connectGetSysinfo": lambda test: test.conn.getSysinfo(),
    "connectGetMaxVcpus": lambda test: test.conn.getMaxVcpus(None),
    "nodeGetInfo": lambda test: test.conn.getInfo(),
    "nodeGetCPUMap": lambda test: test.conn.getCPUMap(),
    "nodeGetCPUStats": lambda test: test.conn.getCPUStats(-1),
    "nodeGetMemoryStats": lambda test: test.conn.getMemoryStats(-1),
    "nodeGetCellsFreeMemory": lambda test: test.conn.getCellsFreeMemory(0, 1),
    "nodeGetFreeMemory": lambda test: test.conn.getFreeMemory(),
    "nodeGetFreePages": lambda test: test.conn.getFreePages([4], 0, 1),
    "nodeAllocPages": lambda test: test.conn.allocPages({3: 0}, 0, 1, 0),
    "nodeGetMemoryParameters": lambda test: test.conn.getMemoryParameters(),
    "nodeSetMemoryParameters":
        lambda test: test.conn.setMemoryParameters({"shm_pages_to_scan": 100}),
    "connectGetCapabilities": lambda test: test.conn.getCapabilities(),
    "connectGetDomainCapabilities": lambda test: test.conn.getDomainCapabilities(),
    "connectDomainXMLFromNative":
        lambda test: test.conn.domainXMLFromNative("nitro-cli", NONSENSE, 0),
    "connectDomainXMLToNative":
        lambda test: test.conn.domainXMLToNative("nitro-cli", NONSENSE, 0),
    "connectListDomains": lambda test: test.conn.listDomainsID(),
    "connectNumOfDomains": lambda test: test.conn.numOfDomains(),
    "connectListDefinedDomains": lambda test: test.conn.listDefinedDomains(),
    "connectNumOfDefinedDomains": lambda test: test.conn.numOfDefinedDomains(),
    "connectListAllDomains": lambda test: test.conn.listAllDomains(),
    "domainLookupByID": lambda test: test.conn.lookupByID(test.dom.ID()),
    "domainLookupByUUID": lambda test: test.conn.lookupByUUID(test.dom.UUID()),
    "domainLookupByName": lambda test: test.conn.lookupByName("runs"),
    "domainIsActive": lambda test: test.dom.isActive(),
    "domainIsPersistent": lambda test: test.dom.isPersistent(),
    "domainIsUpdated": lambda test: test.dom.isUpdated(),
    "domainGetInfo": lambda test: test.dom.info(),
    "domainGetState": lambda test: test.dom.state(),
    "domainGetXMLDesc": lambda test: test.dom.XMLDesc(),
    "domainGetOSType": lambda test: test.dom.OSType(),
    "domainHasManagedSaveImage": lambda test: test.dom.hasManagedSaveImage(),
    "domainGetSecurityLabelList": lambda test: test.dom.securityLabelList(),
    "domainGetLaunchSecurityInfo": lambda test: test.dom.launchSecurityInfo(),
    "domainOpenConsole": lambda test: test.dom.openConsole(None, test.stream()),
    "domainOpenChannel": lambda test: test.dom.openChannel(None, test.stream()),
    "domainCreateXML": lambda test: test.conn.createXML(test.costly, 0),
    "domainCreate": lambda test: test.idle.create(),
    "domainCreateWithFlags": lambda test: test.idle.createWithFlags(0),
    "domainDestroy": lambda test: test.dom.destroy(),
    "domainDestroyFlags": lambda test: test.dom.destroyFlags(),
    "domainShutdown": lambda test: test.dom.shutdown(),
    "domainShutdownFlags": lambda test: test.dom.shutdownFlags(),
    "domainReboot": lambda test: test.dom.reboot(),
    "domainReset": lambda test: test.dom.reset(),
    "domainDefineXML": lambda test: test.conn.defineXML(test.costly),
    "domainDefineXMLFlags": lambda test: test.conn.defineXMLFlags(test.costly),
    "domainUndefine": lambda test: test.idle.undefine(),
    "domainUndefineFlags": lambda test: test.idle.undefineFlags(),
    "domainSetMemory": lambda test: test.dom.setMemory(131072),
    "domainSetMemoryFlags": lambda test: test.dom.setMemoryFlags(131072, CONFIG),
    "domainSetMaxMemory": lambda test: test.idle.setMaxMemory(131072),
    "domainGetMaxMemory": lambda test: test.dom.maxMemory(),
    "domainSetVcpus": lambda test: test.dom.setVcpus(1),
    "domainSetVcpusFlags": lambda test: test.dom.setVcpusFlags(1, CONFIG),
    "domainGetVcpusFlags": lambda test: test.dom.vcpusFlags(),
    "domainGetMaxVcpus": lambda test: test.dom.maxVcpus(),
    "domainPinVcpu": lambda test: test.dom.pinVcpu(0, (False, True)),
    "domainPinVcpuFlags": lambda test: test.dom.pinVcpuFlags(0, (False, True), CONFIG),
    "domainSetMetadata": lambda test: test.dom.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, NONSENSE, "x", "http://example.org/", CONFIG),
    "domainGetMetadata":
        lambda test: test.dom.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None),
    "domainSetLifecycleAction": lambda test: test.dom.setLifecycleAction(
        libvirt.VIR_DOMAIN_LIFECYCLE_CRASH, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY, CONFIG),
    "domainGetAutostart": lambda test: test.dom.autostart(),
    "domainSetAutostart": lambda test: test.dom.setAutostart(0),
    "domainRename": lambda test: test.idle.rename("other"),
    "domainAttachDevice": lambda test: test.dom.attachDevice(NONSENSE),
    "domainAttachDeviceFlags": lambda test: test.dom.attachDeviceFlags(NONSENSE, CONFIG),
    "domainDetachDevice": lambda test: test.dom.detachDevice(NONSENSE),
    "domainDetachDeviceFlags": lambda test: test.dom.detachDeviceFlags(NONSENSE, CONFIG),
    "domainUpdateDeviceFlags": lambda test: test.dom.updateDeviceFlags(NONSENSE, CONFIG),
    "domainGetVcpuPinInfo": lambda test: test.dom.vcpuPinInfo(),
    "domainGetVcpus": lambda test: test.dom.vcpus(),
    "domainGetSchedulerType": lambda test: test.dom.schedulerType(),
    "domainGetSchedulerParameters": lambda test: test.dom.schedulerParameters(),
    "domainGetSchedulerParametersFlags": lambda test: test.dom.schedulerParametersFlags(),
    "domainSetSchedulerParameters": lambda test: test.dom.setSchedulerParameters(SHARES),
    "domainSetSchedulerParametersFlags":
        lambda test: test.dom.setSchedulerParametersFlags(SHARES, CONFIG),
    "domainGetMemoryParameters": lambda test: test.dom.memoryParameters(),
    "domainSetMemoryParameters":
        lambda test: test.dom.setMemoryParameters({"hard_limit": 1 << 30}, CONFIG),
    "domainMemoryStats": lambda test: test.dom.memoryStats(),
    "connectGetAllDomainStats": lambda test: test.conn.getAllDomainStats(),
    "domainGetControlInfo": lambda test: test.dom.controlInfo(),
    "domainGetMessages": lambda test: test.dom.messages(),
    # libvirt's client has taken its own callback off the list when such a call fails, and frees
    # the connection once too often at times
    "connectDomainEventRegisterAny": raw(EVENT_REGISTER, u32(LIFECYCLE) + NO_DOMAIN),
    "connectDomainEventDeregisterAny": lambda test: test.raw.call(EVENT_DEREGISTER,
                                                                  test.callback),
}


def driver_table():
    """Returns the entries of the driver's table, as its source has them."""
    path = os.path.join(daemon.SOURCE, "src/nitro/nitro_driver.c")
    with open(path, encoding="utf-8") as source:
        table = re.search(r"virHypervisorDriver nitroHypervisorDriver = \{(.*?)\};",
                          source.read(), re.DOTALL).group(1)
    return set(re.findall(r"\.(\w+) =", table)) - {"name"}


class Access(EnclaveTest):

    @classmethod
    def before_start(cls):
        cls.authority = polkitfake.Authority(cls.daemon.dir)
        cls.authority.start()
        cls.addClassCleanup(cls.authority.stop)
        cls.lasting = frozenset([cls.authority.process.pid])
        cls.daemon.daemon_env["DBUS_SYSTEM_BUS_ADDRESS"] = cls.authority.address
        os.makedirs(cls.daemon.config_dir, mode=0o755, exist_ok=True)
        with open(os.path.join(cls.daemon.config_dir, "virtnitrod.conf"), "w",
                  encoding="utf-8") as conf:
            conf.write('access_drivers = [ "polkit" ]\n')

    def setUp(self):
        super().setUp()
        self.dom = self.conn.defineXML(quick_xml("runs", devices=CONSOLE))
        self.dom.create()
        self.idle = self.conn.defineXML(quick_xml("idle"))
        # before the others' cleanups, which need rights, and close the connection
        self.addCleanup(self.let_go)

    def let_go(self):
        self.may(polkitfake.everything)
        self.dom = self.idle = None

    def may(self, allow):
        """From now on @allow decides who may do what."""
        self.authority.allow = allow
        self.authority.asked.clear()

    def stream(self):
        return self.conn.newStream()

    def error_of(self, call):
        """Returns the number of the error of @call; some calls have a value that means one."""
        libvirt.virResetLastError()
        try:
            call(self)
        except libvirt.libvirtError as error:
            return error.get_error_code()
        except RpcError as error:
            return error.code
        error = libvirt.virGetLastError()
        return error[0] if error else None

    def test_complete(self):
        """no entry of the table is forgotten"""
        self.assertEqual(driver_table(), set(CALLS) | OPEN_TO_ALL | NOT_REMOTE)

    def test_each_call(self):
        """who may do nothing is refused by each call, and changes nothing"""
        self.raw = RawClient(self.daemon.socket, self.daemon.url)
        self.addCleanup(self.raw.close)
        self.costly = quick_xml("costly", vcpu="<vcpu>-1</vcpu>")
        self.callback = self.raw.call(EVENT_REGISTER, u32(LIFECYCLE) + NO_DOMAIN)
        before = (self.dom.XMLDesc(), self.idle.XMLDesc())
        self.may(polkitfake.nothing)
        for name, call in CALLS.items():
            with self.subTest(name):
                self.authority.asked.clear()
                self.assertEqual(self.error_of(call), None if name in ANSWERED else DENIED)
                self.assertNotEqual(self.authority.asked, [])
        self.may(polkitfake.everything)
        self.assertEqual((self.dom.XMLDesc(), self.idle.XMLDesc()), before)
        self.assertTrue(self.dom.isActive())
        self.assertEqual({dom.name() for dom in self.conn.listAllDomains()}, {"runs", "idle"})

    def test_hidden(self):
        """a domain that somebody may not see is in no list, and no domain of its name is made"""
        self.may(lambda action, details: details.get("domain_name") != "runs")
        self.assertEqual([dom.name() for dom in self.conn.listAllDomains()], ["idle"])
        self.assertEqual((self.conn.listDomainsID(), self.conn.numOfDomains()), ([], 0))
        self.assertEqual(self.conn.listDefinedDomains(), ["idle"])
        self.assertEqual([stats[0].name() for stats in self.conn.getAllDomainStats()], ["idle"])
        with self.refused(DENIED):
            self.conn.lookupByName("runs")
        for make in (self.conn.defineXML, lambda text: self.conn.createXML(text, 0)):
            with self.refused(DENIED):
                make(quick_xml("runs"))

    def test_identity(self):
        """what is asked about a definition is its own name and UUID, or no UUID"""
        uuid = self.dom.UUIDString()
        self.may(lambda action, details: details.get("domain_uuid") != uuid)
        with self.refused(DENIED):
            self.conn.defineXML(quick_xml("other", number=uuid))
        self.may(polkitfake.everything)
        self.conn.defineXML(quick_xml("new")).undefine()
        self.assertIn(("domain.write", {"connect_driver": "nitro", "domain_name": "new",
                                        "domain_uuid": "00000000-0000-0000-0000-000000000000"}),
                      [(action, details) for action, details in self.authority.asked])


if __name__ == "__main__":
    taprunner.main()
