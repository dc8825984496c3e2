/* SPDX-License-Identifier: Apache-2.0 */
/* trunc: y / 2^f of a masked wire as shares mod 2^kout, signed, without ReLU (PROTOCOL.md §5).
 *
 *   correlation  r = ρ >> f; shares of r (kout bits) and msb r (kout - w bits): P0's from its stream,
 *                D → P1 the rest
 *   move 0       P1 → P0: ẑ = (ŷ + o) >> f, o = 2^offset
 *   output       z = ẑ - r + (1 - msb ẑ)·msb(r)·2^w - o / 2^f
 */
#include "protocol/op/share.h"

struct shape_of {
	size_t n;
	unsigned k, f, w, kout, wide; /* wide = bits of the msb share, 0 when kout <= w */
};

static struct shape_of trunc_shape(const struct tape *tape, const struct row *row)
{
	const struct value *in = &tape->values[row->in[0]];
	unsigned w = in->k - in->f, kout = tape->values[row->out].k;

	return (struct shape_of){shape_size(in->shape), in->k, in->f, w, kout, kout > w ? kout - w : 0};
}

static int trunc_declare(const struct tape *tape, const struct row *row, struct cost *cost, struct program *p,
			 struct err *e)
{
	struct shape_of s = trunc_shape(tape, row);

	cost->p0 = (s.wide ? 2 : 1) * stream_words(s.n);
	cost->corrections = ring_packed(s.n, s.kout) + ring_packed(s.n, s.wide);
	cost->temp = aligned(s.n * 8);
	cost->scratch = 2 * aligned(s.n * 8);
	return program_move(p, P1, ring_packed(s.n, s.w), e);
}

static void trunc_deal(struct deal *d, const struct row *row)
{
	struct shape_of s = trunc_shape(d->program->tape, row);
	const struct placed *at = placed_row(d->program, d->row);
	uint64_t *half = d->scratch;

	for (size_t t = 0; t < d->tickets; t++) {
		const uint64_t *rho = words_of(d->mask, d->program, row->in[0], t);
		uint8_t *out = d->corrections[t] + at->corrections;

		prg_words(d->p0, d->first + t, at->p0, half, s.n, s.kout);
		for (size_t i = 0; i < s.n; i++)
			half[i] = (rho[i] >> s.f) - half[i];
		ring_pack(out, half, s.n, s.kout);
		if (!s.wide)
			continue;
		prg_words(d->p0, d->first + t, at->p0 + stream_words(s.n), half, s.n, s.wide);
		for (size_t i = 0; i < s.n; i++)
			half[i] = (rho[i] >> (s.k - 1)) - half[i];
		ring_pack(out + ring_packed(s.n, s.kout), half, s.n, s.wide);
	}
}

/* z_p = (1 - msb ẑ)·msb_p·2^w - r_p */
static void trunc_share(const struct shape_of *s, const uint64_t *zhat, const uint64_t *r,
			const uint64_t *msb, uint64_t *out)
{
	for (size_t i = 0; i < s->n; i++) {
		uint64_t wrap = s->wide ? msb[i] * ((1 - ((zhat[i] >> (s->w - 1)) & 1)) << s->w) : 0;

		out[i] = (wrap - r[i]) & ring_mask(s->kout);
	}
}

static void trunc_p0(struct run *r, const struct row *row, unsigned move)
{
	struct shape_of s = trunc_shape(r->program->tape, row);
	const struct placed *at = placed_row(r->program, r->row);
	uint64_t *zhat = (uint64_t *)r->temp, *half = r->scratch, *msb = half + aligned(s.n * 8) / 8;

	for (size_t b = 0; b < r->batch; b++) {
		ring_unpack(zhat, r->in + b * move_bytes(r, move), s.n, s.w);
		prg_words(r->prg, r->tickets[b].number, at->p0, half, s.n, s.kout);
		if (s.wide)
			prg_words(r->prg, r->tickets[b].number, at->p0 + stream_words(s.n), msb, s.n, s.wide);
		trunc_share(&s, zhat, half, msb, words_of(r->values, r->program, row->out, b));
	}
}

static void trunc_p1(struct run *r, const struct row *row, unsigned move)
{
	struct shape_of s = trunc_shape(r->program->tape, row);
	const struct placed *at = placed_row(r->program, r->row);
	uint64_t *zhat = (uint64_t *)r->temp, *half = r->scratch, *msb = half + aligned(s.n * 8) / 8;
	uint64_t offset = UINT64_C(1) << row->offset_log2;

	for (size_t b = 0; b < r->batch; b++) {
		const uint64_t *y = words_of(r->values, r->program, row->in[0], b);
		const uint8_t *dealt = r->tickets[b].corrections + at->corrections;
		uint64_t *out = words_of(r->values, r->program, row->out, b);

		for (size_t i = 0; i < s.n; i++)
			zhat[i] = ((y[i] + offset) & ring_mask(s.k)) >> s.f;
		ring_pack(r->out + b * move_bytes(r, move), zhat, s.n, s.w);
		ring_unpack(half, dealt, s.n, s.kout);
		if (s.wide)
			ring_unpack(msb, dealt + ring_packed(s.n, s.kout), s.n, s.wide);
		trunc_share(&s, zhat, half, msb, out);
		for (size_t i = 0; i < s.n; i++)
			out[i] = (out[i] + zhat[i] - (offset >> s.f)) & ring_mask(s.kout);
	}
}

const struct op operator_trunc = {
    .name = "trunc", .declare = trunc_declare, .deal = trunc_deal, .p0 = trunc_p0, .p1 = trunc_p1};
