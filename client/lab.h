/* SPDX-License-Identifier: Apache-2.0 */
/* client/lab.h — `obscura bench --links`: the roles on hosts of their own, joined by links. */
#ifndef OBSCURA_CLIENT_LAB_H
#define OBSCURA_CLIENT_LAB_H

#include "client/bench.h"
#include "client/link_measure.h"

/* The whole of `obscura bench --links …`, results open. */
int lab_run(struct bench *b, struct err *e) MUST_USE;

#endif
