/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/seal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC (sizeof(SEAL_MAGIC) - 1)
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define OWNER_AT (MAGIC + 8)
#define NONCE_AT (OWNER_AT + SEAL_OWNER)
#define FIXED (NONCE_AT + NONCE)
#define KDF_CONTEXT "obscseal"

_Static_assert(SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key is the cipher's");
_Static_assert(SEAL_KEY == crypto_kdf_KEYBYTES, "the seed is that of the key derivation");
_Static_assert(SEAL_KEY == crypto_sign_SEEDBYTES && SEAL_OWNER == crypto_sign_PUBLICKEYBYTES, "Ed25519");
_Static_assert(SEAL_HEAD_MAX == FIXED + 4 + SEAL_NAME_MAX, "the head's parts");

/* What the seed is used for. */
enum derived { DERIVE_SIGNING = 1, DERIVE_FILES };

static int derive(const uint8_t seed[SEAL_KEY], enum derived what, uint8_t out[SEAL_KEY], struct err *e)
{
	if (sodium_init() < 0 || crypto_kdf_derive_from_key(out, SEAL_KEY, what, KDF_CONTEXT, seed))
		return err_set(e, ERR_ENV, "libsodium does not start");
	return 0;
}

int seal_owner(const uint8_t seed[SEAL_KEY], uint8_t public_key[SEAL_OWNER], uint8_t secret_key[64],
	       struct err *e)
{
	uint8_t signing[SEAL_KEY];

	if (derive(seed, DERIVE_SIGNING, signing, e))
		return -1;
	crypto_sign_seed_keypair(public_key, secret_key, signing);
	sodium_memzero(signing, sizeof(signing));
	return 0;
}

int seal_file_key(const uint8_t seed[SEAL_KEY], struct span head, uint8_t key[SEAL_KEY], struct err *e)
{
	uint8_t files[SEAL_KEY];

	if (derive(seed, DERIVE_FILES, files, e))
		return -1;
	crypto_generichash(key, SEAL_KEY, head.p, head.n, files, sizeof(files));
	sodium_memzero(files, sizeof(files));
	return 0;
}

static int name_ok(struct span name)
{
	if (!name.n || name.n > SEAL_NAME_MAX)
		return 0;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] < ' ' || name.p[i] == 127)
			return 0;
	return 1;
}

int seal_is(struct span file)
{
	return file.n >= MAGIC - 1 && !memcmp(file.p, SEAL_MAGIC, MAGIC - 1);
}

int seal_read_head(struct span head, struct sealed *s)
{
	struct span rest;

	if (head.n < FIXED || memcmp(head.p, SEAL_MAGIC, MAGIC))
		return -1;
	s->version = 0;
	for (int i = 7; i >= 0; i--)
		s->version = s->version << 8 | head.p[MAGIC + (size_t)i];
	s->owner = (struct span){head.p + OWNER_AT, SEAL_OWNER};
	s->nonce = (struct span){head.p + NONCE_AT, NONCE};
	rest = (struct span){head.p + FIXED, head.n - FIXED};
	if (enclave_take(&rest, &s->name) || !name_ok(s->name) || s->version > INT64_MAX)
		return -1;
	s->head = (struct span){head.p, head.n - rest.n};
	s->box = rest;
	return 0;
}

int seal_read(struct span file, struct sealed *s)
{
	return seal_read_head(file, s) || s->box.n < TAG || s->box.n > ENCLAVE_BODY_MAX ? -1 : 0;
}

static void write_head(uint8_t *out, const struct enclave_model *m, const uint8_t owner[SEAL_OWNER])
{
	memcpy(out, SEAL_MAGIC, MAGIC);
	for (int i = 0; i < 8; i++)
		out[MAGIC + (size_t)i] = (uint8_t)(m->version >> 8 * i);
	memcpy(out + OWNER_AT, owner, SEAL_OWNER);
	randombytes_buf(out + NONCE_AT, NONCE);
	enclave_put(out + FIXED, m->name);
}

/* libsodium allows encryption in place. */
static int encrypt(uint8_t *p, size_t head, size_t plain, const uint8_t seed[SEAL_KEY], struct err *e)
{
	uint8_t key[SEAL_KEY];
	unsigned long long box;

	if (seal_file_key(seed, (struct span){p, head}, key, e))
		return -1;
	crypto_aead_xchacha20poly1305_ietf_encrypt(p + head, &box, p + head, plain, p, head, NULL,
						   p + NONCE_AT, key);
	sodium_memzero(key, sizeof(key));
	return 0;
}

int seal_make(const uint8_t seed[SEAL_KEY], const struct enclave_model *m, uint8_t **file, size_t *n,
	      struct err *e)
{
	size_t head = FIXED + enclave_put(NULL, m->name), plain;
	uint8_t *p, owner[SEAL_OWNER], secret[crypto_sign_SECRETKEYBYTES];

	if (!name_ok(m->name) || m->version > INT64_MAX)
		return err_set(e, ERR_USAGE, "a sealed model's name has 1 to %d printable bytes",
			       SEAL_NAME_MAX);
	if (m->onnx.n > ENCLAVE_BODY_MAX / 2 || m->json.n > ENCLAVE_BODY_MAX / 4)
		return err_set(e, ERR_INPUT, "the model is too great to be sealed: %zu bytes", m->onnx.n);
	if (seal_owner(seed, owner, secret, e))
		return -1;
	sodium_memzero(secret, sizeof(secret));
	plain = enclave_put(NULL, m->onnx) + enclave_put(NULL, m->json);
	*n = head + plain + TAG;
	p = *file = malloc(*n);
	if (!p)
		return err_set(e, ERR_ENV, "out of memory");
	write_head(p, m, owner);
	enclave_put(p + head, m->onnx);
	enclave_put(p + head + enclave_put(NULL, m->onnx), m->json);
	if (!encrypt(p, head, plain, seed, e))
		return 0;
	seal_free(p, *n);
	*file = NULL;
	return -1;
}

int seal_open(const uint8_t key[SEAL_KEY], struct span file, struct enclave_model *m, uint8_t **plain,
	      size_t *n, struct err *e)
{
	struct sealed s;
	struct span rest;

	*plain = NULL;
	if (seal_read(file, &s))
		return err_set(e, ERR_INPUT,
			       seal_is(file) ? "it was changed or cut off, or is of another version of this "
					       "program: seal the model again"
					     : "this is not a sealed model (obscura model seal)");
	*n = s.box.n - TAG;
	*plain = malloc(*n + 1);
	if (!*plain || sodium_init() < 0) {
		free(*plain);
		return err_set(e, ERR_ENV, "out of memory");
	}
	rest = (struct span){*plain, *n};
	memset(m, 0, sizeof(*m));
	m->name = s.name;
	m->version = s.version;
	if (!crypto_aead_xchacha20poly1305_ietf_decrypt(*plain, NULL, NULL, s.box.p, s.box.n, s.head.p,
							s.head.n, s.nonce.p, key) &&
	    !enclave_take(&rest, &m->onnx) && !enclave_take(&rest, &m->json) && !rest.n)
		return 0;
	seal_free(*plain, *n);
	*plain = NULL;
	return err_set(e, ERR_INPUT, "the sealed model was changed, or the key is another one");
}

void seal_free(uint8_t *plain, size_t n)
{
	if (plain)
		sodium_memzero(plain, n);
	free(plain);
}
