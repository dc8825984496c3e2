/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/table_lanes.h — tables of digits and rows of shares, LANES comparisons at once; included by the file
 * of an instruction set after it has defined LANES, vec (LANES words of 64 bits) and the functions on them
 * that are named v_… below: v_load, v_store (any alignment), v_set (one word in all lanes), v_iota (0, 1, …),
 * v_add, v_sub, v_and, v_or, v_xor, v_shl, v_shr (by lanes; 0 when a count is 64 or more), v_floor (signed
 * maximum with 0), v_gather (8 bytes at base + offset), v_spread (lane l becomes lane idx[l] of x), v_load16,
 * v_load32, v_load8 (LANES smaller words, widened), v_narrow (LANES words to `bits` bits each, 64 bytes at
 * most, at a whole byte), v_or16 (into LANES 16-bit words). */

static inline vec v_low(vec x, unsigned bits)
{
	return v_and(x, v_set(ring_mask(bits)));
}

/* All ones where bit `at` of the dealer's own 16 bits is 1. */
static inline vec flips(const uint8_t *own, unsigned at)
{
	return v_sub(v_set(0), v_and(v_shr(v_load16(own), v_set(at)), v_set(1)));
}

/* Word `first`/64 of the string whose bits below r are 1; whose only 1 is bit r. */
static inline vec below(vec r, vec first)
{
	return v_sub(v_shl(v_set(1), v_floor(v_sub(r, first))), v_set(1));
}

static inline vec single(vec r, vec first)
{
	return v_shl(v_set(1), v_sub(r, first));
}

static inline vec table_vector(const struct table_digit *g, vec r, vec first)
{
	vec half = v_set(UINT64_C(1) << (g->bits - 1)), s = v_low(v_add(r, half), g->bits);
	vec sign = v_sub(v_shr(v_and(r, half), v_set(g->bits - 1)), v_set(1)); /* all ones when r < half */

	if (!g->top)
		return g->equal ? single(r, first) : below(r, first);
	return g->equal ? v_or(single(r, first), single(s, first))
			: v_xor(v_xor(below(r, first), below(s, first)), sign);
}

/* Tables of one word or less. */
static size_t deal_small(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
			 const uint8_t *half, uint8_t *out)
{
	size_t step = ((size_t)LANES << g->bits) / 8;

	for (size_t c = 0; c < n; c += LANES, out += step) {
		vec digit = v_low(v_shr(v_load(r + c), v_set(g->shift)), g->bits);
		vec table = v_xor(table_vector(g, digit, v_set(0)), flips(own + 2 * c, g->at));

		v_narrow(out, v_xor(table, v_load(half + 8 * c)), 1u << g->bits);
	}
	return n;
}

/* Tables of 2^log words: vector v of LANES tables holds words of comparison (v·LANES + lane) >> log. */
static size_t deal_large(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
			 const uint8_t *half, uint8_t *out)
{
	unsigned log = g->bits - 6;
	vec within = v_set((UINT64_C(1) << log) - 1);

	for (size_t c = 0; c < n; c += LANES) {
		vec digit = v_low(v_shr(v_load(r + c), v_set(g->shift)), g->bits),
		    flip = flips(own + 2 * c, g->at);

		for (size_t v = 0; v < (size_t)1 << log; v++, half += 8 * LANES, out += 8 * LANES) {
			vec word = v_add(v_iota(), v_set(v * LANES)), of = v_shr(word, v_set(log));
			vec first = v_shl(v_and(word, within), v_set(6));

			v_store(out,
				v_xor(v_xor(table_vector(g, v_spread(digit, of), first), v_spread(flip, of)),
				      v_load(half)));
		}
	}
	return n;
}

static size_t deal_digit(const struct table_digit *g, size_t n, const uint64_t *r, const uint8_t *own,
			 const uint8_t *half, uint8_t *out)
{
	n &= ~(size_t)7;
	if (g->bits < 3)
		return 0;
	return g->bits <= 6 ? deal_small(g, n, r, own, half, out) : deal_large(g, n, r, own, half, out);
}

static size_t lookup_p0(const struct table_digit *g, size_t n, const uint8_t *half, const uint64_t *zhat,
			uint16_t *j)
{
	unsigned log = g->bits > 6 ? g->bits - 6 : 0;

	n &= ~(size_t)7;
	for (size_t c = 0; c < n; c += LANES) {
		vec digit = v_low(v_shr(v_load(zhat + c), v_set(g->shift)), g->bits), word;

		if (log)
			word = v_gather(half, v_shl(v_add(v_shl(v_add(v_iota(), v_set(c)), v_set(log)),
							  v_shr(digit, v_set(6))),
						    v_set(3)));
		else
			word = v_load(half + 8 * c);
		word = v_and(v_shr(word, v_and(digit, v_set(63))), v_set(1));
		v_or16(j + c, v_shl(word, v_set(g->at)));
	}
	return n;
}

