# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
All that this driver needs of nova beside the interface of its compute
drivers, in one place, and what says so when it has moved.

Nothing of nova is patched. Two things are fixed lists in nova that have no
word for enclaves, and this is how the driver does without one:

- The types of hypervisors (nova.objects.fields.HVType) are checked by all
  services, not by nova-compute alone: supported_instances() says "kvm", and
  a trait tells enclaves apart.
- The drivers of diagnostics (HypervisorDriver): "libvirt", which it is.

check() is called when nova-compute starts. It ends nova-compute with a text
that names what is not as it was in the versions that this was written for,
26 (Debian 12) and 31 (Debian 13).
"""

import inspect

from nova import exception
from nova.image import glance
from nova.objects import fields
from nova import utils
from nova.virt import driver
from nova.virt import hardware
from nova.virt import images
from nova.virt.libvirt import host as libvirt_host

HV_TYPE = fields.HVType.KVM
DIAGNOSTICS_DRIVER = fields.HypervisorDriver.LIBVIRT

# What is called: (what, its name, parameters that it must have)
CALLS = [
    (libvirt_host.Host, 'Host',
     ['uri', 'conn_event_handler', 'lifecycle_event_handler']),
    (libvirt_host.Host.initialize, 'Host.initialize', []),
    (libvirt_host.Host.get_connection, 'Host.get_connection', []),
    (libvirt_host.Host.get_hostname, 'Host.get_hostname', []),
    (libvirt_host.Host.list_instance_domains, 'Host.list_instance_domains',
     ['only_running']),
    (images.fetch, 'nova.virt.images.fetch',
     ['context', 'image_href', 'path', 'trusted_certs']),
    (hardware.InstanceInfo, 'InstanceInfo', ['state', 'internal_id']),
    (driver.ComputeDriver.emit_event, 'ComputeDriver.emit_event', ['event']),
    (driver.ComputeDriver._get_allocation_ratios,
     'ComputeDriver._get_allocation_ratios', ['inventory']),
    (driver.ComputeDriver._get_reserved_host_disk_gb_from_config,
     'ComputeDriver._get_reserved_host_disk_gb_from_config', []),
    (glance.API.update, 'glance.API.update',
     ['context', 'data', 'purge_props']),
]


def _parameters(function):
    return inspect.signature(function).parameters


def _accepts(ours, base):
    """Whether @ours can be called as nova calls @base."""
    mine, theirs = list(_parameters(ours).values()), list(_parameters(base))
    if inspect.Parameter.VAR_KEYWORD in [parameter.kind for parameter in mine]:
        return True
    same, beyond = mine[:len(theirs)], mine[len(theirs):]
    return ([parameter.name for parameter in same] == theirs and
            all(parameter.default is not inspect.Parameter.empty
                for parameter in beyond))


def problems(driver_class):
    """Returns a text for each thing of nova that is not as expected."""
    found = []
    for function, name, wanted in CALLS:
        missing = [parameter for parameter in wanted
                   if parameter not in _parameters(function)]
        if missing:
            found.append('%s has no parameter %s' %
                         (name, ', '.join(missing)))
    for name, ours in vars(driver_class).items():
        base = getattr(driver.ComputeDriver, name, None)
        if not inspect.isfunction(ours) or name.startswith('_'):
            continue
        if base is None:
            found.append('ComputeDriver has no method %s' % name)
        elif not _accepts(ours, base):
            found.append('ComputeDriver.%s%s has other parameters' %
                         (name, inspect.signature(base)))
    for name in driver_class.SUPPORTED:
        if name not in driver.ComputeDriver.capabilities:
            found.append('ComputeDriver has no capability %s' % name)
    if utils.SM_IMAGE_PROP_PREFIX != 'image_':
        found.append("image properties are kept under '%s'" %
                     utils.SM_IMAGE_PROP_PREFIX)
    return found


def check(driver_class):
    """Raises InternalError if nova is not as expected."""
    found = problems(driver_class)
    if found:
        raise exception.InternalError(
            'the compute driver nitro does not fit this version of nova: %s. '
            'Install a version of the driver that does.' % '; '.join(found))
