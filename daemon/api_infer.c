/* SPDX-License-Identifier: Apache-2.0 */
/* A request's steps: read, ask what the model takes, decode files, ask the data owner, answer. */
#include "daemon/api_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"

#define JSON_NUMBERS (1u << 18) /* of one output */
#define INLINE_BYTES 32768	/* longer requests are read on a worker: JSON takes its time */

static struct api_call *call_new(struct api *a, struct http_call *http, const char *model)
{
	struct api_call *c = calloc(1, sizeof(*c));

	if (!c) {
		http_refuse(http, 503, "out of memory");
		return NULL;
	}
	c->api = a;
	c->http = http;
	c->limits = a->limits;
	snprintf(c->model, sizeof(c->model), "%s", model);
	c->next = a->calls;
	a->calls = c;
	return c;
}

void api_call_free(struct api_call *c)
{
	struct api_call **at = &c->api->calls;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	decoder_cancel(c->decoding);
	if (c->chw)
		secret_wipe(c->chw, c->q.n * shape_size(c->want));
	free(c->chw);
	infer_free(&c->q);
	free(c);
}

/* Nobody waits longer than the daemon's own limit: connections are few. */
static uint32_t deadline_of(const struct api_call *c)
{
	uint64_t most = c->api->config->deadline_ms;

	return (uint32_t)(c->q.deadline_ms && c->q.deadline_ms < most ? c->q.deadline_ms : most);
}

/* word: lives as long as q. */
static void choose(Wire__Classify *q, struct api_call *c, char **word)
{
	*word = c->q.personality;
	q->personalities = word;
	q->n_personalities = c->q.personality[0] != 0;
}

static void refuse(struct api_call *c, const struct err *e)
{
	http_refuse_err(c->http, e);
	api_call_free(c);
}

/* An answer's error. */
static void refuse_as(struct api_call *c, const Wire__Error *error)
{
	struct err e = {0};

	err_set(&e, (enum err_code)error->code, "%s", error->text);
	refuse(c, &e);
}

/* ---- the inference ---- */

static void on_classified(void *ctx, const Wire__Classified *m)
{
	struct api_call *c = ctx;

	if (m->error) {
		refuse_as(c, m->error);
		return;
	}
	api_answer(c, m);
	api_call_free(c);
}

/* Whether the outputs can be written: a number in JSON takes some 60 bytes of memory, too. */
static int check_outputs(const struct api_call *c, struct err *e)
{
	int scores = !c->q.n_wanted && !c->q.binary_output;
	int views = 0;

	for (unsigned i = 0; i < c->q.n_wanted; i++) {
		const struct infer_wanted *w = &c->q.wanted[i];

		scores |= w->what == INFER_SCORES && !w->binary;
		views |= (w->what == INFER_VIEW_OWNER || w->what == INFER_VIEW_MODEL) && !w->binary;
	}
	if ((scores && c->q.n * c->classes > JSON_NUMBERS) ||
	    (views && c->q.n * shape_size(c->want) > JSON_NUMBERS))
		return err_set(
		    e, ERR_INPUT,
		    "these outputs of %zu pictures are too long for JSON; ask for them with \"binary_data\": "
		    "true, or send fewer",
		    c->q.n);
	return 0;
}

static void classify(struct api_call *c)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	uint8_t *pixels = c->chw ? c->chw : c->q.pixels;
	size_t n = shape_size(c->want);
	struct err e = {0};
	char *word;

	if (check_outputs(c, &e)) {
		refuse(c, &e);
		return;
	}
	q.images = calloc(c->q.n, sizeof(*q.images));
	if (!q.images) {
		err_set(&e, ERR_ENV, "out of memory for %zu pictures", c->q.n);
		refuse(c, &e);
		return;
	}
	choose(&q, c, &word);
	q.model = c->model;
	q.optimise = c->q.optimise;
	q.reveal = c->q.reveal;
	q.views = infer_wants(&c->q, INFER_VIEW_MODEL) || infer_wants(&c->q, INFER_LAYERS);
	q.deadline_ms = deadline_of(c);
	for (size_t i = 0; i < c->q.n; i++)
		q.images[i] = (ProtobufCBinaryData){n, pixels + i * n};
	q.n_images = c->q.n;
	data_owner_classify(c->api->owner, &q, on_classified, c); /* c may be gone */
	free(q.images);
}

/* ---- pictures from files ---- */

static void decode_next(struct api_call *c);

