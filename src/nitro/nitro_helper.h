/*
 * nitro_helper.h: the process of a helper: who it is, and whether it lives
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nitro_conf.h"

/* Whether the process @pid has the UUID @uuid among its arguments, as the helper of a domain has */
bool nitroHelperHasArg(pid_t pid, const char *uuid);

/* Notes the number of the helper's process: a daemon that was killed may not have got to do so. */
bool nitroHelperFindPid(nitroDriver *driver, virDomainObj *vm);

/*
 * Returns a descriptor of the helper's process, or -1 when it is gone. Its number may
 * have been given to another process since; the pid file and its lock may be gone, too.
 */
int nitroHelperOpen(nitroDriver *driver, virDomainObj *vm);

/* Waits @timeout ms for the end of the process. Returns whether it is gone. */
bool nitroHelperAwaitExit(int pidfd, int timeout);
