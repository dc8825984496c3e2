/* SPDX-License-Identifier: Apache-2.0 */
/* client/clear.h — the clear personality in `plan` and `verify`. */
#ifndef OBSCURA_CLIENT_CLEAR_H
#define OBSCURA_CLIENT_CLEAR_H

#include "client/command.h"
#include "nn/graph.h"

int clear_plan_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;
int clear_verify_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;

#endif
