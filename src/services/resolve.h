/*
 * resolve.h: looks names up, in threads of their own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * In the hosts file and by DNS, whatever nsswitch.conf says: modules of others would be loaded into
 * this process, and want more than it may do.
 */

#pragma once

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "address_check.h"
#include "common/failure.h"

typedef struct _Resolve Resolve;

/* Called in the main loop. @addresses (of Address, in the order to try) is empty when there are none;
 * @error then says why, static. */
typedef void (*ResolveDone)(const GArray *addresses, const char *error, void *opaque);

/*
 * Makes the threads, and has the C library read what it reads once. To be called once, before
 * sandboxEnter(). Returns 0, or -1 with @failure set.
 */
int resolveBegin(Failure *failure);

/*
 * Looks @host up; never from within this function @done is called, unless resolveCancel() was. With
 * @search what is found in the domains of resolv.conf counts as well, where @host is the beginning of
 * another name.
 */
Resolve *resolveStart(const char *host, bool search, ResolveDone done, void *opaque);

/* @resolve ends without a call, and if it has not begun without a lookup; not after done() has been
 * called. NULL is ignored. */
void resolveCancel(Resolve *resolve);
