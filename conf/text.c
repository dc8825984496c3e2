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

size_t text_distance(const char *a, const char *b, size_t n)
{
	size_t row[TEXT_FAR], m = strlen(a);

	if (m >= TEXT_FAR || n >= TEXT_FAR)
		return TEXT_FAR;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t swap = diagonal + (a[j - 1] != b[i - 1]), least = row[j] + 1;

			diagonal = row[j];
			if (row[j - 1] + 1 < least)
				least = row[j - 1] + 1;
			row[j] = swap < least ? swap : least;
		}
	}
	return row[m];
}

#define HELP_AT 32
#define HELP_MOST 100

/* Characters of n bytes of UTF-8. */
static size_t columns(const char *text, size_t n)
{
	size_t c = 0;

	for (size_t i = 0; i < n; i++)
		c += ((unsigned char)text[i] & 0xc0) != 0x80;
	return c;
}

/* Words from column `at` on; returns the column after them. */
static size_t put_words(FILE *out, const char *text, size_t at)
{
	while (*text) {
		size_t n = strcspn(text, " "), wide = columns(text, n);

		if (at > HELP_AT && at + 1 + wide > HELP_MOST) {
			fprintf(out, "\n%*s", HELP_AT, "");
			at = HELP_AT;
		} else if (at > HELP_AT) {
			fputc(' ', out);
			at++;
		}
		fwrite(text, 1, n, out);
		at += wide;
		text += n + strspn(text + n, " ");
	}
	return at;
}

void text_help(FILE *out, const char *flag, const char *help, const char *value)
{
	size_t wide = 2 + columns(flag, strlen(flag));
	char shown[160];

	fprintf(out, "  %s", flag);
	if (wide >= HELP_AT)
		fprintf(out, "\n%*s", HELP_AT, "");
	else
		fprintf(out, "%*s", (int)(HELP_AT - wide), "");
	snprintf(shown, sizeof(shown), "[%s]", value ? value : "");
	wide = put_words(out, help, HELP_AT);
	if (value && *value)
		put_words(out, shown, wide);
	fputc('\n', out);
}
