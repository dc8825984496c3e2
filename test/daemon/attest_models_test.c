/* SPDX-License-Identifier: Apache-2.0 */
/* Which models a policy accepts from an enclave, and whose: what is written wrong is refused with its line,
 * and what is not named is refused with expected and received. */
#include "daemon/attest.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/attest/parts.h"
#include "test/test.h"

#define D1 "d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"
#define D2 "d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"
#define D3 "d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3"
#define O1 "0101010101010101010101010101010101010101010101010101010101010101"
#define O2 "0202020202020202020202020202020202020202020202020202020202020202"
#define O3 "0303030303030303030303030303030303030303030303030303030303030303"

static struct span text_of(const char *text)
{
	return (struct span){(const uint8_t *)text, strlen(text)};
}

static int read_policy(struct attest_policy_file *f, const char *text, struct err *e)
{
	memset(f, 0, sizeof(*f));
	memset(e, 0, sizeof(*e));
	return attest_policy_text(f, "policy", text_of(text), e);
}

static void refused_test(void **state)
{
	static const struct {
		const char *text, *say;
	} rows[] = {
	    {"\n\nmodels = 3;", "policy:3: models: needs a list of groups"},
	    {"models = { name = \"a\"; };", "needs a list of groups"},
	    {"models = [\"a\"];", "needs a list of groups"},
	    {"models = (\n\"a\");", "policy:2: needs a list of groups"},
	    {"models = ();", "the list is empty"},
	    {"models = (\n{ });", "policy:2: the model has no name"},
	    {"models = ( { name = \"a\"; } );", "a name alone demands nothing"},
	    {"models = ( { name = \"a\"; min_version = 3; } );", "a name alone demands nothing"},
	    {"models = ( { owners = [\"" O1 "\"]; } );", "has no name"},
	    {"models = ( { name = \"\"; } );", "needs a model's name"},
	    {"models = ( { name = 7; } );", "needs a model's name"},
	    {"models = ( { name = \"a\\nb\"; } );", "needs a model's name"},
	    {"models = ( { name = \"a\";\n digest = [\"" D1 "\"]; } );", "policy:2: digest: is nothing that"},
	    {"models = ( { name = \"a\";\n\n digests = []; } );", "policy:3: digests: the list is empty"},
	    {"models = ( { name = \"a\"; digests = \"" D1 "\"; } );", "needs a list of strings of 96"},
	    {"models = ( { name = \"a\"; digests = 7; } );", "needs a list of strings of 96"},
	    {"models = ( { name = \"a\"; digests = [7]; } );", "needs a list of strings of 96"},
	    {"models = ( { name = \"a\"; digests = (\"" D1 "\", 7); } );", "needs a list of strings of 96"},
	    {"models = ( { name = \"a\"; digests = [\"" O1 "\"]; } );", "of 96 hexadecimal digits"},
	    {"models = ( { name = \"a\"; digests = [\"" D1 "0\"]; } );", "of 96 hexadecimal digits"},
	    /* two values in one string: nothing that looks like one value is two */
	    {"models = ( { name = \"a\"; digests = [\"" D1 "," D2 "\"]; } );", "of 96 hexadecimal digits"},
	    {"models = ( { name = \"a\"; digests = [\"" D1 "\" \"" D2 "\"]; } );",
	     "of 96 hexadecimal digits"},
	    {"models = ( { name = \"a\"; digests = [\" " D1 "\"]; } );", "of 96 hexadecimal digits"},
	    {"models = ( { name = \"a\"; digests = [\"" D1 "\\x00\"]; } );", "\\x00"},
	    {"models = ( { name = \"a\\x00b\"; digests = [\"" D1 "\"]; } );", "\\x00"},
	    {"models = ( { name = \"a\"; owners = [\"" D1 "\"]; } );",
	     "owners: needs a list of strings of 64"},
	    {"models = ( { name = \"a\"; owners = [\"owner " O1 "\"]; } );", "of 64 hexadecimal digits"},
	    {"models = ( { name = \"a\"; owners = [\"" O1 ", " O2 "\"]; } );", "of 64 hexadecimal digits"},
	    {"models = ( { name = \"a\"; min_version = -1; owners = [\"" O1 "\"]; } );", "whole number"},
	    {"models = ( { name = \"a\"; min_version = \"3\"; owners = [\"" O1 "\"]; } );", "whole number"},
	    {"models = ( { name = \"a\"; owners = [\"" O1 "\"]; },\n{ name = \"a\"; owners = [\"" O2
	     "\"]; } );",
	     "policy:2: this model is named twice"},
	    {"models = ( { name = \"a\"; owners = [\"" O1 "\"]; name = \"b\"; } );", "duplicate"},
	    {"models = ( { name = \"a\"; owners = [\"" O1 "\"]; } );\nmodels = ( );", "policy:2: duplicate"},
	    {"models = ( { name = \"a\"; owners = [\"" O1 "\"]; };", "syntax error"},
	};
	struct attest_policy_file f;
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(read_policy(&f, rows[i].text, &e), -1);
		assert_int_equal(e.code, ERR_INPUT);
		if (!strstr(e.text, rows[i].say))
			fail_msg("%s: %s", rows[i].text, e.text);
		attest_policy_free(&f);
	}
}

