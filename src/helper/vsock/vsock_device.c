/*
 * vsock_device.c: the vsock device of the emulated machine
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: any event, be it a kick, a socket or a message of QEMU, ends in vsockDeviceRun():
 * packets of the guest from the ring "tx" to vsockReceive(), packets for it from
 * vsockTransmit() to the ring "rx", until there is nothing to do or others must have
 * their turn. Data go straight between the guest's memory and the host's sockets.
 *
 * A ring that breaks the rules costs the guest its device: all connections are closed,
 * and nothing happens until the guest's driver starts the device again.
 */

#include "vsock/vsock_device.h"

#include "common/log.h"
#include "vsock/vhost_user.h"

enum {
    RING_RX = 0, /* to the guest */
    RING_TX = 1, /* from the guest */
};

/* Chains of one ring handled before the other has its turn, and turns in a row */
#define DEVICE_BATCH 64
#define DEVICE_ROUNDS 16

/*
 * A guest that sends at least DEVICE_BULK bytes at a time sends more: instead of waking up
 * for each packet, and waking it for each that is done, we look after a pause in which
 * about DEVICE_PORTION bytes come. That is less than kernels let a connection have under
 * way (256 KiB unless its program asks for more), so that the guest does not wait for us.
 * Pauses are in microseconds; the longest one delays the next packet of a guest that has
 * sent much before.
 */
#define DEVICE_BULK (16 * 1024)
#define DEVICE_PORTION (192 * 1024)
#define DEVICE_PAUSE_MIN 50
#define DEVICE_PAUSE_FIRST 150
#define DEVICE_PAUSE_MAX 2000

/* Packets of the guest, while there are more, that it is told of together when they are done */
#define DEVICE_PUBLISH 32

/*
 * Guest memory that has been touched is mapped here, too, and counts as ours, until such a
 * time without traffic has passed. What is touched again costs a page fault.
 */
#define DEVICE_TRIM_MS 200

struct _VsockDevice {
    Poller *poller;
    VhostUser *vhostUser;
    VsockHost *host;
    const VsockDeviceCallbacks *callbacks;
    void *opaque;
    bool running;      /* the guest's driver is there, and keeps to the rules */
    bool started;      /* once, or more often */
    bool busy;         /* since the trim timer last looked */
    uint64_t received; /* bytes of the guest since the last pause */
    unsigned int nreceived; /* packets that they came in */
    int pause;         /* the last one, DEVICE_PAUSE_FIRST before the first */
    guint trimTimer;
    guint finishTimer; /* 0: the guest has not ended, or all is delivered */
    LogLimit logLimit;
    struct iovec iov[VRING_IOV_MAX];
    VsockBuffer buffers[VSOCK_BUFFERS_MAX];
    VringChain chains[VSOCK_BUFFERS_MAX];
};

static void
vsockDevicePublish(VsockDevice *device, unsigned int index)
{
    if (vringPublish(vhostUserRing(device->vhostUser, index)))
        vhostUserNotify(device->vhostUser, index);
}

static void
vsockDeviceStop(VsockDevice *device)
{
    vsockDevicePublish(device, RING_TX);
    device->running = false;
    vsockHostSetReady(device->host, false);
    vsockReset(vsockHostEngine(device->host));
}

static void
vsockDeviceBreak(VsockDevice *device, unsigned int index, const char *why)
{
    logLimited(&device->logLimit, "vsock: the device stops until the guest's driver starts it "
               "again: in ring %u, %s", index, why);
    vsockDeviceStop(device);
    vhostUserTellBroken(device->vhostUser, index);
}

/* Packets of the guest. Returns whether there may be more. */
static bool
vsockDeviceReceive(VsockDevice *device)
{
    Vring *vring = vhostUserRing(device->vhostUser, RING_TX);
    Vsock *vsock = vsockHostEngine(device->host);
    VringChain chain;
    VringResult result = VRING_EMPTY;
    unsigned int i;

    for (i = 0; i < DEVICE_BATCH && vsockCanReceive(vsock); i++) {
        result = vringPeek(vring, 0, &chain, device->iov, G_N_ELEMENTS(device->iov));
        if (result != VRING_CHAIN)
            break;
        vsockReceive(vsock, chain.iov, chain.nout);
        device->received += chain.outSize;
        device->nreceived++;
        vringUse(vring, chain.head, 0);
    }
    /*
     * The guest gets its buffers back when all that is in them has been passed on, and many
     * at a time: nothing in it waits for them.
     */
    vsockFlush(vsock);
    if (vringUnpublished(vring) >= DEVICE_PUBLISH)
        vsockDevicePublish(device, RING_TX);
    if (result == VRING_BROKEN) {
        vsockDeviceBreak(device, RING_TX, vring->broken);
        return false;
    }
    return result == VRING_CHAIN && vsockCanReceive(vsock);
}

