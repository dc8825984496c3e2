/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/text.h"

int err_set(struct err *e, enum err_code code, const char *format, ...)
{
	va_list ap;

	if (!e || e->code != ERR_NONE)
		return -1;
	e->code = code;
	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	text_clean(e->text); /* peers and files may have written a part of it */
	return -1;
}

int err_context(struct err *e, const char *format, ...)
{
	char old[sizeof(e->text)];
	va_list ap;
	size_t n;

	if (!e)
		return -1;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", old);
	text_clean(e->text);
	return -1;
}

enum err_code err_of_file(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case EEXIST:
	case ELOOP:
	case ENAMETOOLONG:
	case EINVAL:
		return ERR_INPUT;
	default:
		return ERR_ENV;
	}
}

const char *err_name(enum err_code code)
{
	switch (code) {
	case ERR_NONE:
		return "NONE";
#define ERR(name, exit_code, meaning)                                                                        \
	case ERR_##name:                                                                                     \
		return #name;
#include "conf/errors.def"
#undef ERR
	}
	return "UNKNOWN";
}
