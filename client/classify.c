/* SPDX-License-Identifier: Apache-2.0 */
/* obscura classify: pictures → the data owner (daemon, or --standalone) → labels and scores. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ask.h"
#include "client/command.h"
#include "client/enclave.h"
#include "client/he.h"
#include "client/json.h"
#include "client/picture.h"
#include "client/pictures.h"
#include "client/sheet.h"
#include "crypto/cpu.h"

#define REQUEST_BYTES (48u << 20) /* of pixels in one request: below the limit of a CLASSIFY frame */
#define CLASSES_MAX (1u << 20)

/* One run of the command. */
struct run {
	const struct args *args;
	enum personality personality;
	enum plan_reveal reveal;
	uint64_t top, offset, limit;
	struct pictures pictures;
	struct ask *ask;
	struct enclave *enclave; /* instead, with --personality enclave */
	struct shape input;
	enum nn_resize resize;
	struct sheet *sheet; /* NULL: JSON */
	size_t failed;
	int simulated;
};

static int question(struct run *r, const Wire__Classify *q, Wire__Classified **reply, struct err *e)
{
	return r->enclave ? enclave_classify(r->enclave, q, reply, e) : ask_classify(r->ask, q, reply, e);
}

static Wire__Classify request_of(const struct run *r)
{
	static char *personalities[1];
	Wire__Classify q = WIRE__CLASSIFY__INIT;

	personalities[0] = (char *)(uintptr_t)personality_name(r->personality);
	q.personalities = personalities;
	q.n_personalities = 1;
	q.model = (char *)(r->args->flag[FLAG_model] ? r->args->flag[FLAG_model] : "");
	q.optimise = plan_optimise_named(r->args->config.optimise);
	q.reveal = r->reveal;
	q.deadline_ms = (uint32_t)r->args->config.deadline_ms;
	return q;
}

/* ---- what the model wants ---- */

static int describe(struct run *r, struct err *e)
{
	Wire__Classify q = request_of(r);
	Wire__Classified *reply;
	int failed = 0;

	q.describe = 1;
	if (question(r, &q, &reply, e))
		return -1;
	if (!reply->input || !reply->input->c || !reply->input->h || !reply->input->w ||
	    reply->input->c > NN_MAX_CHANNELS ||
	    (uint64_t)reply->input->h * reply->input->w > NN_MAX_ELEMENTS / reply->input->c)
		failed = err_set(e, ERR_PEER, "the data owner says nothing usable about the model's input");
	else
		r->input = (struct shape){reply->input->c, reply->input->h, reply->input->w};
	r->simulated = reply->simulated;
	r->resize = reply->resize == NN_RESIZE_NONE ? NN_RESIZE_NONE : NN_RESIZE_BILINEAR;
	wire__classified__free_unpacked(reply, NULL);
	return failed;
}

/* ---- printing ---- */

/* The name of a class: the model's, or its number. */
static const char *class_name(const Wire__Classified *c, uint32_t label, char number[16])
{
	if (label < c->n_labels && c->labels[label][0])
		return c->labels[label];
	snprintf(number, 16, "%u", label);
	return number;
}

static struct json_object *json_bytes(const Wire__Bytes *b)
{
	static const Wire__Counted none = WIRE__COUNTED__INIT;
	const Wire__Counted *on = b && b->online ? b->online : &none,
			    *off = b && b->offline ? b->offline : &none;
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "online", json_counted(on->sent, on->received, NULL));
	json_object_object_add(o, "offline", json_counted(off->sent, off->received, &off->provider));
	return o;
}

static struct json_object *json_seconds(const Wire__Result *x)
{
	struct json_object *o = json_object_new_object();

	json_real(o, "online", x->online);
	json_real(o, "offline", x->offline);
	json_real(o, "connect", x->connect);
	json_real(o, "total", x->total);
	return o;
}

static int print_json(const struct run *r, const struct picture *p, const Wire__Classified *c,
		      const Wire__Result *x, struct err *e)
{
	struct json_object *o = json_object_new_object(), *scores = json_object_new_array(),
			   *predicted = json_object_new_object();
	char number[16];

	json_text(o, "image", p->name);
	json_text(o, "model", c->model);
	json_count(o, "label", x->label);
	json_text(o, "name", class_name(c, x->label, number));
	for (size_t i = 0; i < x->n_scores; i++)
		json_object_array_add(scores, json_real_new(x->scores[i]));
	json_object_object_add(o, "scores", scores);
	json_text(o, "personality", c->personality);
	if (*personality_leaks(r->personality))
		json_text(o, "leaks", personality_leaks(r->personality));
	json_text(o, "mode", c->mode);
	json_count(o, "batch", x->batch);
	json_object_object_add(o, "seconds", json_seconds(x));
	json_count(o, "round_trips", x->round_trips);
	json_object_object_add(o, "bytes", json_bytes(x->bytes));
	json_object_object_add(o, "wire", json_bytes(x->wire));
	json_count(predicted, "round_trips", c->predicted_round_trips);
	json_object_object_add(predicted, "bytes", json_bytes(c->predicted));
	json_object_object_add(o, "predicted", predicted);
	json_count(o, "setup_bytes", c->setup_bytes);
	json_object_object_add(o, "simulated", json_object_new_boolean(c->simulated));
	return json_line(o, e);
}

