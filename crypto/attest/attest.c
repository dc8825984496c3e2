/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences of the tables, and the demands of a policy on fields. */
#include "crypto/attest/parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct verdict_row {
	const char *name, *sentence;
} verdict_rows[] = {
#define VERDICT(code, sentence) {#code, sentence},
#include "crypto/attest/verdict.def"
#undef VERDICT
};

static const struct status_row {
	const char *word, *advice;
} status_rows[] = {
    {"-", "not judged: there is no collateral, or this kind of evidence has no such level"},
#define TCB_STATUS(name, word, advice) {word, advice},
#include "crypto/attest/tcb_status.def"
#undef TCB_STATUS
};

static const char *const allow_words[] = {
#define ALLOW(name, word, what) word,
#include "crypto/attest/allow.def"
#undef ALLOW
};

static const struct field_row {
	const char *word;
	uint8_t bytes, identity;
	int16_t offset[ATTEST_BODY_SIM + 1]; /* by enum attest_body */
	enum attest_verdict mismatch;
} field_rows[] = {
#define FIELD(name, word, bytes, snp, sgx, td, sim)                                                          \
	{word, bytes, 0, {-1, snp, sgx, td, sim}, ATTEST_WANT_##name},
#define IDENTITY(name, word, bytes, snp, sgx, td, sim)                                                       \
	{word, bytes, 1, {-1, snp, sgx, td, sim}, ATTEST_WANT_##name},
#include "crypto/attest/field.def"
};

int attest_accepted(enum attest_verdict v)
{
	return v == ATTEST_OK || v == ATTEST_SIMULATED;
}

const char *attest_verdict_name(enum attest_verdict v)
{
	return (unsigned)v < ATTEST_VERDICTS ? verdict_rows[v].name : "?";
}

const char *attest_verdict_sentence(enum attest_verdict v)
{
	return (unsigned)v < ATTEST_VERDICTS ? verdict_rows[v].sentence : "?";
}

const char *attest_allow_word(enum attest_allow a)
{
	return (unsigned)a < ATTEST_ALLOWS ? allow_words[a] : "?";
}

const char *tcb_status_word(enum tcb_status s)
{
	return (unsigned)s < TCB_STATUSES ? status_rows[s].word : "?";
}

const char *tcb_status_advice(enum tcb_status s)
{
	return (unsigned)s < TCB_STATUSES ? status_rows[s].advice : "?";
}

enum tcb_status tcb_status_find(const char *word, size_t n)
{
	for (unsigned s = 1; s < TCB_STATUSES; s++)
		if (strlen(status_rows[s].word) == n && !memcmp(status_rows[s].word, word, n))
			return (enum tcb_status)s;
	return TCB_NONE;
}

const char *attest_field_word(enum attest_field f)
{
	return (unsigned)f < ATTEST_FIELDS ? field_rows[f].word : "?";
}

size_t attest_field_bytes(enum attest_field f)
{
	return (unsigned)f < ATTEST_FIELDS ? field_rows[f].bytes : 0;
}

const uint8_t *attest_field_get(const struct attest_result *r, enum attest_field f)
{
	int at = (unsigned)f < ATTEST_FIELDS ? field_rows[f].offset[r->kind] : -1;

	return at < 0 || (size_t)at + field_rows[f].bytes > r->body_n ? NULL : r->body + at;
}

int bytes_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	while (n--)
		any |= *p++;
	return !any;
}

char *bytes_hex(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = 0;
	return out;
}

void attest_begin(struct attest_result *r)
{
	memset(r, 0, sizeof(*r));
	r->verdict = ATTEST_UNCHECKED;
	r->fresh_until = INT64_MAX;
}

int attest_reject(struct attest_result *r, enum attest_verdict v, const char *format, ...)
{
	va_list arguments;

	r->verdict = v;
	va_start(arguments, format);
	vsnprintf(r->detail, sizeof(r->detail), format, arguments);
	va_end(arguments);
	return -1;
}

int attest_allows(const struct attest_policy *p, enum attest_allow a)
{
	return p->allow >> a & 1;
}

void attest_body_set(struct attest_result *r, enum attest_body kind, const uint8_t *body, size_t n)
{
	r->kind = kind;
	r->body_n = n < sizeof(r->body) ? n : sizeof(r->body);
	memcpy(r->body, body, r->body_n);
}

/* Whether one of the policy's values of this field is the evidence's; *first: a value to name in a refusal.
 */
static int matches(const struct attest_policy *p, enum attest_field f, const uint8_t *bytes,
		   const uint8_t **first)
{
	*first = NULL;
	for (size_t i = 0; i < p->n_values; i++) {
		if (p->values[i].field != f)
			continue;
		if (!memcmp(p->values[i].bytes, bytes, field_rows[f].bytes))
			return 1;
		if (!*first)
			*first = p->values[i].bytes;
	}
	return 0;
}

static int names_a_program(const struct attest_policy *p)
{
	for (size_t i = 0; i < p->n_values; i++)
		if (field_rows[p->values[i].field].identity)
			return 1;
	return 0;
}

static int mismatch(struct attest_result *r, const struct field_row *row, const uint8_t *want,
		    const uint8_t *got)
{
	char wanted[2 * ATTEST_FIELD_MAX + 1] = "none of this kind", received[2 * ATTEST_FIELD_MAX + 1];

	if (want)
		bytes_hex(wanted, want, row->bytes);
	return attest_reject(r, row->mismatch, "%s: expected %s, received %s", row->word, wanted,
			     bytes_hex(received, got, row->bytes));
}

int attest_check_values(struct attest_result *r, const struct attest_policy *p)
{
	int program = r->program_named = names_a_program(p);

	for (unsigned f = 0; f < ATTEST_FIELDS; f++) {
		const uint8_t *bytes = attest_field_get(r, (enum attest_field)f), *want;

		if (!bytes || matches(p, (enum attest_field)f, bytes, &want))
			continue;
		/* A policy that names programs of another kind of evidence only does not accept this one. */
		if (want || (program && field_rows[f].identity))
			return mismatch(r, &field_rows[f], want, bytes);
	}
	return 0;
}
