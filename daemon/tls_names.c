/* SPDX-License-Identifier: Apache-2.0 */
/* The names that a certificate carries. */
#include "daemon/tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <openssl/x509v3.h>

static void add_name(const GENERAL_NAME *name, char *out, size_t bytes)
{
	const ASN1_STRING *s = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
	const uint8_t *data = ASN1_STRING_get0_data(s);
	int n = ASN1_STRING_length(s);
	char text[INET6_ADDRSTRLEN + 1] = "?";
	size_t at = strlen(out);

	if (name->type == GEN_DNS)
		snprintf(out + at, bytes - at, "%s%.*s", at ? ", " : "", n, data);
	else if ((n == 4 || n == 16) && inet_ntop(n == 4 ? AF_INET : AF_INET6, data, text, sizeof(text)))
		snprintf(out + at, bytes - at, "%s%s", at ? ", " : "", text);
}

/* The hosts that a certificate is for: "localhost, 127.0.0.1". */
void tls_hosts(X509 *cert, char *out, size_t bytes)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

	out[0] = 0;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_DNS || name->type == GEN_IPADD)
			add_name(name, out, bytes);
	}
	GENERAL_NAMES_free(names);
}

/* A line is one name, whole, whatever an authority has signed: anything else would be taken for another's. */
static void add_line(const char *name, size_t n, char *names, size_t bytes)
{
	size_t at = strlen(names);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] <= ' ' || (unsigned char)name[i] == 127)
			return;
	if (n && at + n + 2 <= bytes)
		snprintf(names + at, bytes - at, "%s%.*s", at ? "\n" : "", (int)n, name);
}

void tls_names(SSL *ssl, char *names, size_t bytes)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	GENERAL_NAMES *all = cert ? X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL) : NULL;
	char one[256];
	int n;

	names[0] = 0;
	n = cert ? X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, one, sizeof(one))
		 : -1;
	if (n > 0 && n < (int)sizeof(one) - 1)
		add_line(one, (size_t)n, names, bytes);
	if (!names[0])
		add_line("?", 1, names, bytes);
	for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);

		one[0] = 0;
		if (name->type == GEN_DNS)
			add_line((const char *)ASN1_STRING_get0_data(name->d.dNSName),
				 (size_t)ASN1_STRING_length(name->d.dNSName), names, bytes);
		else if (name->type == GEN_IPADD)
			add_name(name, one, sizeof(one));
		add_line(one, strlen(one), names, bytes);
	}
	GENERAL_NAMES_free(all);
}
