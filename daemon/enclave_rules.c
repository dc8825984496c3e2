/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use the model, and who may bring one, enforced inside: access rules, owners of models, and a
 * revocation list, which the front end brings as open files. It is not trusted: what is in force stands in
 * the policy text that the evidence vouches for, so that the model's owner and each client see it. A list
 * must be signed by the authority and never be older than the one before; one that has ended shuts everybody
 * out. Rules stay as they are from the first evidence on that a model owner is given: it brings a model or a
 * key because of what it saw. */
#include "daemon/enclave_parts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "crypto/attest/parts.h"
#include "daemon/access_parts.h"
#include "daemon/attest.h"
#include "daemon/enclave.h"
#include "daemon/tls.h"

#define FILE_MOST (1u << 20)

/* Guarded by lock. Digests: SHA-256 of the files in hexadecimal, "" without. */
static struct {
	pthread_mutex_t lock;
	X509 *authority;
	struct access_book book;
	X509_CRL *list;
	struct attest_models *owners;
	char access[65], revoked[65], models[65];
	int frozen, no_access, no_list, no_owners; /* no_…: one was refused, and there is none before it */
} rules = {.lock = PTHREAD_MUTEX_INITIALIZER, .book = {.self = ROLE_M}};

void enclave_rules_start(X509 *authority)
{
	X509_up_ref(authority);
	rules.authority = authority;
}

/* Not stdio: it asks for what the filter of system calls kills for. Returns new, with a 0 after n bytes. */
static char *slurp(int fd, size_t *n)
{
	char *text = malloc(FILE_MOST + 1);
	ssize_t got = 1;

	*n = 0;
	while (text && *n < FILE_MOST && (got = read(fd, text + *n, FILE_MOST - *n)) > 0)
		*n += (size_t)got;
	close(fd);
	if (!text || got < 0 || *n == FILE_MOST) {
		free(text);
		return NULL;
	}
	text[*n] = 0;
	return text;
}

static int digest_hex(char out[65], const void *p, size_t n)
{
	uint8_t digest[32];

	if (!EVP_Digest(p, n, digest, NULL, EVP_sha256(), NULL))
		return -1;
	bytes_hex(out, digest, sizeof(digest));
	return 0;
}

/* ---- the revocation list ---- */

/* RFC 5280, 5.2.3: the number rises with each list. -1: it has none. */
static int64_t number_of(const X509_CRL *list)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	int64_t n = -1;

	if (number && (!ASN1_INTEGER_get_int64(&n, number) || n < 0))
		n = -1;
	ASN1_INTEGER_free(number);
	return n;
}

static int has_ended(const X509_CRL *list)
{
	const ASN1_TIME *to = X509_CRL_get0_nextUpdate(list);

	return !to || X509_cmp_current_time(to) <= 0;
}

static int list_good(X509_CRL *list)
{
	return list && !X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(rules.authority)) &&
	       X509_CRL_verify(list, X509_get0_pubkey(rules.authority)) == 1 && !has_ended(list) &&
	       (!rules.list || (number_of(list) >= number_of(rules.list) &&
				ASN1_TIME_compare(X509_CRL_get0_lastUpdate(list),
						  X509_CRL_get0_lastUpdate(rules.list)) >= 0));
}

static int take_list(const char *text, size_t n)
{
	BIO *in = BIO_new_mem_buf(text, (int)n);
	X509_CRL *list = in ? PEM_read_bio_X509_CRL(in, NULL, NULL, (void *)"") : NULL,
		 *more = list ? PEM_read_bio_X509_CRL(in, NULL, NULL, (void *)"") : NULL;
	char digest[65];
	int bad = !list_good(list) || more || digest_hex(digest, text, n);

	if (!bad) {
		X509_CRL *was = rules.list;

		rules.list = list;
		list = was;
		memcpy(rules.revoked, digest, sizeof(digest));
	}
	X509_CRL_free(list);
	X509_CRL_free(more);
	BIO_free(in);
	ERR_clear_error();
	return bad;
}

/* ---- access rules ---- */

static int take_access(const char *text, size_t n)
{
	char digest[65];
	struct access_list list;
	struct err e = {0};

	if (memchr(text, 0, n) || digest_hex(digest, text, n))
		return -1;
	if (!strcmp(digest, rules.access))
		return 0;
	if (rules.frozen || access_list_text(&list, "access", text, ROLE_M, &e))
		return -1;
	access_list_free(&rules.book.list);
	rules.book.list = list;
	memcpy(rules.access, digest, sizeof(digest));
	return 0;
}

/* ---- owners of models ---- */

static int take_owners(const char *text, size_t n)
{
	struct attest_models *owners;
	char digest[65];
	struct err e = {0};

	if (memchr(text, 0, n) || digest_hex(digest, text, n))
		return -1;
	if (!strcmp(digest, rules.models))
		return 0;
	owners = rules.frozen ? NULL : malloc(sizeof(*owners));
	if (!owners || attest_models_text(owners, "owners", text, &e)) {
		free(owners);
		return -1;
	}
	free(rules.owners);
	rules.owners = owners;
	memcpy(rules.models, digest, sizeof(digest));
	return 0;
}

int enclave_rules_takes(const struct enclave_model *m, struct err *e)
{
	char manifest[ENCLAVE_MANIFEST_MAX];
	struct err why = {0};
	int bad;

	if (enclave_manifest(manifest, m, e))
		return -1;
	pthread_mutex_lock(&rules.lock);
	bad = rules.owners &&
	      attest_models_check(rules.owners, 0, (struct span){(const uint8_t *)manifest, strlen(manifest)},
				  &why);
	pthread_mutex_unlock(&rules.lock);
	return bad ? err_set(e, ERR_PEER,
			     "this enclave does not take it (enclave_owners of obscurad model-owner): %s",
			     why.text)
		   : 0;
}

