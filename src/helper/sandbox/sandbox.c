/*
 * sandbox.c: takes away from this process what its work does not need
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper_protocol.h"
#include "nitro_gettext.h"
#include "sandbox/filter_rule.h"
#include "sandbox/violation.h"
#include "sandbox_filters.h"

static int
sandboxFail(Failure *failure, const char *what)
{
    failure->err = errno;
    failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "This process cannot be confined: %s: %s", what,
               g_strerror(failure->err));
    return -1;
}

int
sandboxDropCapabilities(Failure *failure)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    int capability = 0;

    while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
        capability++;
    /*
     * EINVAL: no capability has that number. Who has none in its user namespace may not take any off
     * the bounding set, either.
     */
    if (errno != EINVAL && errno != EPERM)
        return sandboxFail(failure, "prctl(PR_CAPBSET_DROP)");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return sandboxFail(failure, "prctl(PR_CAP_AMBIENT)");
    if (syscall(SYS_capset, &header, none) < 0)
        return sandboxFail(failure, "capset()");
    return 0;
}

/* A kernel without keys has none that could be inherited. */
static int
sandboxLeaveKeyring(Failure *failure)
{
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 || errno == ENOSYS)
        return 0;
    /* Containers refuse it, and a user has so many at most: the filters leave no call for keys. */
    if (errno == EPERM || errno == EACCES || errno == EDQUOT)
        return 0;
    return sandboxFail(failure, "keyctl(KEYCTL_JOIN_SESSION_KEYRING)");
}

int
sandboxBegin(Failure *failure)
{
    const struct rlimit none = {0, 0};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sandboxFail(failure, "prctl(PR_SET_NO_NEW_PRIVS)");
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return sandboxFail(failure, "setrlimit(RLIMIT_CORE)");
    if (sandboxLeaveKeyring(failure) < 0)
        return -1;
    /* Root needs them for namespaces in which it is itself: until sandboxLeaveHost(). */
    if (geteuid() != 0 && sandboxDropCapabilities(failure) < 0)
        return -1;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return sandboxFail(failure, "prctl(PR_SET_DUMPABLE)");
    return 0;
}

static int
sandboxWriteFile(const char *path, const char *text, Failure *failure)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    int err = errno;

    if (fd >= 0)
        close(fd);
    if (n == (ssize_t)strlen(text))
        return 0;
    errno = n < 0 ? err : EIO;
    return sandboxFail(failure, path);
}

/* The user and the group stay what they are, and there are no others. */
static int
sandboxMapIds(uid_t user, gid_t group, Failure *failure)
{
    g_autofree char *users = g_strdup_printf("%u %u 1\n", user, user);
    g_autofree char *groups = g_strdup_printf("%u %u 1\n", group, group);

    return sandboxWriteFile("/proc/self/setgroups", "deny", failure) < 0 ||
           sandboxWriteFile("/proc/self/uid_map", users, failure) < 0 ||
           sandboxWriteFile("/proc/self/gid_map", groups, failure) < 0 ? -1 : 0;
}

int
sandboxBecomeUser(uid_t user, gid_t group, Failure *failure)
{
    int rc;

    /* Who cannot be looked into owns none of its files in /proc. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return sandboxFail(failure, "prctl(PR_SET_DUMPABLE)");
    rc = sandboxMapIds(user, group, failure);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return sandboxFail(failure, "prctl(PR_SET_DUMPABLE)");

    return rc;
}

/* Any directory that nobody can make anything in; this one is gone with the process. */
#define SANDBOX_EMPTY_DIRECTORY "/proc/self/fdinfo"

int
sandboxChangeDirectory(int fd, Failure *failure)
{
    int rc = fd < 0 ? chdir(SANDBOX_EMPTY_DIRECTORY) : fchdir(fd);

    if (rc < 0)
        return sandboxFail(failure, "chdir()");
    if (fd >= 0)
        close(fd);
    return 0;
}

#ifdef __SANITIZE_ADDRESS__
static int sandboxIsOutside; /* of the host's file system, without which leaks cannot be looked for */

int __lsan_is_turned_off(void);

int
__lsan_is_turned_off(void)
{
    return sandboxIsOutside;
}
#endif

int
sandboxLeaveHost(Failure *failure)
{
    uid_t user = geteuid();
    gid_t group = getegid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) < 0) {
        failure->err = errno;
        failureSet(failure, NITRO_FAILURE_UNSUPPORTED,
                   "This process cannot have namespaces of its own: %s: let users have user "
                   "namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)",
                   g_strerror(failure->err));
        return -1;
    }
    if (sandboxBecomeUser(user, group, failure) < 0)
        return -1;
    if (chroot(".") < 0)
        return sandboxFail(failure, "chroot()");
