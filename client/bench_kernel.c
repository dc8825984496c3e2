/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices, packing, key streams: one core, one tier at a time. */
#include <stdlib.h>
#include <string.h>

#include "client/bench_micro.h"
#include "client/json.h"
#include "client/bench_table.h"
#include "crypto/prg.h"
#include "crypto/ring.h"
#include "nn/linear.h"

/* ---- matrices ---- */

static const struct {
	const char *name;
	enum term_kind kind;
	struct shape in;
	uint32_t filters, kernel, stride;
	unsigned k;
} layers[] = {
    {"X, first dense 784→128", TERM_DENSE, {1, 28, 28}, 128, 0, 0, 24},
    {"X, second dense 128→128", TERM_DENSE, {128, 1, 1}, 128, 0, 0, 40},
    {"Y, dense 180→100", TERM_DENSE, {180, 1, 1}, 100, 0, 0, 40},
    {"Z, first convolution 3→36, 5×5", TERM_CONV, {3, 32, 32}, 36, 5, 1, 20},
    {"Z, second convolution 36→36, 5×5", TERM_CONV, {36, 14, 14}, 36, 5, 1, 40},
    {"Z, dense 900→72", TERM_DENSE, {900, 1, 1}, 72, 0, 0, 44},
    {"D, second convolution 16→16, 5×5", TERM_CONV, {16, 12, 12}, 16, 5, 1, 36},
};
#define LAYERS (sizeof(layers) / sizeof(*layers))

/* Online W meets one image, or a batch; offline F and B, words of full width, meet blocks of tickets. */
static const struct {
	const char *name;
	int small;
	size_t images;
} uses[] = {{"W", 1, 1}, {"W", 1, 8}, {"F", 0, 16}};
#define USES (sizeof(uses) / sizeof(*uses))

struct product {
	struct linear *l;
	uint64_t *x, *y; /* own */
	void *scratch;
	size_t in, out, images;
};

static void multiply(void *ctx)
{
	struct product *p = ctx;

	linear_apply(p->l, p->x, p->in, p->y, p->out, p->images, p->scratch);
}

static struct term term_of(size_t layer)
{
	struct term t = {.kind = layers[layer].kind, .groups = 1};
	struct shape in = layers[layer].in;
	uint32_t n = layers[layer].kernel, side = n ? (in.h - n) / layers[layer].stride + 1 : 1;

	t.win = (struct window){.in = in,
				.out = {layers[layer].filters, side, side},
				.kh = n ? n : 1,
				.kw = n ? n : 1,
				.sh = 1,
				.sw = 1,
				.dh = 1,
				.dw = 1};
	return t;
}

static void fill(uint64_t *x, size_t n, unsigned k, int small)
{
	uint8_t seed[PRG_SEED_BYTES] = {1};
	struct err e = {0};
	struct prg *prg = prg_new(seed, PRG_OWN, &e);

	if (prg)
		prg_words(prg, 0, 0, x, n, k);
	prg_free(prg);
	for (size_t i = 0; small && i < n; i++)
		x[i] = (uint64_t)((int64_t)(x[i] & 0x1ffff) - 0x10000); /* 16 fractional bits, at most 1 */
}

static int product_new(struct product *p, size_t layer, size_t use, struct err *e)
{
	struct term t = term_of(layer);
	size_t n = term_weights(&t);
	uint64_t *m = calloc(n, sizeof(*m));
	unsigned k = layers[layer].k;

	*p = (struct product){
	    .in = shape_size(t.win.in), .out = shape_size(t.win.out), .images = uses[use].images};
	p->x = aligned_alloc(64, (p->in * p->images * 8 + 127) / 64 * 64);
	p->y = aligned_alloc(64, (p->out * p->images * 8 + 127) / 64 * 64);
	if (m && p->x && p->y) {
		fill(m, n, k, uses[use].small);
		fill(p->x, p->in * p->images, k, 0);
		memset(p->y, 0, p->out * p->images * 8);
		p->l = linear_new(&t, m, k, uses[use].small, e);
	}
	if (p->l)
		p->scratch = aligned_alloc(64, (linear_scratch(p->l, p->images) + 127) / 64 * 64);
	free(m);
	return p->scratch ? 0 : err_set(e, ERR_ENV, "out of memory for a matrix");
}

static void product_free(struct product *p)
{
	linear_free(p->l);
	free(p->x);
	free(p->y);
	free(p->scratch);
}

