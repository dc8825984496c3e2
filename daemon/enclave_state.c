/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC "obscura-state-03"
#define MAGIC (sizeof(STATE_MAGIC) - 1)
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define FIXED (MAGIC + 8 + NONCE)

_Static_assert(STATE_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key is the cipher's");

static void put64(uint8_t *p, uint64_t x)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(x >> 8 * i);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t x = 0;

	for (int i = 7; i >= 0; i--)
		x = x << 8 | p[i];
	return x;
}

/* ---- floors ---- */

static const struct state_floor *find(const struct enclave_state *s, struct span name)
{
	for (unsigned i = 0; i < s->n; i++)
		if (strlen(s->names[i].name) == name.n && !memcmp(s->names[i].name, name.p, name.n))
			return &s->names[i];
	return NULL;
}

uint64_t state_floor(const struct enclave_state *s, struct span name)
{
	const struct state_floor *f = find(s, name);

	return f ? f->floor : 0;
}

int state_knows(const struct enclave_state *s, struct span name)
{
	return find(s, name) != NULL;
}

int state_allows(const struct enclave_state *s, struct span name, uint64_t version, struct err *e)
{
	uint64_t floor = state_floor(s, name);

	if (version >= floor)
		return 0;
	return err_set(
	    e, ERR_INPUT,
	    "version %llu of %.*s is below %llu, the least that was accepted: models do not go back",
	    (unsigned long long)version, (int)name.n, (const char *)name.p, (unsigned long long)floor);
}

int state_raise(struct enclave_state *s, struct span name, uint64_t floor, struct err *e)
{
	struct state_floor *f = (struct state_floor *)find(s, name);

	if (!f && (s->n == STATE_NAMES || !name.n || name.n > SEAL_NAME_MAX || memchr(name.p, 0, name.n)))
		return err_set(
		    e, ERR_INPUT,
		    "this enclave remembers the versions of %d models, of at most %d bytes of name",
		    STATE_NAMES, SEAL_NAME_MAX);
	if (!f) {
		f = &s->names[s->n++];
		memset(f, 0, sizeof(*f));
		memcpy(f->name, name.p, name.n);
	}
	if (f->floor < floor)
		f->floor = floor;
	return 0;
}

int state_accept(struct enclave_state *s, const struct release *r, struct err *e)
{
	if (s->pinned && memcmp(s->owner, r->file.owner.p, SEAL_OWNER))
		return err_set(
		    e, ERR_PEER,
		    "this enclave has accepted another owner: release with that owner's --seal-key, or "
		    "start it anew without its sealed state");
	if (r->file.version < r->floor)
		return err_set(e, ERR_INPUT, "version %llu is below the floor %llu that was signed for it",
			       (unsigned long long)r->file.version, (unsigned long long)r->floor);
	if (state_allows(s, r->file.name, r->file.version, e) || state_raise(s, r->file.name, r->floor, e))
		return -1;
	s->pinned = 1;
	memcpy(s->owner, r->file.owner.p, SEAL_OWNER);
	s->head_n = r->keep ? r->file.head.n : 0;
	s->said_n = r->keep ? r->said.n : 0;
	sodium_memzero(s->key, sizeof(s->key));
	if (!r->keep)
		return 0;
	memcpy(s->said, r->said.p, s->said_n);
	memcpy(s->head, r->file.head.p, s->head_n);
	memcpy(s->key, r->key.p, SEAL_KEY);
	return 0;
}

/* ---- bytes: pinned 0 or 1 · owner 32 · list u64 · head (span) · key 32 and what was signed (span) when
 * there is a head · names: span, floor ---- */

uint8_t *state_pack(const struct enclave_state *s, size_t *n)
{
	size_t at = 1 + SEAL_OWNER + 8,
	       most = at + 4 + s->head_n + SEAL_KEY + 4 + s->said_n + s->n * (4 + SEAL_NAME_MAX + 8);
	uint8_t *p = malloc(most);

	if (!p)
		return NULL;
	p[0] = (uint8_t)s->pinned;
	memcpy(p + 1, s->owner, SEAL_OWNER);
	put64(p + 1 + SEAL_OWNER, s->list);
	at += enclave_put(p + at, (struct span){s->head, s->head_n});
	if (s->head_n) {
		memcpy(p + at, s->key, SEAL_KEY);
		at += SEAL_KEY;
		at += enclave_put(p + at, (struct span){s->said, s->said_n});
	}
	for (unsigned i = 0; i < s->n; i++) {
		const struct state_floor *f = &s->names[i];

		at += enclave_put(p + at, (struct span){(const uint8_t *)f->name, strlen(f->name)});
		put64(p + at, f->floor);
		at += 8;
	}
	*n = at;
	return p;
}

