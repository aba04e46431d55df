/*
 * vhost_user.c: the back end's side of the vhost-user protocol
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: socket -> vhostUserRead() collects one message and its descriptors ->
 * vhostUserHandle() finds it in a table, checks its size -> one function for each ->
 * vhostUserUpdate() starts and stops the rings -> reply.
 *
 * Messages are handled one at a time and in order. Descriptors that came with one are
 * closed behind it unless its function has taken them.
 */

#include "vsock/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

/* Flags of a message */
#define VHOST_USER_VERSION 0x1
#define VHOST_USER_VERSION_MASK 0x3
#define VHOST_USER_REPLY 0x4
#define VHOST_USER_NEED_REPLY 0x8

/* Feature bit beside those of virtio */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

#define VHOST_USER_PROTOCOL_F_MQ 0
#define VHOST_USER_PROTOCOL_F_REPLY_ACK 3
#define VHOST_USER_PROTOCOL_F_CONFIG 9

#define VHOST_USER_FEATURES \
    (1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX | \
     1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VHOST_USER_F_PROTOCOL_FEATURES)
#define VHOST_USER_PROTOCOL_FEATURES \
    (1ULL << VHOST_USER_PROTOCOL_F_MQ | 1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK)

/* In the u64 of SET_VRING_KICK, _CALL and _ERR: no descriptor comes with it. */
#define VHOST_USER_RING_MASK 0xff
#define VHOST_USER_RING_NO_FD 0x100

#define VHOST_USER_CONFIG_MAX 256

/* Messages handled at once, so that others get their turn */
#define VHOST_USER_BATCH 32

typedef enum {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    RESET_OWNER = 4,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
} VhostUserRequest;

typedef struct {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of what follows, in bytes */
} VhostUserHeader;

typedef struct {
    uint32_t index;
    uint32_t value;
} VhostUserRingState;

typedef struct {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
} VhostUserRingAddress;

typedef struct {
    uint32_t n;
    uint32_t padding;
    GuestMemoryRegion regions[GUEST_MEMORY_REGIONS_MAX];
} VhostUserMemoryTable;

typedef struct {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[VHOST_USER_CONFIG_MAX];
} VhostUserConfig;

#define VHOST_USER_CONFIG_HEADER offsetof(VhostUserConfig, data)

/* On the socket a message begins with its header, and the payload follows at once. */
typedef struct {
    uint32_t padding; /* so that the payload is aligned */
    VhostUserHeader header;
    union {
        uint64_t u64;
        VhostUserRingState state;
        VhostUserRingAddress address;
        VhostUserMemoryTable memory;
        VhostUserConfig config;
        uint8_t bytes[1];
    } payload;
} VhostUserMessage;
G_STATIC_ASSERT(offsetof(VhostUserMessage, payload) ==
                offsetof(VhostUserMessage, header) + sizeof(VhostUserHeader));

typedef struct {
    VhostUser *owner;
    Vring vring;
    VringLayout layout;
    bool hasAddress;
    bool enabled;
    uint16_t base; /* index of the first chain to take */
    PollerWatch kick; /* fd -1: not started */
    int callFd;
    int errFd;
} VhostUserRing;

struct _VhostUser {
    Poller *poller;
    PollerWatch watch; /* fd -1: the connection is over */
    const VhostUserCallbacks *callbacks;
    void *opaque;
    uint64_t features;
    uint64_t protocolFeatures;
    const char *name;
    uint8_t config[VHOST_USER_CONFIG_MAX];
    size_t configSize;
    GuestMemory *memory;
    unsigned int nrings;
    VhostUserRing rings[VHOST_USER_RINGS_MAX];
    bool started; /* callbacks->started() has been called */

    VhostUserMessage message; /* what is being received */
    size_t received;          /* bytes of it */
    int fds[GUEST_MEMORY_REGIONS_MAX];
    size_t nfds;
};

/* Returns 0, or -1 when the message is refused; then a warning has been logged. */
typedef int (*VhostUserHandler)(VhostUser *vhostUser, VhostUserMessage *message);

static void
vhostUserCloseFd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void
vhostUserCloseFds(VhostUser *vhostUser)
{
    size_t i;

    for (i = 0; i < vhostUser->nfds; i++)
        vhostUserCloseFd(&vhostUser->fds[i]);
    vhostUser->nfds = 0;
}

