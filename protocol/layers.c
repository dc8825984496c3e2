/* SPDX-License-Identifier: Apache-2.0 */
/* The matrices of each party: W at P1, B = PRG(weight seed) at P1 and D, F = W - B at P0 (PROTOCOL.md §2). */
#include <stdlib.h>
#include <string.h>

#include "crypto/ring.h"
#include "crypto/secret.h"
#include "nn/plan.h"
#include "protocol/program.h"

#define NOT_SMALL (INT64_C(1) << 31)

static int no_memory(struct err *e)
{
	return err_set(e, ERR_ENV, "out of memory for the matrices of a model");
}

/* Where n words of one term come from; first: words of the row's terms before it. */
typedef void (*term_source)(void *ctx, uint16_t row, size_t first, uint64_t *words, size_t n, unsigned k);

static int fill_term(struct layer *layer, const struct program *p, uint16_t row, uint16_t j, size_t first,
		     term_source source, void *ctx, int small, struct err *e)
{
	const struct term *term = &p->tape->rows[row].terms[j];
	unsigned k = p->tape->values[p->tape->rows[row].out].k;
	size_t n = term_weights(term);
	uint64_t *words = malloc(n * sizeof(*words) + 1);

	if (!words)
		return no_memory(e);
	source(ctx, row, first, words, n, k);
	for (size_t i = 0; small && i < n; i++)
		small = (int64_t)words[i] < NOT_SMALL && (int64_t)words[i] > -NOT_SMALL;
	layer->terms[j] = linear_new(term, words, k, small, e);
	secret_wipe(words, n * sizeof(*words));
	free(words);
	return layer->terms[j] ? 0 : -1;
}

static int fill(struct layer **layers, const struct program *p, term_source source, void *ctx, int small,
		struct err *e)
{
	struct layer *l = calloc(p->tape->n_rows, sizeof(*l));

	*layers = NULL;
	if (!l)
		return no_memory(e);
	for (uint16_t i = 0; i < p->tape->n_rows; i++) {
		const struct row *row = &p->tape->rows[i];
		size_t first = 0;

		for (uint16_t j = 0; j < row->n_terms; j++) {
			if (row->terms[j].kind == TERM_SKIP)
				continue;
			if (fill_term(&l[i], p, i, j, first, source, ctx, small, e)) {
				layers_free(l, p);
				return -1;
			}
			first += term_weights(&row->terms[j]);
		}
	}
	*layers = l;
	return 0;
}

static void from_weights(void *ctx, uint16_t row, size_t first, uint64_t *words, size_t n, unsigned k)
{
	const struct weights *w = ctx;

	memcpy(words, w->rows[row].weights + first, n * sizeof(*words));
}

/* B: stream = row number, 8 bytes a word. Words start at a block boundary: `first` may be odd, so read from
 * the block before. */
static void from_seed(void *ctx, uint16_t row, size_t first, uint64_t *words, size_t n, unsigned k)
{
	if (n && first % 2) {
		uint64_t pair[2];

		prg_words(ctx, row, (first - 1) * 8, pair, 2, k);
		words[0] = pair[1];
		secret_wipe(pair, sizeof(pair));
		words++, first++, n--;
	}
	prg_words(ctx, row, first * 8, words, n, k);
}

struct packed {
	const uint8_t *next;
};

static void from_packed(void *ctx, uint16_t row, size_t first, uint64_t *words, size_t n, unsigned k)
{
	struct packed *in = ctx;

	ring_unpack(words, in->next, n, k);
	in->next += ring_packed(n, k);
}

static int check_weights(const struct program *p, const struct weights *w, struct err *e)
{
	if (w->n_rows != p->tape->n_rows)
		return err_set(e, ERR_INPUT, "weights belong to another plan: %u rows, not %u", w->n_rows,
			       p->tape->n_rows);
	for (uint16_t i = 0; i < w->n_rows; i++) {
		size_t n = 0;

		for (uint16_t j = 0; j < p->tape->rows[i].n_terms; j++)
			n += term_weights(&p->tape->rows[i].terms[j]);
		if (n != w->rows[i].n_weights)
			return err_set(e, ERR_INPUT, "weights of row %u belong to another plan", i);
	}
	return 0;
}

