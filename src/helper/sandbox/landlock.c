/*
 * landlock.c: what a process can open, where it can have no file system of its own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Constants of newer kernels stand here by number: what counts is the kernel that runs.
 */

#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Versions of the interface, and how many rights to files each knows; the numbers of the bits grow */
#define LANDLOCK_FS_RIGHTS_1 13
#define LANDLOCK_FS_RIGHTS_2 14 /* moving files to other directories */
#define LANDLOCK_FS_RIGHTS_3 15 /* truncating them */
#define LANDLOCK_FS_RIGHTS_5 16 /* ioctl() on devices */
#define LANDLOCK_VERSION_NET 4
#define LANDLOCK_VERSION_SCOPE 6

#define LANDLOCK_NET_TCP 0x3u       /* bind and connect */
#define LANDLOCK_NET_BIND 0x1u
#define LANDLOCK_SCOPE_OUTSIDE 0x3u /* abstract UNIX sockets and signals */

#define LANDLOCK_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE)
#define LANDLOCK_LIST (LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_READ_FILE)
#define LANDLOCK_WRITE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | 1ULL << 15)

/* Where AddressSanitizer finds what it looks for leaks in; in builds for tests only */
#ifdef __SANITIZE_ADDRESS__
# define LANDLOCK_SANITIZER "/proc"
#else
# define LANDLOCK_SANITIZER NULL
#endif

/* The kernel's struct as of version 6; an older kernel takes what it does not know as long as it is 0. */
typedef struct {
    uint64_t files;
    uint64_t net;
    uint64_t scoped;
} LandlockRuleset;

static int
landlockVersion(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool
landlockIsThere(void)
{
    return landlockVersion() > 0;
}

static uint64_t
landlockFileRights(int version)
{
    const unsigned int rights = version >= 5 ? LANDLOCK_FS_RIGHTS_5 :
                                version >= 3 ? LANDLOCK_FS_RIGHTS_3 :
                                version >= 2 ? LANDLOCK_FS_RIGHTS_2 : LANDLOCK_FS_RIGHTS_1;

    return (1ULL << rights) - 1;
}

static int
landlockAllow(int ruleset, const char *path, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    int rc;
    int err;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    err = errno;
    close(rule.parent_fd);
    errno = err;
    return rc < 0 ? -1 : 0;
}

/*
 * As @attr says, but for reading with @rights what is at @read, writing @write (NULL: none), and
 * reading all that is in the directory @whole (NULL: none)
 */
static int
landlockApply(const LandlockRuleset *attr, const char *const *read, uint64_t rights,
              const char *write, const char *whole)
{
    int ruleset = syscall(SYS_landlock_create_ruleset, attr, sizeof(*attr), 0);
    int rc = 0;
    int err;

    if (ruleset < 0)
        return -1;

    for (; rc == 0 && *read; read++)
        rc = landlockAllow(ruleset, *read, rights);
    if (rc == 0 && write)
        rc = landlockAllow(ruleset, write, LANDLOCK_WRITE & attr->files);
    if (rc == 0 && whole)
        rc = landlockAllow(ruleset, whole, LANDLOCK_LIST);
    if (rc == 0)
        rc = syscall(SYS_landlock_restrict_self, ruleset, 0);
    err = errno;
    close(ruleset);
    errno = err;
    return rc < 0 ? -1 : 0;
}

/* Denies all files, and, where the kernel can, what the bits @net of TCP are */
static LandlockRuleset
landlockRuleset(int version, uint64_t net)
{
    return (LandlockRuleset){
        .files = landlockFileRights(version),
        .net = version >= LANDLOCK_VERSION_NET ? net : 0,
        .scoped = version >= LANDLOCK_VERSION_SCOPE ? LANDLOCK_SCOPE_OUTSIDE : 0,
    };
}

int
landlockRestrict(const char *const *read, const char *write)
{
    int version = landlockVersion();
    LandlockRuleset attr = landlockRuleset(version, LANDLOCK_NET_TCP);

    return version <= 0 ? -1 : landlockApply(&attr, read, LANDLOCK_READ, write, NULL);
}

int
landlockRestrictFiles(const char *const *read)
{
    int version = landlockVersion();
    LandlockRuleset attr = landlockRuleset(version, LANDLOCK_NET_BIND);

    return version <= 0 ? -1 : landlockApply(&attr, read, LANDLOCK_ACCESS_FS_READ_FILE, NULL,
                                             LANDLOCK_SANITIZER);
}
