/* SPDX-License-Identifier: Apache-2.0 */
/* Report data depends on everything that it binds, and on nothing else. */
#include "test/test.h"
#include "crypto/attest/binding.h"

#include <openssl/evp.h>

static uint8_t nonce[32], exporter[32];

static struct binding sample(void)
{
	return (struct binding){'D',
				{(const uint8_t *)"key", 3},
				{(const uint8_t *)"ca 00\n\n", 7},
				{(const uint8_t *)"m\n1\n", 4},
				nonce,
				exporter};
}

/* The equation written out, with OpenSSL's one-shot digests. */
static void equation_test(void **state)
{
	uint8_t text[18 + 1 + 48 + 48 + 64], want[64], got[64];
	struct binding b = sample();
	struct err e = {0};

	memset(nonce, 1, 32);
	memset(exporter, 2, 32);
	memcpy(text, "obscura-enclave-v1D", 19);
	EVP_Digest("key", 3, text + 19, NULL, EVP_sha384(), NULL);
	EVP_Digest("ca 00\n\nm\n1\n", 11, text + 67, NULL, EVP_sha384(), NULL);
	memcpy(text + 115, nonce, 32);
	memcpy(text + 147, exporter, 32);
	EVP_Digest(text, sizeof(text), want, NULL, EVP_sha512(), NULL);
	assert_int_equal(binding_report_data(&b, got, &e), 0);
	assert_memory_equal(got, want, 64);
}

static void each_part_test(void **state)
{
	struct binding all[7];
	uint8_t data[7][64], other[32] = {9};
	struct err e = {0};

	for (int i = 0; i < 7; i++)
		all[i] = sample();
	all[1].role = 'M';
	all[2].key = (struct span){(const uint8_t *)"kez", 3};
	all[3].policy = (struct span){(const uint8_t *)"ca 01\n\n", 7};
	all[4].manifest = (struct span){(const uint8_t *)"m\n2\n", 4};
	all[5].nonce = other;
	all[6].exporter = other;
	for (int i = 0; i < 7; i++) {
		assert_int_equal(binding_report_data(&all[i], data[i], &e), 0);
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(data[i], data[j], 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equation_test),
	    cmocka_unit_test(each_part_test),
	};

	return cmocka_run_group_tests_name("attest binding", tests, NULL, NULL);
}
