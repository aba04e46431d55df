# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
The definition of an enclave for libvirt.

Flow: xml() -> one function for each part of the document, in the order of
the manual of libvirt's nitro driver.
"""

import os

from lxml import etree

from nova.virt.nitro import conf as nitro_conf

CONF = nitro_conf.CONF

NITRO = 'http://libvirt.org/schemas/domain/nitro/1.0'
# What nova's own drivers write into the domains that they make; it tells the
# domains of nova from those of others
NOVA = 'http://openstack.org/xmlns/libvirt/nova/1.1'


def _sub(parent, name, text=None, /, **attributes):
    child = etree.SubElement(parent, name, **attributes)
    child.text = text
    return child


def _nitro(parent, name, text=None, /, **attributes):
    return _sub(parent, '{%s}%s' % (NITRO, name), text, **attributes)


def _yes(value):
    return 'yes' if value else 'no'


def _metadata(domain, instance):
    metadata = _sub(domain, 'metadata')
    nova = etree.SubElement(metadata, '{%s}instance' % NOVA,
                            nsmap={'nova': NOVA})
    _sub(nova, '{%s}name' % NOVA, instance.display_name or instance.name)
    _sub(nova, '{%s}flavor' % NOVA, name=instance.flavor.name)
    _sub(nova, '{%s}root' % NOVA, type='image',
         uuid=instance.image_ref or '')


def _memory_backing(domain, page_size):
    if page_size is None:
        return
    pages = _sub(_sub(domain, 'memoryBacking'), 'hugepages')
    if page_size:
        _sub(pages, 'page', size=str(page_size), unit='KiB')


def _os(domain, files, arch, cmdline):
    os_element = _sub(domain, 'os')
    _sub(os_element, 'type', 'hvm', machine=CONF.nitro.machine,
         **({'arch': arch} if arch else {}))
    _sub(os_element, 'kernel', files['kernel'])
    if 'initrd' in files:
        _sub(os_element, 'initrd', files['initrd'])
    if cmdline:
        _sub(os_element, 'cmdline', cmdline)


def _console(devices, path):
    console = _sub(devices, 'console', type='file')
    _sub(console, 'source', path=path)


def _channel(devices, service, log_directory):
    """An outbound or inbound service, or a log."""
    kind = service.address[0] if service.address else 'file'
    channel = _sub(devices, 'channel', type=kind)
    mode = 'connect' if service.kind == 'outbound' else 'bind'
    if kind == 'tcp':
        _sub(channel, 'source', mode=mode, host=service.address[1],
             service=service.address[2])
    elif kind == 'file':
        _sub(channel, 'source', path=os.path.join(
            log_directory, 'service-%d.log' % service.port))
    elif service.address[1]:
        source = _sub(channel, 'source', mode=mode, path=service.address[1])
        if service.owner:
            label = _sub(source, 'seclabel', model='dac', relabel='yes')
            _sub(label, 'label', service.owner)
    _sub(channel, 'target', type='virtio', name='vsock.%d' % service.port)


def _services(domain, services):
    """What has no channel."""
    others = [service for service in services
              if service.kind not in ('outbound', 'inbound', 'log')]
    if not others:
        return
    parent = _nitro(domain, 'services')
    for service in others:
        element = _nitro(parent, service.kind, port=str(service.port),
                         **{name: str(number) for name, number
                            in service.settings.items()})
        for host, port in service.allow:
            _nitro(element, 'allow', host=host, port=port)


def xml(instance, spec, files, console, arch=None, cmdline=None):
    """
    Returns the definition of @instance.

    :param spec: its EnclaveSpec
    :param files: {'kernel': path, 'initrd': path}; an EIF file is a kernel
    :param console: the path of the console's file, for debug mode
    :param arch: the guest's architecture, by default the host's
    :param cmdline: of a kernel that is no EIF file
    """
    domain = etree.Element('domain', type='nitro', nsmap={'nitro': NITRO})
    _sub(domain, 'name', instance.name)
    _sub(domain, 'uuid', instance.uuid)
    _metadata(domain, instance)
    _sub(domain, 'memory', str(instance.flavor.memory_mb), unit='MiB')
    _memory_backing(domain, spec.page_size)
    _sub(domain, 'vcpu', str(instance.flavor.vcpus))
    _os(domain, files, arch, cmdline)
    # nova decides what becomes of an enclave that has ended
    for event in ('on_poweroff', 'on_reboot', 'on_crash'):
        _sub(domain, event, 'destroy')
    devices = _sub(domain, 'devices')
    if spec.debug:
        _console(devices, console)
    for service in spec.services:
        if service.kind in ('outbound', 'inbound', 'log'):
            _channel(devices, service, os.path.dirname(console))
    _nitro(domain, 'enclave', debug=_yes(spec.debug))
    _nitro(domain, 'heartbeat', enabled=_yes(spec.heartbeat),
           **({'timeout': str(spec.heartbeat_timeout)}
              if spec.heartbeat_timeout else {}))
    for pcr, digits in sorted(spec.pcrs.items()):
        _nitro(domain, 'measurement', digits, pcr=str(pcr))
    _services(domain, spec.services)
    return etree.tostring(domain, pretty_print=True).decode()
