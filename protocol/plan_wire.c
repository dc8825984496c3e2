/* SPDX-License-Identifier: Apache-2.0 */
/* The public plan as a message of wire.proto, and back. What comes back from a stranger is narrowed field by
 * field, then tape_check has the last word; nothing that it trusts comes from elsewhere. */
#include <stdlib.h>
#include <string.h>
#include "conf/text.h"
#include "protocol/session.h"
#include "wire.pb-c.h"

#define LABEL_LONGEST 256

/* ---- packing: the message is built from pieces that one bag owns ---- */
struct bag {
	struct piece {
		struct piece *next;
		_Alignas(16) uint8_t bytes[];
	} * pieces;
	int failed;
};

static void *bag_take(struct bag *bag, size_t n, size_t size)
{
	struct piece *piece = calloc(1, sizeof(*piece) + n * size + 1);

	if (!piece) {
		bag->failed = 1;
		return NULL;
	}
	piece->next = bag->pieces;
	bag->pieces = piece;
	return piece->bytes;
}

static void bag_free(struct bag *bag)
{
	while (bag->pieces) {
		struct piece *next = bag->pieces->next;

		free(bag->pieces);
		bag->pieces = next;
	}
}

static Wire__Shape *pack_shape(struct bag *bag, struct shape s)
{
	Wire__Shape *out = bag_take(bag, 1, sizeof(*out));

	if (!out)
		return NULL;
	wire__shape__init(out);
	out->c = s.c;
	out->h = s.h;
	out->w = s.w;
	return out;
}

static Wire__Window *pack_window(struct bag *bag, const struct window *win)
{
	Wire__Window *out = bag_take(bag, 1, sizeof(*out));

	if (!out)
		return NULL;
	wire__window__init(out);
	out->in = pack_shape(bag, win->in);
	out->out = pack_shape(bag, win->out);
	out->kh = win->kh;
	out->kw = win->kw;
	out->sh = win->sh;
	out->sw = win->sw;
	out->dh = win->dh;
	out->dw = win->dw;
	out->pt = win->pt;
	out->pl = win->pl;
	return out;
}

static Wire__Value *pack_value(struct bag *bag, const struct value *v)
{
	Wire__Value *out = bag_take(bag, 1, sizeof(*out));

	if (!out)
		return NULL;
	wire__value__init(out);
	out->form = v->form;
	out->shape = pack_shape(bag, v->shape);
	out->k = v->k;
	out->f = v->f;
	return out;
}

static Wire__Term *pack_term(struct bag *bag, const struct term *t)
{
	Wire__Term *out = bag_take(bag, 1, sizeof(*out));

	if (!out)
		return NULL;
	wire__term__init(out);
	out->kind = t->kind;
	out->in = t->in;
	out->win = pack_window(bag, &t->win);
	out->groups = t->groups;
	out->shift = t->shift;
	return out;
}

static int has_window(const struct row *row)
{
	return row->has_post || row->kind == OP_MAX || (row->kind == OP_MAP && row->map <= MAP_PAD);
}

static void pack_lists(struct bag *bag, Wire__Row *out, const struct row *row)
{
	size_t factors = row->factors ? (size_t)row->post.out.h * row->post.out.w : 0;

	out->in = bag_take(bag, row->n_in, sizeof(*out->in));
	out->shift = bag_take(bag, row->n_in, sizeof(*out->shift));
	out->terms = bag_take(bag, row->n_terms, sizeof(*out->terms));
	out->factors = bag_take(bag, factors, sizeof(*out->factors));
	if (bag->failed)
		return;
	for (unsigned i = 0; i < row->n_in; i++) {
		out->in[i] = row->in[i];
		out->shift[i] = row->shift[i];
	}
	for (unsigned i = 0; i < row->n_terms; i++)
		out->terms[i] = pack_term(bag, &row->terms[i]);
	if (factors)
		memcpy(out->factors, row->factors, factors * sizeof(*out->factors));
	out->n_in = out->n_shift = row->n_in;
	out->n_terms = row->n_terms;
	out->n_factors = factors;
}

