/* SPDX-License-Identifier: Apache-2.0 */
/* Sources of a batch in general, and files. */
#include "client/feed.h"

#include <stdlib.h>
#include <string.h>

struct feed {
	const struct feed_ops *ops;
	void *ctx;
};

struct files {
	struct source *source;
	uint64_t offset, total, at; /* at: of total */
};

struct feed *feed_new(const struct feed_ops *ops, void *ctx, struct err *e)
{
	struct feed *f = calloc(1, sizeof(*f));

	if (f)
		*f = (struct feed){ops, ctx};
	else
		err_set(e, ERR_ENV, "out of memory");
	return f;
}

void *feed_ctx(const struct feed *f)
{
	return f->ctx;
}

static void item_free(struct feed_item *item)
{
	image_free(&item->image);
	free(item->name);
	memset(item, 0, sizeof(*item));
}

int feed_next(struct feed *f, struct feed_item *item, struct err *e)
{
	memset(item, 0, sizeof(*item));
	return f->ops->next(f->ctx, item, e);
}

int feed_acknowledge(struct feed *f, struct feed_item *item, struct err *e)
{
	int r = f->ops->acknowledge ? f->ops->acknowledge(f->ctx, item, e) : 0;

	item_free(item);
	return r;
}

void feed_give_back(struct feed *f, struct feed_item *item)
{
	if (f->ops->give_back)
		f->ops->give_back(f->ctx, item);
	item_free(item);
}

void feed_close(struct feed *f)
{
	if (!f)
		return;
	if (f->ops->close)
		f->ops->close(f->ctx);
	free(f);
}

/* ---- files ---- */

static int files_next(void *ctx, struct feed_item *item, struct err *e)
{
	struct files *f = ctx;
	const char *name;
	int r;

	if (f->at >= f->total)
		return 0;
	r = source_next(f->source, &item->image, &name, &item->why);
	/* a picture that is damaged or gone is one result among others; memory that is short ends the run */
	if (r <= 0 && (!name || item->why.code != ERR_INPUT)) {
		*e = item->why;
		return err_set(e, ERR_INPUT, "the source ends early");
	}
	f->at++;
	item->name = strdup(name);
	if (item->name)
		return 1;
	image_free(&item->image);
	return err_set(e, ERR_ENV, "out of memory");
}

static void files_close(void *ctx)
{
	struct files *f = ctx;

	source_close(f->source);
	free(f);
}

int feed_files(struct feed **feed, const char *src, uint64_t offset, uint64_t limit, struct err *e)
{
	static const struct feed_ops ops = {.next = files_next, .close = files_close};
	struct files *f = calloc(1, sizeof(*f));

	*feed = NULL;
	if (!f)
		return err_set(e, ERR_ENV, "out of memory");
	f->offset = offset;
	if (source_open(&f->source, src, e))
		goto fail;
	source_skip(f->source, offset);
	f->total = source_count(f->source);
	if (limit && f->total > limit)
		f->total = limit;
	if (!f->total) {
		err_set(e, ERR_INPUT, "there is no picture left after --offset");
		goto fail;
	}
	*feed = feed_new(&ops, f, e);
	if (*feed)
		return 0;
fail:
	files_close(f);
	return -1;
}

int feed_identity(const struct feed *feed, uint8_t identity[32], struct err *e)
{
	const struct files *f = feed->ctx;

	return source_identity(f->source, identity, e);
}

uint64_t feed_total(const struct feed *feed)
{
	const struct files *f = feed->ctx;

	return f->total;
}

int feed_restart(struct feed *feed, uint64_t n, struct err *e)
{
	struct files *f = feed->ctx;

	if (n > f->total)
		return err_set(e, ERR_INPUT, "the job has %llu images stored, its source has %llu",
			       (unsigned long long)n, (unsigned long long)f->total);
	source_seek(f->source, f->offset + n);
	f->at = n;
	return 0;
}
