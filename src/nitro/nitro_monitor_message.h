/*
 * nitro_monitor_message.h: what a helper says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lines of the control protocol -> messages. The helper is not trusted: what comes out of here is
 * in its range, comes in an order that makes sense, is bounded, and can be shown on terminals
 * and written to logs. Pure: no socket, no lock, no thread.
 *
 * The protocol is described in src/helper/helper_protocol.h.
 */

#pragma once

#include "internal.h"
#include "nitro_domain_conf.h"
#include "virjson.h"

/* What the daemon knows of an enclave, so that its helper cannot say otherwise */
typedef struct _nitroMonitorEnclave nitroMonitorEnclave;
struct _nitroMonitorEnclave {
    unsigned int cid; /* that it was given; 0: none */
    bool choosesCid;  /* one that was given none gets its CID from the hypervisor */
    size_t vcpus;
    bool fromStart;   /* its helper runs only from now on: no event has been missed */
};

typedef enum {
    NITRO_MONITOR_EVENT_STARTED,
    NITRO_MONITOR_EVENT_BOOTED,
    NITRO_MONITOR_EVENT_EXITED,
    NITRO_MONITOR_EVENT_FAILED,

    NITRO_MONITOR_EVENT_LAST
} nitroMonitorEventType;
VIR_ENUM_DECL(nitroMonitorEvent);

typedef struct _nitroMonitorEvent nitroMonitorEvent;
struct _nitroMonitorEvent {
    const char *name;   /* NITRO_EVENT_*, static, or NULL: the connection is gone */
    long long cid;      /* "started": the enclave's CID; -1: none was told */
    unsigned int *cpus; /* "started": host CPUs of the vCPUs; NULL: not told */
    size_t ncpus;       /* no more than the enclave has vCPUs */
    char **unprotected; /* "started": what of the confinement is missing; NULL: not told */
    char *reason;       /* "exited": NITRO_EXIT_*, or one of a newer helper's */
    char *code;         /* "failed": NITRO_FAILURE_*, or one of a newer helper's */
    char *text;         /* "failed": one sentence, printable */
    char *ioctl;        /* "failed": the call of the device that has; NULL: none has */
    int err;            /* with it: its errno; the driver has some of its own */
};

typedef struct _nitroMonitorStatus nitroMonitorStatus;
struct _nitroMonitorStatus {
    char *phase;        /* NITRO_PHASE_*, or one of a newer helper's */
    long long cid;      /* -1: not known yet */
    unsigned int *cpus; /* host CPUs of the vCPUs; NULL: not known */
    size_t ncpus;
    char **unprotected; /* what of the confinement is missing; NULL: not told */
};

/* What the loaded image measures to; hex digits, or NULL for a register that it does not set */
typedef struct _nitroMonitorMeasurements nitroMonitorMeasurements;
struct _nitroMonitorMeasurements {
    char *hash; /* "sha384" */
    char *pcr[NITRO_PCR_COUNT];
};

/* What has been said on a connection so far; a new one is { .enclave = ... } */
typedef struct _nitroMonitorTalk nitroMonitorTalk;
struct _nitroMonitorTalk {
    nitroMonitorEnclave enclave;
    int protocol;        /* the version that the helper speaks; 0: it has not greeted */
    unsigned int events; /* that have come: bits 1 << nitroMonitorEventType */
    size_t ignored;      /* events of a newer helper that have come */
    int lastReply;       /* the command that was answered last; 0: none */
};

typedef enum {
    NITRO_MONITOR_MESSAGE_NONE, /* nothing for anybody: the greeting, an event of a newer helper */
    NITRO_MONITOR_MESSAGE_EVENT,
    NITRO_MONITOR_MESSAGE_REPLY,
} nitroMonitorMessageType;

typedef struct _nitroMonitorMessage nitroMonitorMessage;
struct _nitroMonitorMessage {
    nitroMonitorMessageType type;
    nitroMonitorEvent event;
    int id;              /* of the command that is answered */
    virJSONValue *reply; /* with either "return" or "error", which are objects */
};

