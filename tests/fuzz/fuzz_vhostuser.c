/*
 * fuzz_vhostuser.c: fuzz target for the vhost-user messages of QEMU
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input is a row of steps, a byte each and what it needs behind it: messages, mostly good
 * ones with the right descriptors, so that rings get to run; what a device does with its rings;
 * kicks; what the guest writes to its memory; bytes that are no message. Whatever comes out of
 * a ring must be memory, every reply must be one.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "fuzzloop.h"
#include "vsock/vhost_user.h"

#define MEMORY_SIZE 0x10000
#define USER_ADDRESS 0x100000
#define FDS_MAX 12 /* more than a message may have */

typedef struct {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    union {
        uint8_t bytes[512];
        uint32_t words[3];
        uint64_t u64;
        struct {
            uint32_t index;
            uint32_t flags;
            uint64_t desc, used, avail, log;
        } address;
        struct {
            uint64_t n;
            GuestMemoryRegion regions[GUEST_MEMORY_REGIONS_MAX + 1];
        } memory;
    } payload;
} __attribute__((packed, aligned(4))) Message;

#define MESSAGE_HEADER offsetof(Message, payload)

/* What the steps name, and the size that each has; 255 is none. */
static const struct {
    uint8_t request;
    uint16_t size;
} requests[] = {
    {1, 0}, {2, 8}, {3, 0}, {5, 8}, {8, 8}, {9, 40}, {10, 8}, {11, 8}, {12, 8}, {13, 8}, {14, 8},
    {15, 0}, {16, 8}, {17, 0}, {18, 8}, {24, 12}, {5, 8}, {12, 8}, {9, 40}, {18, 8}, {255, 8},
};

static const uint8_t *input;
static size_t left;
static int memoryFd = -1;   /* that cannot shrink */
static int shortFd = -1;    /* that can */
static int eventFd = -1;
static uint8_t *memoryData;
static VhostUser *vhostUser;
static bool running; /* started() has been called, and stopping() has not */

static uint64_t
fuzzTake(size_t size)
{
    uint64_t value = 0;

    size = MIN(size, left);
    memcpy(&value, input, size);
    input += size;
    left -= size;
    return value;
}

static int
fuzzMakeFile(int seal)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, MEMORY_SIZE) < 0 || (seal && fcntl(fd, F_ADD_SEALS, seal) < 0))
        abort();
    return fd;
}

static void
fuzzPrepare(void)
{
    if (memoryFd < 0) {
        memoryFd = fuzzMakeFile(F_SEAL_SHRINK);
        shortFd = fuzzMakeFile(0);
        eventFd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        memoryData = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memoryFd, 0);
        if (eventFd < 0 || memoryData == MAP_FAILED)
            abort();
    }
    memset(memoryData, 0, MEMORY_SIZE);
}

/* What a device does with a ring: takes a few chains, touches them, gives them back. */
static void
fuzzUseRing(Vring *vring, uint8_t how)
{
    static struct iovec iov[VRING_IOV_MAX];
    VringChain chain;
    unsigned int i;
    size_t j;

    if (!vring->memory)
        return;
    for (i = 0; i < 4 && vringPeek(vring, 0, &chain, iov, VRING_IOV_MAX) == VRING_CHAIN; i++) {
        for (j = 0; j < chain.nout + chain.nin; j++) {
            uint8_t *data = iov[j].iov_base;

            if (iov[j].iov_len == 0)
                abort();
            if (j >= chain.nout)
                data[0] = data[iov[j].iov_len - 1] = how;
            else if (data[0] == 1 && data[iov[j].iov_len - 1] == 2)
                how++;
        }
        vringUse(vring, chain.head, (uint32_t)chain.inSize);
    }
    if (how & 1 && vringPublish(vring))
        vhostUserNotify(vhostUser, how >> 1 & 1);
    if (how & 4)
        vringWantKicks(vring, (how & 8) != 0);
    if (vring->broken)
        vhostUserTellBroken(vhostUser, how >> 1 & 1);
}

