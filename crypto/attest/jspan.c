/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/attest/jspan.h"

#include <string.h>
#include <time.h>

#define DEPTH 16

/* Where we are; every step checks against end. */
struct cursor {
	const uint8_t *at, *end;
};

/* An empty span may have no address. */
static struct cursor cursor_at(struct span s)
{
	return s.n ? (struct cursor){s.p, s.p + s.n} : (struct cursor){NULL, NULL};
}

static int peek(const struct cursor *c)
{
	return c->at < c->end ? *c->at : -1;
}

static int space(struct cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
		c->at++;
	return peek(c);
}

static int eat(struct cursor *c, int byte)
{
	if (space(c) != byte)
		return 0;
	c->at++;
	return 1;
}

static int hex_digit(int x)
{
	if (x >= '0' && x <= '9')
		return x - '0';
	if (x >= 'a' && x <= 'f')
		return x - 'a' + 10;
	return x >= 'A' && x <= 'F' ? x - 'A' + 10 : -1;
}

static int skip_escape(struct cursor *c)
{
	int x = peek(c);

	if (x < 0 || !strchr("\"\\/bfnrtu", x) || !x)
		return -1;
	c->at++;
	for (int i = 0; x == 'u' && i < 4; i++, c->at++)
		if (hex_digit(peek(c)) < 0)
			return -1;
	return 0;
}

static int skip_string(struct cursor *c)
{
	if (!eat(c, '"'))
		return -1;
	for (;;) {
		int x = peek(c);

		if (x < 0x20)
			return -1;
		c->at++;
		if (x == '"')
			return 0;
		if (x == '\\' && skip_escape(c))
			return -1;
	}
}

static int skip_digits(struct cursor *c)
{
	const uint8_t *from = c->at;

	while (peek(c) >= '0' && peek(c) <= '9')
		c->at++;
	return c->at > from ? 0 : -1;
}

static int skip_number(struct cursor *c)
{
	if (peek(c) == '-')
		c->at++;
	if (peek(c) == '0')
		c->at++;
	else if (skip_digits(c))
		return -1;
	if (peek(c) == '.') {
		c->at++;
		if (skip_digits(c))
			return -1;
	}
	if (peek(c) != 'e' && peek(c) != 'E')
		return 0;
	c->at++;
	if (peek(c) == '+' || peek(c) == '-')
		c->at++;
	return skip_digits(c);
}

static int skip_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n))
		return -1;
	c->at += n;
	return 0;
}

static int skip_value(struct cursor *c, int depth);

/* After '{' or '[' up to and with the closing bracket. */
static int skip_list(struct cursor *c, int close, int depth)
{
	c->at++;
	if (eat(c, close))
		return 0;
	do {
		if (close == '}' && (skip_string(c) || !eat(c, ':')))
			return -1;
		if (skip_value(c, depth))
			return -1;
	} while (eat(c, ','));
	return eat(c, close) ? 0 : -1;
}

static int skip_value(struct cursor *c, int depth)
{
	int x = space(c);

	if (!depth)
		return -1;
	switch (x) {
	case '{':
		return skip_list(c, '}', depth - 1);
	case '[':
		return skip_list(c, ']', depth - 1);
	case '"':
		return skip_string(c);
	case 't':
		return skip_word(c, "true");
	case 'f':
		return skip_word(c, "false");
	case 'n':
		return skip_word(c, "null");
	default:
		return skip_number(c);
	}
}

/* One value as a span, without the white space before it. */
static int take_value(struct cursor *c, struct span *value)
{
	space(c);
	value->p = c->at;
	if (skip_value(c, DEPTH))
		return -1;
	value->n = (size_t)(c->at - value->p);
	return 0;
}

int jspan_check(struct span text)
{
	struct cursor c = cursor_at(text);

	return text.n && !skip_value(&c, DEPTH) && space(&c) < 0 ? 0 : -1;
}

static int same_name(struct span quoted, const char *name)
{
	size_t n = strlen(name);

	return quoted.n == n + 2 && !memcmp(quoted.p + 1, name, n);
}

