/*
 * nitro_native.h: definitions in the formats of other tools
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The formats of virConnectDomainXMLFromNative() and virConnectDomainXMLToNative():
 *
 *   nitro-cli  what "nitro-cli run-enclave --config" reads, a JSON object
 *   qemu-argv  the command line of QEMU's machines "nitro" and, to read, "nitro-enclave"
 *
 * A conversion is without loss, or it fails: what only one side can say is an error that
 * names it. Left out in silence is what is libvirt's own and not the enclave's: title,
 * description, metadata and the actions of <on_*>.
 */

#pragma once

#include "domain_conf.h"

/* More than any of these descriptions needs, in bytes; it bounds the parsers' work. */
#define NITRO_NATIVE_CONFIG_MAX (32 * 1024)

/*
 * Reads @config, which is in @format. @arch is that of a format that names none.
 *
 * Returns a definition that has been through the defaults and checks of @xmlopt, with a
 * new UUID if @config has none (owned by the caller); or NULL with an error set:
 * VIR_ERR_INVALID_ARG for an unknown @format and for a @config that is malformed,
 * VIR_ERR_CONFIG_UNSUPPORTED for one that asks for what an enclave cannot have.
 */
virDomainDef *nitroNativeParse(const char *format,
                               const char *config,
                               virArch arch,
                               virDomainXMLOption *xmlopt);

/*
 * Writes @def, which has been through the parser, in @format.
 *
 * Returns the text (g_free), or NULL with an error set: VIR_ERR_INVALID_ARG for an
 * unknown @format, VIR_ERR_CONFIG_UNSUPPORTED for what @format cannot say.
 */
char *nitroNativeFormat(const char *format,
                        virDomainDef *def);


/* For the files of the formats: nitro_native_cli.c, nitro_native_qemu.c and _shell.c */

#define NITRO_NATIVE_CLI "nitro-cli"
#define NITRO_NATIVE_QEMU "qemu-argv"

/* Each reads into @def, which nitroNativeParse() has made and will complete. */
int nitroNativeParseCli(const char *config,
                        virDomainDef *def,
                        virDomainXMLOption *xmlopt);
int nitroNativeParseQemu(const char *config,
                         virDomainDef *def,
                         virDomainXMLOption *xmlopt);

/* Each writes @def, in which nitroNativeFormat() has found nothing that no format can say. */
char *nitroNativeFormatCli(virDomainDef *def);
char *nitroNativeFormatQemu(virDomainDef *def);

/*
 * Splits @config, one command of a shell, into its words (g_strfreev). Returns NULL with an
 * error set (VIR_ERR_INVALID_ARG) when it is empty, has control characters or a quotation that
 * does not end, or when a shell would do more with it than undo its quoting.
 */
char **nitroNativeSplitShell(const char *config);

/* Sets the memory of @def, in KiB. */
void nitroNativeSetMemory(virDomainDef *def,
                          unsigned long long memory);

/* Sets the number of vCPUs, 1 to NITRO_VCPUS_MAX. Returns 0, or -1 with an error set. */
int nitroNativeSetVcpus(virDomainDef *def,
                        unsigned long long vcpus,
                        virDomainXMLOption *xmlopt);

/* Asks for the CID @cid, or for any one with 0. Returns 0, or -1 with an error set. */
int nitroNativeSetCid(virDomainDef *def,
                      unsigned long long cid);

/* Switches the debug mode on. */
void nitroNativeSetDebug(virDomainDef *def);

/* Adds a console of @type; @path for a file, else NULL (copied). */
int nitroNativeAddConsole(virDomainDef *def,
                          virDomainChrType type,
                          const char *path,
                          virDomainXMLOption *xmlopt);

/* The CID that an inactive @def asks for; 0: any. */
unsigned int nitroNativeGetCid(const virDomainDef *def);