static int
vhostUserRefuse(const VhostUser *vhostUser, const VhostUserMessage *message, const char *why)
{
    static LogLimit limit; /* a guest can make QEMU send such messages without end */

    logLimited(&limit, "%s: QEMU's vhost-user message %u is refused: %s", vhostUser->name,
               message->header.request, why);
    return -1;
}

static bool
vhostUserAllRun(const VhostUser *vhostUser)
{
    size_t i;

    for (i = 0; i < vhostUser->nrings; i++) {
        if (!vhostUser->rings[i].vring.memory)
            return false;
    }
    return true;
}

static bool
vhostUserShallRun(const VhostUser *vhostUser, const VhostUserRing *ring)
{
    bool enabled = ring->enabled ||
                   !(vhostUser->features & (1ULL << VHOST_USER_F_PROTOCOL_FEATURES));

    return vhostUser->memory && ring->hasAddress && ring->kick.fd >= 0 && enabled;
}

static void
vhostUserSignal(const VhostUser *vhostUser, int fd)
{
    static LogLimit limit;
    const uint64_t one = 1;

    /* EAGAIN: a notification is under way already. */
    if (fd >= 0 && write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        logLimited(&limit, "%s: the guest cannot be notified: %s", vhostUser->name,
                   g_strerror(errno));
}

/*
 * Keeps where a ring is in its chains. The guest gets back what has been used until now: nobody
 * will know of it when the ring runs again.
 */
static void
vhostUserStopRing(VhostUserRing *ring)
{
    if (!ring->vring.memory)
        return;
    if (vringPublish(&ring->vring))
        vhostUserSignal(ring->owner, ring->callFd);
    ring->base = ring->vring.availIndex;
    vringStop(&ring->vring);
}

/* The rings are not to run any longer, or cannot. */
static void
vhostUserStop(VhostUser *vhostUser)
{
    if (!vhostUser->started)
        return;
    vhostUser->started = false;
    vhostUser->callbacks->stopping(vhostUser->opaque);
}

/*
 * Brings the rings into the state that the messages so far make. The device is told of
 * all of them together: one alone is of no use to it.
 */
static int
vhostUserUpdate(VhostUser *vhostUser, const VhostUserMessage *message)
{
    bool eventIdx = (vhostUser->features & (1ULL << VIRTIO_RING_F_EVENT_IDX)) != 0;
    bool all = true;
    bool good = true;
    size_t i;

    for (i = 0; i < vhostUser->nrings; i++)
        all = all && vhostUserShallRun(vhostUser, &vhostUser->rings[i]);
    if (!all)
        vhostUserStop(vhostUser);

    for (i = 0; i < vhostUser->nrings; i++) {
        VhostUserRing *ring = &vhostUser->rings[i];

        if (!vhostUserShallRun(vhostUser, ring)) {
            vhostUserStopRing(ring);
        } else if (!ring->vring.memory &&
                   vringStart(&ring->vring, vhostUser->memory, &ring->layout, ring->base,
                              eventIdx) < 0) {
            ring->hasAddress = false;
            good = false;
        }
    }
    if (!good) {
        /* They may have run, in the memory that was there before. */
        vhostUserStop(vhostUser);
        return vhostUserRefuse(vhostUser, message, "a ring has a bad size, is misaligned, or is not in the "
                               "guest's memory: the device does not run");
    }

    if (!vhostUser->started && vhostUserAllRun(vhostUser)) {
        vhostUser->started = true;
        vhostUser->callbacks->started(vhostUser->opaque);
    }
    return 0;
}

static VhostUserRing *
vhostUserFindRing(VhostUser *vhostUser, uint64_t index, const VhostUserMessage *message)
{
    if (index < vhostUser->nrings)
        return &vhostUser->rings[index];
    vhostUserRefuse(vhostUser, message, "there is no such ring");
    return NULL;
}

static int
vhostUserGetFeatures(VhostUser *vhostUser G_GNUC_UNUSED, VhostUserMessage *message)
{
    message->payload.u64 = VHOST_USER_FEATURES;
    return 0;
}

static int
vhostUserSetFeatures(VhostUser *vhostUser, VhostUserMessage *message)
{
    if (message->payload.u64 & ~VHOST_USER_FEATURES)
        return vhostUserRefuse(vhostUser, message, "a feature was not offered");
    vhostUser->features = message->payload.u64;
    return vhostUserUpdate(vhostUser, message);
}

static int
vhostUserNothing(VhostUser *vhostUser G_GNUC_UNUSED, VhostUserMessage *message G_GNUC_UNUSED)
{
    return 0;
}

static int
vhostUserSetMemTable(VhostUser *vhostUser, VhostUserMessage *message)
{
    const VhostUserMemoryTable *table = &message->payload.memory;
    g_autoptr(GuestMemory) memory = NULL;
    g_autofree char *error = NULL;
    size_t i;

    if (message->header.size < 8 || table->n > GUEST_MEMORY_REGIONS_MAX ||
        message->header.size < 8 + table->n * sizeof(table->regions[0]) ||
        table->n != vhostUser->nfds)
        return vhostUserRefuse(vhostUser, message, "its regions and descriptors are not as many as it says");
    memory = guestMemoryNew(table->regions, vhostUser->fds, table->n, &error);
    if (!memory)
        return vhostUserRefuse(vhostUser, message, error);

    /* Rings that run go on where they are, in the new mappings. */
    for (i = 0; i < vhostUser->nrings; i++)
        vhostUserStopRing(&vhostUser->rings[i]);
    guestMemoryFree(vhostUser->memory);
    vhostUser->memory = g_steal_pointer(&memory);
    return vhostUserUpdate(vhostUser, message);
}

static int
vhostUserSetVringNum(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser, message->payload.state.index, message);

    if (!ring)
        return -1;
    if (ring->vring.memory)
        return vhostUserRefuse(vhostUser, message, "the ring runs");
    ring->layout.size = message->payload.state.value;
    return 0;
}