static void
fuzzOnStarted(void *opaque G_GNUC_UNUSED)
{
    size_t i;

    if (running)
        abort();
    running = true;
    for (i = 0; i < VHOST_USER_RINGS_MAX; i++) {
        if (!vhostUserRing(vhostUser, i)->memory || !vhostUserMemory(vhostUser))
            abort();
    }
}

static void
fuzzOnStopping(void *opaque G_GNUC_UNUSED)
{
    if (!running)
        abort();
    running = false;
    fuzzUseRing(vhostUserRing(vhostUser, 0), 1);
    fuzzUseRing(vhostUserRing(vhostUser, 1), 3);
}

static void
fuzzOnFailed(void *opaque G_GNUC_UNUSED)
{
}

static const VhostUserCallbacks fuzzCallbacks = {
    .started = fuzzOnStarted,
    .stopping = fuzzOnStopping,
    .failed = fuzzOnFailed,
};

static int
fuzzOnDispatched(void *opaque G_GNUC_UNUSED)
{
    return POLLER_WAIT;
}

static void
fuzzSendMessage(int fd, const void *data, size_t size, const int *fds, size_t nfds)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)data, size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (nfds > 0) {
        struct cmsghdr *cmsg = &control.align;

        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
    }
    (void)!sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The memory as one or two regions, and what @odd makes of that */
static size_t
fuzzMakeTable(Message *message, uint8_t odd, int *fds)
{
    size_t n = odd & 0x10 ? fuzzTake(1) % (GUEST_MEMORY_REGIONS_MAX + 2) : 2;
    size_t size = MEMORY_SIZE / MAX(n, 1) & ~0xfffUL;
    size_t i;

    message->payload.memory.n = n;
    message->size = 8 + MIN(n, GUEST_MEMORY_REGIONS_MAX) * sizeof(GuestMemoryRegion);
    for (i = 0; i < MIN(n, GUEST_MEMORY_REGIONS_MAX + 1); i++) {
        message->payload.memory.regions[i] =
            (GuestMemoryRegion){i * size, size, USER_ADDRESS + i * size, i * size};
        fds[i] = memoryFd;
    }
    if (odd & 0x20 && n > 0) {
        uint64_t *field = (uint64_t *)(void *)&message->payload.memory.regions[0];

        i = fuzzTake(1) % (4 * MIN(n, GUEST_MEMORY_REGIONS_MAX));
        memcpy(&field[i], &(uint64_t){fuzzTake(odd & 0x80 ? 8 : 2)}, 8);
        fds[0] = odd & 0x40 ? shortFd : memoryFd;
    }
    return MIN(n, GUEST_MEMORY_REGIONS_MAX + 1);
}

/* Fills in the payload. Returns how many descriptors go with it. */
static size_t
fuzzMakePayload(Message *message, uint8_t odd, int *fds)
{
    uint32_t index = odd & 0x10 ? fuzzTake(1) : odd >> 7;
    uint32_t bits;

    switch (message->request) {
    case 2: /* SET_FEATURES: those that are offered */
        bits = fuzzTake(1);
        message->payload.u64 = bits & 0x80 ? fuzzTake(8) :
            (bits & 1ULL) << 32 | (bits >> 1 & 1ULL) << 29 | (bits >> 2 & 1ULL) << 28 |
            (bits >> 3 & 1ULL) << 30;
        return 0;
    case 5:
        return fuzzMakeTable(message, odd, fds);
    case 9: /* SET_VRING_ADDR */
        message->payload.address.index = index;
        message->payload.address.desc = USER_ADDRESS + (fuzzTake(2) & ~15ULL);
        message->payload.address.used = USER_ADDRESS + (fuzzTake(2) & ~3ULL);
        message->payload.address.avail = USER_ADDRESS + (fuzzTake(2) & ~1ULL);
        return 0;
    case 8: /* SET_VRING_NUM */
        message->payload.words[0] = index;
        message->payload.words[1] = odd & 0x20 ? fuzzTake(4) : 1U << fuzzTake(1) % 9;
        return 0;
    case 12:
    case 13:
    case 14: /* SET_VRING_KICK, _CALL, _ERR */
        message->payload.u64 = index | (odd & 0x20 ? 0x100 : 0);
        fds[0] = fds[1] = odd & 0x40 ? shortFd : eventFd;
        return odd & 0x20 ? 0 : 1;
    case 24: /* GET_CONFIG */
        message->payload.words[0] = fuzzTake(1);
        message->payload.words[1] = odd & 0x20 ? fuzzTake(4) : fuzzTake(1);
        return 0;
    default:
        if (message->size == 0)
            return 0;
        message->payload.words[0] = index;
        message->payload.words[1] = fuzzTake(odd & 0x20 ? 4 : 1);
        return 0;
    }
}

