/* SPDX-License-Identifier: Apache-2.0 */
/* Genuine evidence that was made for another connection, another key or another client is refused: a small
 * enclave in a thread, and one that stands between and ends TLS itself. */
#include "test/client/enclave_stage.h"

#include "crypto/attest/sim.h"

enum trick {
	HONEST,
	REPLAY,
	RELAY,
	OTHER_ROLE,
	OTHER_POLICY,
	OTHER_MANIFEST,
	OTHER_OWNER,
	OTHER_RELEASE,
	GARBAGE
};

static struct make_id root, quoting;
static struct span chain; /* PEM */
static uint8_t *kept;	  /* evidence of the first connection */
static size_t kept_n;
static char wanted[300];
#define OTHER_DIGEST                                                                                         \
	"00a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
#define OTHER_KEY "00e1e2e3e4e5e6e7e8e9eaebecedeeefe0e1e2e3e4e5e6e7e8e9eaebecedeeef"

static void make_files(void)
{
	const struct make_id *ids[2] = {&quoting, &root};
	static char hex[97];
	uint8_t measurement[48];

	root = make_cert(SIM_ROOT_NAME, EVP_EC_gen("P-256"), NULL, 1, NULL, 0);
	make_valid_now(&root, &root);
	quoting = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-256"), &root, 0, NULL, 0);
	make_valid_now(&quoting, &root);
	chain = make_pem(ids, 2);
	write_file("chain.pem", chain.p, chain.n);
	ids[0] = &root;
	{
		struct span pem = make_pem(ids, 1);

		write_file("root.pem", pem.p, pem.n);
		make_free(&pem);
	}
	memset(measurement, 0x4d, sizeof(measurement));
	snprintf(wanted, sizeof(wanted),
		 "measurement = \"%s\";\nsimulation_roots = [\"root.pem\"];\nmin_model_version = 2;\n",
		 bytes_hex(hex, measurement, 48));
	write_text("policy", wanted);
}

static int setup(void **state)
{
	stage_start();
	make_files();
	return 0;
}

static int teardown(void **state)
{
	OPENSSL_free(kept);
	make_free(&chain);
	make_id_free(&root);
	make_id_free(&quoting);
	return stage_stop();
}

/* ---- the other side ---- */

/* Evidence for this connection, wrong in one way. *n bytes, new. */
static uint8_t *evidence(SSL *ssl, const uint8_t *hello, enum trick trick, size_t *n)
{
	uint8_t data[64], report[SIM_REPORT], measurement[48], *out = malloc(1 << 16);
	struct err e = {0};
	struct bound x;

	make_must(out != NULL);
	bind_to(&x, ssl, hello);
	if (trick == OTHER_ROLE)
		x.b.role = 'M';
	make_must(!binding_report_data(&x.b, data, &e));
	memset(measurement, 0x4d, sizeof(measurement));
	make_must(!sim_report_make(report, quoting.key, SIM_ALL, measurement, data, &e));
	if (trick == OTHER_POLICY)
		x.policy[5] ^= 1;
	if (trick == OTHER_RELEASE)
		x.policy[ENCLAVE_POLICY_CA + 8] ^= 1;
	if (trick == OTHER_MANIFEST)
		x.manifest[6] = '9';
	if (trick == OTHER_OWNER)
		x.manifest[strlen(x.manifest) - 2] ^= 1;
	*n = put_evidence(out, ENCLAVE_SIM, (struct span){report, sizeof(report)}, chain, &x);
	return out;
}

/* As a relay: the genuine evidence of an honest enclave, asked for with the client's own nonce. */
static uint8_t *relayed(const uint8_t *hello, size_t *n)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL *up[2] = {SSL_new(server), SSL_new(client)};
	BIO *a = NULL, *b = NULL;
	uint8_t *out;

	make_must(client && up[0] && up[1] && BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16));
	SSL_set_bio(up[0], a, a);
	SSL_set_bio(up[1], b, b);
	SSL_set_accept_state(up[0]);
	SSL_set_connect_state(up[1]);
	for (int i = 0; i < 20 && (!SSL_is_init_finished(up[0]) || !SSL_is_init_finished(up[1])); i++) {
		SSL_do_handshake(up[1]);
		SSL_do_handshake(up[0]);
	}
	make_must(SSL_is_init_finished(up[0]) && SSL_is_init_finished(up[1]));
	out = evidence(up[0], hello, HONEST, n);
	SSL_free(up[0]);
	SSL_free(up[1]);
	SSL_CTX_free(client);
	return out;
}