static int
vhostUserSetVringAddr(VhostUser *vhostUser, VhostUserMessage *message)
{
    const VhostUserRingAddress *address = &message->payload.address;
    VhostUserRing *ring = vhostUserFindRing(vhostUser, address->index, message);

    if (!ring)
        return -1;
    if (ring->vring.memory)
        return vhostUserRefuse(vhostUser, message, "the ring runs");
    ring->layout.desc = address->desc;
    ring->layout.avail = address->avail;
    ring->layout.used = address->used;
    ring->hasAddress = true;
    return vhostUserUpdate(vhostUser, message);
}

static int
vhostUserSetVringBase(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser, message->payload.state.index, message);

    if (!ring)
        return -1;
    if (ring->vring.memory)
        return vhostUserRefuse(vhostUser, message, "the ring runs");
    ring->base = (uint16_t)message->payload.state.value;
    return 0;
}

static void
vhostUserDropKick(VhostUser *vhostUser, VhostUserRing *ring)
{
    if (ring->kick.fd < 0)
        return;
    pollerRemove(vhostUser->poller, &ring->kick);
    vhostUserCloseFd(&ring->kick.fd);
}

static int
vhostUserGetVringBase(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser, message->payload.state.index, message);

    if (!ring)
        return -1;
    vhostUserDropKick(vhostUser, ring);
    vhostUserUpdate(vhostUser, message);
    ring->hasAddress = false;
    message->payload.state.value = ring->base;
    return 0;
}

/* Takes the descriptor of SET_VRING_KICK, _CALL or _ERR. */
static int
vhostUserTakeFd(VhostUser *vhostUser, const VhostUserMessage *message, int *fd)
{
    bool wanted = !(message->payload.u64 & VHOST_USER_RING_NO_FD);

    if (vhostUser->nfds != (wanted ? 1 : 0))
        return vhostUserRefuse(vhostUser, message, "it has not the one descriptor that it should");
    *fd = -1;
    if (wanted) {
        *fd = vhostUser->fds[0];
        vhostUser->nfds = 0;
        /* A write to it must never block; an eventfd of QEMU's is so already. */
        fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
    }
    return 0;
}

static void
vhostUserOnKick(PollerWatch *watch G_GNUC_UNUSED, uint32_t events G_GNUC_UNUSED)
{
    /* Edge-triggered: nothing has to be read. The poller's owner looks at the rings. */
}

static int
vhostUserSetVringKick(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser,
                                            message->payload.u64 & VHOST_USER_RING_MASK, message);
    int fd;

    if (!ring || vhostUserTakeFd(vhostUser, message, &fd) < 0)
        return -1;
    if (fd < 0)
        return vhostUserRefuse(vhostUser, message, "polling a ring is not supported");

    vhostUserDropKick(vhostUser, ring);
    ring->kick.fd = fd;
    if (pollerAdd(vhostUser->poller, &ring->kick, EPOLLIN | EPOLLET) < 0) {
        vhostUserCloseFd(&ring->kick.fd);
        return vhostUserRefuse(vhostUser, message, "its descriptor cannot be waited for");
    }
    return vhostUserUpdate(vhostUser, message);
}

