/*
 * virt_eif_sign.h: what the commands of virt-eif that sign share
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: virtEifSignerOpen() -> eif_signer.h -> virtEifSignCheck() of what was written ->
 * virtEifSignReport().
 */

#pragma once

#include "eif_signer.h"

/*
 * The signer of the files or URL that the user has named, in date; @key may be NULL. Warns of an
 * algorithm that is unusual. Returns a signer (eifSignerFree), or NULL when an error was printed.
 */
EifSigner *virtEifSignerOpen(const char *certificate, const char *key);

/*
 * Checks the image @fd that was signed, before it takes the name @path: as virt-eif verify does, so
 * by what looks at images before they are started. Returns 0, or -1 when an error was printed.
 */
int virtEifSignCheck(int fd, const char *path);

/* Prints the PCR8 of the signer's images. */
void virtEifSignReport(const EifSigner *signer);
