/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the untrusted front end hands to the enclave: access rules, a revocation list as it is, and one
 * that our authority has signed. The first byte chooses. The policy text stays readable, and a list never
 * goes back. */
#include "daemon/enclave.h"
#include "daemon/enclave_parts.h"
#include "test/crypto/attest/make.h"

#include <sys/mman.h>
#include <unistd.h>

static struct make_id root;
static char base[ENCLAVE_POLICY];

/* libconfig 1.5 itself loses the text of a string that a syntax error interrupts. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t release[ENCLAVE_RELEASE_KEY] = {7};
	struct err e = {0};

	root = make_cert("root", EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	make_must(!enclave_policy(base, root.cert, release, &e));
	enclave_rules_start(root.cert);
	return 0;
}

static void hand(char what, const void *p, size_t n)
{
	int fd = memfd_create("handed", MFD_CLOEXEC);

	make_must(fd >= 0 && write(fd, p, n) == (ssize_t)n && !lseek(fd, 0, SEEK_SET));
	enclave_rules_handed(what, fd);
}

static int64_t highest = -1;

/* As PEM with a good signature, far from its end. */
static void hand_signed(struct span in)
{
	const uint8_t *at = in.p;
	X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)in.n);
	ASN1_INTEGER *number = crl ? X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL) : NULL;
	ASN1_TIME *to = X509_gmtime_adj(NULL, MAKE_DAY);
	BIO *out = BIO_new(BIO_s_mem());
	int64_t n = -1;
	char *text;

	if (number && (!ASN1_INTEGER_get_int64(&n, number) || n < 0))
		n = -1;
	if (crl && X509_CRL_set_issuer_name(crl, X509_get_subject_name(root.cert)) &&
	    X509_CRL_set1_nextUpdate(crl, to) && X509_CRL_sign(crl, root.key, EVP_sha256()) > 0 &&
	    PEM_write_bio_X509_CRL(out, crl) == 1) {
		struct span policy;
		char before[ENCLAVE_POLICY_MAX], after[ENCLAVE_POLICY_MAX], one[65], two[65];
		int taken;

		policy = (struct span){(uint8_t *)before, enclave_rules_policy(before, base, 0)};
		if (!enclave_policy_file(policy, "revoked", one))
			*one = 0;
		size_t size = (size_t)BIO_get_mem_data(out, &text);

		hand(ENCLAVE_HANDS_REVOKED, text, size);
		policy = (struct span){(uint8_t *)after, enclave_rules_policy(after, base, 0)};
		taken = enclave_policy_file(policy, "revoked", two) && strcmp(one, two);
		make_must(!taken || n >= highest);
		if (taken)
			highest = n;
	}
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
	BIO_free(out);
	ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[ENCLAVE_POLICY_MAX];
	uint8_t release[ENCLAVE_RELEASE_KEY];
	struct span policy;
	struct err e = {0};

	if (!size)
		return 0;
	if (*data % 3 == 2)
		hand_signed((struct span){data + 1, size - 1});
	else
		hand(*data % 3 ? ENCLAVE_HANDS_REVOKED : ENCLAVE_HANDS_ACCESS, data + 1, size - 1);
	policy = (struct span){(uint8_t *)text, enclave_rules_policy(text, base, 0)};
	make_must(policy.n < sizeof(text) && !text[policy.n] && !enclave_policy_release(policy, release));
	(void)!enclave_rules_admit(NULL, &e);
	return 0;
}
