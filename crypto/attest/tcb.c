/* SPDX-License-Identifier: Apache-2.0 */
/* TCB info version 3 and QE identity version 2, after their signatures: which patch level is this platform's?
 * Source: Intel PCS API version 4; "Intel TDX DCAP Quoting", §§ on TCB levels, TDX module identities and TD
 * relaunch.
 *
 * A level fits when every component of the platform is at least the level's:
 *     pck.component[i] ≥ sgx[i] (i < 16),  pck.pcesvn ≥ pcesvn,  and for TDX: tee_tcb_svn[i] ≥ tdx[i]
 * for i < 16; from i = 2 on if tee_tcb_svn[1] > 0, because then bytes 0 and 1 are version and number of the
 * TDX module, which has levels of its own. Levels stand in falling order; the first that fits is the
 * platform's. */
#include "crypto/attest/quote.h"

#include <stdio.h>
#include <string.h>

#include "crypto/attest/jspan.h"

#define COMPONENTS 16

struct level {
	uint8_t sgx[COMPONENTS], tdx[COMPONENTS];
	uint16_t pcesvn;
	enum tcb_status status;
	struct span json;
};

/* ---- common ---- */

static int bad_info(struct attest_result *r, const char *what)
{
	return attest_reject(r, ATTEST_TCBINFO_FORM, "%s", what);
}

static int status_read(struct span level, enum tcb_status *status)
{
	struct span word;

	if (jspan_text(level, "tcbStatus", &word))
		return -1;
	*status = tcb_status_find((const char *)word.p, word.n);
	return *status == TCB_NONE ? -1 : 0;
}

static int components_read(struct span tcb, const char *name, uint8_t out[COMPONENTS])
{
	struct span rest, item;
	uint64_t svn;

	if (jspan_array(tcb, name, &rest))
		return -1;
	for (size_t i = 0; i < COMPONENTS; i++) {
		if (jspan_item(&rest, &item) != 1 || jspan_number(item, "svn", 255, &svn))
			return -1;
		out[i] = (uint8_t)svn;
	}
	return jspan_item(&rest, &item) ? -1 : 0;
}

static int level_read(struct span json, int td, struct level *l)
{
	struct span tcb;
	uint64_t pcesvn;

	memset(l, 0, sizeof(*l));
	l->json = json;
	if (jspan_object(json, "tcb", &tcb) || components_read(tcb, "sgxtcbcomponents", l->sgx) ||
	    jspan_number(tcb, "pcesvn", 65535, &pcesvn) || status_read(json, &l->status) ||
	    (td && components_read(tcb, "tdxtcbcomponents", l->tdx)))
		return -1;
	l->pcesvn = (uint16_t)pcesvn;
	return 0;
}

static int at_least(const uint8_t *have, const uint8_t *need, size_t from)
{
	for (size_t i = from; i < COMPONENTS; i++)
		if (have[i] < need[i])
			return 0;
	return 1;
}

/* Level of an enclave or module by its security version; NotSupported below all. 0 or -1. */
static int isvsvn_level(struct span object, unsigned isvsvn, enum tcb_status *status)
{
	struct span rest, item, tcb;
	uint64_t svn;
	int more;

	*status = TCB_NOT_SUPPORTED;
	if (jspan_array(object, "tcbLevels", &rest))
		return -1;
	while ((more = jspan_item(&rest, &item)) == 1) {
		if (jspan_object(item, "tcb", &tcb) || jspan_number(tcb, "isvsvn", 65535, &svn))
			return -1;
		if (isvsvn >= svn)
			return status_read(item, status);
	}
	return more;
}

static int timely(struct attest_result *r, struct span object, enum attest_verdict form,
		  enum attest_verdict late, int64_t age, int64_t now)
{
	int64_t from, to;

	if (jspan_time(object, "issueDate", &from) || jspan_time(object, "nextUpdate", &to))
		return attest_reject(r, form, "issueDate or nextUpdate");
	if (now < from || now > to)
		return attest_reject(r, late, "valid from %lld to %lld, judged at %lld (Unix seconds)",
				     (long long)from, (long long)to, (long long)now);
	if (age && now - from > age)
		return attest_reject(r, late, "expected an age of at most %lld s, received %lld s",
				     (long long)age, (long long)(now - from));
	if (to < r->fresh_until)
		r->fresh_until = to;
	return 0;
}

