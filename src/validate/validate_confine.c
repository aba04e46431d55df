/*
 * validate_confine.c: checks of what confines enclaves on this host
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * nitro.conf -> the user of the helpers -> what the helper, run as that user, says that is missing.
 * Of the user's own daemon there is only the last.
 */

#include <config.h>

#include <sys/acl.h>
#include <sys/types.h>
#include <unistd.h>

#include "configmake.h"
#include "helper_protocol.h"
#include "nitro_unprotected.h"
#include "validate.h"
#include "virconf.h"
#include "virerror.h"
#include "virfile.h"
#include "virutil.h"

#define USER "libvirt-nitro"

/* What the helper tells of, and what is looked for */
static const struct {
    const char *code;
    const char *check;
} validateParts[] = {
    { NITRO_UNPROTECTED_NAMESPACES, N_("if helpers can have namespaces of their own") },
    { NITRO_UNPROTECTED_QEMU_NAMESPACES, N_("if QEMU can have namespaces of its own") },
    { NITRO_UNPROTECTED_LANDLOCK, N_("if Landlock can stand in for namespaces") },
};

static bool required; /* security_required: what is missing is an error */


/* Ends the line of the part @code, which is missing. */
static void
validateMissing(const char *code)
{
    g_autofree char *text = nitroUnprotectedDescribe(code);

    if (required)
        validateFail(_("%s; nitro.conf has security_required = 1"), text);
    else
        validateWarn("%s", text);
}


/*
 * The system's nitro.conf below @root, as far as it is about this. Returns the user's name, with
 * @group set, that of the group (g_free; NULL: the user's own).
 */
static char *
validateReadConf(const char *root,
                 char **group)
{
    g_autofree char *path = g_strconcat(root, SYSCONFDIR "/libvirt/nitro.conf", NULL);
    g_autoptr(virConf) conf = NULL;
    g_autofree char *user = NULL;

    if (virFileExists(path) &&
        (!(conf = virConfReadFile(path, 0)) ||
         virConfGetValueString(conf, "user", &user) < 0 ||
         virConfGetValueString(conf, "group", group) < 0 ||
         virConfGetValueBool(conf, "security_required", &required) < 0)) {
        validateCheck(VALIDATE_DAEMON, _("for settings in %s"), path);
        validateFail("%s", virGetLastErrorMessage());
        virResetLastError();
    }
    return user ? g_steal_pointer(&user) : g_strdup(USER);
}


/* Finds @name and @group, as whom helpers run; without them the daemon does not start. */
static void
validateUser(const char *name,
             const char *group,
             nitroDriverConfig *config)
{
    const char *shown = STREQ(name, USER) ? name : validateShown(name);
    g_autofree gid_t *groups = NULL;

    validateCheck(VALIDATE_DAEMON, _("for the user '%s', whom helpers run as"), shown);
    if (virGetUserID(name, &config->user) < 0) {
        virResetLastError();
        validateFail(_("Make it with 'systemd-sysusers' or 'useradd --system --user-group --groups kvm %s', or name another 'user' in nitro.conf"),
                     shown);
        return;
    }
    if (virGetGroupList(config->user, (gid_t)-1, &groups) > 0)
        config->group = groups[0];
    if (group && virGetGroupID(group, &config->group) < 0) {
        virResetLastError();
        validateFail(_("There is no group '%s': name another 'group' in nitro.conf, or none for the user's own"),
                     validateShown(group));
        return;
    }
    if (config->user == 0 || config->group == 0)
        validateMissing(NITRO_UNPROTECTED_USER);
    else
        validatePass();
}


/* Directories for the sockets of emulated enclaves are to be made below. */
static void
validateAcl(const char *root)
{
    g_autofree char *state = g_strconcat(root, RUNSTATEDIR "/libvirt/nitro", NULL);
    g_autofree char *run = g_strconcat(root, RUNSTATEDIR, NULL);
    const char *path = virFileIsDir(state) ? state : run;
    acl_t acl;

    validateCheck(VALIDATE_DAEMON, _("if %s can have access control lists"), path);
    if ((acl = acl_get_file(path, ACL_TYPE_DEFAULT))) {
        acl_free(acl);
        validatePass();
    } else if (errno == EOPNOTSUPP) {
        validateMissing(NITRO_UNPROTECTED_ACL);
    } else {
        validateWarn(_("%s: it is not known"), g_strerror(errno));
    }
}


/* What the process of vsock services is confined by; no other one needs it on all hosts. */
static void
validateServices(void)
{
    int rc;

    validateCheck(VALIDATE_DAEMON, "%s", _("if Landlock can limit what vsock services read"));
    if ((rc = nitroUnprotectedFindLandlock()) > 0) {
        validatePass();
    } else if (rc == 0) {
        validateMissing(NITRO_UNPROTECTED_SERVICES);
    } else {
        validateWarn("%s", virGetLastErrorMessage());
        virResetLastError();
    }
}


void
validateConfineUser(const char *root,
                    nitroDriverConfig *config)
{
    g_autofree char *group = NULL;
    g_autofree char *user = NULL;

    if (geteuid() != 0)
        return;

    user = validateReadConf(root, &group);
    validateUser(user, group, config);
    validateAcl(root);
}


/* Whether @code is in the list @array of the helper's */
static bool
validateLacks(virJSONValue *array,
              const char *code)
{
    size_t n = virJSONValueArraySize(array);
    size_t i;

    for (i = 0; i < n; i++) {
        if (STREQ_NULLABLE(virJSONValueGetString(virJSONValueArrayGet(array, i)), code))
            return true;
    }
    return false;
}


void
validateConfine(const nitroDriverConfig *config)
{
    g_autoptr(virJSONValue) object = validateProbe(config);
    virJSONValue *array;
    size_t i;

    validateServices();
    if (!object) {
        validateCheck(VALIDATE_DAEMON, "%s", _("what confines helpers"));
        validateFail(_("%s cannot be run: %s"), config->helper, virGetLastErrorMessage());
        return;
    }

    array = virJSONValueObjectGet(object, "unprotected");
    if (!array || !virJSONValueIsArray(array)) {
        validateCheck(VALIDATE_DAEMON, "%s", _("what confines helpers"));
        validateFail(_("%s does not tell: install the version of the helper that goes with this program"),
                     config->helper);
        return;
    }
    for (i = 0; i < G_N_ELEMENTS(validateParts); i++) {
        validateCheck(VALIDATE_DAEMON, "%s", _(validateParts[i].check));
        if (validateLacks(array, validateParts[i].code))
            validateMissing(validateParts[i].code);
        else
            validatePass();
    }
}
