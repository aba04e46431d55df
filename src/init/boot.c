/*
 * boot.c: what the first process of an enclave does first
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: file systems -> modules, among them vsock's -> the heartbeat.
 */

#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MODULES_DIR "/lib/modules"
#define MODULES_LIST MODULES_DIR "/load-order"

#define PARENT_CID 3


void
bootComplain(const char *what, const char *name)
{
    printf("%s: cannot %s %s: %s\n", bootName, what, name, strerror(errno));
}


void
bootMount(const bootMountPoint *mounts, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (mkdir(mounts[i].target, 0755) < 0 && errno != EEXIST)
            bootComplain("make the directory", mounts[i].target);
        /* EBUSY: the kernel has mounted its own devtmpfs */
        if (mount(mounts[i].type, mounts[i].target, mounts[i].type, MS_NOSUID,
                  mounts[i].options) < 0 && errno != EBUSY)
            bootComplain("mount", mounts[i].target);
    }
}


void
bootLoadModule(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        bootComplain("open", path);
        return;
    }

    /* EEXIST: this kernel has it built in */
    if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
        bootComplain("load the module", path);
    close(fd);
}


void
bootLoadModules(void)
{
    FILE *list = fopen(MODULES_LIST, "re");
    char name[128];
    char path[256];

    if (!list)
        return;

    while (fscanf(list, "%127s", name) == 1) {
        snprintf(path, sizeof(path), "%s/%s", MODULES_DIR, name);
        bootLoadModule(path);
    }
    fclose(list);
}


int
bootDialParent(uint32_t port)
{
    struct sockaddr_vm parent = {
        .svm_family = AF_VSOCK,
        .svm_cid = PARENT_CID,
        .svm_port = port,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err;

    if (fd < 0 || connect(fd, (struct sockaddr *)&parent, sizeof(parent)) == 0)
        return fd;
    err = errno;
    close(fd);
    errno = err;
    return -1;
}


bool
bootBeat(int fd, uint8_t byte)
{
    uint8_t answer = 0;
    ssize_t n;

    if (write(fd, &byte, 1) != 1 || (n = read(fd, &answer, 1)) < 0) {
        bootComplain("send", "the heartbeat");
        return false;
    }
    if (n == 0)
        printf("%s: no heartbeat: the parent has closed the connection\n", bootName);
    else if (answer != BOOT_HEARTBEAT)
        printf("%s: no heartbeat: the parent has answered 0x%02x\n", bootName, answer);
    return n == 1 && answer == BOOT_HEARTBEAT;
}