/* Nothing is read beyond what there is room for. */
static void many_test(void **state)
{
	char *text = calloc(1, 1 << 16);
	struct attest_policy_file f;
	struct err e;

	for (int n = ATTEST_MODEL_OWNERS; n <= ATTEST_MODEL_OWNERS + 1; n++) {
		strcpy(text, "models = ( { name = \"a\"; owners = [\"" O1 "\"");
		for (int i = 1; i < n; i++)
			strcat(text, ", \"" O2 "\"");
		strcat(text, "]; } );");
		assert_int_equal(read_policy(&f, text, &e), n > ATTEST_MODEL_OWNERS ? -1 : 0);
	}
	assert_non_null(strstr(e.text, "too many values"));
	for (int n = ATTEST_POLICY_MODELS; n <= ATTEST_POLICY_MODELS + 1; n++) {
		strcpy(text, "models = (");
		for (int i = 0; i < n; i++)
			sprintf(text + strlen(text), "%s{ name = \"m%d\"; owners = [\"" O1 "\"]; }",
				i ? "," : "", i);
		strcat(text, ");");
		assert_int_equal(read_policy(&f, text, &e), n > ATTEST_POLICY_MODELS ? -1 : 0);
	}
	assert_non_null(strstr(e.text, "too many models"));
	free(text);
}

static const char policy[] = "models = (\n"
			     "  { name = \"digits\"; digests = [\"" D1 "\", \"" D2 "\"]; owners = [\"" O1
			     "\", \"" O2 "\"]; min_version = 3; },\n"
			     "  { name = \"cells\"; owners = (\"" O1 "\"); },\n"
			     "  { name = \"any\"; digests = [\"" D3 "\"]; } );\n";

static void judged_test(void **state)
{
	static const struct {
		const char *manifest, *say; /* NULL: accepted */
	} rows[] = {
	    {"digits\n3\n" D1 "\nowner " O1 "\n", NULL},
	    {"digits\n300\n" D2 "\nowner " O2 "\n", NULL},
	    {"digits\n2\n" D1 "\nowner " O1 "\n", "expected version 3 at least, received 2"},
	    {"digits\n3\n" D3 "\nowner " O1 "\n", "is another one: expected " D1 " or 1 more, received " D3},
	    {"digits\n3\n" D1 "\nowner " O3 "\n",
	     "is another owner's: expected " O1 " or 1 more, received " O3 "; ask the model's owner"},
	    {"digits\n3\n" D1 "\n", "is another owner's: expected " O1 " or 1 more, received none"},
	    {"cells\n0\n" D3 "\nowner " O1 "\n", NULL},
	    {"cells\n0\n" D3 "\nowner " O2 "\n", "is another owner's: expected " O1 ", received " O2},
	    {"any\n0\n" D3 "\nowner " O3 "\n", NULL},
	    {"any\n0\n" D3 "\n", NULL},
	    {"any\n0\n" D1 "\n", "expected " D3 ", received " D1},
	    {"digit\n3\n" D1 "\nowner " O1 "\n", "expected digits, cells, any, received digit;"},
	    {"digits2\n3\n" D1 "\nowner " O1 "\n", "expected digits, cells, any, received digits2;"},
	    {"", "received no model"},
	};
	struct attest_policy_file f;
	struct err e;

	assert_int_equal(read_policy(&f, policy, &e), 0);
	assert_int_equal(f.models.n, 3);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int bad;

		memset(&e, 0, sizeof(e));
		bad = attest_model_check(&f, text_of(rows[i].manifest), &e);
		if (!bad != !rows[i].say || (bad && !strstr(e.text, rows[i].say)))
			fail_msg("%s: %s", rows[i].manifest, e.text);
		if (bad)
			assert_int_equal(e.code, ERR_ATTEST);
	}
}

/* What an enclave cannot mean is refused whatever the policy says; "": no model, which only a demand refuses.
 */
