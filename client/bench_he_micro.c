/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench --micro: transforms, encryption, answers and decryption of one polynomial, one core, one tier
 * at a time. */
#include <stdlib.h>
#include <string.h>

#include "client/bench_micro.h"
#include "client/bench_table.h"
#include "client/json.h"
#include "crypto/he/he.h"
#include "crypto/ring.h"

#define TERMS 8 /* ciphertexts of an answer's sum */
#define WORD 32 /* bits of what is encrypted, in all sets */
#define UP 30
#define DOWN 39 /* bits of an answer's words, what set S takes */
#define CUT 3

/* Both ends, a ciphertext and an answer. Weights are words like any other: products do not depend on their
 * values. */
struct poly {
	const struct he_params *p;
	struct he_rng *rng;
	struct he_work *work;
	struct he_key *key;
	struct he_public *pk;
	struct prg *half;
	uint8_t *public, *cipher;
	uint64_t *m, *out0, *out1;
	uint32_t *c0, *c1, *w;
	uint64_t index;
};

static void free_all(struct poly *x)
{
	he_public_free(x->pk);
	he_key_free(x->key);
	he_work_free(x->work);
	he_rng_free(x->rng);
	prg_free(x->half);
	free(x->public);
	free(x->cipher);
	free(x->m);
	free(x->out0);
	free(x->out1);
	free(x->c0);
	free(x->c1);
	free(x->w);
}

static int take_buffers(struct poly *x, enum he_set set)
{
	size_t n = x->p->n, words = x->p->limbs * n * 4;

	x->public = malloc(he_public_bytes(set));
	x->cipher = malloc(he_cipher_bytes(x->p, UP));
	x->m = calloc(n, 8);
	x->out0 = calloc(n, 8);
	x->out1 = calloc(n, 8);
	x->c0 = aligned_alloc(64, words);
	x->c1 = aligned_alloc(64, words);
	x->w = aligned_alloc(64, words);
	return x->public && x->cipher && x->m && x->out0 && x->out1 && x->c0 && x->c1 && x->w ? 0 : -1;
}

static void encrypt(void *ctx)
{
	struct poly *x = ctx;

	he_encrypt(x->key, x->rng, x->half, x->index++, x->p->limbs, WORD, UP, x->m, x->work, x->cipher);
}

static int make(struct poly *x, enum he_set set, struct err *e)
{
	uint8_t seed[PRG_SEED_BYTES] = {1};
	int64_t *w = NULL;

	x->p = he_params(set);
	if (!(x->rng = he_rng_new(NULL, e)) || !(x->work = he_work_new(set, TERMS, e)) ||
	    !(x->key = he_key_new(set, x->rng, e)) || !(x->half = prg_new(seed, PRG_HE_HALF, e)))
		return -1;
	if (take_buffers(x, set) || !(w = calloc(x->p->n, sizeof(*w))))
		return err_set(e, ERR_ENV, "out of memory");
	for (size_t i = 0; i < x->p->n; i++) {
		w[i] = (int64_t)(i % 255) - 127;
		x->m[i] = (i * 0x9e3779b97f4a7c15u) & ring_mask(WORD);
	}
	he_weights(x->p, x->p->limbs, w, x->w);
	free(w);
	if (he_key_public(x->key, x->rng, x->work, x->public, e) ||
	    he_public_new(&x->pk, set, x->public, he_public_bytes(set), e))
		return -1;
	encrypt(x);
	he_cipher_read(x->p, x->p->limbs, UP, x->cipher, x->half, 0, x->work, x->c0, x->c1);
	return 0;
}

/* ---- what is timed ---- */

static void forward(void *ctx)
{
	struct poly *x = ctx;

	he_row()->forward(&x->p->limb[0], x->c0, x->p->n);
}

static void inverse(void *ctx)
{
	struct poly *x = ctx;

	he_row()->inverse(&x->p->limb[0], x->c0, x->p->n);
}

static void multiply(void *ctx)
{
	struct poly *x = ctx;
	const uint32_t *a[TERMS], *b[TERMS];

	for (int i = 0; i < TERMS; i++) {
		a[i] = x->c1;
		b[i] = x->w;
	}
	he_row()->dot(&x->p->limb[0], x->c0, a, b, TERMS, x->p->n);
}

static void answer(void *ctx)
{
	struct poly *x = ctx;
	const uint32_t *c0 = x->c0, *c1 = x->c1, *w = x->w;

	he_answer(x->pk, x->rng, x->p->limbs, &c0, &c1, &w, 1, NULL, DOWN, CUT, x->work, x->out0, x->out1);
}

static void decrypt(void *ctx)
{
	struct poly *x = ctx;

	he_open(x->key, DOWN, x->out1, x->work, x->m);
}

/* Transforms and sums are of one prime; encryption and answers of all primes of the set; decryption of as
 * many as the answer needs. */
static const struct {
	const char *name;
	void (*run)(void *ctx);
} kernels[] = {{"transform, one prime", forward},
	       {"inverse transform, one prime", inverse},
	       {"sum of 8 products, one prime", multiply},
	       {"encrypt, all primes", encrypt},
	       {"answer to one ciphertext, all primes", answer},
	       {"decrypt", decrypt}};
#define KERNELS (sizeof(kernels) / sizeof(*kernels))

static int kernel_line(struct micro *m, struct bench_table *t, struct poly *x, size_t i, struct err *e)
{
	double seconds = micro_time(kernels[i].run, x, m->seconds);
	struct json_object *o = micro_line(m, "he");

	json_text(o, "how", kernels[i].name);
	json_text(o, "he_set", x->p->name);
	json_text(o, "row", cpu_name(he_row()->tier));
	json_real(o, "seconds", seconds);
	bench_table_row(t);
	bench_table_cell(t, "%s", x->p->name);
	bench_table_cell(t, "%zu", x->p->n);
	bench_table_cell(t, "%s", kernels[i].name);
	bench_table_cell(t, "%.2f", seconds * 1e6);
	return report_line(m->b, o, e);
}

static int one_set(struct micro *m, struct bench_table *t, enum he_set set, struct err *e)
{
	struct poly x = {0};
	int r = make(&x, set, e);

	for (size_t i = 0; !r && i < KERNELS; i++)
		r = roles_go_on(e) || kernel_line(m, t, &x, i, e);
	free_all(&x);
	return r;
}

int micro_he(struct micro *m, struct err *e)
{
	struct bench_table *t = NULL;
	char title[128];
	int r;

	snprintf(title, sizeof(title), "%s: one polynomial of the he personality (microseconds)",
		 cpu_name(m->tier));
	bench_progress(m->b, "%s: polynomials", cpu_name(m->tier));
	r = bench_table_new(&t, m->b->markdown, title, "SET|>N|WHAT|>TIME", e) || one_set(m, t, HE_S, e) ||
	    one_set(m, t, HE_L, e);
	bench_clear(m->b);
	if (!r)
		return bench_table_print(t, e);
	if (t)
		bench_table_free(t);
	return -1;
}
