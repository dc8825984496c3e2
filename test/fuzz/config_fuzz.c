/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files and flags. The first byte chooses the role; what is accepted is dumped and must be
 * accepted again. */
#include "conf/config.h"

#include <stdlib.h>
#include <string.h>

/* libconfig 1.5 itself loses the text of a string that a syntax error interrupts. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static void again(const struct config *c, char role)
{
	struct err e = {0};
	struct config copy;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		abort();
	config_dump(c, f);
	fclose(f);
	if (config_defaults(&copy, role, &e) || config_text(&copy, "dump", text, &e) ||
	    config_check(&copy, &e))
		abort();
	config_free(&copy);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	struct config c;
	char *text, role;

	if (!size)
		return 0;
	role = "DMCL"[*data & 3];
	text = strndup((const char *)data + 1, size - 1);
	if (!text || config_defaults(&c, role, &e))
		abort();
	if ((*data & 4 ? config_flag(&c, text, &e) : config_text(&c, "file", text, &e)) ||
	    config_check(&c, &e)) {
		if (e.code == ERR_NONE || !*e.text)
			abort();
	} else {
		again(&c, role);
	}
	config_free(&c);
	free(text);
	return 0;
}
