/*
 * nitro_gone.h: removes the directories of runs that are over
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Members of the helpers' group may have made in such a directory what they like, however deep,
 * and who has a descriptor of the deepest one can go on, faster than it is removed. So nobody
 * waits for the end of that: the directory gets another name, "gone-ID", in the state directory,
 * and is emptied in the background, a part at a time.
 */

#pragma once

#include "nitro_conf.h"

/* How many entries one try removes at most, of all directories together */
#define NITRO_GONE_BUDGET 10000

/*
 * Takes the run directory @dir away, with all that is in it, in bounded time: a domain's lock may
 * be held. No symbolic link is followed, what is mounted in it is detached, and nothing outside is
 * removed. In a directory below, only sockets are removed here.
 *
 * Returns 0 when nothing is left, or there was none; 1 when the rest has another name by now and
 * is for nitroGoneEmpty(); or -1 with an error set, and then it is where it was.
 */
int nitroGoneTake(const char *dir);

/*
 * Removes of all that nitroGoneTake() has left in the state directory @stateDir as much as the
 * budget allows. Needs no lock of the driver's, and one thread calls it at a time. Returns 0 when
 * nothing is left, 1 when there is, or -1 with an error set: then the rest was tried as well.
 */
int nitroGoneEmpty(const char *stateDir);

/* Has a thread call nitroGoneEmpty() soon, and every now and then while there is something. */
void nitroGoneEmptyLater(nitroDriver *driver);