static Wire__Row *pack_row(struct bag *bag, const struct row *row)
{
	Wire__Row *out = bag_take(bag, 1, sizeof(*out));

	if (!out)
		return NULL;
	wire__row__init(out);
	out->kind = row->kind;
	out->out = row->out;
	if (has_window(row))
		out->post = pack_window(bag, &row->post);
	out->map = row->map;
	out->mode = row->mode;
	out->offset_log2 = row->offset_log2;
	pack_lists(bag, out, row);
	return out;
}

uint8_t *plan_pack(const struct plan *plan, size_t *bytes)
{
	const struct tape *tape = &plan->tape;
	Wire__Plan out = WIRE__PLAN__INIT;
	struct bag bag = {0};
	uint8_t *packed = NULL;

	out.values = bag_take(&bag, tape->n_values, sizeof(*out.values));
	out.rows = bag_take(&bag, tape->n_rows, sizeof(*out.rows));
	out.input = pack_shape(&bag, plan->input);
	for (unsigned i = 0; i < tape->n_values && !bag.failed; i++)
		out.values[out.n_values++] = pack_value(&bag, &tape->values[i]);
	for (unsigned i = 0; i < tape->n_rows && !bag.failed; i++)
		out.rows[out.n_rows++] = pack_row(&bag, &tape->rows[i]);
	out.resize = plan->resize;
	out.output = plan->output;
	out.reveal = plan->reveal;
	out.optimise = plan->optimise;
	out.result_bits = plan->result_bits;
	out.result_divisor = plan->result_divisor;
	out.labels = plan->labels;
	out.n_labels = plan->labels ? plan->n_labels : 0;
	if (!bag.failed) {
		*bytes = wire__plan__get_packed_size(&out);
		packed = malloc(*bytes + 1);
		if (packed)
			wire__plan__pack(&out, packed);
	}
	bag_free(&bag);
	return packed;
}

/* ---- unpacking: every number is narrowed with a check ---- */
struct reader {
	struct err *e;
	int failed;
	const char *where;
	unsigned at;
};

static uint32_t narrow(struct reader *r, const char *what, uint32_t v, uint32_t most)
{
	if (v <= most)
		return v;
	if (!r->failed)
		err_set(r->e, ERR_PEER, "plan, %s %u: %s %u is above %u", r->where, r->at, what, v, most);
	r->failed = 1;
	return 0;
}

static void *present(struct reader *r, const char *what, void *message)
{
	if (!message && !r->failed) {
		err_set(r->e, ERR_PEER, "plan, %s %u: %s is missing", r->where, r->at, what);
		r->failed = 1;
	}
	return message;
}

static struct shape read_shape(struct reader *r, Wire__Shape *s)
{
	if (!present(r, "a shape", s))
		return (struct shape){0};
	return (struct shape){narrow(r, "channels", s->c, NN_MAX_ELEMENTS),
			      narrow(r, "height", s->h, NN_MAX_ELEMENTS),
			      narrow(r, "width", s->w, NN_MAX_ELEMENTS)};
}

static struct window read_window(struct reader *r, Wire__Window *win)
{
	struct window out = {0};

	if (!present(r, "a window", win))
		return out;
	out.in = read_shape(r, win->in);
	out.out = read_shape(r, win->out);
	out.kh = narrow(r, "window height", win->kh, NN_MAX_ELEMENTS);
	out.kw = narrow(r, "window width", win->kw, NN_MAX_ELEMENTS);
	out.sh = narrow(r, "stride", win->sh, NN_MAX_ELEMENTS);
	out.sw = narrow(r, "stride", win->sw, NN_MAX_ELEMENTS);
	out.dh = narrow(r, "dilation", win->dh, NN_MAX_ELEMENTS);
	out.dw = narrow(r, "dilation", win->dw, NN_MAX_ELEMENTS);
	/* A negative pad would be a crop; as unsigned it is above every limit. */
	out.pt = (int32_t)narrow(r, "pad", (uint32_t)win->pt, NN_MAX_ELEMENTS);
	out.pl = (int32_t)narrow(r, "pad", (uint32_t)win->pl, NN_MAX_ELEMENTS);
	return out;
}