/* Collects up to @wanted buffers of the guest. Returns their number, 0 also when broken. */
static size_t
vsockDeviceCollect(VsockDevice *device, size_t wanted)
{
    Vring *vring = vhostUserRing(device->vhostUser, RING_RX);
    size_t entries = 0;
    size_t n;

    for (n = 0; n < wanted; n++) {
        VringChain *chain = &device->chains[n];
        VringResult result = vringPeek(vring, n, chain, device->iov + entries,
                                       G_N_ELEMENTS(device->iov) - entries);

        if (result == VRING_CHAIN && (chain->nout > 0 || chain->inSize <= VSOCK_HEADER_SIZE)) {
            vring->broken = "a receive buffer has no room for a packet";
            result = VRING_BROKEN;
        }
        if (result == VRING_BROKEN) {
            vsockDeviceBreak(device, RING_RX, vring->broken);
            return 0;
        }
        if (result != VRING_CHAIN)
            break;
        device->buffers[n] = (VsockBuffer){chain->iov, chain->nin, chain->inSize, 0};
        entries += chain->nin;
    }
    return n;
}

/* Packets for the guest. Returns whether there may be more, and buffers for them. */
static bool
vsockDeviceTransmit(VsockDevice *device)
{
    Vring *vring = vhostUserRing(device->vhostUser, RING_RX);
    Vsock *vsock = vsockHostEngine(device->host);
    size_t total = 0;
    size_t wanted = 0;
    size_t n = 0;
    size_t i;

    while (total < DEVICE_BATCH && (wanted = vsockWanted(vsock)) > 0) {
        size_t used;

        n = vsockDeviceCollect(device, wanted);
        if (n == 0)
            break;
        used = vsockTransmit(vsock, device->buffers, n);
        for (i = 0; i < used; i++)
            vringUse(vring, device->chains[i].head, device->buffers[i].used);
        total += used;
    }
    if (total > 0)
        vsockDevicePublish(device, RING_RX);
    return device->running && wanted > 0 && n > 0;
}

static bool
vsockDeviceHasChain(VsockDevice *device, unsigned int index)
{
    VringChain chain;

    return vringPeek(vhostUserRing(device->vhostUser, index), 0, &chain, device->iov,
                     G_N_ELEMENTS(device->iov)) != VRING_EMPTY;
}

/*
 * Nothing is left to do: asks for kicks, but only those that are of use. Returns whether
 * a chain has come in the meantime that would have been one.
 */
static bool
vsockDeviceSleep(VsockDevice *device)
{
    Vsock *vsock = vsockHostEngine(device->host);
    bool wantRx = vsockWanted(vsock) > 0;
    bool wantTx = vsockCanReceive(vsock);

    vringWantKicks(vhostUserRing(device->vhostUser, RING_RX), wantRx);
    vringWantKicks(vhostUserRing(device->vhostUser, RING_TX), wantTx);
    return (wantRx && vsockDeviceHasChain(device, RING_RX)) ||
           (wantTx && vsockDeviceHasChain(device, RING_TX));
}

static gboolean
vsockDeviceOnTrim(gpointer opaque)
{
    VsockDevice *device = opaque;
    const GuestMemory *memory = vhostUserMemory(device->vhostUser);

    if (device->busy) {
        device->busy = false;
        return G_SOURCE_CONTINUE;
    }
    if (memory)
        guestMemoryTrim(memory);
    device->trimTimer = 0;
    return G_SOURCE_REMOVE;
}

static void
vsockDeviceEndFinish(VsockDevice *device)
{
    g_source_remove(device->finishTimer);
    device->finishTimer = 0;
    device->callbacks->finished(device->opaque);
}

static gboolean
vsockDeviceOnFinishTimer(gpointer opaque)
{
    VsockDevice *device = opaque;

    logWarning("vsock: programs have not read in time what the guest sent before its end, on "
               "%zu of its connections", vsockCount(vsockHostEngine(device->host)));
    vsockDeviceEndFinish(device);
    return G_SOURCE_REMOVE;
}

