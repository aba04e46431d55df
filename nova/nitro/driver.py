# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The compute driver: what nova-compute calls.

An instance is one persistent domain of virtnitrod, by the instance's UUID,
and one directory with its image and its console's output. A domain that is
started is defined anew, from the instance as nova knows it: whatever
happened to its definition meanwhile does no harm.

Flow of a start: spawn() -> images.prepare() -> _start(): spec -> domain ->
define, create, which returns with the enclave's heartbeat. A failure takes
away all that the start has made, and raises libvirt's own sentence.

Calls of libvirt go through nova's Host, which runs them in threads, so that
a start that takes minutes holds up nothing else.
"""

import contextlib
import os
import shutil
import threading
import time

import libvirt
from lxml import etree
from oslo_concurrency import processutils
from oslo_log import log as logging
from oslo_serialization import jsonutils
from oslo_utils import excutils

from nova.compute import power_state
from nova.compute import task_states
from nova import exception
from nova.image import glance
from nova.objects import diagnostics as diagnostics_obj
from nova.objects import fields
from nova.virt import driver
from nova.virt import hardware
from nova.virt.libvirt import host as libvirt_host
from nova.virt.nitro import compat
from nova.virt.nitro import conf as nitro_conf
from nova.virt.nitro import domain as nitro_domain
from nova.virt.nitro import faults
from nova.virt.nitro import images
from nova.virt.nitro import resources
from nova.virt.nitro import spec as nitro_spec

LOG = logging.getLogger(__name__)
CONF = nitro_conf.CONF
IMAGE_API = glance.API()

MAX_CONSOLE_BYTES = 100 * 1024

POWER_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: power_state.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: power_state.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: power_state.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: power_state.PAUSED,  # it is starting
    libvirt.VIR_DOMAIN_SHUTDOWN: power_state.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: power_state.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: power_state.CRASHED,
}


class NitroDriver(driver.ComputeDriver):
    """Enclaves of this host as nova's instances."""

    SUPPORTED = ('has_imagecache', 'supports_evacuate',
                 'supports_image_type_raw', 'supports_image_type_aki',
                 'supports_image_type_ari', 'supports_image_type_ami')

    capabilities = dict(driver.ComputeDriver.capabilities,
                        **dict.fromkeys(SUPPORTED, True))

    def __init__(self, virtapi):
        super().__init__(virtapi)
        self._host = libvirt_host.Host(
            CONF.nitro.connection_uri,
            lifecycle_event_handler=self.emit_event,
            conn_event_handler=self._connection_changed)
        # UUIDs of instances that have a slot, and may not run yet
        self._starting = set()
        self._starting_lock = threading.Lock()

    def init_host(self, host):
        compat.check(type(self))
        self._host.initialize()
        if not resources.architectures(self._capabilities()):
            raise exception.InternalError(
                "virtnitrod has no machine '%s' on this host: run "
                "virt-nitro-validate, or set 'machine' in [nitro]" %
                CONF.nitro.machine)

    @staticmethod
    def _connection_changed(up, reason):
        if up:
            LOG.info('Connected to %s', CONF.nitro.connection_uri)
        else:
            LOG.warning('No connection to %s: %s', CONF.nitro.connection_uri,
                        reason)

    # Domains

    def _find(self, instance):
        """Returns the domain of @instance, or None."""
        try:
            return self._host.get_connection().lookupByUUIDString(
                instance.uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _get(self, instance):
        domain = self._find(instance)
        if domain is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return domain

    @staticmethod
    def _is_ours(domain):
        try:
            domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                            nitro_domain.NOVA)
            return True
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN,
                                          libvirt.VIR_ERR_NO_DOMAIN_METADATA):
                return False
            raise

    def _domains(self):
        """The domains that nova has made."""
        return [domain for domain
                in self._host.list_instance_domains(only_running=False)
                if self._is_ours(domain)]

    def list_instances(self):
        return [domain.name() for domain in self._domains()]

    def list_instance_uuids(self):
        return [domain.UUIDString() for domain in self._domains()]

    def instance_exists(self, instance):
        return self._find(instance) is not None

    def get_info(self, instance, use_cache=True):
        domain = self._get(instance)
        try:
            return hardware.InstanceInfo(
                state=POWER_STATES[domain.state()[0]],
                internal_id=domain.ID())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                raise exception.InstanceNotFound(instance_id=instance.uuid)
            raise

    # Starts

    @staticmethod
    def _console_path(instance):
        return os.path.join(images.instance_directory(instance),
                            'console.log')

    def _definition(self, instance, image_meta, files):
        properties = image_meta.properties
        return nitro_domain.xml(
            instance, nitro_spec.from_instance(instance), files,
            self._console_path(instance),
            arch=properties.get('hw_architecture'),
            cmdline=properties.get('os_command_line'))

    def _files(self, context, instance, image_meta):
        """
        The files of the images of @instance. Those that its directory has
        lost are fetched again.
        """
        wanted = images.wanted(instance, image_meta)
        if not set(wanted) <= set(images.files(instance)):
            LOG.warning('The image is lost: fetching it again',
                        instance=instance)
            images.link(instance,
                        images.prepare(context, instance, image_meta))
        return images.files(instance)

    def _check_page_size(self, spec):
        if spec.page_size is None:
            return
        found = resources.huge_pages(self._capabilities())
        if not found:
            reason = 'this host has no huge pages: have it reserve some'
        elif spec.page_size and spec.page_size not in found:
            reason = ('this host has no huge pages of %d KiB, but of %s KiB: '
                      'use another size, or have the host reserve these' %
                      (spec.page_size, ', '.join(map(str, found))))
        else:
            return
        # another host may have them
        raise exception.ComputeResourcesUnavailable(
            reason='hw:mem_page_size: ' + reason)

    def _check_slot(self, instance):
        most = nitro_conf.max_enclaves()
        if most is None:
            return
        taken = {use.uuid for use in self._uses()
                 if use.machine == CONF.nitro.machine} | self._starting
        taken.discard(instance.uuid)
        if len(taken) >= most:
            raise exception.ComputeResourcesUnavailable(
                reason="this host runs %d enclaves, and 'max_enclaves' in "
                       "[nitro] allows %d" % (len(taken), most))

    @contextlib.contextmanager
    def _slot(self, instance):
        """
        Has one of the host's slots for @instance, until it runs: of several
        that start at a time each is counted by the others.
        """
        with self._starting_lock:
            self._check_slot(instance)
            self._starting.add(instance.uuid)
        try:
            yield
        finally:
            self._starting.discard(instance.uuid)

    def _start(self, context, instance, image_meta):
        """
        Starts the enclave of @instance anew. One that it has is ended when
        the new one's definition is known to be right.
        """
        xml = self._definition(instance, image_meta,
                               self._files(context, instance, image_meta))
        with self._slot(instance):
            LOG.debug('Definition: %s', xml, instance=instance)
            domain = self._host.get_connection().defineXML(xml)
            if domain.isActive():
                self._end(instance, undefine=False)
            domain.create()
        LOG.info('The enclave has booted', instance=instance)

    @staticmethod
    def _reason(instance, error):
        """What users are told of @error; the log has all of it."""
        LOG.error('%s', faults.whole(error), instance=instance)
        return faults.sentence(error, images.instance_directory(instance))

    def _end(self, instance, undefine=True):
        """Ends the enclave of @instance, if there is one."""
        domain = self._find(instance)
        if domain is None:
            return
        calls = [domain.destroy]
        if undefine:
            calls.append(domain.undefine)
        for call in calls:
            try:
                call()
            except libvirt.libvirtError as error:
                # it does not run, or another call was first
                if error.get_error_code() not in (
                        libvirt.VIR_ERR_NO_DOMAIN,
                        libvirt.VIR_ERR_OPERATION_INVALID):
                    raise

    @staticmethod
    def _refuse_devices(network_info, block_device_info, share_info=None):
        if network_info:
            raise exception.InvalidInput(
                reason='an enclave has no network: use --nic none')
        if driver.block_device_info_get_mapping(block_device_info):
            raise exception.InvalidInput(
                reason='an enclave has no volumes: boot an image')
        if driver.block_device_info_get_ephemerals(block_device_info) or \
                driver.swap_is_usable(
                    driver.block_device_info_get_swap(block_device_info)):
            raise exception.InvalidInput(
                reason='an enclave has no ephemeral disk and no swap: use a '
                       'flavor without')
        if share_info:
            raise exception.InvalidInput(reason='an enclave has no shares')

    def spawn(self, context, instance, image_meta, injected_files,
              admin_password, allocations, network_info=None,
              block_device_info=None, power_on=True, accel_info=None):
        self._refuse_devices(network_info, block_device_info)
        self._check_page_size(nitro_spec.from_instance(instance))
        found = images.prepare(context, instance, image_meta)
        try:
            images.link(instance, found)
            if power_on:
                self._start(context, instance, image_meta)
        except Exception as error:
            from_libvirt = isinstance(error, libvirt.libvirtError)
            with excutils.save_and_reraise_exception(
                    reraise=not from_libvirt):
                self._end(instance)
                self._remove_files(instance)
            # another host would say the same of it
            raise exception.BuildAbortException(
                instance_uuid=instance.uuid,
                reason=self._reason(instance, error))

    def rebuild(self, context, instance, image_meta, *args, **kwargs):
        """Leave it to nova: end the enclave, spawn anew.

        What can be known to fail fails before it ends anything.
        """
        try:
            self._check_page_size(nitro_spec.from_instance(instance))
            images.prepare(context, instance, image_meta)
        except Exception as error:
            if kwargs.get('evacuate'):
                raise
            # the enclave runs on, so that the server is as it was
            raise exception.InstanceFaultRollback(error)
        raise NotImplementedError()

    def power_on(self, context, instance, network_info,
                 block_device_info=None, accel_info=None, share_info=None):
        self._refuse_devices(network_info, block_device_info, share_info)
        # one that only starts has lost the nova-compute that waited for it
        if self.instance_exists(instance) and \
                self.get_info(instance).state == power_state.RUNNING:
            LOG.info('The enclave runs already', instance=instance)
            return
        try:
            self._start(context, instance, instance.image_meta)
        except libvirt.libvirtError as error:
            raise exception.InstancePowerOnFailure(
                reason=self._reason(instance, error))

    def power_off(self, instance, timeout=0, retry_interval=0):
        # there is no softer way; and without a domain nothing runs
        self._end(instance, undefine=False)

    def reboot(self, context, instance, network_info, reboot_type,
               block_device_info=None, bad_volumes_callback=None,
               accel_info=None, share_info=None):
        self._refuse_devices(network_info, block_device_info, share_info)
        try:
            if reboot_type == 'SOFT':
                self._get(instance).reboot()
            else:
                self._start(context, instance, instance.image_meta)
        except libvirt.libvirtError as error:
            raise exception.InstanceRebootFailure(
                reason=self._reason(instance, error))

    def resume_state_on_host_boot(self, context, instance, network_info,
                                  *devices, **more_devices):
        # Block devices and shares, in another order by the version of nova.
        # What an enclave cannot have of them was refused before it first ran
        self.power_on(context, instance, network_info)

    # Ends

    @staticmethod
    def _remove_files(instance):
        shutil.rmtree(images.instance_directory(instance), ignore_errors=True)
        if os.path.exists(images.instance_directory(instance)):
            LOG.error('%s cannot be removed',
                      images.instance_directory(instance), instance=instance)

    def destroy(self, context, instance, network_info, block_device_info=None,
                destroy_disks=True, destroy_secrets=True):
        self._end(instance)
        self.cleanup(context, instance, network_info, block_device_info,
                     destroy_disks)

    def cleanup(self, context, instance, network_info, block_device_info=None,
                destroy_disks=True, migrate_data=None, destroy_vifs=True,
                destroy_secrets=True):
        if destroy_disks:
            self._remove_files(instance)

    def delete_instance_files(self, instance):
        self._remove_files(instance)
        return not os.path.exists(images.instance_directory(instance))

    def instance_on_disk(self, instance):
        return bool(images.files(instance))

    # What can be known

    def get_console_output(self, context, instance):
        if not nitro_spec.from_instance(instance).debug:
            raise exception.ConsoleLogOutputException(
                instance_id=instance.uuid,
                reason='only an enclave in debug mode has a console: see '
                       'nitro:debug')
        try:
            with open(self._console_path(instance), 'rb') as console:
                size = os.fstat(console.fileno()).st_size
                console.seek(max(0, size - MAX_CONSOLE_BYTES))
                return console.read(MAX_CONSOLE_BYTES)
        except FileNotFoundError:
            return b''

    def get_instance_diagnostics(self, instance):
        domain = self._get(instance)
        if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
            raise exception.InstanceInvalidState(
                attr='power state', instance_uuid=instance.uuid,
                state='shut down', method='get_instance_diagnostics')
        described = diagnostics_obj.Diagnostics(
            state=power_state.STATE_MAP[POWER_STATES[domain.state()[0]]],
            driver=compat.DIAGNOSTICS_DRIVER, config_drive=False,
            hypervisor=self._host.get_connection().getType().lower(),
            hypervisor_os='linux')
        if instance.launched_at:
            described.uptime = int(time.time() -
                                   instance.launched_at.timestamp())
        described.memory_details = diagnostics_obj.MemoryDiagnostics(
            maximum=domain.maxMemory() // 1024,
            used=domain.info()[2] // 1024)
        for vcpu in domain.vcpus()[0]:
            described.add_cpu(id=vcpu[0], time=vcpu[2])
        return described

    def get_diagnostics(self, instance):
        domain = self._get(instance)
        state, maximum, used = domain.info()[:3]
        told = {'state': power_state.STATE_MAP[POWER_STATES[state]],
                'memory': maximum, 'memory-actual': used}
        if state == libvirt.VIR_DOMAIN_RUNNING:
            told.update({'cpu%d_time' % vcpu[0]: vcpu[2]
                         for vcpu in domain.vcpus()[0]})
        return told

    # The host

    def _uses(self):
        """A Use for each running domain, nova's or not."""
        uses = []
        for domain in self._host.list_instance_domains():
            try:
                info = domain.info()
                machine = etree.fromstring(domain.XMLDesc()).find(
                    'os/type').get('machine')
                uses.append(resources.Use(
                    domain.UUIDString(), machine, self._is_ours(domain),
                    info[3], info[1] // 1024))
            except libvirt.libvirtError as error:
                # it has ended meanwhile
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
        return uses

    def _capabilities(self):
        return etree.fromstring(
            self._host.get_connection().getCapabilities())

    def _resources(self):
        return resources.read(self._host.get_connection(), self._uses())

    def get_available_nodes(self, refresh=False):
        return [self._host.get_hostname()]

    def get_available_resource(self, nodename):
        connection = self._host.get_connection()
        found = self._resources()
        total_gb, used_gb, free_gb = resources.local_gb()
        return {
            'vcpus': found.vcpus,
            'vcpus_used': found.vcpus_used,
            'memory_mb': found.memory_mb,
            'memory_mb_used': found.memory_mb_used,
            'local_gb': total_gb,
            'local_gb_used': used_gb,
            'disk_available_least': free_gb,
            'hypervisor_type': connection.getType().lower(),
            'hypervisor_version': connection.getVersion(),
            'hypervisor_hostname': self._host.get_hostname(),
            'cpu_info': jsonutils.dumps({}),
            'supported_instances': [
                (fields.Architecture.canonicalize(arch), compat.HV_TYPE,
                 fields.VMMode.HVM)
                for arch in resources.architectures(self._capabilities())],
            'numa_topology': None,
        }

    def update_provider_tree(self, provider_tree, nodename, allocations=None):
        ratios = self._get_allocation_ratios(
            provider_tree.data(nodename).inventory)
        provider_tree.update_inventory(nodename, resources.inventory(
            self._resources(), ratios,
            self._get_reserved_host_disk_gb_from_config()))
        both = {resources.TRAIT_DEVICE, resources.TRAIT_EMULATED}
        provider_tree.add_traits(nodename, resources.trait())
        provider_tree.remove_traits(nodename, *(both - {resources.trait()}))

    def get_host_ip_addr(self):
        return CONF.my_ip

    def get_host_uptime(self):
        return processutils.execute('env', 'LANG=C', 'uptime')[0]

    def manage_image_cache(self, context, all_instances):
        images.age_cache()

    def cache_image(self, context, image_id):
        return images.fetch(context, image_id)

    # What an enclave has not

    def plug_vifs(self, instance, network_info):
        pass

    def unplug_vifs(self, instance, network_info):
        pass

    def snapshot(self, context, instance, image_id, update_task_state):
        """
        An enclave has no disk whose state could be kept. When it is shelved,
        which ends it anyway, the image is what it was started from.
        """
        if instance.task_state != task_states.SHELVING:
            raise NotImplementedError(
                'an enclave has no state that a snapshot could keep')
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        found = self._files(context, instance, instance.image_meta)
        path = found['kernel'] if not instance.kernel_id else os.devnull
        update_task_state(task_state=task_states.IMAGE_UPLOADING,
                          expected_state=task_states.IMAGE_PENDING_UPLOAD)
        with open(path, 'rb') as image:
            IMAGE_API.update(context, image_id,
                             {'disk_format': 'raw',
                              'container_format': 'bare'}, image,
                             purge_props=False)

    def migrate_disk_and_power_off(self, context, instance, dest, flavor,
                                   network_info, block_device_info=None,
                                   timeout=0, retry_interval=0):
        # nothing has happened yet: the enclave runs on
        raise exception.InstanceFaultRollback(exception.ResizeError(
            reason='an enclave cannot be moved or resized: make another one'))

    def rescue(self, context, instance, network_info, image_meta,
               rescue_password, block_device_info, share_info=None):
        raise NotImplementedError('an enclave has no disk to rescue')

    def attach_volume(self, context, connection_info, instance, mountpoint,
                      disk_bus=None, device_type=None, encryption=None):
        raise NotImplementedError('an enclave has no volumes')

    def attach_interface(self, context, instance, image_meta, vif):
        raise NotImplementedError('an enclave has no network')
