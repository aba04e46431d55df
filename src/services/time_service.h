/*
 * time_service.h: tells the enclave the time
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "services.h"

/* Serves @fd, a non-blocking socket of the enclave, which is taken over. */
void timeAccept(Service *service, int fd);
