/* SPDX-License-Identifier: Apache-2.0 */
/* The child: TLS 1.3 with certificates on both ends, evidence bound to this connection, then inference or a
 * new model. */
#include "daemon/enclave.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "crypto/attest/binding.h"
#include "crypto/attest/parts.h"
#include "crypto/attest/sim.h"
#include "daemon/enclave_parts.h"
#include "daemon/soon.h"
#include "daemon/tls_lean.h"

/* What enclave_harden puts in force. */
#define OWN_HARDENING                                                                                        \
	(1u << SIM_OWN_UID | 1u << SIM_NO_NEW_PRIVS | 1u << SIM_NOT_DUMPABLE | 1u << SIM_LANDLOCK |          \
	 1u << SIM_SECRET_MEMORY | 1u << SIM_SECCOMP)
#define HELLO_BYTES (1 + BINDING_NONCE)

/* All of the enclave; set before the first thread. */
static struct {
	SSL_CTX *tls;
	struct span key; /* own SubjectPublicKeyInfo */
	char policy[ENCLAVE_POLICY];
	uint32_t hardening;
	const struct quote_provider *local; /* NULL: the quoter asks */
	int ratls;			    /* the certificate has evidence of boot time */
	int serving; /* a front end that goes astray later cannot bring another keeper */
} own;

/* ---- asking for evidence ---- */

/* Asks the quoter, or what is here; one thread at a time (enclave_turns.c). */
static int quote(const uint8_t data[64], struct quoted *q, struct err *e)
{
	struct enclave_ask ask = {.hardening = own.hardening};
	ssize_t got = -1;

	if (own.local)
		return quote_get(own.local, &quote_host_linux, data, q, e);
	memcpy(ask.report_data, data, 64);
	if (send(ENCLAVE_FD_QUOTE, &ask, sizeof(ask), MSG_NOSIGNAL) == (ssize_t)sizeof(ask))
		got = soon_recv(ENCLAVE_FD_QUOTE, q, sizeof(*q));
	if (got < 0 || !quoted_whole(q, (size_t)got))
		return err_set(e, ERR_ENV, "the quoting process does not answer");
	return q->kind ? 0 : err_set(e, ERR_ENV, "%.*s", (int)q->report_n, (const char *)q->bytes);
}

/* ---- start: authority, key, certificate ---- */

static X509 *read_authority(int file, struct err *e)
{
	char text[16384];
	ssize_t n = read(file, text, sizeof(text));
	BIO *in = n > 0 ? BIO_new_mem_buf(text, (int)n) : NULL;
	X509 *ca = in ? PEM_read_bio_X509(in, NULL, NULL, (void *)"") : NULL;

	BIO_free(in);
	close(file);
	if (!ca)
		err_set(e, ERR_INPUT, "the authority's certificate cannot be read");
	return ca;
}

/* Of a ClientHello, before anything is done about it. */
static int on_client(SSL *ssl, int *alert, void *unused)
{
	return guest_speaks(SSL_get_app_data(ssl)) ? SSL_CLIENT_HELLO_ERROR : SSL_CLIENT_HELLO_SUCCESS;
}

int enclave_child_prepare(int file, const struct quote_provider *local, int boot, struct err *e)
{
	uint8_t release[ENCLAVE_RELEASE_KEY];
	X509 *ca;
	int bad;

	signal(SIGPIPE, SIG_IGN);
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS, NULL);
	ca = read_authority(file, e);
	bad =
	    !ca || enclave_owner_start(release, own.policy, e) || enclave_policy(own.policy, ca, release, e);
	if (!bad) {
		own.tls = SSL_CTX_new_ex(tls_lean(), NULL, TLS_server_method());
		bad = !own.tls || !SSL_CTX_set_min_proto_version(own.tls, TLS1_3_VERSION) ||
		      !X509_STORE_add_cert(SSL_CTX_get_cert_store(own.tls), ca) ||
		      !SSL_CTX_set_num_tickets(own.tls, 0) ||
		      !SSL_CTX_set_purpose(own.tls, X509_PURPOSE_SSL_CLIENT);
		if (bad) {
			err_set(e, ERR_ENV, "cannot prepare TLS");
		} else {
			SSL_CTX_set_verify(own.tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
			SSL_CTX_set_read_ahead(own.tls, 1);
			SSL_CTX_set_client_hello_cb(own.tls, on_client, NULL);
		}
	}
	if (!bad)
		enclave_rules_start(ca);
	X509_free(ca);
	own.local = local;
	return bad || enclave_identity(own.tls, boot ? quote : NULL, &own.key, &own.ratls, e) ? -1 : 0;
}

