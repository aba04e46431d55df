/*
 * heartbeat.h: telling the parent that the enclave has booted
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

/*
 * Sends the heartbeat as the init of AWS's images does: connects to port 9000 of the
 * parent (CID 3), writes the byte 0xb7, reads one byte and compares. @how is one of
 *
 *   yes      just so
 *   late     just so, five seconds later
 *   no       not at all
 *   silent   connects, and writes nothing
 *   wrong    writes another byte
 *   close    connects, and closes the connection at once
 *
 * and all but the first are for tests of a parent that waits. Ends this process, after a
 * line on the console, when the heartbeat does not come back.
 */
void
heartbeat(const char *how);