/* "seven 8.13, three 1.20": the best `top` classes. scores is consumed. */
static void best(const Wire__Classified *c, const Wire__Result *x, uint64_t top, char *text, size_t bytes)
{
	size_t at = 0;

	*text = 0;
	for (uint64_t n = 0; n < top && n < x->n_scores && at < bytes; n++) {
		uint32_t greatest = 0;
		char number[16];

		for (uint32_t i = 1; i < x->n_scores; i++)
			if (x->scores[i] > x->scores[greatest])
				greatest = i;
		at += (size_t)snprintf(text + at, bytes - at, "%s%s %.3g", n ? ", " : "",
				       class_name(c, greatest, number), x->scores[greatest]);
		x->scores[greatest] = -__FLT_MAX__;
	}
}

static uint64_t sum(const Wire__Counted *c)
{
	return c ? c->sent + c->received + c->provider : 0;
}

static void print_row(const struct run *r, const struct picture *p, const Wire__Classified *c,
		      const Wire__Result *x)
{
	const char *slash = strrchr(p->name, '/');
	char number[16], scores[256], ms[24];

	sheet_row(r->sheet);
	sheet_cell(r->sheet, "%s", slash && slash[1] ? slash + 1 : p->name);
	sheet_cell(r->sheet, "%s", class_name(c, x->label, number));
	best(c, x, r->reveal == REVEAL_LABEL ? 1 : r->top, scores, sizeof(scores));
	sheet_cell(r->sheet, "%s", r->reveal == REVEAL_LABEL ? "not revealed" : scores);
	sheet_cell(r->sheet, "%s", sheet_seconds(ms, x->online));
	sheet_cell(r->sheet, "%u", x->batch);
	sheet_cell(r->sheet, "%u", x->round_trips);
	sheet_cell(r->sheet, "%llu", (unsigned long long)(x->bytes ? sum(x->bytes->online) : 0));
	sheet_cell(r->sheet, "%llu", (unsigned long long)(c->predicted ? sum(c->predicted->online) : 0));
	sheet_cell(r->sheet, "%llu", (unsigned long long)(x->bytes ? sum(x->bytes->offline) : 0));
	sheet_cell(r->sheet, "%llu", (unsigned long long)(c->predicted ? sum(c->predicted->offline) : 0));
}

static int print_failure(struct run *r, const struct picture *p, const Wire__Error *error, struct err *e)
{
	struct json_object *o;

	r->failed++;
	if (r->sheet) {
		fprintf(stderr, "obscura: %s: %s\n", p->name, error->text);
		return 0;
	}
	o = json_object_new_object();
	json_text(o, "image", p->name);
	json_text(o, "error", error->text);
	return json_line(o, e);
}

/* "digits/seven.png" → "seven"; "t10k.gz[3]" → "t10k-3". */
static void view_name(const char *name, char *out, size_t bytes)
{
	const char *slash = strrchr(name, '/'), *base = slash && slash[1] ? slash + 1 : name;
	size_t n = strcspn(base, ".["), at = n < bytes / 2 ? n : bytes / 2;
	const char *index = strrchr(base, '[');

	memcpy(out, base, at);
	out[at] = 0;
	if (index)
		snprintf(out + at, bytes - at, "-%.*s", (int)strcspn(index + 1, "]"), index + 1);
	if (!*out || !strcmp(out, "-"))
		snprintf(out, bytes, "picture");
}

static int write_views(const struct run *r, const struct picture *p, const Wire__Result *x, struct err *e)
{
	const uint8_t *masked = x->masked.len == r->pictures.pixels ? x->masked.data : NULL;
	char name[128];

	view_name(p->name, name, sizeof(name));
	return picture_views(r->sheet ? stdout : stderr, r->args->flag[FLAG_views], name, p->chw, masked,
			     r->input, e);
}

static int print_reply(struct run *r, size_t first, size_t n, const Wire__Classified *c, struct err *e)
{
	if (c->n_results != n)
		return err_set(e, ERR_PEER, "the data owner gave %zu results for %zu pictures", c->n_results,
			       n);
	for (size_t i = 0; i < n; i++) {
		const struct picture *p = &r->pictures.all[first + i];
		const Wire__Result *x = c->results[i];

		if (x->error) {
			if (print_failure(r, p, x->error, e))
				return -1;
			continue;
		}
		if (!r->sheet && print_json(r, p, c, x, e))
			return -1;
		if (r->sheet)
			print_row(r, p, c, x);
	}
	return 0;
}