#ifdef __SANITIZE_ADDRESS__
    sandboxIsOutside = 1;
#endif
    return 0;
}

/* When the enclave runs there are several threads. Returns -1 with errno set. */
static int
sandboxSetFilter(const struct sock_filter *filter, size_t n)
{
    struct sock_fprog program = {.len = n, .filter = (struct sock_filter *)filter};
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
                      &program);

    /* A number: the thread that cannot be made to follow */
    if (rc > 0)
        errno = ESRCH;
    return rc == 0 ? 0 : -1;
}

static int
sandboxLoad(const struct sock_filter *filter, size_t n, Failure *failure)
{
    if (sandboxSetFilter(filter, n) == 0)
        return 0;
    failure->err = errno;
    failureSet(failure, NITRO_FAILURE_UNSUPPORTED, "The system calls of this process cannot be "
               "limited: %s: use a kernel with seccomp filters", g_strerror(failure->err));
    return -1;
}

#define SANDBOX_LOAD(filter, failure) sandboxLoad(filter, G_N_ELEMENTS(filter), failure)

int
sandboxEnter(SandboxProcess process, Failure *failure)
{
    violationCatch();
    switch (process) {
    case SANDBOX_DEVICE:
        return SANDBOX_LOAD(filterDeviceSetup, failure);
    case SANDBOX_EMULATED:
        return SANDBOX_LOAD(filterEmulatedSetup, failure);
    case SANDBOX_BROKER:
        return SANDBOX_LOAD(filterBroker, failure);
    case SANDBOX_CHECK:
        return SANDBOX_LOAD(filterCheck, failure);
    case SANDBOX_NSM:
        return SANDBOX_LOAD(filterNsm, failure);
    case SANDBOX_SERVICES:
        return SANDBOX_LOAD(filterServices, failure);
    case SANDBOX_SERVICES_UNIX:
        return SANDBOX_LOAD(filterServicesUnix, failure);
    }
    g_assert_not_reached();
}

int
sandboxTighten(SandboxProcess process, Failure *failure)
{
    switch (process) {
    case SANDBOX_DEVICE:
        return SANDBOX_LOAD(filterDeviceRun, failure);
    case SANDBOX_EMULATED:
        return SANDBOX_LOAD(filterEmulatedRun, failure);
    case SANDBOX_BROKER:
    case SANDBOX_CHECK:
    case SANDBOX_NSM:
    case SANDBOX_SERVICES:
    case SANDBOX_SERVICES_UNIX:
        break;
    }
    g_assert_not_reached();
}

const void *
sandboxGetQemuFilter(size_t *size)
{
    *size = sizeof(filterQemu);
    return filterQemu;
}

/* What @filter says of FILTER_SELF is about this process. Returns -1 with errno set. */
static int
sandboxSetFilterOfSelf(const struct sock_filter *filter, size_t n)
{
    g_autofree struct sock_filter *own = g_new(struct sock_filter, n);
    size_t found = 0;
    size_t i;

    for (i = 0; i < n; i++) {
        own[i] = filter[i];
        if (BPF_CLASS(own[i].code) == BPF_JMP && own[i].k == FILTER_SELF) {
            own[i].k = (uint32_t)getpid();
            found++;
        }
    }
    if (found == 0) {
        errno = EINVAL;
        return -1;
    }
    return sandboxSetFilter(own, n);
}

int
sandboxFilterQemu(void)
{
    if (sandboxSetFilterOfSelf(filterQemuSignals, G_N_ELEMENTS(filterQemuSignals)) < 0)
        return -1;
    return sandboxSetFilter(filterQemu, G_N_ELEMENTS(filterQemu));
}
