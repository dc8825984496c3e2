/* SPDX-License-Identifier: Apache-2.0 */
/* square: (y / 2^f)^2 of a masked wire as shares mod 2^kout (PROTOCOL.md §5).
 *
 *   correlation  r = ρ >> f; shares of r, r² (kout bits), msb r, r·msb r (kout - w bits): P0's from its
 *                stream, D → P1 the rest
 *   move 0       P1 → P0: ẑ = (ŷ + o) >> f, o = 2^offset
 *   output       z = A - R with A = ẑ - o / 2^f, R = r - h·msb r, h = (1 - msb ẑ)·2^w;  z² = A² - 2·A·R + R²,
 *                R² = r² - 2·h·(r·msb r) + h²·msb r
 */
#include "protocol/op/share.h"

enum { R, R2, TOP, RTOP, FIELDS };

struct shape_of {
	size_t n;
	unsigned k, f, w, kout, wide, offset;
};

static struct shape_of square_shape(const struct tape *tape, const struct row *row)
{
	const struct value *in = &tape->values[row->in[0]];
	unsigned w = in->k - in->f, kout = tape->values[row->out].k;

	return (struct shape_of){shape_size(in->shape),	  in->k,	   in->f, w, kout,
				 kout > w ? kout - w : 0, row->offset_log2};
}

static unsigned field_bits(const struct shape_of *s, int field)
{
	return field < TOP ? s->kout : s->wide;
}

static int square_declare(const struct tape *tape, const struct row *row, struct cost *cost,
			  struct program *p, struct err *e)
{
	struct shape_of s = square_shape(tape, row);

	for (int field = 0; field < FIELDS; field++) {
		if (!field_bits(&s, field))
			continue;
		cost->p0 += stream_words(s.n);
		cost->corrections += ring_packed(s.n, field_bits(&s, field));
	}
	cost->temp = aligned(s.n * 8);
	cost->scratch = FIELDS * aligned(s.n * 8);
	return program_move(p, P1, ring_packed(s.n, s.w), e);
}

static void square_deal(struct deal *d, const struct row *row)
{
	struct shape_of s = square_shape(d->program->tape, row);
	uint64_t *half = d->scratch;

	for (size_t t = 0; t < d->tickets; t++) {
		const uint64_t *rho = words_of(d->mask, d->program, row->in[0], t);
		uint64_t p0 = placed_row(d->program, d->row)->p0;
		uint8_t *out = d->corrections[t] + placed_row(d->program, d->row)->corrections;

		for (int field = 0; field < FIELDS && field_bits(&s, field); field++) {
			unsigned bits = field_bits(&s, field);

			prg_words(d->p0, d->first + t, p0, half, s.n, bits);
			for (size_t i = 0; i < s.n; i++) {
				uint64_t r = rho[i] >> s.f, top = r >> (s.w - 1);
				uint64_t real[FIELDS] = {r, r * r, top, r * top};

				half[i] = real[field] - half[i];
			}
			ring_pack(out, half, s.n, bits);
			p0 += stream_words(s.n);
			out += ring_packed(s.n, bits);
		}
	}
}

/* This party's share; with = 1 at the party that adds A². */
static void square_share(const struct shape_of *s, const uint64_t *zhat, uint64_t *const field[FIELDS],
			 uint64_t with, uint64_t *out)
{
	for (size_t i = 0; i < s->n; i++) {
		uint64_t h = s->wide ? (1 - ((zhat[i] >> (s->w - 1)) & 1)) << s->w : 0;
		uint64_t top = s->wide ? field[TOP][i] : 0, rtop = s->wide ? field[RTOP][i] : 0;
		uint64_t A = zhat[i] - ((UINT64_C(1) << s->offset) >> s->f), r = field[R][i] - h * top;
		uint64_t r2 = field[R2][i] - 2 * h * rtop + h * h * top;

		out[i] = (with * A * A - 2 * A * r + r2) & ring_mask(s->kout);
	}
}

static void square_fields(const struct shape_of *s, void *scratch, uint64_t *field[FIELDS])
{
	for (int f = 0; f < FIELDS; f++)
		field[f] = (uint64_t *)((uint8_t *)scratch + f * aligned(s->n * 8));
}

static void square_p0(struct run *r, const struct row *row, unsigned move)
{
	struct shape_of s = square_shape(r->program->tape, row);
	uint64_t *zhat = (uint64_t *)r->temp, *field[FIELDS];

	square_fields(&s, r->scratch, field);
	for (size_t b = 0; b < r->batch; b++) {
		uint64_t p0 = placed_row(r->program, r->row)->p0;

		ring_unpack(zhat, r->in + b * move_bytes(r, move), s.n, s.w);
		for (int f = 0; f < FIELDS && field_bits(&s, f); f++) {
			prg_words(r->prg, r->tickets[b].number, p0, field[f], s.n, field_bits(&s, f));
			p0 += stream_words(s.n);
		}
		square_share(&s, zhat, field, 0, words_of(r->values, r->program, row->out, b));
	}
}

static void square_p1(struct run *r, const struct row *row, unsigned move)
{
	struct shape_of s = square_shape(r->program->tape, row);
	uint64_t *zhat = (uint64_t *)r->temp, *field[FIELDS];

	square_fields(&s, r->scratch, field);
	for (size_t b = 0; b < r->batch; b++) {
		const uint64_t *y = words_of(r->values, r->program, row->in[0], b);
		const uint8_t *dealt =
		    r->tickets[b].corrections + placed_row(r->program, r->row)->corrections;

		for (size_t i = 0; i < s.n; i++)
			zhat[i] = ((y[i] + (UINT64_C(1) << s.offset)) & ring_mask(s.k)) >> s.f;
		ring_pack(r->out + b * move_bytes(r, move), zhat, s.n, s.w);
		for (int f = 0; f < FIELDS && field_bits(&s, f); f++) {
			ring_unpack(field[f], dealt, s.n, field_bits(&s, f));
			dealt += ring_packed(s.n, field_bits(&s, f));
		}
		square_share(&s, zhat, field, 1, words_of(r->values, r->program, row->out, b));
	}
}

const struct op operator_square = {
    .name = "square", .declare = square_declare, .deal = square_deal, .p0 = square_p0, .p1 = square_p1};
