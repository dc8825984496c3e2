/* SPDX-License-Identifier: Apache-2.0 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/he.h"

#define PAIRS_MAX 16
#define KNOWN_MAX 64	/* about 0.3 MB each in set L */
#define KNOWN_OF_PEER 4 /* of one data owner */

static struct he_pair *pairs;
static struct he_known *knowns;

/* ---- the data owner's ---- */

static void pair_free(struct he_pair *p)
{
	he_key_free(p->key);
	free(p->public);
	free(p);
}

static int pair_make(struct he_pair *p, struct err *e)
{
	struct he_rng *rng = he_rng_new(NULL, e);
	struct he_work *work = he_work_new(p->set, 0, e);
	int r = -1;

	p->public = malloc(FRAME_HEADER + he_public_bytes(p->set));
	if (!p->public)
		err_set(e, ERR_ENV, "out of memory for keys");
	if (rng && work && p->public && (p->key = he_key_new(p->set, rng, e)))
		r = he_key_public(p->key, rng, work, p->public + FRAME_HEADER, e);
	if (!r)
		crypto_hash_sha256(p->digest, p->public + FRAME_HEADER, he_public_bytes(p->set));
	he_work_free(work);
	he_rng_free(rng);
	return r;
}

/* The oldest that nobody holds, when there are too many. */
static void prune_pairs(void)
{
	struct he_pair **oldest = NULL, *p;
	size_t n = 0;

	for (struct he_pair **at = &pairs; *at; at = &(*at)->next, n++)
		if (!(*at)->refs)
			oldest = at;
	if (n <= PAIRS_MAX || !oldest)
		return;
	p = *oldest;
	*oldest = p->next;
	pair_free(p);
}

struct he_pair *he_pair_get(enum he_set set, const uint8_t peer[32], struct err *e)
{
	struct he_pair *p;

	for (p = pairs; p; p = p->next)
		if (p->set == set && same_bytes(p->peer, peer, 32)) {
			p->refs++;
			return p;
		}
	p = calloc(1, sizeof(*p));
	if (!p) {
		err_set(e, ERR_ENV, "out of memory for keys");
		return NULL;
	}
	p->set = set;
	memcpy(p->peer, peer, 32);
	if (pair_make(p, e)) {
		pair_free(p);
		return NULL;
	}
	p->refs = 1;
	p->next = pairs;
	pairs = p;
	prune_pairs();
	return p;
}

void he_pair_drop(struct he_pair *p)
{
	if (p)
		p->refs--;
}

/* ---- the model owner's ---- */

static void known_free(struct he_known *k)
{
	he_public_free(k->pk);
	free(k);
}

/* One data owner cannot push out the keys of others. */
static void prune_known(const uint8_t peer[32])
{
	struct he_known **oldest = NULL, **oldest_of_peer = NULL, **out, *k;
	size_t n = 0, of_peer = 0;

	for (struct he_known **at = &knowns; *at; at = &(*at)->next, n++) {
		int his = same_bytes((*at)->peer, peer, 32);

		of_peer += his;
		if ((*at)->refs)
			continue;
		oldest = at;
		if (his)
			oldest_of_peer = at;
	}
	out = of_peer > KNOWN_OF_PEER ? oldest_of_peer : n > KNOWN_MAX ? oldest : NULL;
	if (!out)
		return;
	k = *out;
	*out = k->next;
	known_free(k);
}

struct he_known *he_known_find(enum he_set set, const uint8_t peer[32], const uint8_t digest[HE_DIGEST])
{
	for (struct he_known *k = knowns; k; k = k->next)
		if (k->set == set && same_bytes(k->digest, digest, HE_DIGEST) &&
		    same_bytes(k->peer, peer, 32)) {
			k->refs++;
			return k;
		}
	return NULL;
}

struct he_known *he_known_add(enum he_set set, const uint8_t peer[32], const uint8_t digest[HE_DIGEST],
			      const uint8_t *bytes, size_t n, struct err *e)
{
	struct he_known *k;
	uint8_t found[HE_DIGEST];

	crypto_hash_sha256(found, bytes, n);
	if (!same_bytes(found, digest, HE_DIGEST)) {
		err_set(e, ERR_PEER, "a public key whose digest is another than was announced");
		return NULL;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		err_set(e, ERR_ENV, "out of memory for a public key");
	if (!k || he_public_new(&k->pk, set, bytes, n, e)) {
		free(k);
		return NULL;
	}
	k->set = set;
	k->refs = 1;
	memcpy(k->peer, peer, 32);
	memcpy(k->digest, digest, HE_DIGEST);
	k->next = knowns;
	knowns = k;
	prune_known(peer);
	return k;
}

void he_known_drop(struct he_known *k)
{
	if (k)
		k->refs--;
}
