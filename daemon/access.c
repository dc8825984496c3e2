/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/access_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/audit.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/net.h"
#include "protocol/core.h"

#define SUMS_EVERY 4096 /* lines of the audit between two of sums */
#define REFUSALS_A_MINUTE                                                                                    \
	60 /* of one certificate are recorded: nobody fills the disk with what is refused                    \
	    */

/* Refusals of one certificate. */
struct refusals {
	struct refusals *next;
	uint8_t certificate[32];
	struct rate minute;
	uint64_t unrecorded; /* since the last that was recorded */
};

struct access_next {
	struct access_list list;
	struct audit *audit;
};

struct access {
	struct access_book book;
	struct audit *audit; /* NULL: none is kept */
	struct refusals *refusals;
	struct rules rules;
	struct access_status status;
};

/* ---- the record ---- */

static int on_sum(void *ctx, const struct audit_sum *part, struct err *e)
{
	struct access *a = ctx;
	struct account *at = book_account(&a->book, part->account, part->model);

	if (!at)
		return err_set(e, ERR_ENV, "out of memory for accounts");
	at->day = time(NULL) / DAY_SECONDS;
	at->images += part->images;
	return 0;
}

static int write_sums(struct access *a, time_t now, struct err *e)
{
	struct audit_sum *sums;
	size_t n = 0;
	int failed;

	for (const struct account *at = a->book.accounts; at; at = at->next)
		n++;
	sums = calloc(n + 1, sizeof(*sums));
	if (!sums)
		return err_set(e, ERR_ENV, "out of memory for the audit");
	n = 0;
	for (const struct account *at = a->book.accounts; at; at = at->next)
		if (at->images && at->day == now / DAY_SECONDS)
			sums[n++] = (struct audit_sum){at->name, at->model, at->images};
	failed = n ? audit_add_sums(a->audit, sums, n, now, e) : 0;
	free(sums);
	return failed;
}

static int record(struct access *a, const struct access_ask *ask, const char *event, const char *account,
		  uint32_t images, const char *why, time_t now, struct err *e)
{
	char peer[NAME_BYTES], with[NAME_BYTES];
	struct audit_row row = {.event = event,
				.peer = access_first_name(ask->who.names, peer, sizeof(peer)),
				.account = account,
				.from = ask->who.from,
				.with = ask->with ? access_first_name(ask->with, with, sizeof(with)) : NULL,
				.model = ask->model,
				.why = why,
				.certificate = ask->who.certificate,
				.session = ask->session,
				.ticket = ask->first,
				.images = images};

	if (!a->audit)
		return 0;
	if (audit_add(a->audit, &row, now, e))
		return -1;
	return audit_lines(a->audit) % SUMS_EVERY ? 0 : write_sums(a, now, e);
}

static struct refusals *refusals_of(struct access *a, const uint8_t certificate[32])
{
	struct refusals *r = a->refusals;

	while (r && memcmp(r->certificate, certificate, 32))
		r = r->next;
	if (r || !(r = calloc(1, sizeof(*r))))
		return r;
	memcpy(r->certificate, certificate, 32);
	r->next = a->refusals;
	a->refusals = r;
	return r;
}

/* Whether to record it; text: of those that were not recorded before it. */
static int may_record(struct access *a, const struct access_ask *ask, uint64_t now_us, char *text,
		      size_t bytes)
{
	struct refusals *r = ask->who.certificate ? refusals_of(a, ask->who.certificate) : NULL;

	text[0] = 0;
	if (!r)
		return 1;
	if (rate_read(&r->minute, now_us) * RATE_SECONDS >= REFUSALS_A_MINUTE - 0.5) {
		r->unrecorded++;
		return 0;
	}
	rate_add(&r->minute, now_us, 1);
	if (r->unrecorded)
		snprintf(text, bytes,
			 " (%llu refusals of this peer before it are not recorded: more than %d a minute)",
			 (unsigned long long)r->unrecorded, REFUSALS_A_MINUTE);
	r->unrecorded = 0;
	return 1;
}

