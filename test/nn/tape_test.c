/* SPDX-License-Identifier: Apache-2.0 */
/* Tapes from strangers: every field of many tapes is set to every awkward value; what is refused is refused
 * with a reason, and what passes can be evaluated without harm (run it under asan). */
#include "nn/linear.h"
#include "test/nn/net.h"

/* ---- a deep copy, so that each mutation starts from a good tape ---- */

static struct tape copy_of(const struct tape *t)
{
	struct tape c = *t;

	c.values = malloc(t->n_values * sizeof(*c.values));
	c.rows = malloc(t->n_rows * sizeof(*c.rows));
	memcpy(c.values, t->values, t->n_values * sizeof(*c.values));
	memcpy(c.rows, t->rows, t->n_rows * sizeof(*c.rows));
	for (uint16_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].factors) {
			size_t n = (size_t)t->rows[i].post.out.h * t->rows[i].post.out.w * sizeof(uint32_t);

			c.rows[i].factors = malloc(n);
			memcpy(c.rows[i].factors, t->rows[i].factors, n);
		}
	return c;
}

static int passes(const struct tape *t)
{
	struct err e = {0};
	int result = tape_check(t, &e);

	assert_true(result == 0 || result == -1);
	if (result) {
		assert_int_equal(e.code, ERR_INPUT);
		assert_true(e.text[0] && !strchr(e.text, '\n'));
	}
	return !result;
}

/* Evaluates what tape_check let pass, with weights of the right sizes. */
static void evaluate(const struct tape *t)
{
	struct plan plan = {.tape = *t};
	struct weights w = {calloc(t->n_rows, sizeof(*w.rows)), t->n_rows};
	uint8_t *pixels = calloc(shape_size(t->values[0].shape), 1);
	int64_t *result = calloc(shape_size(t->values[t->rows[t->n_rows - 1].out].shape), sizeof(*result));
	struct fixed *f;
	struct err e = {0};

	for (uint16_t i = 0; i < t->n_rows; i++) {
		for (uint16_t j = 0; j < t->rows[i].n_terms; j++)
			w.rows[i].n_weights += term_weights(&t->rows[i].terms[j]);
		w.rows[i].weights = calloc(w.rows[i].n_weights + 1, sizeof(int64_t));
	}
	if (fixed_new(&f, &plan, &w, &e))
		fail_msg("%s", e.text);
	fixed_infer(f, pixels, NULL, NULL, result);
	fixed_free(f);
	for (uint16_t i = 0; i < t->n_rows; i++)
		free(w.rows[i].weights);
	free(w.rows);
	free(pixels);
	free(result);
}

/* ---- every field ---- */

struct field {
	void *at;
	size_t size;
};

struct fields {
	struct field all[4096];
	size_t n;
};

static void add_field(struct fields *f, void *at, size_t size)
{
	assert_true(f->n < 4096);
	f->all[f->n++] = (struct field){at, size};
}
#define FIELD(x) add_field(f, &(x), sizeof(x))

static void window_fields(struct fields *f, struct window *w)
{
	uint32_t *u[] = {&w->in.c, &w->in.h, &w->in.w, &w->out.c, &w->out.h, &w->out.w,
			 &w->kh,   &w->kw,   &w->sh,   &w->sw,	  &w->dh,    &w->dw};

	for (size_t i = 0; i < sizeof(u) / sizeof(*u); i++)
		add_field(f, u[i], sizeof(uint32_t));
	FIELD(w->pt);
	FIELD(w->pl);
}

static void term_fields(struct fields *f, struct term *t)
{
	FIELD(t->kind);
	FIELD(t->in);
	FIELD(t->shift);
	if (t->kind == TERM_SKIP)
		return;
	window_fields(f, &t->win);
	if (t->kind == TERM_CONV)
		FIELD(t->groups);
}

/* Those that the row's kind names, and all that tell how many there are. */
static void row_fields(struct fields *f, struct row *r)
{
	FIELD(r->kind);
	FIELD(r->n_in);
	FIELD(r->out);
	FIELD(r->n_terms);
	FIELD(r->has_post);
	FIELD(r->map);
	FIELD(r->mode);
	FIELD(r->offset_log2);
	if (r->has_post || r->kind == OP_MAX || (r->kind == OP_MAP && r->map <= MAP_PAD))
		window_fields(f, &r->post);
	for (int j = 0; j < r->n_in; j++) {
		FIELD(r->in[j]);
		if (r->kind == OP_MAP)
			FIELD(r->shift[j]);
	}
	for (int j = 0; j < r->n_terms; j++)
		term_fields(f, &r->terms[j]);
	for (size_t i = 0; r->factors && i < (size_t)r->post.out.h * r->post.out.w; i++)
		FIELD(r->factors[i]);
}

