/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_release.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FLOOR_MAGIC "obscura-floor-v2"
#define MAGIC (sizeof(FLOOR_MAGIC) - 1)
#define SIGNATURE crypto_sign_BYTES
#define TO_AT (MAGIC + 8 + 1)
#define DIGEST_AT (TO_AT + ENCLAVE_RELEASE_KEY)
#define STATEMENT (DIGEST_AT + crypto_hash_sha256_BYTES) /* and the name */

_Static_assert(ENCLAVE_RELEASE_KEY == crypto_box_PUBLICKEYBYTES &&
		   ENCLAVE_RELEASE_KEY == crypto_box_SECRETKEYBYTES,
	       "X25519");
_Static_assert(RELEASE_SAID == SIGNATURE + STATEMENT + SEAL_NAME_MAX, "the longest signed part");
_Static_assert(SEAL_KEY + 4 + SEAL_HEAD_MAX + 4 + RELEASE_SAID + crypto_box_SEALBYTES <= RELEASE_MAX,
	       "the longest release");

/* ---- the owner's side ---- */

/* What an owner says of a file, whose head is s. */
struct saying {
	struct span file;
	struct sealed s;
	uint64_t floor;
	int keep;
	const uint8_t *to;
};

static size_t write_statement(uint8_t *out, const struct saying *x)
{
	memcpy(out, FLOOR_MAGIC, MAGIC);
	for (int i = 0; i < 8; i++)
		out[MAGIC + (size_t)i] = (uint8_t)(x->floor >> 8 * i);
	out[MAGIC + 8] = x->keep != 0;
	memcpy(out + TO_AT, x->to, ENCLAVE_RELEASE_KEY);
	crypto_hash_sha256(out + DIGEST_AT, x->file.p, x->file.n);
	memcpy(out + STATEMENT, x->s.name.p, x->s.name.n);
	return STATEMENT + x->s.name.n;
}

/* plain: RELEASE_MAX bytes. */
static int write_plain(const uint8_t seed[SEAL_KEY], const struct saying *x, uint8_t *plain, size_t *n,
		       struct err *e)
{
	uint8_t statement[STATEMENT + SEAL_NAME_MAX], text[SIGNATURE + sizeof(statement)], owner[SEAL_OWNER],
	    secret[crypto_sign_SECRETKEYBYTES];
	size_t size = write_statement(statement, x);
	int other;

	if (seal_owner(seed, owner, secret, e))
		return -1;
	other = memcmp(owner, x->s.owner.p, SEAL_OWNER) || seal_file_key(seed, x->s.head, plain, e);
	if (!other)
		crypto_sign(text, NULL, statement, size, secret);
	sodium_memzero(secret, sizeof(secret));
	if (other)
		return err_set(e, ERR_INPUT, "the model was sealed with another key (--seal-key)");
	*n = SEAL_KEY;
	*n += enclave_put(plain + *n, x->s.head);
	*n += enclave_put(plain + *n, (struct span){text, SIGNATURE + size});
	return 0;
}

int release_make(const uint8_t seed[SEAL_KEY], struct span file, uint64_t floor, int keep,
		 const uint8_t to[ENCLAVE_RELEASE_KEY], uint8_t **box, size_t *n, struct err *e)
{
	struct saying x = {.file = file, .floor = floor, .keep = keep, .to = to};
	uint8_t plain[RELEASE_MAX];
	size_t size = 0;
	int bad;

	*box = NULL;
	if (seal_read(file, &x.s))
		return err_set(e, ERR_INPUT, "this is not a sealed model (obscura model seal)");
	bad = write_plain(seed, &x, plain, &size, e);
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
	r->to = (struct span){text.p + TO_AT, ENCLAVE_RELEASE_KEY};
	r->digest = (struct span){text.p + DIGEST_AT, crypto_hash_sha256_BYTES};
	return r->floor > INT64_MAX ? -1 : 0;
}

int release_read_said(struct span said, struct release *r, int *genuine)
{
	if (read_statement(said, r))
		return -1;
	r->said = said;
	*genuine =
	    !crypto_sign_verify_detached(said.p, said.p + SIGNATURE, said.n - SIGNATURE, r->file.owner.p);
	return 0;
}

int release_is_of(const struct release *r, struct span file, struct err *e)
{
	uint8_t digest[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(digest, file.p, file.n);
	return memcmp(digest, r->digest.p, sizeof(digest))
		   ? err_set(e, ERR_INPUT,
			     "the sealed model at the enclave's host is not the file that its owner "
			     "released: it was changed; bring the file there again")
		   : 0;
}

int release_read(struct span plain, struct release *r, int *genuine)
{
	struct span rest, head, said;

	if (plain.n < SEAL_KEY)
		return -1;
	r->key = (struct span){plain.p, SEAL_KEY};
	rest = (struct span){plain.p + SEAL_KEY, plain.n - SEAL_KEY};
	return enclave_take(&rest, &head) || enclave_take(&rest, &said) || rest.n ||
		       seal_read_head(head, &r->file) || r->file.box.n
		   ? -1
		   : release_read_said(said, r, genuine);
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
	if (!genuine)
		return err_set(e, ERR_PEER, "the release is not signed by the owner of the model");
	return memcmp(r->to.p, public_key, ENCLAVE_RELEASE_KEY)
		   ? err_set(e, ERR_PEER,
			     "the release was signed for another enclave, or another start of this one: run "
			     "obscura model provision again")
		   : 0;
}
