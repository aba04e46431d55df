/*
 * validate.h: the parts of virt-nitro-validate
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each check is one line of output: validateCheck() says what is looked at, and one of
 * validatePass(), validateWarn() and validateFail() ends the line. The form is that of
 * libvirt's virt-host-validate.
 */

#pragma once

#include <glib.h>
#include <stdbool.h>

#include "nitro_conf.h"
#include "virjson.h"

/* What the lines start with: the machine type that needs what is checked, or the daemon */
#define VALIDATE_NITRO "nitro"
#define VALIDATE_EMULATED "nitro-enclave"
#define VALIDATE_DAEMON "virtnitrod"

/* Whether checks that pass are left out of the output; else all are shown. */
void validateSetQuiet(bool quiet);

/*
 * Whether the output is a report for others: what is a name of somebody's is not shown then.
 * validateShown() returns @name, or what stands for it there.
 */
void validateSetReport(bool report);
const char *validateShown(const char *name);

/* Begins the line of a check of @group, one of the names above. */
void validateCheck(const char *group, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* End the line. @format says what to do, as a sentence. */
void validatePass(void);
void validatePassWith(const char *format, ...) G_GNUC_PRINTF(1, 2);
void validateWarn(const char *format, ...) G_GNUC_PRINTF(1, 2);
void validateFail(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* A line of its own, which is no check */
void validateNote(const char *group, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Whether a check of @group has failed so far; warnings do not count. */
bool validateHasFailed(const char *group);


/*
 * The checks. @root is put in front of the paths of devices, of what the kernel tells and of
 * sockets: "" for this host, else the directory in which a test has made them.
 */

/* Module, device and group, CPU pool, vsock, heartbeat port (validate_device.c). */
void validateDevice(const char *root);

/* Huge pages, for each NUMA node (validate_hugepages.c). */
void validateHugepages(const char *root);

/*
 * The user of the helpers of the system's daemon, and what else is that daemon's part in
 * confining enclaves; for root. Sets whom they run as in @config. What the helper says about the
 * rest (validate_confine.c).
 */
void validateConfineUser(const char *root, nitroDriverConfig *config);
void validateConfine(const nitroDriverConfig *config);

/* QEMU and KVM, which the helpers of @config use (validate_emulated.c). */
void validateEmulated(const nitroDriverConfig *config);

/*
 * What the helper of @config prints for --probe; it takes seconds where KVM does not work, and is
 * the same each time. Returns a new object, or NULL with an error of libvirt's set.
 */
virJSONValue *validateProbe(const nitroDriverConfig *config);

/* The versions of what the report is of, and the kind of this host (validate_try.c). */
void validateVersions(const char *root, const char *group);

/*
 * Starts an enclave on the machine @group, with the file @image (NULL: the kernel of this host,
 * below @root), its helper that of @config; waits for what becomes of it, and ends it. Nothing of
 * it is left on return; when this process ends before, nothing soon (validate_try.c).
 */
void validateTry(const char *root,
                 const char *group,
                 const char *image,
                 const nitroDriverConfig *config);

/* The daemon of the system, or of the user who is not root (validate_daemon.c). */
void validateDaemon(const char *root);
