/* SPDX-License-Identifier: Apache-2.0 */
/* test/client/enclave_stage.h — a client and, in a thread, what answers in an enclave's place: files of both,
 * evidence bound to the connection at hand, one meeting. The test that includes this says what is sent. */
#ifndef OBSCURA_TEST_CLIENT_ENCLAVE_STAGE_H
#define OBSCURA_TEST_CLIENT_ENCLAVE_STAGE_H

#include "client/enclave.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/certificate.h"
#include "crypto/attest/binding.h"
#include "daemon/enclave_wire.h"
#include "test/crypto/attest/make.h"
#include "test/test.h"

/* Of the model that the enclave's side has. */
#define STAGE_DIGEST                                                                                         \
	"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
#define STAGE_OWNER "e0e1e2e3e4e5e6e7e8e9eaebecedeeefe0e1e2e3e4e5e6e7e8e9eaebecedeeef"

static char stage_folder[] = "/tmp/obscura-enclave.XXXXXX";
static struct identity authority;
static struct make_id own; /* what the enclave's side shows */
static SSL_CTX *server;

/* Sends EVIDENCE, or what else the trick is. */
static void answer(SSL *ssl, const uint8_t *hello, int trick);

static const char *path_of(const char *name)
{
	static char paths[8][128];
	static int at;
	char *path = paths[at++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", stage_folder, name);
	return path;
}

static void write_file(const char *name, const void *p, size_t n)
{
	FILE *f = fopen(path_of(name), "w");

	make_must(f && fwrite(p, 1, n, f) == n && !fclose(f));
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

/* A folder with the client's identity and its authority; the other side's certificate. */
static void stage_start(void)
{
	static char host[] = "localhost";
	char *const hosts[] = {host};
	struct identity leaf;
	struct err e = {0};

	make_must(mkdtemp(stage_folder) != NULL);
	signal(SIGPIPE, SIG_IGN);
	make_must(!authority_make(&authority, 30, &e) &&
		  !certificate_write(path_of("ca.pem"), authority.certificate, 1, &e) &&
		  !identity_make(&leaf, &authority, "data-owner", hosts, 1, 10, &e) &&
		  !certificate_write(path_of("d.pem"), leaf.certificate, 1, &e) &&
		  !key_write(path_of("d.key"), leaf.key, 1, &e));
	identity_free(&leaf);
	own = make_cert("enclave", EVP_EC_gen("P-256"), NULL, 0, NULL, 0);
	make_valid_now(&own, &own);
	server = SSL_CTX_new(TLS_server_method());
	make_must(server && SSL_CTX_use_certificate(server, own.cert) == 1 &&
		  SSL_CTX_use_PrivateKey(server, own.key) == 1);
}

static int stage_stop(void)
{
	char command[80];

	SSL_CTX_free(server);
	make_id_free(&own);
	identity_free(&authority);
	snprintf(command, sizeof(command), "rm -r %s", stage_folder);
	return system(command);
}

/* ---- evidence ---- */

/* What evidence for a connection is bound to; a test changes it before or after the report is made. */
struct bound {
	char policy[ENCLAVE_POLICY], manifest[ENCLAVE_MANIFEST_MAX];
	uint8_t *key, exporter[32]; /* owns */
	struct binding b;
};

static void bind_to(struct bound *x, SSL *ssl, const uint8_t *hello)
{
	uint8_t release[ENCLAVE_RELEASE_KEY] = {7};
	struct err e = {0};
	int size;

	x->key = NULL;
	size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(SSL_CTX_get0_certificate(server)), &x->key);
	strcpy(x->manifest, "model\n2\n" STAGE_DIGEST "\nowner " STAGE_OWNER "\n");
	make_must(size > 0 && !enclave_policy(x->policy, authority.certificate, release, &e));
	make_must(SSL_export_keying_material(ssl, x->exporter, 32, BINDING_EXPORTER_LABEL,
					     strlen(BINDING_EXPORTER_LABEL), NULL, 0, 0) == 1);
	x->b = (struct binding){'D',
				{x->key, (size_t)size},
				{(const uint8_t *)x->policy, ENCLAVE_POLICY - 1},
				{(const uint8_t *)x->manifest, strlen(x->manifest)},
				hello + 1,
				x->exporter};
}

/* The body of EVIDENCE; returns its bytes. Ends the bound. */
static size_t put_evidence(uint8_t *out, uint8_t kind, struct span report, struct span chain, struct bound *x)
{
	const struct span parts[5] = {{&kind, 1}, report, chain, x->b.policy, x->b.manifest};
	size_t n = 0;

	for (int i = 0; i < 5; i++)
		n += enclave_put(out + n, parts[i]);
	OPENSSL_free(x->key);
	return n;
}

/* ---- a meeting ---- */

struct stage {
	int listener, trick;
};

static void *play(void *arg)
{
	struct stage *s = arg;
	SSL *ssl = SSL_new(server);
	int fd = accept(s->listener, NULL, NULL);
	uint8_t *hello = NULL, *last = NULL;
	enum enclave_type type;
	struct err e = {0};
	size_t n;

	make_must(ssl && fd >= 0 && SSL_set_fd(ssl, fd));
	if (SSL_accept(ssl) == 1 && !enclave_receive(ssl, ENCLAVE_HELLO, 64, &type, &hello, &n, &e)) {
		answer(ssl, hello, s->trick);
		(void)!enclave_receive(ssl, 0, 64, &type, &last, &n, &e); /* until the client goes */
	}
	free(last);
	free(hello);
	SSL_free(ssl);
	close(fd);
	return NULL;
}

/* The client calls once, with these flags. *simulated: of an enclave that was accepted. */
static enum err_code meet_with(int trick, struct args *a, int *simulated, struct err *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct stage stage = {socket(AF_INET, SOCK_STREAM, 0), trick};
	socklen_t n = sizeof(at);
	struct enclave *x = NULL;
	pthread_t thread;
	char address[32];

	make_must(!bind(stage.listener, (struct sockaddr *)&at, n) && !listen(stage.listener, 1) &&
		  !getsockname(stage.listener, (struct sockaddr *)&at, &n));
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
	a->command = "classify";
	a->config.enclave = address;
	a->config.ca = (char *)path_of("ca.pem");
	a->config.certificate = (char *)path_of("d.pem");
	a->config.key = (char *)path_of("d.key");
	a->config.step_ms = 5000;
	make_must(!pthread_create(&thread, NULL, play, &stage));
	memset(e, 0, sizeof(*e));
	if (!enclave_open(&x, a, 'D', e)) {
		*simulated = enclave_simulated(x);
		enclave_close(x);
	}
	pthread_join(thread, NULL);
	close(stage.listener);
	return e->code;
}

#endif
