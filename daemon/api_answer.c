/* SPDX-License-Identifier: Apache-2.0 */
/* The answer: outputs as JSON or as binary data behind it, and what the inference cost. */
#include "daemon/api_parts.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/json.h"
#include "protocol/personality.h"

#define NUMBER_MAX 48

/* Binary data: bytes one after another. */
struct tail {
	uint8_t *bytes; /* owns */
	size_t n, room;
	int failed;
};

/* One output while it is written: elements go to data, or to the tail. */
struct writing {
	const struct api_call *call;
	const Wire__Classified *m;
	struct json_object *data; /* NULL: binary */
	struct tail *tail;
};

static void tail_add(struct tail *t, const void *bytes, size_t n)
{
	if (n > t->room - t->n) {
		size_t room = 2 * t->room + n + 4096;
		uint8_t *more = realloc(t->bytes, room);

		if (!more) {
			t->failed = 1;
			return;
		}
		t->bytes = more;
		t->room = room;
	}
	memcpy(t->bytes + t->n, bytes, n);
	t->n += n;
}

/* ---- elements ---- */

static void put_real(struct writing *w, float value)
{
	uint32_t bits;

	if (w->data) {
		json_object_array_add(w->data, json_real_new(value));
		return;
	}
	memcpy(&bits, &value, sizeof(bits));
	bits = htole32(bits);
	tail_add(w->tail, &bits, sizeof(bits));
}

static void put_whole(struct writing *w, int64_t value)
{
	uint64_t bits = htole64((uint64_t)value);

	if (w->data)
		json_object_array_add(w->data, json_object_new_int64(value));
	else
		tail_add(w->tail, &bits, sizeof(bits));
}

static void put_text(struct writing *w, const char *text)
{
	uint32_t n = (uint32_t)strlen(text), bits = htole32(n);

	if (w->data) {
		json_object_array_add(w->data, json_object_new_string(text));
		return;
	}
	tail_add(w->tail, &bits, sizeof(bits));
	tail_add(w->tail, text, n);
}

static void put_pixels(struct writing *w, const uint8_t *pixels, size_t n)
{
	for (size_t i = 0; w->data && i < n; i++)
		json_object_array_add(w->data, json_object_new_int(pixels[i]));
	if (!w->data)
		tail_add(w->tail, pixels, n);
}

/* ---- outputs ---- */

static const char *class_name(const Wire__Classified *m, uint32_t label)
{
	return label < m->n_labels ? m->labels[label] : "";
}

static int by_score(const void *a, const void *b, void *scores)
{
	const float *s = scores, x = s[*(const uint32_t *)a], y = s[*(const uint32_t *)b];

	return x != y ? (x < y) - (x > y) : (*(const uint32_t *)a > *(const uint32_t *)b) * 2 - 1;
}

/* The best `most` as "value:index:name", as the classification extension has them. */
static void put_classes(struct writing *w, const Wire__Result *r, size_t most)
{
	uint32_t *order = calloc(r->n_scores, sizeof(*order));
	char text[NUMBER_MAX + 300];

	if (!order) {
		w->tail->failed = 1;
		return;
	}
	for (uint32_t i = 0; i < r->n_scores; i++)
		order[i] = i;
	qsort_r(order, r->n_scores, sizeof(*order), by_score, r->scores);
	for (size_t i = 0; i < most; i++) {
		const char *name = class_name(w->m, order[i]);

		snprintf(text, sizeof(text), "%.9g:%u%s%.255s", r->scores[order[i]], order[i],
			 *name ? ":" : "", name);
		put_text(w, text);
	}
	free(order);
}

static void put_label(struct writing *w, const Wire__Result *r, int names)
{
	char number[NUMBER_MAX];

	if (!names) {
		put_whole(w, r->label);
		return;
	}
	snprintf(number, sizeof(number), "%u", r->label);
	put_text(w, *class_name(w->m, r->label) ? class_name(w->m, r->label) : number);
}

static void put_image(struct writing *w, const struct infer_wanted *wanted, size_t i)
{
	const struct api_call *c = w->call;
	const Wire__Result *r = w->m->results[i];
	size_t n = shape_size(c->want);
	const uint8_t *pixels = c->chw ? c->chw : c->q.pixels;

	switch (wanted->what) {
	case INFER_SCORES:
		for (size_t k = 0; !wanted->classes && k < r->n_scores; k++)
			put_real(w, r->scores[k]);
		if (wanted->classes)
			put_classes(w, r, wanted->classes < r->n_scores ? wanted->classes : r->n_scores);
		break;
	case INFER_LABEL:
		put_label(w, r, wanted->names);
		break;
	case INFER_VIEW_OWNER:
		put_pixels(w, pixels + i * n, n);
		break;
	default:
		put_pixels(w, r->masked.data, r->masked.len);
	}
}

