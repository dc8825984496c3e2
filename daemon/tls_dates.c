/* SPDX-License-Identifier: Apache-2.0 */
/* What ends soon, told while there is time. */
#include <stdio.h>
#include <time.h>

#include "daemon/tls.h"

#define WARN_SECONDS (INT64_C(30) * 86400)

static int64_t seconds_until(const ASN1_TIME *end)
{
	int days = 0, seconds = 0;

	if (!ASN1_TIME_diff(&days, &seconds, NULL, end))
		return INT64_MIN; /* a date that cannot be read is no good one */
	return (int64_t)days * 86400 + seconds;
}

double tls_peer_seconds_left(SSL *ssl)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);

	return cert ? (double)seconds_until(X509_get0_notAfter(cert)) : 0;
}

/* "ends in 12 days, on 2026-12-03", or that it has; 0 when that is far off. */
static int ends_soon(const ASN1_TIME *end, char *text, size_t bytes)
{
	int64_t left = end ? seconds_until(end) : WARN_SECONDS; /* a list without an end */
	char day[16] = "?";
	struct tm tm;

	if (left >= WARN_SECONDS)
		return 0;
	if (ASN1_TIME_to_tm(end, &tm))
		strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	if (left < 0)
		snprintf(text, bytes, "has ended on %s", day);
	else
		snprintf(text, bytes, "ends in %lld days, on %s", (long long)(left / 86400), day);
	return 1;
}

void tls_expiring(const struct tls *tls, tls_warning each, void *ctx)
{
	STACK_OF(X509_OBJECT) *all =
	    tls->ctx ? X509_STORE_get0_objects(SSL_CTX_get_cert_store(tls->ctx)) : NULL;
	char end[64], text[400];

	if (tls->ctx && ends_soon(X509_get0_notAfter(SSL_CTX_get0_certificate(tls->ctx)), end, sizeof(end))) {
		snprintf(
		    text, sizeof(text),
		    "own certificate %.200s %s: issue it again (obscura pki issue), then reload (SIGHUP)",
		    tls->certificate, end);
		each(ctx, text);
	}
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

		if (!ca || !ends_soon(X509_get0_notAfter(ca), end, sizeof(end)))
			continue;
		snprintf(text, sizeof(text),
			 "the authority %.200s %s: make a new one (obscura pki init) and issue all again",
			 tls->authority, end);
		each(ctx, text);
	}
	for (int i = 0; i < sk_X509_CRL_num(tls->lists); i++) {
		if (!ends_soon(X509_CRL_get0_nextUpdate(sk_X509_CRL_value(tls->lists, i)), end, sizeof(end)))
			continue;
		snprintf(text, sizeof(text),
			 "the revocation list %.200s %s: make the next one (obscura pki revoke)",
			 tls->revoked, end);
		each(ctx, text);
	}
}

int tls_peer_expiring(SSL *ssl, const char *name, char *text, size_t bytes)
{
	const X509 *cert = SSL_get0_peer_certificate(ssl);
	char end[64];

	if (!cert || !ends_soon(X509_get0_notAfter(cert), end, sizeof(end)))
		return 0;
	snprintf(text, bytes, "%.100s: its certificate %s: its operator should issue it again", name, end);
	return 1;
}
