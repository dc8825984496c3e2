/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/check.h — `obscurad ROLE -t`: what a configuration names is opened, before a role needs it. */
#ifndef OBSCURA_DAEMON_CHECK_H
#define OBSCURA_DAEMON_CHECK_H

#include "conf/config.h"
#include "protocol/frame.h"

/* Certificates, key, rules of access, models and what an enclave needs; each problem is one line "FILE:LINE: option: what, why,
 * remedy" on out. Returns 0, or the code of the first problem. */
int check_role(const struct config *c, enum frame_role self, FILE *out) MUST_USE;

#endif
