/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/op/share.h — small things that several operators need: where an image's words are, the pieces of a
 * stream. */
#ifndef OBSCURA_PROTOCOL_OP_SHARE_H
#define OBSCURA_PROTOCOL_OP_SHARE_H

#include "crypto/ring.h"
#include "protocol/program.h"

static inline const struct value *value_at(const struct program *p, uint16_t v)
{
	return &p->tape->values[v];
}

static inline size_t value_size(const struct program *p, uint16_t v)
{
	return shape_size(p->tape->values[v].shape);
}

/* The words of image (or ticket) b of value v. */
static inline uint64_t *words_of(uint64_t *const *values, const struct program *p, uint16_t v, size_t b)
{
	return values[v] + b * value_size(p, v);
}

/* Bytes of a stream that n words consume: 8 each, to a whole block. */
static inline uint64_t stream_words(size_t n)
{
	return (n * 8 + PRG_BLOCK - 1) / PRG_BLOCK * PRG_BLOCK;
}

/* Rounds a size up so that what follows is aligned for any word. */
static inline uint64_t aligned(uint64_t bytes)
{
	return (bytes + 63) & ~UINT64_C(63);
}

static inline const struct placed *placed_row(const struct program *p, size_t row)
{
	return &p->rows[row];
}

/* The bytes of image b in the move that is being read or written. */
static inline size_t move_bytes(const struct run *r, unsigned move)
{
	const struct placed *at = &r->program->rows[r->row];

	return r->program->moves[at->move + move].bytes;
}

#endif
