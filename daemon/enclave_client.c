/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of the enclave personality. The enclave's certificate is its own; what counts is that the
 * evidence is bound to its key, to this connection (nonce, exporter), to the authority that we use, and to
 * the model's manifest. */
#include "daemon/enclave_client_parts.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "crypto/attest/binding.h"
#include "daemon/net_parts.h"
#include "daemon/soon.h"
#include "daemon/tls.h"
#include "daemon/tls_lean.h"

#define EVIDENCE_MAX (1u << 20)
#define DIAL_STEPS 3 /* a handshake, and evidence, for which others may be before us */

double enclave_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the connection ---- */

static int dial(int *fd, const struct config *config, const char *congestion, struct err *e)
{
	const char *address = config->enclave;
	uint64_t ms = config->step_ms;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	struct timeval wait = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
	char host[256], port[16];
	int one = 1, bad;

	if (address_split(address, host, sizeof(host), port, sizeof(port), e))
		return -1;
	bad = getaddrinfo(host, port, &hints, &found);
	if (bad)
		return err_set(e, ERR_REACH, "enclave %s: %s", address, gai_strerror(bad));
	*fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd >= 0) {
		setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
		setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		socket_congestion(*fd, congestion);
	}
	bad = *fd < 0 || connect(*fd, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return bad ? err_set(e, ERR_REACH, "cannot reach the enclave at %s: %s", address, strerror(errno))
		   : 0;
}

/* A role's own files, unless others are named; what a client has by default are the data owner's. */
static void file_of(char out[512], const char *given, const char *origin, char role, const char *end)
{
	snprintf(out, 512, "%s", given);
	if (!*given || (origin && !strcmp(origin, "default")))
		snprintf(out, 512, "/etc/obscura/pki/%s%s", role == 'M' ? "model-owner" : "data-owner", end);
}

/* Our certificate, for all connections. */
static int read_identity(struct enclave_trust *t, const struct config *c, char role, struct err *e)
{
	char cert[512], key[512];

	file_of(cert, c->certificate, c->origin.certificate, role, ".pem");
	file_of(key, c->key, c->origin.key, role, ".key");
	t->tls = SSL_CTX_new_ex(tls_lean(), NULL, TLS_client_method());
	if (!t->tls || !SSL_CTX_set_min_proto_version(t->tls, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(t->tls, TLS_SUITES))
		return err_set(e, ERR_ENV, "cannot prepare TLS");
	SSL_CTX_set_read_ahead(t->tls, 1); /* head and body of a record, or all of a flight, in one read */
	if (SSL_CTX_use_certificate_chain_file(t->tls, cert) != 1 || tls_lean_key(t->tls, key))
		return err_set(e, ERR_INPUT, "cannot use %.200s with %.200s (--certificate, --key)", cert,
			       key);
	return 0;
}

/* Each read waits no longer than a step; whoever sends a byte now and then must end, too: a worker waits, and
 * a daemon that stops waits for it. */
static long in_time(BIO *b, int what, const char *p, size_t n, int argi, long argl, int ret, size_t *done)
{
	const struct enclave *x = (const struct enclave *)BIO_get_callback_arg(b);

	if (what != BIO_CB_READ || enclave_now() < x->until_s)
		return ret;
	BIO_clear_retry_flags(b);
	errno = ETIMEDOUT;
	return -1;
}

static int handshake(struct enclave *x, const struct config *c, struct err *e)
{
	int r;

	x->ssl = SSL_new(x->trust->tls);
	if (!x->ssl || soon_set_fd(x->ssl, x->fd))
		return err_set(e, ERR_ENV, "cannot prepare TLS");
	x->until_s = enclave_now() + DIAL_STEPS * (double)c->step_ms / 1e3;
	BIO_set_callback_arg(SSL_get_rbio(x->ssl), (char *)x);
	BIO_set_callback_ex(SSL_get_rbio(x->ssl), in_time);
	errno = 0;
	r = SSL_connect(x->ssl);
	if (r == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_REACH, "enclave %s: the TLS handshake failed: %s", c->enclave,
		       errno ? strerror(errno) : "the other side ended it");
}

/* ---- evidence ---- */

static int read_policy(struct enclave_trust *t, const struct enclave_how *how, struct err *e)
{
	if (!how->policy || !*how->policy)
		return err_set(e, ERR_USAGE, "say what you accept: --policy FILE (docs/ATTESTATION.md)");
	if (attest_policy_read(&t->policy, how->policy, e))
		return -1;
	if (how->accept_simulated)
		t->policy.policy.allow |= 1u << ATTEST_ALLOW_SIMULATED;
	if (how->chain && attest_policy_chain(&t->policy, how->chain, e))
		return -1;
	return how->collateral ? attest_policy_collateral(&t->policy, how->collateral, e) : 0;
}

static int read_authority(const char *path, X509 **ca, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_INPUT, "cannot read %.300s: %s", path, strerror(errno));
	*ca = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	ERR_clear_error();
	return *ca ? 0 : err_set(e, ERR_INPUT, "%.300s: this is no PEM certificate", path);
}