static int refused(struct access *a, const struct access_ask *ask, const struct access_clock *clock,
		   const struct err *why)
{
	char text[sizeof(why->text) + 128], before[128], model[NAME_BYTES];
	struct access_ask shown = *ask;
	struct err ignored = {0};

	a->status.refused++;
	metrics_add(METRIC_access_refused_total, 1, METRIC_NO_LABELS);
	if (!may_record(a, ask, clock->now_us, before, sizeof(before)))
		return -1;
	snprintf(model, sizeof(model), "%s", ask->model); /* a stranger wrote it, of any length */
	shown.model = model;
	snprintf(text, sizeof(text), "%s%s", why->text, before);
	if (record(a, &shown, "refused", NULL, 0, text, clock->wall, &ignored))
		log_err(LOG_ERR, "audit", &ignored);
	return -1;
}

/* ---- judgement ---- */

static int may(const struct access *a, const struct access_rule *rule, const struct access_ask *ask,
	       const char *account, struct err *e)
{
	if (!rule)
		log_line(LOG_WARNING, "%s: no rule of %s lets it use model %s", ask->who.from,
			 a->book.list.path, ask->model);
	return book_may(&a->book, rule, ask, account, e);
}

int access_open(struct access *a, const struct access_ask *ask, const struct access_clock *clock,
		struct err *e)
{
	char account[NAME_BYTES];
	const struct access_rule *rule =
	    book_rule(&a->book, ask->who.names, ask->with, ask->model, account, sizeof(account));
	struct err why = {0};

	if (!may(a, rule, ask, account, &why))
		return 0;
	refused(a, ask, clock, &why);
	return err_set(e, why.code, "%s", why.text);
}

int access_lists(const struct access *a, const char *names, const char *model)
{
	char account[NAME_BYTES];

	return book_rule(&a->book, names, NULL, model, account, sizeof(account)) != NULL;
}

uint32_t access_use(struct access *a, const struct access_ask *ask, const struct access_clock *clock,
		    struct err *why)
{
	char account[NAME_BYTES];
	const struct access_rule *rule =
	    book_rule(&a->book, ask->who.names, ask->with, ask->model, account, sizeof(account));
	struct err e = {0};
	uint32_t n = 0;

	if (!may(a, rule, ask, account, why))
		n = book_left(&a->book, rule, ask, account, clock, why);
	if (!n) {
		if (ask->whole) /* a provider only holds tickets back, and asks again and again */
			refused(a, ask, clock, why);
		return 0;
	}
	/* What cannot be counted and recorded does not happen. */
	if (book_add(&a->book, account, ask->model, n, clock))
		err_set(&e, ERR_ENV, "the %s is out of memory", book_we(&a->book));
	if (e.code || record(a, ask, a->book.self == ROLE_M ? "inference" : "tickets", account, n, NULL,
			     clock->wall, &e)) {
		log_err(LOG_ERR, "audit", &e);
		*why = (struct err){0};
		err_set(why, ERR_PEER,
			"the %s cannot record what is used: its operator finds the reason in its log",
			book_we(&a->book));
		return 0;
	}
	a->status.images += n;
	return n;
}

/* ---- for sessions ---- */

static struct access_clock clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (struct access_clock){(uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000, time(NULL)};
}

/* A channel of this process is a connection (net.h). */
static struct access_ask ask_of(const struct use *u)
{
	const struct conn *d = (const struct conn *)u->data_owner, *m = (const struct conn *)u->model_owner;

	return (struct access_ask){.who = {conn_names(d), u->data_owner->name, u->data_owner->fingerprint},
				   .with = m ? conn_names(m) : NULL,
				   .with_from = m ? u->model_owner->name : NULL,
				   .model = u->model,
				   .reveal = u->reveal,
				   .session = u->session,
				   .first = u->first,
				   .n = u->n,
				   .whole = u->whole};
}

static int rules_open(void *ctx, const struct use *u, struct err *e)
{
	struct access_ask ask = ask_of(u);
	struct access_clock clock = clock_now();
	struct access *a = ctx;

	if (access_open(a, &ask, &clock, e))
		return -1;
	return a->book.self == ROLE_C ? record(a, &ask, "paired", NULL, 0, NULL, clock.wall, e) : 0;
}