/* ---- evidence for a connection ---- */

static int quote_in_turn(const struct guest *g, const uint8_t data[64], struct quoted *q, struct err *e)
{
	int bad;

	if (turn_begin(g->who, e))
		return -1;
	bad = quote(data, q, e);
	turn_end();
	return bad;
}

static int send_evidence(struct guest *g, struct span policy, const char *manifest, const struct quoted *q,
			 struct err *e)
{
	const uint8_t kind = (uint8_t)q->kind;
	const struct span parts[] = {{&kind, 1},
				     {q->bytes, q->report_n},
				     {q->bytes + q->report_n, q->chain_n},
				     policy,
				     {(const uint8_t *)manifest, strlen(manifest)}};
	uint8_t body[sizeof(*q) + ENCLAVE_POLICY_MAX + ENCLAVE_MANIFEST_MAX + 32];
	size_t at = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		at += enclave_put(body + at, parts[i]);
	return enclave_send(g->ssl, ENCLAVE_EVIDENCE, body, at, e);
}

static int on_hello(struct guest *g, const uint8_t *body, size_t n, struct err *e)
{
	uint8_t exporter[BINDING_NONCE], data[64];
	struct quoted q;
	char manifest[ENCLAVE_MANIFEST_MAX], policy[ENCLAVE_POLICY_MAX];
	struct binding b = {
	    .key = own.key,
	    .policy = {(const uint8_t *)policy, enclave_rules_policy(policy, own.policy, g->owner)},
	    .exporter = exporter};

	if (n != HELLO_BYTES)
		return err_set(e, ERR_PEER, "HELLO of %zu bytes", n);
	enclave_model_manifest(manifest);
	memcpy(g->manifest, manifest, sizeof(manifest));
	b.role = g->owner ? 'M' : 'D';
	b.nonce = body + 1;
	b.manifest = (struct span){(const uint8_t *)manifest, strlen(manifest)};
	if (SSL_export_keying_material(g->ssl, exporter, sizeof(exporter), BINDING_EXPORTER_LABEL,
				       strlen(BINDING_EXPORTER_LABEL), NULL, 0, 0) != 1)
		return err_set(e, ERR_PEER, "TLS gives no exporter");
	if (own.ratls && bytes_zero(b.nonce, BINDING_NONCE)) {
		q.kind = ENCLAVE_RATLS;
		q.report_n = q.chain_n = 0;
	} else if (binding_report_data(&b, data, e) || quote_in_turn(g, data, &q, e)) {
		return -1;
	}
	g->greeted = 1;
	return send_evidence(g, b.policy, manifest, &q, e);
}

/* ---- connections ---- */

/* The role in a client's certificate, which the authority has signed. */
static int is_owner(SSL *ssl)
{
	X509 *cert = SSL_get0_peer_certificate(ssl);
	char role[64] = "";

	if (cert)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_organizationalUnitName, role,
					  sizeof(role));
	return !strcmp(role, "model-owner") ? 1 : !strcmp(role, "data-owner") ? 0 : -1;
}

/* It came to be asked, and was: when the next question comes nobody knows. */
static int settle(struct guest *g)
{
	if (g->settled)
		return 0;
	g->settled = 1;
	return SSL_set_fd(g->ssl, g->fd) == 1 ? 0 : -1;
}

/* 0 while the connection goes on. A refusal is told, and ends it. */
static int serve_one(struct guest *g)
{
	enum enclave_type type;
	struct err e = {0};
	uint8_t *body;
	size_t n;
	int bad;

	if (enclave_receive(g->ssl, 0, g->greeted ? ENCLAVE_BODY_MAX : HELLO_BYTES, &type, &body, &n, &e))
		return -1;
	if (enclave_rules_admit(g->ssl, &e))
		bad = -1;
	else if (type == ENCLAVE_HELLO)
		bad = on_hello(g, body, n, &e);
	else if (!g->greeted)
		bad = err_set(&e, ERR_PEER, "evidence comes first");
	else if (type == ENCLAVE_CLASSIFY)
		bad = enclave_on_classify(g, body, n, &e);
	else if (type == ENCLAVE_PROVISION)
		bad = enclave_on_provision(g, body, n, &e);
	else if (type == ENCLAVE_RELEASE)
		bad = enclave_on_release(g, body, n, &e);
	else
		bad = err_set(&e, ERR_PEER, "message %d is unknown", type);
	free(body);
	/* Whoever asks may want no other model than it was shown: it connects again, and judges new evidence.
	 */
	if (g->outdated)
		return -1;
	if (bad && enclave_send(g->ssl, ENCLAVE_REFUSED, e.text, strlen(e.text), &(struct err){0}))
		return -1;
	return bad || (type != ENCLAVE_HELLO && settle(g)) ? -1 : 0;
}