/* Pictures leave at once where they can: congestion.c. */
static void choose_congestion(struct enclave_trust *t, const struct config *c)
{
	struct err ignore = {0}; /* the daemon said it when it started */

	if (congestion_choose(t->congestion, c->congestion ? c->congestion : "auto", &ignore))
		t->congestion[0] = 0;
}

static int trust_new(struct enclave_trust **trust, const struct enclave_how *how, struct err *e)
{
	struct enclave_trust *t = calloc(1, sizeof(*t));

	*trust = NULL;
	if (!t)
		return err_set(e, ERR_ENV, "out of memory");
	if (read_policy(t, how, e) || read_identity(t, how->config, how->role, e) ||
	    read_authority(how->config->ca, &t->authority, e)) {
		enclave_trust_free(t);
		return -1;
	}
	choose_congestion(t, how->config);
	*trust = t;
	return 0;
}

void enclave_trust_free(struct enclave_trust *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->tls);
	X509_free(t->authority);
	attest_policy_free(&t->policy);
	ERR_clear_error();
	free(t);
}

/* What an enclave that obeys our authority would have been asked to sign. */
static int expected_data(struct enclave *x, char role, const uint8_t *nonce, struct span policy,
			 struct span manifest, uint8_t out[64], struct err *e)
{
	struct binding b = {.role = (uint8_t)role, .nonce = nonce, .policy = policy, .manifest = manifest};
	uint8_t exporter[BINDING_NONCE], *der = NULL;
	char want[ENCLAVE_POLICY];
	X509 *cert = SSL_get0_peer_certificate(x->ssl);
	int n = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der) : -1, bad;

	bad = n <= 0 || SSL_export_keying_material(x->ssl, exporter, sizeof(exporter), BINDING_EXPORTER_LABEL,
						   strlen(BINDING_EXPORTER_LABEL), NULL, 0, 0) != 1
		  ? err_set(e, ERR_PEER, "the enclave's TLS is unusable")
		  : enclave_policy(want, x->trust->authority, x->release, e);
	if (!bad && (enclave_policy_release(policy, x->release) || memcmp(policy.p, want, ENCLAVE_POLICY_CA)))
		bad = err_set(e, ERR_ATTEST,
			      "the enclave obeys another authority: expected %.67s, received %.*s", want,
			      (int)(policy.n < 67 ? policy.n : 67), (const char *)policy.p);
	b.key = (struct span){der, n > 0 ? (size_t)n : 0};
	b.exporter = exporter;
	if (!bad)
		bad = binding_report_data(&b, out, e);
	OPENSSL_free(der);
	return bad;
}

/* The report data that evidence for this connection has; whatever else a policy named would be an
 * alternative. */
static int demand_data(struct attest_policy_file *p, const uint8_t data[64], struct err *e)
{
	for (size_t i = 0; i < p->policy.n_values; i++)
		if (p->values[i].field == ATTEST_FIELD_REPORT_DATA)
			return err_set(
			    e, ERR_INPUT,
			    "the policy names report_data, which the connection decides: leave it out");
	if (p->policy.n_values == ATTEST_POLICY_VALUES)
		return err_set(e, ERR_INPUT, "the policy names too many values");
	p->values[p->policy.n_values].field = ATTEST_FIELD_REPORT_DATA;
	memcpy(p->values[p->policy.n_values++].bytes, data, 64);
	return 0;
}

/* The certificate is as old as its evidence: both were made when the enclave started, by its clock. */
static int check_age(const X509 *cert, uint64_t most, struct err *e)
{
	struct tm made;
	int64_t age;

	if (!ASN1_TIME_to_tm(X509_get0_notBefore(cert), &made))
		return err_set(e, ERR_PEER, "the enclave's certificate has no time");
	age = (int64_t)time(NULL) - (int64_t)timegm(&made) - ENCLAVE_CLOCK_SLACK;
	return age <= (int64_t)most
		   ? 0
		   : err_set(e, ERR_ATTEST,
			     "the enclave's evidence of boot time is too old: expected at most %llu "
			     "seconds (boot_evidence_age), received %lld",
			     (unsigned long long)most, (long long)age);
}

/* Evidence in the certificate of this connection: bound to its key, and so to the connection, but as old as
 * the enclave. */
