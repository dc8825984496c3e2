/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/infer_parts.h — private to reading requests: infer.c has the envelope, infer_tensor.c the input. */
#ifndef OBSCURA_DAEMON_INFER_PARTS_H
#define OBSCURA_DAEMON_INFER_PARTS_H

#include <json-c/json.h>
#include "daemon/infer.h"

/* o's field of this type; NULL with e when it has another type, NULL without when there is none. name: whose
 * field, for messages. */
struct json_object *infer_field(struct json_object *o, const char *of, const char *field, enum json_type type,
				struct err *e);
/* The one input. tail: the binary data of the request. */
int infer_input(struct infer *q, struct json_object *input, const uint8_t *tail, size_t n,
		struct err *e) MUST_USE;
/* The whole body is one picture or raw pixels. */
int infer_raw(struct infer *q, const uint8_t *body, size_t n, int picture, struct err *e) MUST_USE;

#endif
