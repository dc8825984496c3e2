/* SPDX-License-Identifier: Apache-2.0 */
/* Files, times and lists of words as a person gives them. */
#include "daemon/attest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int attest_file_read_most(const char *path, size_t most, struct span *s, struct err *e)
{
	FILE *f = fopen(path, "rbe");
	uint8_t *bytes = malloc(most + 1);
	int bad;

	s->p = NULL;
	s->n = 0;
	if (!f || !bytes) {
		err_set(e, f ? ERR_ENV : err_of_file(errno), "cannot read %.300s: %s", path, strerror(errno));
		free(bytes);
		if (f)
			fclose(f);
		return -1;
	}
	s->n = fread(bytes, 1, most + 1, f);
	bad = ferror(f) ? err_set(e, err_of_file(errno), "cannot read %.300s: %s", path, strerror(errno)) : 0;
	fclose(f);
	if (!bad && s->n > most)
		bad = err_set(e, ERR_INPUT, "%.300s is larger than %zu bytes", path, most);
	s->p = bytes;
	if (bad)
		attest_file_free(s);
	return bad;
}

int attest_file_read(const char *path, struct span *s, struct err *e)
{
	return attest_file_read_most(path, ATTEST_FILE_MAX, s, e);
}

void attest_file_free(struct span *s)
{
	free((void *)s->p);
	s->p = NULL;
	s->n = 0;
}

int attest_time(const char *text, int64_t *seconds, struct err *e)
{
	struct tm t = {0};
	const char *end = strptime(text, "%Y-%m-%d", &t);

	if (end && *end)
		end = strptime(end, "T%H:%M:%SZ", &t);
	if (!end || *end)
		return err_set(e, ERR_INPUT,
			       "\"%.60s\" is no time in UTC: write 2026-03-01 or 2026-03-01T12:00:00Z", text);
	*seconds = (int64_t)timegm(&t);
	return 0;
}

static int unknown_word(const char *text, size_t n, struct err *e)
{
	char all[200] = "";

	for (unsigned a = 0; a < ATTEST_ALLOWS; a++)
		if (a != ATTEST_ALLOW_SIMULATED) /* --accept-simulated */
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", *all ? ", " : "",
				 attest_allow_word((enum attest_allow)a));
	return err_set(e, ERR_INPUT, "\"%.*s\" cannot be allowed; what can: %s", (int)(n < 60 ? n : 60), text,
		       all);
}

int attest_allow_list(const char *text, uint32_t *allow, struct err *e)
{
	while (*text) {
		size_t n = strcspn(text, ",");
		unsigned a = 0;

		while (a < ATTEST_ALLOWS && (strlen(attest_allow_word((enum attest_allow)a)) != n ||
					     strncmp(attest_allow_word((enum attest_allow)a), text, n)))
			a++;
		if (a == ATTEST_ALLOWS)
			return unknown_word(text, n, e);
		*allow |= 1u << a;
		text += n + (text[n] == ',');
	}
	return 0;
}