static int
vhostUserSetNotifier(VhostUser *vhostUser, VhostUserMessage *message, bool call)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser,
                                            message->payload.u64 & VHOST_USER_RING_MASK, message);
    int *slot;
    int fd;

    if (!ring || vhostUserTakeFd(vhostUser, message, &fd) < 0)
        return -1;
    slot = call ? &ring->callFd : &ring->errFd;
    vhostUserCloseFd(slot);
    *slot = fd;
    return 0;
}

static int
vhostUserSetVringCall(VhostUser *vhostUser, VhostUserMessage *message)
{
    return vhostUserSetNotifier(vhostUser, message, true);
}

static int
vhostUserSetVringErr(VhostUser *vhostUser, VhostUserMessage *message)
{
    return vhostUserSetNotifier(vhostUser, message, false);
}

/* QEMU warns of a configuration space that is offered and that its device has not. */
static uint64_t
vhostUserOfferProtocol(const VhostUser *vhostUser)
{
    uint64_t config = vhostUser->configSize > 0 ? 1ULL << VHOST_USER_PROTOCOL_F_CONFIG : 0;

    return VHOST_USER_PROTOCOL_FEATURES | config;
}

static int
vhostUserGetProtocolFeatures(VhostUser *vhostUser, VhostUserMessage *message)
{
    message->payload.u64 = vhostUserOfferProtocol(vhostUser);
    return 0;
}

static int
vhostUserSetProtocolFeatures(VhostUser *vhostUser, VhostUserMessage *message)
{
    if (message->payload.u64 & ~vhostUserOfferProtocol(vhostUser))
        return vhostUserRefuse(vhostUser, message, "a protocol feature was not offered");
    vhostUser->protocolFeatures = message->payload.u64;
    return 0;
}

static int
vhostUserGetQueueNum(VhostUser *vhostUser, VhostUserMessage *message)
{
    message->payload.u64 = vhostUser->nrings;
    return 0;
}

static int
vhostUserSetVringEnable(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserRing *ring = vhostUserFindRing(vhostUser, message->payload.state.index, message);

    if (!ring)
        return -1;
    ring->enabled = message->payload.state.value != 0;
    return vhostUserUpdate(vhostUser, message);
}

/* A reply with no data tells that it was refused. */
static int
vhostUserGetConfig(VhostUser *vhostUser, VhostUserMessage *message)
{
    VhostUserConfig *config = &message->payload.config;

    if (message->header.size < VHOST_USER_CONFIG_HEADER ||
        config->size > vhostUser->configSize ||
        config->offset > vhostUser->configSize - config->size) {
        message->header.size = 0;
        return vhostUserRefuse(vhostUser, message, "that part of the configuration does not exist");
    }
    message->header.size = VHOST_USER_CONFIG_HEADER + config->size;
    memcpy(config->data, vhostUser->config + config->offset, config->size);
    return 0;
}

static const struct {
    VhostUserRequest request;
    uint32_t size; /* at least so many bytes of payload */
    bool replies;  /* with its payload, changed by the function */
    VhostUserHandler handler;
} vhostUserTable[] = {
    {GET_FEATURES, 0, true, vhostUserGetFeatures},
    {SET_FEATURES, 8, false, vhostUserSetFeatures},
    {SET_OWNER, 0, false, vhostUserNothing},
    {RESET_OWNER, 0, false, vhostUserNothing},
    {SET_MEM_TABLE, 8, false, vhostUserSetMemTable},
    {SET_VRING_NUM, sizeof(VhostUserRingState), false, vhostUserSetVringNum},
    {SET_VRING_ADDR, sizeof(VhostUserRingAddress), false, vhostUserSetVringAddr},
    {SET_VRING_BASE, sizeof(VhostUserRingState), false, vhostUserSetVringBase},
    {GET_VRING_BASE, sizeof(VhostUserRingState), true, vhostUserGetVringBase},
    {SET_VRING_KICK, 8, false, vhostUserSetVringKick},
    {SET_VRING_CALL, 8, false, vhostUserSetVringCall},
    {SET_VRING_ERR, 8, false, vhostUserSetVringErr},
    {GET_PROTOCOL_FEATURES, 0, true, vhostUserGetProtocolFeatures},
    {SET_PROTOCOL_FEATURES, 8, false, vhostUserSetProtocolFeatures},
    {GET_QUEUE_NUM, 0, true, vhostUserGetQueueNum},
    {SET_VRING_ENABLE, sizeof(VhostUserRingState), false, vhostUserSetVringEnable},
    {GET_CONFIG, VHOST_USER_CONFIG_HEADER, true, vhostUserGetConfig},
};

