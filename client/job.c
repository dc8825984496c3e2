/* SPDX-License-Identifier: Apache-2.0 */
/* obscura batch: images → the ledger of the data owner's daemon → a file of results. Whatever dies on the
 * way, the same command again goes on where it was. */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ask.h"
#include "client/feed.h"
#include "client/job.h"
#include "client/progress.h"
#include "client/queue.h"

#define PIECE_IMAGES 256
#define PIECE_BYTES ((size_t)8 << 20)
#define PAGE 5000	 /* rows */
#define POLL_MS 200	 /* how often is asked how far it is */
#define RECONNECT_MS 500 /* how often a daemon that has gone is looked for */

struct run {
	const struct args *args;
	const char *src;
	enum personality personality;
	enum plan_reveal reveal;
	uint64_t offset, limit;
	uint8_t key[32];
	struct feed *feed;
	struct ask *ask;	 /* NULL: the daemon has gone */
	Wire__Classified *model; /* owns: what the model is */
	struct fit fit;
	struct results results;
	struct progress progress;
	/* as the daemon last said */
	uint64_t stored, done, failed;
	int sealed;
	char trouble[256];
	/* read from the feed and not yet stored */
	struct feed_item items[PIECE_IMAGES];
	uint8_t *pixels[PIECE_IMAGES]; /* own; NULL: the item's why */
	size_t n_items;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- which job ---- */

static void hash_text(crypto_hash_sha256_state *h, const char *text)
{
	crypto_hash_sha256_update(h, (const uint8_t *)text, strlen(text) + 1);
}

/* The same images for the same file of results, by the same model in the same way. */
static int make_key(struct run *r, struct err *e)
{
	const struct args *a = r->args;
	const char *model = a->flag[FLAG_model], *out = a->flag[FLAG_out], *slash = strrchr(out, '/');
	char folder[PATH_MAX], *real;
	uint64_t numbers[] = {r->reveal, a->flag[FLAG_convert] != NULL, r->offset, r->limit};
	crypto_hash_sha256_state h;
	uint8_t identity[32];

	if (feed_identity(r->feed, identity, e))
		return -1;
	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - out + 1) : 1, slash ? out : ".");
	real = realpath(folder, NULL);
	if (!real)
		return err_set(e, ERR_ENV, "the folder of %s: %s", out, strerror(errno));
	crypto_hash_sha256_init(&h);
	hash_text(&h, "obscura batch 1");
	hash_text(&h, real);
	hash_text(&h, slash ? slash + 1 : out);
	hash_text(&h, model ? model : "");
	hash_text(&h, a->config.optimise);
	if (r->personality != PERSONALITY_SMPC)
		hash_text(&h, personality_name(r->personality));
	crypto_hash_sha256_update(&h, (const uint8_t *)numbers, sizeof(numbers));
	crypto_hash_sha256_update(&h, identity, sizeof(identity));
	crypto_hash_sha256_final(&h, r->key);
	free(real);
	return 0;
}

static Wire__Job job_of(struct run *r)
{
	Wire__Job job = WIRE__JOB__INIT;

	job.key.data = r->key;
	job.key.len = sizeof(r->key);
	job.model = (char *)(uintptr_t)(r->args->flag[FLAG_model] ? r->args->flag[FLAG_model] : "");
	job.optimise = plan_optimise_named(r->args->config.optimise);
	job.reveal = r->reveal;
	job.personality = (char *)(uintptr_t)personality_name(r->personality);
	return job;
}

/* ---- talking ---- */

static void note_trouble(struct run *r, const char *text)
{
	int again = !strcmp(r->trouble, text);

	snprintf(r->trouble, sizeof(r->trouble), "%s", text);
	if (again || !*text)
		return;
	progress_end(&r->progress);
	fprintf(stderr, "obscura: waiting: %s\n", r->trouble);
}