/* There is nothing to do for now. Returns how long to wait: see pollerNew(). */
static int
vsockDeviceIdle(VsockDevice *device)
{
    uint64_t received = device->received;
    /*
     * The ring, too, may be what the guest waits for when its packets are small, each of which
     * takes up to three or four places in it.
     */
    bool full = device->nreceived >= vhostUserRing(device->vhostUser, RING_TX)->size / 4;

    device->received = device->nreceived = 0;
    if (received < DEVICE_BULK) {
        device->pause = DEVICE_PAUSE_FIRST;
        vsockDevicePublish(device, RING_TX);
        return vsockDeviceSleep(device) ? 0 : POLLER_WAIT;
    }
    if (full || received > DEVICE_PORTION)
        device->pause = MAX(device->pause / 2, DEVICE_PAUSE_MIN);
    else if (received < DEVICE_PORTION / 2)
        device->pause = MIN(device->pause * 2, DEVICE_PAUSE_MAX);
    return device->pause;
}

static int
vsockDeviceRun(void *opaque)
{
    VsockDevice *device = opaque;
    unsigned int round;

    if (device->finishTimer > 0 && vsockCount(vsockHostEngine(device->host)) == 0)
        vsockDeviceEndFinish(device);
    if (!device->running)
        return POLLER_WAIT;
    device->busy = true;
    if (device->trimTimer == 0)
        device->trimTimer = g_timeout_add(DEVICE_TRIM_MS, vsockDeviceOnTrim, device);

    for (round = 0; round < DEVICE_ROUNDS && device->running; round++) {
        bool more = vsockDeviceReceive(device);

        if (device->running && vsockDeviceTransmit(device))
            more = true;
        if (device->running && !more)
            return vsockDeviceIdle(device);
    }
    return device->running ? 0 : POLLER_WAIT;
}

static void
vsockDeviceOnStarted(void *opaque)
{
    VsockDevice *device = opaque;

    device->running = device->started = true;
    device->pause = DEVICE_PAUSE_FIRST;
    vsockHostSetReady(device->host, true);
}

static void
vsockDeviceOnStopping(void *opaque)
{
    VsockDevice *device = opaque;

    vsockDeviceDrain(device);
    vsockDeviceStop(device);
}

static void
vsockDeviceOnFailed(void *opaque)
{
    VsockDevice *device = opaque;

    vsockDeviceStop(device);
    device->callbacks->failed(device->opaque);
}

static const VhostUserCallbacks vsockDeviceVhostUserCallbacks = {
    .started = vsockDeviceOnStarted,
    .stopping = vsockDeviceOnStopping,
    .failed = vsockDeviceOnFailed,
};

VsockDevice *
vsockDeviceNew(int fd, uint32_t cid, bool dials, int listenFd, int servicesFd,
               const VsockDeviceCallbacks *callbacks, void *opaque)
{
    VsockDevice *device = g_new0(VsockDevice, 1);
    const uint64_t config = GUINT64_TO_LE((uint64_t)cid);
    /* QEMU itself serves the event queue. */
    const VhostUserDevice vhostUserDevice = {
        .name = "vsock", .nrings = 2, .config = &config, .configSize = sizeof(config),
    };

    device->callbacks = callbacks;
    device->opaque = opaque;
    device->poller = pollerNew(vsockDeviceRun, device);
    if (!device->poller) {
        g_free(device); /* which leaves errno alone */
        return NULL;
    }
    device->host = vsockHostNew(device->poller, cid, dials, listenFd, servicesFd,
                                callbacks->heartbeat, opaque);
    device->vhostUser = vhostUserNew(device->poller, fd, &vhostUserDevice,
                                     &vsockDeviceVhostUserCallbacks, device);
    return device;
}

void
vsockDeviceFree(VsockDevice *device)
{
    if (!device)
        return;
    if (device->trimTimer > 0)
        g_source_remove(device->trimTimer);
    if (device->finishTimer > 0)
        g_source_remove(device->finishTimer);
    vhostUserFree(device->vhostUser);
    vsockHostFree(device->host);
    pollerFree(device->poller);
    g_free(device);
}

bool
vsockDeviceWasStarted(const VsockDevice *device)
{
    return device->started;
}

void
vsockDeviceDrain(VsockDevice *device)
{
    unsigned int round;

    /* A guest that goes on sending is not listened to for ever. */
    for (round = 0; round < DEVICE_ROUNDS && device->running; round++) {
        if (!vsockDeviceReceive(device))
            break;
    }
}

void
vsockDeviceFinish(VsockDevice *device)
{
    vsockDeviceStop(device);
    vsockHostFinish(device->host);
    device->finishTimer = g_timeout_add(VSOCK_DEVICE_FINISH_MS, vsockDeviceOnFinishTimer, device);
    vsockDeviceRun(device);
}
