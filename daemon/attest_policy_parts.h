/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/attest_policy_parts.h — what the readers of a policy file share
 * (attest_setting.c). */
#ifndef OBSCURA_DAEMON_ATTEST_POLICY_PARTS_H
#define OBSCURA_DAEMON_ATTEST_POLICY_PARTS_H

#include <libconfig.h>

#include "daemon/attest.h"

/* Where a setting stands, for messages, and where it goes. */
struct reading {
	struct attest_policy_file *to;
	struct attest_models *models; /* where there is nothing else to read */
	const char *path;
	struct err *e;
};

/* Returns -1, with file, line and name of the setting. */
int policy_refuse(const struct reading *r, const config_setting_t *s, const char *why) MUST_USE;
/* Exactly 2 n hexadecimal digits. */
int policy_hex(const char *text, uint8_t *out, size_t n) MUST_USE;
int policy_number(const struct reading *r, const config_setting_t *s, uint64_t most,
		  uint64_t *value) MUST_USE;
/* Every setting of a text to one reader. */
typedef int policy_setting(const struct reading *r, config_setting_t *s);
int policy_parse(const struct reading *r, const char *text, policy_setting *read) MUST_USE;
/* attest_models.c: models = ( { … }, … ); */
int policy_models(const struct reading *r, config_setting_t *s, struct attest_models *to) MUST_USE;

#endif