static void read_value(struct reader *r, struct value *out, const Wire__Value *v)
{
	out->form = narrow(r, "form", v->form, FORM_RESULT);
	out->shape = read_shape(r, v->shape);
	out->k = (uint8_t)narrow(r, "word width", v->k, 64);
	out->f = (uint8_t)narrow(r, "fraction", v->f, 64);
}

static void read_term(struct reader *r, struct term *out, const Wire__Term *t)
{
	out->kind = narrow(r, "kind of term", t->kind, TERM_SKIP);
	out->in = (uint16_t)narrow(r, "value", t->in, UINT16_MAX);
	out->win = read_window(r, t->win);
	out->groups = narrow(r, "groups", t->groups, NN_MAX_ELEMENTS);
	out->shift = (uint8_t)narrow(r, "shift", t->shift, 64);
}

static void read_factors(struct reader *r, struct row *out, const Wire__Row *row)
{
	uint64_t positions = (uint64_t)out->post.out.h * out->post.out.w;

	if (!row->n_factors || r->failed)
		return;
	if (!row->post || row->n_factors != positions) {
		err_set(r->e, ERR_PEER, "plan, row %u: %zu factors for %llu positions", r->at, row->n_factors,
			(unsigned long long)positions);
		r->failed = 1;
		return;
	}
	out->factors = malloc(row->n_factors * sizeof(*out->factors));
	if (!out->factors) {
		err_set(r->e, ERR_ENV, "out of memory for a plan");
		r->failed = 1;
		return;
	}
	memcpy(out->factors, row->factors, row->n_factors * sizeof(*out->factors));
}

static void read_row(struct reader *r, struct row *out, const Wire__Row *row)
{
	out->kind = narrow(r, "operator", row->kind, OP_KINDS - 1);
	out->n_in = (uint16_t)narrow(r, "inputs", (uint32_t)row->n_in, TAPE_MAX_TERMS);
	out->n_terms = (uint16_t)narrow(r, "terms", (uint32_t)row->n_terms, TAPE_MAX_TERMS);
	narrow(r, "shifts", (uint32_t)row->n_shift, TAPE_MAX_TERMS);
	if (r->failed)
		return;
	for (unsigned i = 0; i < out->n_in; i++)
		out->in[i] = (uint16_t)narrow(r, "input", row->in[i], UINT16_MAX);
	for (unsigned i = 0; i < row->n_shift; i++)
		out->shift[i] = (uint8_t)narrow(r, "shift", row->shift[i], 64);
	for (unsigned i = 0; i < out->n_terms; i++)
		read_term(r, &out->terms[i], row->terms[i]);
	out->out = (uint16_t)narrow(r, "output", row->out, UINT16_MAX);
	if (row->post)
		out->post = read_window(r, row->post);
	out->has_post = row->post && out->kind == OP_LINEAR;
	out->map = narrow(r, "map", row->map, MAP_ADD);
	out->mode = narrow(r, "mode", row->mode, TABLE_BANDWIDTH);
	out->offset_log2 = (uint8_t)narrow(r, "offset", row->offset_log2, 63);
	read_factors(r, out, row);
}

