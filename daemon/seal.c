/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/seal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC (sizeof(SEAL_MAGIC) - 1)
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define FIXED (MAGIC + 8 + NONCE)

_Static_assert(SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key is the cipher's");

static int name_ok(struct span name)
{
	if (!name.n || name.n > SEAL_NAME_MAX)
		return 0;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] < ' ' || name.p[i] == 127)
			return 0;
	return 1;
}

int seal_read(struct span file, struct sealed *s)
{
	struct span rest;

	if (file.n < FIXED || memcmp(file.p, SEAL_MAGIC, MAGIC))
		return -1;
	s->version = 0;
	for (int i = 7; i >= 0; i--)
		s->version = s->version << 8 | file.p[MAGIC + (size_t)i];
	s->nonce = (struct span){file.p + MAGIC + 8, NONCE};
	rest = (struct span){file.p + FIXED, file.n - FIXED};
	if (enclave_take(&rest, &s->name) || !name_ok(s->name) || s->version > INT64_MAX || rest.n < TAG ||
	    rest.n > ENCLAVE_BODY_MAX)
		return -1;
	s->head = (struct span){file.p, file.n - rest.n};
	s->box = rest;
	return 0;
}

static void write_head(uint8_t *out, const struct enclave_model *m)
{
	memcpy(out, SEAL_MAGIC, MAGIC);
	for (int i = 0; i < 8; i++)
		out[MAGIC + (size_t)i] = (uint8_t)(m->version >> 8 * i);
	randombytes_buf(out + MAGIC + 8, NONCE);
	enclave_put(out + FIXED, m->name);
}

int seal_make(const uint8_t key[SEAL_KEY], const struct enclave_model *m, uint8_t **file, size_t *n,
	      struct err *e)
{
	size_t head = FIXED + enclave_put(NULL, m->name), plain;
	unsigned long long box;
	uint8_t *p;

	if (!name_ok(m->name) || m->version > INT64_MAX)
		return err_set(e, ERR_USAGE, "a sealed model's name has 1 to %d printable bytes",
			       SEAL_NAME_MAX);
	if (m->onnx.n > ENCLAVE_BODY_MAX / 2 || m->json.n > ENCLAVE_BODY_MAX / 4)
		return err_set(e, ERR_INPUT, "the model is too great to be sealed: %zu bytes", m->onnx.n);
	plain = enclave_put(NULL, m->onnx) + enclave_put(NULL, m->json);
	*n = head + plain + TAG;
	p = *file = malloc(*n);
	if (!p || sodium_init() < 0) {
		free(p);
		return err_set(e, ERR_ENV, "out of memory");
	}
	write_head(p, m);
	enclave_put(p + head, m->onnx);
	enclave_put(p + head + enclave_put(NULL, m->onnx), m->json);
	/* libsodium allows encryption in place. */
	crypto_aead_xchacha20poly1305_ietf_encrypt(p + head, &box, p + head, plain, p, head, NULL,
						   p + MAGIC + 8, key);
	return 0;
}

int seal_open(const uint8_t key[SEAL_KEY], struct span file, struct enclave_model *m, uint8_t **plain,
	      size_t *n, struct err *e)
{
	struct sealed s;
	struct span rest;

	if (seal_read(file, &s))
		return err_set(e, ERR_INPUT, "this is not a sealed model, or it is cut off");
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