/* ---- what is handed ---- */

static void tell(char what, int bad)
{
	const int revoked = what == ENCLAVE_HANDS_REVOKED;

	if (!bad)
		enclave_say(ENCLAVE_SAYS_NOTE, "it enforces the %s",
			    revoked			   ? "revocation list"
			    : what == ENCLAVE_HANDS_OWNERS ? "owners of models"
							   : "access rules");
	else if (revoked)
		enclave_say(
		    ENCLAVE_SAYS_WARNING,
		    "it refuses the revocation list: one list is needed, signed by the authority, not ended "
		    "and not older than the one before; obscura pki revoke makes it");
	else
		enclave_say(
		    ENCLAVE_SAYS_WARNING,
		    "it refuses the %s: they cannot be read, or a model owner has seen others already; "
		    "restart this daemon, then provision the model again",
		    what == ENCLAVE_HANDS_OWNERS ? "owners of models" : "access rules");
}

void enclave_rules_handed(char what, int fd)
{
	size_t n;
	char *text = slurp(fd, &n);
	int revoked = what == ENCLAVE_HANDS_REVOKED, bad;

	pthread_mutex_lock(&rules.lock);
	bad = !text || (revoked			       ? take_list(text, n)
			: what == ENCLAVE_HANDS_OWNERS ? take_owners(text, n)
						       : take_access(text, n));
	if (revoked)
		rules.no_list = bad && !rules.list;
	else if (what == ENCLAVE_HANDS_OWNERS && !rules.frozen)
		rules.no_owners = bad && !rules.owners;
	else if (!rules.frozen)
		rules.no_access = bad && !*rules.access;
	pthread_mutex_unlock(&rules.lock);
	free(text);
	tell(what, bad);
	if (revoked && !bad)
		enclave_owner_listed();
}

/* ---- questions ---- */

/* With the lock held. */
static size_t line_of(char *out, const char *word, const char *digest)
{
	return *digest ? (size_t)sprintf(out, "%s %s\n", word, digest) : 0;
}

size_t enclave_rules_freeze(char out[160])
{
	size_t n;

	pthread_mutex_lock(&rules.lock);
	rules.frozen = 1;
	n = line_of(out, "access", rules.access);
	n += line_of(out + n, "owners", rules.models);
	pthread_mutex_unlock(&rules.lock);
	return n;
}

uint64_t enclave_rules_list(void)
{
	uint64_t n = 0;

	pthread_mutex_lock(&rules.lock);
	if (rules.list) {
		int64_t number = number_of(rules.list);

		n = 1 + (uint64_t)(number < 0 ? 0 : number);
	}
	pthread_mutex_unlock(&rules.lock);
	return n;
}

size_t enclave_rules_policy(char out[ENCLAVE_POLICY_MAX], const char base[ENCLAVE_POLICY], int owner)
{
	size_t n = ENCLAVE_POLICY - 2; /* without the empty line at its end */

	memcpy(out, base, n);
	pthread_mutex_lock(&rules.lock);
	rules.frozen |= owner;
	n += line_of(out + n, "access", rules.access);
	n += line_of(out + n, "owners", rules.models);
	n += line_of(out + n, "revoked", rules.revoked);
	pthread_mutex_unlock(&rules.lock);
	memcpy(out + n, "\n", 2);
	return n + 1;
}

int enclave_rules_admit(SSL *ssl, struct err *e)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	X509_REVOKED *entry;

	pthread_mutex_lock(&rules.lock);
	if (rules.no_access || rules.no_list || rules.no_owners)
		err_set(e, ERR_PEER,
			"the enclave was given a file of %s that is not good, so nobody may use it; "
			"its operator finds the reason in the log",
			rules.no_list	  ? "revocations"
			: rules.no_owners ? "owners of models"
					  : "access rules");
	else if (rules.list && has_ended(rules.list))
		err_set(e, ERR_PEER,
			"the enclave's revocation list has ended; its operator makes the next one "
			"(obscura pki revoke) and reloads");
	else if (rules.list && (!cert || X509_CRL_get0_by_cert(rules.list, &entry, cert) == 1))
		err_set(e, ERR_PEER, "your certificate is revoked; ask the authority for another one");
	pthread_mutex_unlock(&rules.lock);
	return e->code ? -1 : 0;
}

static struct access_clock clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (struct access_clock){(uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000, time(NULL)};
}

/* With the lock held. All or nothing. */
static void use(const struct access_ask *ask, struct err *e)
{
	struct access_clock clock = clock_now();
	char account[NAME_BYTES];
	const struct access_rule *rule =
	    book_rule(&rules.book, ask->who.names, NULL, ask->model, account, sizeof(account));

	if (book_may(&rules.book, rule, ask, account, e) || !ask->n ||
	    !book_left(&rules.book, rule, ask, account, &clock, e))
		return;
	if (book_add(&rules.book, account, ask->model, ask->n, &clock))
		err_set(e, ERR_ENV, "the enclave is out of memory");
}

int enclave_rules_use(SSL *ssl, const char *model, unsigned reveal, size_t n, struct err *e)
{
	char names[TLS_NAMES];
	struct access_ask ask = {.who = {names, names, NULL},
				 .model = model,
				 .reveal = (enum plan_reveal)reveal,
				 .n = (uint32_t)n,
				 .whole = 1};

	pthread_mutex_lock(&rules.lock);
	if (*rules.access) {
		tls_names(ssl, names, sizeof(names));
		use(&ask, e);
	}
	pthread_mutex_unlock(&rules.lock);
	return e->code ? -1 : 0;
}
