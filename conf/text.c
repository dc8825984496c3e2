/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/text.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the UTF-8 character at s; 0: it is none. Overlong forms and surrogates are none (RFC 3629). */
static size_t utf8(const uint8_t *s, uint32_t *code)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;

	*code = n > 1 ? s[0] & (0xffu >> (n + 1)) : s[0];
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		*code = *code << 6 | (s[i] & 0x3f);
	}
	if ((n == 2 && *code < 0x80) || (n == 3 && (*code < 0x800 || *code >> 11 == 0x1b)) ||
	    (n == 4 && (*code < 0x10000 || *code > 0x10ffff)))
		return 0;
	return n;
}

/* Bytes of the next character; *bad: how many of them must not be shown. */
static size_t next(const uint8_t *s, size_t *bad)
{
	uint32_t code;
	size_t n = utf8(s, &code);

	*bad = !n || code < ' ' || (code >= 0x7f && code < 0xa0) ? n + !n : 0;
	return n + !n;
}

void text_clean(char *text)
{
	uint8_t *s = (uint8_t *)text;
	size_t n, bad;

	for (; *s; s += n) {
		n = next(s, &bad);
		for (size_t i = 0; i < bad; i++)
			s[i] = '?';
	}
}

int text_is_clean(const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t bad;

	while (*s) {
		s += next(s, &bad);
		if (bad)
			return 0;
	}
	return 1;
}

int text_has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, " "), p += *p == ' ')
		if (strcspn(p, " ") == n && !strncmp(p, word, n))
			return 1;
	return 0;
}
