/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sodium.h>

#define HEAD 5

static int lost(SSL *ssl, int r, const char *what, struct err *e)
{
	int saved = errno, why = SSL_get_error(ssl, r);
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (why == SSL_ERROR_ZERO_RETURN || (why == SSL_ERROR_SYSCALL && !saved))
		return err_set(e, ERR_REACH, "%s: the other side closed the connection", what);
	if (why == SSL_ERROR_SYSCALL)
		return err_set(e, ERR_REACH, "%s: %s", what, strerror(saved));
	return err_set(e, ERR_PEER, "%s: %s", what, reason ? reason : "TLS failed");
}

static int write_all(SSL *ssl, const uint8_t *p, size_t n, struct err *e)
{
	size_t done;

	while (n) {
		int r;

		errno = 0;
		r = SSL_write_ex(ssl, p, n, &done);
		if (r <= 0)
			return lost(ssl, r, "cannot send", e);
		p += done;
		n -= done;
	}
	return 0;
}

static int read_all(SSL *ssl, uint8_t *p, size_t n, struct err *e)
{
	size_t done;

	while (n) {
		int r;

		errno = 0;
		r = SSL_read_ex(ssl, p, n, &done);
		if (r <= 0)
			return lost(ssl, r, "cannot receive", e);
		p += done;
		n -= done;
	}
	return 0;
}

static void put32(uint8_t *p, size_t x)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(x >> 8 * i);
}

static size_t get32(const uint8_t *p)
{
	return p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

void enclave_head(uint8_t head[HEAD], enum enclave_type type, size_t n)
{
	put32(head, n);
	head[4] = (uint8_t)type;
}

size_t enclave_head_length(const uint8_t head[HEAD])
{
	return get32(head);
}

int enclave_send(SSL *ssl, enum enclave_type type, const void *body, size_t n, struct err *e)
{
	uint8_t *whole;
	int bad;

	if (n > ENCLAVE_BODY_MAX)
		return err_set(e, ERR_INPUT, "a message of %zu bytes is too large for an enclave", n);
	whole = malloc(HEAD + n);
	if (!whole)
		return err_set(e, ERR_ENV, "out of memory");
	put32(whole, n);
	whole[4] = (uint8_t)type;
	if (n)
		memcpy(whole + HEAD, body, n);
	bad = write_all(ssl, whole, HEAD + n, e); /* at once: one record, one packet */
	OPENSSL_cleanse(whole, HEAD + n);
	free(whole);
	return bad;
}

int enclave_receive(SSL *ssl, enum enclave_type want, size_t most, enum enclave_type *type, uint8_t **body,
		    size_t *n, struct err *e)
{
	uint8_t head[HEAD];

	*body = NULL;
	if (read_all(ssl, head, HEAD, e))
		return -1;
	*n = get32(head);
	*type = (enum enclave_type)head[4];
	if (*n > most)
		return err_set(e, ERR_PEER, "a message of %zu bytes; %zu are the limit", *n, most);
	*body = malloc(*n + 1);
	if (!*body)
		return err_set(e, ERR_ENV, "out of memory");
	(*body)[*n] = 0;
	if (read_all(ssl, *body, *n, e))
		goto fail;
	if (*type == ENCLAVE_REFUSED && want) {
		err_set(e, ERR_PEER, "the enclave refused: %.300s", (const char *)*body);
		goto fail;
	}
	if (!want || *type == want)
		return 0;
	err_set(e, ERR_PEER, "message %d where %d was expected", *type, want);
fail:
	free(*body);
	*body = NULL;
	return -1;
}

size_t enclave_put(uint8_t *out, struct span s)
{
	if (out) {
		put32(out, s.n);
		if (s.n)
			memcpy(out + 4, s.p, s.n);
	}
	return 4 + s.n;
}

int enclave_take(struct span *rest, struct span *s)
{
	if (rest->n < 4)
		return -1;
	s->n = get32(rest->p);
	s->p = rest->p + 4;
	if (s->n > rest->n - 4)
		return -1;
	rest->p += 4 + s->n;
	rest->n -= 4 + s->n;
	return 0;
}

int enclave_evidence_read(struct span body, struct enclave_evidence *v)
{
	return enclave_take(&body, &v->kind) || enclave_take(&body, &v->report) ||
		       enclave_take(&body, &v->chain) || enclave_take(&body, &v->policy) ||
		       enclave_take(&body, &v->manifest) || body.n
		   ? -1
		   : 0;
}

int enclave_model_read(struct span body, struct enclave_model *m)
{
	if (enclave_take(&body, &m->name) || enclave_take(&body, &m->version_text) ||
	    enclave_take(&body, &m->onnx) || enclave_take(&body, &m->json) || body.n || !m->version_text.n ||
	    m->version_text.n > 18)
		return -1;
	m->version = 0;
	for (size_t i = 0; i < m->version_text.n; i++) {
		if (m->version_text.p[i] < '0' || m->version_text.p[i] > '9')
			return -1;
		m->version = m->version * 10 + (uint64_t)(m->version_text.p[i] - '0');
	}
	return 0;
}

static void hex(char *out, const uint8_t *p, size_t n)
{
	sodium_bin2hex(out, 2 * n + 1, p, n);
}

int enclave_policy(char out[ENCLAVE_POLICY], X509 *authority, const uint8_t release[ENCLAVE_RELEASE_KEY],
		   struct err *e)
{
	uint8_t *der = NULL, digest[32];
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(authority), &der), ok;

	ok = n > 0 && EVP_Digest(der, (size_t)n, digest, NULL, EVP_sha256(), NULL);
	OPENSSL_free(der);
	if (!ok)
		return err_set(e, ERR_ENV, "out of memory for a digest");
	memcpy(out, "ca ", 3);
	hex(out + 3, digest, sizeof(digest));
	memcpy(out + 67, "\nrelease ", 9);
	hex(out + 76, release, ENCLAVE_RELEASE_KEY);
	memcpy(out + 140, "\n\n", 3);
	return 0;
}

int enclave_policy_release(struct span policy, uint8_t release[ENCLAVE_RELEASE_KEY])
{
	const char *text = (const char *)policy.p;
	size_t n = 0;

	if (policy.n < ENCLAVE_POLICY - 1 || policy.n >= ENCLAVE_POLICY_MAX ||
	    memcmp(text + 67, "\nrelease ", 9) || text[140] != '\n' ||
	    memcmp(text + policy.n - 2, "\n\n", 2) ||
	    sodium_hex2bin(release, ENCLAVE_RELEASE_KEY, text + 76, 2 * ENCLAVE_RELEASE_KEY, NULL, &n, NULL))
		return -1;
	return n == ENCLAVE_RELEASE_KEY ? 0 : -1;
}

const char *enclave_policy_file(struct span policy, const char *word, char hex[65])
{
	char text[ENCLAVE_POLICY_MAX], line[16], *at;

	if (policy.n >= sizeof(text))
		return NULL;
	memcpy(text, policy.p, policy.n);
	text[policy.n] = 0;
	snprintf(line, sizeof(line), "\n%.12s ", word);
	at = strstr(text, line);
	if (!at || strspn(at + strlen(line), "0123456789abcdef") != 64)
		return NULL;
	snprintf(hex, 65, "%s", at + strlen(line));
	return hex;
}
