/* SPDX-License-Identifier: Apache-2.0 */
/* Files of access rules, and audits that are read back. The first byte chooses the role, or an audit; what is
 * accepted is used. */
#include "daemon/access_parts.h"
#include "daemon/audit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

/* libconfig 1.5 itself loses the text of a string that a syntax error interrupts. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

static int add(void *ctx, const struct audit_sum *part, struct err *e)
{
	uint64_t *all = ctx;

	if (!part->account || !part->model || !part->images)
		abort();
	*all += part->images;
	return 0;
}

static void audit(const uint8_t *data, size_t size)
{
	int fd = memfd_create("audit", 0);
	struct err e = {0};
	uint64_t bad, all = 0;
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (audit_today(path, 1763683200, add, &all, &bad, &e)) /* 2025-11-21 */
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct access_list list;
	struct err e = {0};
	const char *pattern;
	size_t n;
	char *text;

	if (!size)
		return 0;
	if (*data & 2) {
		audit(data + 1, size - 1);
		return 0;
	}
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		abort();
	if (access_list_text(&list, "file", text, *data & 1 ? ROLE_M : ROLE_C, &e)) {
		if (e.code == ERR_NONE || !*e.text)
			abort();
	} else {
		if (!list.n)
			abort(); /* nobody could use anything */
		for (size_t i = 0; i < list.n; i++)
			if (!list.all[i].who.n ||
			    (access_fits(&list.all[i].who, "a.b.c\nd", &pattern, &n) && !n))
				abort();
		access_list_free(&list);
	}
	free(text);
	return 0;
}
