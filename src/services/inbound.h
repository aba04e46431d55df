/*
 * inbound.h: connects programs of the host, or its network, to the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "services.h"

/* Accepts connections until service->listener is freed. */
void inboundBegin(Service *service);