/* Returns 1 when it is known, with its counts in r. reply may be NULL. */
static int ask(struct run *r, const Wire__Job *job, Wire__JobReply **reply, struct err *e)
{
	Wire__JobReply *m;
	int known;

	if (ask_job(r->ask, job, &m, e))
		return -1;
	known = m->known;
	if (known) {
		r->stored = m->stored;
		r->done = m->done;
		r->failed = m->failed;
		r->sealed = m->sealed;
		note_trouble(r, m->trouble);
	}
	if (reply)
		*reply = m;
	else
		wire__job_reply__free_unpacked(m, NULL);
	return known;
}

/* What the model wants and how its classes are called, as it was when the job began. */
static int take_model(struct run *r, const uint8_t *packed, size_t n, struct err *e)
{
	const Wire__Shape *in;

	if (r->model)
		wire__classified__free_unpacked(r->model, NULL);
	r->model = wire__classified__unpack(NULL, n, packed);
	in = r->model ? r->model->input : NULL;
	if (!in || !in->c || !in->h || !in->w || in->c > NN_MAX_CHANNELS ||
	    (uint64_t)in->h * in->w > NN_MAX_ELEMENTS / in->c)
		return err_set(e, ERR_PEER, "the data owner says nothing usable about the model's input");
	r->fit =
	    (struct fit){.want = {in->c, in->h, in->w},
			 .resize = r->model->resize == NN_RESIZE_NONE ? NN_RESIZE_NONE : NN_RESIZE_BILINEAR,
			 .convert = r->args->flag[FLAG_convert] != NULL};
	r->results.names = r->model->labels;
	r->results.n_names = r->model->n_labels;
	r->results.personality = r->personality;
	r->results.simulated = r->model->simulated;
	return 0;
}

static int open_known(struct run *r, struct err *e)
{
	Wire__Job job = job_of(r);
	Wire__JobReply *m;
	int known;

	job.open = 1;
	known = ask(r, &job, &m, e);
	if (known > 0 && take_model(r, m->described.data, m->described.len, e))
		known = -1;
	if (known >= 0)
		wire__job_reply__free_unpacked(m, NULL);
	return known;
}

static int open_new(struct run *r, int again, struct err *e)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	Wire__Job job = job_of(r);
	Wire__Classified *reply;
	int failed;

	q.model = job.model;
	q.optimise = job.optimise;
	q.reveal = r->reveal;
	q.personalities = &job.personality;
	q.n_personalities = 1;
	q.describe = 1;
	q.deadline_ms = (uint32_t)(r->args->config.connect_ms * 2);
	if (ask_classify(r->ask, &q, &reply, e))
		return -1;
	job.open = 1;
	job.again = (protobuf_c_boolean)again;
	job.described.len = wire__classified__get_packed_size(reply);
	job.described.data = malloc(job.described.len + 1);
	if (!job.described.data)
		failed = err_set(e, ERR_ENV, "out of memory");
	else
		failed =
		    take_model(r, job.described.data, wire__classified__pack(reply, job.described.data), e) ||
		    ask(r, &job, NULL, e) < 0;
	wire__classified__free_unpacked(reply, NULL);
	free(job.described.data);
	return failed ? -1 : 0;
}

/* The job is known to the daemon, or is made; the feed stands after what is stored. */
static int open_job(struct run *r, int again, struct err *e)
{
	int known = again ? 0 : open_known(r, e);

	if (known < 0 || (!known && open_new(r, again, e)))
		return -1;
	return feed_restart(r->feed, r->stored, e);
}

/* ---- images to the ledger ---- */

static void drop_piece(struct run *r)
{
	for (size_t i = 0; i < r->n_items; i++) {
		feed_give_back(r->feed, &r->items[i]);
		free(r->pixels[i]);
	}
	r->n_items = 0;
}

