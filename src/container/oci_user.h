/*
 * oci_user.h: whom an image's "User" means
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "rootfs_tree.h"

typedef struct _OciUser OciUser;
struct _OciUser {
    uint32_t uid;
    uint32_t gid;
    GArray *groups; /* of uint32_t: supplementary ones */
    char *home;     /* never NULL */
};

/*
 * Looks @user ("", or a name or number, and perhaps a colon and a group's) up in /etc/passwd and
 * /etc/group of @tree. Without a group, it is that of /etc/passwd, and those of /etc/group that the
 * user is in. Returns 0, or -1 with @error set; call ociUserClear() in either case. @result is
 * zeroed by the caller.
 */
int ociUserResolve(RootfsTree *tree, const char *user, OciUser *result, GError **error);
void ociUserClear(OciUser *user);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(OciUser, ociUserClear)
