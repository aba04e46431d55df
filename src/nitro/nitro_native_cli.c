/*
 * nitro_native_cli.c: definitions as the configuration of nitro-cli
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What "nitro-cli run-enclave --config FILE" reads, a JSON object, from and to a
 * definition:
 *
 *   eif_path        string, required      <kernel>
 *   memory_mib      number, required      <memory>
 *   cpu_count       number   } one of     <vcpu>
 *   cpu_ids         numbers  } these      <vcpu cpuset=>
 *   enclave_name    string                <name>; else that of the image
 *   enclave_cid     number                <cid address=>; 0: any
 *   debug_mode      boolean               debug mode, and a console
 *   attach_console  boolean               nothing: "virsh start --console" does that
 *
 * It has no architecture: an enclave has its parent's. Null is the same as absent.
 */

#include <config.h>

#include "nitro_domain_conf.h"
#include "nitro_json.h"
#include "nitro_json_position.h"
#include "nitro_native.h"
#include "virerror.h"
#include "virjson.h"
#include "virstring.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

static int
nitroNativeCliReportType(const char *member,
                         const char *type)
{
    virReportError(VIR_ERR_INVALID_ARG,
                   _("member '%s' of nitro-cli's configuration is not %s"), member, type);
    return -1;
}


static int
nitroNativeCliGetString(virJSONValue *value,
                        const char *member,
                        char **string)
{
    const char *text = virJSONValueGetString(value);

    if (!text || !*text)
        return nitroNativeCliReportType(member, _("a string with text in it"));
    g_free(*string);
    *string = g_strdup(text);
    return 0;
}


static int
nitroNativeCliGetNumber(virJSONValue *value,
                        const char *member,
                        unsigned long long *number)
{
    const char *digits = virJSONValueGetNumberString(value);

    /* virJSON's own function takes a negative number for a large one */
    if (!digits || virStrToLong_ullp(digits, NULL, 10, number) < 0)
        return nitroNativeCliReportType(member, _("a whole number from 0 up"));
    return 0;
}


static int
nitroNativeCliGetBoolean(virJSONValue *value,
                         const char *member,
                         bool *boolean)
{
    if (virJSONValueGetBoolean(value, boolean) < 0)
        return nitroNativeCliReportType(member, _("true or false"));
    return 0;
}


static int
nitroNativeCliParseName(virJSONValue *value,
                        virDomainDef *def,
                        virDomainXMLOption *xmlopt G_GNUC_UNUSED)
{
    return nitroNativeCliGetString(value, "enclave_name", &def->name);
}


static int
nitroNativeCliParseImage(virJSONValue *value,
                         virDomainDef *def,
                         virDomainXMLOption *xmlopt G_GNUC_UNUSED)
{
    if (nitroNativeCliGetString(value, "eif_path", &def->os.kernel) < 0)
        return -1;

    if (!g_path_is_absolute(def->os.kernel)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("eif_path '%s' is not an absolute path: the daemon has another directory "
                         "than you"),
                       def->os.kernel);
        return -1;
    }
    return 0;
}


static int
nitroNativeCliParseMemory(virJSONValue *value,
                          virDomainDef *def,
                          virDomainXMLOption *xmlopt G_GNUC_UNUSED)
{
    unsigned long long memory;

    if (nitroNativeCliGetNumber(value, "memory_mib", &memory) < 0)
        return -1;

    if (memory > ULLONG_MAX / (1024 * 1024)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("memory_mib %llu is more than any host has"), memory);
        return -1;
    }
    nitroNativeSetMemory(def, memory * 1024);
    return 0;
}


static int
nitroNativeCliParseCpuCount(virJSONValue *value,
                            virDomainDef *def,
                            virDomainXMLOption *xmlopt)
{
    unsigned long long vcpus;

    if (nitroNativeCliGetNumber(value, "cpu_count", &vcpus) < 0)
        return -1;
    return nitroNativeSetVcpus(def, vcpus, xmlopt);
}


