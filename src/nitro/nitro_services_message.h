/*
 * nitro_services_message.h: what a services process says, checked
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * As nitro_monitor_message.h for helpers: the process talks with an enclave and with networks, and is
 * not trusted. What comes out of here is about services that there are, and in its range. Pure: no
 * socket, no lock, no thread. The protocol is described in src/services/services_protocol.h.
 */

#pragma once

#include "nitro_domain_services.h"
#include "nitro_monitor_message.h"

/* Of one service. All numbers are told; where the service has none they are 0. */
typedef struct _nitroServiceStatus nitroServiceStatus;
struct _nitroServiceStatus {
    nitroServiceType type;
    unsigned int port;
    unsigned long long current;  /* connections now, */
    unsigned long long total;    /* and in all */
    unsigned long long received; /* bytes from the enclave */
    unsigned long long sent;     /* bytes to the enclave */
    unsigned long long refused;
    unsigned long long failed;
    unsigned long long lost;     /* lines */
    int healthy;                 /* 0 or 1; -1: not told */
    int code;                    /* 0 to 255; -1: not told */
};

typedef struct _nitroServicesStatus nitroServicesStatus;
struct _nitroServicesStatus {
    bool link;
    nitroServiceStatus *services; /* in the order of the definition */
    size_t n;
};

void nitroServicesStatusClear(nitroServicesStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroServicesStatus, nitroServicesStatusClear);

typedef enum {
    NITRO_SERVICES_TOLD_NOTHING, /* the greeting, an event of a newer version */
    NITRO_SERVICES_TOLD_REPLY,
    NITRO_SERVICES_TOLD_LINK_LOST,
    NITRO_SERVICES_TOLD_HEALTH,
    NITRO_SERVICES_TOLD_EXIT,
    NITRO_SERVICES_TOLD_GONE,    /* the connection has ended: the monitor's alone */
} nitroServicesTold;

typedef struct _nitroServicesMessage nitroServicesMessage;
struct _nitroServicesMessage {
    nitroServicesTold type;
    unsigned int port;   /* of health and exit */
    bool healthy;
    int code;            /* 0 to 255 */
    int id;              /* of the command that is answered */
    virJSONValue *reply; /* with either "return" or "error", which are objects */
};

void nitroServicesMessageClear(nitroServicesMessage *message);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(nitroServicesMessage, nitroServicesMessageClear);

/* Events that may come within NITRO_SERVICES_EVENTS_TIME */
#define NITRO_SERVICES_EVENTS_MAX 256
#define NITRO_SERVICES_EVENTS_TIME (60 * G_USEC_PER_SEC)

/* What has been said on a connection so far; a new one is from nitroServicesTalkInit() */
typedef struct _nitroServicesTalk nitroServicesTalk;
struct _nitroServicesTalk {
    nitroServiceStatus *services; /* that there are: type and port alone */
    size_t n;
    int protocol;  /* the version that the process speaks; 0: it has not greeted */
    int lastReply; /* the command that was answered last; 0: none */
    bool exited;   /* it has told an exit code */
    gint64 since;  /* us: when the first of the events was told that are counted */
    size_t events;
};

/* The talk with the process of the @n @services, of which nothing is kept but their types and ports */
void nitroServicesTalkInit(nitroServicesTalk *talk, const nitroServiceDef *services, size_t n);
void nitroServicesTalkClear(nitroServicesTalk *talk);

/*
 * Takes the next @len bytes, a line without its end, at the time @now, us of the monotonic clock.
 * @lastCommand is the id of the newest command that has been sent.
 *
 * Returns 0 with @message, which was all zeros, set, or -1 with @why set to a new text that says how
 * the process has broken the protocol; nothing may be taken from that connection any more.
 */
int nitroServicesTalkHear(nitroServicesTalk *talk,
                          const char *line,
                          size_t len,
                          gint64 now,
                          int lastCommand,
                          nitroServicesMessage *message,
                          char **why);

/*
 * Reads the "return" @data of query-services and finish. Returns 0 with @status set, or -1 with @why
 * set to a new text that says what is wrong with it.
 */
int nitroServicesStatusRead(nitroServicesStatus *status,
                            const nitroServicesTalk *talk,
                            virJSONValue *data,
                            char **why);