/* Elements of a linear row's output before its post pool. */
static size_t wide_words(const struct program *p, const struct row *row)
{
	return row->has_post ? shape_size(row->post.in) : shape_size(p->tape->values[row->out].shape);
}

int program_weights(struct layer **layers, const struct program *p, const struct weights *w, struct err *e)
{
	if (check_weights(p, w, e) || fill(layers, p, from_weights, (void *)w, 1, e))
		return -1;
	for (uint16_t i = 0; i < w->n_rows; i++) {
		size_t n = w->rows[i].n_bias;

		if (p->tape->rows[i].kind != OP_LINEAR)
			continue;
		(*layers)[i].bias = calloc(wide_words(p, &p->tape->rows[i]), sizeof(uint64_t));
		if (!(*layers)[i].bias || (n && n != wide_words(p, &p->tape->rows[i]))) {
			layers_free(*layers, p);
			*layers = NULL;
			return err_set(e, ERR_ENV,
				       "no memory for a bias, or a bias of the wrong size (row %u)", i);
		}
		if (n)
			memcpy((*layers)[i].bias, w->rows[i].bias, n * sizeof(uint64_t));
	}
	return 0;
}

int program_mask(struct layer **layers, const struct program *p, const uint8_t seed[PRG_SEED_BYTES],
		 struct err *e)
{
	struct prg *prg = prg_new(seed, PRG_WEIGHTS, e);
	int result;

	*layers = NULL;
	if (!prg)
		return -1;
	result = fill(layers, p, from_seed, prg, 0, e);
	prg_free(prg);
	return result;
}

int program_unmask(struct layer **layers, const struct program *p, const uint8_t *packed, struct err *e)
{
	struct packed in = {packed};

	return fill(layers, p, from_packed, &in, 0, e);
}

int program_masked_weights(uint8_t *packed, const struct program *p, const struct weights *w,
			   const uint8_t seed[PRG_SEED_BYTES], struct err *e)
{
	struct prg *prg;

	if (check_weights(p, w, e) || !(prg = prg_new(seed, PRG_WEIGHTS, e)))
		return -1;
	for (uint16_t i = 0; i < p->tape->n_rows; i++) {
		const struct row *row = &p->tape->rows[i];
		unsigned k = p->tape->values[row->out].k;
		size_t first = 0;

		for (uint16_t j = 0; j < row->n_terms; j++) {
			size_t n = term_weights(&row->terms[j]);
			uint64_t *b = malloc((n + 1) * sizeof(*b));

			if (!b) {
				prg_free(prg);
				return no_memory(e);
			}
			from_seed(prg, i, first, b, n, k);
			ring_sub(b, (const uint64_t *)w->rows[i].weights + first, b, n, k);
			ring_pack(packed, b, n, k);
			packed += ring_packed(n, k);
			first += n;
			free(b);
		}
	}
	prg_free(prg);
	return 0;
}

size_t layers_scratch(const struct layer *layers, const struct program *p, size_t batch)
{
	size_t most = 0;

	for (uint16_t i = 0; layers && i < p->tape->n_rows; i++)
		for (uint16_t j = 0; j < p->tape->rows[i].n_terms; j++)
			if (layers[i].terms[j] && most < linear_scratch(layers[i].terms[j], batch))
				most = linear_scratch(layers[i].terms[j], batch);
	return most;
}

void layers_free(struct layer *layers, const struct program *p)
{
	for (uint16_t i = 0; layers && i < p->tape->n_rows; i++) {
		for (uint16_t j = 0; j < TAPE_MAX_TERMS; j++)
			linear_free(layers[i].terms[j]);
		if (layers[i].bias)
			secret_wipe(layers[i].bias, wide_words(p, &p->tape->rows[i]) * sizeof(uint64_t));
		free(layers[i].bias);
	}
	free(layers);
}
