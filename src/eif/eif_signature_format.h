/*
 * eif_signature_format.h: the words of a signature section
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Flow: eif_signature.c looks for these, eif_signature_write.c writes them.
 */

#pragma once

/* The keys of the map of one signature, and of the map that is signed */
#define CERTIFICATE_KEY "signing_certificate"
#define SIGNATURE_KEY "signature"
#define INDEX_KEY "register_index"
#define VALUE_KEY "register_value"