static int
nitroNativeCliParseCpuIds(virJSONValue *value,
                          virDomainDef *def,
                          virDomainXMLOption *xmlopt)
{
    g_autoptr(virBitmap) cpus = virBitmapNew(VIR_DOMAIN_CPUMASK_LEN);
    size_t i;

    if (!virJSONValueIsArray(value))
        return nitroNativeCliReportType("cpu_ids", _("an array of CPU numbers"));

    for (i = 0; i < virJSONValueArraySize(value); i++) {
        unsigned long long cpu;

        if (nitroNativeCliGetNumber(virJSONValueArrayGet(value, i), "cpu_ids", &cpu) < 0)
            return -1;

        if (cpu > NITRO_CPU_MAX) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("CPU %llu of cpu_ids is above the highest that is supported, %d"),
                           cpu, NITRO_CPU_MAX);
            return -1;
        }
        if (virBitmapIsBitSet(cpus, cpu)) {
            virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                           _("CPU %llu is in cpu_ids more than once"), cpu);
            return -1;
        }
        ignore_value(virBitmapSetBit(cpus, cpu));
    }

    if (nitroNativeSetVcpus(def, virBitmapCountBits(cpus), xmlopt) < 0)
        return -1;
    virBitmapFree(def->cpumask);
    def->cpumask = g_steal_pointer(&cpus);
    return 0;
}


static int
nitroNativeCliParseCid(virJSONValue *value,
                       virDomainDef *def,
                       virDomainXMLOption *xmlopt G_GNUC_UNUSED)
{
    unsigned long long cid;

    if (nitroNativeCliGetNumber(value, "enclave_cid", &cid) < 0)
        return -1;
    return nitroNativeSetCid(def, cid);
}


/* nitro-cli can show the console of each enclave in debug mode; so can libvirt then. */
static int
nitroNativeCliParseDebug(virJSONValue *value,
                         virDomainDef *def,
                         virDomainXMLOption *xmlopt)
{
    bool debug;

    if (nitroNativeCliGetBoolean(value, "debug_mode", &debug) < 0)
        return -1;
    if (!debug)
        return 0;

    nitroNativeSetDebug(def);
    return nitroNativeAddConsole(def, VIR_DOMAIN_CHR_TYPE_PTY, NULL, xmlopt);
}


static int
nitroNativeCliParseAttach(virJSONValue *value,
                          virDomainDef *def,
                          virDomainXMLOption *xmlopt G_GNUC_UNUSED)
{
    bool attach;

    if (nitroNativeCliGetBoolean(value, "attach_console", &attach) < 0)
        return -1;

    /* The members are looked at in the order of the table: debug_mode has been. */
    if (attach && !nitroDomainDefIsDebug(def)) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED, "%s",
                       _("attach_console needs \"debug_mode\": true: only an enclave in debug "
                         "mode has a console, and its measurements are zero"));
        return -1;
    }
    return 0;
}


static const struct {
    const char *name;
    int (*parse)(virJSONValue *value, virDomainDef *def, virDomainXMLOption *xmlopt);
} cliMembers[] = {
    { "enclave_name", nitroNativeCliParseName },
    { "eif_path", nitroNativeCliParseImage },
    { "memory_mib", nitroNativeCliParseMemory },
    { "cpu_count", nitroNativeCliParseCpuCount },
    { "cpu_ids", nitroNativeCliParseCpuIds },
    { "enclave_cid", nitroNativeCliParseCid },
    { "debug_mode", nitroNativeCliParseDebug },
    { "attach_console", nitroNativeCliParseAttach },
};


/* A member that is misspelt must not be one that has no effect. */
static int
nitroNativeCliCheckMembers(virJSONValue *object)
{
    size_t i;
    size_t j;

    for (i = 0; i < virJSONValueObjectKeysNumber(object); i++) {
        const char *key = virJSONValueObjectGetKey(object, i);

        for (j = 0; j < G_N_ELEMENTS(cliMembers); j++) {
            if (STREQ(cliMembers[j].name, key))
                break;
        }
        if (j == G_N_ELEMENTS(cliMembers)) {
            virReportError(VIR_ERR_INVALID_ARG,
                           _("nitro-cli's configuration has no member '%s'"), key);
            return -1;
        }
    }
    return 0;
}


/* The member @name, or NULL when it is absent or null. */
static virJSONValue *
nitroNativeCliGetMember(virJSONValue *object,
                        const char *name)
{
    virJSONValue *value = virJSONValueObjectGet(object, name);

    return value && virJSONValueGetType(value) != VIR_JSON_TYPE_NULL ? value : NULL;
}


