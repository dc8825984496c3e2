/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/attest_policy_parts.h — what the readers of a policy file share. */
#ifndef OBSCURA_DAEMON_ATTEST_POLICY_PARTS_H
#define OBSCURA_DAEMON_ATTEST_POLICY_PARTS_H

#include <libconfig.h>

#include "daemon/attest.h"

/* Where a setting stands, for messages, and where it goes. */
struct reading {
	struct attest_policy_file *to;
	const char *path;
	struct err *e;
};

/* Returns -1, with file, line and name of the setting. */
int policy_refuse(const struct reading *r, const config_setting_t *s, const char *why) MUST_USE;
/* Exactly 2 n hexadecimal digits. */
int policy_hex(const char *text, uint8_t *out, size_t n) MUST_USE;
int policy_number(const struct reading *r, const config_setting_t *s, uint64_t most,
		  uint64_t *value) MUST_USE;
/* attest_models.c: models = ( { … }, … ); */
int policy_models(const struct reading *r, config_setting_t *s) MUST_USE;

#endif