void nitroMonitorMessageClear(nitroMonitorMessage *message);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroMonitorMessage, nitroMonitorMessageClear);

/*
 * Takes the next @len bytes, a line without its end. @lastCommand is the id of the newest command
 * that has been sent; their ids count from 1.
 *
 * Returns 0 with @message, which was all zeros, set, or -1 with @why set to a new text that says
 * how the helper has broken the protocol; nothing may be taken from that connection any more.
 */
int nitroMonitorTalkHear(nitroMonitorTalk *talk,
                         const char *line,
                         size_t len,
                         int lastCommand,
                         nitroMonitorMessage *message,
                         char **why);

/* Whether the helper has said that its enclave has ended. */
bool nitroMonitorTalkIsOver(const nitroMonitorTalk *talk);

/*
 * Read what is in the "return" of a reply. Return 0, or -1 with @why set to a new text that
 * says what is wrong with it; what was set until then is the caller's in any case.
 */
int nitroMonitorStatusRead(nitroMonitorStatus *status,
                           const nitroMonitorEnclave *enclave,
                           virJSONValue *data,
                           char **why);
int nitroMonitorMeasurementsRead(nitroMonitorMeasurements *measurements,
                                 virJSONValue *data,
                                 char **why);

/*
 * Reads the member "unprotected" of @object, which may be the line of --probe as well. Returns 1
 * with @codes set (g_strfreev), 0 when there is none, or -1 with @why set.
 */
int nitroMonitorUnprotectedRead(virJSONValue *object, char ***codes, char **why);

void nitroMonitorStatusClear(nitroMonitorStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroMonitorStatus, nitroMonitorStatusClear);

void nitroMonitorMeasurementsClear(nitroMonitorMeasurements *measurements);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroMonitorMeasurements, nitroMonitorMeasurementsClear);

/*
 * Makes a helper's text fit to be shown: one line of printable UTF-8, without what changes how
 * other text is shown, and cut after NITRO_MONITOR_TEXT_MAX bytes. Returns a new string.
 */
char *nitroMonitorCleanText(const char *text);

#define NITRO_MONITOR_TEXT_MAX 2048

/*
 * Parses @line, one JSON object of our protocols that has no member twice. Returns a new value, or
 * NULL when it is none, without an error.
 */
virJSONValue *nitroMonitorParse(const char *line);

/* The same with at most @maxMembers of all objects in it, and @maxCommas */
virJSONValue *nitroMonitorParseLarge(const char *line, size_t maxMembers, size_t maxCommas);

/*
 * What follows, is for the talk with any process, as the headers of the protocols describe it. All of it sets
 * @why to a new text when the process does not keep to the protocol.
 */

/* The object that the @len bytes of @line are, bounded as above (virJSONValueFree), or NULL */
virJSONValue *nitroMonitorHearLine(const char *line,
                                   size_t len,
                                   size_t maxMembers,
                                   size_t maxCommas,
                                   char **why);

/*
 * Takes the greeting @name in @object: *@protocol is the version that the process speaks. Returns 0, or
 * -1, also when it does not speak @version.
 */
int nitroMonitorHearGreeting(virJSONValue *object,
                             const char *name,
                             int version,
                             int *protocol,
                             char **why);

/*
 * Takes the reply @object, which is the next after *@lastReply, of the commands up to @lastCommand.
 * Returns 0 with *@lastReply set to its id, or -1.
 */
int nitroMonitorHearReply(virJSONValue *object, int *lastReply, int lastCommand, char **why);

/* Members of @object. Return 1 with the value, 0 when there is none, or -1. */
int nitroMonitorGetNumber(virJSONValue *object,
                          const char *key,
                          long long min,
                          long long max,
                          long long *number,
                          char **why);
int nitroMonitorGetName(virJSONValue *object, const char *key, char **name, char **why);