static int is_text(struct span object, const char *name, const char *want)
{
	struct span text;

	return !jspan_text(object, name, &text) && text.n == strlen(want) && !memcmp(text.p, want, text.n);
}

/* ---- TCB info ---- */

static const uint8_t *tee_tcb_svn(const struct platform *p)
{
	return p->quote->body;
}

static int check_platform(struct attest_result *r, const struct platform *p, struct span info)
{
	uint8_t fmspc[6], pceid[2];
	char want[13], got[13];

	if (!is_text(info, "id", p->quote->td ? "TDX" : "SGX"))
		return attest_reject(r, ATTEST_TCB_ID, "expected the one for %s",
				     p->quote->td ? "TDX" : "SGX");
	if (jspan_hex(info, "fmspc", fmspc, 6) || jspan_hex(info, "pceId", pceid, 2))
		return bad_info(r, "fmspc or pceId");
	if (memcmp(fmspc, p->pck.fmspc, 6) || memcmp(pceid, p->pck.pceid, 2))
		return attest_reject(r, ATTEST_TCB_FMSPC, "expected FMSPC %s, received %s",
				     bytes_hex(want, p->pck.fmspc, 6), bytes_hex(got, fmspc, 6));
	return 0;
}

/* The module's identity with this number, "TDX_01"; 1, 0 or -1. */
static int module_find(struct span info, unsigned number, struct span *identity)
{
	struct span rest, id;
	char want[8];
	int more;

	snprintf(want, sizeof(want), "TDX_%02X", number & 0xff);
	if (jspan_array(info, "tdxModuleIdentities", &rest))
		return -1;
	while ((more = jspan_item(&rest, identity)) == 1)
		if (!jspan_text(*identity, "id", &id) && id.n == strlen(want) &&
		    !strncasecmp((const char *)id.p, want, id.n))
			return 1;
	return more;
}

/* Signer and attributes of the TDX module that runs there: (attributes & mask) = published attributes. */
static int check_module(struct attest_result *r, const struct platform *p, struct span info)
{
	const uint8_t *signer = p->quote->body + 64, *have = p->quote->body + 112;
	unsigned number = tee_tcb_svn(p)[1];
	uint8_t mrsigner[48], attributes[8], mask[8];
	struct span module;
	int found;

	found = number ? module_find(info, number, &module) : !jspan_object(info, "tdxModule", &module);
	if (!found)
		return attest_reject(r, ATTEST_TDX_MODULE, "module %u is not in the TCB info", number);
	if (found < 0 || jspan_hex(module, "mrsigner", mrsigner, 48) ||
	    jspan_hex(module, "attributes", attributes, 8) || jspan_hex(module, "attributesMask", mask, 8))
		return bad_info(r, "tdxModule or tdxModuleIdentities");
	for (int i = 0; i < 8; i++)
		if ((have[i] & mask[i]) != attributes[i])
			return attest_reject(r, ATTEST_TDX_MODULE, "attributes of module %u", number);
	return memcmp(signer, mrsigner, 48)
		   ? attest_reject(r, ATTEST_TDX_MODULE, "signer of module %u", number)
		   : 0;
}

int tcb_info_check(struct attest_result *r, const struct platform *p, struct span info,
		   const struct attest_policy *policy, int64_t now)
{
	uint64_t version, evaluation;

	if (jspan_check(info) || jspan_number(info, "version", 99, &version) ||
	    jspan_number(info, "tcbEvaluationDataNumber", UINT32_MAX, &evaluation))
		return bad_info(r, "version or tcbEvaluationDataNumber");
	if (version != 3)
		return bad_info(r, "it is not of version 3");
	r->evaluation = (uint32_t)evaluation;
	if (timely(r, info, ATTEST_TCBINFO_FORM, ATTEST_TCBINFO_TIME, policy->collateral_age, now) ||
	    check_platform(r, p, info))
		return -1;
	if (evaluation < policy->evaluation_minimum)
		return attest_reject(r, ATTEST_TCBINFO_OLD, "expected evaluation %u at least, received %u",
				     policy->evaluation_minimum, r->evaluation);
	return p->quote->td ? check_module(r, p, info) : 0;
}

