/* SPDX-License-Identifier: Apache-2.0 */
#include "client/samples.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES_MAX ((size_t)4 << 30) /* bytes of pixels in memory */

/* What is read along the way. */
struct loading {
	struct samples *s;
	const struct samples_from *from;
	uint64_t total; /* pictures of the source */
	char **names;	/* own; of the chosen pictures, without folder: for labels by name */
};

/* ---- pictures ---- */

static int load_one(struct loading *l, struct source *source, size_t i, struct err *e)
{
	const char *name, *slash;
	struct image im;
	int r;

	if (source_next(source, &im, &name, e) != 1)
		return -1;
	slash = strrchr(name, '/');
	l->names[i] = strdup(slash ? slash + 1 : name);
	r = image_fit(l->s->chw + i * l->s->pixels, &im, &l->from->fit, e);
	if (r)
		err_context(e, "%s", name);
	image_free(&im);
	if (!r && !l->names[i])
		r = err_set(e, ERR_ENV, "out of memory");
	return r;
}

static int load_pictures(struct loading *l, struct err *e)
{
	struct samples *s = l->s;
	struct source *source;
	int r = 0;

	if (source_open(&source, l->from->images, e))
		return -1;
	l->total = source_count(source);
	source_skip(source, l->from->offset);
	s->n = source_count(source);
	if (l->from->limit && s->n > l->from->limit)
		s->n = l->from->limit;
	if (!s->n)
		r = err_set(e, ERR_INPUT, "%s has %llu pictures; --offset passes over all of them",
			    l->from->images, (unsigned long long)l->total);
	else if (s->n > SAMPLES_MAX / s->pixels)
		r = err_set(e, ERR_INPUT,
			    "%zu pictures do not fit into 4 GiB of memory; verify them in parts with "
			    "--offset and --limit",
			    s->n);
	else if (!(s->chw = malloc(s->n * s->pixels)) || !(l->names = calloc(s->n, sizeof(*l->names))))
		r = err_set(e, ERR_ENV, "out of memory for %zu pictures", s->n);
	for (size_t i = 0; !r && i < s->n; i++)
		r = load_one(l, source, i, e);
	source_close(source);
	return r;
}

/* ---- labels ---- */

static int64_t element(const struct array *a, uint64_t i)
{
	int64_t wide;
	int32_t narrow;

	if (a->type == ARRAY_U8)
		return a->data[i];
	if (a->type == ARRAY_I32) {
		memcpy(&narrow, a->data + 4 * i, 4);
		return narrow;
	}
	memcpy(&wide, a->data + 8 * i, 8);
	return wide;
}

static int set_label(struct loading *l, size_t i, int64_t label, struct err *e)
{
	if (label < 0 || (uint64_t)label >= l->from->classes)
		return err_set(e, ERR_INPUT, "the label of picture %zu is %lld; the model has %zu classes", i,
			       (long long)label, l->from->classes);
	l->s->labels[i] = (int32_t)label;
	return 0;
}

static int array_labels(struct loading *l, const struct blob *b, struct err *e)
{
	struct array a;

	if (array_parse(&a, b->bytes, b->n, e))
		return -1;
	if (a.rank != 1 || a.type == ARRAY_F32)
		return err_set(e, ERR_INPUT, "labels are whole numbers in one dimension");
	if (a.dims[0] != l->total)
		return err_set(e, ERR_INPUT, "%llu labels for %llu pictures", (unsigned long long)a.dims[0],
			       (unsigned long long)l->total);
	for (size_t i = 0; i < l->s->n; i++)
		if (set_label(l, i, element(&a, l->from->offset + i), e))
			return -1;
	return 0;
}

/* The picture that a line is about: by name, or by its number. -1: none of the chosen ones. */
static int64_t line_index(const struct loading *l, const char *name, size_t n, uint64_t line)
{
	if (!n)
		return line < l->from->offset || line - l->from->offset >= l->s->n
			   ? -1
			   : (int64_t)(line - l->from->offset);
	for (size_t i = 0; i < l->s->n; i++)
		if (strlen(l->names[i]) == n && !memcmp(l->names[i], name, n))
			return (int64_t)i;
	return -1;
}

