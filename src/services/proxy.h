/*
 * proxy.h: an HTTP CONNECT proxy of the enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "services.h"

/* Serves @fd, a non-blocking socket of the enclave, which is taken over. */
void proxyAccept(Service *service, int fd);
