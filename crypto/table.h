/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/table.h — one-time tables of comparisons: shape, dealing, lookup (PROTOCOL.md §3). */
#ifndef OBSCURA_CRYPTO_TABLE_H
#define OBSCURA_CRYPTO_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define TABLE_DIGITS_MAX 6

enum table_mode { TABLE_LATENCY, TABLE_BANDWIDTH };

/* The shape of the tables of one comparison of masked words zhat = z + r mod 2^w, with outputs mod 2^kout.
 * Fixed by (w, kout, extra, mode): the digit count with the shortest corrections, ties to the fewer digits,
 * wider digits lowest first (as masked_protocol.py).
 *
 * A digit of b bits has tables lt and eq (no eq for digit 0) of 2^b bits. The index has 2d - 1 bits: lt0,
 * lt1, eq1, lt2, eq2, … from bit 0. A row of the select table holds shares of b (kout bits), b*r (kout bits),
 * b*msb(r) (max(kout - w, 0) bits) and b*x (extra bits, of a second masked word x; 0 = absent). Top digit: lt
 * = sign of (z_t - r_t) in b bits, eq = sign flipped by a borrow. */
struct table {
	uint8_t w, kout, extra;
	uint8_t mode;	/* enum table_mode */
	uint8_t digits; /* d */
	uint8_t bits[TABLE_DIGITS_MAX];
	uint8_t index;	/* 2d - 1 */
	uint16_t rows;	/* of the select table: 2^index (latency) or 2 (bandwidth) */
	uint16_t entry; /* bits of a row: 2*kout + max(kout - w, 0) + extra */
	uint8_t blocks; /* PRG blocks of P0's half of a row: 1 when entry <= 128, else 2 */
};

/* 2 <= w <= 62, 1 <= kout <= 62, extra <= 32. */
struct table table_shape(unsigned w, unsigned kout, unsigned extra, enum table_mode mode);

/* Correction bits of one comparison: Σ 2^b over lt and eq tables, then 2^index rows (latency) or 2^index
 * choose bits and 2 rows (bandwidth). In bandwidth mode the b of the two rows is γ and 1 - γ: P0's half of
 * the second is minus its half of the first, so P1's is 1 minus its first, and is not streamed (kout bits
 * less; each party still sees one uniform word). */
uint64_t table_bits(const struct table *t);
/* Bytes of the corrections of n comparisons as streamed: each piece packed and padded to a byte on its own.
 * Pieces in order: for each digit: lt tables, then eq tables (n tables, each 2^b bits);  bandwidth: choose
 * tables (n × 2^index bits); select rows: n × rows entries of `entry` bits, comparison-major; fields of an
 * entry from its bit 0: b, b*r, b*msb r, b*x; the second entry of bandwidth mode is without its b. */
size_t table_correction_bytes(const struct table *t, size_t n);

/* Bytes that n comparisons consume from P0's stream (multiple of PRG_BLOCK). In order: for each digit lt then
 * eq: n × max(1, 2^b/64) 64-bit words; bandwidth: n × max(1, 2^index/64) 64-bit words; select: n × rows ×
 * blocks × 16 bytes, comparison-major. Each piece starts at a multiple of 16. A table of fewer than 64 bits
 * uses the low bits of its word. P0's half of a row is the 16-byte block read as a little-endian 128-bit
 * number whose low `entry` bits are the entry; with 2 blocks the four 64-bit words are b, b*r, b*msb r, b*x,
 * each masked to its width. */
size_t table_p0_bytes(const struct table *t, size_t n);
/* Where the choose tables start there (bandwidth mode); before them are the tables of digits. */
size_t table_p0_choose(const struct table *t, size_t n);
/* Where the select rows start in P0's stream: block number of (comparison i, row j) is table_p0_select(t,
 * n)/16 + (i*rows + j)*blocks. */
size_t table_p0_select(const struct table *t, size_t n);
/* Bytes that n comparisons consume from the dealer's own stream: 2 bytes each (2d - 1 index masks from bit 0,
 * then gamma), padded to 16. */
size_t table_own_bytes(const struct table *t, size_t n);

/* Dealer. r: n masks mod 2^w; x: n extra masks mod 2^extra or NULL. p0: P0's stream bytes (table_p0_bytes),
 * own: table_own_bytes. Writes table_correction_bytes(t, n) bytes to out: P1's halves. */
void table_deal(const struct table *t, size_t n, const uint64_t *r, const uint64_t *x, const uint8_t *p0,
		const uint8_t *own, uint8_t *out);

/* Digit lookup: j[i] = this party's share of the index of comparison i by the public zhat[i] (n words mod
 * 2^w). p0: the start of P0's stream; p1: the start of P1's corrections. */
void table_lookup_p0(const struct table *t, size_t n, const uint8_t *p0, const uint64_t *zhat, uint16_t *j);
void table_lookup_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint64_t *zhat,
		     uint16_t *j);

/* Bandwidth mode: this party's share of the masked bit, by the opened index j[i]. choose: P0's choose
 * tables. */
void table_choose_p0(const struct table *t, size_t n, const uint8_t *choose, const uint16_t *j,
		     uint16_t *bit);
void table_choose_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *j,
		     uint16_t *bit);

/* Rows of shares: what the select tables give, n words each. */
struct table_rows {
	uint64_t *b, *br, *bm, *bx;
};
/* P0's half. blocks: latency: the gathered blocks of the opened rows (n × blocks × 16 bytes, see prg_gather);
 * bandwidth: of both rows of each comparison, as they stand in the stream. P1's half from the corrections.
 * row[i] < rows: the opened row. */
void table_row_p0(const struct table *t, size_t n, const uint8_t *blocks, const uint16_t *row,
		  const struct table_rows *out);
void table_row_p1(const struct table *t, size_t n, const uint8_t *corrections, const uint16_t *row,
		  const struct table_rows *out);

/* This party's additive share of max(z, 0) mod 2^kout: b*zhat - br + (1 - msb zhat)*bm*2^w (the last only if
 * kout > w). */
void table_relu(const struct table *t, size_t n, const struct table_rows *rows, const uint64_t *zhat,
		uint64_t *out);

#endif