static void on_decoded(void *ctx, const uint8_t *chw, const struct err *why)
{
	struct api_call *c = ctx;
	size_t n = shape_size(c->want);
	struct err e = *why;

	c->decoding = NULL;
	if (!chw) {
		err_context(&e, "picture %zu", c->at);
		refuse(c, &e);
		return;
	}
	memcpy(c->chw + c->at++ * n, chw, n);
	decode_next(c);
}

static void decode_next(struct api_call *c)
{
	const struct infer_file *f = &c->q.files[c->at];
	struct fit fit = {.want = c->want, .resize = c->resize, .convert = c->q.convert};
	struct err e = {0};

	if (c->at == c->q.n)
		classify(c);
	else if (decoder_start(&c->decoding, c->api->decoder, &fit, f->bytes, f->n, on_decoded, c, &e))
		refuse(c, &e);
}

static void start_pictures(struct api_call *c)
{
	size_t n = shape_size(c->want);
	struct err e = {0};

	if (c->q.pixels) {
		if (infer_fit(&c->q, c->want, &e))
			refuse(c, &e);
		else
			classify(c);
		return;
	}
	c->chw = n <= ((size_t)1 << 30) / c->q.n ? malloc(n * c->q.n) : NULL;
	if (c->chw) {
		decode_next(c);
		return;
	}
	err_set(&e, ERR_ENV, "out of memory for %zu pictures of %zu bytes", c->q.n, n);
	refuse(c, &e);
}

/* ---- the model ---- */

static void ask_model(struct api_call *c, data_owner_reply reply)
{
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	char *word;

	choose(&q, c, &word);
	q.model = c->model;
	q.optimise = c->q.optimise;
	q.reveal = c->q.reveal;
	q.deadline_ms = deadline_of(c);
	q.describe = 1;
	data_owner_classify(c->api->owner, &q, reply, c);
}

/* A model's owner may give only labels. Who did not ask for scores in so many words gets the label then. 1: c
 * is taken care of. */
static int refused(struct api_call *c, const Wire__Classified *m, data_owner_reply reply)
{
	if (!m->error)
		return 0;
	if (c->refusal.code) {
		refuse(c, &c->refusal);
	} else if (m->error->code == ERR_PEER && !c->q.scores_asked && c->q.reveal == REVEAL_LOGITS) {
		err_set(&c->refusal, ERR_PEER, "%s", m->error->text);
		c->q.reveal = REVEAL_LABEL;
		ask_model(c, reply);
	} else {
		refuse_as(c, m->error);
	}
	return 1;
}

static void on_described(void *ctx, const Wire__Classified *m)
{
	struct api_call *c = ctx;

	if (refused(c, m, on_described))
		return;
	c->want = (struct shape){m->input->c, m->input->h, m->input->w};
	c->classes = m->classes;
	c->resize = m->resize == NN_RESIZE_NONE ? NN_RESIZE_NONE : NN_RESIZE_BILINEAR;
	start_pictures(c);
}

/* ---- reading ---- */

/* May run on a worker: c's body stays where it is until c is answered. */
static void read_request(struct job *job)
{
	struct api_call *c = (struct api_call *)job;
	const uint8_t *body;
	size_t n;

	body = http_body(c->http, &n);
	if (infer_parse(&c->q, body, n, http_header(c->http, "Inference-Header-Content-Length"),
			http_header(c->http, "Content-Type"), &c->limits, &c->unread))
		err_set(&c->unread, ERR_INPUT, "the request cannot be read");
}

static void on_read(struct job *job)
{
	struct api_call *c = (struct api_call *)job;

	if (!c->api->owner)
		err_set(&c->unread, ERR_REACH, "the data owner stops");
	if (c->unread.code)
		refuse(c, &c->unread);
	else
		ask_model(c, on_described);
}

void api_infer(struct api *a, struct http_call *http, const char *model)
{
	const struct host *host = net_host(a->net);
	struct api_call *c = call_new(a, http, model);
	size_t n;

	if (!c)
		return;
	c->job = (struct job){.run = read_request, .done = on_read, .urgent = 1};
	http_body(http, &n); /* in one piece from now on */
	if (n > INLINE_BYTES) {
		host->submit(host->ctx, &c->job);
		return;
	}
	read_request(&c->job);
	on_read(&c->job);
}

static void on_metadata(void *ctx, const Wire__Classified *m)
{
	struct api_call *c = ctx;

	if (refused(c, m, on_metadata))
		return;
	api_describe(c->http, c->model, m, c->q.reveal == REVEAL_LABEL);
	api_call_free(c);
}

void api_metadata(struct api *a, struct http_call *http, const char *model)
{
	struct api_call *c = call_new(a, http, model);

	if (!c)
		return;
	c->q.optimise = a->limits.optimise;
	ask_model(c, on_metadata);
}
