/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/prg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/ring.h"

#define KEY_BYTES 16
#define KDF_CONTEXT "obscura1"

#define FEW 4096 /* bytes */

struct prg {
	EVP_CIPHER_CTX *ctr, *ecb;
	uint8_t *key; /* guarded memory, for clones */
};

/* A cipher that fails on valid arguments is a broken library: nothing that follows could be trusted. */
static void must(int ok)
{
	if (ok)
		return;
	fputs("obscura: OpenSSL's AES-128 failed; refusing to go on without randomness\n", stderr);
	abort();
}

void prg_seed(uint8_t seed[PRG_SEED_BYTES])
{
	randombytes_buf(seed, PRG_SEED_BYTES);
}

static struct prg *keyed(const uint8_t key[KEY_BYTES], struct err *e)
{
	static const uint8_t zero[PRG_BLOCK];
	struct prg *p = calloc(1, sizeof(*p));

	/* sodium_malloc needs it; it does nothing the second time */
	if (sodium_init() < 0 || !p || !(p->key = sodium_malloc(KEY_BYTES)) ||
	    !(p->ctr = EVP_CIPHER_CTX_new()) || !(p->ecb = EVP_CIPHER_CTX_new())) {
		prg_free(p);
		err_set(e, ERR_ENV, "out of memory for a key stream");
		return NULL;
	}
	memcpy(p->key, key, KEY_BYTES);
	must(EVP_EncryptInit_ex(p->ctr, EVP_aes_128_ctr(), NULL, key, zero));
	must(EVP_EncryptInit_ex(p->ecb, EVP_aes_128_ecb(), NULL, key, NULL));
	EVP_CIPHER_CTX_set_padding(p->ecb, 0);
	return p;
}

struct prg *prg_new(const uint8_t seed[PRG_SEED_BYTES], enum prg_purpose purpose, struct err *e)
{
	uint8_t key[KEY_BYTES];
	struct prg *p;

	must(crypto_kdf_derive_from_key(key, sizeof(key), purpose, KDF_CONTEXT, seed) == 0);
	p = keyed(key, e);
	sodium_memzero(key, sizeof(key));
	return p;
}

struct prg *prg_clone(const struct prg *from, struct err *e)
{
	return keyed(from->key, e);
}

void prg_free(struct prg *p)
{
	if (!p)
		return;
	EVP_CIPHER_CTX_free(p->ctr); /* wipes its key schedule */
	EVP_CIPHER_CTX_free(p->ecb);
	sodium_free(p->key);
	free(p);
}

static void counter_block(uint8_t out[PRG_BLOCK], uint64_t ticket, uint64_t block)
{
	uint64_t big[2] = {__builtin_bswap64(ticket), __builtin_bswap64(block)};

	memcpy(out, big, sizeof(big));
}

/* n blocks from `block` on, as one call of the block cipher: to begin CTR costs OpenSSL more than that. */
static void few_blocks(struct prg *prg, uint64_t ticket, uint64_t block, uint8_t *out, size_t n)
{
	int done;

	for (size_t i = 0; i < n; i++)
		counter_block(out + i * PRG_BLOCK, ticket, block + i);
	must(EVP_EncryptUpdate(prg->ecb, out, &done, out, (int)(n * PRG_BLOCK)));
}

/* The key stream is what zeros become. They stay in the cache: to clear out first would cost another pass
 * over it. */
static void many_bytes(struct prg *prg, uint64_t ticket, uint64_t block, uint8_t *out, size_t bytes)
{
	static const uint8_t zeros[1 << 13];
	uint8_t iv[PRG_BLOCK];

	counter_block(iv, ticket, block);
	must(EVP_EncryptInit_ex(prg->ctr, NULL, NULL, NULL, iv));
	while (bytes) {
		int n = bytes < sizeof(zeros) ? (int)bytes : (int)sizeof(zeros), done;

		must(EVP_EncryptUpdate(prg->ctr, out, &done, zeros, n));
		out += n;
		bytes -= n;
	}
}

void prg_read(struct prg *prg, uint64_t ticket, uint64_t offset, void *out, size_t bytes)
{
	uint64_t block = offset / PRG_BLOCK;
	size_t whole = bytes / PRG_BLOCK, rest = bytes % PRG_BLOCK;
	uint8_t last[PRG_BLOCK];

	if (bytes > FEW) {
		many_bytes(prg, ticket, block, out, bytes);
		return;
	}
	if (whole)
		few_blocks(prg, ticket, block, out, whole);
	if (!rest)
		return;
	few_blocks(prg, ticket, block + whole, last, 1);
	memcpy((uint8_t *)out + whole * PRG_BLOCK, last, rest);
	sodium_memzero(last, sizeof(last));
}

void prg_gather(struct prg *prg, uint64_t ticket, const uint64_t *blocks, size_t n, void *out)
{
	uint8_t *at = out;
	int done;

	for (size_t i = 0; i < n; i++)
		counter_block(at + i * PRG_BLOCK, ticket, blocks[i]);
	for (; n; n -= done / PRG_BLOCK, at += done)
		must(EVP_EncryptUpdate(prg->ecb, at, &done, at, (n > 1u << 20 ? 1u << 20 : n) * PRG_BLOCK) &&
		     done > 0);
}

void prg_words(struct prg *prg, uint64_t ticket, uint64_t offset, uint64_t *out, size_t n, unsigned k)
{
	uint64_t mask = ring_mask(k);

	prg_read(prg, ticket, offset, out, n * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] &= mask;
}