static void malformed_test(void **state)
{
	static const char *const rows[] = {
	    "\n",
	    "digits",
	    "digits\n3\n",
	    "digits\n3\n" D1,
	    "\n3\n" D1 "\n",
	    "digits\n\n" D1 "\n",
	    "digits\n-3\n" D1 "\n",
	    "digits\n+3\n" D1 "\n",
	    "digits\n 3\n" D1 "\n",
	    "digits\n10000000000000000000\n" D1 "\n",
	    "digits\n3\n" D1 "0\n",
	    "digits\n3\n" O1 "\n",
	    "digits\n3\n" D1 "\n" O1 "\n",
	    "digits\n3\n" D1 "\nowner " O1,
	    "digits\n3\n" D1 "\nowner " O1 "\n\n",
	    "digits\n3\n" D1 "\nowner " D1 "\n",
	    "digits\n3\n" D1 "\nowner \n",
	    "digits\n3\n" D1 "\nOwner " O1 "\n",
	    "digits\n3\n" D1 "\nowner " O1 "\nowner " O2 "\n",
	};
	static const char nul[] = "dig\0its\n3\n" D1 "\n";
	struct attest_policy_file f;
	struct err e;

	assert_int_equal(read_policy(&f, "", &e), 0);
	assert_int_equal(attest_model_check(&f, text_of(""), &e), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		memset(&e, 0, sizeof(e));
		if (!attest_model_check(&f, text_of(rows[i]), &e))
			fail_msg("accepted: %s", rows[i]);
		assert_int_equal(e.code, ERR_PEER);
	}
	memset(&e, 0, sizeof(e));
	assert_int_equal(attest_model_check(&f, (struct span){(const uint8_t *)nul, sizeof(nul) - 1}, &e),
			 -1);
	assert_int_equal(read_policy(&f, "min_model_version = 1;", &e), 0);
	assert_int_equal(attest_model_check(&f, text_of(""), &e), -1);
	assert_int_equal(e.code, ERR_ATTEST);
}

/* The manifest that an enclave writes is the one that is read. */
static void manifest_test(void **state)
{
	static const uint8_t abc[] = "abc"; /* FIPS 180-4's example: SHA-384("abc") = cb00753f… */
	struct enclave_model m = {
	    .name = text_of("digits"), .version = 9223372036854775807, .onnx = {abc, 3}};
	struct enclave_manifest read;
	char text[ENCLAVE_MANIFEST_MAX], hex[97];
	struct err e = {0};

	memset(m.owner, 0x42, sizeof(m.owner));
	assert_int_equal(enclave_manifest(text, &m, &e), 0);
	assert_int_equal(enclave_manifest_read(text_of(text), &read), 0);
	assert_int_equal(read.version, m.version);
	assert_int_equal(read.name.n, 6);
	assert_true(read.owned);
	assert_memory_equal(read.owner, m.owner, sizeof(m.owner));
	assert_string_equal(bytes_hex(hex, read.digest, sizeof(read.digest)),
			    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
			    "8086072ba1e7cc2358baeca134c825a7");
	m.json = text_of(" {}");
	assert_int_equal(enclave_manifest(text, &m, &e), -1);
	assert_non_null(strstr(e.text, "must begin with {"));
	m.json = text_of("{}");
	assert_int_equal(enclave_manifest(text, &m, &e), 0);
	m.name = text_of("two\nlines");
	assert_int_equal(enclave_manifest(text, &m, &e), -1);
}

/* The owner's number is what `openssl pkey -pubin -outform DER | sha256sum` prints: RFC 8410, 10.1, has this
 * key and its SubjectPublicKeyInfo. */
static void owner_test(void **state)
{
	static const uint8_t spki[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21,
				       0x00, 0x19, 0xbf, 0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41,
				       0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30,
				       0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1};
	uint8_t want[ENCLAVE_OWNER], got[ENCLAVE_OWNER];
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, spki + 12, 32);
	X509 *cert = X509_new();

	assert_true(EVP_Digest(spki, sizeof(spki), want, NULL, EVP_sha256(), NULL));
	assert_int_equal(enclave_owner_key(spki + 12, got), 0);
	assert_memory_equal(got, want, sizeof(want));
	memset(got, 0, sizeof(got));
	assert_true(key && cert && X509_set_pubkey(cert, key));
	assert_int_equal(enclave_owner_certificate(cert, got), 0);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(enclave_owner_certificate(NULL, got), -1);
	X509_free(cert);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refused_test),   cmocka_unit_test(many_test),     cmocka_unit_test(judged_test),
	    cmocka_unit_test(malformed_test), cmocka_unit_test(manifest_test), cmocka_unit_test(owner_test),
	};

	return cmocka_run_group_tests_name("attest models", tests, NULL, NULL);
}