int jspan_member(struct span object, const char *name, struct span *value)
{
	struct cursor c = cursor_at(object);
	struct span key, x;
	int found = 0;

	*value = (struct span){NULL, 0};
	if (!object.n || !eat(&c, '{'))
		return -1;
	if (eat(&c, '}'))
		return 0;
	do {
		if (space(&c) != '"' || take_value(&c, &key) || !eat(&c, ':') || take_value(&c, &x))
			return -1;
		if (!same_name(key, name))
			continue;
		if (found++)
			return -1;
		*value = x;
	} while (eat(&c, ','));
	return eat(&c, '}') ? found : -1;
}

int jspan_items(struct span array, struct span *rest)
{
	struct cursor c = cursor_at(array);

	if (!array.n || !eat(&c, '['))
		return -1;
	*rest = (struct span){c.at, (size_t)(c.end - c.at)};
	return 0;
}

int jspan_item(struct span *rest, struct span *value)
{
	struct cursor c = cursor_at(*rest);

	if (eat(&c, ']'))
		return 0;
	if (take_value(&c, value) || (!eat(&c, ',') && space(&c) != ']'))
		return -1;
	*rest = (struct span){c.at, (size_t)(c.end - c.at)};
	return 1;
}

int jspan_object(struct span object, const char *name, struct span *value)
{
	return jspan_member(object, name, value) == 1 && *value->p == '{' ? 0 : -1;
}

int jspan_array(struct span object, const char *name, struct span *rest)
{
	struct span value;

	return jspan_member(object, name, &value) == 1 ? jspan_items(value, rest) : -1;
}

int jspan_text(struct span object, const char *name, struct span *text)
{
	struct span value;

	if (jspan_member(object, name, &value) != 1 || value.n < 2 || *value.p != '"' ||
	    memchr(value.p, '\\', value.n))
		return -1;
	*text = (struct span){value.p + 1, value.n - 2};
	return 0;
}

int jspan_hex(struct span object, const char *name, uint8_t *out, size_t n)
{
	struct span text;

	if (jspan_text(object, name, &text) || text.n != 2 * n)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return -1;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Digits only: no sign, fraction or exponent stands in what we read. */
static int decimal(const uint8_t *p, size_t n, uint64_t most, uint64_t *value)
{
	*value = 0;
	if (!n || n > 10)
		return -1;
	for (; n; n--, p++) {
		if (*p < '0' || *p > '9')
			return -1;
		*value = *value * 10 + (uint64_t)(*p - '0');
	}
	return *value <= most ? 0 : -1;
}

int jspan_number(struct span object, const char *name, uint64_t most, uint64_t *value)
{
	struct span text;

	return jspan_member(object, name, &text) == 1 ? decimal(text.p, text.n, most, value) : -1;
}

int jspan_time(struct span object, const char *name, int64_t *seconds)
{
	static const struct {
		uint8_t at, digits;
	} parts[] = {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}};
	static const uint64_t most[] = {9999, 12, 31, 23, 59, 60};
	struct span text;
	uint64_t x[6];
	struct tm t = {0};

	if (jspan_text(object, name, &text) || text.n != 20 || text.p[4] != '-' || text.p[7] != '-' ||
	    text.p[10] != 'T' || text.p[13] != ':' || text.p[16] != ':' || text.p[19] != 'Z')
		return -1;
	for (int i = 0; i < 6; i++)
		if (decimal(text.p + parts[i].at, parts[i].digits, most[i], &x[i]))
			return -1;
	t.tm_year = (int)x[0] - 1900;
	t.tm_mon = (int)x[1] - 1;
	t.tm_mday = (int)x[2];
	t.tm_hour = (int)x[3];
	t.tm_min = (int)x[4];
	t.tm_sec = (int)x[5];
	*seconds = (int64_t)timegm(&t);
	return x[1] && x[2] ? 0 : -1;
}

int attest_unwrap(struct span json, const char *name, struct span *inner, uint8_t signature[64])
{
	return jspan_check(json) || jspan_object(json, name, inner) ||
		       jspan_hex(json, "signature", signature, 64)
		   ? -1
		   : 0;
}
