/* SPDX-License-Identifier: Apache-2.0 */
/* client/attest.h — obscura attest; what it judges with is daemon/attest.h. */
#ifndef OBSCURA_CLIENT_ATTEST_H
#define OBSCURA_CLIENT_ATTEST_H

#include "daemon/attest.h"

/* What `obscura attest verify` prints: a table for people, or one JSON object. */
int attest_show(const struct attest_result *r, int json, struct err *e) MUST_USE;

#endif
