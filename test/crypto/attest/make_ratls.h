/* SPDX-License-Identifier: Apache-2.0 */
/* test/crypto/attest/make_ratls.h — RA-TLS certificates around a quote of our own. */
#ifndef OBSCURA_TEST_CRYPTO_ATTEST_MAKE_RATLS_H
#define OBSCURA_TEST_CRYPTO_ATTEST_MAKE_RATLS_H

#include "test/crypto/attest/make_dcap.h"

/* What a certificate says; a test changes a part before make_ratls. */
struct make_claims {
	unsigned algorithm;  /* 1, 7 or 8 */
	const char *nonce;   /* NULL: none */
	const EVP_PKEY *key; /* whose hash the claims hold; NULL: the certificate's */
	int spoil_data;	     /* report data of something else */
	int no_extension;
};

static inline size_t make_cbor_head(uint8_t *out, unsigned major, size_t n)
{
	out[0] = (uint8_t)(major << 5 | (n < 24 ? n : 25));
	out[1] = (uint8_t)(n >> 8);
	out[2] = (uint8_t)n;
	return n < 24 ? 1 : 3;
}

static inline size_t make_cbor(uint8_t *out, unsigned major, const void *p, size_t n)
{
	size_t head = make_cbor_head(out, major, n);

	memcpy(out + head, p, n);
	return head + n;
}

static inline size_t make_claims(uint8_t *out, const struct make_claims *c, const EVP_PKEY *key)
{
	const EVP_MD *hash = c->algorithm == 7	 ? EVP_sha384()
			     : c->algorithm == 8 ? EVP_sha512()
						 : EVP_sha256();
	uint8_t digest[64], pair[80], *der = NULL;
	unsigned size = 0;
	int bytes = i2d_PUBKEY(key, &der);
	size_t n, at;

	make_must(bytes > 0 && EVP_Digest(der, (size_t)bytes, digest, &size, hash, NULL));
	OPENSSL_free(der);
	at = make_cbor_head(pair, 4, 2);
	at += make_cbor_head(pair + at, 0, c->algorithm);
	at += make_cbor(pair + at, 2, digest, size);
	n = make_cbor_head(out, 5, c->nonce ? 3 : 2);
	n += make_cbor(out + n, 3, "pubkey-hash", 11);
	n += make_cbor(out + n, 2, pair, at);
	if (c->nonce) {
		n += make_cbor(out + n, 3, "nonce", 5);
		n += make_cbor(out + n, 2, c->nonce, strlen(c->nonce));
	}
	n += make_cbor(out + n, 3, "other", 5);
	n += make_cbor_head(out + n, 4, 1); /* [ 60000(h'00') ], to be skipped */
	n += make_cbor_head(out + n, 6, 60000);
	return n + make_cbor(out + n, 2, "", 1);
}

/* The certificate as PEM; m's quote is made again for its claims. */
static inline struct span make_ratls(struct make_dcap *m, const struct make_claims *c)
{
	static uint8_t extension[9000];
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t claims[300], *data = m->body + (m->td ? 520 : 320);
	size_t size = make_claims(claims, c, c->key ? c->key : key), n;
	struct make_extension x = {"2.23.133.5.4.9", extension, 0};
	const struct make_id *ids[1];
	struct make_id id;
	struct span pem;

	memset(data, 0, 64);
	make_must(EVP_Digest(claims, size, data, NULL, EVP_sha256(), NULL));
	data[40] = (uint8_t)c->spoil_data;
	make_quote(m);
	n = make_cbor_head(extension, 6, 60000);
	n += make_cbor_head(extension + n, 4, 2);
	n += make_cbor(extension + n, 2, m->quote, m->n);
	n += make_cbor(extension + n, 2, claims, size);
	x.n = n;
	id = make_cert("enclave", key, NULL, 0, &x, c->no_extension ? 0 : 1);
	ids[0] = &id;
	pem = make_pem(ids, 1);
	make_id_free(&id);
	return pem;
}

#endif
