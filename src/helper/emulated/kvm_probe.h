/*
 * kvm_probe.h: whether KVM works on this host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * That /dev/kvm opens says little: there are hosts without hardware virtualization
 * whose KVM interprets guest code, thousands of times slower than a CPU, or hangs.
 */

#pragma once

#include <stdbool.h>

/*
 * Runs a few instructions in a virtual machine, in a process of its own with a time
 * limit; takes some milliseconds where KVM works and KVM_PROBE_LIMIT_MS at most.
 * @reason is set to a new sentence in any case.
 */
bool kvmProbe(char **reason);

#define KVM_PROBE_LIMIT_MS 300
