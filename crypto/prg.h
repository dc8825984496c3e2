/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/prg.h — pseudorandom streams on AES-128-CTR that can be read at any offset. */
#ifndef OBSCURA_CRYPTO_PRG_H
#define OBSCURA_CRYPTO_PRG_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

#define PRG_SEED_BYTES 32
#define PRG_BLOCK 16

/* What a stream is for. Each purpose has its own AES key: crypto_kdf_derive_from_key(seed, purpose). */
enum prg_purpose {
	PRG_TICKET = 1, /* the correlated randomness of tickets: (seed shared by P0 and D, or by P1 and D) */
	PRG_OWN,	/* randomness that only the dealer has */
	PRG_TAG,	/* the tag of each ticket, dealer only */
	PRG_WEIGHTS,	/* the weight mask B of an epoch (seed shared by P1 and D) */
	/* the uniform halves of ciphertexts and public keys of crypto/he, from a public seed */
	PRG_HE_HALF = 16,
	PRG_HE_OWN, /* one party's own randomness in crypto/he */
};

/* One key. Not for use by two threads at once (prg_clone). */
struct prg;

/* Fills a seed from the system's generator (libsodium's randombytes_buf). */
void prg_seed(uint8_t seed[PRG_SEED_BYTES]);

/* Returns new: a stream family for seed and purpose; NULL with e set when memory is short. */
struct prg *prg_new(const uint8_t seed[PRG_SEED_BYTES], enum prg_purpose purpose, struct err *e);
struct prg *prg_clone(const struct prg *from, struct err *e);
/* Wipes and frees; NULL is allowed. */
void prg_free(struct prg *prg);

/* Writes bytes [offset, offset + bytes) of the key stream of `ticket`. offset is a multiple of PRG_BLOCK. The
 * stream of a ticket is AES-128-CTR with counter block = ticket (64 bits, big endian) || block number (64
 * bits, big endian). */
void prg_read(struct prg *prg, uint64_t ticket, uint64_t offset, void *out, size_t bytes);

/* Writes n blocks of 16 bytes: out[i] = block number blocks[i] of the stream of `ticket`. */
void prg_gather(struct prg *prg, uint64_t ticket, const uint64_t *blocks, size_t n, void *out);

/* n uniform words mod 2^k from the stream at offset: 8 bytes a word (little endian), masked. Reads 8 * n
 * bytes. 1 <= k <= 64. */
void prg_words(struct prg *prg, uint64_t ticket, uint64_t offset, uint64_t *out, size_t n, unsigned k);

#endif
