/*
 * helper_protocol.h: the protocols between virtnitrod, libvirt_nitro and the host's vsock broker
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one header that src/nitro and src/helper share. Only names are here: each
 * side has its own JSON library. First the control protocol; the broker's is below.
 *
 * The helper inherits a listening UNIX stream socket (--control-fd). Whoever
 * connects speaks JSON with it, one object a line, at most
 * NITRO_PROTOCOL_LINE_MAX bytes with the newline. The daemon connects before it
 * starts the helper, so that nothing of a failing start is lost; after a restart
 * of the daemon it connects again.
 *
 * Helper to client, at once on each connection, the greeting:
 *
 *   {"libvirt-nitro": {"protocol": 1, "version": "0.1.0"}}
 *
 * "protocol" is the newest version that the helper speaks. A new version adds members, events
 * and commands, and changes nothing that was there; so either side speaks with every other
 * one, and asks for nothing that the other's version has not. A helper that must break with
 * that says so with a member "oldest", the oldest version that it speaks still, which is 1
 * without it: a daemon whose own version is older takes nothing from that helper.
 *
 * Client to helper, a command; "id" is any integer and comes back. Commands are answered in
 * their order:
 *
 *   {"command": "query-status", "id": 1}
 *   {"command": "query-measurements", "id": 2}
 *   {"command": "terminate", "id": 3}
 *
 * Helper to client, the reply; "return" or "error", never both:
 *
 *   {"return": {...}, "id": 1}
 *   {"error": {"code": "unknown-command", "text": "..."}, "id": 1}
 *
 * query-status returns
 *
 *   {"phase": "running", "cid": 16, "cpus": [1, 3], "accel": "tcg"}
 *
 * where "cid", "cpus" and "accel" are there once they are known, "unprotected" (below) always,
 * and "reason" or "failure" (as in the events) once the enclave has ended. query-measurements
 * returns {"hash": "sha384", "pcr0": "hex", "pcr1": "hex", "pcr2": "hex",
 * "pcr8": "hex"}, pcr8 of signed images only; before the image has been
 * measured the error is "not-ready". terminate returns {} and ends the enclave;
 * the event "exited" follows.
 *
 * Helper to every client, events:
 *
 *   {"event": "started", "data": {"cid": 16, "cpus": [1, 3], "accel": "tcg"}}
 *   {"event": "booted", "data": {}}
 *   {"event": "exited", "data": {"reason": "poweroff"}}
 *   {"event": "failed", "data": {"code": "image", "text": "...",
 *                                "ioctl": "NE_ADD_VCPU", "errno": 257}}
 *
 * "started": the enclave's vCPUs run. "booted": it has sent its heartbeat; with
 * --no-heartbeat it follows "started" at once. "exited" and "failed" are final:
 * the helper closes the connection and ends. "failed" is the end of an enclave
 * that never booted, "exited" of one that had; "text" is one sentence for the
 * user; "ioctl" and "errno" are there when a device call failed.
 *
 * "started", what query-status returns, and the line of --probe have a member "unprotected", a
 * list of up to NITRO_UNPROTECTED_MAX different codes: what of the helper's and QEMU's
 * confinement this host does not have. When it is empty all is there. Helpers of versions that
 * confine nothing have no such member: without it nobody knows.
 *
 *   {"event": "started", "data": {"cid": 16, "unprotected": ["namespaces", "landlock"]}}
 *
 * Both sides ignore members that they do not know, and the daemon ignores events that it does
 * not know, up to NITRO_PROTOCOL_EVENTS_MAX on a connection: no version sends more. Names of
 * members, events, phases, reasons and codes are up to 32 letters, digits, "-" and "_". A line
 * has up to 64 members, and as many elements as there can be vCPUs.
 *
 * The daemon does not trust the helper. It ends the helper, and with it the enclave, that sends
 * what is nothing of the above: a line that is too long or no JSON object, an event twice, out
 * of order or without what belongs to it, a reply to no command, a CID that the enclave was not
 * given, more CPUs than it has vCPUs, or one twice. Texts are cut, and what is not printable in
 * them is replaced. The helper answers what is no
 * JSON object with the error "bad-request" and a line that is too long with the
 * error "line-too-long" (id null), then closes that connection.
 */

#pragma once

#define NITRO_PROTOCOL_VERSION 1

/* bytes, with the newline */
#define NITRO_PROTOCOL_LINE_MAX 65536

/* events on a connection that a daemon of version 1 does not know */
#define NITRO_PROTOCOL_EVENTS_MAX 256
#define NITRO_PROTOCOL_EVENT_SIZE_MAX 1024

#define NITRO_PROTOCOL_GREETING "libvirt-nitro"

#define NITRO_COMMAND_QUERY_STATUS "query-status"
#define NITRO_COMMAND_QUERY_MEASUREMENTS "query-measurements"
#define NITRO_COMMAND_TERMINATE "terminate"

#define NITRO_EVENT_STARTED "started"
#define NITRO_EVENT_BOOTED "booted"
#define NITRO_EVENT_EXITED "exited"
#define NITRO_EVENT_FAILED "failed"

/* "phase" of query-status, in order */
#define NITRO_PHASE_IMAGE "image"     /* the image is read and checked; on the device: to where
                                       * it will be booted from */
#define NITRO_PHASE_PREPARE "prepare" /* memory and vCPUs are given to the enclave */
#define NITRO_PHASE_BOOT "boot"       /* started, waiting for the heartbeat */
#define NITRO_PHASE_RUNNING "running" /* booted */
#define NITRO_PHASE_ENDED "ended"     /* "exited" or "failed" has been sent */