/* Returns false when the connection is to end. */
static bool
vhostUserReply(VhostUser *vhostUser, VhostUserMessage *message, uint32_t size)
{
    size_t length = sizeof(message->header) + size;

    message->header.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
    message->header.size = size;
    if (send(vhostUser->watch.fd, &message->header, length, MSG_DONTWAIT | MSG_NOSIGNAL) ==
        (ssize_t)length)
        return true;
    /* That QEMU has ended is seen when the next message is read. Its socket is never full. */
    return errno == EPIPE || errno == ECONNRESET;
}

/* Returns false when the connection is to end. */
static bool
vhostUserHandle(VhostUser *vhostUser)
{
    VhostUserMessage *message = &vhostUser->message;
    uint32_t flags = message->header.flags;
    bool ack = (flags & VHOST_USER_NEED_REPLY) != 0;
    size_t i;
    int rc;

    for (i = 0; i < G_N_ELEMENTS(vhostUserTable); i++) {
        if (vhostUserTable[i].request == message->header.request)
            break;
    }
    if (i == G_N_ELEMENTS(vhostUserTable)) {
        rc = vhostUserRefuse(vhostUser, message, "it is not supported");
    } else if (message->header.size < vhostUserTable[i].size) {
        vhostUserRefuse(vhostUser, message, "it is too short");
        return false;
    } else {
        rc = vhostUserTable[i].handler(vhostUser, message);
        if (vhostUserTable[i].replies) {
            uint32_t size = message->header.request == GET_CONFIG ? message->header.size : 8;

            /* Without its reply the front end would wait for ever. */
            return (rc == 0 || message->header.request == GET_CONFIG) &&
                   vhostUserReply(vhostUser, message, size);
        }
    }

    if (!ack)
        return true;
    message->payload.u64 = rc == 0 ? 0 : 1;
    return vhostUserReply(vhostUser, message, sizeof(uint64_t));
}

/* Takes over the descriptors in @header. Returns false when there are too many. */
static bool
vhostUserTakeFds(VhostUser *vhostUser, struct msghdr *header)
{
    struct cmsghdr *control;
    bool good = !(header->msg_flags & MSG_CTRUNC);

    for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        size_t n = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        size_t i;

        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        for (i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
            if (vhostUser->nfds < G_N_ELEMENTS(vhostUser->fds)) {
                vhostUser->fds[vhostUser->nfds++] = fd;
            } else {
                close(fd);
                good = false;
            }
        }
    }
    return good;
}