static void
fuzzMessage(int fd, uint8_t what)
{
    Message message = {0};
    uint8_t odd = fuzzTake(1);
    int fds[FDS_MAX] = {0};
    size_t nfds;

    message.request = requests[what % G_N_ELEMENTS(requests)].request;
    message.size = requests[what % G_N_ELEMENTS(requests)].size;
    message.flags = odd & 2 ? 9 : 1;
    nfds = fuzzMakePayload(&message, odd, fds);
    if ((odd & 5) == 5) {
        message.size = fuzzTake(2);
        message.flags = fuzzTake(1);
    }
    if ((odd & 9) == 9) {
        nfds = fuzzTake(1) % (FDS_MAX + 1);
        for (size_t i = 0; i < nfds; i++)
            fds[i] = memoryFd;
    }
    fuzzSendMessage(fd, &message, MIN(MESSAGE_HEADER + message.size, sizeof(message)), fds, nfds);
}

/* What the guest writes: a few bytes somewhere */
static void
fuzzWriteMemory(void)
{
    size_t where = fuzzTake(2);
    size_t size = fuzzTake(1);

    size = MIN(size, MIN(left, MEMORY_SIZE - where));
    memcpy(memoryData + where, input, size);
    input += size;
    left -= size;
}

/* Takes replies; each is complete when the loop has nothing more to do. */
static void
fuzzCheckReplies(int fd)
{
    GString *output = g_string_new(NULL);
    size_t at = 0;

    fuzzReceive(fd, output);
    while (at < output->len) {
        uint32_t header[3];

        if (output->len - at < sizeof(header))
            abort();
        memcpy(header, output->str + at, sizeof(header));
        if (header[1] != 5 || header[2] > 12 + 256 || header[2] > output->len - at - sizeof(header))
            abort();
        at += sizeof(header) + header[2];
    }
    g_string_free(output, TRUE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t config = 5;
    const VhostUserDevice device = {
        .name = "fuzz", .nrings = VHOST_USER_RINGS_MAX, .config = &config,
        .configSize = sizeof(config),
    };
    Poller *poller = pollerNew(fuzzOnDispatched, NULL);
    int fds[2];

    input = data;
    left = size;
    running = false;
    fuzzPrepare();
    fuzzSocketPair(fds);
    vhostUser = vhostUserNew(poller, fds[0], &device, &fuzzCallbacks, NULL);

    while (left > 0) {
        uint8_t what = fuzzTake(1);

        if (what < 0xa8)
            fuzzMessage(fds[1], what);
        else if (what < 0xc0)
            fuzzUseRing(vhostUserRing(vhostUser, what & 1), fuzzTake(1));
        else if (what < 0xd0)
            (void)!write(eventFd, &(uint64_t){1}, sizeof(uint64_t));
        else if (what < 0xd4)
            fuzzSendMessage(fds[1], "\1\0\0\0\1\0\0\0\0\0\0\0", fuzzTake(1) % 13, NULL, 0);
        else
            fuzzWriteMemory();
        fuzzRunLoop();
        fuzzCheckReplies(fds[1]);
    }

    vhostUserFree(vhostUser);
    pollerFree(poller);
    close(fds[1]);
    return 0;
}
