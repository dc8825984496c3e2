/* SPDX-License-Identifier: Apache-2.0 */
/* Exhaustive privacy check in small rings, on the real operators: one weight, one ReLU in bandwidth mode.
 *
 * P1: all randomness is enumerated; the distribution of everything it receives or expands must be the same
 * for every image x. P0: for some fixed seeds of its own, everything that it does not know is enumerated; the
 * distribution of its view given the revealed
 *     result must be the same for every weight that can give this result.
 * Control: a P0 that is sent all of ŷ instead of its upper bits must be caught (the low bits tell when a
 * value was rounded up).
 *
 * This file's prg_* take the place of crypto/prg.c at link time: streams are buffers that the enumeration
 * writes. */
#include "test/protocol/trio.h"

#define STREAM_BYTES 4096

struct prg {
	uint8_t *stream;
};
static uint8_t streams[5][STREAM_BYTES]; /* by the first byte of the seed */

void prg_seed(uint8_t seed[PRG_SEED_BYTES])
{
	memset(seed, 0, PRG_SEED_BYTES);
}
struct prg *prg_new(const uint8_t seed[PRG_SEED_BYTES], enum prg_purpose purpose, struct err *e)
{
	struct prg *p = malloc(sizeof(*p));

	p->stream = streams[seed[0] % 5];
	return p;
}
struct prg *prg_clone(const struct prg *from, struct err *e)
{
	struct prg *p = malloc(sizeof(*p));

	*p = *from;
	return p;
}
void prg_free(struct prg *p)
{
	free(p);
}
void prg_read(struct prg *p, uint64_t ticket, uint64_t offset, void *out, size_t bytes)
{
	assert_true(offset + bytes <= STREAM_BYTES);
	memcpy(out, p->stream + offset, bytes);
}
void prg_gather(struct prg *p, uint64_t ticket, const uint64_t *blocks, size_t n, void *out)
{
	for (size_t i = 0; i < n; i++)
		prg_read(p, ticket, blocks[i] * PRG_BLOCK, (uint8_t *)out + i * PRG_BLOCK, PRG_BLOCK);
}
void prg_words(struct prg *p, uint64_t ticket, uint64_t offset, uint64_t *out, size_t n, unsigned k)
{
	prg_read(p, ticket, offset, out, n * 8);
	for (size_t i = 0; i < n; i++)
		out[i] &= ring_mask(k);
}

enum { S_P0 = 1, S_P1, S_OWN, S_WEIGHTS };

/* One weight, one ReLU: value 2 is the wire, rows are mask, linear, relu, reveal. */
struct tiny {
	struct build b;
	struct program *program;
	struct layer *w, *f, *mask;
	struct lane *lane[PARTIES];
	struct aheads *aheads;
	struct dealer *dealer;
	struct prg *prg[PARTIES];
	unsigned k, drop, kout;
	struct table table;
	uint8_t corrections[64], delta[16], tag[1][16];
	uint64_t kept[4];
};

static void tiny_new(struct tiny *t, unsigned k, unsigned f, unsigned kout, int64_t weight, uint64_t mask)
{
	uint8_t seed[5][PRG_SEED_BYTES] = {{0}, {S_P0}, {S_P1}, {S_OWN}, {S_WEIGHTS}}, packed[16];
	int64_t *w = calloc(1, 8), *bias = calloc(1, 8);
	struct err e = {0};
	uint16_t v, out;

	memset(t, 0, sizeof(*t));
	t->k = k;
	t->drop = f;
	t->kout = kout;
	w[0] = weight;
	build_input(&t->b, flat(1), k);
	v = build_dense(&t->b, build_mask(&t->b, 0), 1, FORM_MASKED, k, f, w, bias);
	out = build_value(&t->b, FORM_SHARE, flat(1), kout, 0);
	build_row(&t->b, OP_RELU, v, out)->mode = TABLE_BANDWIDTH;
	build_reveal(&t->b, out);
	memcpy(streams[S_WEIGHTS], &mask, 8);
	must(program_new(&t->program, &t->b.plan.tape, &e), &e);
	must(program_weights(&t->w, t->program, &t->b.weights, &e), &e);
	must(program_mask(&t->mask, t->program, seed[S_WEIGHTS], &e), &e);
	must(program_masked_weights(packed, t->program, &t->b.weights, seed[S_WEIGHTS], &e), &e);
	must(program_unmask(&t->f, t->program, packed, &e), &e);
	must(lane_new(&t->lane[P0], t->program, P0, NULL, 1, &e), &e);
	must(lane_new(&t->lane[P1], t->program, P1, t->w, 1, &e), &e);
	must(aheads_new(&t->aheads, t->program, t->f, seed[S_P0], 1, &e), &e);
	must(dealer_new(&t->dealer, t->program, t->mask, seed[S_P0], seed[S_P1], seed[S_OWN], 1, &e), &e);
	t->prg[P0] = prg_new(seed[S_P0], PRG_TICKET, &e);
	t->prg[P1] = prg_new(seed[S_P1], PRG_TICKET, &e);
	t->table = table_shape(k - f, kout, 0, TABLE_BANDWIDTH);
	assert_int_equal(t->table.digits, 1);
	assert_true(t->program->corrections <= sizeof(t->corrections));
}

