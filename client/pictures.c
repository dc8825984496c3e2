/* SPDX-License-Identifier: Apache-2.0 */
#include "client/pictures.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX ((size_t)2 << 30) /* bytes of decoded pictures */

static int add(struct pictures *b, struct image *im, const char *name, struct err *e)
{
	size_t bytes = (size_t)im->w * im->h * im->c;
	struct picture *p = reallocarray(b->all, b->n + 1, sizeof(*p));
	char *copy = strdup(name);

	if (p)
		b->all = p;
	if (!p || !copy) {
		free(copy);
		return err_set(e, ERR_ENV, "out of memory");
	}
	if (bytes > HELD_MAX - b->held) {
		free(copy);
		return err_set(e, ERR_INPUT,
			       "%s: these pictures take more than 2 GiB together; classify them in parts "
			       "with --offset and --limit",
			       name);
	}
	b->held += bytes;
	p[b->n++] = (struct picture){copy, *im, NULL};
	return 0;
}

static int load_source(struct pictures *b, const char *path, uint64_t *offset, uint64_t limit, struct err *e)
{
	struct source *s;
	const char *name;
	struct image im;
	uint64_t skip;
	int r = 0;

	if (source_open(&s, path, e))
		return -1;
	skip = *offset < source_count(s) ? *offset : source_count(s);
	source_skip(s, skip);
	*offset -= skip;
	while (!r && (!limit || b->n < limit)) {
		int got = source_next(s, &im, &name, e);

		if (got <= 0) {
			r = got;
			break;
		}
		r = add(b, &im, name, e);
		if (r)
			image_free(&im);
	}
	source_close(s);
	return r;
}

int pictures_load(struct pictures *b, char *const *sources, int n, uint64_t offset, uint64_t limit,
		  struct err *e)
{
	int r = 0;

	memset(b, 0, sizeof(*b));
	for (int i = 0; !r && i < n; i++)
		r = load_source(b, sources[i], &offset, limit, e);
	if (!r && !b->n)
		r = err_set(e, ERR_INPUT, "there is no picture left after --offset");
	if (r)
		pictures_free(b);
	return r;
}

int pictures_fit(struct pictures *b, const struct fit *fit, struct err *e)
{
	b->pixels = shape_size(fit->want);
	for (size_t i = 0; i < b->n; i++) {
		struct picture *p = &b->all[i];

		p->chw = malloc(b->pixels);
		if (!p->chw)
			return err_set(e, ERR_ENV, "out of memory");
		if (image_fit(p->chw, &p->image, fit, e))
			return err_context(e, "%s", p->name);
		image_free(&p->image);
	}
	return 0;
}

void pictures_free(struct pictures *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->all[i].name);
		free(b->all[i].chw);
		image_free(&b->all[i].image);
	}
	free(b->all);
	memset(b, 0, sizeof(*b));
}