static void value_fields(struct fields *f, struct value *v)
{
	FIELD(v->form);
	FIELD(v->shape.c);
	FIELD(v->shape.h);
	FIELD(v->shape.w);
	FIELD(v->k);
	FIELD(v->f);
}

static void all_fields(struct fields *f, struct tape *t)
{
	f->n = 0;
	for (uint16_t v = 0; v < t->n_values; v++)
		value_fields(f, &t->values[v]);
	for (uint16_t i = 0; i < t->n_rows; i++)
		row_fields(f, &t->rows[i]);
}

static uint64_t field_get(const struct field *f)
{
	uint64_t v = 0;

	memcpy(&v, f->at, f->size);
	return v;
}

static void field_set(const struct field *f, uint64_t v)
{
	memcpy(f->at, &v, f->size);
}

static const uint64_t awkward[] = {0,		1,
				   2,		3,
				   4,		7,
				   8,		9,
				   16,		31,
				   62,		63,
				   64,		127,
				   128,		255,
				   256,		4096,
				   32767,	32768,
				   65535,	65536,
				   65537,	1u << 20,
				   1u << 24,	(1u << 24) + 1,
				   1u << 30,	0x7fffffff,
				   0x80000000u, 0xffff0000u,
				   0xfffffffeu, 0xffffffffu};
#define AWKWARD (sizeof(awkward) / sizeof(*awkward))

struct tally {
	unsigned refused, passed;
};

static void mutate(const struct tape *good, struct tally *tally)
{
	static struct fields f;
	struct tape t = copy_of(good);

	all_fields(&f, &t);
	for (size_t i = 0; i < f.n; i++) {
		uint64_t before = field_get(&f.all[i]);

		for (size_t j = 0; j < AWKWARD + 2; j++) {
			uint64_t v = j < AWKWARD ? awkward[j] : j == AWKWARD ? before + 1 : before - 1;

			field_set(&f.all[i], v);
			if (field_get(&f.all[i]) == before)
				continue;
			if (passes(&t)) {
				tally->passed++;
				evaluate(&t);
			} else {
				tally->refused++;
			}
		}
		field_set(&f.all[i], before);
	}
	assert_true(passes(&t));
	tape_free(&t);
}

/* Several fields at once. */
static void shake(const struct tape *good, unsigned times, struct tally *tally)
{
	static struct fields f;

	for (unsigned n = 0; n < times; n++) {
		struct tape t = copy_of(good);
		uint32_t *factors[64] = {NULL};

		all_fields(&f, &t);
		for (uint16_t i = 0; i < t.n_rows; i++)
			factors[i] = t.rows[i].factors;
		for (unsigned k = 0; k < 2 + n % 3; k++) {
			uint64_t at = rnd() % f.n,
				 v = rnd() % 4 ? awkward[rnd() % AWKWARD] : field_get(&f.all[rnd() % f.n]);

			field_set(&f.all[at], v);
		}
		/* factors belong to positions: the reader of a plan never makes an array of another size */
		for (uint16_t i = 0; i < t.n_rows; i++)
			if (factors[i])
				t.rows[i].post.out = good->rows[i].post.out;
		if (passes(&t)) {
			tally->passed++;
			evaluate(&t);
		} else {
			tally->refused++;
		}
		tape_free(&t);
	}
}

static void strangers(void **state)
{
	struct tally tally = {0, 0};
	struct net n;

	rnd_state = 1;
	for (unsigned which = 0; net_zoo(&n, which, 1, 3, 3); which++) {
		struct plan_options o = plan_defaults();
		struct planned p;

		o.reveal = which % 2 ? REVEAL_LABEL : REVEAL_LOGITS;
		p = net_plan(&n.g, &o);
		assert_true(passes(&p.plan->tape));
		mutate(&p.plan->tape, &tally);
		shake(&p.plan->tape, 3000, &tally);
		planned_free(&p);
		net_free(&n);
	}
	print_message("%u tapes refused, %u evaluated\n", tally.refused, tally.passed);
	assert_true(tally.refused > 4 * tally.passed);
}

