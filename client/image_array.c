/* SPDX-License-Identifier: Apache-2.0 */
/* IDX (the format of MNIST) and NPY (numpy's) headers, held against the size of the file. */
#include "client/image.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const size_t item_bytes[] = {[ARRAY_U8] = 1, [ARRAY_F32] = 4, [ARRAY_I32] = 4, [ARRAY_I64] = 8};

/* The product of the dimensions times the item, or -1 on overflow. */
static int array_bytes(const struct array *a, uint64_t *bytes)
{
	*bytes = item_bytes[a->type];
	for (unsigned i = 0; i < a->rank; i++)
		if (__builtin_mul_overflow(*bytes, a->dims[i], bytes))
			return -1;
	return 0;
}

static const char *dims_print(const struct array *a, char *text, size_t n)
{
	size_t at = 0;

	*text = 0;
	for (unsigned i = 0; i < a->rank && at < n; i++)
		at += (size_t)snprintf(text + at, n - at, "%s%llu", i ? "×" : "",
				       (unsigned long long)a->dims[i]);
	return text;
}

static int array_held(const struct array *a, const char *kind, size_t left, struct err *e)
{
	char dims[96];
	uint64_t bytes;

	if (array_bytes(a, &bytes))
		return err_set(e, ERR_INPUT, "%s: its header promises %s elements, more than any file has",
			       kind, dims_print(a, dims, sizeof(dims)));
	if (bytes != left)
		return err_set(e, ERR_INPUT,
			       "%s: its header promises %s elements (%llu bytes), but %zu bytes follow it",
			       kind, dims_print(a, dims, sizeof(dims)), (unsigned long long)bytes, left);
	return 0;
}

int array_idx(struct array *a, const uint8_t *b, size_t n, struct err *e)
{
	memset(a, 0, sizeof(*a));
	if (n < 4 || b[0] || b[1])
		return err_set(e, ERR_INPUT, "this is no IDX file");
	if (b[2] != 8)
		return err_set(e, ERR_INPUT,
			       "IDX: elements of type 0x%02x are not read, only unsigned bytes (0x08)", b[2]);
	if (!b[3] || b[3] > 4)
		return err_set(e, ERR_INPUT, "IDX: %u dimensions; 1 to 4 are read", b[3]);
	a->rank = b[3];
	if (n < 4 + 4 * (size_t)a->rank)
		return err_set(e, ERR_INPUT, "IDX: the file ends inside its header");
	for (unsigned i = 0; i < a->rank; i++) {
		const uint8_t *d = b + 4 + 4 * i;

		a->dims[i] = (uint64_t)d[0] << 24 | (uint64_t)d[1] << 16 | (uint64_t)d[2] << 8 | d[3];
	}
	a->data = b + 4 + 4 * a->rank;
	return array_held(a, "IDX", n - 4 - 4 * (size_t)a->rank, e);
}

/* ---- NPY: a Python dictionary as text ---- */

struct text {
	const char *at, *end;
};

static void blank(struct text *t)
{
	while (t->at < t->end && isspace((unsigned char)*t->at))
		t->at++;
}

static int take(struct text *t, const char *word)
{
	size_t n = strlen(word);

	blank(t);
	if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n))
		return 0;
	t->at += n;
	return 1;
}

static int quoted(struct text *t, char *out, size_t bytes)
{
	size_t n = 0;
	char mark;

	blank(t);
	if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
		return -1;
	mark = *t->at++;
	while (t->at < t->end && *t->at != mark && n + 1 < bytes)
		out[n++] = *t->at++;
	out[n] = 0;
	return take(t, (char[]){mark, 0}) ? 0 : -1;
}

static int parse_type(struct array *a, struct text *t, struct err *e)
{
	static const struct {
		const char *name;
		enum array_type type;
	} types[] = {
	    {"|u1", ARRAY_U8}, {"<u1", ARRAY_U8}, {"<f4", ARRAY_F32}, {"<i4", ARRAY_I32}, {"<i8", ARRAY_I64}};
	char name[16];

	if (quoted(t, name, sizeof(name)))
		return err_set(e, ERR_INPUT, "NPY: its header has no simple type of elements");
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (!strcmp(types[i].name, name)) {
			a->type = types[i].type;
			return 0;
		}
	for (char *p = name; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	return err_set(e, ERR_INPUT,
		       "NPY: elements of type '%s' are not read; save it as uint8 (pixels, labels)", name);
}

static int parse_shape(struct array *a, struct text *t, struct err *e)
{
	if (!take(t, "("))
		return err_set(e, ERR_INPUT, "NPY: its header has no shape");
	for (a->rank = 0; !take(t, ")"); a->rank++) {
		uint64_t d = 0;

		blank(t);
		if (a->rank == 4)
			return err_set(e, ERR_INPUT, "NPY: more than 4 dimensions");
		if (t->at == t->end || !isdigit((unsigned char)*t->at))
			return err_set(e, ERR_INPUT, "NPY: its shape is not a list of numbers");
		for (; t->at < t->end && isdigit((unsigned char)*t->at); t->at++)
			if (__builtin_mul_overflow(d, 10, &d) || __builtin_add_overflow(d, *t->at - '0', &d))
				return err_set(e, ERR_INPUT, "NPY: a dimension is too large");
		a->dims[a->rank] = d;
		take(t, ",");
	}
	return a->rank ? 0 : err_set(e, ERR_INPUT, "NPY: a single number is no array");
}

static int parse_dictionary(struct array *a, struct text *t, struct err *e)
{
	int seen = 0;
	char key[24];

	if (!take(t, "{"))
		return err_set(e, ERR_INPUT, "NPY: its header is no dictionary");
	while (!take(t, "}")) {
		if (quoted(t, key, sizeof(key)) || !take(t, ":"))
			return err_set(e, ERR_INPUT, "NPY: its header is broken");
		if (!strcmp(key, "descr")) {
			seen |= 1;
			if (parse_type(a, t, e))
				return -1;
		} else if (!strcmp(key, "shape")) {
			seen |= 2;
			if (parse_shape(a, t, e))
				return -1;
		} else if (strcmp(key, "fortran_order") || !take(t, "False"))
			return err_set(
			    e, ERR_INPUT,
			    "NPY: its elements are not in C order; save numpy.ascontiguousarray(a)");
		take(t, ",");
	}
	return seen == 3 ? 0 : err_set(e, ERR_INPUT, "NPY: its header lacks type or shape");
}

int array_npy(struct array *a, const uint8_t *b, size_t n, struct err *e)
{
	size_t start = 10, header;
	struct text t;

	memset(a, 0, sizeof(*a));
	if (n < 12 || memcmp(b, "\x93NUMPY", 6) || !b[6] || b[6] > 3)
		return err_set(e, ERR_INPUT, "this is no NPY file of version 1 to 3");
	header = (size_t)b[8] | (size_t)b[9] << 8;
	if (b[6] > 1) {
		header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
		start = 12;
	}
	if (header > n - start)
		return err_set(e, ERR_INPUT, "NPY: the file ends inside its header");
	t = (struct text){(const char *)b + start, (const char *)b + start + header};
	if (parse_dictionary(a, &t, e))
		return -1;
	a->data = b + start + header;
	return array_held(a, "NPY", n - start - header, e);
}

int array_parse(struct array *a, const uint8_t *b, size_t n, struct err *e)
{
	switch (image_kind(b, n)) {
	case IMAGE_IDX:
		return array_idx(a, b, n, e);
	case IMAGE_NPY:
		return array_npy(a, b, n, e);
	default:
		return err_set(e, ERR_INPUT, "neither IDX nor NPY");
	}
}
