/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of Intel's collateral in which one file is hostile; the first byte says which. What is taken from
 * an answer must lie in it. */
#include "daemon/attest.h"
#include "test/fuzz/seeds.h"

#include <unistd.h>

static char folder[] = "/dev/shm/obscura-collateral.XXXXXX";

static const struct {
	const char *name, *text;
} files[] = {
    {"tcb_info.json", "{\"a\":1}"}, {"tcb_info.sig.hex", NULL},	    {"qe_identity.json", "{\"a\":1}"},
    {"qe_identity.sig.hex", NULL},  {"tcb_info.chain.pem", "none"}, {"qe_identity.chain.pem", "none"},
    {"root_ca.crl.der", "none"},    {"pck.crl.der", "none"},
};
#define FILES (sizeof(files) / sizeof(*files))

static const struct seed seeds[] = {
    {0, "tdx/gotdx-collateral/sample_tcbInfo_response"},
    {2, "tdx/gotdx-collateral/sample_qeIdentity_response"},
    {0, "sgx/phala/collateral/tcb_info.json"},
};

static void put(size_t i, const void *bytes, size_t n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
	f = fopen(path, "we");
	if (!f || fwrite(bytes, 1, n, f) != n)
		abort();
	fclose(f);
}

static void put_usual(size_t i)
{
	char hex[129];

	memset(hex, 'a', 128);
	hex[128] = 0;
	put(i, files[i].text ? files[i].text : hex, files[i].text ? strlen(files[i].text) : 128);
}

static void tidy(void)
{
	char path[128];

	for (size_t i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
		unlink(path);
	}
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (!mkdtemp(folder))
		abort();
	atexit(tidy);
	for (size_t i = 0; i < FILES; i++)
		put_usual(i);
	SEEDS(argc, argv, seeds);
	return 0;
}

static void inside(struct span whole, struct span part)
{
	if (part.p < whole.p || part.p + part.n > whole.p + whole.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t which = size ? *data % FILES : 0;
	struct attest_files f;
	struct err e = {0};

	if (!size)
		return 0;
	put(which, data + 1, size - 1);
	if (!attest_files_read(&f, folder, &e)) {
		inside(f.tcb_info, f.collateral.tcb_info);
		inside(f.qe_identity, f.collateral.qe_identity);
		if (f.collateral.tcb_signature.n != 64 || f.collateral.qe_signature.n != 64)
			abort();
		attest_files_free(&f);
	} else if (!e.code || !*e.text) {
		abort();
	}
	put_usual(which);
	return 0;
}