/* ---- what must be refused ---- */

static struct planned base;
static struct tape t;

static struct row *row_of(enum op_kind kind, unsigned skip)
{
	for (uint16_t i = 0; i < t.n_rows; i++)
		if (t.rows[i].kind == kind && !skip--)
			return &t.rows[i];
	fail_msg("no row of kind %d", kind);
	return NULL;
}

static void use(unsigned which, enum plan_reveal reveal)
{
	struct plan_options o = plan_defaults();
	struct net n;

	o.reveal = reveal;
	net_zoo(&n, which, 1, 3, 3);
	base = net_plan(&n.g, &o);
	net_free(&n);
	t = copy_of(&base.plan->tape);
}

static void done(void)
{
	tape_free(&t);
	planned_free(&base);
}

/* The statement makes the tape wrong; afterwards it is as before. */
#define REFUSED(statement)                                                                                   \
	do {                                                                                                 \
		assert_true(passes(&t));                                                                     \
		statement;                                                                                   \
		if (passes(&t))                                                                              \
			fail_msg("passes: %s", #statement);                                                  \
		t.n_rows = base.plan->tape.n_rows;                                                           \
		tape_free(&t);                                                                               \
		t = copy_of(&base.plan->tape);                                                               \
	} while (0)

static void values(void **state)
{
	use(0, REVEAL_LOGITS);
	for (uint16_t v = 0; v < t.n_values; v++) {
		REFUSED(t.values[v].form = FORM_RESULT + 1);
		REFUSED(t.values[v].form = (enum form) - 1);
		REFUSED(t.values[v].k = 0);
		REFUSED(t.values[v].k = 63);
		REFUSED(t.values[v].f = 61);
		REFUSED(t.values[v].shape.c = 0);
		REFUSED(t.values[v].shape.h = 0);
		REFUSED(t.values[v].shape.w = 0xffffffff);
		REFUSED((t.values[v].shape.c = 65536, t.values[v].shape.h = 65536)); /* 2^32 */
		if (t.values[v].form != FORM_MASKED)
			REFUSED(t.values[v].f = 1);
		else
			REFUSED(t.values[v].f = t.values[v].k - 1);
	}
	REFUSED(t.values[0].form = FORM_DIFF);
	REFUSED(t.n_rows = 0);
	REFUSED(t.n_rows--);
	REFUSED(t.n_values = 0);
	REFUSED(t.n_values--);
	REFUSED(t.n_rows = TAPE_MAX_ROWS + 1);
	REFUSED(t.n_values = 2000);
	done();
}

static void order(void **state)
{
	use(0, REVEAL_LOGITS);
	for (uint16_t i = 0; i < t.n_rows; i++) {
		REFUSED(t.rows[i].kind = OP_KINDS);
		REFUSED(t.rows[i].kind = (enum op_kind) - 1);
		REFUSED(t.rows[i].out = t.n_values);
		REFUSED(t.rows[i].out = 0);
		REFUSED(t.rows[i].in[0] = t.rows[i].out);
		REFUSED(t.rows[i].in[0] = t.n_values);
		REFUSED(t.rows[i].n_in = 0);
		REFUSED(t.rows[i].n_in = TAPE_MAX_TERMS + 1);
		REFUSED(t.rows[i].n_in = 65535);
		REFUSED(t.rows[i].mode = 2);
	}
	REFUSED(t.rows[0].kind = OP_REVEAL);
	REFUSED(t.rows[0].n_terms = 1); /* program.c reads the terms of any row */
	REFUSED(t.rows[0].has_post = 1);
	REFUSED(t.rows[0].offset_log2 = 1);
	REFUSED(t.rows[0].mode = TABLE_BANDWIDTH);
	done();
}

static void linear(void **state)
{
	struct row *r;

	use(9, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_LINEAR, 1), r->n_terms = 9));
	REFUSED((r = row_of(OP_LINEAR, 1), r->n_terms = 1));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[1].in = 0));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[1].in = 60000));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].kind = 3));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].shift = 1));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[1].shift = 63));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].groups = 0));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].groups = 2));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.kh = 0));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.sw = 0));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.dh = 0));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.pt = -1));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.pl = 1 << 20));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.sh = (1 << 15) + 1));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.in.h = 4));
	REFUSED((r = row_of(OP_LINEAR, 1), r->terms[0].win.out.c = 2));
	REFUSED((r = row_of(OP_LINEAR, 1), r->has_post = 1));
	REFUSED((r = row_of(OP_LINEAR, 1), t.values[r->terms[0].in].k--, t.values[r->terms[0].in - 1].k--));
	REFUSED((r = row_of(OP_LINEAR, 2), r->terms[0].win.out.c = 2));
	REFUSED((r = row_of(OP_LINEAR, 2), r->terms[0].win.out.h = 2));
	REFUSED((r = row_of(OP_LINEAR, 2), r->terms[0].win.in.h = 1));
	done();
	use(7, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_LINEAR, 0), r->post.kh = 0));
	REFUSED((r = row_of(OP_LINEAR, 0), r->post.dh = 2));
	REFUSED((r = row_of(OP_LINEAR, 0), r->post.pt = 3)); /* the first window would be empty */
	REFUSED((r = row_of(OP_LINEAR, 0), r->has_post = 2));
	done();
}

