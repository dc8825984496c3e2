/* SPDX-License-Identifier: Apache-2.0 */
/* obscura batch nats://HOST/STREAM: takes images from a work queue, has the data owner's daemon of this host
 * classify them, stores the results in the queue. An image is acknowledged only when its result is stored: if
 * this process, its daemon or its host dies, the image goes to another worker, where it takes fresh tickets
 * like any other. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ask.h"
#include "client/feed.h"
#include "client/job.h"
#include "client/json.h"
#include "client/queue.h"

#define GROUP_FIRST 16
#define GROUP_MOST 512
#define GROUP_BYTES ((size_t)16 << 20)
#define QUICK_S 1.0 /* a group that takes less is followed by a larger one … */
#define SLOW_S                                                                                               \
	4.0 /* … and by a smaller one if it takes more: other workers want to know soon that we died       \
	     */
#define WAIT_MS 1000

struct worker {
	const struct args *args;
	struct queue queue;
	struct feed *feed;
	struct ask *ask; /* NULL: the daemon has gone */
	struct fit fit;
	Wire__Classified *model; /* owns */
	enum plan_reveal reveal;
	char *personality;
	char host[65], trouble[512];
	size_t group, n; /* items wanted at once; there are */
	struct feed_item items[GROUP_MOST];
	uint8_t *pixels[GROUP_MOST]; /* own; NULL: cannot be used, the item's why says it */
	uint64_t done, failed;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void say(struct worker *w, const char *text)
{
	if (strcmp(w->trouble, text))
		fprintf(stderr, "obscura: waiting: %s\n", text);
	snprintf(w->trouble, sizeof(w->trouble), "%s", text);
}

/* ---- the daemon ---- */

static Wire__Classify request(struct worker *w)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;

	q.model = (char *)(uintptr_t)(w->args->flag[FLAG_model] ? w->args->flag[FLAG_model] : "");
	q.optimise = plan_optimise_named(w->args->config.optimise);
	q.reveal = w->reveal;
	q.personalities = &w->personality;
	q.n_personalities = 1;
	q.deadline_ms = (uint32_t)w->args->config.deadline_ms;
	return q;
}

static int connect_daemon(struct worker *w, struct err *e)
{
	Wire__Classify q = request(w);
	const Wire__Shape *in;

	if (w->model)
		wire__classified__free_unpacked(w->model, NULL);
	w->model = NULL;
	ask_close(w->ask);
	w->ask = NULL;
	q.describe = 1;
	if (ask_open(&w->ask, &w->args->config, 0, e) || ask_classify(w->ask, &q, &w->model, e)) {
		ask_close(w->ask);
		w->ask = NULL;
		return -1;
	}
	in = w->model->input;
	if (!in || !in->c || !in->h || !in->w || in->c > NN_MAX_CHANNELS ||
	    (uint64_t)in->h * in->w > NN_MAX_ELEMENTS / in->c)
		return err_set(e, ERR_PEER, "the data owner says nothing usable about the model's input");
	w->fit =
	    (struct fit){.want = {in->c, in->h, in->w},
			 .resize = w->model->resize == NN_RESIZE_NONE ? NN_RESIZE_NONE : NN_RESIZE_BILINEAR,
			 .convert = w->args->flag[FLAG_convert] != NULL};
	return 0;
}

/* ---- from the queue ---- */

static void drop(struct worker *w, size_t i)
{
	free(w->pixels[i]);
	w->pixels[i] = NULL;
}

static void give_back_all(struct worker *w)
{
	for (size_t i = 0; i < w->n; i++) {
		feed_give_back(w->feed, &w->items[i]);
		drop(w, i);
	}
	w->n = 0;
}

static int fit_item(struct worker *w, struct feed_item *item, uint8_t **pixels, struct err *e)
{
	*pixels = NULL;
	if (item->why.code)
		return 0;
	*pixels = malloc(shape_size(w->fit.want));
	if (!*pixels)
		return err_set(e, ERR_ENV, "out of memory");
	if (image_fit(*pixels, &item->image, &w->fit, &item->why)) {
		free(*pixels);
		*pixels = NULL;
	}
	image_free(&item->image);
	return 0;
}

static int gather(struct worker *w, struct err *e)
{
	size_t most = GROUP_BYTES / shape_size(w->fit.want);

	if (most > w->group)
		most = w->group;
	while (w->n < most + !most) {
		int got = feed_next(w->feed, &w->items[w->n], e);

		if (got <= 0)
			return got;
		w->n++;
		if (fit_item(w, &w->items[w->n - 1], &w->pixels[w->n - 1], e))
			return -1;
	}
	return 0;
}

/* ---- results ---- */

/* x: NULL when the image cannot be used. */
static struct json_object *result_of(const struct worker *w, const struct feed_item *item,
				     const Wire__Result *x)
{
	struct json_object *o = json_object_new_object(), *scores;

	json_text(o, "image", item->name);
	json_text(o, "worker", w->host);
	if (!x) {
		json_text(o, "error", item->why.text);
		return o;
	}
	json_text(o, "model", w->model->model);
	json_count(o, "label", x->label);
	if (x->label < w->model->n_labels)
		json_text(o, "name", w->model->labels[x->label]);
	scores = json_object_new_array();
	for (size_t i = 0; w->reveal != REVEAL_LABEL && i < x->n_scores; i++)
		json_object_array_add(scores, json_real_new(x->scores[i]));
	json_object_object_add(o, "scores", scores);
	return o;
}