static void tiny_free(struct tiny *t)
{
	lane_free(t->lane[P0]);
	lane_free(t->lane[P1]);
	aheads_free(t->aheads);
	dealer_free(t->dealer);
	prg_free(t->prg[P0]);
	prg_free(t->prg[P1]);
	layers_free(t->w, t->program);
	layers_free(t->f, t->program);
	layers_free(t->mask, t->program);
	program_free(t->program);
	build_free(&t->b);
}

/* All randomness of one run. */
struct coins {
	uint64_t a, e0, c1, tables, choose, select[2], own;
};

static void toss(const struct tiny *t, const struct coins *c)
{
	const struct placed *rows = t->program->rows;
	uint8_t *p0 = streams[S_P0];

	memcpy(p0 + rows[0].p0, &c->a, 8);
	memcpy(p0 + rows[1].p0, &c->e0, 8);
	memcpy(p0 + rows[2].p0, &c->tables, 8);
	memcpy(p0 + rows[2].p0 + 16, &c->choose, 8);
	for (int i = 0; i < 2; i++)
		memcpy(p0 + rows[2].p0 + table_p0_select(&t->table, 1) + i * PRG_BLOCK * t->table.blocks,
		       &c->select[i], 8);
	memcpy(streams[S_P1] + rows[1].p1, &c->c1, 8);
	memcpy(streams[S_OWN] + rows[2].own, &c->own, 2);
}

/* What one party saw, as bytes. */
struct view {
	uint8_t bytes[48];
	size_t n;
};

static void see(struct view *v, const void *bytes, size_t n)
{
	assert_true(v->n + n <= sizeof(v->bytes));
	memcpy(v->bytes + v->n, bytes, n);
	v->n += n;
}

static void pass(struct tiny *t, enum party from, struct view *seen)
{
	struct err e = {0};
	size_t bytes;
	uint32_t step;
	uint8_t *m = lane_message(t->lane[from], &bytes, &step);

	if (!bytes)
		return;
	see(&seen[!from], m, bytes);
	must(lane_receive(t->lane[!from], m, bytes, &e), &e);
}

/* One whole inference: seen[P0], seen[P1] receive all that arrives at each; returns the revealed word. */
static int64_t play(struct tiny *t, uint8_t x, struct view *seen)
{
	uint8_t *corrections[] = {t->corrections}, *delta[] = {t->delta};
	uint64_t *kept[] = {t->kept};
	struct ticket ticket = {0, t->corrections, t->delta, t->kept};
	enum engine_state s0, s1;
	int64_t result;

	dealer_make(t->dealer, 0, 1, corrections, t->tag);
	aheads_make(t->aheads, 0, 1, delta, kept);
	seen[P0].n = seen[P1].n = 0;
	see(&seen[P1], t->corrections, t->program->corrections);
	see(&seen[P1], t->delta, t->program->delta);
	see(&seen[P1], streams[S_P1] + t->program->rows[1].p1, 1);
	lane_begin(t->lane[P0], t->prg[P0], &ticket, 1, &x);
	lane_begin(t->lane[P1], t->prg[P1], &ticket, 1, NULL);
	do {
		s0 = engine_run(t->lane[P0]);
		pass(t, P0, seen);
		s1 = engine_run(t->lane[P1]);
		pass(t, P1, seen);
	} while (s0 != ENGINE_DONE || s1 != ENGINE_DONE);
	result = *lane_result(t->lane[P0]);
	lane_reset(t->lane[P0]);
	lane_reset(t->lane[P1]);
	return result;
}

/* A multiset of views: open addressing. */
#define BUCKETS (1u << 19) /* views are far fewer */
struct counts {
	struct bucket {
		struct view view;
		int64_t result;
		uint64_t n;
	} * bucket;
};

static struct bucket *find(struct counts *c, const struct view *v, int64_t result)
{
	uint64_t h = UINT64_C(1469598103934665603) ^ (uint64_t)result;

	for (size_t i = 0; i < v->n; i++)
		h = (h ^ v->bytes[i]) * UINT64_C(1099511628211);
	for (h ^= h >> 29;; h++) {
		struct bucket *b = &c->bucket[h % BUCKETS];

		if (!b->n ||
		    (b->result == result && b->view.n == v->n && !memcmp(b->view.bytes, v->bytes, v->n))) {
			b->view = *v;
			b->result = result;
			return b;
		}
	}
}

