/* SPDX-License-Identifier: Apache-2.0 */
/* obscura batch SRC --queue nats://HOST/STREAM: hands images to the workers of a queue and collects their
 * results. Image i of a job is JOB.i in the queue, JOB being digits of the job's key: whoever starts the same
 * again finds what is there. */
#include <json-c/json.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/feed.h"
#include "client/job.h"
#include "client/progress.h"
#include "client/queue.h"
#include "daemon/ledger.h"

#define WAIT_MS 500
#define QUIET_MOST 20 /* waits without a result before we look whether images were lost */
#define PAGE 1000
#define CLASSES_MAX (1u << 20)

struct outcome {
	char *name; /* owns; NULL: its image was not read yet */
	int known;
	enum ledger_state state;
	uint32_t label;
	char *error;   /* owns */
	float *scores; /* owns */
	size_t n_scores;
};

struct collect {
	const struct args *args;
	struct feed *feed; /* borrows */
	struct queue queue;
	natsSubscription *sub;
	char job[17];
	struct outcome *outcomes; /* owns: n */
	uint64_t n, known;
	struct progress progress;
	char **names; /* own: of classes, as workers say */
	size_t n_names;
};

/* ---- results that come ---- */

static struct json_object *field(struct json_object *o, const char *name, enum json_type type)
{
	struct json_object *x = NULL;

	return json_object_object_get_ex(o, name, &x) && json_object_is_type(x, type) ? x : NULL;
}

static int take_scores(struct outcome *x, struct json_object *scores)
{
	size_t n = scores ? json_object_array_length(scores) : 0;

	if (n > CLASSES_MAX || !(x->scores = calloc(n + 1, sizeof(float))))
		return -1;
	for (size_t i = 0; i < n; i++)
		x->scores[i] = (float)json_object_get_double(json_object_array_get_idx(scores, i));
	x->n_scores = n;
	return 0;
}

static void take_class(struct collect *c, uint32_t label, struct json_object *name)
{
	char **names;

	if (!name || label > 4096)
		return;
	if (label >= c->n_names) {
		names = reallocarray(c->names, label + 1, sizeof(*names));
		if (!names)
			return;
		memset(names + c->n_names, 0, (label + 1 - c->n_names) * sizeof(*names));
		c->names = names;
		c->n_names = label + 1;
	}
	if (!c->names[label])
		c->names[label] = strdup(json_object_get_string(name));
}

/* What a worker wrote is checked like anything from outside: what makes no sense is a failure of that image.
 */
static void take_json(struct collect *c, struct outcome *x, struct json_object *o)
{
	struct json_object *label = field(o, "label", json_type_int),
			   *error = field(o, "error", json_type_string);
	int64_t value = label ? json_object_get_int64(label) : -1;

	if (!error && value >= 0 && value < CLASSES_MAX &&
	    !take_scores(x, field(o, "scores", json_type_array))) {
		x->state = LEDGER_DONE;
		x->label = (uint32_t)value;
		take_class(c, x->label, field(o, "name", json_type_string));
		return;
	}
	x->state = LEDGER_FAILED;
	x->error = strdup(error ? json_object_get_string(error) : "its result in the queue cannot be read");
}

static void take_result(struct collect *c, natsMsg *m)
{
	const char *number = strrchr(natsMsg_GetSubject(m), '.') + 1;
	char *end;
	unsigned long long i = strtoull(number, &end, 10);
	struct json_tokener *t;
	struct json_object *o;

	if (*end || end == number || i >= c->n || c->outcomes[i].known)
		return;
	t = json_tokener_new();
	o = t ? json_tokener_parse_ex(t, natsMsg_GetData(m), natsMsg_GetDataLength(m)) : NULL;
	take_json(c, &c->outcomes[i], o);
	json_object_put(o);
	json_tokener_free(t);
	c->outcomes[i].known = 1;
	c->known++;
}

/* 1: one came; *behind: how many more are there. 0: none within ms. */
static int next_result(struct collect *c, int64_t ms, uint64_t *behind, struct err *e)
{
	jsMsgMetaData *meta = NULL;
	natsMsg *m = NULL;
	natsStatus s = natsSubscription_NextMsg(&m, c->sub, ms);

	*behind = 0;
	if (s == NATS_TIMEOUT)
		return 0;
	if (s != NATS_OK)
		return queue_fail(&c->queue, s, "read results", e);
	if (natsMsg_GetMetaData(&meta, m) == NATS_OK)
		*behind = meta->NumPending;
	jsMsgMetaData_Destroy(meta);
	take_result(c, m);
	natsMsg_Destroy(m);
	return 1;
}

