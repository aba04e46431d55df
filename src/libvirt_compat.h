/*
 * libvirt_compat.h: what differs between the versions of libvirt that the driver is built for
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a function has another signature in the newest version, the code is written for that, and
 * a macro of the function's name turns it into the older one. What has changed its type has a
 * macro or function libvirtCompat... in either branch. No other file asks for a version: see
 * tests/sourcetest.py. How a new one is taken up is in docs/internals.rst.
 *
 * libvirtCompatHasWatchdog(): whether a virDomainDef has a <watchdog>
 * libvirtCompatHasAcpiTable(): whether a virDomainOSDef has an <acpi> with tables
 * libvirtCompatParamListNew(): a list of parameters; with room for that many, where the caller
 * can give it some
 * virTypedParamListAdd...(): 0, or -1 with an error set. Newer versions tell an error at
 * virTypedParamListSteal() alone: 0.
 */

#pragma once

#include "capabilities.h"
#include "virpidfile.h"
#include "virtypedparam.h"

#if LIBVIR_VERSION_NUMBER >= 11003000

# define libvirtCompatHasWatchdog(def) ((def)->nwatchdogs > 0)
# define libvirtCompatHasAcpiTable(os) ((os)->nacpiTables > 0)
# define libvirtCompatParamListNew(room) virTypedParamListNew()

# define virTypedParamListAddInt(...) (virTypedParamListAddInt(__VA_ARGS__), 0)
# define virTypedParamListAddUInt(...) (virTypedParamListAddUInt(__VA_ARGS__), 0)
# define virTypedParamListAddULLong(...) (virTypedParamListAddULLong(__VA_ARGS__), 0)
# define virTypedParamListAddString(...) (virTypedParamListAddString(__VA_ARGS__), 0)
# define virTypedParamListAddBoolean(...) (virTypedParamListAddBoolean(__VA_ARGS__), 0)

#else

# define libvirtCompatHasWatchdog(def) ((def)->watchdog != NULL)
# define libvirtCompatHasAcpiTable(os) ((os)->slic_table != NULL)

static inline virTypedParamList *
libvirtCompatParamListNew(size_t room)
{
    virTypedParamList *list = g_new0(virTypedParamList, 1);

    list->par = g_new0(virTypedParameter, room);
    list->par_alloc = room;
    return list;
}

static inline int
virTypedParamListSteal(virTypedParamList *list,
                       virTypedParameterPtr *params,
                       int *nparams)
{
    *nparams = virTypedParamListStealParams(list, params);
    return 0;
}

/* @names ends with a NULL; their number goes to @nnames. */
# define virCapabilitiesAllocMachines(names, nnames) \
    virCapabilitiesAllocMachines(names, *(nnames) = g_strv_length((char **)(names)))
# define virPidFileAcquire(dir, name, pid) virPidFileAcquire(dir, name, false, pid)

#endif