static void elements(void **state)
{
	struct row *r;

	use(3, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_SQUARE, 0), r->offset_log2 = 0)); /* below f */
	REFUSED((r = row_of(OP_SQUARE, 0), r->offset_log2 = 62));
	REFUSED((r = row_of(OP_MASK, 1), t.values[r->out].k++));
	REFUSED((r = row_of(OP_REVEAL, 0), t.values[r->out].k--));
	REFUSED((r = row_of(OP_REVEAL, 0), t.values[r->out].k += 2));
	done();
	use(4, REVEAL_LABEL);
	REFUSED((r = row_of(OP_MAX, 0), t.values[r->out].k++));
	REFUSED((r = row_of(OP_MAX, 0), r->post.sh = 0));
	REFUSED((r = row_of(OP_MAX, 0), r->post.pl = 2));
	REFUSED((r = row_of(OP_MAX, 0), r->post.out.c = 1));
	REFUSED((r = row_of(OP_MAX, 0), r->post.kh = 1u << 15, r->post.kw = 1u << 15,
		 r->post.pt = r->post.pl = 1 << 14)); /* 2^30 members each */
	REFUSED((r = row_of(OP_ARGMAX, 0), t.values[r->out].k++));
	REFUSED((r = row_of(OP_ARGMAX, 0), t.values[r->out].shape.c = 2));
	REFUSED((r = row_of(OP_ARGMAX, 0), t.values[r->in[0]].f = 1));
	done();
}

static void maps(void **state)
{
	struct row *r;

	use(8, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_MAP, 0), r->map = MAP_ADD + 1));
	REFUSED((r = row_of(OP_MAP, 0), r->factors[0] = 0));
	REFUSED((r = row_of(OP_MAP, 0), r->factors[1] = 0xffffffff));
	REFUSED((r = row_of(OP_MAP, 0), r->shift[0] = 1));
	REFUSED((r = row_of(OP_MAP, 0), r->post.in.h++));
	REFUSED((r = row_of(OP_MAP, 0), t.values[r->in[0]].k--));
	done();
	use(12, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_MAP, 0), r->shift[1] = 63));
	REFUSED((r = row_of(OP_MAP, 0), r->n_in = 1));
	REFUSED((r = row_of(OP_MAP, 0), r->map = MAP_ADD));
	REFUSED((r = row_of(OP_MAP, 0), r->shift[0] = r->shift[1] = 0));
	REFUSED((r = row_of(OP_MAP, 0), r->factors = calloc(64, 4)));
	done();
	use(14, REVEAL_LOGITS);
	REFUSED((r = row_of(OP_MAP, 0), r->post.pt = -1));
	REFUSED((r = row_of(OP_MAP, 0), r->post.pt = 2)); /* would cut the last row off */
	REFUSED((r = row_of(OP_MAP, 0), r->post.kh = 2));
	REFUSED((r = row_of(OP_MAP, 0), r->post.sh = 2));
	done();
}

