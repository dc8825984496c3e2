/* SPDX-License-Identifier: Apache-2.0 */
/* The revocation list of an authority: signed by it, with what was on the one before. */
#include "client/certificate.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define BACKDATE_SECONDS 300 /* clocks of hosts differ */

static int set_issuer(X509_CRL *crl, const struct identity *ca, unsigned days)
{
	ASN1_TIME *from = X509_gmtime_adj(NULL, -BACKDATE_SECONDS),
		  *to = X509_time_adj_ex(NULL, (int)days, 0, NULL);
	int ok = from && to && X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		 X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate)) &&
		 X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, to);

	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	return ok;
}

/* RFC 5280: the number of a list rises. */
static int set_number(X509_CRL *crl, X509_CRL *before)
{
	ASN1_INTEGER *old = before ? X509_CRL_get_ext_d2i(before, NID_crl_number, NULL, NULL) : NULL;
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	int64_t n = 0;
	int ok = number && (!old || ASN1_INTEGER_get_int64(&n, old)) &&
		 ASN1_INTEGER_set_int64(number, n + 1) &&
		 X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1;

	ASN1_INTEGER_free(old);
	ASN1_INTEGER_free(number);
	return ok;
}

static int copy_entries(X509_CRL *crl, X509_CRL *before)
{
	STACK_OF(X509_REVOKED) *all = before ? X509_CRL_get_REVOKED(before) : NULL;

	for (int i = 0; i < sk_X509_REVOKED_num(all); i++) {
		X509_REVOKED *r = X509_REVOKED_dup(sk_X509_REVOKED_value(all, i));

		if (!r || !X509_CRL_add0_revoked(crl, r)) {
			X509_REVOKED_free(r);
			return 0;
		}
	}
	return 1;
}

static int add_entry(X509_CRL *crl, const ASN1_INTEGER *serial)
{
	X509_REVOKED *r = X509_REVOKED_new(), *there;
	ASN1_INTEGER *number = ASN1_INTEGER_dup(serial);
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	int ok = 0;

	if (number && X509_CRL_get0_by_serial(crl, &there, number))
		ok = 1; /* it is on the list already */
	else if (r && number && now && X509_REVOKED_set_serialNumber(r, number) &&
		 X509_REVOKED_set_revocationDate(r, now) && X509_CRL_add0_revoked(crl, r)) {
		ok = 1;
		r = NULL;
	}
	X509_REVOKED_free(r);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(now);
	return ok;
}

int revocation_make(X509_CRL **list, const struct identity *ca, X509_CRL *before,
		    const ASN1_INTEGER *const *serials, int n, unsigned days, struct err *e)
{
	X509_CRL *crl = X509_CRL_new();
	unsigned long code;
	int ok = crl && set_issuer(crl, ca, days) && set_number(crl, before) && copy_entries(crl, before);

	for (int i = 0; ok && i < n; i++)
		ok = add_entry(crl, serials[i]);
	*list = NULL;
	if (ok && X509_CRL_sort(crl) && X509_CRL_sign(crl, ca->key, EVP_sha256())) {
		*list = crl;
		return 0;
	}
	X509_CRL_free(crl);
	code = ERR_get_error();
	ERR_clear_error();
	return err_set(e, ERR_ENV, "cannot make a revocation list: %s",
		       code ? ERR_reason_error_string(code) : "OpenSSL failed");
}

int revocation_has(X509_CRL *list, X509 *c)
{
	X509_REVOKED *r;

	return list && X509_CRL_get0_by_cert(list, &r, c) == 1;
}

int revocation_verify(X509_CRL *list, X509 *ca, struct err *e)
{
	int ok = X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(ca)) == 0 &&
		 X509_CRL_verify(list, X509_get0_pubkey(ca)) == 1;

	ERR_clear_error();
	return ok ? 0
		  : err_set(e, ERR_INPUT,
			    "the revocation list is not signed by this authority; if it is of one before, "
			    "remove it");
}

int revocation_serial(const char *hex, ASN1_INTEGER **serial, struct err *e)
{
	BIGNUM *n = NULL;
	size_t digits = strlen(hex);

	*serial = NULL;
	/* a short one would too easily be a name that is misspelt */
	if (digits >= 16 && digits <= 40 && strspn(hex, "0123456789abcdefABCDEF") == digits &&
	    BN_hex2bn(&n, hex))
		*serial = BN_to_ASN1_INTEGER(n, NULL);
	BN_free(n);
	ERR_clear_error();
	return *serial
		   ? 0
		   : err_set(
			 e, ERR_USAGE,
			 "\"%.60s\" is no serial number in hexadecimal (obscura pki list --json shows them)",
			 hex);
}
