/* SPDX-License-Identifier: Apache-2.0 */
/* Key streams against plain AES of each counter block under the derived key. */
#include "test/test.h"

#include <openssl/evp.h>
#include <sodium.h>

#include "crypto/prg.h"
#include "crypto/ring.h"

static uint8_t seed[PRG_SEED_BYTES] = "thirty-two bytes of a test seed";

/* The definition, block by block: AES(key, ticket ‖ block), both big endian. */
static void block_of(enum prg_purpose purpose, uint64_t ticket, uint64_t block, uint8_t out[16])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t key[16], in[16];
	int n;

	assert_int_equal(crypto_kdf_derive_from_key(key, sizeof(key), purpose, "obscura1", seed), 0);
	for (int i = 0; i < 8; i++) {
		in[i] = ticket >> (56 - 8 * i);
		in[8 + i] = block >> (56 - 8 * i);
	}
	assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_128_ecb(), NULL, key, NULL), 1);
	EVP_CIPHER_CTX_set_padding(c, 0);
	assert_int_equal(EVP_EncryptUpdate(c, out, &n, in, 16), 1);
	EVP_CIPHER_CTX_free(c);
}

/* FIPS-197's example, so that the definition above is not only ours. */
static void aes_vector(void **ctx)
{
	static const uint8_t want[] = {0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
				       0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a};
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t key[16], in[16], out[32];
	int n;

	for (int i = 0; i < 16; i++) {
		key[i] = i;
		in[i] = i * 0x11;
	}
	assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_128_ecb(), NULL, key, NULL), 1);
	assert_int_equal(EVP_EncryptUpdate(c, out, &n, in, 16), 1);
	assert_memory_equal(out, want, sizeof(want));
	EVP_CIPHER_CTX_free(c);
}

static void reads(void **ctx)
{
	struct err e = {0};
	struct prg *p = prg_new(seed, PRG_TICKET, &e);
	uint64_t tickets[] = {0, 1, 0x0102030405060708, UINT64_MAX};
	uint8_t want[16], got[200];

	assert_non_null(p);
	for (size_t t = 0; t < 4; t++)
		for (uint64_t first = 0; first < 300; first += 37)
			for (size_t n = 0; n < sizeof(got) - 1; n += 13) {
				memset(got, 0x5a, sizeof(got));
				prg_read(p, tickets[t], first * PRG_BLOCK, got, n);
				for (size_t i = 0; i < n; i++) {
					if (i % 16 == 0)
						block_of(PRG_TICKET, tickets[t], first + i / 16, want);
					assert_int_equal(got[i], want[i % 16]);
				}
				assert_int_equal(got[n], 0x5a);
			}
	prg_free(p);
}

static void gathers(void **ctx)
{
	struct err e = {0};
	struct prg *p = prg_new(seed, PRG_OWN, &e);
	uint64_t blocks[33], state = 3;
	uint8_t out[33 * 16 + 1], want[16];

	for (size_t n = 0; n <= 33; n++) {
		for (size_t i = 0; i < n; i++)
			blocks[i] = test_random(&state) >> (i % 3 ? 40 : 0);
		out[n * 16] = 0x5a;
		prg_gather(p, 9, blocks, n, out);
		for (size_t i = 0; i < n; i++) {
			block_of(PRG_OWN, 9, blocks[i], want);
			assert_memory_equal(out + i * 16, want, 16);
		}
		assert_int_equal(out[n * 16], 0x5a);
	}
	prg_free(p);
}

static void words(void **ctx)
{
	struct err e = {0};
	struct prg *p = prg_new(seed, PRG_TICKET, &e), *q = prg_clone(p, &e);
	uint64_t out[21], bytes[21];

	for (unsigned k = 1; k <= 64; k++) {
		prg_words(p, 4, 160, out, 21, k);
		prg_read(q, 4, 160, bytes, sizeof(bytes));
		for (size_t i = 0; i < 21; i++)
			assert_int_equal(out[i], bytes[i] & ring_mask(k));
	}
	prg_free(p);
	prg_free(q);
	prg_free(NULL);
}

/* Purposes, seeds and tickets give streams of their own. */
static void apart(void **ctx)
{
	struct err e = {0};
	uint8_t other[PRG_SEED_BYTES], out[5][16];
	struct prg *p[4];

	prg_seed(other);
	p[0] = prg_new(seed, PRG_TICKET, &e);
	p[1] = prg_new(seed, PRG_OWN, &e);
	p[2] = prg_new(seed, PRG_TAG, &e);
	p[3] = prg_new(other, PRG_TICKET, &e);
	for (int i = 0; i < 4; i++)
		prg_read(p[i], 1, 0, out[i], 16);
	prg_read(p[0], 2, 0, out[4], 16);
	for (int i = 0; i < 5; i++)
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(out[i], out[j], 16);
	for (int i = 0; i < 4; i++)
		prg_free(p[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(aes_vector), cmocka_unit_test(reads),
					   cmocka_unit_test(gathers), cmocka_unit_test(words),
					   cmocka_unit_test(apart)};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
