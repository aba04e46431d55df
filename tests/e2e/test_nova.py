#
# test_nova.py: nova's compute driver over a running virtnitrod
#
# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The driver is called as nova-compute calls it, with nova's own objects, and there is no more of
OpenStack than Debian's python3-nova: what Glance would send is a copy of a file. "make check-nova"
has all of OpenStack.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import unittest
import uuid
import xml.etree.ElementTree as ElementTree
from unittest import mock

import daemon
import nitrodevmock
import taprunner
import tinyguest
from daemon import DAEMON, HELLO_BANNER, HELLO_EIF, HELLO_INITRD, HELLO_KERNEL, wait_until
from e2etest import BOOT_SECONDS, NAMESPACE, EnclaveTest, domain_xml, libvirt, quick_xml

try:
    import eventlet.semaphore
    import nova.virt
except ImportError as missing:
    print(f"1..0 # SKIP python3-nova is not installed: {missing}")
    sys.exit(0)

# where it is installed: nova/meson.build
nova.virt.__path__.append(os.path.join(daemon.SOURCE, "nova"))

import nova.conf                                     # pylint: disable=wrong-import-position
from nova import context as nova_context
from nova import exception, objects
from nova.compute import power_state, provider_tree, task_states
from nova.compute import utils as compute_utils
from nova.network import model as network_model
from nova.virt import event as nova_event
from nova.virt import driver as nova_driver
from nova.virt.libvirt import host as libvirt_host
from nova.virt.nitro import NitroDriver, compat, images, spec

CONF = nova.conf.CONF

TRAITS = "CUSTOM_NITRO_ENCLAVE", "CUSTOM_NITRO_ENCLAVE_EMULATED"
CMDLINE = "console=ttyS0 reboot=t panic=-1 quiet hello.seed=0"
GIB = 1 << 30


