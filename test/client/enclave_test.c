/* SPDX-License-Identifier: Apache-2.0 */
/* Genuine evidence that was made for another connection, another key or another client is refused: a small
 * enclave in a thread, and one that stands between and ends TLS itself. */
#include "client/enclave.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/certificate.h"
#include "crypto/attest/binding.h"
#include "crypto/attest/sim.h"
#include "daemon/enclave_wire.h"
#include "test/test.h"
#include "test/crypto/attest/make.h"

enum trick { HONEST, REPLAY, RELAY, OTHER_ROLE, OTHER_POLICY, OTHER_MANIFEST, OTHER_RELEASE, GARBAGE };

static char folder[] = "/tmp/obscura-enclave.XXXXXX";
static struct identity authority;
static struct make_id root, quoting, own;
static struct span chain; /* PEM */
static SSL_CTX *server;
static uint8_t *kept; /* evidence of the first connection */
static size_t kept_n;

static const char *path_of(const char *name)
{
	static char paths[8][128];
	static int at;
	char *path = paths[at++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void write_text(const char *name, const void *text, size_t n)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
}

/* Certificates of the enclave's kind must be valid now, not at the tests' fixed time. */
static void valid_now(struct make_id *id, const struct make_id *issuer)
{
	assert_true(X509_gmtime_adj(X509_getm_notBefore(id->cert), -60) &&
		    X509_gmtime_adj(X509_getm_notAfter(id->cert), 3600));
	make_sign(id->cert, issuer->key);
}

static void make_files(void)
{
	const struct make_id *ids[2] = {&quoting, &root};
	static char host[] = "localhost", policy[300], hex[97];
	char *const hosts[] = {host};
	struct identity leaf;
	uint8_t measurement[48];
	struct err e = {0};

	assert_int_equal(authority_make(&authority, 30, &e), 0);
	assert_int_equal(certificate_write(path_of("ca.pem"), authority.certificate, 1, &e), 0);
	assert_int_equal(identity_make(&leaf, &authority, "data-owner", hosts, 1, 10, &e), 0);
	assert_int_equal(certificate_write(path_of("d.pem"), leaf.certificate, 1, &e), 0);
	assert_int_equal(key_write(path_of("d.key"), leaf.key, 1, &e), 0);
	identity_free(&leaf);
	root = make_cert(SIM_ROOT_NAME, EVP_EC_gen("P-384"), NULL, 1, NULL, 0);
	valid_now(&root, &root);
	quoting = make_cert(SIM_KEY_NAME, EVP_EC_gen("P-384"), &root, 0, NULL, 0);
	valid_now(&quoting, &root);
	own = make_cert("enclave", EVP_EC_gen("P-256"), NULL, 0, NULL, 0);
	valid_now(&own, &own);
	chain = make_pem(ids, 2);
	write_text("chain.pem", chain.p, chain.n);
	ids[0] = &root;
	{
		struct span pem = make_pem(ids, 1);

		write_text("root.pem", pem.p, pem.n);
		make_free(&pem);
	}
	memset(measurement, 0x4d, sizeof(measurement));
	snprintf(policy, sizeof(policy),
		 "measurement = \"%s\";\nsimulation_roots = [\"root.pem\"];\nmin_model_version = 2;\n",
		 bytes_hex(hex, measurement, 48));
	write_text("policy", policy, strlen(policy));
}

static int setup(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	signal(SIGPIPE, SIG_IGN);
	make_files();
	server = SSL_CTX_new(TLS_server_method());
	return server && SSL_CTX_use_certificate(server, own.cert) == 1 &&
		       SSL_CTX_use_PrivateKey(server, own.key) == 1
		   ? 0
		   : -1;
}

static int teardown(void **state)
{
	char command[64];

	SSL_CTX_free(server);
	OPENSSL_free(kept);
	make_free(&chain);
	make_id_free(&root);
	make_id_free(&quoting);
	make_id_free(&own);
	identity_free(&authority);
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

/* ---- the other side ---- */

/* Evidence for this connection, wrong in one way. *n bytes, new. */
static uint8_t *evidence(SSL *ssl, const uint8_t *hello, enum trick trick, size_t *n)
{
	char policy[ENCLAVE_POLICY], manifest[] = "model\n2\nabc\n";
	uint8_t *key = NULL, exporter[32], data[64], report[SIM_REPORT], measurement[48],
		*out = malloc(1 << 16);
	const uint8_t kind = ENCLAVE_SIM, release[ENCLAVE_RELEASE_KEY] = {7};
	struct err e = {0};
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(own.cert), &key);
	struct span parts[5];
	struct binding b;

	make_must(out && size > 0 && !enclave_policy(policy, authority.certificate, release, &e));
	make_must(SSL_export_keying_material(ssl, exporter, 32, BINDING_EXPORTER_LABEL,
					     strlen(BINDING_EXPORTER_LABEL), NULL, 0, 0) == 1);
	b = (struct binding){trick == OTHER_ROLE ? 'M' : 'D',
			     {key, (size_t)size},
			     {(const uint8_t *)policy, ENCLAVE_POLICY - 1},
			     {(const uint8_t *)manifest, strlen(manifest)},
			     hello + 1,
			     exporter};
	make_must(!binding_report_data(&b, data, &e));
	memset(measurement, 0x4d, sizeof(measurement));
	make_must(!sim_report_make(report, quoting.key, SIM_ALL, measurement, data, &e));
	if (trick == OTHER_POLICY)
		policy[5] ^= 1;
	if (trick == OTHER_RELEASE)
		policy[ENCLAVE_POLICY_CA + 8] ^= 1;
	if (trick == OTHER_MANIFEST)
		manifest[6] = '9';
	parts[0] = (struct span){&kind, 1};
	parts[1] = (struct span){report, sizeof(report)};
	parts[2] = chain;
	parts[3] = b.policy;
	parts[4] = b.manifest;
	*n = 0;
	for (int i = 0; i < 5; i++)
		*n += enclave_put(out + *n, parts[i]);
	OPENSSL_free(key);
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

struct stage {
	int listener;
	enum trick trick;
};

static void *play(void *arg)
{
	struct stage *s = arg;
	SSL *ssl = SSL_new(server);
	int fd = accept(s->listener, NULL, NULL);
	enum enclave_type type;
	uint8_t *hello = NULL, *out = NULL, *last = NULL;
	struct err e = {0};
	size_t n, size = 0;

	make_must(ssl && fd >= 0 && SSL_set_fd(ssl, fd));
	if (SSL_accept(ssl) == 1 && !enclave_receive(ssl, ENCLAVE_HELLO, 64, &type, &hello, &n, &e)) {
		out = s->trick == RELAY ? relayed(hello, &size) : evidence(ssl, hello, s->trick, &size);
		if (s->trick == HONEST && !kept) {
			kept = OPENSSL_memdup(out, size);
			kept_n = size;
		}
		if (s->trick == GARBAGE)
			size /= 2;
		if (s->trick == REPLAY)
			(void)!enclave_send(ssl, ENCLAVE_EVIDENCE, kept, kept_n, &e);
		else
			(void)!enclave_send(ssl, ENCLAVE_EVIDENCE, out, size, &e);
		(void)!enclave_receive(ssl, 0, 64, &type, &last, &n, &e); /* until the client goes */
	}
	free(out);
	free(last);
	free(hello);
	SSL_free(ssl);
	close(fd);
	return NULL;
}

static enum err_code meet(enum trick trick, int accept_simulated, struct err *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct stage stage = {socket(AF_INET, SOCK_STREAM, 0), trick};
	socklen_t n = sizeof(at);
	struct args a = {.command = "classify"};
	struct enclave *x = NULL;
	pthread_t thread;
	char address[32];

	make_must(!bind(stage.listener, (struct sockaddr *)&at, n) && !listen(stage.listener, 1) &&
		  !getsockname(stage.listener, (struct sockaddr *)&at, &n));
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
	a.config.enclave = address;
	a.config.ca = (char *)path_of("ca.pem");
	a.config.certificate = (char *)path_of("d.pem");
	a.config.key = (char *)path_of("d.key");
	a.config.step_ms = 5000;
	a.flag[FLAG_policy] = path_of("policy");
	a.flag[FLAG_accept_simulated] = accept_simulated ? "" : NULL;
	make_must(!pthread_create(&thread, NULL, play, &stage));
	memset(e, 0, sizeof(*e));
	if (!enclave_open(&x, &a, 'D', e))
		enclave_close(x);
	pthread_join(thread, NULL);
	close(stage.listener);
	return e->code;
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
	    {OTHER_POLICY, "another authority"}, {OTHER_RELEASE, "WANT_REPORT_DATA"},
	};
	struct err e;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(meet(rows[i].trick, 1, &e), ERR_ATTEST);
		if (!strstr(e.text, rows[i].say))
			fail_msg("trick %d: %s", rows[i].trick, e.text);
	}
	assert_int_equal(meet(GARBAGE, 1, &e), ERR_PEER);
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
	    cmocka_unit_test(release_key_test),
	};

	return cmocka_run_group_tests_name("enclave client", tests, setup, teardown);
}
