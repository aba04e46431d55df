/*
 * escape.h: what a taken-over helper or QEMU would try
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A list of acts, each of which must be refused where the program runs. Of each a line is
 * written to standard error before and after it, and none after one that has ended the
 * process:
 *
 *     act NAME: trying CALL
 *     act NAME: done              it was possible
 *     act NAME: refused ERRNO
 *     act NAME: invalid ERRNO     the call was let through, and has found fault with its arguments
 *     act NAME: signal N          it has ended the child that tried it
 *
 * What the acts aim at is told by lines of the trailer (trailer.h): escape-KEY VALUE, with the
 * keys of escapeTargets in escape.c. An act whose target is not told is not tried.
 */

#pragma once

/* Tries all acts, each in a child, or in this process when there can be no child. */
void escapeRunAll(void);

/* Tries the act @name in this process, also one without a target. */
void escapeRun(const char *name);

/* The act that the heartbeat broker is to try, static; "" for none. */
const char *escapeGetBrokerAct(void);

/* Reads the trailer, which a sandbox may keep from being read later; done by the others, too. */
void escapeRead(void);
