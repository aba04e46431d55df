/*
 * filter_rule.h: what one line of a table of system calls says
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Each room has a table, ROOM_calls.h beside its code, of the system calls that its code makes,
 * with the reason for each. filter_generate.c, which runs when this project is built, makes the
 * filters of all kinds of processes from them, with libseccomp; sandbox.c has the kernel use
 * them. A call that no table of its process has ends the process.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>

/* When a call may be made. A process that has no second stage stays in the first one. */
#define FILTER_SETUP 1u /* from before the first byte of the image until the enclave runs */
#define FILTER_RUN 2u   /* from then on */
#define FILTER_ALWAYS (FILTER_SETUP | FILTER_RUN)

#define FILTER_CHECKS_MAX 2

/* That the bits @mask of an argument are @value; a mask of 0 checks nothing. */
typedef struct {
    unsigned int argument; /* the first one is 0 */
    uint64_t mask;
    uint64_t value;
    bool differs;          /* the argument, all of it, is another value; @mask is not 0 */
} FilterCheck;

/* A call may stand in several rules: one that holds is enough. */
typedef struct {
    const char *call;
    unsigned int stages;
    FilterCheck checks[FILTER_CHECKS_MAX]; /* all of which must hold */
    int error; /* not 0: the call fails with this errno, and the process goes on */
} FilterRule;

/* The bits of an int, which is what many arguments are: the kernel does not look at the others. */
#define FILTER_INT 0xffffffffu
#define FILTER_IS(argument, value) {(argument), FILTER_INT, (value)}
#define FILTER_LACKS(argument, bits) {(argument), (bits), 0}
#define FILTER_IS_NOT(argument, value) {(argument), FILTER_INT, (value), true}

/* Stands for the number of the process, which puts that in its place when it uses the filter; no
 * process of Linux has a number as large. */
#define FILTER_SELF 0x73656c66

/* Of the type of a socket, which has flags beside it */
#define FILTER_STREAM(argument) {(argument), 0xf, SOCK_STREAM}
#define FILTER_DATAGRAM(argument) {(argument), 0xf, SOCK_DGRAM}
