# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
What this host has for enclaves, as placement and nova's scheduler want it.

All of it is read from virtnitrod by calls that any driver of libvirt has:
the capabilities (machines, NUMA nodes, page sizes), the node's information,
free pages, and the domains that run.

On the device
  VCPU is the CPU pool, in whole cores: the inventory's step is the number of
  threads of a core, so that a flavor with an odd number is not scheduled at
  all. MEMORY_MB is the huge pages of the pool's NUMA node: those that are
  free, and those that enclaves of nova have. What domains of others have is
  in neither. Nothing is reserved or overcommitted, as nothing of it is the
  host's.

Emulated
  The host's CPUs and memory, with nova's own options for what is reserved
  and overcommitted.
"""

import collections
import os

from lxml import etree
import os_resource_classes as orc

from nova.virt.nitro import conf as nitro_conf

CONF = nitro_conf.CONF

TRAIT_DEVICE = 'CUSTOM_NITRO_ENCLAVE'
TRAIT_EMULATED = 'CUSTOM_NITRO_ENCLAVE_EMULATED'
SLOT = 'CUSTOM_NITRO_ENCLAVE_SLOT'

# The driver's rules for <memory>
MIN_MEMORY_MB = 64
MEMORY_STEP_MB = 2
KIB_PER_MIB = 1024

# A running domain: UUID, machine, whether it is nova's, vCPUs and memory
Use = collections.namedtuple('Use', 'uuid machine ours vcpus memory_mb')

# vcpus and memory_mb: all that enclaves of nova can have; *_used: what they
# have; slots: enclaves of nova that can run at a time, or None; threads: of a
# core; max_vcpus: of one enclave
Resources = collections.namedtuple(
    'Resources', 'vcpus memory_mb vcpus_used memory_mb_used slots threads '
    'max_vcpus')


def trait():
    return TRAIT_EMULATED if nitro_conf.emulated() else TRAIT_DEVICE


def architectures(capabilities):
    """The architectures of enclaves of the configured machine."""
    return [guest.find('arch').get('name')
            for guest in capabilities.iterfind('guest')
            if _max_cpus(guest) is not None]


def _max_cpus(guest):
    """
    How many vCPUs of the configured machine the element <guest> of the
    capabilities has, or None if it has not the machine.
    """
    for machine in guest.iterfind('arch/machine'):
        if machine.text == CONF.nitro.machine:
            return int(machine.get('maxCpus', 0))
    return None


def huge_pages(capabilities):
    """The sizes in KiB of the huge pages that the host has any of."""
    return sorted({
        int(pages.get('size')) for pages
        in capabilities.iterfind('host/topology/cells/cell/pages')
        if int(pages.text) > 0 and _is_huge(int(pages.get('size')))})


def _is_huge(size):
    return size % (MEMORY_STEP_MB * KIB_PER_MIB) == 0


def _machine_cpus(capabilities):
    counts = [_max_cpus(guest) for guest in capabilities.iterfind('guest')]
    return max((count for count in counts if count is not None), default=0)


def _pool_cells(capabilities):
    """
    The NUMA nodes that CPUs of the pool are in: of these, which are offline,
    no siblings are known.
    """
    return [cell for cell in capabilities.iterfind('host/topology/cells/cell')
            if any(cpu.get('siblings') is None
                   for cpu in cell.iterfind('cpus/cpu'))]


def _free_huge_pages_mb(connection, capabilities):
    free = 0
    for cell in _pool_cells(capabilities):
        sizes = [int(pages.get('size')) for pages in cell.iterfind('pages')]
        sizes = [size for size in sizes if _is_huge(size)]
        if sizes:
            counts = connection.getFreePages(sizes, int(cell.get('id')), 1)
            for by_size in counts.values():
                free += sum(size * count for size, count in by_size.items())
    return free // KIB_PER_MIB


def _reduced(total, used):
    return max(0, total - used)


def _slots(others):
    most = nitro_conf.max_enclaves()
    return None if most is None else _reduced(most, len(others))


def read(connection, uses):
    """
    Returns the Resources of the host.

    :param connection: to virtnitrod
    :param uses: a Use for each running domain
    """
    capabilities = etree.fromstring(connection.getCapabilities())
    node = connection.getInfo()
    uses = [use for use in uses if use.machine == CONF.nitro.machine]
    ours = [use for use in uses if use.ours]
    others = [use for use in uses if not use.ours]
    memory_used = sum(use.memory_mb for use in ours)
    most = _machine_cpus(capabilities)
    if nitro_conf.emulated():
        vcpus, memory, threads = (node[2] if most else 0), node[1], 1
    else:
        vcpus = _reduced(most, sum(use.vcpus for use in others))
        memory = memory_used + _free_huge_pages_mb(connection, capabilities)
        threads = node[7]
    return Resources(vcpus, memory, sum(use.vcpus for use in ours),
                     memory_used, _slots(others), threads, most)


def local_gb():
    """The GiB of the file system with the images: (all, used, free)."""
    path = CONF.instances_path
    status = os.statvfs(path if os.path.isdir(path) else os.path.dirname(path))
    total = status.f_blocks * status.f_frsize >> 30
    free = status.f_bavail * status.f_frsize >> 30
    return total, total - free, free


def _entry(total, min_unit=1, max_unit=None, step=1, ratio=1.0, reserved=0):
    # placement wants each step's multiples alone
    most = (total if max_unit is None else min(total, max_unit)) // step * step
    return {'total': total, 'min_unit': min_unit, 'max_unit': most,
            'step_size': step, 'allocation_ratio': ratio,
            'reserved': min(reserved, total)}


def inventory(resources, ratios, reserved_disk_gb):
    """
    Returns the inventory of the compute node.

    :param resources: its Resources
    :param ratios: {resource class: ratio} by nova's options
    :param reserved_disk_gb: by nova's options
    """
    cpu, memory = {}, {}
    if nitro_conf.emulated():
        cpu = {'ratio': ratios[orc.VCPU], 'reserved': CONF.reserved_host_cpus}
        memory = {'ratio': ratios[orc.MEMORY_MB],
                  'reserved': CONF.reserved_host_memory_mb}
    entries = {
        orc.VCPU: _entry(resources.vcpus, min_unit=resources.threads,
                         max_unit=resources.max_vcpus,
                         step=resources.threads, **cpu),
        orc.MEMORY_MB: _entry(resources.memory_mb, min_unit=MIN_MEMORY_MB,
                              step=MEMORY_STEP_MB, **memory),
        orc.DISK_GB: _entry(local_gb()[0], ratio=ratios[orc.DISK_GB],
                            reserved=reserved_disk_gb),
    }
    if resources.slots is not None:
        entries[SLOT] = _entry(resources.slots, max_unit=1)
    # placement knows no inventory of nothing
    return {name: entry for name, entry in entries.items()
            if entry['max_unit'] >= entry['min_unit']}
