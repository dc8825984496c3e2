/* SPDX-License-Identifier: Apache-2.0 */
/* client/child.h — processes that a command starts: they end with it, whatever happens to it. */
#ifndef OBSCURA_CLIENT_CHILD_H
#define OBSCURA_CLIENT_CHILD_H

#include <stddef.h>
#include <sys/types.h>
#include "conf/err.h"

#define CHILD_ARGS 32

/* The path of a program beside this one ("obscurad"). */
int child_beside(char *path, size_t bytes, const char *program, struct err *e) MUST_USE;
/* Starts argv (NULL at the end) with these files as standard output and error; -1: /dev/null. The kernel ends
 * it when we end. */
int child_start(pid_t *pid, char *const argv[], int out, int err, struct err *e) MUST_USE;
/* Asks it to end (SIGTERM), then insists after `ms`. pid 0 is allowed; it becomes 0. */
void child_stop(pid_t *pid, unsigned ms);
/* Waits. Fails with the child's own exit code when that is not 0. */
int child_wait(pid_t *pid, const char *what, struct err *e) MUST_USE;
/* 1 while it runs. */
int child_alive(pid_t pid);

#endif
