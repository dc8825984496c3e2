/* SPDX-License-Identifier: Apache-2.0 */
/* Files that an untrusted front end hands to the enclave, in every form that must not be taken; who is
 * admitted then. What the child says goes into a socket that stands for the front end. */
#include "test/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/enclave.h"
#include "daemon/enclave_parts.h"
#include "test/crypto/attest/make.h"

static struct make_id root, other, good, bad;
static int said; /* the front end's end of the control socket */
static char base[ENCLAVE_POLICY];
static long made = -MAKE_DAY; /* when lists were made, seconds from now */

/* Now, not at the fixed time of make.h. */
static struct make_id make_now(const char *name, const struct make_id *issuer)
{
	struct make_id id = make_cert(name, EVP_EC_gen("P-256"), issuer, !issuer, NULL, 0);

	make_must(X509_gmtime_adj(X509_getm_notBefore(id.cert), -60) &&
		  X509_gmtime_adj(X509_getm_notAfter(id.cert), MAKE_DAY));
	make_sign(id.cert, issuer ? issuer->key : id.key);
	return id;
}

static int setup(void **state)
{
	static const uint8_t release[ENCLAVE_RELEASE_KEY] = {7};
	struct err e = {0};
	int pair[2];

	root = make_now("root", NULL);
	other = make_now("other", NULL);
	good = make_now("good", &root);
	bad = make_now("bad", &root);
	make_must(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
	said = fcntl(pair[0], F_DUPFD, 20);
	make_must(dup2(pair[1], ENCLAVE_FD_CONTROL) == ENCLAVE_FD_CONTROL);
	make_must(!enclave_policy(base, root.cert, release, &e));
	enclave_rules_start(root.cert);
	return 0;
}

/* 1: taken, 0: refused, by what is said. */
static int hand(char what, const void *p, size_t n)
{
	int fd = memfd_create("handed", MFD_CLOEXEC);
	char text[ENCLAVE_NOTE + 1];

	make_must(fd >= 0 && write(fd, p, n) == (ssize_t)n && !lseek(fd, 0, SEEK_SET));
	enclave_rules_handed(what, fd);
	make_must(recv(said, text, sizeof(text), MSG_DONTWAIT) > 0);
	return *text == ENCLAVE_SAYS_NOTE;
}

static int hand_text(char what, const char *text)
{
	return hand(what, text, strlen(text));
}

/* A list by the issuer, with this number (-1: none), that ends in so many seconds. */
static int hand_list(const struct make_id *issuer, int64_t number, long ends, X509 *revoked, int copies)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, made), *to = X509_gmtime_adj(NULL, ends);
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	BIO *out = BIO_new(BIO_s_mem());
	size_t size;
	char *text;
	int taken;

	make_must(X509_CRL_set_version(crl, 1) &&
		  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer->cert)) &&
		  X509_CRL_set1_lastUpdate(crl, from) && X509_CRL_set1_nextUpdate(crl, to));
	make_must(number < 0 || (ASN1_INTEGER_set_int64(n, number) &&
				 X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) == 1));
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		make_must(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked)) &&
			  X509_REVOKED_set_revocationDate(entry, from) && X509_CRL_add0_revoked(crl, entry));
	}
	make_must(X509_CRL_sign(crl, issuer->key, EVP_sha256()) > 0);
	for (int i = 0; i < copies; i++)
		make_must(PEM_write_bio_X509_CRL(out, crl));
	size = (size_t)BIO_get_mem_data(out, &text);
	taken = hand(ENCLAVE_HANDS_REVOKED, text, size);
	BIO_free(out);
	ASN1_INTEGER_free(n);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(crl);
	return taken;
}

/* ---- a client in memory ---- */

static int yes(int ok, X509_STORE_CTX *store)
{
	return 1;
}

