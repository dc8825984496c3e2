/* SPDX-License-Identifier: Apache-2.0 */
/* client/json.h — JSON Lines on standard output. */
#ifndef OBSCURA_CLIENT_JSON_H
#define OBSCURA_CLIENT_JSON_H

#include "daemon/json.h"

/* Prints one line and frees o. */
int json_line(struct json_object *o, struct err *e) MUST_USE;

#endif