/* LANES tables of 2^bits bits from comparison c on: the word that holds the digit's bit. */
static inline vec packed_word(const uint8_t *tables, size_t c, unsigned bits, vec digit)
{
	const uint8_t *at = tables + (c << bits) / 8;

	if (bits == 3)
		return v_load8(at);
	if (bits == 4)
		return v_load16(at);
	if (bits == 5)
		return v_load32(at);
	if (bits == 6)
		return v_load(at);
	return v_gather(at, v_shl(v_add(v_shl(v_iota(), v_set(bits - 6)), v_shr(digit, v_set(6))), v_set(3)));
}

static size_t lookup_p1(const struct table_digit *g, size_t n, const uint8_t *tables, const uint64_t *zhat,
			uint16_t *j)
{
	n &= ~(size_t)7;
	if (g->bits < 3)
		return 0;
	for (size_t c = 0; c < n; c += LANES) {
		vec digit = v_low(v_shr(v_load(zhat + c), v_set(g->shift)), g->bits);
		vec word = v_shr(packed_word(tables, c, g->bits, digit), v_and(digit, v_set(63)));

		v_or16(j + c, v_shl(v_and(word, v_set(1)), v_set(g->at)));
	}
	return n;
}

/* ---- rows of shares ---- */

/* Bits [at, at + bits) of a 128-bit number, bits <= 64. */
static inline vec field(vec low, vec high, unsigned at, unsigned bits)
{
	if (at >= 64)
		return v_low(v_shr(high, v_set(at - 64)), bits);
	return v_low(at ? v_or(v_shr(low, v_set(at)), v_shl(high, v_set(64 - at))) : low, bits);
}

static size_t row_p0(const struct table *t, size_t n, const uint8_t *blocks, const uint16_t *row,
		     const struct table_rows *out)
{
	unsigned msb = table_msb(t), bandwidth = t->mode == TABLE_BANDWIDTH;

	n &= ~(size_t)7;
	if (t->blocks > 1)
		return 0;
	for (size_t c = 0; c < n; c += LANES) {
		vec at = v_shl(v_add(v_iota(), v_set(c)), v_set(4 + bandwidth)), which = v_load16(row + c),
		    low, high, b;
		vec opened = bandwidth ? v_add(at, v_shl(which, v_set(4))) : at;

		low = v_gather(blocks, opened);
		high = v_gather(blocks + 8, opened);
		b = low;
		if (bandwidth) { /* of row 1 it is minus that of row 0 */
			vec sign = v_sub(v_set(0), which);

			b = v_sub(v_xor(v_gather(blocks, at), sign), sign);
		}
		v_store(out->b + c, v_low(b, t->kout));
		v_store(out->br + c, field(low, high, t->kout, t->kout));
		v_store(out->bm + c, field(low, high, 2 * t->kout, msb));
		v_store(out->bx + c, field(low, high, 2 * t->kout + msb, t->extra));
	}
	return n;
}

/* `bits` bits, at most 57, at the bit offsets `at` of a string that is readable for 8 bytes from there. */
static inline vec bits_at(const uint8_t *p, vec at, unsigned bits)
{
	return v_low(v_shr(v_gather(p, v_shr(at, v_set(3))), v_and(at, v_set(7))), bits);
}

static size_t row_p1(const struct table *t, size_t n, const uint8_t *rows, size_t bytes, const uint16_t *row,
		     const struct table_rows *out)
{
	size_t each = table_rows_bits(t);
	unsigned msb = table_msb(t), bandwidth = t->mode == TABLE_BANDWIDTH;

	n &= ~(size_t)7;
	while (n && n * each / 8 + 8 > bytes)
		n -= 8;
	if (t->kout > 57)
		return 0;
	for (size_t c = 0; c < n; c += LANES) {
		vec which = v_load16(row + c), first = v_multiply(v_add(v_iota(), v_set(c)), each), b,
		    at = first;
		vec products = v_add(first, v_add(v_multiply(which, t->entry), v_set(t->kout)));

		if (bandwidth) { /* row 1 has no b: it is 1 - that of row 0, and the rest begins where it
				    would be */
			vec one = v_sub(v_set(0), which);

			products = v_sub(products, v_and(one, v_set(t->kout)));
			b = bits_at(rows, at, t->kout);
			b = v_add(v_sub(v_xor(b, one), one), which);
		} else {
			at = v_sub(products, v_set(t->kout));
			b = bits_at(rows, at, t->kout);
		}
		v_store(out->b + c, v_low(b, t->kout));
		v_store(out->br + c, bits_at(rows, products, t->kout));
		v_store(out->bm + c, msb ? bits_at(rows, v_add(products, v_set(t->kout)), msb) : v_set(0));
		v_store(out->bx + c,
			t->extra ? bits_at(rows, v_add(products, v_set(t->kout + msb)), t->extra) : v_set(0));
	}
	return n;
}
