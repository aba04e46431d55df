/*
 * tsc.h: the frequency of the host's time stamp counter
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/* Takes the first of two readings; to be called when the process starts. */
void tscMeasureBegin(void);

/*
 * Takes the second reading, which must be some milliseconds after the first: waits if
 * it is not. Returns the frequency in kHz, or 0 where there is no such counter.
 */
unsigned int tscMeasureEnd(void);