static int judge_boot(struct enclave *x, struct attest_result *r, struct err *e)
{
	const X509 *cert = SSL_get0_peer_certificate(x->ssl);
	uint8_t *der = NULL;
	int n, bad;

	if (!x->boot)
		return err_set(e, ERR_ATTEST,
			       "the enclave gives evidence of boot time, which was not asked for");
	n = i2d_X509(cert, &der);
	bad = n <= 0 ? err_set(e, ERR_ENV, "out of memory")
		     : attest_judge(r, ENCLAVE_RATLS, (struct span){der, (size_t)n}, (struct span){NULL, 0},
				    &x->trust->policy, (int64_t)time(NULL), e);
	OPENSSL_free(der);
	return bad || check_age(cert, x->trust->policy.boot_evidence_age, e) ? -1 : 0;
}

static int judge(struct enclave *x, struct span kind, struct span report, struct span chain,
		 const uint8_t data[64], struct err *e)
{
	unsigned number = kind.n == 1 ? *kind.p : 0;
	struct attest_result r;
	size_t n_values;
	int bad;

	n_values = x->trust->policy.policy.n_values;
	bad = number == ENCLAVE_RATLS
		  ? judge_boot(x, &r, e)
		  : demand_data(&x->trust->policy, data, e) ||
			attest_judge(&r, number, report, chain, &x->trust->policy, (int64_t)time(NULL), e);
	x->trust->policy.policy.n_values = n_values; /* without this connection's */
	if (bad)
		return -1;
	if (!attest_accepted(r.verdict))
		return err_set(e, ERR_ATTEST, "attestation rejected: %s: %s%s%s",
			       attest_verdict_name(r.verdict), attest_verdict_sentence(r.verdict),
			       *r.detail ? ": " : "", r.detail);
	x->simulated = r.verdict == ATTEST_SIMULATED;
	if (!r.program_named)
		return err_set(
		    e, ERR_ATTEST,
		    "the policy names no program: add its measurement, expected one, received any");
	return 0;
}

static int attest(struct enclave *x, const struct enclave_how *how, struct err *e)
{
	char role = how->role;
	uint8_t hello[1 + BINDING_NONCE] = {(uint8_t)role}, data[64], *body;
	struct enclave_evidence v;
	size_t n;
	enum enclave_type type;
	int bad;

	x->boot = role == 'D' &&
		  x->trust->policy.boot_evidence_age; /* a model goes to this connection's enclave only */
	if (!x->boot && RAND_bytes(hello + 1, BINDING_NONCE) != 1)
		return err_set(e, ERR_ENV, "this system gives no random numbers");
	if (enclave_send(x->ssl, ENCLAVE_HELLO, hello, sizeof(hello), e) ||
	    enclave_receive(x->ssl, ENCLAVE_EVIDENCE, EVIDENCE_MAX, &type, &body, &n, e))
		return -1;
	if (enclave_evidence_read((struct span){body, n}, &v))
		bad = err_set(e, ERR_PEER, "the enclave's evidence is malformed");
	else
		bad = expected_data(x, role, hello + 1, v.policy, v.manifest, data, e) ||
		      judge(x, v.kind, v.report, v.chain, data, e) ||
		      (role == 'D' ? attest_model_check(&x->trust->policy, v.manifest, e)
				   : enclave_files_check(how->config, v.policy, e));
	free(body);
	return bad ? -1 : 0;
}

/* Kept, or read now. */
static int trust(struct enclave *x, const struct enclave_how *how, struct err *e)
{
	x->kept = how->keep != NULL;
	x->trust = how->keep ? *how->keep : NULL;
	if (!x->trust && trust_new(&x->trust, how, e))
		return -1;
	if (how->keep)
		*how->keep = x->trust;
	return 0;
}

int enclave_dial(struct enclave **out, const struct enclave_how *how, struct err *e)
{
	struct enclave *x = calloc(1, sizeof(*x));
	double start = enclave_now();

	*out = NULL;
	if (!x)
		return err_set(e, ERR_ENV, "out of memory");
	x->fd = -1;
	if (trust(x, how, e) || dial(&x->fd, how->config, x->trust->congestion, e) ||
	    handshake(x, how->config, e) || attest(x, how, e)) {
		enclave_close(x);
		return -1;
	}
	BIO_set_callback_ex(SSL_get_rbio(x->ssl), NULL);
	x->connect_s = enclave_now() - start;
	*out = x;
	return 0;
}

int enclave_simulated(const struct enclave *x)
{
	return x->simulated;
}

uint64_t enclave_attestation_age(const struct enclave *x)
{
	return x->trust->policy.attestation_age;
}

void enclave_close(struct enclave *x)
{
	if (!x)
		return;
	if (x->ssl && SSL_is_init_finished(x->ssl))
		SSL_shutdown(x->ssl);
	SSL_free(x->ssl);
	free(x->in);
	if (!x->kept)
		enclave_trust_free(x->trust);
	if (x->fd >= 0)
		close(x->fd);
	ERR_clear_error();
	free(x);
}