/* Receives up to @size more bytes of the message. Returns as recv() does. */
static ssize_t
vhostUserReceive(VhostUser *vhostUser, size_t size)
{
    union {
        struct cmsghdr align;
        char data[CMSG_SPACE(GUEST_MEMORY_REGIONS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {(uint8_t *)&vhostUser->message.header + vhostUser->received, size};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.data,
        .msg_controllen = sizeof(control.data),
    };
    ssize_t n = recvmsg(vhostUser->watch.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n >= 0 && !vhostUserTakeFds(vhostUser, &header)) {
        errno = EPROTO;
        return -1;
    }
    return n;
}

/* The connection is over; rings that run are left as they are. */
static void
vhostUserDisconnect(VhostUser *vhostUser)
{
    if (vhostUser->watch.fd < 0)
        return;
    pollerRemove(vhostUser->poller, &vhostUser->watch);
    vhostUserCloseFd(&vhostUser->watch.fd);
    vhostUserCloseFds(vhostUser);
}

/* Reads on, and handles a message that is complete. Returns 1, 0 for "no more now", or -1. */
static int
vhostUserRead(VhostUser *vhostUser)
{
    const VhostUserHeader *header = &vhostUser->message.header;
    size_t wanted = sizeof(*header);
    ssize_t n;
    bool good;

    if (vhostUser->received >= sizeof(*header))
        wanted += header->size;
    n = vhostUserReceive(vhostUser, wanted - vhostUser->received);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n == 0 || (n < 0 && errno == ECONNRESET)) {
        vhostUserDisconnect(vhostUser);
        if (vhostUser->callbacks->ended)
            vhostUser->callbacks->ended(vhostUser->opaque);
        return 0;
    }
    if (n < 0) {
        logError("%s: the connection with QEMU has failed: %s", vhostUser->name,
                 g_strerror(errno));
        return -1;
    }

    vhostUser->received += n;
    if (vhostUser->received < sizeof(*header))
        return 1;
    if (vhostUser->received == sizeof(*header)) {
        if (header->size > sizeof(vhostUser->message.payload) ||
            (header->flags & (VHOST_USER_VERSION_MASK | VHOST_USER_REPLY)) != VHOST_USER_VERSION) {
            logError("%s: QEMU has sent what is no vhost-user message", vhostUser->name);
            return -1;
        }
        memset(&vhostUser->message.payload, 0, sizeof(vhostUser->message.payload));
    }
    if (vhostUser->received < sizeof(*header) + header->size)
        return 1;

    vhostUser->received = 0;
    good = vhostUserHandle(vhostUser);
    vhostUserCloseFds(vhostUser);
    return good ? 1 : -1;
}

static void
vhostUserOnInput(PollerWatch *watch, uint32_t events G_GNUC_UNUSED)
{
    VhostUser *vhostUser = watch->opaque;
    int i;

    for (i = 0; i < VHOST_USER_BATCH; i++) {
        int rc = vhostUserRead(vhostUser);

        if (rc < 0) {
            vhostUserDisconnect(vhostUser);
            vhostUser->callbacks->failed(vhostUser->opaque);
        }
        if (rc <= 0)
            return;
    }
}

VhostUser *
vhostUserNew(Poller *poller, int fd, const VhostUserDevice *device,
             const VhostUserCallbacks *callbacks, void *opaque)
{
    VhostUser *vhostUser = g_new0(VhostUser, 1);
    size_t i;

    g_return_val_if_fail(device->configSize <= sizeof(vhostUser->config) &&
                         device->nrings <= G_N_ELEMENTS(vhostUser->rings), NULL);

    vhostUser->poller = poller;
    vhostUser->watch.fd = fd;
    vhostUser->watch.opaque = vhostUser;
    vhostUser->watch.ready = vhostUserOnInput;
    vhostUser->callbacks = callbacks;
    vhostUser->opaque = opaque;
    vhostUser->name = device->name;
    vhostUser->nrings = device->nrings;
    if (device->configSize > 0)
        memcpy(vhostUser->config, device->config, device->configSize);
    vhostUser->configSize = device->configSize;
    for (i = 0; i < vhostUser->nrings; i++) {
        vhostUser->rings[i].kick.fd = vhostUser->rings[i].callFd = vhostUser->rings[i].errFd = -1;
        vhostUser->rings[i].kick.ready = vhostUserOnKick;
        vhostUser->rings[i].owner = vhostUser;
    }
    if (pollerAdd(poller, &vhostUser->watch, EPOLLIN) < 0)
        logError("%s: the connection with QEMU cannot be watched", device->name);
    return vhostUser;
}

void
vhostUserFree(VhostUser *vhostUser)
{
    size_t i;

    if (!vhostUser)
        return;
    vhostUserDisconnect(vhostUser);
    for (i = 0; i < vhostUser->nrings; i++) {
        VhostUserRing *ring = &vhostUser->rings[i];

        vhostUserDropKick(vhostUser, ring);
        vhostUserCloseFd(&ring->callFd);
        vhostUserCloseFd(&ring->errFd);
    }
    guestMemoryFree(vhostUser->memory);
    g_free(vhostUser);
}

Vring *
vhostUserRing(VhostUser *vhostUser, unsigned int index)
{
    return &vhostUser->rings[index].vring;
}

void
vhostUserNotify(VhostUser *vhostUser, unsigned int index)
{
    vhostUserSignal(vhostUser, vhostUser->rings[index].callFd);
}

void
vhostUserTellBroken(VhostUser *vhostUser, unsigned int index)
{
    vhostUserSignal(vhostUser, vhostUser->rings[index].errFd);
}

const GuestMemory *
vhostUserMemory(const VhostUser *vhostUser)
{
    return vhostUser->memory;
}