static uint32_t rules_take(void *ctx, const struct use *u, struct err *why)
{
	struct access_ask ask = ask_of(u);
	struct access_clock clock = clock_now();

	return access_use(ctx, &ask, &clock, why);
}

const struct rules *access_rules(const struct access *a)
{
	return &a->rules;
}

void access_status(const struct access *a, struct access_status *s)
{
	*s = a->status;
	s->rules = a->book.list.n;
}

/* ---- life ---- */

/* Clients of the enclave end inside it, which enforces rules and revocations but can write no file: what
 * cannot be recorded is not promised. */
static int holds_everywhere(const struct config *c, enum frame_role self, struct err *e)
{
	if (self != ROLE_M || !c->audit || !c->audit[0] || !c->enclave_listen || !c->enclave_listen[0])
		return 0;
	return err_set(e, ERR_INPUT,
		       "enclave_listen: clients of the enclave are not seen by audit; run the enclave in a "
		       "model owner of its own, without that option");
}

static int read_rules(struct access_list *list, const struct config *c, enum frame_role self, struct err *e)
{
	if (holds_everywhere(c, self, e) || access_list_read(list, c->access, self, e))
		return -1;
	for (size_t i = 0; i < list->n; i++)
		if (list->all[i].per_day && !c->audit[0]) {
			err_set(e, ERR_INPUT,
				"%s:%u: per_day: needs the option audit = \"FILE\": there the count of a day "
				"survives a "
				"restart",
				list->path, list->all[i].line);
			access_list_free(list);
			return -1;
		}
	return 0;
}

int access_check(const struct config *c, enum frame_role self, struct err *e)
{
	struct access_list list;

	if (read_rules(&list, c, self, e))
		return -1;
	access_list_free(&list);
	return 0;
}

int access_read(struct access_next **next, const struct config *c, enum frame_role self, struct err *e)
{
	struct access_next *n = calloc(1, sizeof(*n));

	*next = NULL;
	if (!n)
		return err_set(e, ERR_ENV, "out of memory for rules");
	if (read_rules(&n->list, c, self, e) || (c->audit[0] && audit_open(&n->audit, c->audit, e))) {
		access_drop(n);
		return -1;
	}
	*next = n;
	return 0;
}

void access_drop(struct access_next *next)
{
	if (!next)
		return;
	access_list_free(&next->list);
	audit_close(next->audit);
	free(next);
}

void access_take(struct access *a, struct access_next *next)
{
	struct access_next old = {a->book.list, a->audit};
	struct err e = {0};

	a->book.list = next->list;
	a->audit = next->audit;
	*next = old;
	access_drop(next);
	/* A file that is new (it was rotated) starts with what is counted already. */
	if (a->audit && audit_was_empty(a->audit) && write_sums(a, time(NULL), &e))
		log_err(LOG_ERR, "audit", &e);
}

int access_reload(struct access *a, const struct config *c, struct err *e)
{
	struct access_next *next;

	if (access_read(&next, c, a->book.self, e))
		return -1;
	access_take(a, next);
	return 0;
}

static int count_today(struct access *a, const struct config *c, struct err *e)
{
	uint64_t bad = 0;

	if (c->audit[0] && audit_today(c->audit, time(NULL), on_sum, a, &bad, e))
		return -1;
	if (bad)
		log_line(LOG_WARNING, "%llu lines of the audit %s cannot be read and are not counted",
			 (unsigned long long)bad, c->audit);
	return 0;
}

int access_new(struct access **access, const struct config *c, enum frame_role self, struct err *e)
{
	struct access *a = calloc(1, sizeof(*a));

	*access = NULL;
	if (!a)
		return err_set(e, ERR_ENV, "out of memory for rules");
	a->book.self = self;
	a->rules = (struct rules){a, rules_open, rules_take};
	if (count_today(a, c, e) || access_reload(a, c, e)) {
		access_free(a);
		return -1;
	}
	*access = a;
	return 0;
}

void access_free(struct access *a)
{
	if (!a)
		return;
	while (a->refusals) {
		struct refusals *r = a->refusals;

		a->refusals = r->next;
		free(r);
	}
	book_free(&a->book);
	audit_close(a->audit);
	free(a);
}
