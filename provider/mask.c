/* SPDX-License-Identifier: Apache-2.0 */
/* Weight masks B, one for each (model owner, epoch, plan): expanded once by a job, shared by sessions, kept
 * while memory lasts. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "provider/parts.h"

static void mask_destroy(struct mask *m)
{
	if (m->layers)
		layers_free(m->layers, m->program);
	if (m->program)
		program_free(m->program);
	if (m->plan)
		plan_free(m->plan);
	secret_free(m->arena);
	free(m);
}

static void mask_remove(struct provider *p, struct mask *m)
{
	struct mask **at = &p->masks;

	while (*at && *at != m)
		at = &(*at)->next;
	if (*at)
		*at = m->next;
	p->mask_bytes -= m->bytes;
	m->removed = 1;
	if (!m->busy && !m->refs)
		mask_destroy(m);
}

void mask_unref(struct mask *m)
{
	m->refs--;
	if (m->removed && !m->refs && !m->busy)
		mask_destroy(m);
}

void mask_free_all(struct provider *p)
{
	while (p->masks)
		mask_remove(p, p->masks);
}

static void mask_run(struct job *job)
{
	struct mask *m = (struct mask *)job;

	if (program_mask(&m->layers, m->program, m->seed, &m->err) < 0)
		m->layers = NULL;
}

static void mask_done(struct job *job)
{
	struct mask *m = (struct mask *)job;
	struct provider *p = m->provider;

	m->busy = 0;
	secret_free(m->arena);
	m->arena = NULL;
	m->seed = NULL;
	m->refs++; /* sessions that end here must not free it under our feet */
	pairing_masked(p, m);
	if (!m->layers && !m->removed)
		mask_remove(p, m);
	mask_unref(m);
	if (!p->gone)
		tickets_work(p);
	provider_job_done(p);
}

/* Bytes of B as kernels hold it, about; UINT64_MAX when it is above the limit anyway. */
static uint64_t mask_size(const struct program *program, uint64_t limit)
{
	const struct tape *tape = program->tape;
	uint64_t words = 0;

	for (unsigned i = 0; i < tape->n_rows; i++)
		for (unsigned t = 0; t < tape->rows[i].n_terms; t++) {
			uint64_t n = term_room(&tape->rows[i].terms[t]);

			if (n > limit / 8 || words + n > limit / 8)
				return UINT64_MAX;
			words += n;
		}
	return 8 * words + 4096;
}

/* Forgets masks that nobody uses, least recently used first, until `bytes` more fit. */
static int make_room(struct provider *p, uint64_t bytes, struct err *e)
{
	if (bytes > p->options.mask_bytes)
		return err_set(e, ERR_PEER,
			       "the weights' mask is larger than the %llu bytes that the provider keeps",
			       (unsigned long long)p->options.mask_bytes);
	while (p->mask_bytes > p->options.mask_bytes - bytes) {
		struct mask *oldest = NULL;

		for (struct mask *m = p->masks; m; m = m->next)
			if (!m->refs && !m->busy && (!oldest || m->used_at < oldest->used_at))
				oldest = m;
		if (!oldest)
			return err_set(e, ERR_PEER,
				       "the provider's memory for weight masks is in use by other models");
		mask_remove(p, oldest);
	}
	return 0;
}

static int mask_new(struct provider *p, struct mask **mask, struct end *end, struct err *e)
{
	struct mask *m = calloc(1, sizeof(*m));

	if (!m)
		return err_set(e, ERR_ENV, "the provider is out of memory");
	m->job = (struct job){mask_run, mask_done, 0};
	memcpy(m->fingerprint, end->channel->fingerprint, 32);
	memcpy(m->epoch, end->epoch, 16);
	memcpy(m->digest, end->digest, 32);
	m->plan = end->plan;
	end->plan = NULL;
	m->arena = end->arena;
	m->seed = end->seed;
	end->arena = NULL;
	end->seed = NULL;
	if (program_new(&m->program, &m->plan->tape, e) < 0 ||
	    make_room(p, m->bytes = mask_size(m->program, p->options.mask_bytes), e) < 0) {
		mask_destroy(m);
		return -1;
	}
	p->mask_bytes += m->bytes;
	m->provider = p;
	m->next = p->masks;
	p->masks = m;
	*mask = m;
	return 0;
}

static struct mask *mask_find(const struct provider *p, const struct end *end)
{
	struct mask *m = p->masks;

	while (m && !(same_bytes(m->fingerprint, end->channel->fingerprint, 32) &&
		      same_bytes(m->epoch, end->epoch, 16) && same_bytes(m->digest, end->digest, 32)))
		m = m->next;
	return m;
}

int mask_get(struct provider *p, struct mask **mask, struct end *end, struct err *e)
{
	struct mask *m = mask_find(p, end);
	uint8_t hash[32];

	/* Kept instead of the seed, to see that an epoch has one mask only. A digest of 256 random bits says
	 * nothing else. */
	crypto_generichash(hash, sizeof(hash), end->seed, PRG_SEED_BYTES, NULL, 0);
	if (m && !same_bytes(m->seed_hash, hash, 32))
		return error_of(e, end->channel, "named two weight masks for one epoch");
	if (m) {
		secret_free(end->arena);
		end->arena = NULL;
		end->seed = NULL;
		plan_free(end->plan);
		end->plan = NULL;
	} else {
		if (mask_new(p, &m, end, e) < 0)
			return -1;
		memcpy(m->seed_hash, hash, 32);
		m->busy = 1;
	}
	m->refs++;
	m->used_at = ++p->clock;
	if (m->busy && !m->submitted) {
		m->submitted = 1;
		provider_submit(p, &m->job);
	}
	if (!m->busy && !m->layers) {
		*e = m->err;
		mask_unref(m);
		return err_set(e, ERR_ENV, "the provider could not expand the weights' mask");
	}
	*mask = m;
	return 0;
}
