/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/json.h"

#include <math.h>
#include <stdio.h>

void json_text(struct json_object *o, const char *name, const char *value)
{
	json_object_object_add(o, name, value ? json_object_new_string(value) : NULL);
}

void json_count(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

struct json_object *json_real_new(double value)
{
	char text[32];

	if (!isfinite(value))
		return NULL;
	snprintf(text, sizeof(text), "%.9g", value);
	return json_object_new_double_s(value, text);
}

void json_real(struct json_object *o, const char *name, double value)
{
	json_object_object_add(o, name, json_real_new(value));
}

struct json_object *json_counted(uint64_t sent, uint64_t received, const uint64_t *provider)
{
	struct json_object *o = json_object_new_object();

	json_count(o, "sent", sent);
	json_count(o, "received", received);
	if (provider)
		json_count(o, "provider", *provider);
	return o;
}

const char *json_plain(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}
