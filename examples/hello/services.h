/*
 * services.h: what the sample enclave does on its vsock
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Four services that move bytes, and one that takes commands. They listen on these ports
 * of the enclave, for any number of connections at once:
 *
 *   7      echo: sends back what it gets; at the end of that, ends its own side
 *   9      discard: reads to the end, then answers with a line, the number of bytes
 *   19     source: reads a line, a number, and sends as many bytes; then ends
 *   11     stall: never reads
 *   5000   commands, one a line
 *
 * The commands, with their answers, each a line as well, "ok" or "error: " and why:
 *
 *   echo PORT         connects to PORT of the parent, and is on that connection the
 *   discard PORT      service of this name
 *   source PORT
 *   stall PORT
 *   ping PORT COUNT   connects to PORT of the parent, which is an echo, and sends a byte
 *                     and waits for it COUNT times; answers when it is done
 *   send PORT TEXT    connects to PORT of the parent, writes TEXT, ends its own side,
 *                     reads to the end, and answers with what it has read
 *   fetch PORT HOST:PORT TEXT
 *                     the same through the HTTP proxy at PORT of the parent: has it connect to
 *                     HOST:PORT, and goes on as "send"; "error: " and the first line of the proxy's
 *                     answer when that is not 200
 *   lines PORT COUNT TEXT
 *                     connects to PORT of the parent, and writes the line TEXT COUNT times; answers
 *                     when it is done
 *   clock PORT        connects to PORT of the parent, the service "time" of its domain, and sets
 *                     this enclave's clock; answers with "ok" and by how many ns it was behind
 *   anything else     is for the caller of servicesRun()
 *
 * Answers come when they are ready, which may be out of turn. Who does not read them is
 * dropped.
 */

#pragma once

#include <stdbool.h>

/*
 * Starts to listen. Says on the console what it cannot, and goes on with the others.
 */
void
servicesOpen(void);

/*
 * Serves for @seconds. @order is called with each command that is not known here, and
 * returns whether it knows it.
 */
void
servicesRun(double seconds, bool (*order)(const char *command));
