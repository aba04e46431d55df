/*
 * services_protocol.h: the protocols of libvirt_nitro_services, the process of an enclave's services
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What src/nitro, src/services and src/helper share of them; only names are here. Lines are as in
 * src/helper/helper_protocol.h: JSON, one object a line, at most NITRO_PROTOCOL_LINE_MAX bytes;
 * members, events and commands that are not known are ignored or answered with an error. A
 * descriptor comes with the first byte of its line (SCM_RIGHTS).
 *
 * There are three parties. The daemon starts one services process for each enclave that has
 * services. What hands over connections is called the switch here: on the emulated machine the
 * helper's vsock device, on the device the host's broker. The connection of a services process with
 * the switch is its link. The daemon makes the link, says there what the switch may do for it, and
 * hands it to the services process, which has no way to get another one.
 *
 * 1. The control socket: daemon - services process. The services process inherits a listening UNIX
 * stream socket (--control-fd). It greets, then answers commands in their order:
 *
 *   {"libvirt-nitro-services": {"protocol": 1, "version": "0.1.0"}}
 *
 *   {"command": "link", "id": 1}     with one descriptor, the link, or two: the second is a pidfd
 *                                    of the helper, after whose end it finishes by itself
 *   {"command": "query-services", "id": 2}
 *   {"command": "finish", "id": 3}
 *
 *   {"return": {...}, "id": 1}
 *   {"error": {"code": "bad-request", "text": "..."}, "id": 1}
 *
 * "link" replaces a link that there is; connections that were handed over live on. query-services
 * returns "link", whether there is one, and "services", a list in the order of the configuration:
 *
 *   {"link": true, "services": [{"type": "outbound", "port": 8443, "current": 2, "total": 9,
 *    "received": 1024, "sent": 2048, "refused": 0, "failed": 1, "lost": 0}]}
 *
 * "current" and "total" are connections now and in all, "received" bytes that came from the
 * enclave and "sent" bytes that went to it, "refused" what the configuration does not allow, "failed"
 * what could not be reached, "lost" lines of a log that were dropped. "health" has "healthy" once
 * that is known, and "exit" has "code" once it was told. "finish" takes no new connections, delivers what is under way,
 * for NITRO_SERVICES_FINISH_MS at most, answers as query-services does, and ends the process. SIGTERM
 * ends it at once.
 *
 * Events, to every client:
 *
 *   {"event": "link-lost", "data": {}}
 *   {"event": "health", "data": {"port": 5002, "healthy": false}}
 *   {"event": "exit", "data": {"port": 9001, "code": 3}}
 *
 * 2. The link. First the daemon, once; "enclave" as soon as the CID is known (the emulated machine's
 * switch has one enclave and ignores it):
 *
 *   {"command": "serve", "ports": [8443, 9514]}
 *   {"command": "enclave", "cid": 16}
 *
 * The switch answers "serve" with one of the events below, and closes the link after the latter. It
 * refuses a second "serve" or "enclave", by closing the link, so that the services process cannot ask
 * for more than the daemon did:
 *
 *   {"event": "serving"}
 *   {"event": "port-busy", "port": 8443, "errno": 98}
 *
 * Then a connection of the enclave with one of the ports, with its descriptor, a stream socket:
 *
 *   {"event": "connection", "port": 8443}
 *
 * and the services process may ask for a connection with a port of the enclave; the reply has the
 * descriptor, or the error says why there is none:
 *
 *   {"command": "connect", "id": 7, "port": 5000}
 *   {"return": {}, "id": 7}
 *   {"error": {"code": "refused", "errno": 104}, "id": 7}
 *
 * What the enclave connects to while nobody has the link is refused; until the link has been taken
 * by its services process it waits there.
 *
 * 3. The configuration: a GKeyFile that the services process reads from --config-fd to its end, at
 * most NITRO_SERVICES_CONFIG_MAX bytes. A group is a service, its name "TYPE PORT"; descriptors are
 * numbers that were inherited:
 *
 *   [outbound 8443]    host=kms.example.com  service=443, or path=/run/db.sock
 *   [inbound 5000]     fd=7 (a listening stream socket)
 *   [proxy 3128]       allow=*.example.com:443;10.0.0.0/8:5432;[2001:db8::/32]:443;host:*
 *   [log 9514]         fd=8  backups=9;10  max-size=2097152 (as those of the helper's own log)
 *   [syslog 9515]      name=DOMAIN (of the messages, which go to /dev/log)
 *   [time 1230]
 *   [health 5002]      interval=10 (seconds)  failures=3
 *   [exit 9001]
 *
 * 4. What enclaves say. To "time": a line of up to 64 bytes, of whatever; the answer is the host's
 * clock, seconds and nanoseconds since 1970: "1764480000.123456789\n". To "exit": the exit code of
 * the application, 0 to 255 in decimal digits, and a newline; nothing is answered. The first counts.
 * To "log" and "syslog": lines of text. "health" only connects and closes again.
 */

#pragma once

#define NITRO_SERVICES_PROTOCOL_VERSION 1

#define NITRO_SERVICES_GREETING "libvirt-nitro-services"

#define NITRO_SERVICES_COMMAND_LINK "link"
#define NITRO_SERVICES_COMMAND_QUERY "query-services"
#define NITRO_SERVICES_COMMAND_FINISH "finish"

#define NITRO_SERVICES_EVENT_LINK_LOST "link-lost"
#define NITRO_SERVICES_EVENT_HEALTH "health"
#define NITRO_SERVICES_EVENT_EXIT "exit"

/* ms */
#define NITRO_SERVICES_FINISH_MS 3000

/* bytes */
#define NITRO_SERVICES_CONFIG_MAX 65536

/* services of one enclave */
#define NITRO_SERVICES_MAX 64

#define NITRO_LINK_COMMAND_SERVE "serve"
#define NITRO_LINK_COMMAND_ENCLAVE "enclave"
#define NITRO_LINK_COMMAND_CONNECT "connect"

#define NITRO_LINK_EVENT_SERVING "serving"
#define NITRO_LINK_EVENT_PORT_BUSY "port-busy"
#define NITRO_LINK_EVENT_CONNECTION "connection"

/* "code" of an error on the link */
#define NITRO_LINK_ERROR_REFUSED "refused"