/* ---- QE identity ---- */

static int masked_equal(const uint8_t *have, const uint8_t *mask, const uint8_t *want, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((have[i] & mask[i]) != (want[i] & mask[i]))
			return 0;
	return 1;
}

/* MISCSELECT is published as a big-endian number and reported little-endian. */
static void reverse4(uint8_t x[4])
{
	uint8_t copy[4] = {x[3], x[2], x[1], x[0]};

	memcpy(x, copy, 4);
}

static int check_qe(struct attest_result *r, const uint8_t *qe, struct span identity)
{
	uint8_t signer[32], misc[4], misc_mask[4], attributes[16], mask[16];
	uint64_t product;

	if (jspan_hex(identity, "mrsigner", signer, 32) || jspan_hex(identity, "miscselect", misc, 4) ||
	    jspan_hex(identity, "miscselectMask", misc_mask, 4) ||
	    jspan_hex(identity, "attributes", attributes, 16) ||
	    jspan_hex(identity, "attributesMask", mask, 16) ||
	    jspan_number(identity, "isvprodid", 65535, &product))
		return attest_reject(r, ATTEST_QEID_FORM, "a field is missing or malformed");
	reverse4(misc);
	reverse4(misc_mask);
	if (memcmp(qe + 128, signer, 32))
		return attest_reject(r, ATTEST_QE_SIGNER, "its MRSIGNER is not the published one");
	if (le16(qe + 256) != product)
		return attest_reject(r, ATTEST_QE_SIGNER, "expected product %u, received %u",
				     (unsigned)product, le16(qe + 256));
	if (!masked_equal(qe + 16, misc_mask, misc, 4))
		return attest_reject(r, ATTEST_QE_MISC, "%s", "");
	return masked_equal(qe + 48, mask, attributes, 16) ? 0 : attest_reject(r, ATTEST_QE_ATTR, "%s", "");
}

int qe_identity_check(struct attest_result *r, const struct platform *p, struct span identity,
		      const struct attest_policy *policy, int64_t now)
{
	const char *want = p->quote->td ? "TD_QE" : "QE";
	uint64_t version;

	if (jspan_check(identity) || jspan_number(identity, "version", 99, &version) || version != 2)
		return attest_reject(r, ATTEST_QEID_FORM, "it is not of version 2");
	if (timely(r, identity, ATTEST_QEID_FORM, ATTEST_QEID_TIME, policy->collateral_age, now) ||
	    check_qe(r, p->quote->qe_report, identity))
		return -1;
	if (!is_text(identity, "id", want))
		return attest_reject(r, ATTEST_QEID_ID, "expected the one of %s", want);
	if (isvsvn_level(identity, le16(p->quote->qe_report + 258), &r->qe_level))
		return attest_reject(r, ATTEST_QEID_FORM, "tcbLevels");
	return 0;
}

/* ---- levels ---- */

static void advisories_add(struct attest_result *r, struct span level)
{
	size_t n = strlen(r->advisories);
	struct span rest, item;

	if (jspan_array(level, "advisoryIDs", &rest))
		return;
	while (jspan_item(&rest, &item) == 1) {
		if (item.n < 2 || *item.p != '"' || n + item.n + 1 > sizeof(r->advisories))
			return;
		n += (size_t)snprintf(r->advisories + n, sizeof(r->advisories) - n, "%s%.*s", n ? " " : "",
				      (int)item.n - 2, (const char *)item.p + 1);
	}
}

/* What the scan of all levels found: the first of all, the first that fits without TDX, the first that fits.
 */
struct found {
	struct level first, sgx, all;
	int any, sgx_fits, all_fit;
};

static int levels_scan(struct span info, const struct platform *p, struct found *f)
{
	int td = p->quote->td, more;
	struct span rest, item;
	struct level l;

	memset(f, 0, sizeof(*f));
	if (jspan_array(info, "tcbLevels", &rest))
		return -1;
	while ((more = jspan_item(&rest, &item)) == 1 && !f->all_fit) {
		if (level_read(item, td, &l))
			return -1;
		if (!f->any++)
			f->first = l;
		if (!at_least(p->pck.component, l.sgx, 0) || p->pck.pcesvn < l.pcesvn)
			continue;
		if (!f->sgx_fits++)
			f->sgx = l;
		if (td && !at_least(tee_tcb_svn(p), l.tdx, tee_tcb_svn(p)[1] ? 2 : 0))
			continue;
		f->all = l;
		f->all_fit = 1;
	}
	return more < 0 || !f->any ? -1 : 0;
}

