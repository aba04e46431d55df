/*
 * outbound.h: connects the enclave to one destination
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "services.h"

/* Serves @fd, a non-blocking socket of the enclave, which is taken over. */
void outboundAccept(Service *service, int fd);