/* "reason" of the event "exited" */
#define NITRO_EXIT_TERMINATED "terminated" /* the command terminate, or SIGTERM or SIGINT */
#define NITRO_EXIT_POWEROFF "poweroff"     /* the guest powered off, or its hypervisor hung up */
#define NITRO_EXIT_REBOOT "reboot"         /* the guest reset itself */
#define NITRO_EXIT_PANIC "panic"           /* the guest's kernel panicked */
#define NITRO_EXIT_CRASHED "crashed"       /* what runs the enclave died (QEMU killed) */

/* "code" of the event "failed", and what the driver makes of it */
#define NITRO_FAILURE_CONFIG "config"           /* VIR_ERR_CONFIG_UNSUPPORTED: an option cannot work */
#define NITRO_FAILURE_IMAGE "image"             /* VIR_ERR_OPERATION_FAILED: the image is not good */
#define NITRO_FAILURE_RESOURCE "resource"       /* VIR_ERR_OPERATION_FAILED: memory, vCPUs,
                                                 * descriptors or the port are short */
#define NITRO_FAILURE_DEVICE "device"           /* VIR_ERR_OPERATION_FAILED: the hypervisor refused,
                                                 * and its driver does not say why */
#define NITRO_FAILURE_UNSUPPORTED "unsupported" /* VIR_ERR_OPERATION_UNSUPPORTED: not on this host */
#define NITRO_FAILURE_TIMEOUT "timeout"         /* VIR_ERR_OPERATION_TIMEOUT: no heartbeat in time */
#define NITRO_FAILURE_GUEST "guest"             /* VIR_ERR_OPERATION_FAILED: the guest ended before
                                                 * it had booted, or its heartbeat was wrong */
#define NITRO_FAILURE_INTERNAL "internal"       /* VIR_ERR_INTERNAL_ERROR */

/* What a host lacks, in "unprotected", and what a helper is told to do without (--without) */
#define NITRO_UNPROTECTED_NAMESPACES "namespaces" /* of the emulated machine's helper's own */
#define NITRO_UNPROTECTED_QEMU_NAMESPACES "qemu-namespaces" /* of QEMU's own */
#define NITRO_UNPROTECTED_LANDLOCK "landlock"     /* in their place for QEMU */

/* The driver's own: never on the wire */
#define NITRO_UNPROTECTED_USER "user"             /* helpers are root's, or of root's group */
#define NITRO_UNPROTECTED_ACL "acl"               /* the state directory can have no ACLs */
#define NITRO_UNPROTECTED_SERVICES "services-files" /* of the files that services can read */
#define NITRO_UNPROTECTED_UNKNOWN "unknown"       /* the helper does not tell: an earlier version */

/* codes at a time */
#define NITRO_UNPROTECTED_MAX 16

/* "code" of an error reply */
#define NITRO_ERROR_UNKNOWN_COMMAND "unknown-command"
#define NITRO_ERROR_BAD_REQUEST "bad-request"
#define NITRO_ERROR_LINE_TOO_LONG "line-too-long"
#define NITRO_ERROR_NOT_READY "not-ready"
#define NITRO_ERROR_INTERNAL "internal"

/*
 * The host's vsock broker (libvirt_nitro --broker) inherits a listening UNIX stream socket, too
 * (--listen-fd). The daemon connects, which does not wait for the broker, and passes the
 * connection to a helper (--broker-fd) that is to run an enclave on the device, or to a services
 * process, as its link. Lines are as above.
 *
 * Broker to client, the greeting. An older broker has no "services", and cannot have links:
 *
 *   {"libvirt-nitro-broker": {"protocol": 1, "services": 1}}
 *
 * A connection whose first line is "serve" is a link; src/services/services_protocol.h has what
 * follows. All others are helpers', and none of these becomes a link any more. So the daemon says
 * before it passes a connection to a helper, which must not ask for ports (an older broker ignores
 * it; without it the client is taken for a helper's after a moment):
 *
 *   {"command": "heartbeat"}
 *
 * Broker to helper, at once and with every change, how it is with port 9000 of the host's vsock,
 * which the broker has, or tries to get, while it has any helper:
 *
 *   {"event": "port-busy", "errno": 98}
 *   {"event": "listening"}
 *
 * Helper to broker, after NE_START_ENCLAVE, as only then the CID is known for sure; the port
 * must be "listening" before. A heartbeat that came before this command is held for some
 * seconds. "timeout" is how many seconds the helper waits; older helpers do not tell, and
 * have a day:
 *
 *   {"command": "expect", "cid": 16, "timeout": 180}
 *
 * Broker to helper, once for each such command, when the enclave has sent its heartbeat. It
 * has been answered, unless there is a "reason", one sentence that says what is wrong with it:
 *
 *   {"event": "heartbeat", "cid": 16}
 *   {"event": "heartbeat", "cid": 16, "reason": "..."}
 *
 * The broker closes the connection of a client that it does not understand, and of a helper that
 * is still there when its time is over. Members, events and commands that are not known are
 * ignored. It ends soon after its last client; a connection that was made before is served.
 */

#define NITRO_BROKER_PROTOCOL_VERSION 1

#define NITRO_BROKER_GREETING "libvirt-nitro-broker"

/* "services" of the greeting */
#define NITRO_BROKER_SERVICES_VERSION 1

#define NITRO_BROKER_COMMAND_HEARTBEAT "heartbeat"
#define NITRO_BROKER_COMMAND_EXPECT "expect"

#define NITRO_BROKER_EVENT_LISTENING "listening"
#define NITRO_BROKER_EVENT_PORT_BUSY "port-busy"
#define NITRO_BROKER_EVENT_HEARTBEAT "heartbeat"