/* ---- questions ---- */

/* Nothing is offline here, but who reads an answer finds both. New; NULL when memory is short. */
static Wire__Bytes *counted(uint64_t sent, uint64_t received)
{
	Wire__Bytes *b = calloc(1, sizeof(*b));
	Wire__Counted *on = calloc(1, sizeof(*on)), *off = calloc(1, sizeof(*off));

	if (!b || !on || !off) {
		free(b);
		free(on);
		free(off);
		return NULL;
	}
	wire__bytes__init(b);
	wire__counted__init(on);
	wire__counted__init(off);
	on->sent = sent;
	on->received = received;
	b->online = on;
	b->offline = off;
	return b;
}

/* Payload of one picture: its pixels; its label and scores. What TLS moved is shared among the pictures of
 * the request. */
static int count(Wire__Result *r, uint64_t pixels, uint64_t sent, uint64_t received)
{
	r->bytes = counted(pixels, 4 * (r->n_scores + 1));
	r->wire = counted(sent, received);
	return r->bytes && r->wire ? 0 : -1;
}

/* What the model takes and gives must be said: others rely on it. */
static int check_described(Wire__Classified *c, struct err *e)
{
	const Wire__Counted *on = c->predicted ? c->predicted->online : NULL;
	Wire__Bytes *whole;

	if (!c->input || !on || c->error)
		return err_set(e, ERR_PEER, "the enclave does not describe its model");
	whole = counted(on->sent, on->received);
	if (!whole)
		return err_set(e, ERR_ENV, "out of memory");
	wire__bytes__free_unpacked(c->predicted, NULL);
	c->predicted = whole;
	return 0;
}

int enclave_account(struct enclave *x, Wire__Classified *c, size_t images, size_t image_bytes, double seconds,
		    uint64_t sent, uint64_t received, struct err *e)
{
	c->simulated = x->simulated;
	if (check_described(c, e))
		return -1;
	if (c->n_results != images)
		return err_set(e, ERR_PEER, "the enclave gave %zu results for %zu pictures", c->n_results,
			       images);
	for (size_t i = 0; i < c->n_results; i++) {
		Wire__Result *r = c->results[i];

		r->online = seconds;
		r->connect = x->connect_s;
		r->total = seconds + x->connect_s;
		if (r->bytes || r->wire ||
		    count(r, image_bytes, sent / c->n_results, received / c->n_results))
			return err_set(e, ERR_PEER, "the enclave's answer cannot be used");
	}
	if (c->n_results)
		x->connect_s = 0; /* told once */
	return 0;
}

int enclave_classify(struct enclave *x, const Wire__Classify *q, Wire__Classified **reply, struct err *e)
{
	size_t n = wire__classify__get_packed_size(q);
	uint8_t *packed = malloc(n + 1), *body;
	enum enclave_type type;
	BIO *in = SSL_get_rbio(x->ssl), *out = SSL_get_wbio(x->ssl);
	uint64_t received = BIO_number_read(in), sent = BIO_number_written(out);
	double start = enclave_now();
	int bad;

	if (!packed)
		return err_set(e, ERR_ENV, "out of memory");
	wire__classify__pack(q, packed);
	bad = enclave_send(x->ssl, ENCLAVE_CLASSIFY, packed, n, e) ||
	      enclave_receive(x->ssl, ENCLAVE_CLASSIFIED, ENCLAVE_BODY_MAX, &type, &body, &n, e);
	free(packed);
	if (bad)
		return -1;
	start = enclave_now() - start;
	*reply = wire__classified__unpack(NULL, n, body);
	free(body);
	if (!*reply)
		return err_set(e, ERR_PEER, "the enclave's answer cannot be read");
	if (!enclave_account(x, *reply, q->n_images, q->n_images ? q->images[0].len : 0, start,
			     BIO_number_written(out) - sent, BIO_number_read(in) - received, e))
		return 0;
	wire__classified__free_unpacked(*reply, NULL);
	*reply = NULL;
	return -1;
}

int enclave_bring(struct enclave *x, enum enclave_type type, struct span body,
		  char manifest[ENCLAVE_MANIFEST_MAX], int *simulated, struct err *e)
{
	enum enclave_type got;
	uint8_t *reply;
	size_t n;

	if (enclave_send(x->ssl, type, body.p, body.n, e) ||
	    enclave_receive(x->ssl, ENCLAVE_PROVISIONED, ENCLAVE_MANIFEST_MAX - 1, &got, &reply, &n, e))
		return -1;
	memcpy(manifest, reply, n + 1);
	free(reply);
	*simulated = x->simulated;
	return 0;
}

const uint8_t *enclave_release_key(const struct enclave *x)
{
	return x->release;
}