class NovaTest(EnclaveTest):
    """The system's daemon, and one nova-compute for all tests of a class."""

    system = True
    machine = "nitro-enclave"
    node = "compute-1"

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        super().setUpClass()
        cls.directory = tempfile.mkdtemp(prefix="nova-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        os.chmod(cls.directory, 0o755)
        CONF([], project="nova", default_config_files=[])
        objects.register_all()
        for name, value, group in (
                ("machine", cls.machine, "nitro"), ("instances_path", cls.directory, None),
                ("lock_path", os.path.join(cls.directory, "lock"), "oslo_concurrency"),
                ("reserved_host_memory_mb", 0, None)):
            CONF.set_override(name, value, group=group)
            cls.addClassCleanup(CONF.clear_override, name, group=group)
        # The tests have an event loop for libvirt, and there can be only one; and their threads and
        # locks are not eventlet's, as nova-compute's are: what waits for one waits for ever
        for thread in ("_native_thread", "_conn_event_thread"):
            cls.enterClassContext(mock.patch.object(libvirt_host.Host, thread))
        cls.driver = NitroDriver(None)
        cls.driver._host._lifecycle_delay = 0
        cls.driver._host._wrapped_conn_lock = eventlet.semaphore.Semaphore()
        cls.driver._starting_lock = eventlet.semaphore.Semaphore()
        cls.lifecycle = []
        cls.driver.register_event_listener(cls.lifecycle.append)
        cls.driver.init_host(cls.node)
        cls.driver.get_available_resource(cls.node)
        cls.addClassCleanup(lambda: cls.driver._host.get_connection().close())
        cls.descriptors = cls.settle()

    def setUp(self):
        super().setUp()
        self.context = nova_context.get_admin_context()
        self.glance = {}  # {image id: path}
        self.fetched = []
        fetch = mock.patch("nova.virt.images.fetch", side_effect=self.fetch)
        fetch.start()
        self.addCleanup(fetch.stop)
        self.addCleanup(self.check_directory)
        self.lifecycle.clear()

    def fetch(self, _context, image_id, path, _certs=None):
        self.fetched.append(image_id)
        shutil.copy(self.glance[image_id], path)

    def check_directory(self):
        """Of what a test has made, its images alone are left, each once."""
        self.assertEqual(set(os.listdir(self.directory)) - {"_base", "lock"}, set())
        os.makedirs(images.cache_directory(), exist_ok=True)
        for entry in os.scandir(images.cache_directory()):
            self.assertEqual(entry.stat().st_nlink, 1)
            os.unlink(entry.path)

    def remove_domains(self):
        super().remove_domains()
        for name in set(os.listdir(self.directory)) - {"_base", "lock"}:
            # a test that has failed half way
            print(f"{self.id()} has left {name}", file=sys.stderr)

    def upload(self, path):
        image_id = str(uuid.uuid4())
        self.glance[image_id] = path
        return image_id

    def instance(self, image=HELLO_EIF, vcpus=1, memory=128, specs=None, properties=None,
                 pages=None, **fields):
        """An instance as nova-compute gets it, of the image at the path @image."""
        flavor = objects.Flavor(id=1, flavorid="1", name="enclave", vcpus=vcpus, memory_mb=memory,
                                root_gb=1, ephemeral_gb=0, swap=0, rxtx_factor=1.0,
                                extra_specs={"nitro:debug": "yes", **(specs or {})})
        metadata = {f"image_{key}": value for key, value in (properties or {}).items()}
        metadata.update(image_disk_format="raw", image_container_format="bare")
        topology = None
        if pages is not None:
            topology = objects.InstanceNUMATopology(cells=[objects.InstanceNUMACell(
                id=0, cpuset={0}, pcpuset=set(), memory=memory, pagesize=pages)])
        made = objects.Instance(
            self.context, id=len(self.glance) + 1, uuid=str(uuid.uuid4()), flavor=flavor,
            display_name="enclave", image_ref=self.upload(image), kernel_id="", ramdisk_id="",
            system_metadata=metadata, numa_topology=topology, trusted_certs=None,
            task_state=None, launched_at=None)
        made.update(fields)
        return made

    def kernel_instance(self, *words, **fields):
        """One of a kernel and a ramdisk, and the image that has none of its own."""
        empty = os.path.join(self.directory, "_base", "empty")
        os.makedirs(os.path.dirname(empty), exist_ok=True)
        with open(empty, "wb"):
            pass
        self.addCleanup(os.unlink, empty)
        made = self.instance(
            empty, kernel_id=self.upload(HELLO_KERNEL), ramdisk_id=self.upload(HELLO_INITRD),
            properties={"os_command_line": " ".join([CMDLINE, *words])}, **fields)
        made.system_metadata["image_disk_format"] = "ami"
        return made

    def spawn(self, instance, **more):
        self.addCleanup(self.driver.destroy, self.context, instance, None)
        self.driver.spawn(self.context, instance, instance.image_meta, [], None, {}, **more)

    def state(self, instance):
        return self.driver.get_info(instance).state

    def console(self, instance):
        return self.driver.get_console_output(self.context, instance).decode(errors="replace")

    def wait_console(self, instance, text):
        wait_until(lambda: text in self.console(instance), BOOT_SECONDS, f"'{text}'")

    @staticmethod
    def fault(error):
        """What users see of an error of a spawn: nova keeps 255 bytes of it, with its own."""
        if isinstance(error, (exception.InvalidInput, exception.ImageUnacceptable)):
            error = exception.BuildAbortException(instance_uuid=str(uuid.uuid4()),
                                                  reason=error.format_message())
        return compute_utils.exception_to_dict(error)["message"]

    def refused_spawn(self, kind, *words, instance):
        """The fault has @words, and nothing is left of @instance."""
        with self.assertRaises(kind) as raised:
            self.driver.spawn(self.context, instance, instance.image_meta, [], None, {})
        for word in words:
            self.assertIn(word, self.fault(raised.exception))
        self.assertFalse(self.driver.instance_exists(instance))
        self.assertNotIn(instance.uuid, os.listdir(self.directory))

    def inventory(self):
        tree = provider_tree.ProviderTree()
        tree.new_root(self.node, str(uuid.uuid4()), generation=0)
        tree.add_traits(self.node, *TRAITS)
        self.driver.update_provider_tree(tree, self.node)
        self.assertLessEqual(len(tree.data(self.node).traits), 1)
        self.traits = tree.data(self.node).traits
        return tree.data(self.node).inventory

    def totals(self):
        return {name: entry["total"] for name, entry in self.inventory().items()
                if name != "DISK_GB"}


class Life(NovaTest):
    """From spawn to destroy, with the sample enclave"""

    def wait_starting(self, instance):
        def starting():
            eventlet.sleep(0.1)
            return (self.driver.instance_exists(instance) and
                    self.state(instance) == power_state.PAUSED)

        wait_until(starting, BOOT_SECONDS, "the start")

    def test_life(self):
        instance = self.instance()
        self.spawn(instance)
        self.assertEqual(self.state(instance), power_state.RUNNING)
        self.assertEqual(self.driver.list_instances(), [instance.name])
        self.assertEqual(self.driver.list_instance_uuids(), [instance.uuid])
        self.wait_console(instance, HELLO_BANNER)
        first = self.driver.get_info(instance).internal_id

        told = self.driver.get_instance_diagnostics(instance)
        self.assertEqual((told.num_cpus, told.memory_details.maximum, told.num_disks), (1, 128, 0))
        told = self.driver.get_diagnostics(instance)
        self.assertEqual((told["state"], told["memory"]), ("running", 128 * 1024))
        self.assertGreater(told["cpu0_time"], 0)

        for kind in ("SOFT", "HARD"):
            self.driver.reboot(self.context, instance, None, kind)
            second = self.driver.get_info(instance).internal_id
            self.assertGreater(second, first)
            self.assertEqual(self.state(instance), power_state.RUNNING)
            self.wait_console(instance, HELLO_BANNER)
            first = second

        self.driver.power_off(instance)
        self.assertEqual(self.state(instance), power_state.SHUTDOWN)
        with self.assertRaises(exception.InstanceInvalidState):
            self.driver.get_instance_diagnostics(instance)
        self.driver.power_off(instance)
        self.driver.resume_state_on_host_boot(self.context, instance, None)
        self.assertEqual(self.state(instance), power_state.RUNNING)
        again = self.driver.get_info(instance).internal_id
        self.driver.resume_state_on_host_boot(self.context, instance, None)
        self.assertEqual(self.driver.get_info(instance).internal_id, again)
        # as nova 31 calls it, which has shares before the block devices
        self.driver.power_off(instance)
        self.driver.resume_state_on_host_boot(self.context, instance, None, [],
                                              {"root_device_name": "/dev/vda"})
        self.assertEqual(self.state(instance), power_state.RUNNING)
        self.driver.destroy(self.context, instance, None)
        self.assertFalse(self.driver.instance_exists(instance))
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.get_info(instance)
        # nova may ask again
        self.driver.destroy(self.context, instance, None)

    def test_definition_lost(self):
        """a start defines the domain anew"""
        instance = self.instance()
        self.spawn(instance, power_on=False)
        self.assertFalse(self.driver.instance_exists(instance))
        self.driver.power_on(self.context, instance, None)
        self.driver.power_off(instance)
        self.conn.lookupByUUIDString(instance.uuid).undefine()
        # as nova does before it rebuilds or shelves
        self.driver.power_off(instance)
        self.driver.power_on(self.context, instance, None)
        self.assertEqual(self.state(instance), power_state.RUNNING)

    def test_image_lost(self):
        """a start fetches it again"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        self.driver.power_off(instance)
        shutil.rmtree(os.path.join(self.directory, instance.uuid))
        os.unlink(os.path.join(images.cache_directory(), instance.image_ref))
        self.driver.power_on(self.context, instance, None)
        self.assertEqual(self.state(instance), power_state.RUNNING)
        self.assertEqual(self.fetched, [instance.image_ref] * 2)

    def test_start_of_what_runs(self):
        """one that runs is left alone, and one that starts, for which nobody waits, ended"""
        instance = self.kernel_instance("hello.heartbeat=no")
        self.spawn(instance, power_on=False)
        first = eventlet.spawn(self.driver.power_on, self.context, instance, None)
        self.wait_starting(instance)
        instance.flavor.extra_specs["nitro:heartbeat"] = "no"
        self.driver.power_on(self.context, instance, None)
        with self.assertRaises(exception.InstancePowerOnFailure):
            first.wait()
        self.assertEqual(self.state(instance), power_state.RUNNING)
        second = self.driver.get_info(instance).internal_id
        self.driver.power_on(self.context, instance, None)
        self.assertEqual(self.driver.get_info(instance).internal_id, second)

    def test_reboot_refused(self):
        """what is wrong with the definition is known before the enclave ends"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        before = self.driver.get_info(instance).internal_id
        instance.flavor.memory_mb = 3
        with self.assertRaisesRegex(exception.InstanceRebootFailure, "65536 KiB"):
            self.driver.reboot(self.context, instance, None, "HARD")
        self.assertEqual(self.driver.get_info(instance).internal_id, before)

    def test_ends_by_itself(self):
        """of a kernel and a ramdisk; nova hears of the end"""
        instance = self.kernel_instance()
        self.spawn(instance)
        os.kill(self.qemu_of(self.conn.lookupByUUIDString(instance.uuid)), signal.SIGKILL)

        def stopped():
            eventlet.sleep(0.1)
            return [event for event in self.lifecycle if event.get_instance_uuid() ==
                    instance.uuid and event.transition == nova_event.EVENT_LIFECYCLE_STOPPED]

        wait_until(stopped, 30, "the event")
        self.assertEqual(self.state(instance), power_state.SHUTDOWN)

    def test_rebuild(self):
        """what is wrong with the new image is known before the old enclave ends"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        before = self.driver.get_info(instance).internal_id
        instance.image_ref = self.upload("/nowhere")
        with self.assertRaises(exception.InstanceFaultRollback) as raised:
            self.driver.rebuild(self.context, instance, instance.image_meta)
        self.assertIsInstance(raised.exception.inner_exception, FileNotFoundError)
        instance.image_ref = self.upload(HELLO_EIF)
        instance.system_metadata["image_nitro:pcr9"] = "00"
        with self.assertRaises(exception.InstanceFaultRollback) as raised:
            self.driver.rebuild(self.context, instance, instance.image_meta)
        self.assertIn("nitro:pcr9", str(raised.exception.inner_exception))
        with self.assertRaisesRegex(exception.InvalidInput, "nitro:pcr9"):
            self.driver.rebuild(self.context, instance, instance.image_meta, evacuate=True)
        self.assertEqual(self.driver.get_info(instance).internal_id, before)
        del instance.system_metadata["image_nitro:pcr9"]
        # nova then does it by itself
        with self.assertRaises(NotImplementedError):
            self.driver.rebuild(self.context, instance, instance.image_meta)
        self.driver.destroy(self.context, instance, None)
        self.spawn(instance)
        self.assertIn(instance.image_ref, self.fetched)

    def test_destroyed_while_it_starts(self):
        """a server is deleted while it is built: nothing is left, whoever is first"""
        instance = self.kernel_instance("hello.heartbeat=no")
        built = eventlet.spawn(self.driver.spawn, self.context, instance, instance.image_meta, [],
                               None, {})
        self.wait_starting(instance)
        self.driver.destroy(self.context, instance, None)
        with self.assertRaises(exception.BuildAbortException):
            built.wait()
        self.assertFalse(self.driver.instance_exists(instance))

    def test_daemon_restarted(self):
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        before = self.driver.get_info(instance).internal_id
        self.daemon.restart()
        self.reconnect()
        self.assertEqual(self.driver.get_info(instance).internal_id, before)


class Failures(NovaTest):
    """What cannot be, and that nothing is left of it"""

    def test_measurement(self):
        for key in ("nitro:pcr0", "nitro:pcr2"):
            with self.subTest(key):
                self.refused_spawn(exception.BuildAbortException, "image 'image'", "PCR" + key[-1],
                                       "but abababab", "... is expected", instance=self.instance(specs={key: "AB" * 48}))

    def test_no_image(self):
        path = os.path.join(self.daemon.dir, "no.eif")
        with open(path, "wb") as image:
            image.write(b"no enclave" * 1000)
        self.refused_spawn(exception.BuildAbortException, "image", instance=self.instance(path))

    def test_does_not_boot(self):
        self.refused_spawn(exception.BuildAbortException, "ended before it had booted",
                           instance=self.kernel_instance("rdinit=/nothing"))

    def test_keys(self):
        for specs, properties, words in (
                ({"nitro:debgu": "yes"}, {}, ["nitro:debgu", "no such key"]),
                ({}, {"nitro:pcr3": "00"}, ["nitro:pcr3", "no such key"]),
                ({"nitro:debug": "maybe"}, {}, ["nitro:debug", "'maybe'"]),
                ({"nitro:debug": "no"}, {"nitro:debug": "yes"}, ["nitro:debug", "flavor", "image"]),
                ({"nitro:pcr0": "12"}, {}, ["nitro:pcr0", "'12'", "96"]),
                ({"nitro:pcr0": "x" * 255}, {}, ["nitro:pcr0", "'xxx", "of 96 hexadecimal digits"]),
                ({"nitro:pcr0": "a" * 96}, {"nitro:pcr0": "b" * 96},
                 ["nitro:pcr0", "the flavor says 'aaa", "the image 'bbb"]),
                ({"nitro:heartbeat_timeout": "0"}, {}, ["nitro:heartbeat_timeout", "86400"]),
                ({}, {"nitro:heartbeat_timeout": "5"}, ["nitro:heartbeat_timeout", "image"]),
                ({}, {"nitro:service.time.5": "yes"}, ["nitro:service.time.5", "image"]),
                ({"nitro:heartbeat": "no", "nitro:heartbeat_timeout": "5"}, {},
                 ["nitro:heartbeat is off"]),
                ({"nitro:service.mail.5": "yes"}, {}, ["nitro:service.mail.5", "'mail'"]),
                ({"nitro:service.5": "yes"}, {}, ["nitro:service.5", "KIND.PORT"]),
                ({"nitro:service.time.0": "yes"}, {}, ["'0'", "4294967294"]),
                ({"nitro:service.time.5": "no"}, {}, ["nitro:service.time.5", "'no'"]),
                ({"nitro:service.outbound.5": "tcp:one"}, {}, ["'one'", "HOST:PORT"]),
                ({"nitro:service.outbound.5": "unix"}, {}, ["'unix'", "unix:/PATH"]),
                ({"nitro:service.outbound.5": "udp:" + "a" * 250}, {}, ["'udp:aaa", "unix:/PATH"]),
                ({"nitro:" + "a" * 240: "yes"}, {}, ["nitro:aaa", "no such key"]),
                ({"nitro:service.inbound.5": "tcp:[::1]:80 owner=a:b"}, {}, ["owner=USER:GROUP"]),
                ({"nitro:service.health.5": "often"}, {}, ["'often'", "interval"]),
                ({"nitro:service.health.5": "failures=101"}, {}, ["'101'", "from 1 to 100"])):
            with self.subTest(specs=specs, properties=properties):
                self.refused_spawn(exception.InvalidInput, *words,
                                   instance=self.instance(specs=specs, properties=properties))
        self.assertEqual(self.fetched, [])

    def test_images(self):
        """what is no enclave's image"""
        disk = self.instance()
        disk.system_metadata["image_disk_format"] = "qcow2"
        line = self.instance(properties={"os_command_line": "quiet"})
        for instance, word in ((disk, "qcow2"), (line, "os_command_line"),
                               (self.instance(ramdisk_id="there"), "ramdisk_id")):
            with self.subTest(word):
                self.refused_spawn(exception.ImageUnacceptable, word, instance=instance)
        two = self.kernel_instance()
        meta = two.image_meta
        meta.size = 17
        with self.assertRaisesRegex(exception.ImageUnacceptable, "17 bytes"):
            self.driver.spawn(self.context, two, meta, [], None, {})
        self.assertEqual(self.fetched, [])

    def test_page_size(self):
        self.refused_spawn(exception.InvalidInput, "hw:mem_page_size",
                           instance=self.instance(pages=-1))
        # another host may have what this one has not
        for pages, found, words in ((-2, [], ["no huge pages: have"]),
                                    (2048, [], ["no huge pages: have"]),
                                    (8192, [2048], ["no huge pages of 8192 KiB", "but of 2048"])):
            with self.subTest(pages), \
                    mock.patch("nova.virt.nitro.resources.huge_pages", return_value=found):
                self.refused_spawn(exception.ComputeResourcesUnavailable, "hw:mem_page_size",
                                   *words, instance=self.instance(pages=pages))
        self.assertEqual(self.fetched, [])

    def test_devices(self):
        """networks, volumes and other disks"""
        instance = self.instance()
        vif = network_model.NetworkInfo([network_model.VIF(id="1")])
        volume = {"block_device_mapping": [{"mount_device": "/dev/vdb"}]}
        swap = {"swap": {"device_name": "/dev/vdb", "swap_size": 1}}
        ephemeral = {"ephemerals": [{"num": 0}]}
        for more, word in (({"network_info": vif}, "--nic none"),
                           ({"block_device_info": volume}, "volumes"),
                           ({"block_device_info": swap}, "swap"),
                           ({"block_device_info": ephemeral}, "ephemeral")):
            with self.subTest(word), self.assertRaisesRegex(exception.InvalidInput, word):
                self.driver.spawn(self.context, instance, instance.image_meta, [], None, {}, **more)
        self.assertFalse(self.driver.instance_exists(instance))

    def test_cannot(self):
        """what an enclave cannot do has no effect on one that runs"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        driver, context = self.driver, self.context
        for name, call in (
                ("pause", lambda: driver.pause(instance)),
                ("suspend", lambda: driver.suspend(context, instance)),
                ("snapshot", lambda: driver.snapshot(context, instance, "1", None)),
                ("rescue", lambda: driver.rescue(context, instance, None, None, None, None)),
                ("volume", lambda: driver.attach_volume(context, None, instance, "/dev/vdb")),
                ("interface", lambda: driver.attach_interface(context, instance, None, None)),
                ("vnc", lambda: driver.get_vnc_console(context, instance)),
                ("serial", lambda: driver.get_serial_console(context, instance)),
                ("live", lambda: driver.check_can_live_migrate_source(context, instance, None))):
            with self.subTest(name), self.assertRaises(NotImplementedError):
                call()
        with self.assertRaises(exception.InstanceFaultRollback) as raised:
            driver.migrate_disk_and_power_off(context, instance, "there", None, None)
        self.assertIsInstance(raised.exception.inner_exception, exception.ResizeError)
        self.assertEqual(self.state(instance), power_state.RUNNING)
        on = {name for name, value in driver.capabilities.items() if value}
        self.assertEqual(on, {"has_imagecache", "supports_evacuate", "supports_image_type_raw",
                              "supports_image_type_aki", "supports_image_type_ari",
                              "supports_image_type_ami"})

    def test_no_console(self):
        instance = self.instance(specs={"nitro:debug": "no", "nitro:heartbeat": "no"})
        self.spawn(instance)
        with self.assertRaisesRegex(exception.ConsoleLogOutputException, "nitro:debug"):
            self.driver.get_console_output(self.context, instance)


class Images(NovaTest):

    def test_cache(self):
        """two instances of an image: fetched once, and one file"""
        first = self.instance(specs={"nitro:heartbeat": "no"})
        second = self.instance(specs={"nitro:heartbeat": "no"})
        second.image_ref = first.image_ref
        self.spawn(first)
        self.spawn(second)
        self.assertEqual(self.fetched, [first.image_ref])
        cached = os.path.join(images.cache_directory(), first.image_ref)
        self.assertEqual(os.stat(cached).st_nlink, 3)
        self.assertEqual({os.stat(images.files(one)["kernel"]).st_ino for one in (first, second)},
                         {os.stat(cached).st_ino})
        self.assertFalse(self.driver.cache_image(self.context, first.image_ref))

        CONF.set_override("remove_unused_original_minimum_age_seconds", 0, group="image_cache")
        self.addCleanup(CONF.clear_override, "remove_unused_original_minimum_age_seconds",
                        group="image_cache")
        self.driver.manage_image_cache(self.context, [])
        self.assertTrue(os.path.exists(cached))
        for instance in (first, second):
            self.driver.destroy(self.context, instance, None)
        CONF.set_override("remove_unused_original_minimum_age_seconds", 3600, group="image_cache")
        self.driver.manage_image_cache(self.context, [])
        self.assertTrue(os.path.exists(cached))
        CONF.set_override("remove_unused_original_minimum_age_seconds", -1, group="image_cache")
        self.driver.manage_image_cache(self.context, [])
        self.assertFalse(os.path.exists(cached))

    def test_half_fetched(self):
        """a download that fails leaves nothing that the next one would take for the image"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})

        def fails(_context, _image_id, path, _certs=None):
            with open(path, "wb") as half:
                half.write(b"half")
            raise exception.GlanceConnectionFailed(server="glance", reason="gone")

        with mock.patch("nova.virt.images.fetch", side_effect=fails):
            self.refused_spawn(exception.GlanceConnectionFailed, "gone", instance=instance)
        self.spawn(instance)
        self.assertEqual(self.fetched, [instance.image_ref])

    def test_elsewhere(self):
        """the id of an image is no path"""
        for name in ("../there", "/etc/passwd", ".."):
            with self.subTest(name), self.assertRaises(exception.InvalidImageRef):
                images.fetch(self.context, name)

    def test_shelve(self):
        """an image that is shelved is what the enclave was started from"""
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        instance.task_state = task_states.SHELVING
        sent, states = [], []
        with mock.patch("nova.virt.nitro.driver.IMAGE_API.update",
                        side_effect=lambda *args, **_: sent.append(args[3].read())):
            self.driver.snapshot(self.context, instance, "1",
                                 lambda task_state, **_: states.append(task_state))
        with open(HELLO_EIF, "rb") as image:
            self.assertEqual(sent, [image.read()])
        self.assertEqual(states, [task_states.IMAGE_PENDING_UPLOAD, task_states.IMAGE_UPLOADING])


class Definition(NovaTest):
    """What flavor and image say arrives in the domain"""

    SPECS = {
        "nitro:pcr1": "AB" * 48,
        "nitro:heartbeat_timeout": "77",
        "nitro:service.outbound.8443": "tcp:kms.example.com:443",
        "nitro:service.outbound.3306": "unix:/run/mysqld/mysqld.sock",
        "nitro:service.inbound.5000": "tcp:[::1]:8080",
        "nitro:service.inbound.5001": "unix:/run/enclaves/{uuid}.sock owner=root:root",
        "nitro:service.inbound.5002": "unix",
        "nitro:service.log.9514": "yes",
        "nitro:service.syslog.9515": "yes",
        "nitro:service.proxy.3128": "*.amazonaws.com:443 [2001:db8::/32]:443 10.0.0.0/8:*",
        "nitro:service.time.1230": "yes",
        "nitro:service.health.5003": "interval=30 failures=5",
        "nitro:service.exit.9001": "yes",
    }

    def defined(self, instance):
        """The XML that virtnitrod makes of it."""
        xml = self.driver._definition(instance, instance.image_meta, {"kernel": HELLO_EIF})
        dom = self.conn.defineXML(xml)
        self.addCleanup(dom.undefine)
        return ElementTree.fromstring(dom.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    def test_all(self):
        instance = self.instance(vcpus=2, memory=256, specs=self.SPECS)
        dom = self.defined(instance)
        self.assertEqual(dom.find("uuid").text, instance.uuid)
        self.assertEqual((dom.find("vcpu").text, dom.find("memory").text), ("2", "262144"))
        self.assertEqual(dom.find("os/type").get("machine"), self.machine)
        # the last one's path is chosen when it starts
        self.assertIsNone(dom.find("devices/channel/target[@name='vsock.5002']/../source"))
        channels = {channel.find("target").get("name"): (channel.get("type"),
                                                         channel.find("source").attrib)
                    for channel in dom.findall("devices/channel[source]")}
        log = os.path.join(self.directory, instance.uuid, "service-9514.log")
        self.assertEqual(channels, {
            "vsock.8443": ("tcp", {"mode": "connect", "host": "kms.example.com",
                                   "service": "443"}),
            "vsock.3306": ("unix", {"mode": "connect", "path": "/run/mysqld/mysqld.sock"}),
            "vsock.5000": ("tcp", {"mode": "bind", "host": "::1", "service": "8080"}),
            "vsock.5001": ("unix", {"mode": "bind",
                                    "path": f"/run/enclaves/{instance.uuid}.sock"}),
            "vsock.9514": ("file", {"path": log})})
        self.assertEqual(dom.find("devices/channel/source/seclabel/label").text, "root:root")
        names = {"n": NAMESPACE}
        self.assertEqual(dom.find("n:heartbeat", names).attrib, {"enabled": "yes", "timeout": "77"})
        self.assertEqual(dom.find("n:measurement", names).text, "ab" * 48)
        services = {service.tag.split("}")[1]: service.attrib
                    for service in dom.find("n:services", names)}
        self.assertEqual(services, {
            "syslog": {"port": "9515"}, "proxy": {"port": "3128"}, "time": {"port": "1230"},
            "health": {"port": "5003", "interval": "30", "failures": "5"},
            "exit": {"port": "9001"}})
        self.assertEqual([(allow.get("host"), allow.get("port"))
                          for allow in dom.findall("n:services/n:proxy/n:allow", names)],
                         [("*.amazonaws.com", "443"), ("2001:db8::/32", "443"),
                          ("10.0.0.0/8", "*")])

    def test_image_properties(self):
        made = spec.from_instance(self.instance(properties={
            "nitro:heartbeat": "no", "nitro:debug": "yes", "nitro:pcr8": "CD" * 48}))
        self.assertEqual((made.heartbeat, made.debug, made.pcrs), (False, True, {8: "cd" * 48}))

    def test_page_sizes(self):
        for pages, wanted in ((-2, []), (2048, [("2048", "KiB")])):
            with self.subTest(pages):
                dom = self.defined(self.instance(pages=pages))
                self.assertIsNotNone(dom.find("memoryBacking/hugepages"))
                self.assertEqual([(page.get("size"), page.get("unit")) for page in
                                  dom.findall("memoryBacking/hugepages/page")], wanted)
        self.assertIsNone(self.defined(self.instance(pages=-3)).find("memoryBacking"))


class Emulated(NovaTest):
    """What the host has, for emulated enclaves"""

    def test_resources(self):
        told = self.driver.get_available_resource(self.node)
        self.assertEqual(told["vcpus"], os.sysconf("SC_NPROCESSORS_ONLN"))
        self.assertEqual((told["hypervisor_type"], told["vcpus_used"]), ("nitro", 0))
        self.assertIn((os.uname().machine, "kvm", "hvm"), told["supported_instances"])
        self.assertEqual(self.driver.get_available_nodes(), [told["hypervisor_hostname"]])
        self.assertIn("load average", self.driver.get_host_uptime())

    def test_inventory(self):
        CONF.set_override("cpu_allocation_ratio", 3.0)
        self.addCleanup(CONF.clear_override, "cpu_allocation_ratio")
        entries = self.inventory()
        self.assertEqual(self.traits, {"CUSTOM_NITRO_ENCLAVE_EMULATED"})
        self.assertEqual(set(entries), {"VCPU", "MEMORY_MB", "DISK_GB"})
        self.assertEqual((entries["VCPU"]["allocation_ratio"], entries["VCPU"]["step_size"]),
                         (3.0, 1))
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
        self.assertAlmostEqual(entries["MEMORY_MB"]["total"], memory >> 20, delta=2)
        self.assertEqual((entries["MEMORY_MB"]["min_unit"], entries["MEMORY_MB"]["step_size"]),
                         (64, 2))
        disk = os.statvfs(self.directory)
        self.assertEqual(entries["DISK_GB"]["total"], disk.f_blocks * disk.f_frsize // GIB)

    def test_of_others(self):
        """domains that nova has not made are none of its instances"""
        self.conn.createXML(quick_xml("others"), 0)
        self.assertEqual(self.driver.list_instances(), [])
        self.assertEqual(self.driver.get_available_resource(self.node)["vcpus_used"], 0)
        self.conn.lookupByName("others").destroy()
        instance = self.instance(specs={"nitro:heartbeat": "no"})
        self.spawn(instance)
        told = self.driver.get_available_resource(self.node)
        self.assertEqual((told["vcpus_used"], told["memory_mb_used"]), (1, 128))

    def test_another_nova(self):
        """internals that have moved are named, and nova-compute does not start"""
        self.assertEqual(compat.problems(NitroDriver), [])

        def power_on(self, context, instance, network_info, key):
            """as a later nova may have it"""

        def power_off(self, instance, retry_interval=0, timeout=0):
            """in another order"""

        fewer = dict(nova_driver.ComputeDriver.capabilities)
        del fewer["has_imagecache"]
        for target, name, value, word in (
                (nova_driver.ComputeDriver, "power_on", power_on, "ComputeDriver.power_on"),
                (nova_driver.ComputeDriver, "power_off", power_off, "ComputeDriver.power_off"),
                (nova_driver.ComputeDriver, "capabilities", fewer, "has_imagecache"),
                (nova.utils, "SM_IMAGE_PROP_PREFIX", "img_", "'img_'")):
            with self.subTest(name), mock.patch.object(target, name, value), \
                    self.assertRaisesRegex(exception.InternalError, word):
                self.driver.init_host(self.node)
        with mock.patch.object(compat, "CALLS", [(lambda one: None, "moved", ["one", "two"])]), \
                self.assertRaisesRegex(exception.InternalError, "moved has no parameter two"):
            self.driver.init_host(self.node)


class Device(NovaTest):
    """The device, which is mocked: 14 CPUs in 7 cores, and huge pages"""

    machine = "nitro"
    pages = 160

    @classmethod
    def setUpClass(cls):
        daemon.need_private_system()
        cls.enterClassContext(nitrodevmock.HugePages(cls.pages))
        cls.mock = cls.enterClassContext(nitrodevmock.NitroMock(cpus=16, pool="1-7,9-15"))
        super().setUpClass()

    @classmethod
    def daemon_environment(cls):
        return cls.mock.environment(DAEMON)

    @classmethod
    def kernel(cls):
        """The mock plays the enclave: nobody runs its kernel."""
        path = os.path.join(cls.daemon.dir, "kernel")
        with open(path, "wb") as kernel:
            kernel.write(tinyguest.native_kernel(b""))
        return path

    @classmethod
    def warm_up(cls):
        conn = libvirt.open(cls.daemon.uri)
        conn.createXML(domain_xml("warm-up", f"<kernel>{cls.kernel()}</kernel>", machine="nitro",
                                  memory="64", vcpu="<vcpu>2</vcpu>"), 0).destroy()
        conn.close()
        cls.wait_broker()

    @classmethod
    def wait_broker(cls):
        wait_until(lambda: not any(map(cls.is_broker, cls.processes.descendants())), 20,
                   "the end of the broker")

    @staticmethod
    def is_broker(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return b"--broker" in cmdline.read().split(b"\0")
        return False

    @classmethod
    def living(cls):
        return {pid: name for pid, name in super().living().items()
                if pid != cls.mock.process.pid}

    def check_nothing_left(self):
        self.wait_broker()
        super().check_nothing_left()
        self.assertEqual(self.mock.enclaves(), [])

    def enclave(self, vcpus=2, **more):
        return self.instance(self.kernel(), vcpus=vcpus, memory=64, specs={"nitro:debug": "no"},
                             **more)

    def test_inventory(self):
        """whole cores, huge pages, the limit of the hypervisor; nothing overcommitted"""
        CONF.set_override("cpu_allocation_ratio", 3.0)
        self.addCleanup(CONF.clear_override, "cpu_allocation_ratio")
        CONF.set_override("reserved_host_cpus", 1)
        self.addCleanup(CONF.clear_override, "reserved_host_cpus")
        entries = self.inventory()
        self.assertEqual(self.traits, {"CUSTOM_NITRO_ENCLAVE"})
        self.assertEqual(entries["VCPU"], {"total": 14, "min_unit": 2, "max_unit": 14,
                                           "step_size": 2, "allocation_ratio": 1.0, "reserved": 0})
        memory = entries["MEMORY_MB"]
        self.assertEqual((memory["min_unit"], memory["step_size"], memory["allocation_ratio"],
                          memory["reserved"]), (64, 2, 1.0, 0))
        self.assertGreaterEqual(memory["total"], 2 * self.pages)
        self.assertEqual(entries["CUSTOM_NITRO_ENCLAVE_SLOT"]["total"], 4)
        self.assertEqual(entries["CUSTOM_NITRO_ENCLAVE_SLOT"]["max_unit"], 1)

    def test_use(self):
        """what nova's enclaves have stays in the inventory, and what others have does not"""
        before = self.totals()
        instance = self.enclave()
        self.spawn(instance)
        self.assertEqual(self.totals(), before)
        # no variable: eventlet's threads keep the last exception, with all variables on its way
        self.conn.createXML(domain_xml(
            "other", f"<kernel>{self.kernel()}</kernel>", machine="nitro", memory="64",
            vcpu="<vcpu>4</vcpu>"), 0)
        self.assertEqual(self.totals(), {
            "VCPU": before["VCPU"] - 4, "MEMORY_MB": before["MEMORY_MB"] - 64,
            "CUSTOM_NITRO_ENCLAVE_SLOT": 3})
        told = self.driver.get_available_resource(self.node)
        self.assertEqual((told["vcpus"], told["vcpus_used"], told["memory_mb_used"]), (10, 2, 64))
        self.conn.lookupByName("other").destroy()
        self.driver.destroy(self.context, instance, None)
        self.assertEqual(self.totals(), before)

    def test_whole_cores(self):
        self.refused_spawn(exception.BuildAbortException, "3 vCPUs", "a multiple of 2",
                           instance=self.enclave(3))

    def test_page_size(self):
        self.refused_spawn(exception.ComputeResourcesUnavailable, "no huge pages of 8192 KiB",
                           "but of 2048", instance=self.enclave(pages=8192))
        instance = self.enclave(pages=2048)
        self.spawn(instance)
        self.assertEqual(self.state(instance), power_state.RUNNING)

    def test_limit(self):
        CONF.set_override("max_enclaves", 1, group="nitro")
        self.addCleanup(CONF.clear_override, "max_enclaves", group="nitro")
        self.assertEqual(self.totals()["CUSTOM_NITRO_ENCLAVE_SLOT"], 1)
        first = self.enclave()
        self.spawn(first)
        self.refused_spawn(exception.ComputeResourcesUnavailable, "1 enclaves", "'max_enclaves'",
                           instance=self.enclave())
        self.driver.destroy(self.context, first, None)
        # one that has been let in, and does not run yet
        with self.driver._slot(first):
            self.refused_spawn(exception.ComputeResourcesUnavailable, "'max_enclaves'",
                               instance=self.enclave())
        self.spawn(first)

    def test_no_pool(self):
        """of what there is nothing there is no inventory"""
        with mock.patch("nova.virt.nitro.resources._machine_cpus", return_value=0):
            self.assertNotIn("VCPU", self.inventory())


class NoMachine(unittest.TestCase):

    def test_foreign_daemon(self):
        """a daemon without the machine is none for nova-compute"""
        driver = NitroDriver(None)
        caps = "<capabilities><guest><arch name='x86_64'><machine>pc</machine></arch></guest>" \
               "</capabilities>"
        conn = mock.Mock(getCapabilities=lambda: caps)
        with mock.patch.object(driver._host, "initialize"), \
                mock.patch.object(driver._host, "get_connection", return_value=conn), \
                self.assertRaisesRegex(exception.InternalError, "virt-nitro-validate"):
            driver.init_host("here")


if __name__ == "__main__":
    daemon.try_private_system()
    taprunner.main()
