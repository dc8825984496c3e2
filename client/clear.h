/* SPDX-License-Identifier: Apache-2.0 */
/* client/clear.h — the clear personality in `plan` and `verify`. */
#ifndef OBSCURA_CLIENT_CLEAR_H
#define OBSCURA_CLIENT_CLEAR_H

#include "client/trial.h"

int clear_plan_command(const struct args *a, const struct graph *g, struct err *e) MUST_USE;
/* On those pictures, with at least that agreement of labels. */
int clear_verify(const struct args *a, const struct graph *g, const struct samples *s, double least,
		 struct err *e) MUST_USE;

#endif
