/*
 * services_control.h: the control socket of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * services_protocol.h describes what is said there.
 */

#pragma once

#include <glib.h>

#include "services.h"

typedef struct _ServicesControl ServicesControl;

/* @ended is called when all that finish has to do has been done. Never NULL. */
ServicesControl *servicesControlNew(void (*ended)(void *opaque), void *opaque);
void servicesControlFree(ServicesControl *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ServicesControl, servicesControlFree)

/* Serves @services on the listening socket @fd from now on. */
void servicesControlServe(ServicesControl *control, Services *services, int fd);

/* What servicesNew() takes, with the control as the opaque pointer */
const ServicesEvents *servicesControlGetEvents(void);