/* A plan that is well formed but asks for more work or memory than any image is worth. */
static void too_much(void **state)
{
	struct shape big = {1 << 8, 1 << 8, 1 << 8};
	struct window win = {
	    .in = big, .out = big, .kh = 3, .kw = 3, .sh = 1, .sw = 1, .dh = 1, .dw = 1, .pt = 1, .pl = 1};
	struct value v[] = {{FORM_SHARE, big, 40, 0},
			    {FORM_DIFF, big, 40, 0},
			    {FORM_SHARE, big, 40, 0},
			    {FORM_RESULT, big, 40, 0}};
	struct row r[] = {{.kind = OP_MASK, .in = {0}, .n_in = 1, .out = 1},
			  {.kind = OP_LINEAR, .in = {1}, .n_in = 1, .out = 2, .n_terms = 1},
			  {.kind = OP_REVEAL, .in = {2}, .n_in = 1, .out = 3}};
	struct tape tape = {v, 4, r, 3};

	r[1].terms[0] = (struct term){.kind = TERM_CONV, .in = 1, .win = win, .groups = 1};
	assert_true(passes(&tape)); /* 2^35 multiply-adds */
	r[1].terms[0].win.kh = r[1].terms[0].win.kw = 15;
	assert_false(passes(&tape)); /* 2^40 */
	r[1].terms[0].groups = 1 << 8;
	assert_true(passes(&tape));
	r[1].terms[0].kind = TERM_DENSE; /* 2^48 weights */
	r[1].terms[0].win = (struct window){.in = big, .out = {1 << 24, 1, 1}};
	assert_false(passes(&tape));
}

/* Small tapes that would take much memory before anybody looks at the sizes of tickets: a maximum's window
 * keeps a number or two for each element, and a thin matrix is padded to whole vectors. */
static void too_much_memory(void **state)
{
	enum { POOLS = 40 };
	struct shape in = {1, 287, 287}, out = {1, 32, 32};
	struct window win = {.in = in, .out = out, .kh = 256, .kw = 256, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
	static struct value v[POOLS + 6];
	static struct row r[POOLS + 5];
	struct tape tape = {v, POOLS + 6, r, POOLS + 5};
	uint16_t n = 2;

	v[0] = (struct value){FORM_SHARE, in, 20, 0};
	v[1] = (struct value){FORM_DIFF, in, 20, 0};
	v[2] = (struct value){FORM_MASKED, in, 20, 0};
	r[0] = (struct row){.kind = OP_MASK, .n_in = 1, .out = 1};
	r[1] = (struct row){.kind = OP_LINEAR, .in = {1}, .n_in = 1, .out = 2, .n_terms = 1};
	r[1].terms[0] = (struct term){.kind = TERM_SKIP, .in = 1};
	for (; n < POOLS + 2; n++) {
		v[n + 1] = (struct value){FORM_MASKED, out, 20, 0};
		r[n] = (struct row){.kind = OP_MAX, .in = {2}, .n_in = 1, .out = n + 1, .post = win};
	}
	v[n + 1] = (struct value){FORM_SHARE, out, 20, 0};
	r[n] = (struct row){.kind = OP_RELU, .in = {n}, .n_in = 1, .out = n + 1};
	v[n + 2] = (struct value){FORM_RESULT, out, 20, 0};
	r[n + 1] = (struct row){.kind = OP_REVEAL, .in = {n + 1}, .n_in = 1, .out = n + 2};
	tape.n_values = n + 3;
	tape.n_rows = n + 2;
	assert_false(passes(&tape)); /* 2^26 elements in each pool: half a GiB */
	for (uint16_t i = 2; i < POOLS + 2; i++)
		r[i].post.kh = r[i].post.kw = 16; /* 2^18 each */
	assert_true(passes(&tape));
	for (uint16_t i = 2; i < POOLS + 2; i++)
		r[i].post.kh = r[i].post.kw = 32; /* 2^20 each: too many together */
	assert_false(passes(&tape));
}

static void thin_matrices(void **state)
{
	struct term thin = {.kind = TERM_DENSE, .win = {.in = {1, 256, 256}, .out = {1, 1, 1}}};

	assert_int_equal(term_weights(&thin), 1 << 16);
	assert_int_equal(term_room(&thin), 1 << 19);
	thin.win.out.c = 9;
	assert_int_equal(term_room(&thin), 1 << 20);
	thin.kind = TERM_SKIP;
	assert_int_equal(term_room(&thin), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values),	       cmocka_unit_test(order),		cmocka_unit_test(linear),
	    cmocka_unit_test(elements),	       cmocka_unit_test(maps),		cmocka_unit_test(too_much),
	    cmocka_unit_test(too_much_memory), cmocka_unit_test(thin_matrices), cmocka_unit_test(strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
