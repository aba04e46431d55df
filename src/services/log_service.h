/*
 * log_service.h: lines of the enclave, to a file or to syslog
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What comes faster than LOG_SERVICE_LINES and LOG_SERVICE_BYTES a second is dropped, after a burst of
 * LOG_SERVICE_BURST seconds' worth; a line tells how much.
 */

#pragma once

#include "services.h"

#define LOG_SERVICE_LINE_MAX 4096 /* bytes, as the enclave sends them */
#define LOG_SERVICE_LINES 1000
#define LOG_SERVICE_BYTES (1024 * 1024)
#define LOG_SERVICE_BURST 4

/* Returns 0, or -1 with @failure set. */
int logBegin(Service *service, Failure *failure);
void logEnd(Service *service);

/* Serves @fd, a non-blocking socket of the enclave, which is taken over. */
void logAccept(Service *service, int fd);
