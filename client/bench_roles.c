/* SPDX-License-Identifier: Apache-2.0 */
/* One model in one way: processes of its own, so that memory is its own. */
#include <stdio.h>
#include <string.h>

#include "client/bench.h"

#define LINK_POOL_BYTES ((uint64_t)1 << 30)
#define POOL_MOST 256
#define ROLES 3

uint64_t bench_pool(const struct bench *b, const struct program *p)
{
	uint64_t ticket = p->corrections + p->delta + 1, fit = BENCH_POOL_BYTES / ticket,
		 most = LINK_POOL_BYTES / ticket;
	size_t batch = 1;

	for (size_t i = 0; b->lab && i < b->n_batches; i++)
		batch = b->batches[i] > batch ? b->batches[i] : batch;
	/* a link brings them slowly: a request of the largest batch leaves it half full, and none is made
	 * beside it */
	if (fit < 2 * batch)
		fit = 2 * batch < most ? 2 * batch : most;
	return fit < 4 ? 4 : fit > POOL_MOST ? POOL_MOST : fit;
}

/* Memory that the pool is allowed, in MiB. */
static uint64_t pool_mib(const struct bench *b, const struct program *p)
{
	uint64_t mib = 2 * bench_pool(b, p) * (p->corrections + p->delta + 1024) >> 20;

	return mib < 256 ? 256 : mib;
}

uint64_t bench_pool_low(uint64_t high)
{
	return high / 2;
}

/* Flags of all roles; the texts live here. */
struct flags {
	char high[48], low[48], memory[48], profile[ROLES][160];
	char he_set[16], he_bits[2][32], personality[40];
	struct bench_enclave enclave;
	const char *owner[9], *modeller[8], *provider[2];
	struct roles_flags roles;
};

static void set_flags(struct flags *f, const struct bench *b, const struct bench_setting *s)
{
	uint64_t pool = bench_pool(b, s->program);
	char path[128];
	int o = 3, m = 1;

	memset(f, 0, sizeof(*f));
	snprintf(f->high, sizeof(f->high), "--pool-high=%llu", (unsigned long long)pool);
	snprintf(f->low, sizeof(f->low), "--pool-low=%llu", (unsigned long long)bench_pool_low(pool));
	snprintf(f->memory, sizeof(f->memory), "--pool-memory=%llu",
		 (unsigned long long)pool_mib(b, s->program));
	f->owner[0] = f->high;
	f->owner[1] = f->low;
	f->owner[2] = f->modeller[0] = f->memory;
	f->roles = (struct roles_flags){f->provider, f->modeller, f->owner};
	if (s->personality != PERSONALITY_SMPC) {
		snprintf(f->personality, sizeof(f->personality), "--personalities=%s",
			 s->personality == PERSONALITY_ENCLAVE ? "clear" : personality_name(s->personality));
		f->modeller[m++] = f->personality;
	}
	if (s->personality == PERSONALITY_CLEAR || s->personality == PERSONALITY_ENCLAVE)
		f->owner[o++] = "--clear=on";
	if (s->he) {
		f->owner[o++] = s->he->offline ? "--he-offline=on" : "--he-offline=off";
		snprintf(f->he_set, sizeof(f->he_set), "--he-set=%s", he_params(s->he->set)->name);
		f->modeller[m++] = f->he_set;
		snprintf(f->he_bits[0], sizeof(f->he_bits[0]), "--he-weight-bits=%u", s->he->weight_bits);
		snprintf(f->he_bits[1], sizeof(f->he_bits[1]), "--he-activation-bits=%u",
			 s->he->activation_bits);
		f->modeller[m++] = f->he_bits[0];
		f->modeller[m++] = f->he_bits[1];
	}
	if (!b->profile)
		return;
	for (int i = 0; i < ROLES; i++)
		snprintf(f->profile[i], sizeof(f->profile[i]), "--profile=%s",
			 profile_path(&b->roles, i, path));
	f->owner[o] = f->profile[0];
	f->modeller[m] = f->profile[1];
	f->provider[0] = f->profile[2];
}

/* Adds flags to a list that has room for them. */
static void more_flags(const char **list, const char *const *more, int n)
{
	int at = 0;

	while (list[at])
		at++;
	memcpy(list + at, more, (size_t)n * sizeof(*more));
}

static int start_enclave(struct bench *b, struct flags *f, const struct bench_setting *s, struct err *e)
{
	if (s->personality != PERSONALITY_ENCLAVE)
		return 0;
	if (bench_enclave_provision(b, &f->enclave, s->model, e))
		return -1;
	more_flags(f->owner, f->enclave.owner, 3);
	return 0;
}

static int start_roles(struct bench *b, const struct bench_setting *s, struct err *e)
{
	struct flags f;

	set_flags(&f, b, s);
	if (s->personality == PERSONALITY_ENCLAVE) {
		if (bench_enclave_servers(b, &f.enclave, e))
			return -1;
		more_flags(f.modeller, f.enclave.modeller, 3);
	}
	bench_progress(b, "%s: starting", s->model->name);
	b->roles.alone = !personality_provider(s->personality);
	return roles_servers(&b->roles, s->model->file, &f.roles, e) ||
		       (!b->roles.alone && wire_learn(&b->roles, &b->link_port, e)) ||
		       start_enclave(b, &f, s, e) || roles_owners(&b->roles, s->owners, &f.roles, e)
		   ? -1
		   : 0;
}

int bench_with_roles(struct bench *b, struct bench_setting *s, bench_rows rows, struct err *e)
{
	struct load *l = NULL;
	int failed = bench_plan(s->model, s->optimise, &s->plan, &s->program, e) || start_roles(b, s, e) ||
		     load_open(&l, &b->roles, s->owners, e);

	if (!failed)
		load_personality(l, s->personality);
	failed = failed || rows(b, l, s, e);
	load_close(l);
	roles_end(&b->roles);
	b->roles.alone = 0;
	return failed ? err_context(e, "%s", s->model->name) : 0;
}

void bench_setting_free(struct bench_setting *s)
{
	if (s->program)
		program_free(s->program);
	if (s->plan)
		plan_free(s->plan);
}