static int configuration_needed(enum tcb_status s)
{
	return s == TCB_CONFIGURATION || s == TCB_CONFIGURATION_AND_SW_HARDENING ||
	       s == TCB_OUT_OF_DATE_CONFIGURATION;
}

/* A part (quoting enclave, TDX module) that is behind pulls the whole down. */
static enum tcb_status converge(enum tcb_status whole, enum tcb_status part)
{
	if (part == TCB_REVOKED || whole == TCB_REVOKED)
		return TCB_REVOKED;
	if (part == TCB_NOT_SUPPORTED || whole == TCB_NOT_SUPPORTED)
		return TCB_NOT_SUPPORTED;
	if (part != TCB_OUT_OF_DATE)
		return whole;
	return configuration_needed(whole) ? TCB_OUT_OF_DATE_CONFIGURATION : TCB_OUT_OF_DATE;
}

/* Whether the platform now runs the newest module, so that only this TD is old: tee_tcb_svn2 is of now,
 * tee_tcb_svn of the TD's launch. 1, 0 or -1. */
static int platform_newest(const struct platform *p, struct span info, const struct found *f)
{
	const uint8_t *now = p->quote->body + TD10_BODY; /* tee_tcb_svn2 */
	struct span module, rest, item, tcb;
	uint64_t svn;
	int found;

	if (now[2] < f->first.tdx[2])
		return 0;
	if (!now[1])
		return now[0] >= f->first.tdx[0];
	found = module_find(info, now[1], &module);
	if (found != 1)
		return found;
	if (jspan_array(module, "tcbLevels", &rest) || jspan_item(&rest, &item) != 1 ||
	    jspan_object(item, "tcb", &tcb) || jspan_number(tcb, "isvsvn", 65535, &svn))
		return -1;
	return now[0] >= svn;
}

static int relaunch(struct attest_result *r, const struct platform *p, struct span info,
		    const struct found *f)
{
	enum tcb_status sgx = f->sgx.status;
	int newest;

	if (!p->quote->td15 || r->module_level != TCB_OUT_OF_DATE || r->qe_level != TCB_UP_TO_DATE ||
	    (r->tcb_all != TCB_OUT_OF_DATE && r->tcb_all != TCB_OUT_OF_DATE_CONFIGURATION) ||
	    (sgx != TCB_UP_TO_DATE && sgx != TCB_SW_HARDENING && sgx != TCB_CONFIGURATION &&
	     sgx != TCB_CONFIGURATION_AND_SW_HARDENING))
		return 0;
	newest = platform_newest(p, info, f);
	if (newest == 1)
		r->tcb_all = configuration_needed(sgx) || configuration_needed(r->tcb_all)
				 ? TCB_TD_RELAUNCH_CONFIGURATION
				 : TCB_TD_RELAUNCH;
	return newest < 0 ? -1 : 0;
}

int tcb_levels_judge(struct attest_result *r, const struct platform *p, struct span info)
{
	struct span module;
	struct found f;

	if (levels_scan(info, p, &f))
		return bad_info(r, "tcbLevels");
	r->tcb_level = f.all_fit ? f.all.status : TCB_NOT_SUPPORTED;
	r->tcb_all = r->tcb_level;
	if (f.all_fit)
		advisories_add(r, f.all.json);
	if (p->quote->td && tee_tcb_svn(p)[1]) {
		if (module_find(info, tee_tcb_svn(p)[1], &module) != 1 ||
		    isvsvn_level(module, tee_tcb_svn(p)[0], &r->module_level))
			return bad_info(r, "tdxModuleIdentities");
		r->tcb_all = converge(r->tcb_all, r->module_level);
	}
	if (relaunch(r, p, info, &f))
		return bad_info(r, "tdxModuleIdentities");
	r->tcb_all = converge(r->tcb_all, r->qe_level);
	return 0;
}
