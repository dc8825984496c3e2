/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated reports, 272 bytes, integers little-endian:
 *       0  16  "obscura-sim", zero-padded         72   64  report data
 *      16   4  version 2                         136   40  "simulated: no hardware isolation", zero-padded
 *      20   4  hardening in force (bits)         176   32  zero
 *      24  48  measurement: SHA-384 of the       208   64  ECDSA P-256, SHA-256 over bytes 0…207: r‖s,
 * big-endian program, zero if not hardened The quoting key's certificate is issued by a root made at
 * installation, which a policy must name. */
#include "crypto/attest/sim.h"

#include <stdio.h>
#include <string.h>

#include <openssl/ecdsa.h>

#include "crypto/attest/parts.h"

#define MAGIC "obscura-sim"
#define AT_WORDS 136
#define AT_ZERO 176
#define BODY 208
#define SCALAR 32 /* bytes of r, and of s */
#define CURVE "prime256v1"
#define VERSION 2

static const char *const words[] = {
#define HARDENING(name, word, what) word,
#include "crypto/attest/hardening.def"
#undef HARDENING
};

/* ---- writing ---- */

static void le32_write(uint8_t *p, uint32_t x)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(x >> 8 * i);
}

static void body_write(uint8_t *out, uint32_t hardening, const uint8_t *measurement,
		       const uint8_t *report_data)
{
	memset(out, 0, SIM_REPORT);
	memcpy(out, MAGIC, strlen(MAGIC));
	le32_write(out + 16, VERSION);
	le32_write(out + 20, hardening & SIM_ALL);
	if ((hardening & SIM_ALL) == SIM_ALL)
		memcpy(out + 24, measurement, 48);
	memcpy(out + 72, report_data, 64);
	memcpy(out + AT_WORDS, SIM_WORDS, strlen(SIM_WORDS));
}

/* DER to r‖s. */
static int raw_signature(uint8_t out[2 * SCALAR], const uint8_t *der, size_t n)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
	int ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, SCALAR) == SCALAR &&
		 BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + SCALAR, SCALAR) == SCALAR;

	ECDSA_SIG_free(sig);
	return ok ? 0 : -1;
}

int sim_report_make(uint8_t out[SIM_REPORT], EVP_PKEY *key, uint32_t hardening, const uint8_t measurement[48],
		    const uint8_t report_data[64], struct err *e)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	size_t n = sizeof(der);
	int ok;

	body_write(out, hardening, measurement, report_data);
	ok = ctx && key_is_curve(key, CURVE) && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	     EVP_DigestSign(ctx, der, &n, out, BODY) == 1 && !raw_signature(out + BODY, der, n);
	EVP_MD_CTX_free(ctx);
	return ok ? 0
		  : err_set(e, ERR_ENV,
			    "cannot sign a simulated report: the key is not on P-256, or memory is short");
}

/* ---- verifying ---- */

static int check_form(struct attest_result *r, struct span report)
{
	const uint8_t *p = report.p;

	if (report.n != SIM_REPORT)
		return attest_reject(r, ATTEST_SIM_SIZE, "expected %d bytes, received %zu", SIM_REPORT,
				     report.n);
	r->version = le32(p + 16);
	if (memcmp(p, MAGIC, strlen(MAGIC)) || !bytes_zero(p + strlen(MAGIC), 16 - strlen(MAGIC)) ||
	    r->version != VERSION)
		return attest_reject(r, ATTEST_SIM_FORM, "name or version");
	if (memcmp(p + AT_WORDS, SIM_WORDS, strlen(SIM_WORDS)) ||
	    !bytes_zero(p + AT_WORDS + strlen(SIM_WORDS), BODY - AT_WORDS - strlen(SIM_WORDS)))
		return attest_reject(r, ATTEST_SIM_FORM,
				     "the words \"" SIM_WORDS "\" or the zeros after them");
	return 0;
}

static int chain_sort(struct attest_result *r, const struct chain *c, X509 **leaf, X509 **root)
{
	char name[64];

	*leaf = *root = NULL;
	for (size_t i = 0; i < c->n; i++) {
		X509 **slot;

		chain_name(c->cert[i], name, sizeof(name));
		slot = !strcmp(name, SIM_KEY_NAME) ? leaf : !strcmp(name, SIM_ROOT_NAME) ? root : NULL;
		if (!slot || *slot)
			return attest_reject(r, ATTEST_CHAIN_ROLE, "\"%s\" %s", name,
					     slot ? "stands twice" : "has no place in it");
		*slot = c->cert[i];
	}
	if (*leaf && *root)
		return 0;
	return attest_reject(r, ATTEST_CHAIN_ROLE, "missing: %s", *leaf ? SIM_ROOT_NAME : SIM_KEY_NAME);
}

static int check_chain(struct attest_result *r, const struct chain *c, X509 **leaf,
		       const struct attest_policy *policy, int64_t now)
{
	X509 *root;

	if (chain_sort(r, c, leaf, &root))
		return -1;
	if (!chain_trusted(root, NULL, 0, &policy->simulation))
		return attest_reject(r, ATTEST_ROOT_UNTRUSTED, "the policy names no such root of simulation");
	return chain_verify(r, *leaf, NULL, root, now);
}

static int check_signature(struct attest_result *r, X509 *leaf, const uint8_t *report)
{
	EVP_PKEY *key = X509_get0_pubkey(leaf);

	if (key_is_curve(key, CURVE) &&
	    !ecdsa_verify(key, EVP_sha256(), report + BODY, report + BODY + SCALAR, SCALAR, 0,
			  (struct span){report, BODY}))
		return 0;
	return attest_reject(r, ATTEST_SIM_SIG, "%s", "");
}

static int check_hardening(struct attest_result *r, const struct attest_policy *policy)
{
	char missing[200] = "measurement";
	size_t n = 0;

	r->hardening = le32(r->body + 20);
	if ((r->hardening == SIM_ALL && !bytes_zero(r->body + 24, 48)) ||
	    attest_allows(policy, ATTEST_ALLOW_UNHARDENED))
		return 0;
	for (unsigned h = 0; h < SIM_HARDENINGS; h++)
		if (!(r->hardening >> h & 1))
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? ", " : "",
					      words[h]);
	return attest_reject(r, ATTEST_SIM_HARDENING, "missing: %s", missing);
}

enum attest_verdict attest_verify_sim(struct attest_result *r, struct span report, const struct span *chain,
				      size_t n, const struct attest_policy *policy, int64_t now)
{
	struct chain c = {.n = 0};
	X509 *leaf;
	int bad;

	attest_begin(r);
	bad = check_form(r, report);
	for (size_t i = 0; !bad && i < n; i++)
		bad = chain_add(r, &c, chain[i]);
	if (!bad && !check_chain(r, &c, &leaf, policy, now) && !check_signature(r, leaf, report.p)) {
		attest_body_set(r, ATTEST_BODY_SIM, report.p, BODY);
		r->evidence_n = SIM_REPORT;
		snprintf(r->product, sizeof(r->product), "simulated");
		if (!attest_allows(policy, ATTEST_ALLOW_SIMULATED))
			attest_reject(r, ATTEST_SIM_REFUSED, "%s", "");
		else if (!check_hardening(r, policy) && !attest_check_values(r, policy))
			r->verdict = ATTEST_SIMULATED;
	}
	chain_free(&c);
	return r->verdict;
}