static int store_result(struct worker *w, size_t i, const Wire__Result *x, struct err *e)
{
	struct json_object *o = result_of(w, &w->items[i], x);
	const char *text =
	    json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	const char *id = feed_queue_id(w->feed, &w->items[i]);
	int stored = text ? queue_publish(&w->queue, "result", id, NULL, text, strlen(text), e)
			  : err_set(e, ERR_ENV, "out of memory");

	json_object_put(o);
	if (stored == 1)
		x ? w->done++ : w->failed++;
	return stored < 0 ? -1 : 0;
}

/* What was stored is acknowledged, the rest given back. */
static int finish_group(struct worker *w, const Wire__Classified *reply, struct err *e)
{
	size_t result = 0;
	int failed = 0;

	for (size_t i = 0; i < w->n; i++) {
		const Wire__Result *x = w->pixels[i] ? reply->results[result++] : NULL;

		failed = failed || store_result(w, i, x, e);
		if (failed)
			feed_give_back(w->feed, &w->items[i]);
		else if (feed_acknowledge(w->feed, &w->items[i], e))
			failed = -1;
		drop(w, i);
	}
	w->n = 0;
	return failed ? -1 : 0;
}

static int classify_group(struct worker *w, struct err *e)
{
	Wire__Classify q = request(w);
	ProtobufCBinaryData images[GROUP_MOST];
	Wire__Classified none = WIRE__CLASSIFIED__INIT, *reply = NULL;
	int failed;

	for (size_t i = 0; i < w->n; i++)
		if (w->pixels[i])
			images[q.n_images++] = (ProtobufCBinaryData){shape_size(w->fit.want), w->pixels[i]};
	q.images = images;
	if (q.n_images && ask_classify(w->ask, &q, &reply, e))
		return -1;
	if (reply && reply->n_results != q.n_images)
		failed = err_set(e, ERR_PEER, "the data owner gave %zu results for %zu pictures",
				 reply->n_results, q.n_images);
	else
		failed = finish_group(w, reply ? reply : &none, e);
	if (reply)
		wire__classified__free_unpacked(reply, NULL);
	return failed;
}

/* ---- the loop ---- */

/* SIGTERM and SIGINT are blocked in all threads and looked for between groups: one that is under way ends
 * first. */
static sigset_t stop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

static int must_stop(void)
{
	sigset_t set = stop_signals();

	return sigtimedwait(&set, NULL, &(struct timespec){0}) > 0;
}

/* Nothing came. 1: the queue is empty and that was waited for. Asking the daemon shows whether it is there.
 */
static int idle(struct worker *w, struct err *e)
{
	Wire__Status *status;
	uint64_t waiting;

	if (ask_status(w->ask, &status, e))
		return -1;
	wire__status__free_unpacked(status, NULL);
	if (!w->args->flag[FLAG_drain])
		return 0;
	return queue_waiting(&w->queue, &waiting, e) ? -1 : !waiting;
}

static int advance(struct worker *w, struct err *e)
{
	double began;

	if (!w->ask && connect_daemon(w, e))
		return -1;
	if (gather(w, e))
		return -1;
	if (!w->n)
		return idle(w, e);
	began = now_s();
	if (classify_group(w, e))
		return -1;
	w->trouble[0] = 0;
	if (now_s() - began < QUICK_S && w->group < GROUP_MOST)
		w->group *= 2;
	else if (now_s() - began > SLOW_S && w->group > 1)
		w->group /= 2;
	return 0;
}

/* Daemons, peers and the queue come back; what is wrong with us does not mend. */
static int run(struct worker *w, struct err *e)
{
	while (!must_stop()) {
		struct err why = {0};
		int step = advance(w, &why);

		if (step > 0)
			return 0;
		if (!step)
			continue;
		give_back_all(w);
		if (why.code != ERR_REACH && why.code != ERR_PEER) {
			*e = why;
			return -1;
		}
		say(w, why.text);
		ask_close(w->ask);
		w->ask = NULL;
		usleep(WAIT_MS * 1000);
	}
	return 0;
}

int worker_run(const struct args *a, const char *url, struct err *e)
{
	struct worker *w = calloc(1, sizeof(*w));
	sigset_t set = stop_signals();
	enum personality p;
	int failed;

	if (!w)
		return err_set(e, ERR_ENV, "out of memory");
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	w->args = a;
	w->group = GROUP_FIRST;
	gethostname(w->host, sizeof(w->host) - 1);
	failed = args_personality(a, &p, e) || args_reveal(a, &w->reveal, e);
	w->personality = (char *)(uintptr_t)(failed ? "" : personality_name(p));
	failed = failed || queue_open(&w->queue, url, &a->config, e) || feed_queue(&w->feed, &w->queue, e) ||
		 connect_daemon(w, e) || run(w, e);
	give_back_all(w);
	if (!failed || w->done || w->failed)
		printf("%llu images classified, %llu could not be\n", (unsigned long long)w->done,
		       (unsigned long long)w->failed);
	if (!failed && *personality_leaks(p))
		printf("%s leaks %s\n", w->personality, personality_leaks(p));
	feed_close(w->feed);
	queue_close(&w->queue);
	nats_Close();
	ask_close(w->ask);
	if (w->model)
		wire__classified__free_unpacked(w->model, NULL);
	free(w);
	return failed ? -1 : 0;
}