static void p1_learns_nothing(void **state)
{
	struct counts first = {calloc(BUCKETS, sizeof(struct bucket))};
	struct tiny t;

	tiny_new(&t, 2, 0, 1, -1, 1);
	for (uint8_t x = 0; x < 4; x++) {
		struct counts here = {calloc(BUCKETS, sizeof(struct bucket))};
		/* a, e0, c1: 2 bits each; lt table 4, choose table 2, two rows of 2, index mask and γ */
		for (uint32_t i = 0; i < 1u << 18; i++) {
			struct coins c = {i & 3,       i >> 2 & 3,  i >> 4 & 3,
					  i >> 6 & 15, i >> 10 & 3, {i >> 12 & 3, i >> 14 & 3},
					  i >> 16 & 3};
			struct view seen[PARTIES];

			toss(&t, &c);
			play(&t, x, seen);
			find(&here, &seen[P1], 0)->n++;
		}
		for (uint32_t i = 0; i < BUCKETS; i++)
			if (x && here.bucket[i].n &&
			    find(&first, &here.bucket[i].view, 0)->n != here.bucket[i].n)
				fail_msg("P1's view depends on the image: x = %u", x);
		if (!x)
			memcpy(first.bucket, here.bucket, BUCKETS * sizeof(struct bucket));
		free(here.bucket);
	}
	tiny_free(&t);
	free(first.bucket);
}

/* P0's views of one weight for all that P0 does not know. control: it is sent ŷ. */
static void p0_views(struct counts *into, const struct coins *own, unsigned k, unsigned f, int64_t weight,
		     int control)
{
	uint64_t words = UINT64_C(1) << k;

	for (uint64_t mask = 0; mask < words; mask++) {
		struct tiny t;

		tiny_new(&t, k, f, k - f, weight, mask);
		for (uint64_t i = 0; i < words * 4; i++) {
			struct coins c = *own;
			struct view seen[PARTIES];
			uint64_t F = ((uint64_t)weight - mask) & ring_mask(k), yhat;
			int64_t result;

			c.c1 = i >> 2;
			c.own = i & 3;
			toss(&t, &c);
			result = play(&t, 1, seen);
			yhat = ((uint64_t)weight + own->e0 + c.c1 - mask * own->a) & ring_mask(k);
			see(&seen[P0], &F, 1);
			if (control)
				see(&seen[P0], &yhat, 1);
			find(into, &seen[P0], result)->n++;
		}
		tiny_free(&t);
	}
}

/* Are views given the result distributed alike for two weights? n: runs of each weight with each result. */
static int alike(struct counts *a, struct counts *b)
{
	uint64_t na[256] = {0}, nb[256] = {0};

	for (uint32_t i = 0; i < BUCKETS; i++) {
		na[(uint8_t)a->bucket[i].result] += a->bucket[i].n;
		nb[(uint8_t)b->bucket[i].result] += b->bucket[i].n;
	}
	for (uint32_t i = 0; i < BUCKETS; i++) {
		const struct bucket *at = &a->bucket[i];
		uint8_t r = (uint8_t)at->result;

		if (at->n && nb[r] && find(b, &at->view, at->result)->n * na[r] != at->n * nb[r])
			return 0;
	}
	return 1;
}

static int p0_independent(unsigned k, unsigned f, int control)
{
	int64_t half = INT64_C(1) << (k - 1);
	int same = 1;

	for (int round = 0; round < 3; round++) {
		uint64_t r = UINT64_C(0x9e3779b97f4a7c15) * (7 * round + k + 3 * f + 1), w = k - f;
		struct coins own = {r >> 8 & ring_mask(k),
				    r >> 16 & ring_mask(k),
				    0,
				    r >> 24 & ring_mask(1 << w),
				    r >> 40 & 3,
				    {r >> 44 & ring_mask(2 * w), r >> 52 & ring_mask(2 * w)},
				    0};
		struct counts all[2] = {{calloc(BUCKETS, sizeof(struct bucket))},
					{calloc(BUCKETS, sizeof(struct bucket))}};

		/* every weight against the one before that shares a result, which chains them all */
		p0_views(&all[0], &own, k, f, -half, control);
		for (int64_t weight = 1 - half; same && weight < half; weight++) {
			memset(all[1].bucket, 0, BUCKETS * sizeof(struct bucket));
			p0_views(&all[1], &own, k, f, weight, control);
			same = alike(&all[0], &all[1]) && alike(&all[1], &all[0]);
			memcpy(all[0].bucket, all[1].bucket, BUCKETS * sizeof(struct bucket));
		}
		free(all[0].bucket);
		free(all[1].bucket);
	}
	return same;
}

static void p0_learns_the_result(void **state)
{
	static const unsigned rings[][2] = {{2, 0}, {3, 1}, {4, 1}, {4, 2}};

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		if (!p0_independent(rings[i][0], rings[i][1], 0))
			fail_msg("P0's view depends on the weight beyond the result: k=%u f=%u", rings[i][0],
				 rings[i][1]);
}

static void control_is_caught(void **state)
{
	assert_false(p0_independent(4, 2, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(p1_learns_nothing),
	    cmocka_unit_test(p0_learns_the_result),
	    cmocka_unit_test(control_is_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
