/*
 * nitro_vsock_dir.h: the directories where an emulated enclave's vsock and programs of the host meet
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Such a directory has the conventions of Firecracker and vhost-device-vsock: "vsock" is for
 * connections to the enclave, "vsock_<port>" for connections from it. The helper makes these
 * connections and is not root; the programs that listen are root's and those of members of the
 * helpers' group.
 */

#pragma once

#include "nitro_conf.h"

/*
 * Makes the directory @dir, and "vsock" in it, on which it listens. In a session both are the
 * user's. Of the system's daemon they are root's and the group's of @config: members may make
 * sockets there, but not remove those of others, and connect to "vsock"; the helper's user may
 * only connect, to whatever is made there, by an access control list. @acl tells whether there
 * can be one; without, sockets get the helper's group.
 *
 * Returns 0 with @dirFd (O_PATH) and @listenFd set, or -1 with an error set; what has been made
 * is left for nitroGoneTake().
 */
int nitroVsockDirMake(const nitroDriverConfig *config,
                      const char *dir,
                      int *dirFd,
                      int *listenFd,
                      bool *acl);

/*
 * The driver's watch over directories that nitroVsockDirMake() has made: the permissions that a
 * list gives to the helper are cut by the umask of whoever makes a socket (to nothing by the usual
 * 022), which is set right here, in the event loop, and by the pool @takeovers of @driver where
 * events were lost. Returns a new one (nitroVsockDirsFree); never NULL.
 */
nitroVsockDirs *nitroVsockDirsNew(nitroDriver *driver);
void nitroVsockDirsFree(nitroVsockDirs *dirs);

/*
 * Watches @dir, once, and sets right what is there already, in bounded time: a domain's lock may be
 * held. Where too much is in it, some of that is left out, and the log says so. When it cannot be watched, the log
 * says so: then sockets must be made with the right permissions.
 */
void nitroVsockDirsWatch(nitroVsockDirs *dirs, const char *dir);

/* Does not watch @dir any more; nothing happens when it was not. */
void nitroVsockDirsForget(nitroVsockDirs *dirs, const char *dir);
