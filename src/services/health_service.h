/*
 * health_service.h: can the enclave be reached?
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The enclave is healthy once a connection has come about, and no longer so when as many as the
 * configuration says have failed in a row. Nothing is concluded while there is no link.
 */

#pragma once

#include "services.h"

void healthBegin(Service *service);

/* There is a link: it is tried, at once if it has not been for a while. */
void healthOnLink(Service *service);

/* Nothing is tried any more. */
void healthEnd(Service *service);