/* Of the whole batch: "operator:nanoseconds of computing:of waiting:bytes sent:bytes received". */
static void put_layers(struct writing *w)
{
	char text[4 * NUMBER_MAX + 64];

	for (size_t i = 0; i < w->m->n_layers; i++) {
		const Wire__Layer *l = w->m->layers[i];

		snprintf(text, sizeof(text), "%.40s:%llu:%llu:%llu:%llu", l->op,
			 (unsigned long long)l->compute, (unsigned long long)l->wait,
			 (unsigned long long)l->sent, (unsigned long long)l->received);
		put_text(w, text);
	}
}

static void add_number(struct json_object *list, uint64_t n)
{
	json_object_array_add(list, json_object_new_uint64(n));
}

static struct json_object *shape_of(const struct api_call *c, const Wire__Classified *m,
				    const struct infer_wanted *w)
{
	struct json_object *shape = json_object_new_array();

	add_number(shape, w->what == INFER_LAYERS ? m->n_layers : m->n_results);
	if (w->what == INFER_SCORES) {
		add_number(shape, w->classes && w->classes < m->classes ? w->classes : m->classes);
	} else if (w->what == INFER_VIEW_OWNER || w->what == INFER_VIEW_MODEL) {
		add_number(shape, c->want.c);
		add_number(shape, c->want.h);
		add_number(shape, c->want.w);
	}
	return shape;
}

static const char *type_of(const struct infer_wanted *w)
{
	if (w->what == INFER_SCORES)
		return w->classes ? "BYTES" : "FP32";
	if (w->what == INFER_LABEL)
		return w->names ? "BYTES" : "INT64";
	return w->what == INFER_LAYERS ? "BYTES" : "UINT8";
}

static struct json_object *output(const struct api_call *c, const Wire__Classified *m,
				  const struct infer_wanted *wanted, struct tail *tail)
{
	struct json_object *o = json_object_new_object();
	struct writing w = {c, m, wanted->binary ? NULL : json_object_new_array(), tail};
	size_t before = tail->n;

	json_text(o, "name", infer_output_names[wanted->what]);
	json_text(o, "datatype", type_of(wanted));
	json_object_object_add(o, "shape", shape_of(c, m, wanted));
	for (size_t i = 0; wanted->what != INFER_LAYERS && i < m->n_results; i++)
		put_image(&w, wanted, i);
	if (wanted->what == INFER_LAYERS)
		put_layers(&w);
	if (w.data) {
		json_object_object_add(o, "data", w.data);
	} else {
		struct json_object *p = json_object_new_object();

		json_count(p, "binary_data_size", tail->n - before);
		json_object_object_add(o, "parameters", p);
	}
	return o;
}

/* All that the model has, when nothing was said. */
static struct json_object *outputs(const struct api_call *c, const Wire__Classified *m, struct tail *tail)
{
	struct json_object *list = json_object_new_array();
	struct infer_wanted all[] = {{.what = INFER_SCORES, .binary = c->q.binary_output},
				     {.what = INFER_LABEL, .binary = c->q.binary_output}};

	for (unsigned i = 0; i < c->q.n_wanted; i++)
		json_object_array_add(list, output(c, m, &c->q.wanted[i], tail));
	for (unsigned i = c->q.reveal == REVEAL_LABEL; !c->q.n_wanted && i < 2; i++)
		json_object_array_add(list, output(c, m, &all[i], tail));
	return list;
}

/* ---- what it cost ---- */

static void add_bytes(struct json_object *o, const char *what, const char *phase, uint64_t sent,
		      uint64_t received, const uint64_t *provider)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s_sent", what, phase);
	json_count(o, name, sent);
	snprintf(name, sizeof(name), "%s_%s_received", what, phase);
	json_count(o, name, received);
	snprintf(name, sizeof(name), "%s_%s_provider", what, phase);
	if (provider)
		json_count(o, name, *provider);
}

static void sum(Wire__Counted *to, const Wire__Counted *c)
{
	to->sent += c->sent;
	to->received += c->received;
	to->provider += c->provider;
}