static int take(struct span *rest, size_t n, const uint8_t **p)
{
	if (rest->n < n)
		return -1;
	*p = rest->p;
	rest->p += n;
	rest->n -= n;
	return 0;
}

static int read_names(struct span rest, struct enclave_state *s)
{
	const uint8_t *floor;
	struct span name;
	struct err e = {0};

	while (rest.n)
		if (enclave_take(&rest, &name) || take(&rest, 8, &floor) || find(s, name) ||
		    state_raise(s, name, get64(floor), &e))
			return -1;
	return 0;
}

int state_read(struct span bytes, struct enclave_state *s)
{
	const uint8_t *first, *owner, *list, *key = NULL;
	struct span rest = bytes, head, said = {NULL, 0};
	struct release r;
	int genuine;

	memset(s, 0, sizeof(*s));
	if (take(&rest, 1, &first) || *first > 1 || take(&rest, SEAL_OWNER, &owner) ||
	    take(&rest, 8, &list) || enclave_take(&rest, &head) || head.n > SEAL_HEAD_MAX)
		return -1;
	if (head.n && (seal_read_head(head, &r.file) || r.file.box.n || take(&rest, SEAL_KEY, &key) ||
		       enclave_take(&rest, &said) || said.n > RELEASE_SAID ||
		       release_read_said(said, &r, &genuine) || !genuine || !r.keep))
		return -1;
	s->pinned = *first;
	memcpy(s->owner, owner, SEAL_OWNER);
	s->list = get64(list);
	s->head_n = head.n;
	if (head.n) {
		memcpy(s->head, head.p, head.n);
		memcpy(s->key, key, SEAL_KEY);
		memcpy(s->said, said.p, said.n);
		s->said_n = said.n;
	}
	return read_names(rest, s);
}

/* ---- sealed ---- */

int state_file_read(struct span file, struct state_file *f)
{
	struct span rest;

	if (file.n < FIXED || file.n > STATE_MAX || memcmp(file.p, STATE_MAGIC, MAGIC))
		return -1;
	f->counter = get64(file.p + MAGIC);
	f->nonce = (struct span){file.p + MAGIC + 8, NONCE};
	rest = (struct span){file.p + FIXED, file.n - FIXED};
	if (enclave_take(&rest, &f->wrapped) || rest.n < TAG)
		return -1;
	f->head = (struct span){file.p, file.n - rest.n};
	f->box = rest;
	return 0;
}

/* head ‖ authority; new. */
static uint8_t *associated(struct span head, struct span authority)
{
	uint8_t *p = malloc(head.n + authority.n + 1);

	if (p) {
		memcpy(p, head.p, head.n);
		memcpy(p + head.n, authority.p, authority.n);
	}
	return p;
}

int state_seal(const struct enclave_state *s, const uint8_t key[STATE_KEY], struct span wrapped,
	       uint64_t counter, struct span authority, uint8_t **file, size_t *n, struct err *e)
{
	size_t head = FIXED + enclave_put(NULL, wrapped), plain_n = 0;
	uint8_t *plain = state_pack(s, &plain_n), *p = malloc(head + plain_n + TAG), *also = NULL;

	*file = NULL;
	*n = head + plain_n + TAG;
	if (p) {
		memcpy(p, STATE_MAGIC, MAGIC);
		put64(p + MAGIC, counter);
		randombytes_buf(p + MAGIC + 8, NONCE);
		enclave_put(p + FIXED, wrapped);
		also = associated((struct span){p, head}, authority);
	}
	if (plain && also && *n <= STATE_MAX) {
		crypto_aead_xchacha20poly1305_ietf_encrypt(p + head, NULL, plain, plain_n, also,
							   head + authority.n, NULL, p + MAGIC + 8, key);
		*file = p;
		p = NULL;
	}
	free(p);
	free(also);
	seal_free(plain, plain_n);
	return *file ? 0 : err_set(e, ERR_ENV, "the enclave's state cannot be sealed: out of memory");
}

int state_open(struct enclave_state *s, const uint8_t key[STATE_KEY], const struct state_file *f,
	       struct span authority, struct err *e)
{
	size_t n = f->box.n - TAG;
	uint8_t *plain = malloc(n + 1), *also = associated(f->head, authority);
	int bad = !plain || !also ||
		  crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, f->box.p, f->box.n, also,
							     f->head.n + authority.n, f->nonce.p, key) ||
		  state_read((struct span){plain, n}, s);

	free(also);
	seal_free(plain, n);
	return bad ? err_set(e, ERR_INPUT,
			     "the sealed state was changed, or belongs to another TPM, authority, access "
			     "rules or owners")
		   : 0;
}
