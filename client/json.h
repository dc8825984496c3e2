/* SPDX-License-Identifier: Apache-2.0 */
/* client/json.h — JSON Lines by json-c. */
#ifndef OBSCURA_CLIENT_JSON_H
#define OBSCURA_CLIENT_JSON_H

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
/* Prints one line and frees o. */
int json_line(struct json_object *o, struct err *e) MUST_USE;

#endif
