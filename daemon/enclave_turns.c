/* SPDX-License-Identifier: Apache-2.0 */
/* Turns at evidence. Hardware takes its time for each report, and makes one after the other; so whoever has
 * taken least of it comes first, and with one certificate nobody has more than 1/SHARE of it for long. What
 * counts is time, not number: where evidence is cheap, as in simulation, nobody notices. */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "daemon/enclave_parts.h"

#define ACCOUNTS 256	/* more than there are places: one that nobody uses can always be had */
#define SHARE 4		/* of the time, as PLACES_OF_PEER is of the places */
#define BURST_S 20	/* so much may be owed: 5 s of reports at once */
#define SECOND 1000000u /* microseconds */

/* With t microseconds of reports, the moment that all is paid for moves by SHARE t: it lies `ahead` of now by
 * what is owed. */
struct account {
	uint8_t who[32];
	uint64_t paid_us;
	unsigned users; /* waiting, or having their turn */
};

struct waiter {
	struct waiter *next;
	const struct account *account;
};

/* Guarded by lock. Waiters: in the order in which they came. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t over;
	struct account accounts[ACCOUNTS], *now; /* now: whose turn it is; NULL: nobody's */
	struct waiter *first;
	uint64_t since_us;
} turns = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec / 1000;
}

static struct account *account_of(const uint8_t who[32])
{
	struct account *least = NULL;

	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct account *a = &turns.accounts[i];

		if (!memcmp(a->who, who, sizeof(a->who)))
			return a;
		if (!a->users && (!least || a->paid_us < least->paid_us))
			least = a;
	}
	if (least) {
		memcpy(least->who, who, sizeof(least->who));
		least->paid_us = 0;
	}
	return least;
}

/* Who has taken least; of several the one that came first. */
static const struct waiter *next_one(void)
{
	const struct waiter *best = turns.first;

	for (const struct waiter *w = best; w; w = w->next)
		if (w->account->paid_us < best->account->paid_us)
			best = w;
	return best;
}

static void stand_in_line(struct waiter *w)
{
	struct waiter **at = &turns.first;

	while (*at)
		at = &(*at)->next;
	*at = w;
}

static void leave_line(const struct waiter *w)
{
	struct waiter **at = &turns.first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

/* Seconds until it owes no more than it may; 0: it does not. */
static uint64_t must_wait_s(const struct account *a)
{
	uint64_t from_us = now_us() + (uint64_t)BURST_S * SECOND;

	return a->paid_us > from_us ? (a->paid_us - from_us) / SECOND + 1 : 0;
}

int turn_begin(const uint8_t who[32], struct err *e)
{
	struct waiter me = {0};
	struct account *a;
	uint64_t wait_s = 0;

	pthread_mutex_lock(&turns.lock);
	a = account_of(who);
	if (!a) {
		pthread_mutex_unlock(&turns.lock);
		return err_set(e, ERR_ENV, "too many ask for evidence");
	}
	a->users++;
	me.account = a;
	stand_in_line(&me);
	while (!(wait_s = must_wait_s(a)) && (turns.now || next_one() != &me))
		pthread_cond_wait(&turns.over, &turns.lock);
	leave_line(&me);
	if (wait_s) {
		a->users--;
	} else {
		turns.now = a;
		turns.since_us = now_us();
	}
	pthread_mutex_unlock(&turns.lock);
	if (!wait_s)
		return 0;
	return err_set(
	    e, ERR_PEER,
	    "with this certificate evidence is asked for too often; ask again in %llu s, or ask more "
	    "over one connection",
	    (unsigned long long)wait_s);
}

void turn_end(void)
{
	uint64_t now = now_us();
	struct account *a;

	pthread_mutex_lock(&turns.lock);
	a = turns.now;
	if (a->paid_us < turns.since_us)
		a->paid_us = turns.since_us;
	a->paid_us += now > turns.since_us ? SHARE * (now - turns.since_us) : 0;
	a->users--;
	turns.now = NULL;
	pthread_cond_broadcast(&turns.over);
	pthread_mutex_unlock(&turns.lock);
}