static void read_tape(struct reader *r, struct tape *tape, const Wire__Plan *in)
{
	r->where = "size";
	narrow(r, "rows", (uint32_t)in->n_rows, TAPE_MAX_ROWS);
	narrow(r, "values", (uint32_t)in->n_values, 2 * TAPE_MAX_ROWS);
	if (r->failed)
		return;
	tape->values = calloc(in->n_values + 1, sizeof(*tape->values));
	tape->rows = calloc(in->n_rows + 1, sizeof(*tape->rows));
	if (!tape->values || !tape->rows) {
		err_set(r->e, ERR_ENV, "out of memory for a plan");
		r->failed = 1;
		return;
	}
	tape->n_values = (uint16_t)in->n_values;
	tape->n_rows = (uint16_t)in->n_rows;
	for (r->where = "value", r->at = 0; r->at < in->n_values; r->at++)
		read_value(r, &tape->values[r->at], in->values[r->at]);
	for (r->where = "row", r->at = 0; r->at < in->n_rows; r->at++)
		read_row(r, &tape->rows[r->at], in->rows[r->at]);
}

/* Labels end on terminals and in logs: no control characters. */
static int label_fine(const char *label)
{
	return strlen(label) <= LABEL_LONGEST && text_is_clean(label);
}

static int read_labels(struct plan *plan, const Wire__Plan *in, struct err *e)
{
	if (!in->n_labels)
		return 0;
	if (in->n_labels > plan_classes(plan))
		return err_set(e, ERR_PEER, "plan: %zu labels for %u classes", in->n_labels,
			       plan_classes(plan));
	plan->labels = calloc(in->n_labels, sizeof(*plan->labels));
	if (!plan->labels)
		return err_set(e, ERR_ENV, "out of memory for labels");
	for (; plan->n_labels < in->n_labels; plan->n_labels++) {
		const char *label = in->labels[plan->n_labels];

		if (!label_fine(label))
			return err_set(e, ERR_PEER, "plan: label %u is too long or not printable",
				       plan->n_labels);
		plan->labels[plan->n_labels] = strdup(label);
		if (!plan->labels[plan->n_labels])
			return err_set(e, ERR_ENV, "out of memory for labels");
	}
	return 0;
}

static int read_plan(struct plan *plan, const Wire__Plan *in, struct err *e)
{
	struct reader r = {.e = e};
	struct shape s;

	read_tape(&r, &plan->tape, in);
	r.where = "header", r.at = 0;
	plan->input = read_shape(&r, in->input);
	plan->resize = narrow(&r, "resize", in->resize, NN_RESIZE_NONE);
	plan->output = narrow(&r, "output", in->output, NN_OUT_ARGMAX);
	plan->reveal = narrow(&r, "reveal", in->reveal, REVEAL_LABEL);
	plan->optimise = narrow(&r, "optimise", in->optimise, PLAN_BANDWIDTH);
	plan->result_bits = (uint8_t)narrow(&r, "result bits", in->result_bits, 62);
	plan->result_divisor = narrow(&r, "result divisor", in->result_divisor, NN_MAX_ELEMENTS);
	if (r.failed)
		return -1;
	if (!plan->result_divisor)
		return err_set(e, ERR_PEER, "plan: the result's divisor is 0");
	if (tape_check(&plan->tape, e) < 0)
		return err_context(e, "plan");
	s = plan->tape.values[0].shape;
	if (s.c != plan->input.c || s.h != plan->input.h || s.w != plan->input.w || s.c > NN_MAX_CHANNELS)
		return err_set(e, ERR_PEER, "plan: the tape's input is not an image of the plan's size");
	return read_labels(plan, in, e);
}

int plan_unpack(struct plan **plan, const uint8_t *packed, size_t bytes, struct err *e)
{
	Wire__Plan *in = wire__plan__unpack(NULL, bytes, packed);
	int status;

	*plan = NULL;
	if (!in)
		return err_set(e, ERR_PEER, "the plan is not a message of wire.proto");
	*plan = calloc(1, sizeof(**plan));
	status = *plan ? read_plan(*plan, in, e) : err_set(e, ERR_ENV, "out of memory for a plan");
	wire__plan__free_unpacked(in, NULL);
	if (status < 0) {
		if (e && e->code == ERR_INPUT)
			e->code = ERR_PEER; /* tape_check does not know that a stranger wrote it */
		plan_free(*plan);
		*plan = NULL;
	}
	return status;
}
