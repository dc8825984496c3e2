/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/enclave_tpm.h"

#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tcti_device.h>
#include <tss2/tss2_tcti_swtpm.h>

#define NONE ESYS_TR_NONE

/* Ways to a TPM. */
static const struct {
	const char *name;
	TSS2_RC (*init)(TSS2_TCTI_CONTEXT *tcti, size_t *size, const char *conf);
} ways[] = {
    {"device", Tss2_Tcti_Device_Init},
    {"swtpm", Tss2_Tcti_Swtpm_Init},
};

struct tpm {
	TSS2_TCTI_CONTEXT *tcti;
	ESYS_CONTEXT *esys;
	ESYS_TR primary, session, counter;
};

static int failed(TSS2_RC rc, const char *what, struct err *e)
{
	return rc == TSS2_RC_SUCCESS ? 0 : err_set(e, ERR_ENV, "TPM: %s failed (code %#x)", what, rc);
}

/* ---- start ---- */

static int connect_tcti(struct tpm *t, const char *where, struct err *e)
{
	const char *colon = strchr(where, ':');
	size_t n = colon ? (size_t)(colon - where) : strlen(where), size = 0;

	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (strlen(ways[i].name) != n || memcmp(ways[i].name, where, n))
			continue;
		if (ways[i].init(NULL, &size, NULL) || !(t->tcti = calloc(1, size)))
			return err_set(e, ERR_ENV, "out of memory");
		if (!ways[i].init(t->tcti, &size, colon ? colon + 1 : NULL))
			return 0;
		free(t->tcti);
		t->tcti = NULL;
		return err_set(e, ERR_ENV, "there is no TPM at %.200s (enclave_tpm)", where);
	}
	return err_set(e, ERR_USAGE, "enclave_tpm is device:FILE or swtpm:host=HOST,port=PORT, not %.200s",
		       where);
}

/* Storage key of the owner hierarchy: made from the TPM's seed, the same at each start. */
static int make_primary(struct tpm *t, struct err *e)
{
	const TPM2B_SENSITIVE_CREATE secret = {0};
	const TPM2B_DATA outside = {0};
	const TPML_PCR_SELECTION pcrs = {0};
	const TPM2B_PUBLIC template = {
	    .publicArea = {
		.type = TPM2_ALG_ECC,
		.nameAlg = TPM2_ALG_SHA256,
		.objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
				    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
				    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_NODA,
		.parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
						       .keyBits.aes = 128,
						       .mode.aes = TPM2_ALG_CFB},
					 .scheme.scheme = TPM2_ALG_NULL,
					 .curveID = TPM2_ECC_NIST_P256,
					 .kdf.scheme = TPM2_ALG_NULL},
	    }};

	return failed(Esys_CreatePrimary(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, NONE, NONE, &secret,
					 &template, &outside, &pcrs, &t->primary, NULL, NULL, NULL, NULL),
		      "making the storage key", e);
}

/* Salted to the storage key: commands are authenticated, keys in them encrypted. */
static int start_session(struct tpm *t, struct err *e)
{
	const TPMT_SYM_DEF cipher = {.algorithm = TPM2_ALG_AES, .keyBits.aes = 128, .mode.aes = TPM2_ALG_CFB};

	if (failed(Esys_StartAuthSession(t->esys, t->primary, NONE, NONE, NONE, NONE, NULL, TPM2_SE_HMAC,
					 &cipher, TPM2_ALG_SHA256, &t->session),
		   "starting a session", e))
		return -1;
	return failed(Esys_TRSess_SetAttributes(
			  t->esys, t->session,
			  TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT, 0xff),
		      "preparing a session", e);
}

/* A counter that is made again goes on above all that this TPM has counted. */
static int make_counter(struct tpm *t, struct err *e)
{
	const TPM2B_AUTH none = {0};
	const TPM2B_NV_PUBLIC what = {.nvPublic = {.nvIndex = TPM_INDEX,
						   .nameAlg = TPM2_ALG_SHA256,
						   .attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE |
								 TPMA_NV_OWNERREAD | TPMA_NV_NO_DA |
								 TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT,
						   .dataSize = 8}};
	uint64_t first;

	return failed(Esys_NV_DefineSpace(t->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, NONE, NONE, &none,
					  &what, &t->counter),
		      "making the counter", e) ||
		       tpm_step(t, &first, e)
		   ? -1
		   : 0;
}

/* What stands at our index may be anybody's. */
static int find_counter(struct tpm *t, struct err *e)
{
	TPM2B_NV_PUBLIC *found = NULL;
	uint32_t kind;

	if (Esys_TR_FromTPMPublic(t->esys, TPM_INDEX, NONE, NONE, NONE, &t->counter))
		return make_counter(t, e);
	if (failed(Esys_NV_ReadPublic(t->esys, t->counter, NONE, NONE, NONE, &found, NULL),
		   "looking at the counter", e))
		return -1;
	kind = (found->nvPublic.attributes & TPMA_NV_TPM2_NT_MASK) >> TPMA_NV_TPM2_NT_SHIFT;
	Esys_Free(found);
	return kind == TPM2_NT_COUNTER
		   ? 0
		   : err_set(e, ERR_ENV, "TPM: index %#x is something else than a counter: remove it",
			     TPM_INDEX);
}