static int
nitroNativeCliCheckRequired(virJSONValue *object)
{
    const char *required[] = { "eif_path", "memory_mib" };
    bool count = nitroNativeCliGetMember(object, "cpu_count");
    bool ids = nitroNativeCliGetMember(object, "cpu_ids");
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(required); i++) {
        if (!nitroNativeCliGetMember(object, required[i])) {
            virReportError(VIR_ERR_INVALID_ARG,
                           _("nitro-cli's configuration lacks the member '%s'"), required[i]);
            return -1;
        }
    }

    if (!count && !ids) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("nitro-cli's configuration needs one of the members 'cpu_count' and "
                         "'cpu_ids'"));
        return -1;
    }
    if (count && ids) {
        virReportError(VIR_ERR_INVALID_ARG, "%s",
                       _("nitro-cli's configuration has both members 'cpu_count' and 'cpu_ids': "
                         "remove one of them"));
        return -1;
    }
    return 0;
}


/* Here a fault has its line and column. */
static int
nitroNativeCliCheckText(const char *config)
{
    g_autofree char *why = NULL;
    unsigned int line;
    unsigned int column;
    size_t offset;

    if (nitroJsonCheck(config, true, &offset, &why) == 0)
        return 0;

    nitroJsonPosition(config, offset, &line, &column);
    virReportError(VIR_ERR_INVALID_ARG,
                   _("the description for format 'nitro-cli' is wrong in line %u, column %u: %s"),
                   line, column, why);
    return -1;
}


int
nitroNativeParseCli(const char *config,
                    virDomainDef *def,
                    virDomainXMLOption *xmlopt)
{
    g_autoptr(virJSONValue) object = NULL;
    size_t i;

    if (nitroNativeCliCheckText(config) < 0 ||
        !(object = nitroJsonFromString(config)))
        return -1;

    if (nitroNativeCliCheckMembers(object) < 0 ||
        nitroNativeCliCheckRequired(object) < 0)
        return -1;

    for (i = 0; i < G_N_ELEMENTS(cliMembers); i++) {
        virJSONValue *value = nitroNativeCliGetMember(object, cliMembers[i].name);

        if (value && cliMembers[i].parse(value, def, xmlopt) < 0)
            return -1;
    }
    return 0;
}


/* What QEMU's command line has a word for, and nitro-cli has not. */
static int
nitroNativeCliCheckFormat(const virDomainDef *def)
{
    const virDomainChrDef *console = nitroDomainDefGetConsole(def);

    if (def->os.initrd || def->os.cmdline) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format 'nitro-cli' has no counterpart of <%s>: build an EIF file of it "
                         "with virt-eif"),
                       def->os.initrd ? "initrd" : "cmdline");
        return -1;
    }
    if (console && console->source->type == VIR_DOMAIN_CHR_TYPE_FILE) {
        virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
                       _("format '%s' has no counterpart of a console of type '%s': use type "
                         "'pty'"),
                       NITRO_NATIVE_CLI, virDomainChrTypeToString(console->source->type));
        return -1;
    }
    return 0;
}


static int
nitroNativeCliFormatCpus(virJSONValue *object,
                         const virDomainDef *def)
{
    size_t ncpus;
    g_autofree unsigned int *cpus = nitroDomainDefGetCpus(def, &ncpus);
    g_autoptr(virJSONValue) ids = virJSONValueNewArray();
    size_t i;

    if (!cpus)
        return virJSONValueObjectAppendNumberUint(object, "cpu_count", virDomainDefGetVcpus(def));

    for (i = 0; i < ncpus; i++) {
        g_autoptr(virJSONValue) id = virJSONValueNewNumberUint(cpus[i]);

        if (virJSONValueArrayAppend(ids, &id) < 0)
            return -1;
    }
    return virJSONValueObjectAppend(object, "cpu_ids", &ids);
}


char *
nitroNativeFormatCli(virDomainDef *def)
{
    g_autoptr(virJSONValue) object = virJSONValueNewObject();
    unsigned int cid = nitroNativeGetCid(def);

    if (nitroNativeCliCheckFormat(def) < 0)
        return NULL;

    /* The memory is a multiple of 2 MiB: the checks have seen to it. */
    if (virJSONValueObjectAppendString(object, "enclave_name", def->name) < 0 ||
        virJSONValueObjectAppendString(object, "eif_path", def->os.kernel) < 0 ||
        virJSONValueObjectAppendNumberUlong(object, "memory_mib",
                                            virDomainDefGetMemoryTotal(def) / 1024) < 0 ||
        nitroNativeCliFormatCpus(object, def) < 0 ||
        (cid > 0 && virJSONValueObjectAppendNumberUint(object, "enclave_cid", cid) < 0) ||
        virJSONValueObjectAppendBoolean(object, "debug_mode", nitroDomainDefIsDebug(def)) < 0)
        return NULL;
    return virJSONValueToString(object, true);
}
