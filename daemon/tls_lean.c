/* SPDX-License-Identifier: Apache-2.0 */
/* A provider that passes on the default provider's algorithms as far as our TLS needs them: provider(7),
 * provider-base(7). All computing is the default provider's. */
#include "daemon/tls_lean.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>

#define NAME "obscura-lean"
#define ROWS_MAX 64

/* What is passed on of each operation; of one that does not stand here, nothing. A fetch looks through all
 * that the context has. */
static struct part {
	int operation;
	const char *names[8];
	OSSL_ALGORITHM rows[ROWS_MAX + 1];
} parts[] = {
    {OSSL_OP_DIGEST, {"SHA1", "SHA2-256", "SHA2-384", "SHA2-512"}, {{0}}},
    {OSSL_OP_CIPHER, {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-256-CBC"}, {{0}}},
    {OSSL_OP_MAC, {"HMAC"}, {{0}}},
    {OSSL_OP_KDF, {"HKDF", "TLS13-KDF"}, {{0}}},
    {OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}, {{0}}},
    {OSSL_OP_KEYEXCH, {"X25519", "ECDH"}, {{0}}},
    {OSSL_OP_SIGNATURE, {"ECDSA", "RSA", "ED25519", "ED448", "HMAC"}, {{0}}},
    /* all that TLS 1.3 admits in certificates, ours or another authority's; X25519: of handshakes */
    {OSSL_OP_KEYMGMT, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "X25519", "HMAC"}, {{0}}},
    /* DER: finds out which of the others a certificate's key is for */
    {OSSL_OP_DECODER, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "DER"}, {{0}}},
};
#define PARTS (sizeof(parts) / sizeof(*parts))

static OSSL_PROVIDER *whole; /* the default provider, in OpenSSL's default context */
static OSSL_LIB_CTX *lean;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The first of a row's names, which are divided by colons. */
static int is_named(const OSSL_ALGORITHM *row, const char *name)
{
	size_t n = strcspn(row->algorithm_names, ":");

	return strlen(name) == n && !strncmp(row->algorithm_names, name, n);
}

static int wants(const struct part *p, const OSSL_ALGORITHM *row)
{
	if (p->operation == OSSL_OP_DECODER &&
	    !strstr(row->property_definition, "structure=SubjectPublicKeyInfo"))
		return 0; /* private keys come from files: tls_lean_key */
	for (size_t i = 0; i < sizeof(p->names) / sizeof(*p->names) && p->names[i]; i++)
		if (is_named(row, p->names[i]))
			return 1;
	return 0;
}

static int choose(struct part *p)
{
	int unused;
	const OSSL_ALGORITHM *row = OSSL_PROVIDER_query_operation(whole, p->operation, &unused);
	size_t n = 0;

	for (; row && row->algorithm_names && n < ROWS_MAX; row++)
		if (wants(p, row))
			p->rows[n++] = *row;
	return n && n < ROWS_MAX;
}

static int choose_all(void)
{
	for (size_t i = 0; i < PARTS; i++)
		if (!choose(&parts[i]))
			return 0;
	return 1;
}

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *ctx, int operation, int *no_store)
{
	*no_store = 0;
	for (size_t i = 0; i < PARTS; i++)
		if (parts[i].operation == operation)
			return parts[i].rows;
	return NULL;
}

/* Of groups for key exchange: libssl asks for them. */
static int capabilities(void *ctx, const char *what, OSSL_CALLBACK *f, void *arg)
{
	return OSSL_PROVIDER_get_capabilities(whole, what, f, arg);
}

static int start(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
		 void **ctx)
{
	static const OSSL_DISPATCH calls[] = {
	    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
	    {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities},
	    {0, NULL},
	};

	*out = calls;
	*ctx = OSSL_PROVIDER_get0_provider_ctx(whole); /* what its functions expect */
	return 1;
}

static void make(void)
{
	OSSL_LIB_CTX *ctx;

	whole = OSSL_PROVIDER_load(NULL, "default");
	ctx = whole && choose_all() ? OSSL_LIB_CTX_new() : NULL;
	if (ctx && OSSL_PROVIDER_add_builtin(ctx, NAME, start) && OSSL_PROVIDER_load(ctx, NAME))
		lean = ctx;
	else
		OSSL_LIB_CTX_free(ctx);
	ERR_clear_error();
}

OSSL_LIB_CTX *tls_lean(void)
{
	pthread_once(&once, make);
	return lean;
}

int tls_lean_key(SSL_CTX *tls, const char *path)
{
	FILE *f = fopen(path, "re");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, SSL_CTX_get_default_passwd_cb(tls),
						SSL_CTX_get_default_passwd_cb_userdata(tls))
			  : NULL;
	int ok = key && SSL_CTX_use_PrivateKey(tls, key) == 1;

	EVP_PKEY_free(key);
	if (f)
		fclose(f);
	return ok ? 0 : -1;
}