static double speed(size_t layer, size_t use, double seconds, struct err *e)
{
	struct term t = term_of(layer);
	struct product p;
	double took = -1;

	if (!product_new(&p, layer, use, e))
		took = micro_time(multiply, &p, seconds);
	product_free(&p);
	return took < 0 ? -1 : (double)term_multiply_adds(&t) * (double)uses[use].images / took;
}

/* Mod what the tier's instructions are exact, for words of k bits. */
static unsigned exact(enum cpu_tier tier, unsigned k)
{
	return tier == CPU_REF ? 64 : k <= 32 ? 32 : k <= 52 && tier == CPU_AVX512 ? 52 : 64;
}

static int linear_line(struct micro *m, struct bench_table *t, size_t layer, size_t use, struct err *e)
{
	static double plain[LAYERS][USES]; /* REF runs first */
	unsigned bits = exact(m->tier, layers[layer].k);
	double rate = speed(layer, use, m->seconds, e), peak = peak_multiply_adds(m->tier, bits, m->seconds);
	struct json_object *o = micro_line(m, "linear");

	if (m->tier == CPU_REF)
		plain[layer][use] = rate;
	json_text(o, "layer", layers[layer].name);
	json_text(o, "matrix", uses[use].name);
	json_count(o, "images", uses[use].images);
	json_count(o, "k", layers[layer].k);
	json_real(o, "multiply_adds_per_second", rate);
	json_count(o, "ring_bits", bits);
	json_real(o, "peak_per_cycle", peak / m->clock);
	json_real(o, "peak", peak);
	json_real(o, "share", peak > 0 ? rate / peak : 0);
	json_real(o, "times_ref", plain[layer][use] > 0 ? rate / plain[layer][use] : 0);
	bench_table_row(t);
	bench_table_cell(t, "%s", layers[layer].name);
	bench_table_cell(t, "%s", uses[use].name);
	bench_table_cell(t, "%zu", uses[use].images);
	bench_table_cell(t, "%u", layers[layer].k);
	bench_table_cell(t, "%.2f", rate / 1e9);
	bench_table_cell(t, "%.2f × %.2f", peak / m->clock, m->clock / 1e9);
	bench_table_cell(t, "%.0f %%", peak > 0 ? rate / peak * 100 : 0);
	bench_table_cell(t, "%.1f", plain[layer][use] > 0 ? rate / plain[layer][use] : 0);
	return rate < 0 ? (json_object_put(o), -1) : report_line(m->b, o, e);
}

int micro_linear(struct micro *m, struct err *e)
{
	struct bench_table *t;
	char title[128];

	snprintf(title, sizeof(title),
		 "%s: multiply-adds (G/s); the peak: multiply-adds a cycle × clock (GHz)", cpu_name(m->tier));
	if (bench_table_new(&t, m->b->markdown, title,
			    "LAYER|MATRIX|>IMAGES|>K|>G/S|>PEAK|>SHARE|>TIMES PLAIN C", e))
		return -1;
	for (size_t layer = 0; layer < LAYERS; layer++)
		for (size_t use = 0; use < USES; use++) {
			bench_progress(m->b, "%s: %s", cpu_name(m->tier), layers[layer].name);
			if (roles_go_on(e) || linear_line(m, t, layer, use, e)) {
				bench_table_free(t);
				return -1;
			}
		}
	bench_clear(m->b);
	return bench_table_print(t, e);
}

/* ---- packing ---- */

#define WORDS 4096 /* 32 kB, as a layer's output */

struct packing {
	uint64_t words[WORDS];
	uint8_t packed[WORDS * 8];
	unsigned k;
};

static void pack(void *ctx)
{
	struct packing *p = ctx;

	ring_pack(p->packed, p->words, WORDS, p->k);
}

static void unpack(void *ctx)
{
	struct packing *p = ctx;

	ring_unpack(p->words, p->packed, WORDS, p->k);
}

static int is_shown(unsigned k)
{
	return k == 1 || k == 8 || k == 13 || k == 24 || k == 40 || k == 44 || k == 61 || k == 64;
}

static int packing_line(struct micro *m, unsigned k, const double rate[2], struct err *e)
{
	struct json_object *o = micro_line(m, "packing");

	json_count(o, "k", k);
	json_real(o, "pack_bytes_per_second", rate[0]);
	json_real(o, "unpack_bytes_per_second", rate[1]);
	return report_line(m->b, o, e);
}

static void packing_cells(struct bench_table *t, const char *what, unsigned k, double a, double b)
{
	bench_table_row(t);
	bench_table_cell(t, "%s%u", what, k);
	bench_table_cell(t, "%.1f", a / 1e9);
	bench_table_cell(t, "%.1f", b / 1e9);
}

