/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles of the he personality: what jobs of the workers add up by row of the tape, and messages by round
 * trip. */
#include <stdlib.h>

#include "protocol/he_parts.h"
#include "protocol/op.h"

static const enum profile_what whats[HE_LAPS] = {
    [HE_LAP_REST] = PROFILE_COMPUTE,	    [HE_LAP_ENCRYPT] = PROFILE_ENCRYPT,
    [HE_LAP_TRANSFORM] = PROFILE_TRANSFORM, [HE_LAP_MULTIPLY] = PROFILE_MULTIPLY,
    [HE_LAP_MASK] = PROFILE_MASK,	    [HE_LAP_DECRYPT] = PROFILE_DECRYPT,
};

void he_profile_open(struct he_profile *p, const struct plan *plan)
{
	p->plan = plan;
	p->sum = profile_new(plan->tape.n_rows);
}

uint64_t *he_profile_begin(struct he_profile *p)
{
	if (p->sum && p->begun && !p->ns) /* memory is short: then this side's rows stay empty */
		p->ns = calloc((size_t)p->plan->tape.n_rows * HE_LAPS, sizeof(*p->ns));
	return p->ns;
}

void he_profile_job(struct he_profile *p)
{
	if (!p->ns)
		return;
	for (uint16_t row = 0; row < p->plan->tape.n_rows; row++)
		for (int lap = 0; lap < HE_LAPS; lap++) {
			uint64_t *ns = &p->ns[(size_t)row * HE_LAPS + (size_t)lap];

			profile_add(p->sum, whats[lap], row, *ns);
			*ns = 0;
		}
}

void he_profile_start(struct he_profile *p)
{
	if (p->ns)
		p->lap = profile_now();
}

static uint16_t row_of(const struct he_plan *hp, uint16_t level)
{
	for (uint16_t i = 0; i < hp->n_steps; i++)
		if (hp->steps[i].level == level)
			return hp->steps[i].row;
	return 0;
}

void he_profile_lap(struct he_profile *p, enum profile_what what, const struct he_plan *hp, uint16_t level)
{
	if (p->ns)
		profile_lap(p->sum, what, row_of(hp, level), &p->lap);
}

void he_profile_end(struct he_profile *p, size_t images)
{
	if (p->ns)
		profile_count(p->sum, PROFILE_COMPUTE, images);
	p->begun = 1;
}

static const char *row_name(const void *ctx, size_t row)
{
	const struct plan *plan = ctx;

	return ops[plan->tape.rows[row].kind]->name;
}

void he_profile_close(struct he_profile *p)
{
	if (p->ns)
		profile_write(p->sum, row_name, p->plan);
	profile_free(p->sum);
	free(p->ns);
	p->sum = NULL;
	p->ns = NULL;
}