static void answer(SSL *ssl, const uint8_t *hello, int trick)
{
	struct err e = {0};
	size_t size = 0;
	uint8_t *out = trick == RELAY ? relayed(hello, &size) : evidence(ssl, hello, trick, &size);

	if (trick == HONEST && !kept) {
		kept = OPENSSL_memdup(out, size);
		kept_n = size;
	}
	if (trick == GARBAGE)
		size /= 2;
	if (trick == REPLAY)
		(void)!enclave_send(ssl, ENCLAVE_EVIDENCE, kept, kept_n, &e);
	else
		(void)!enclave_send(ssl, ENCLAVE_EVIDENCE, out, size, &e);
	free(out);
}

static enum err_code meet(enum trick trick, int accept_simulated, struct err *e)
{
	struct args a = {0};
	int simulated;

	a.flag[FLAG_policy] = path_of("policy");
	a.flag[FLAG_accept_simulated] = accept_simulated ? "" : NULL;
	return meet_with(trick, &a, &simulated, e);
}

static void honest_test(void **state)
{
	struct err e;

	if (meet(HONEST, 1, &e))
		fail_msg("%s", e.text);
	assert_int_equal(meet(HONEST, 0, &e), ERR_ATTEST);
	assert_non_null(strstr(e.text, SIM_WORDS));
}

static void refused_test(void **state)
{
	static const struct {
		enum trick trick;
		const char *say;
	} rows[] = {
	    {REPLAY, "WANT_REPORT_DATA"},	 {RELAY, "WANT_REPORT_DATA"},
	    {OTHER_ROLE, "WANT_REPORT_DATA"},	 {OTHER_MANIFEST, "WANT_REPORT_DATA"},
	    {OTHER_OWNER, "WANT_REPORT_DATA"},	 {OTHER_POLICY, "another authority"},
	    {OTHER_RELEASE, "WANT_REPORT_DATA"},
	};
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(meet(rows[i].trick, 1, &e), ERR_ATTEST);
		if (!strstr(e.text, rows[i].say))
			fail_msg("trick %d: %s", rows[i].trick, e.text);
	}
	assert_int_equal(meet(GARBAGE, 1, &e), ERR_PEER);
}

/* What the policy wants of the model of this very connection. */
static void models_test(void **state)
{
	static const struct {
		const char *models, *say; /* NULL: accepted */
	} rows[] = {
	    {"digests = [\"" STAGE_DIGEST "\"]; owners = [\"" STAGE_OWNER "\"];", NULL},
	    {"digests = [\"" OTHER_DIGEST "\", \"" STAGE_DIGEST "\"];", NULL},
	    {"digests = [\"" OTHER_DIGEST "\"];", "expected " OTHER_DIGEST ", received " STAGE_DIGEST},
	    {"owners = [\"" OTHER_KEY "\"];", "expected " OTHER_KEY ", received " STAGE_OWNER},
	    {"digests = [\"" STAGE_DIGEST "\"]; owners = [\"" OTHER_KEY "\"];", "another owner's"},
	    {"digests = [\"" STAGE_DIGEST "\"]; min_version = 3;", "version 3 at least, received 2"},
	};
	char text[1000];
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(text, sizeof(text), "%smodels = ( { name = \"model\"; %s } );\n", wanted,
			 rows[i].models);
		write_text("policy", text);
		if (meet(HONEST, 1, &e) != (rows[i].say ? ERR_ATTEST : 0) ||
		    (rows[i].say && !strstr(e.text, rows[i].say)))
			fail_msg("%s: %s", rows[i].models, e.text);
	}
	/* The evidence is judged first: what it does not vouch for is not compared. */
	assert_int_equal(meet(OTHER_OWNER, 1, &e), ERR_ATTEST);
	assert_non_null(strstr(e.text, "WANT_REPORT_DATA"));
	write_text("policy", wanted);
}

/* The key to which releases are sealed is read from the policy as it was written; another form is refused. */
static void release_key_test(void **state)
{
	uint8_t key[ENCLAVE_RELEASE_KEY], got[ENCLAVE_RELEASE_KEY];
	char policy[ENCLAVE_POLICY];
	struct span text = {(const uint8_t *)policy, ENCLAVE_POLICY - 1};
	struct err e = {0};

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(7 * i + 200);
	assert_int_equal(enclave_policy(policy, authority.certificate, key, &e), 0);
	assert_int_equal(strlen(policy), text.n);
	assert_int_equal(enclave_policy_release(text, got), 0);
	assert_memory_equal(got, key, sizeof(key));
	for (size_t i = ENCLAVE_POLICY_CA - 1; i < text.n; i++) {
		char was = policy[i];

		policy[i] = 'x';
		assert_int_equal(enclave_policy_release(text, got), -1);
		policy[i] = was;
	}
	text.n--;
	assert_int_equal(enclave_policy_release(text, got), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(honest_test),
	    cmocka_unit_test(refused_test),
	    cmocka_unit_test(models_test),
	    cmocka_unit_test(release_key_test),
	};

	return cmocka_run_group_tests_name("enclave client", tests, setup, teardown);
}