/* "7" or "seven.png 7" */
static int text_line(struct loading *l, char *text, uint64_t line, struct err *e)
{
	char *number = text + strlen(text), *end;
	size_t name;
	int64_t i;
	long label;

	while (number > text && !isspace((unsigned char)number[-1]))
		number--;
	for (name = (size_t)(number - text); name && isspace((unsigned char)text[name - 1]); name--)
		;
	label = strtol(number, &end, 10);
	if (end == number || *end)
		return err_set(e, ERR_INPUT, "line %llu does not end with a class number",
			       (unsigned long long)line + 1);
	i = line_index(l, text, name, line);
	return i < 0 ? 0 : set_label(l, (size_t)i, label, e);
}

static int text_labels(struct loading *l, const struct blob *b, struct err *e)
{
	char *text = strndup((const char *)b->bytes, b->n), *save = NULL;
	uint64_t line = 0;
	int r = text ? 0 : err_set(e, ERR_ENV, "out of memory");

	for (char *p = text ? strtok_r(text, "\n", &save) : NULL; p && !r; p = strtok_r(NULL, "\n", &save)) {
		size_t n = strlen(p);

		while (n && isspace((unsigned char)p[n - 1]))
			p[--n] = 0;
		if (n)
			r = text_line(l, p, line++, e);
	}
	free(text);
	for (size_t i = 0; !r && i < l->s->n; i++)
		if (l->s->labels[i] < 0)
			r = err_set(e, ERR_INPUT, "there is no label for %s", l->names[i]);
	return r;
}

static int load_labels(struct loading *l, struct err *e)
{
	enum image_kind kind;
	struct blob b;
	int r;

	l->s->labels = malloc(l->s->n * sizeof(*l->s->labels));
	if (!l->s->labels)
		return err_set(e, ERR_ENV, "out of memory");
	memset(l->s->labels, 0xff, l->s->n * sizeof(*l->s->labels));
	if (blob_read(&b, l->from->labels, e))
		return -1;
	kind = image_kind(b.bytes, b.n);
	r = kind == IMAGE_IDX || kind == IMAGE_NPY ? array_labels(l, &b, e) : text_labels(l, &b, e);
	blob_free(&b);
	return r;
}

/* ---- reference ---- */

static int copy_logits(struct loading *l, const struct array *a, struct err *e)
{
	size_t row = l->from->classes * sizeof(float);

	if (a->type != ARRAY_F32 || a->rank != 2 || a->dims[0] != l->total || a->dims[1] != l->from->classes)
		return err_set(e, ERR_INPUT, "needs float32 of shape (%llu, %zu)",
			       (unsigned long long)l->total, l->from->classes);
	l->s->logits = malloc(l->s->n * row);
	if (!l->s->logits)
		return err_set(e, ERR_ENV, "out of memory");
	memcpy(l->s->logits, a->data + l->from->offset * row, l->s->n * row);
	return 0;
}

static int load_logits(struct loading *l, struct err *e)
{
	struct array a;
	struct blob b;
	int r;

	if (blob_read(&b, l->from->logits, e))
		return -1;
	r = array_npy(&a, b.bytes, b.n, e) || copy_logits(l, &a, e) ? -1 : 0;
	blob_free(&b);
	return r;
}

int samples_load(struct samples *s, const struct samples_from *from, struct err *e)
{
	struct loading l = {s, from, 0, NULL};
	int r;

	memset(s, 0, sizeof(*s));
	s->pixels = shape_size(from->fit.want);
	s->classes = from->classes;
	r = load_pictures(&l, e);
	if (!r && from->labels && (r = load_labels(&l, e)))
		err_context(e, "%s", from->labels);
	if (!r && from->logits && (r = load_logits(&l, e)))
		err_context(e, "%s", from->logits);
	for (size_t i = 0; l.names && i < s->n; i++)
		free(l.names[i]);
	free(l.names);
	if (r)
		samples_free(s);
	return r;
}

int samples_labels(int32_t **labels, const char *path, char **names, size_t n, size_t classes, struct err *e)
{
	struct samples_from from = {.labels = path, .classes = classes};
	struct samples s = {.n = n, .classes = classes};
	struct loading l = {&s, &from, n, names};
	int r = load_labels(&l, e);

	if (r) {
		err_context(e, "%s", path);
		free(s.labels);
		s.labels = NULL;
	}
	*labels = s.labels;
	return r;
}

void samples_free(struct samples *s)
{
	free(s->chw);
	free(s->labels);
	free(s->logits);
	memset(s, 0, sizeof(*s));
}
