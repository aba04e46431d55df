/*
 * nitro_driver_security.c: the entry points that are about what protects an enclave
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The helper's measurements of the image that it has loaded -> typed parameters. And the labels
 * of security drivers, of which there are none.
 */

#include <config.h>

#include "datatypes.h"
#include "nitro_domain.h"
#include "nitro_domain_conf.h"
#include "nitro_driver_security.h"
#include "nitro_monitor.h"
#include "viraccessapicheck.h"
#include "virerror.h"
#include "virtypedparam.h"

#define VIR_FROM_THIS VIR_FROM_NITRO

/* ms: how long a helper may take to measure an image; it reads about 300 MiB in a second */
#define NITRO_MEASURE_TIMEOUT 30000


/* Returns 0, or -1 with an error set; @params are the caller's then, too. */
static int
nitroSecurityMakeParams(const nitroMonitorMeasurements *measurements,
                        bool debug,
                        virTypedParameterPtr *params,
                        int *nparams)
{
    int max = 0;
    size_t i;

    if (virTypedParamsAddString(params, nparams, &max, "nitro-hash", measurements->hash) < 0)
        return -1;

    for (i = 0; i < NITRO_PCR_COUNT; i++) {
        g_autofree char *field = g_strdup_printf("nitro-pcr%zu", i);

        if (measurements->pcr[i] &&
            virTypedParamsAddString(params, nparams, &max, field, measurements->pcr[i]) < 0)
            return -1;
    }
    return virTypedParamsAddBoolean(params, nparams, &max, "nitro-attested-zero", debug);
}


/*
 * The monitor of the running domain @vm, a reference of its own; NULL with an error
 * set when there is none, or not yet.
 */
static nitroMonitor *
nitroSecurityGetMonitor(virDomainObj *vm)
{
    nitroDomainObjPrivate *priv = vm->privateData;

    if (virDomainObjCheckActive(vm) < 0)
        return NULL;
    if (!priv->run.mon) {
        virReportError(VIR_ERR_OPERATION_INVALID,
                       _("there is no connection with the helper of domain '%s' yet, which loads its image: try again"),
                       vm->def->name);
        return NULL;
    }
    return virObjectRef(priv->run.mon);
}


int
nitroDomainGetLaunchSecurityInfo(virDomainPtr dom,
                                 virTypedParameterPtr *params,
                                 int *nparams,
                                 unsigned int flags)
{
    g_auto(nitroMonitorMeasurements) measurements = { 0 };
    g_autoptr(nitroMonitor) mon = NULL;
    virTypedParameterPtr found = NULL;
    virDomainObj *vm;
    bool debug = false;
    int nfound = 0;

    virCheckFlags(VIR_TYPED_PARAM_STRING_OKAY, -1);

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetLaunchSecurityInfoEnsureACL(dom->conn, vm->def) == 0 &&
        (mon = nitroSecurityGetMonitor(vm)))
        debug = nitroDomainDefIsDebug(vm->def);
    virDomainObjEndAPI(&vm);

    /* No lock and no job is held while the helper measures: the domain may be
     * destroyed meanwhile, which ends the wait. */
    if (!mon || nitroMonitorQueryMeasurements(mon, NITRO_MEASURE_TIMEOUT, &measurements) < 0)
        return -1;

    if (nitroSecurityMakeParams(&measurements, debug, &found, &nfound) < 0) {
        virTypedParamsFree(found, nfound);
        return -1;
    }
    *params = found;
    *nparams = nfound;
    return 0;
}


/* libvirt's daemon loses the error of one that is not there: clients would learn no cause. */
int
nitroDomainGetSecurityLabelList(virDomainPtr dom,
                                virSecurityLabelPtr *seclabels)
{
    virDomainObj *vm;
    int ret = -1;

    if (!(vm = nitroDomainObjFromDomain(dom)))
        return -1;
    if (virDomainGetSecurityLabelListEnsureACL(dom->conn, vm->def) == 0) {
        *seclabels = NULL;
        ret = 0;
    }

    virDomainObjEndAPI(&vm);
    return ret;
}