/* ---- the command ---- */

static int views_of(struct run *r, size_t first, const Wire__Classified *c, struct err *e)
{
	for (size_t i = 0; r->args->flag[FLAG_views] && i < c->n_results; i++)
		if (!c->results[i]->error && write_views(r, &r->pictures.all[first + i], c->results[i], e))
			return -1;
	return 0;
}

static int classify_part(struct run *r, size_t first, size_t n, struct err *e)
{
	Wire__Classify q = request_of(r);
	Wire__Classified *reply;
	int failed;

	q.views = r->args->flag[FLAG_views] != NULL;
	q.images = calloc(n, sizeof(*q.images));
	if (!q.images)
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < n; i++)
		q.images[i] = (ProtobufCBinaryData){r->pictures.pixels, r->pictures.all[first + i].chw};
	q.n_images = n;
	failed = question(r, &q, &reply, e);
	free(q.images);
	if (failed)
		return -1;
	failed = print_reply(r, first, n, reply, e) || views_of(r, first, reply, e) ? -1 : 0;
	wire__classified__free_unpacked(reply, NULL);
	return failed;
}

static int classify_all(struct run *r, struct err *e)
{
	size_t part = REQUEST_BYTES / r->pictures.pixels;

	if (part > r->args->config.max_batch)
		part = r->args->config.max_batch;
	if (!part)
		part = 1;
	for (size_t first = 0; first < r->pictures.n; first += part)
		if (classify_part(r, first, r->pictures.n - first < part ? r->pictures.n - first : part, e))
			return -1;
	return 0;
}

/* The data owner's daemon has a policy of its own; who names one here judges the enclave here. */
static int speaks_itself(const struct run *r)
{
	return r->personality == PERSONALITY_ENCLAVE &&
	       (r->args->flag[FLAG_policy] || r->args->flag[FLAG_accept_simulated] ||
		r->args->flag[FLAG_standalone]);
}

static int contact(struct run *r, struct err *e)
{
	struct fit fit = {.convert = r->args->flag[FLAG_convert] != NULL};
	int failed;

	if (speaks_itself(r) ? enclave_open(&r->enclave, r->args, 'D', e)
			     : ask_open(&r->ask, &r->args->config, r->args->flag[FLAG_standalone] != NULL, e))
		return -1;
	if (describe(r, e))
		return -1;
	fit.want = r->input;
	fit.resize = r->resize;
	if (pictures_fit(&r->pictures, &fit, e))
		return -1;
	if (!r->args->flag[FLAG_json] &&
	    sheet_new(
		&r->sheet,
		"IMAGE|LABEL|SCORES|>TIME|>BATCH|>ROUND TRIPS|>ONLINE BYTES|>PLANNED|>OFFLINE BYTES|>PLANNED",
		e))
		return -1;
	if (r->simulated && r->sheet)
		puts("simulated: no hardware isolation");
	failed = classify_all(r, e);
	if (r->sheet && sheet_print(r->sheet, e)) /* what was done is shown also when the rest failed */
		failed = -1;
	if (r->sheet && *personality_leaks(r->personality))
		printf("%s%s: leaks %s\n", personality_name(r->personality),
		       r->personality == PERSONALITY_HE ? ", nonlinear = client" : "",
		       personality_leaks(r->personality));
	return failed;
}

static int parse(struct run *r, const struct args *a, struct err *e)
{
	if (!a->n)
		return err_set(e, ERR_USAGE, "say which: obscura classify IMAGE…");
	if (args_personality(a, &r->personality, e) || args_reveal(a, &r->reveal, e) ||
	    cpu_select(a->config.cpu, e))
		return -1;
	if (args_number(a, FLAG_top, 3, 1, CLASSES_MAX, &r->top, e) ||
	    args_number(a, FLAG_offset, 0, 0, UINT32_MAX, &r->offset, e))
		return -1;
	return args_number(a, FLAG_limit, 0, 1, UINT32_MAX, &r->limit, e);
}

int command_classify(struct args *a, struct err *e)
{
	struct run r = {.args = a};
	int failed;

	if (parse(&r, a, e) || pictures_load(&r.pictures, a->words, a->n, r.offset, r.limit, e))
		return -1;
	failed = contact(&r, e);
	ask_close(r.ask);
	enclave_close(r.enclave);
	if (!failed && r.failed)
		failed =
		    err_set(e, ERR_RESULT, "%zu of %zu pictures were not classified", r.failed, r.pictures.n);
	pictures_free(&r.pictures);
	return failed;
}