/* What the enclave says to a client with this certificate: NULL if it is admitted. */
static const char *admitted(const struct make_id *id, struct err *e)
{
	SSL_CTX *c[2] = {SSL_CTX_new(TLS_server_method()), SSL_CTX_new(TLS_client_method())};
	const struct make_id *who[2] = {&good, id};
	BIO *a = NULL, *b = NULL;
	SSL *ssl[2];

	for (int i = 0; i < 2; i++)
		make_must(c[i] && SSL_CTX_use_certificate(c[i], who[i]->cert) == 1 &&
			  SSL_CTX_use_PrivateKey(c[i], who[i]->key) == 1);
	SSL_CTX_set_verify(c[0], SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, yes);
	make_must((ssl[0] = SSL_new(c[0])) && (ssl[1] = SSL_new(c[1])) &&
		  BIO_new_bio_pair(&a, 1 << 16, &b, 1 << 16));
	SSL_set_bio(ssl[0], a, a);
	SSL_set_bio(ssl[1], b, b);
	SSL_set_accept_state(ssl[0]);
	SSL_set_connect_state(ssl[1]);
	for (int i = 0; i < 20 && !SSL_is_init_finished(ssl[0]); i++) {
		SSL_do_handshake(ssl[1]);
		SSL_do_handshake(ssl[0]);
	}
	make_must(SSL_is_init_finished(ssl[0]));
	*e = (struct err){0};
	(void)!enclave_rules_admit(ssl[0], e);
	for (int i = 0; i < 2; i++) {
		SSL_free(ssl[i]);
		SSL_CTX_free(c[i]);
	}
	return e->code ? e->text : NULL;
}

static void assert_refused(const struct make_id *id, const char *why)
{
	struct err e;
	const char *text = admitted(id, &e);

	if (!text || !strstr(text, why))
		fail_msg("expected \"%s\", received \"%s\"", why, text ? text : "admitted");
}

static void assert_admitted(const struct make_id *id)
{
	struct err e;

	assert_null(admitted(id, &e));
}

static const char *in_force(const char *word)
{
	static char text[ENCLAVE_POLICY_MAX], hex[65];
	struct span policy = {(uint8_t *)text, enclave_rules_policy(text, base, 0)};

	return enclave_policy_file(policy, word, hex);
}

/* ---- tests, in this order ---- */

static void list_test(void **state)
{
	assert_admitted(&bad);
	assert_null(in_force("revoked"));
	/* what is configured and not good shuts everybody out, as long as there is none before it */
	assert_false(hand_text(ENCLAVE_HANDS_REVOKED, ""));
	assert_refused(&good, "not good");
	assert_false(
	    hand_text(ENCLAVE_HANDS_REVOKED, "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"));
	assert_false(hand_list(&other, 9, MAKE_DAY, NULL, 1));
	assert_false(hand_list(&root, 9, -10, NULL, 1));
	assert_false(hand_list(&root, 9, MAKE_DAY, NULL, 2));
	assert_refused(&good, "revocations that is not good");
	assert_true(hand_list(&root, 5, MAKE_DAY, bad.cert, 1));
	assert_admitted(&good);
	assert_refused(&bad, "certificate is revoked");
	assert_non_null(in_force("revoked"));
}

static void back_test(void **state)
{
	char before[65];

	snprintf(before, sizeof(before), "%s", in_force("revoked"));
	assert_false(hand_list(&root, 4, MAKE_DAY, NULL, 1));
	assert_false(hand_list(&root, -1, MAKE_DAY, NULL, 1));
	assert_false(hand_list(&other, 6, MAKE_DAY, NULL, 1));
	made = -2 * MAKE_DAY; /* whatever its number says */
	assert_false(hand_list(&root, 6, MAKE_DAY, NULL, 1));
	made = -MAKE_DAY;
	assert_false(hand_text(ENCLAVE_HANDS_REVOKED, "none"));
	assert_string_equal(before, in_force("revoked"));
	assert_refused(&bad, "certificate is revoked");
	assert_admitted(&good); /* the one before stays in force */
	assert_true(hand_list(&root, 6, 2, bad.cert, 1));
	sleep(3); /* it ends meanwhile */
	assert_refused(&good, "has ended");
	assert_true(hand_list(&root, 7, MAKE_DAY, bad.cert, 1));
	assert_admitted(&good);
}

