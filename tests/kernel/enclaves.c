/*
 * enclaves.c: plays the enclaves that run in the guest
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * enclaves [--byte NUMBER] [--delay MS] [--no-heartbeat] [--echo PORT] [--text TEXT]
 *
 * For each enclave that the hypervisor's stand-in (ne_stub_hv.c) has started a process takes its
 * CID (ne_stub_vsock.c) and does what its first program would: it connects to port 9000 of CID 3,
 * sends 0xb7 and reads the answer. Others serve an echo at a port of the enclave, and, for one in
 * debug mode, its console with TEXT, as the hypervisor does: at CID 0, port 10000 + CID. No code of
 * an image is ever run.
 *
 * Flow: the file "slots", 50 times a second -> a process for each enclave -> its children. They
 * end with it (PR_SET_PDEATHSIG).
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>
#include <linux/vm_sockets.h>

#define SLOTS "/sys/kernel/debug/ne_stub/slots"
#define PARTS "/dev/ne_stub_vsock"

enum {
    MAX_ENCLAVES = 16,
    HYPERVISOR_CID = 0,
    PARENT_CID = 3,
    HEARTBEAT_PORT = 9000,
    CONSOLE_PORT = 10000,
    DEBUG_MODE = 1,
    POLL_MS = 20,
    RETRY_MS = 50,
    RETRIES = 200,
};

typedef struct {
    unsigned long long slot; /* 0: a free entry */
    pid_t pid;
    bool seen;
} Enclave;

typedef struct {
    unsigned int byte;
    unsigned int delay; /* in ms, before the heartbeat */
    bool heartbeat;
    unsigned int echo; /* port; 0: none */
    const char *text;
} Options;

static Options options = { .byte = 0xb7, .heartbeat = true, .text = "" };

static void die(const char *what)
{
    fprintf(stderr, "enclaves: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void sleep_ms(unsigned int ms)
{
    usleep(ms * 1000);
}

/* From here on this process is @cid, for as long as it lives. */
static void act_as(unsigned int cid)
{
    int fd = open(PARTS, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || dprintf(fd, "%u", cid) < 0)
        die(PARTS);
}

/* A child that ends with this process: 0 in the child. */
static pid_t spawn(void)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
    }
    return pid;
}

static int bind_to(unsigned int cid, unsigned int port)
{
    struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die("bind");
    return fd;
}

/* The host may listen a moment later. */
static int connect_to_parent(unsigned int cid)
{
    struct sockaddr_vm parent = { .svm_family = AF_VSOCK, .svm_cid = PARENT_CID,
                                  .svm_port = HEARTBEAT_PORT };

    for (unsigned int n = 0; n < RETRIES; n++) {
        int fd = bind_to(cid, VMADDR_PORT_ANY);

        if (connect(fd, (struct sockaddr *)&parent, sizeof(parent)) == 0)
            return fd;
        close(fd);
        sleep_ms(RETRY_MS);
    }
    die("connect");
    return -1;
}

static void heartbeat(unsigned int cid)
{
    unsigned char byte = options.byte;
    int fd;

    sleep_ms(options.delay);
    fd = connect_to_parent(cid);
    if (write(fd, &byte, 1) == 1 && read(fd, &byte, 1) == 1)
        fprintf(stderr, "enclaves: CID %u: sent 0x%02x, got 0x%02x\n", cid, options.byte, byte);
    else
        fprintf(stderr, "enclaves: CID %u: sent 0x%02x, no answer\n", cid, options.byte);
    close(fd);
}

/* Writes @text to who connects, and then what comes. */
static void serve(unsigned int cid, unsigned int port, const char *text)
{
    char buffer[4096];
    ssize_t size;
    int listener;

    act_as(cid);
    listener = bind_to(cid, port);
    if (listen(listener, 8) < 0)
        die("listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd < 0)
            die("accept");
        if (spawn() == 0) {
            act_as(cid);
            if (write(fd, text, strlen(text)) < 0)
                _exit(1);
            while ((size = read(fd, buffer, sizeof(buffer))) > 0) {
                if (write(fd, buffer, size) != size)
                    break;
            }
            _exit(0);
        }
        close(fd);
    }
}

static void play(unsigned int cid, unsigned long long flags)
{
    if ((flags & DEBUG_MODE) && spawn() == 0)
        serve(HYPERVISOR_CID, CONSOLE_PORT + cid, options.text);
    if (options.echo && spawn() == 0)
        serve(cid, options.echo, "");
    act_as(cid);
    if (options.heartbeat)
        heartbeat(cid);
    for (;;)
        pause();
}

static Enclave *find(Enclave *enclaves, unsigned long long slot)
{
    for (size_t n = 0; n < MAX_ENCLAVES; n++) {
        if (enclaves[n].slot == slot)
            return &enclaves[n];
    }
    return NULL;
}

static void start_new(Enclave *enclaves, FILE *slots)
{
    unsigned long long slot, cid, flags;
    Enclave *enclave;
    char line[512];

    while (fgets(line, sizeof(line), slots)) {
        if (sscanf(line, "slot=0x%llx state=running cid=%llu flags=0x%llx", &slot, &cid,
                   &flags) != 3)
            continue;
        if (!(enclave = find(enclaves, slot))) {
            if (!(enclave = find(enclaves, 0))) {
                errno = EMFILE;
                die(SLOTS);
            }
            enclave->slot = slot;
            enclave->pid = spawn();
            if (enclave->pid == 0) {
                /* open, it would keep the driver from being unloaded while this enclave lasts */
                close(fileno(slots));
                play(cid, flags);
            }
        }
        enclave->seen = true;
    }
}

static void end_gone(Enclave *enclaves)
{
    for (size_t n = 0; n < MAX_ENCLAVES; n++) {
        if (enclaves[n].slot && !enclaves[n].seen) {
            kill(enclaves[n].pid, SIGKILL);
            waitpid(enclaves[n].pid, NULL, 0);
            enclaves[n].slot = 0;
        }
        enclaves[n].seen = false;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        { "byte", required_argument, NULL, 'b' },
        { "delay", required_argument, NULL, 'd' },
        { "no-heartbeat", no_argument, NULL, 'n' },
        { "echo", required_argument, NULL, 'e' },
        { "text", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'b':
            options.byte = strtoul(optarg, NULL, 0);
            break;
        case 'd':
            options.delay = strtoul(optarg, NULL, 10);
            break;
        case 'n':
            options.heartbeat = false;
            break;
        case 'e':
            options.echo = strtoul(optarg, NULL, 10);
            break;
        case 't':
            options.text = optarg;
            break;
        default:
            _exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    Enclave enclaves[MAX_ENCLAVES] = { 0 };

    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    /* the children of an enclave's process become ours when it is killed */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;) {
        FILE *slots = fopen(SLOTS, "re");

        if (slots) {
            start_new(enclaves, slots);
            fclose(slots);
        } else if (errno != ENOENT && errno != ENXIO) {
            die(SLOTS); /* otherwise the driver is being loaded again */
        }
        end_gone(enclaves);
        sleep_ms(POLL_MS);
    }
}