static void refuse_crowd(struct guest *g)
{
	static const char why[] =
	    "this certificate has as many connections here as one may have; end one of them";

	if (enclave_send(g->ssl, ENCLAVE_REFUSED, why, strlen(why), &(struct err){0}))
		ERR_clear_error(); /* it did not stay to hear */
}

/* The random generators of this thread are made now, not when the client waits: libssl's, and the one behind
 * it that makes keys. */
static void warm_up(void)
{
	uint8_t unused;

	if (RAND_bytes_ex(tls_lean(), &unused, 1, 0) != 1 || RAND_priv_bytes(&unused, 1) != 1)
		ERR_clear_error(); /* the handshake will say it */
}

static void *serve(void *arg)
{
	struct guest *g = arg;

	warm_up();
	g->ssl = SSL_new(own.tls);
	if (g->ssl && SSL_set_app_data(g->ssl, g) && !soon_set_fd(g->ssl, g->fd) && SSL_accept(g->ssl) == 1) {
		g->owner = is_owner(g->ssl);
		if (guest_known(g, SSL_get0_peer_certificate(g->ssl)))
			refuse_crowd(g);
		else
			while (g->owner >= 0 && !serve_one(g))
				;
		SSL_shutdown(g->ssl);
	}
	SSL_free(g->ssl);
	ERR_clear_error();
	guest_leave(g);
	close(g->fd);
	free(g);
	return NULL;
}

void enclave_child_accept(int fd, enum guest_place place)
{
	struct guest *g = calloc(1, sizeof(*g));
	pthread_attr_t detached;
	pthread_t thread;

	if (g)
		g->fd = fd;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (!g || guest_enter(g, place)) {
		free(g);
		close(fd);
	} else if (pthread_create(&thread, &detached, serve, g)) {
		guest_leave(g);
		free(g);
		close(fd);
	}
	pthread_attr_destroy(&detached);
}

/* A file descriptor from the front end; -1 when the front end is gone. */
static int next_handed(void)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = {&byte, 1};
	struct msghdr m = {
	    .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(ENCLAVE_FD_CONTROL, &m, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return 0;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (byte == ENCLAVE_HANDS_ACCESS || byte == ENCLAVE_HANDS_REVOKED || byte == ENCLAVE_HANDS_OWNERS) {
		enclave_rules_handed(byte, fd);
		return 0;
	}
	if (byte == ENCLAVE_HANDS_CONNECTION || byte == ENCLAVE_HANDS_SPARE) {
		own.serving = 1;
		enclave_child_accept(fd, byte == ENCLAVE_HANDS_SPARE ? GUEST_SPARE : GUEST_COMES);
		return 0;
	}
	if (byte == ENCLAVE_HANDS_SEALED)
		enclave_owner_lies_here(fd);
	else if (!own.serving)
		enclave_owner_keeper(fd);
	else
		close(fd);
	return 0;
}

int enclave_child_main(const char *tee)
{
	struct err e = {0};

	if (enclave_child_prepare(ENCLAVE_FD_CA, NULL, strcmp(tee, "sim") != 0, &e)) {
		fprintf(stderr, "obscura-enclave: %s\n", e.text);
		return e.code;
	}
	own.hardening = enclave_harden();
	/* A quote of hardware does not say how the child is hardened: there it serves whole or not at all. */
	if (strcmp(tee, "sim") && (own.hardening & OWN_HARDENING) != OWN_HARDENING) {
		enclave_say(
		    ENCLAVE_SAYS_WARNING,
		    "it is not hardened (bits %#x of %#x), so it does not serve: start obscurad as root "
		    "of a guest with secretmem.enable=y and Landlock",
		    own.hardening & OWN_HARDENING, OWN_HARDENING);
		return ERR_ENV;
	}
	if (write(ENCLAVE_FD_CONTROL, (char[]){ENCLAVE_SAYS_READY}, 1) != 1)
		return ERR_ENV;
	while (!next_handed())
		;
	_exit(0); /* threads still serve: exit() would take OpenSSL down under them */
}
