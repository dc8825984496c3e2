/* SPDX-License-Identifier: Apache-2.0 */
#include "client/json.h"

#include <stdio.h>

int json_line(struct json_object *o, struct err *e)
{
	const char *text = json_plain(o);
	int failed = !text || printf("%s\n", text) < 0;

	json_object_put(o);
	return failed ? err_set(e, ERR_ENV, "cannot print JSON") : 0;
}
