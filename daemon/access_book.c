/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts, and what the rules say of them; no file, no log. Also inside the enclave. */
#include "daemon/access_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- accounts ---- */

struct account *book_account(struct access_book *a, const char *name, const char *model)
{
	struct account *at = a->accounts;

	/* host names have no case: nobody has two accounts by writing one differently */
	while (at && (strcasecmp(at->name, name) != 0 || strcmp(at->model, model) != 0))
		at = at->next;
	if (at || !(at = calloc(1, sizeof(*at))))
		return at;
	snprintf(at->name, sizeof(at->name), "%s", name);
	snprintf(at->model, sizeof(at->model), "%s", model);
	at->next = a->accounts;
	a->accounts = at;
	return at;
}

static uint64_t in_minute(const struct account *at, uint64_t now_us)
{
	return (uint64_t)llround(rate_read(&at->minute, now_us) * RATE_SECONDS);
}

static int lists_model(const struct access_rule *rule, const char *model)
{
	for (size_t i = 0; i < rule->models.n; i++)
		if (!strcmp(rule->models.items[i], model))
			return 1;
	return !rule->models.n;
}

struct used {
	uint64_t minute, day;
};

static struct used used_of(const struct access_book *a, const struct access_rule *rule, const char *name,
			   const struct access_clock *clock)
{
	struct used used = {0};

	for (const struct account *at = a->accounts; at; at = at->next) {
		if (strcasecmp(at->name, name) != 0 || !lists_model(rule, at->model))
			continue;
		used.minute += in_minute(at, clock->now_us);
		used.day += at->day == clock->wall / DAY_SECONDS ? at->images : 0;
	}
	return used;
}

int book_add(struct access_book *a, const char *name, const char *model, uint64_t n,
	     const struct access_clock *clock)
{
	struct account *at = book_account(a, name, model);

	if (!at)
		return -1;
	if (at->day != clock->wall / DAY_SECONDS) {
		at->day = clock->wall / DAY_SECONDS;
		at->images = 0;
	}
	at->images += n;
	rate_add(&at->minute, clock->now_us, n);
	return 0;
}

const char *access_first_name(const char *names, char *out, size_t bytes)
{
	snprintf(out, bytes, "%.*s", (int)strcspn(names, "\n"), names);
	return out;
}

/* ---- judgement ---- */

/* The rule for this data owner, model and model owner, and the account that it counts for; with no file: any.
 */
const struct access_rule *book_rule(const struct access_book *a, const char *names, const char *with,
				    const char *model, char *account, size_t bytes)
{
	static const struct access_rule any;
	const char *pattern, *other, *name;
	size_t n, m;

	access_first_name(names, account, bytes);
	if (!a->list.n)
		return &any;
	for (size_t i = 0; i < a->list.n; i++) {
		const struct access_rule *rule = &a->list.all[i];

		name = access_fits(&rule->who, names, &pattern, &n);
		if (!name || !lists_model(rule, model) ||
		    (rule->with.n && (!with || !access_fits(&rule->with, with, &other, &m))))
			continue;
		if (pattern[0] != '*')
			snprintf(account, bytes, "%.*s", (int)n, name);
		return rule;
	}
	return NULL;
}

const char *book_we(const struct access_book *a)
{
	return a->self == ROLE_M ? "model owner" : "provider";
}

int book_may(const struct access_book *a, const struct access_rule *rule, const struct access_ask *ask,
	     const char *account, struct err *e)
{
	if (!rule)
		return err_set(e, ERR_PEER,
			       "%s may not use model %s%s%s; the %s's operator can allow it (access rules)",
			       account, ask->model, ask->with_from ? " of " : "",
			       ask->with_from ? ask->with_from : "", book_we(a));
	if (rule->label_only && ask->reveal != REVEAL_LABEL)
		return err_set(e, ERR_PEER,
			       "%s gets only labels of model %s, no scores; ask with --reveal label", account,
			       ask->model);
	return 0;
}

struct span {
	const char *name, *used, *again;
};
static const struct span minute = {"minute", "were in the last one", "within a minute"};
static const struct span day = {"day", "are used", "after midnight UTC"};

/* How many of n a limit leaves, 0: there is none. Fewer than n: why says it. */
static uint32_t left_of(const struct access_book *a, const struct access_ask *ask, const char *account,
			const struct span *span, uint64_t limit, uint64_t used, uint32_t n, struct err *why)
{
	uint64_t left = limit > used ? limit - used : 0;

	if (!limit || left >= n)
		return n;
	err_set(why, ERR_PEER,
		"%s may use %llu %s a %s of model %s, %llu %s (%u asked for); try again %s, or ask the %s's "
		"operator for more",
		account, (unsigned long long)limit, a->self == ROLE_M ? "images" : "tickets", span->name,
		ask->model, (unsigned long long)used, span->used, ask->n, span->again, book_we(a));
	return (uint32_t)left;
}

uint32_t book_left(const struct access_book *a, const struct access_rule *rule, const struct access_ask *ask,
		   const char *account, const struct access_clock *clock, struct err *why)
{
	struct used used = used_of(a, rule, account, clock);
	uint32_t n = ask->n;

	n = left_of(a, ask, account, &day, rule->per_day, used.day, n, why);
	n = left_of(a, ask, account, &minute, rule->per_minute, used.minute, n, why);
	return ask->whole && n < ask->n ? 0 : n;
}

void book_free(struct access_book *a)
{
	while (a->accounts) {
		struct account *at = a->accounts;

		a->accounts = at->next;
		free(at);
	}
	access_list_free(&a->list);
}
