/* SPDX-License-Identifier: Apache-2.0 */
/* A verdict with what the evidence says, for people and as JSON. */
#include "client/attest.h"

#include <stdio.h>
#include <time.h>

#include "client/json.h"

static const char *const kinds[] = {"-", "snp", "sgx", "tdx", "sim"};

static char *hex(char *out, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
	return out;
}

static char *moment(char out[32], int64_t seconds)
{
	time_t t = (time_t)seconds;
	struct tm parts;

	if (seconds == INT64_MAX || !gmtime_r(&t, &parts) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts))
		*out = 0;
	return out;
}

static struct json_object *fields_json(const struct attest_result *r)
{
	struct json_object *o = json_object_new_object();
	char text[2 * ATTEST_FIELD_MAX + 1];

	for (unsigned i = 0; i < ATTEST_FIELDS; i++) {
		enum attest_field f = (enum attest_field)i;
		const uint8_t *bytes = attest_field_get(r, f);

		if (bytes)
			json_text(o, attest_field_word(f), hex(text, bytes, attest_field_bytes(f)));
	}
	return o;
}

static struct json_object *levels_json(const struct attest_result *r)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "tcb", tcb_status_word(r->tcb_level));
	json_text(o, "qe", tcb_status_word(r->qe_level));
	json_text(o, "module", tcb_status_word(r->module_level));
	json_text(o, "all", tcb_status_word(r->tcb_all));
	json_count(o, "evaluation", r->evaluation);
	json_text(o, "fmspc", r->fmspc);
	json_text(o, "advisories", r->advisories);
	return o;
}

static struct json_object *snp_json(const struct attest_result *r)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "key", r->vlek ? "VLEK" : "VCEK");
	json_count(o, "vmpl", r->vmpl);
	json_count(o, "guest_policy", r->guest_policy);
	json_count(o, "platform", r->platform);
	json_count(o, "fmc", r->tcb.fmc);
	json_count(o, "bootloader", r->tcb.bootloader);
	json_count(o, "tee", r->tcb.tee);
	json_count(o, "snp", r->tcb.snp);
	json_count(o, "microcode", r->tcb.microcode);
	return o;
}

static int show_json(const struct attest_result *r, struct err *e)
{
	struct json_object *o = json_object_new_object();
	char text[32];

	json_text(o, "verdict", attest_verdict_name(r->verdict));
	json_object_object_add(o, "accepted", json_object_new_boolean(attest_accepted(r->verdict)));
	json_text(o, "sentence", attest_verdict_sentence(r->verdict));
	json_text(o, "detail", r->detail);
	json_object_object_add(o, "program_named", json_object_new_boolean(r->program_named));
	json_object_object_add(o, "simulated", json_object_new_boolean(r->kind == ATTEST_BODY_SIM));
	json_text(o, "evidence", kinds[r->kind]);
	json_text(o, "product", r->product);
	json_count(o, "version", r->version);
	json_count(o, "bytes", r->evidence_n);
	json_text(o, "valid_until", moment(text, r->fresh_until));
	json_object_object_add(o, "fields", fields_json(r));
	if (r->kind == ATTEST_BODY_SNP)
		json_object_object_add(o, "snp", snp_json(r));
	if (r->kind == ATTEST_BODY_SGX || r->kind == ATTEST_BODY_TD)
		json_object_object_add(o, "levels", levels_json(r));
	return json_line(o, e);
}

static void show_levels(const struct attest_result *r)
{
	printf("  patch level: %s (platform %s, quoting enclave %s, TDX module %s)\n",
	       tcb_status_word(r->tcb_all), tcb_status_word(r->tcb_level), tcb_status_word(r->qe_level),
	       tcb_status_word(r->module_level));
	printf("  that means: %s\n", tcb_status_advice(r->tcb_all));
	if (*r->fmspc)
		printf("  platform: FMSPC %s%s%s\n", r->fmspc, *r->advisories ? ", advisories " : "",
		       r->advisories);
}

static void show_snp(const struct attest_result *r)
{
	printf("  firmware: fmc %u, bootloader %u, tee %u, snp %u, microcode %u; key %s, VMPL %u\n",
	       r->tcb.fmc, r->tcb.bootloader, r->tcb.tee, r->tcb.snp, r->tcb.microcode,
	       r->vlek ? "VLEK" : "VCEK", r->vmpl);
	printf("  guest policy 0x%llx, platform 0x%llx\n", (unsigned long long)r->guest_policy,
	       (unsigned long long)r->platform);
}

static void show_text(const struct attest_result *r)
{
	char text[2 * ATTEST_FIELD_MAX + 1];

	printf("%s: %s: %s\n", attest_accepted(r->verdict) ? "accepted" : "rejected",
	       attest_verdict_name(r->verdict), attest_verdict_sentence(r->verdict));
	if (*r->detail)
		printf("  %s\n", r->detail);
	if (r->kind == ATTEST_BODY_NONE)
		return;
	if (attest_accepted(r->verdict) && !r->program_named)
		puts("  note: no policy names a program, so this may be any: compare the measurement");
	printf("  evidence: %s, version %u, %s; %zu bytes of it count\n", kinds[r->kind], r->version,
	       r->product, r->evidence_n);
	if (r->kind == ATTEST_BODY_SNP)
		show_snp(r);
	if (r->kind == ATTEST_BODY_SGX || r->kind == ATTEST_BODY_TD)
		show_levels(r);
	for (unsigned i = 0; i < ATTEST_FIELDS; i++) {
		const uint8_t *bytes = attest_field_get(r, (enum attest_field)i);

		if (bytes)
			printf("  %s %s\n", attest_field_word((enum attest_field)i),
			       hex(text, bytes, attest_field_bytes((enum attest_field)i)));
	}
	if (*moment(text, r->fresh_until))
		printf("  valid until %s\n", text);
}

int attest_show(const struct attest_result *r, int json, struct err *e)
{
	if (json)
		return show_json(r, e);
	show_text(r);
	return 0;
}
