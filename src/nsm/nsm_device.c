/*
 * nsm_device.c: the NSM of the emulated machine as a virtio device
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: any event, be it a kick or a message of QEMU, ends in nsmDeviceRun(): the next two chains
 * -> the request, copied out of the guest's memory -> nsmHandle() -> the reply, into that.
 *
 * The registers outlive the driver: a guest that loads it again has the locks that it had. A
 * guest that restarts gets a new process.
 */

#include "nsm_device.h"

#include "common/log.h"
#include "vsock/iov.h"
#include "vsock/vhost_user.h"

/* Requests in a row, so that others get their turn */
#define DEVICE_BATCH 16

/* {"Error": "BufferTooSmall"}, for a buffer that has room for it */
static const uint8_t tooSmall[] = "\xa1\x65" "Error" "\x6e" "BufferTooSmall";

struct _NsmDevice {
    Poller *poller;
    VhostUser *vhostUser;
    Nsm *nsm;
    void (*ended)(bool broken, void *opaque);
    void *opaque;
    bool running; /* the guest's driver is there, and keeps to the rules */
    bool ready;   /* the registers are known */
    unsigned int waiting; /* chains that were there, one too few */
    LogLimit logLimit;
    struct iovec iov[2][VRING_IOV_MAX];
};

static void
nsmDevicePublish(NsmDevice *device)
{
    if (vringPublish(vhostUserRing(device->vhostUser, 0)))
        vhostUserNotify(device->vhostUser, 0);
}

static void
nsmDeviceBreak(NsmDevice *device, const char *why)
{
    logLimited(&device->logLimit, "nsm: the device stops until the guest's driver starts it again: %s",
               why);
    device->running = false;
    vhostUserTellBroken(device->vhostUser, 0);
}

/* What the guest does wrong with the two chains, static, or NULL */
static const char *
nsmDeviceCheck(const VringChain *request, const VringChain *reply)
{
    if (request->nin > 0)
        return "a request is a buffer that is to be written to";
    if (reply->nout > 0)
        return "the buffer for a reply is one that is to be read";
    if (reply->inSize < sizeof(tooSmall) - 1)
        return "the buffer for a reply has no room for an error";
    return NULL;
}

/* Answers the request in the chain @request into the chain @reply, and gives both back. */
static void
nsmDeviceAnswer(NsmDevice *device, const VringChain *request, const VringChain *reply)
{
    Vring *vring = vhostUserRing(device->vhostUser, 0);
    g_autofree uint8_t *copy = g_malloc(NSM_REQUEST_MAX + 1);
    g_autoptr(GByteArray) answer = NULL;
    const uint8_t *data = tooSmall;
    size_t len;

    /* One byte too many is enough to know that there are. */
    len = iovCopyFrom(request->iov, request->nout, copy, NSM_REQUEST_MAX + 1);
    answer = nsmHandle(device->nsm, copy, len);
    len = sizeof(tooSmall) - 1;
    if (answer->len <= reply->inSize) {
        data = answer->data;
        len = answer->len;
    }
    iovCopyTo(reply->iov, reply->nin, data, len);
    vringUse(vring, request->head, 0);
    vringUse(vring, reply->head, len);
}

/* Answers the next request. Returns whether there was one. */
static bool
nsmDeviceServe(NsmDevice *device)
{
    Vring *vring = vhostUserRing(device->vhostUser, 0);
    VringChain chains[2];
    const char *wrong;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(chains); i++) {
        VringResult result = vringPeek(vring, i, &chains[i], device->iov[i], VRING_IOV_MAX);

        device->waiting = i;
        if (result == VRING_EMPTY)
            return false;
        if (result != VRING_CHAIN) {
            nsmDeviceBreak(device, result == VRING_BROKEN ? vring->broken : "a chain is too long");
            return false;
        }
    }
    if ((wrong = nsmDeviceCheck(&chains[0], &chains[1]))) {
        vring->broken = wrong;
        nsmDeviceBreak(device, wrong);
        return false;
    }
    nsmDeviceAnswer(device, &chains[0], &chains[1]);
    nsmDevicePublish(device);
    return true;
}

/*
 * Asks to be told of the chain that is missing, and answers a request that has come meanwhile, of
 * which the guest has not told. Returns whether there was one.
 */
static bool
nsmDeviceAwait(NsmDevice *device)
{
    Vring *vring = vhostUserRing(device->vhostUser, 0);
    unsigned int waiting;

    do {
        waiting = device->waiting;
        vringWantKickAhead(vring, waiting);
        if (nsmDeviceServe(device))
            return true;
    } while (device->running && device->waiting != waiting);
    return false;
}

static int
nsmDeviceRun(void *opaque)
{
    NsmDevice *device = opaque;
    unsigned int i;

    for (i = 0; i < DEVICE_BATCH && device->running && device->ready; i++) {
        if (!nsmDeviceServe(device) && device->running && !nsmDeviceAwait(device))
            return POLLER_WAIT;
    }
    return device->running && device->ready ? 0 : POLLER_WAIT;
}

static void
nsmDeviceOnStarted(void *opaque)
{
    NsmDevice *device = opaque;

    device->running = true;
}

static void
nsmDeviceOnStopping(void *opaque)
{
    NsmDevice *device = opaque;

    device->running = false;
}

static void
nsmDeviceOnFailed(void *opaque)
{
    NsmDevice *device = opaque;

    device->running = false;
    device->ended(true, device->opaque);
}

static void
nsmDeviceOnEnded(void *opaque)
{
    NsmDevice *device = opaque;

    device->running = false;
    device->ended(false, device->opaque);
}

static const VhostUserCallbacks nsmDeviceCallbacks = {
    .started = nsmDeviceOnStarted,
    .stopping = nsmDeviceOnStopping,
    .failed = nsmDeviceOnFailed,
    .ended = nsmDeviceOnEnded,
};

NsmDevice *
nsmDeviceNew(int fd, Nsm *nsm, void (*ended)(bool broken, void *opaque), void *opaque)
{
    const VhostUserDevice vhostUserDevice = {.name = "nsm", .nrings = 1};
    NsmDevice *device = g_new0(NsmDevice, 1);

    device->nsm = nsm;
    device->ended = ended;
    device->opaque = opaque;
    device->poller = pollerNew(nsmDeviceRun, device);
    if (!device->poller) {
        g_free(device); /* which leaves errno alone */
        return NULL;
    }
    device->vhostUser = vhostUserNew(device->poller, fd, &vhostUserDevice, &nsmDeviceCallbacks,
                                     device);
    return device;
}

void
nsmDeviceFree(NsmDevice *device)
{
    vhostUserFree(device->vhostUser);
    pollerFree(device->poller);
    g_free(device);
}

void
nsmDeviceSetReady(NsmDevice *device)
{
    device->ready = true;
    pollerContinue(device->poller);
}
