# Copyright (C) 2026 The libvirt-nitro authors
#
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
nova's compute driver for AWS Nitro Enclaves, over libvirt's driver "nitro".

It lies in nova's package nova.virt, where nova looks for compute drivers:

    [DEFAULT]
    compute_driver = nitro.NitroDriver

Flow: driver (what nova calls) -> images (Glance to files of the host),
spec (what flavor and image ask for), domain (both to libvirt's XML),
resources (what placement is told), faults (what users are told); compat
(what of nova's own must be as it was when this was written).
"""

from nova.virt.nitro import driver

NitroDriver = driver.NitroDriver