/* Of all pictures of the request. */
static void add_costs(struct json_object *o, const Wire__Classified *m)
{
	Wire__Counted n[4] = {WIRE__COUNTED__INIT, WIRE__COUNTED__INIT, WIRE__COUNTED__INIT,
			      WIRE__COUNTED__INIT};
	uint64_t provider;

	for (size_t i = 0; i < m->n_results; i++) {
		sum(&n[0], m->results[i]->bytes->online);
		sum(&n[1], m->results[i]->bytes->offline);
		sum(&n[2], m->results[i]->wire->online);
		sum(&n[3], m->results[i]->wire->offline);
	}
	add_bytes(o, "bytes", "online", n[0].sent, n[0].received, NULL);
	add_bytes(o, "bytes", "offline", n[1].sent, n[1].received, &n[1].provider);
	add_bytes(o, "wire", "online", n[2].sent, n[2].received, NULL);
	add_bytes(o, "wire", "offline", n[3].sent, n[3].received, NULL);
	add_bytes(o, "predicted", "online", m->n_results * m->predicted->online->sent,
		  m->n_results * m->predicted->online->received, NULL);
	provider = m->n_results * m->predicted->offline->provider;
	add_bytes(o, "predicted", "offline", m->n_results * m->predicted->offline->sent,
		  m->n_results * m->predicted->offline->received, &provider);
}

/* Flat, as the protocol's parameters are. */
static struct json_object *parameters(const Wire__Classified *m)
{
	struct json_object *o = json_object_new_object();
	const Wire__Result *r = m->results[0];
	enum personality p = personality_named(m->personality);

	json_text(o, "personality", m->personality);
	if (p < PERSONALITIES && *personality_leaks(p))
		json_text(o, "leaks", personality_leaks(p));
	json_text(o, "mode", m->mode);
	json_count(o, "batch", r->batch);
	json_count(o, "round_trips", r->round_trips);
	json_count(o, "predicted_round_trips", m->predicted_round_trips);
	json_real(o, "seconds_online", r->online);
	json_real(o, "seconds_offline", r->offline);
	json_real(o, "seconds_connect", r->connect);
	json_real(o, "seconds_total", r->total);
	add_costs(o, m);
	json_count(o, "setup_bytes", m->setup_bytes);
	json_object_object_add(o, "simulated", json_object_new_boolean(m->simulated));
	return o;
}

/* ---- the answer ---- */

static void send_all(struct http_call *http, struct json_object *o, struct tail *tail)
{
	const char *text = json_plain(o);
	size_t n = text ? strlen(text) : 0;
	char length[NUMBER_MAX];
	uint8_t *all;

	if (!tail->n && !tail->failed) {
		http_reply_json(http, 200, json_object_get(o));
		return;
	}
	all = text && !tail->failed ? malloc(n + tail->n) : NULL;
	if (!all) {
		http_refuse(http, 503, "out of memory for the answer");
		return;
	}
	memcpy(all, text, n);
	memcpy(all + n, tail->bytes, tail->n);
	snprintf(length, sizeof(length), "%zu", n);
	http_set(http, "Inference-Header-Content-Length", length);
	http_reply(http, 200, "application/octet-stream", all, n + tail->n);
	free(all);
}

static int has_views(const struct api_call *c, const Wire__Classified *m)
{
	for (size_t i = 0; i < m->n_results; i++)
		if (m->results[i]->masked.len != shape_size(c->want))
			return 0;
	return 1;
}

void api_answer(struct api_call *c, const Wire__Classified *m)
{
	struct json_object *o = json_object_new_object();
	struct tail tail = {0};

	if (infer_wants(&c->q, INFER_VIEW_MODEL) && !has_views(c, m)) {
		json_object_put(o);
		http_refuse(c->http, 400,
			    "what the model owner saw cannot be shown with personality %s: leave "
			    "view_model_owner out",
			    m->personality);
		return;
	}
	json_text(o, "model_name", c->model);
	if (c->q.id)
		json_text(o, "id", c->q.id);
	json_object_object_add(o, "parameters", parameters(m));
	json_object_object_add(o, "outputs", outputs(c, m, &tail));
	send_all(c->http, o, &tail);
	json_object_put(o);
	free(tail.bytes);
}

/* ---- metadata ---- */

static struct json_object *tensor(const char *name, const char *type, const int64_t *shape, size_t rank)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_text(o, "name", name);
	json_text(o, "datatype", type);
	for (size_t i = 0; i < rank; i++)
		json_object_array_add(list, json_object_new_int64(shape[i]));
	json_object_object_add(o, "shape", list);
	return o;
}

void api_describe(struct http_call *http, const char *model, const Wire__Classified *m, int label_only)
{
	struct json_object *o = json_object_new_object(), *in = json_object_new_array(),
			   *out = json_object_new_array();

	json_text(o, "name", model);
	json_text(o, "platform", "obscura_smpc");
	json_object_array_add(
	    in, tensor(INFER_INPUT, "UINT8", (int64_t[]){-1, m->input->c, m->input->h, m->input->w}, 4));
	if (!label_only)
		json_object_array_add(out, tensor("scores", "FP32", (int64_t[]){-1, m->classes}, 2));
	json_object_array_add(out, tensor("label", "INT64", (int64_t[]){-1}, 1));
	json_object_object_add(o, "inputs", in);
	json_object_object_add(o, "outputs", out);
	http_reply_json(http, 200, o);
}
