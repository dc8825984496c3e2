/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/json.h — JSON objects by json-c: what the HTTP API and the command line both write. */
#ifndef OBSCURA_DAEMON_JSON_H
#define OBSCURA_DAEMON_JSON_H

#include <json-c/json.h>
#include "conf/err.h"

/* Each adds one field. A NULL value (memory was short) becomes null. */
void json_text(struct json_object *o, const char *name, const char *value);
void json_count(struct json_object *o, const char *name, uint64_t value);
/* At most 9 digits, which tell every float apart; not finite: null. */
void json_real(struct json_object *o, const char *name, double value);
struct json_object *json_real_new(double value);
/* {"sent":…,"received":…} and, for the offline phase, "provider". */
struct json_object *json_counted(uint64_t sent, uint64_t received, const uint64_t *provider);
/* One line of text, borrowed from o; NULL when memory is short. */
const char *json_plain(struct json_object *o);

#endif