static int read_what_is_there(struct collect *c, struct err *e)
{
	uint64_t behind = 1;
	int got = 1;

	while (got > 0 && behind && c->known < c->n)
		got = next_result(c, WAIT_MS, &behind, e);
	return got < 0 ? -1 : 0;
}

/* ---- images that go ---- */

static void *pnm(const struct image *im, size_t *n)
{
	size_t bytes = (size_t)im->w * im->h * im->c;
	char *out = malloc(bytes + 64);
	int head = out ? snprintf(out, 64, "P%c\n%u %u\n255\n", im->c == 1 ? '5' : '6', im->w, im->h) : 0;

	if (out)
		memcpy(out + head, im->pixels, bytes);
	*n = (size_t)head + bytes;
	return out;
}

static int put_one(struct collect *c, uint64_t i, const struct feed_item *item, struct err *e)
{
	size_t n;
	void *bytes = pnm(&item->image, &n);
	char id[64];
	int r;

	snprintf(id, sizeof(id), "%s.%llu", c->job, (unsigned long long)i);
	r = bytes ? queue_publish(&c->queue, "image", id, item->name, bytes, n, e)
		  : err_set(e, ERR_ENV, "out of memory");
	free(bytes);
	return r < 0 ? -1 : 0;
}

static void fail_here(struct collect *c, struct outcome *x, const char *why)
{
	x->state = LEDGER_FAILED;
	x->error = strdup(why);
	x->known = 1;
	c->known++;
}

static int put_item(struct collect *c, uint64_t i, struct feed_item *item, struct err *e)
{
	struct outcome *x = &c->outcomes[i];
	struct err why = {0};

	if (!x->name && !(x->name = strdup(item->name)))
		return err_set(e, ERR_ENV, "out of memory");
	if (x->known)
		return 0;
	if (item->why.code)
		fail_here(c, x, item->why.text);
	else if (put_one(c, i, item, &why) && why.code == ERR_INPUT)
		fail_here(c, x, why.text); /* too large for the queue */
	else if (why.code)
		*e = why;
	return e->code ? -1 : 0;
}

/* All that has no result and is not in the queue. */
static int put_all(struct collect *c, struct err *e)
{
	struct feed_item item;
	int got, failed;

	if (feed_restart(c->feed, 0, e))
		return -1;
	for (uint64_t i = 0; i < c->n; i++) {
		got = feed_next(c->feed, &item, e);
		if (got != 1)
			return got < 0 ? -1 : err_set(e, ERR_INPUT, "the source ends early");
		failed = put_item(c, i, &item, e);
		feed_give_back(c->feed, &item);
		if (failed)
			return -1;
		progress_at(&c->progress, c->known);
	}
	return 0;
}

/* ---- all ---- */

static int forget(struct collect *c, const char *stream, const char *kind, struct err *e)
{
	char subject[128];
	jsOptions o;
	jsErrCode code = 0;
	natsStatus s;

	snprintf(subject, sizeof(subject), "%s.%s.%s.*", c->queue.stream, kind, c->job);
	jsOptions_Init(&o);
	o.Stream.Purge.Subject = subject;
	s = js_PurgeStream(c->queue.js, stream, &o, &code);
	return s == NATS_OK ? 0 : queue_fail(&c->queue, s, "forget the job", e);
}

/* Nothing has come for long: if no worker has or will get an image, what is missing goes in again. */
static int look_for_lost(struct collect *c, struct err *e)
{
	uint64_t waiting;

	if (queue_waiting(&c->queue, &waiting, e))
		return -1;
	if (waiting || read_what_is_there(c, e) || c->known == c->n)
		return e->code ? -1 : 0;
	return forget(c, c->queue.stream, "image", e) || put_all(c, e) ? -1 : 0;
}

static int wait_for_all(struct collect *c, struct err *e)
{
	unsigned quiet = 0;
	uint64_t behind;

	while (c->known < c->n) {
		int got = next_result(c, WAIT_MS, &behind, e);

		quiet = got ? 0 : quiet + 1;
		if (got < 0 || (quiet % QUIET_MOST == QUIET_MOST - 1 && look_for_lost(c, e)))
			return -1;
		progress_at(&c->progress, c->known);
	}
	return 0;
}