static int fit_item(struct run *r, size_t i, struct err *e)
{
	struct feed_item *item = &r->items[i];

	r->pixels[i] = NULL;
	if (item->why.code)
		return 0;
	r->pixels[i] = malloc(shape_size(r->fit.want));
	if (!r->pixels[i])
		return err_set(e, ERR_ENV, "out of memory");
	if (image_fit(r->pixels[i], &item->image, &r->fit, &item->why)) {
		free(r->pixels[i]);
		r->pixels[i] = NULL;
		if (item->why.code != ERR_INPUT)
			return err_set(e, item->why.code, "%s: %s", item->name, item->why.text);
	}
	image_free(&item->image);
	return 0;
}

static int read_piece(struct run *r, struct err *e)
{
	size_t most = PIECE_BYTES / shape_size(r->fit.want), got = 1;

	if (most > PIECE_IMAGES)
		most = PIECE_IMAGES;
	while (r->n_items < most + !most && got) {
		int next = feed_next(r->feed, &r->items[r->n_items], e);

		if (next < 0)
			return -1;
		got = (size_t)next;
		if (got && fit_item(r, r->n_items++, e))
			return -1;
	}
	return 0;
}

static int put_piece(struct run *r, struct err *e)
{
	Wire__JobImage images[PIECE_IMAGES], *list[PIECE_IMAGES];
	Wire__Job job = job_of(r);
	uint64_t before = r->stored;
	int known;

	for (size_t i = 0; i < r->n_items; i++) {
		wire__job_image__init(&images[i]);
		images[i].name = r->items[i].name;
		if (r->pixels[i])
			images[i].pixels = (ProtobufCBinaryData){shape_size(r->fit.want), r->pixels[i]};
		else
			images[i].error = r->items[i].why.text;
		list[i] = &images[i];
	}
	job.first = before;
	job.images = list;
	job.n_images = r->n_items;
	job.sealed = before + r->n_items == feed_total(r->feed);
	known = ask(r, &job, NULL, e);
	if (known <= 0)
		return known < 0 ? -1 : err_set(e, ERR_REACH, "the daemon has forgotten the job");
	if (r->stored == before) {
		sleep_ms(POLL_MS); /* the ledger is full until images are done */
		return 0;
	}
	if (r->stored != before + r->n_items)
		return err_set(e, ERR_PEER, "another obscura batch works on the same job");
	drop_piece(r);
	return 0;
}

/* ---- the whole way ---- */

/* One step with a daemon that is there. Returns 1 when all is done. */
static int advance(struct run *r, struct err *e)
{
	Wire__Job job = job_of(r);
	int known;

	if (!r->sealed)
		return (!r->n_items && read_piece(r, e)) || put_piece(r, e) ? -1 : 0;
	if (r->done + r->failed >= r->stored)
		return 1;
	sleep_ms(POLL_MS);
	known = ask(r, &job, NULL, e);
	return known > 0 ? 0 : known < 0 ? -1 : err_set(e, ERR_REACH, "the daemon has forgotten the job");
}

static int connect_again(struct run *r, struct err *e)
{
	ask_close(r->ask);
	r->ask = NULL;
	drop_piece(r);
	return ask_open(&r->ask, &r->args->config, 0, e) || open_job(r, 0, e) ? -1 : 0;
}

/* A daemon that goes away is waited for: the job is in its ledger. */
static int run_job(struct run *r, struct err *e)
{
	struct err why = {0};
	int step = 0;

	progress_start(&r->progress, "images", feed_total(r->feed));
	r->progress.first = r->done + r->failed;
	while (step <= 0) {
		step = step < 0 ? connect_again(r, &why) : advance(r, &why);
		if (step < 0 && why.code != ERR_REACH) {
			*e = why;
			break;
		}
		if (step < 0) {
			note_trouble(r, why.text);
			why = (struct err){0};
			sleep_ms(RECONNECT_MS);
		}
		progress_at(&r->progress, r->done + r->failed);
	}
	progress_end(&r->progress);
	return step < 0 ? -1 : 0;
}

