/* SPDX-License-Identifier: Apache-2.0 */
/* TLS in the lean context meets TLS in OpenSSL's own, with every kind of key that certificates of TLS 1.3
 * have; it knows nothing beyond that. */
#include "daemon/tls_lean.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "test/test.h"

static X509 *certificate(EVP_PKEY *key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);
	int hashed = EVP_PKEY_is_a(key, "EC") || EVP_PKEY_is_a(key, "RSA");

	assert_true(X509_set_version(cert, 2) && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1));
	assert_true(X509_gmtime_adj(X509_getm_notBefore(cert), -60) &&
		    X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
	assert_true(
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)"lean", -1, -1, 0));
	assert_true(X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key));
	assert_true(X509_sign(cert, key, hashed ? EVP_sha256() : NULL));
	return cert;
}

/* Shows cert, and trusts it alone. */
static SSL_CTX *context(OSSL_LIB_CTX *algorithms, X509 *cert, EVP_PKEY *key)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(algorithms, NULL, TLS_method());

	assert_non_null(ctx);
	assert_true(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION));
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	assert_true(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert));
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return ctx;
}

static void shake_hands(SSL *client, SSL *server)
{
	for (int i = 0; i < 8 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); i++) {
		SSL_do_handshake(client);
		SSL_do_handshake(server);
	}
	assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
	assert_int_equal(SSL_get_verify_result(client), X509_V_OK);
	assert_int_equal(SSL_get_verify_result(server), X509_V_OK);
}

static void meet(OSSL_LIB_CTX *clients, OSSL_LIB_CTX *servers, EVP_PKEY *key)
{
	X509 *cert = certificate(key);
	SSL_CTX *c = context(clients, cert, key), *s = context(servers, cert, key);
	SSL *client = SSL_new(c), *server = SSL_new(s);
	uint8_t a[32], b[32];
	BIO *near, *far;

	assert_true(BIO_new_bio_pair(&near, 1 << 16, &far, 1 << 16));
	SSL_set_bio(client, near, near);
	SSL_set_bio(server, far, far);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	shake_hands(client, server);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(SSL_get0_peer_certificate(client)), key), 1);
	assert_int_equal(SSL_export_keying_material(client, a, 32, "lean", 4, NULL, 0, 0), 1);
	assert_int_equal(SSL_export_keying_material(server, b, 32, "lean", 4, NULL, 0, 0), 1);
	assert_memory_equal(a, b, 32);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(c);
	SSL_CTX_free(s);
	X509_free(cert);
}

static void all_ways(EVP_PKEY *key)
{
	assert_non_null(key);
	meet(tls_lean(), NULL, key);
	meet(NULL, tls_lean(), key);
	meet(tls_lean(), tls_lean(), key);
	EVP_PKEY_free(key);
}

static void keys_test(void **state)
{
	assert_non_null(tls_lean());
	all_ways(EVP_EC_gen("P-256"));
	all_ways(EVP_EC_gen("P-384"));
	all_ways(EVP_RSA_gen(2048));
	all_ways(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
	all_ways(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"));
}

static void nothing_else_test(void **state)
{
	EVP_KEYMGMT *ec = EVP_KEYMGMT_fetch(tls_lean(), "EC", NULL);

	assert_non_null(ec);
	assert_null(EVP_KEYMGMT_fetch(tls_lean(), "DH", NULL));
	assert_null(EVP_CIPHER_fetch(tls_lean(), "AES-128-CBC-HMAC-SHA256", NULL));
	EVP_KEYMGMT_free(ec);
	ERR_clear_error();
}

static void key_file_test(void **state)
{
	static char path[] = "/tmp/obscura-lean.XXXXXX";
	EVP_PKEY *key = EVP_EC_gen("P-256"), *another = EVP_EC_gen("P-256");
	X509 *cert = certificate(key);
	SSL_CTX *ctx = context(tls_lean(), cert, key);
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	assert_int_equal(tls_lean_key(ctx, path), 0);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, another, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
	assert_int_equal(tls_lean_key(ctx, path), -1); /* not the certificate's */
	remove(path);
	assert_int_equal(tls_lean_key(ctx, path), -1);
	ERR_clear_error();
	SSL_CTX_free(ctx);
	X509_free(cert);
	EVP_PKEY_free(key);
	EVP_PKEY_free(another);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_test),
	    cmocka_unit_test(nothing_else_test),
	    cmocka_unit_test(key_file_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
