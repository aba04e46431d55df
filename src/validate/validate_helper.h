/*
 * validate_helper.h: a helper that virt-nitro-validate runs for an enclave of its own
 *
 * Copyright (C) 2026 The libvirt-nitro authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The helper is started as virtnitrod starts it, by the same functions, and told to end when this
 * process does. What it says is checked as virtnitrod checks it. No file is left of its socket.
 */

#pragma once

#include "nitro_conf.h"
#include "nitro_monitor_message.h"
#include "vircommand.h"

typedef struct _validateHelper validateHelper;
struct _validateHelper {
    pid_t pid;              /* -1: it does not run */
    int fd;                 /* of the control connection; -1: it has ended */
    GString *input;         /* of a line whose end has not come */
    nitroMonitorTalk talk;
    char *why;              /* why there is nothing more to be heard; NULL: not so */
};

#define VALIDATE_HELPER_INIT { .pid = -1, .fd = -1 }

/*
 * A new listening socket that nobody else can reach, for a child. Sets @client to a connection
 * that waits there. Returns the descriptor, or -errno.
 */
int validateHelperListen(int *client);

/*
 * Has @cmd run as a program of virtnitrod's would be, its output in the file *@log, which it
 * keeps the address of.
 */
void validateHelperSetUp(virCommand *cmd,
                         const nitroDriverConfig *config,
                         int *log);

/*
 * Runs @cmd, a helper, for @enclave. Returns 0, or -1 with an error set; validateHelperEnd() is due
 * in any case.
 */
int validateHelperStart(validateHelper *helper,
                        virCommand *cmd,
                        const nitroMonitorEnclave *enclave);

/*
 * Waits for the next event, up to @timeout milliseconds (-1: without limit). Returns 1 with
 * @message, which was all zeros, set; 0 when none has come; -1 with @helper->why set when none will.
 */
int validateHelperWait(validateHelper *helper,
                       int timeout,
                       nitroMonitorMessage *message);

/* Tells the helper to end its enclave; the event of that follows. */
void validateHelperTerminate(validateHelper *helper);

/* Sees to it that nothing is left of the helper. */
void validateHelperEnd(validateHelper *helper);