static int page(void *ctx, uint64_t from, Wire__JobReply **reply, struct err *e)
{
	struct run *r = ctx;
	Wire__Job job = job_of(r);
	struct err why = {0};

	job.from = from;
	job.most = PAGE;
	for (;;) {
		int known = r->ask ? ask(r, &job, reply, &why) : err_set(&why, ERR_REACH, "no connection");

		if (known > 0)
			return 0;
		if (!known)
			return err_set(e, ERR_PEER, "the daemon has forgotten the job: run it again");
		if (why.code != ERR_REACH) {
			*e = why;
			return -1;
		}
		note_trouble(r, why.text);
		sleep_ms(RECONNECT_MS);
		why = (struct err){0};
		ask_close(r->ask);
		if (ask_open(&r->ask, &r->args->config, 0, &why))
			why = (struct err){0};
	}
}

/* The file is written. */
static int conclude(struct run *r, double began, uint64_t before, struct err *e)
{
	const struct results *x = &r->results;

	if (results_summary(x, now_s() - began, x->n - before, e))
		return -1;
	if (x->failed)
		return err_set(e, ERR_RESULT, "%llu of %llu images were not classified: %s says why",
			       (unsigned long long)x->failed, (unsigned long long)x->n, x->path);
	return 0;
}

static int finish(struct run *r, double began, uint64_t before, struct err *e)
{
	r->results.page = page;
	r->results.ctx = r;
	r->results.n = r->stored;
	return results_write(&r->results, e) || conclude(r, began, before, e) ? -1 : 0;
}

/* The workers of a queue do the work. */
static int run_queue(struct run *r, struct err *e)
{
	double began = now_s();

	return collect_run(&r->results, r->feed, r->args, r->key, e) || conclude(r, began, 0, e) ? -1 : 0;
}

static int run_all(struct run *r, struct err *e)
{
	double began = now_s();
	uint64_t before;

	if (ask_open(&r->ask, &r->args->config, 0, e) || open_job(r, r->args->flag[FLAG_again] != NULL, e))
		return -1;
	before = r->done + r->failed;
	return run_job(r, e) || finish(r, began, before, e) ? -1 : 0;
}

static int parse(struct run *r, const struct args *a, struct err *e)
{
	if (a->n != 1)
		return err_set(e, ERR_USAGE, "say which: obscura batch SRC --out FILE.csv");
	if (!a->flag[FLAG_out] || !*a->flag[FLAG_out])
		return err_set(e, ERR_USAGE, "say where results go: --out FILE.csv or FILE.jsonl");
	if (a->flag[FLAG_queue] && !queue_is_url(a->flag[FLAG_queue]))
		return err_set(
		    e, ERR_USAGE,
		    "--queue: \"%.80s\" is no queue; write nats://HOST:PORT/STREAM or tls://HOST:PORT/STREAM",
		    a->flag[FLAG_queue]);
	r->src = a->words[0];
	if (args_personality(a, &r->personality, e) || args_reveal(a, &r->reveal, e) ||
	    args_number(a, FLAG_offset, 0, 0, UINT32_MAX, &r->offset, e))
		return -1;
	return args_number(a, FLAG_limit, 0, 1, UINT32_MAX, &r->limit, e);
}

int command_batch(struct args *a, struct err *e)
{
	struct run *r;
	int failed;

	if (a->n == 1 && queue_is_url(a->words[0]))
		return worker_run(a, a->words[0], e);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ERR_ENV, "out of memory");
	r->args = a;
	r->results.part = -1;
	failed = parse(r, a, e) || feed_files(&r->feed, r->src, r->offset, r->limit, e) || make_key(r, e) ||
		 results_open(&r->results, a, e) || (a->flag[FLAG_queue] ? run_queue(r, e) : run_all(r, e));
	drop_piece(r);
	results_close(&r->results);
	ask_close(r->ask);
	feed_close(r->feed);
	if (r->model)
		wire__classified__free_unpacked(r->model, NULL);
	free(r);
	return failed ? -1 : 0;
}