int tpm_open(struct tpm **out, const char *where, struct err *e)
{
	struct tpm *t = calloc(1, sizeof(*t));

	*out = NULL;
	if (!t)
		return err_set(e, ERR_ENV, "out of memory");
	t->primary = t->session = t->counter = NONE;
	if (connect_tcti(t, where, e) || failed(Esys_Initialize(&t->esys, t->tcti, NULL), "the start", e) ||
	    make_primary(t, e) || start_session(t, e) || find_counter(t, e)) {
		tpm_close(t);
		return -1;
	}
	*out = t;
	return 0;
}

void tpm_close(struct tpm *t)
{
	if (!t)
		return;
	if (t->session != NONE)
		Esys_FlushContext(t->esys, t->session);
	if (t->primary != NONE)
		Esys_FlushContext(t->esys, t->primary);
	Esys_Finalize(&t->esys);
	if (t->tcti)
		Tss2_Tcti_Finalize(t->tcti);
	free(t->tcti);
	free(t);
}

/* ---- the counter ---- */

int tpm_count(struct tpm *t, uint64_t *count, struct err *e)
{
	TPM2B_MAX_NV_BUFFER *data = NULL;
	int bad = failed(Esys_NV_Read(t->esys, t->counter, t->counter, t->session, NONE, NONE, 8, 0, &data),
			 "reading the counter", e);

	*count = 0;
	for (int i = 0; !bad && i < data->size && i < 8; i++) /* big-endian */
		*count = *count << 8 | data->buffer[i];
	if (!bad && data->size != 8)
		bad = err_set(e, ERR_ENV, "TPM: the counter has %u bytes", data->size);
	Esys_Free(data);
	return bad;
}

int tpm_step(struct tpm *t, uint64_t *count, struct err *e)
{
	/* NV_Increment has no parameter that could be encrypted. */
	TSS2_RC rc =
	    Esys_TRSess_SetAttributes(t->esys, t->session, 0, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT);

	if (!rc)
		rc = Esys_NV_Increment(t->esys, t->counter, t->counter, t->session, NONE, NONE);
	Esys_TRSess_SetAttributes(t->esys, t->session, TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT,
				  TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT);
	return failed(rc, "stepping the counter", e) ? -1 : tpm_count(t, count, e);
}

/* ---- keys ---- */

static int marshal(const TPM2B_PRIVATE *secret, const TPM2B_PUBLIC *known, uint8_t *out, size_t *n,
		   struct err *e)
{
	*n = 0;
	return failed(Tss2_MU_TPM2B_PRIVATE_Marshal(secret, out, TPM_WRAPPED, n), "writing a wrapped key",
		      e) ||
	       failed(Tss2_MU_TPM2B_PUBLIC_Marshal(known, out, TPM_WRAPPED, n), "writing a wrapped key", e);
}

int tpm_wrap(struct tpm *t, const uint8_t key[TPM_KEY], uint8_t *wrapped, size_t *n, struct err *e)
{
	const TPM2B_DATA outside = {0};
	const TPML_PCR_SELECTION pcrs = {0};
	const TPM2B_PUBLIC template = {
	    .publicArea = {.type = TPM2_ALG_KEYEDHASH,
			   .nameAlg = TPM2_ALG_SHA256,
			   .objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_FIXEDTPM |
					       TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
			   .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL}};
	TPM2B_SENSITIVE_CREATE secret = {.sensitive.data.size = TPM_KEY};
	TPM2B_PRIVATE *made = NULL;
	TPM2B_PUBLIC *known = NULL;
	int bad;

	memcpy(secret.sensitive.data.buffer, key, TPM_KEY);
	bad = failed(Esys_Create(t->esys, t->primary, t->session, NONE, NONE, &secret, &template, &outside,
				 &pcrs, &made, &known, NULL, NULL, NULL),
		     "wrapping a key", e) ||
	      marshal(made, known, wrapped, n, e);
	explicit_bzero(&secret, sizeof(secret));
	Esys_Free(made);
	Esys_Free(known);
	return bad ? -1 : 0;
}

int tpm_unwrap(struct tpm *t, const uint8_t *wrapped, size_t n, uint8_t key[TPM_KEY], struct err *e)
{
	TPM2B_SENSITIVE_DATA *data = NULL;
	TPM2B_PRIVATE secret = {0};
	TPM2B_PUBLIC known = {0};
	ESYS_TR object = NONE;
	size_t at = 0;
	int bad;

	if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(wrapped, n, &at, &secret) ||
	    Tss2_MU_TPM2B_PUBLIC_Unmarshal(wrapped, n, &at, &known) || at != n)
		return err_set(e, ERR_INPUT, "the wrapped key of the sealed state is malformed");
	if (Esys_Load(t->esys, t->primary, t->session, NONE, NONE, &secret, &known, &object))
		return err_set(e, ERR_INPUT, "the sealed state was made with another TPM, or was changed");
	bad = failed(Esys_Unseal(t->esys, object, t->session, NONE, NONE, &data), "unwrapping a key", e);
	if (!bad && data->size != TPM_KEY)
		bad = err_set(e, ERR_INPUT, "the wrapped key of the sealed state has %u bytes", data->size);
	if (!bad)
		memcpy(key, data->buffer, TPM_KEY);
	if (data)
		explicit_bzero(data, sizeof(*data));
	Esys_Free(data);
	Esys_FlushContext(t->esys, object);
	return bad;
}