static int subscribe(struct collect *c, struct err *e)
{
	jsSubOptions o;
	jsErrCode code = 0;
	char subject[128];
	natsStatus s;

	snprintf(subject, sizeof(subject), "%s.result.%s.*", c->queue.stream, c->job);
	jsSubOptions_Init(&o);
	o.Stream = c->queue.results;
	o.Ordered = true;
	s = js_SubscribeSync(&c->sub, c->queue.js, subject, NULL, &o, &code);
	return s == NATS_OK ? 0 : queue_fail(&c->queue, s, "subscribe to results", e);
}

static int run(struct collect *c, struct err *e)
{
	if (c->args->flag[FLAG_again] &&
	    (forget(c, c->queue.stream, "image", e) || forget(c, c->queue.results, "result", e)))
		return -1;
	progress_start(&c->progress, "images", c->n);
	if (subscribe(c, e) || read_what_is_there(c, e))
		return -1;
	c->progress.first = c->known;
	if (put_all(c, e) || wait_for_all(c, e))
		return -1;
	progress_end(&c->progress);
	return 0;
}

/* ---- as the file of results wants them ---- */

static Wire__JobRow *row_of(const struct outcome *x)
{
	Wire__JobRow *row = malloc(sizeof(*row));

	if (!row)
		return NULL;
	wire__job_row__init(row);
	row->state = x->state;
	row->name = strdup(x->name);
	row->label = x->label;
	row->error = strdup(x->error ? x->error : "");
	row->scores = malloc(x->n_scores * sizeof(float) + 1);
	if (row->scores && x->n_scores)
		memcpy(row->scores, x->scores, x->n_scores * sizeof(float));
	row->n_scores = row->scores ? x->n_scores : 0;
	if (row->name && row->error && row->scores)
		return row;
	wire__job_row__free_unpacked(row, NULL);
	return NULL;
}

static int page(void *ctx, uint64_t from, Wire__JobReply **reply, struct err *e)
{
	struct collect *c = ctx;
	Wire__JobReply *m = malloc(sizeof(*m));

	if (!m)
		return err_set(e, ERR_ENV, "out of memory");
	wire__job_reply__init(m);
	m->rows = calloc(PAGE, sizeof(*m->rows));
	for (uint64_t i = from; m->rows && i < c->n && i < from + PAGE; i++) {
		m->rows[m->n_rows] = row_of(&c->outcomes[i]);
		if (!m->rows[m->n_rows])
			break;
		m->n_rows++;
	}
	*reply = m;
	if (m->n_rows)
		return 0;
	wire__job_reply__free_unpacked(m, NULL);
	return err_set(e, ERR_ENV, "out of memory");
}

static void collect_free(struct collect *c)
{
	for (uint64_t i = 0; c->outcomes && i < c->n; i++) {
		free(c->outcomes[i].name);
		free(c->outcomes[i].error);
		free(c->outcomes[i].scores);
	}
	for (size_t i = 0; i < c->n_names; i++)
		free(c->names[i]);
	free(c->names);
	free(c->outcomes);
	natsSubscription_Destroy(c->sub);
	queue_close(&c->queue);
	nats_Close();
	free(c);
}

int collect_run(struct results *r, struct feed *feed, const struct args *a, const uint8_t key[32],
		struct err *e)
{
	struct collect *c = calloc(1, sizeof(*c));
	int failed;

	if (!c)
		return err_set(e, ERR_ENV, "out of memory");
	c->args = a;
	c->feed = feed;
	c->n = feed_total(feed);
	c->outcomes = calloc(c->n, sizeof(*c->outcomes));
	sodium_bin2hex(c->job, sizeof(c->job), key, 8);
	failed = c->outcomes ? 0 : err_set(e, ERR_ENV, "out of memory");
	failed = failed || queue_open(&c->queue, a->flag[FLAG_queue], &a->config, e) || run(c, e);
	if (!failed) {
		for (size_t i = 0; i < c->n_names; i++)
			if (!c->names[i] && !(c->names[i] = strdup("")))
				failed = err_set(e, ERR_ENV, "out of memory");
		r->names = c->names;
		r->n_names = c->n_names;
		r->page = page;
		r->ctx = c;
		r->n = c->n;
		failed = failed || results_write(r, e);
		r->names = NULL;
	}
	collect_free(c);
	return failed ? -1 : 0;
}