#define OWNER "4242424242424242424242424242424242424242424242424242424242424242"
#define OWNERS "models = ( { name = \"digits\"; owners = [\"" OWNER "\"]; } );"

static int takes(const char *name, uint8_t owner, struct err *e)
{
	struct enclave_model m = {.name = {(const uint8_t *)name, strlen(name)}};

	memset(m.owner, owner, sizeof(m.owner));
	memset(e, 0, sizeof(*e));
	return !enclave_rules_takes(&m, e);
}

static void owners_test(void **state)
{
	static const char *const wrong[] = {"",
					    "models = ();",
					    "models = ( { name = \"digits\"; } );",
					    "models = ( { name = \"digits\"; owners = [\"42\"]; } );",
					    OWNERS "allow = [\"debug\"];",
					    OWNERS "snp_chain = [\"/etc/passwd\"];",
					    "@include \"/etc/passwd\"",
					    "models = ("};
	struct err e;

	assert_true(takes("any", 1, &e));
	assert_null(in_force("owners"));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(hand_text(ENCLAVE_HANDS_OWNERS, wrong[i]));
	assert_false(hand(ENCLAVE_HANDS_OWNERS, OWNERS, sizeof(OWNERS)));
	assert_refused(&good, "owners of models that is not good");
	assert_true(hand_text(ENCLAVE_HANDS_OWNERS, OWNERS));
	assert_admitted(&good);
	assert_non_null(in_force("owners"));
	assert_true(takes("digits", 0x42, &e));
	assert_false(takes("digits", 0x43, &e));
	assert_non_null(strstr(e.text, "enclave_owners"));
	assert_non_null(strstr(e.text, "expected " OWNER ", received 4343"));
	assert_false(takes("cells", 0x42, &e));
	assert_non_null(strstr(e.text, "expected digits, received cells"));
	assert_false(hand_text(ENCLAVE_HANDS_OWNERS, "models = (")); /* the one before stays */
	assert_admitted(&good);
	assert_false(takes("digits", 0x43, &e));
}

static void rules_test(void **state)
{
	static char large[(1 << 20) + 1];
	char text[160];

	assert_null(in_force("access"));
	assert_false(hand_text(ENCLAVE_HANDS_ACCESS, "rules = ("));
	assert_refused(&good, "access rules that is not good");
	assert_false(hand(ENCLAVE_HANDS_ACCESS, "rules = ( { who = \"*\"; } );\0", 28));
	memset(large, ' ', sizeof(large));
	assert_false(hand(ENCLAVE_HANDS_ACCESS, large, sizeof(large)));
	assert_true(hand_text(ENCLAVE_HANDS_ACCESS, "rules = ( { who = \"a\"; } );"));
	assert_true(hand_text(ENCLAVE_HANDS_ACCESS, "rules = ( { who = \"*\"; } );"));
	assert_admitted(&good);
	assert_int_equal(enclave_rules_freeze(text), 144);
	assert_non_null(strstr(text, in_force("access")));
	assert_non_null(strstr(text, in_force("owners")));
	assert_false(hand_text(ENCLAVE_HANDS_OWNERS, OWNERS "\n"));
	assert_true(hand_text(ENCLAVE_HANDS_OWNERS, OWNERS)); /* the same */
	assert_non_null(strstr(text, in_force("owners")));
	assert_false(hand_text(ENCLAVE_HANDS_ACCESS, "rules = ( { who = \"b\"; } );"));
	assert_true(hand_text(ENCLAVE_HANDS_ACCESS, "rules = ( { who = \"*\"; } );")); /* the same */
	assert_non_null(strstr(text, in_force("access")));
	assert_admitted(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(list_test),
	    cmocka_unit_test(back_test),
	    cmocka_unit_test(owners_test),
	    cmocka_unit_test(rules_test),
	};

	return cmocka_run_group_tests_name("enclave rules", tests, setup, NULL);
}