static int all_widths(struct micro *m, struct packing *p, struct bench_table *t, struct err *e)
{
	static void (*const runs[])(void *) = {pack, unpack};
	double least[2] = {1e99, 1e99};
	unsigned at[2] = {0};

	for (p->k = 1; p->k <= 64; p->k++) {
		double rate[2];

		for (int i = 0; i < 2; i++) {
			rate[i] = WORDS * 8 / micro_time(runs[i], p, m->seconds / 4);
			if (rate[i] < least[i]) {
				least[i] = rate[i];
				at[i] = p->k;
			}
		}
		if (is_shown(p->k))
			packing_cells(t, "", p->k, rate[0], rate[1]);
		if (roles_go_on(e) || packing_line(m, p->k, rate, e))
			return -1;
	}
	bench_table_row(t);
	bench_table_cell(t, "least, of 1 to 64");
	for (int i = 0; i < 2; i++)
		bench_table_cell(t, "%.1f (k = %u)", least[i] / 1e9, at[i]);
	return 0;
}

int micro_packing(struct micro *m, struct err *e)
{
	struct packing *p = calloc(1, sizeof(*p));
	struct bench_table *t = NULL;
	char title[128];
	int r;

	if (!p)
		return err_set(e, ERR_ENV, "out of memory");
	snprintf(title, sizeof(title), "%s: words of 64 bits packed to k bits, and back (GB/s of words)",
		 cpu_name(m->tier));
	bench_progress(m->b, "%s: packing", cpu_name(m->tier));
	fill(p->words, WORDS, 64, 0);
	r = bench_table_new(&t, m->b->markdown, title, ">K|>PACK|>UNPACK", e) || all_widths(m, p, t, e);
	bench_clear(m->b);
	if (r)
		bench_table_free(t);
	else
		r = bench_table_print(t, e);
	free(p);
	return r ? -1 : 0;
}

/* ---- key streams ---- */

#define STREAM (1 << 16)
#define BLOCKS (STREAM / PRG_BLOCK)

struct stream {
	struct prg *prg;
	uint64_t words[STREAM / 8], blocks[BLOCKS];
};

static void read_bytes(void *ctx)
{
	struct stream *s = ctx;

	prg_read(s->prg, 1, 0, s->words, STREAM);
}

static void read_words(void *ctx)
{
	struct stream *s = ctx;

	prg_words(s->prg, 1, 0, s->words, STREAM / 8, 40);
}

static void read_small(void *ctx)
{
	struct stream *s = ctx;

	prg_read(s->prg, 1, 0, s->words, 64);
}

static void gather(void *ctx)
{
	struct stream *s = ctx;

	prg_gather(s->prg, 1, s->blocks, BLOCKS, s->words);
}

static const struct {
	const char *name;
	void (*run)(void *ctx);
	size_t bytes;
} streams[] = {{"bytes, 64 kB at once", read_bytes, STREAM},
	       {"words mod 2^40, 64 kB at once", read_words, STREAM},
	       {"single blocks, 4096 at once", gather, STREAM},
	       {"bytes, 64 at once", read_small, 64}};

static int stream_line(struct micro *m, struct bench_table *t, struct stream *s, size_t i, struct err *e)
{
	double rate = (double)streams[i].bytes / micro_time(streams[i].run, s, m->seconds);
	struct json_object *o = micro_line(m, "stream");

	json_text(o, "how", streams[i].name);
	json_real(o, "bytes_per_second", rate);
	bench_table_row(t);
	bench_table_cell(t, "%s", streams[i].name);
	bench_table_cell(t, "%.2f", rate / 1e9);
	return report_line(m->b, o, e);
}

int micro_streams(struct micro *m, struct err *e)
{
	uint8_t seed[PRG_SEED_BYTES] = {1};
	struct stream *s = calloc(1, sizeof(*s));
	struct bench_table *t = NULL;
	int r = s && (s->prg = prg_new(seed, PRG_TICKET, e)) ? 0 : err_set(e, ERR_ENV, "out of memory");

	for (size_t i = 0; !r && i < BLOCKS; i++)
		s->blocks[i] = 7 * i;
	if (!r)
		r = bench_table_new(&t, m->b->markdown, "Key streams (GB/s)", "WHAT|>GB/S", e);
	for (size_t i = 0; !r && i < sizeof(streams) / sizeof(*streams); i++)
		r = stream_line(m, t, s, i, e);
	if (r)
		bench_table_free(t);
	else
		r = bench_table_print(t, e);
	if (s)
		prg_free(s->prg);
	free(s);
	return r;
}
