# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The section [nitro] of nova-compute's configuration."""

from oslo_config import cfg

import nova.conf

CONF = nova.conf.CONF

MACHINE_DEVICE = 'nitro'
MACHINE_EMULATED = 'nitro-enclave'

# As many enclaves as the Nitro Hypervisor runs for one EC2 instance
DEVICE_MAX_ENCLAVES = 4

nitro_group = cfg.OptGroup(
    'nitro',
    title='Nitro Enclaves',
    help='Options of the compute driver nitro.NitroDriver.')

nitro_opts = [
    cfg.StrOpt(
        'machine',
        default=MACHINE_DEVICE,
        choices=[
            (MACHINE_DEVICE,
             'the Nitro Hypervisor, through /dev/nitro_enclaves'),
            (MACHINE_EMULATED,
             'an emulation by QEMU, which protects nothing from the host'),
        ],
        help="""
The machine type of all enclaves of this compute node. The one is never used
in place of the other: a node with the device has the trait
CUSTOM_NITRO_ENCLAVE, one that emulates CUSTOM_NITRO_ENCLAVE_EMULATED.
"""),
    cfg.StrOpt(
        'connection_uri',
        default='nitro:///system',
        help="""
The URI of virtnitrod, which must run on this host. nova-compute's user has to
be a member of the group libvirt.
"""),
    cfg.IntOpt(
        'max_enclaves',
        min=1,
        help="""
How many enclaves run on this compute node at most. By default 4 on the
device, which is the limit of the Nitro Hypervisor, and no limit for emulated
ones. Where there is a limit placement has an inventory of
CUSTOM_NITRO_ENCLAVE_SLOT, and a flavor that asks for one
(resources:CUSTOM_NITRO_ENCLAVE_SLOT=1) is not scheduled to a full node.
"""),
]


def register_opts(conf):
    conf.register_group(nitro_group)
    conf.register_opts(nitro_opts, group=nitro_group)


def list_opts():
    return {nitro_group: nitro_opts}


def emulated():
    """Whether this compute node runs emulated enclaves."""
    return CONF.nitro.machine == MACHINE_EMULATED


def max_enclaves():
    """How many enclaves can run on this compute node, or None."""
    if CONF.nitro.max_enclaves is None and not emulated():
        return DEVICE_MAX_ENCLAVES
    return CONF.nitro.max_enclaves


register_opts(CONF)
