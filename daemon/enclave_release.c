/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_release.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FLOOR_MAGIC "obscura-floor-v1"
#define MAGIC (sizeof(FLOOR_MAGIC) - 1)
#define SIGNATURE crypto_sign_BYTES
#define STATEMENT (MAGIC + 8 + 1) /* and the name */

_Static_assert(ENCLAVE_RELEASE_KEY == crypto_box_PUBLICKEYBYTES &&
		   ENCLAVE_RELEASE_KEY == crypto_box_SECRETKEYBYTES,
	       "X25519");
_Static_assert(SEAL_KEY + 4 + SEAL_HEAD_MAX + 4 + SIGNATURE + STATEMENT + SEAL_NAME_MAX +
		       crypto_box_SEALBYTES <=
		   RELEASE_MAX,
	       "the longest release");

/* ---- the owner's side ---- */

static size_t write_statement(uint8_t *out, const struct sealed *s, uint64_t floor, int keep)
{
	memcpy(out, FLOOR_MAGIC, MAGIC);
	for (int i = 0; i < 8; i++)
		out[MAGIC + (size_t)i] = (uint8_t)(floor >> 8 * i);
	out[MAGIC + 8] = keep != 0;
	memcpy(out + STATEMENT, s->name.p, s->name.n);
	return STATEMENT + s->name.n;
}

/* plain: RELEASE_MAX bytes. */
static int write_plain(const uint8_t seed[SEAL_KEY], const struct sealed *s, uint64_t floor, int keep,
		       uint8_t *plain, size_t *n, struct err *e)
{
	uint8_t statement[STATEMENT + SEAL_NAME_MAX], text[SIGNATURE + sizeof(statement)], owner[SEAL_OWNER],
	    secret[crypto_sign_SECRETKEYBYTES];
	size_t size = write_statement(statement, s, floor, keep);
	int other;

	if (seal_owner(seed, owner, secret, e))
		return -1;
	other = memcmp(owner, s->owner.p, SEAL_OWNER) || seal_file_key(seed, s->head, plain, e);
	if (!other)
		crypto_sign(text, NULL, statement, size, secret);
	sodium_memzero(secret, sizeof(secret));
	if (other)
		return err_set(e, ERR_INPUT, "the model was sealed with another key (--seal-key)");
	*n = SEAL_KEY;
	*n += enclave_put(plain + *n, s->head);
	*n += enclave_put(plain + *n, (struct span){text, SIGNATURE + size});
	return 0;
}

int release_make(const uint8_t seed[SEAL_KEY], struct span head, uint64_t floor, int keep,
		 const uint8_t to[ENCLAVE_RELEASE_KEY], uint8_t **box, size_t *n, struct err *e)
{
	uint8_t plain[RELEASE_MAX];
	struct sealed s;
	size_t size = 0;
	int bad;

	*box = NULL;
	if (seal_read_head(head, &s))
		return err_set(e, ERR_INPUT, "this is not the head of a sealed model");
	bad = write_plain(seed, &s, floor, keep, plain, &size, e);
	if (!bad) {
		*n = size + crypto_box_SEALBYTES;
		*box = malloc(*n);
		bad = !*box ? err_set(e, ERR_ENV, "out of memory") : crypto_box_seal(*box, plain, size, to);
		if (bad && *box)
			err_set(e, ERR_PEER, "the enclave's release key is unusable");
	}
	sodium_memzero(plain, sizeof(plain));
	if (!bad)
		return 0;
	free(*box);
	*box = NULL;
	return -1;
}

/* ---- the enclave's side ---- */

/* The statement after its signature. */
static int read_statement(struct span text, struct release *r)
{
	if (text.n != SIGNATURE + STATEMENT + r->file.name.n)
		return -1;
	text.p += SIGNATURE;
	if (memcmp(text.p, FLOOR_MAGIC, MAGIC) || text.p[MAGIC + 8] > 1 ||
	    memcmp(text.p + STATEMENT, r->file.name.p, r->file.name.n))
		return -1;
	r->floor = 0;
	for (int i = 7; i >= 0; i--)
		r->floor = r->floor << 8 | text.p[MAGIC + (size_t)i];
	r->keep = text.p[MAGIC + 8];
	return r->floor > INT64_MAX ? -1 : 0;
}

int release_read(struct span plain, struct release *r, int *genuine)
{
	struct span rest, head, text;

	if (plain.n < SEAL_KEY)
		return -1;
	r->key = (struct span){plain.p, SEAL_KEY};
	rest = (struct span){plain.p + SEAL_KEY, plain.n - SEAL_KEY};
	if (enclave_take(&rest, &head) || enclave_take(&rest, &text) || rest.n ||
	    seal_read_head(head, &r->file) || r->file.box.n || read_statement(text, r))
		return -1;
	*genuine =
	    !crypto_sign_verify_detached(text.p, text.p + SIGNATURE, text.n - SIGNATURE, r->file.owner.p);
	return 0;
}

int release_open(struct span box, const uint8_t public_key[ENCLAVE_RELEASE_KEY],
		 const uint8_t secret_key[ENCLAVE_RELEASE_KEY], struct release *r, uint8_t **plain, size_t *n,
		 struct err *e)
{
	int genuine = 0;

	*plain = NULL;
	if (box.n <= crypto_box_SEALBYTES || box.n > RELEASE_MAX)
		return err_set(e, ERR_PEER, "a release of %zu bytes is malformed", box.n);
	*n = box.n - crypto_box_SEALBYTES;
	*plain = malloc(*n);
	if (!*plain)
		return err_set(e, ERR_ENV, "out of memory");
	if (crypto_box_seal_open(*plain, box.p, box.n, public_key, secret_key))
		return err_set(e, ERR_PEER,
			       "the release is sealed to another key than this enclave's: run "
			       "obscura model provision again");
	if (release_read((struct span){*plain, *n}, r, &genuine))
		return err_set(e, ERR_PEER, "the release is malformed: is obscura of the same version?");
	return genuine ? 0
		       : err_set(e, ERR_PEER, "the version floor is not signed by the owner of the model");
}
