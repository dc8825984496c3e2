/* SPDX-License-Identifier: Apache-2.0 */
/* Who is refused, by whom, and in which words on both sides; and our own files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "nets.h"

#define M (&sides[0]) /* the model owner (or another role in its place), who listens */
#define D (&sides[1]) /* the data owner, who connects */

/* ---- wrong peers: both sides say why ---- */

static void refused(const char *ca_of_d, const char *cert_of_m, const char *host, enum frame_role wanted,
		    unsigned allowed, const char *d_says, const char *m_says)
{
	char letter = strcmp(cert_of_m, "provider") ? 'M' : 'C';

	configure(M, letter, cert_of_m, strcmp(cert_of_m, "strange-server") ? "ca" : "other");
	configure(D, 'D', "data-owner", ca_of_d);
	start_connecting(D, host, start_listening(M, 0, allowed), wanted);
	AWAIT(D->downs && logged("a peer was refused"));
	assert_int_equal(D->ups + M->ups, 0);
	assert_int_equal(D->why.code, ERR_PEER);
	if (!strstr(D->why.text, d_says))
		fail_msg("the data owner says \"%s\", not \"%s\"", D->why.text, d_says);
	assert_non_null(strstr(D->why.peer, host));
	if (!logged(m_says))
		fail_msg("the other side does not say \"%s\":\n%s", m_says, log_text());
}

static void test_wrong_role_of_server(void **state)
{
	refused("ca", "provider", "localhost", ROLE_M, ROLE_D,
		"its certificate (provider) is for the wrong role: \"provider\"",
		"it says: your certificate (provider) is for the wrong role");
}

static void test_wrong_role_of_client(void **state)
{
	refused("ca", "model-owner", "localhost", ROLE_M, ROLE_C,
		"it says: your certificate (data-owner) is for the wrong role",
		"its certificate (data-owner) is for the wrong role: \"data-owner\"");
}

static void test_wrong_host(void **state)
{
	refused("ca", "elsewhere", "127.0.0.1", ROLE_M, ROLE_D,
		"its certificate is for the hosts mo.example, 10.9.8.7, not for 127.0.0.1",
		"it refuses us: our certificate is not good: not for the host name");
}

static void test_wrong_name(void **state)
{
	refused("ca", "elsewhere", "localhost", ROLE_M, ROLE_D,
		"its certificate is for the hosts mo.example, 10.9.8.7, not for localhost",
		"it refuses us: our certificate is not good: not for the host name");
}

static void test_unknown_ca_of_server(void **state)
{
	refused("ca", "strange-server", "localhost", ROLE_M, ROLE_D,
		"its certificate (strange-server) is of an unknown authority, not of /",
		"it refuses us: our certificate is of an authority that it does not know");
}

/* The data owner trusts the server's authority, but its own certificate is of another one. */
static void test_unknown_ca_of_client(void **state)
{
	configure(M, 'M', "model-owner", "ca");
	configure(D, 'D', "stranger", "ca");
	start_connecting(D, "localhost", start_listening(M, 0, ROLE_D), ROLE_M);
	AWAIT(D->downs && logged("a peer was refused"));
	assert_int_equal(D->why.code, ERR_PEER);
	assert_non_null(
	    strstr(D->why.text, "it refuses us: our certificate is of an authority that it does not know"));
	assert_true(logged("its certificate (stranger) is of an unknown authority"));
	assert_int_equal(D->ups + M->ups, 0);
}

static void test_expired_client(void **state)
{
	struct raw r;
	struct frame f;
	int port;

	configure(M, 'M', "model-owner", "ca");
	port = start_listening(M, 0, ROLE_D);
	raw_new(&r, raw_socket(port), "expired", 0);
	raw_handshake(&r);
	assert_int_equal(raw_next(&r, &f, NULL, 0), -1);
	raw_free(&r);
	AWAIT(logged("its certificate (expired) has expired on 20"));
	raw_new(&r, raw_socket(port), NULL, 0);
	raw_handshake(&r);
	assert_int_equal(raw_next(&r, &f, NULL, 0), -1);
	raw_free(&r);
	AWAIT(logged("it shows no certificate"));
	assert_int_equal(M->ups, 0);
}

static void test_expired_server(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0), peer = -1;
	struct raw r;

	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(fd, 4), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	getsockname(fd, (struct sockaddr *)&at, &n);
	configure(D, 'D', "data-owner", "ca");
	start_connecting(D, "127.0.0.1", ntohs(at.sin_port), ROLE_M);
	AWAIT(peer >= 0 || (peer = accept(fd, NULL, NULL)) >= 0);
	fcntl(peer, F_SETFL, O_NONBLOCK);
	raw_new(&r, peer, "expired-server", 1);
	assert_int_equal(raw_handshake(&r), -1);
	raw_free(&r);
	close(fd);
	AWAIT(D->downs);
	assert_int_equal(D->why.code, ERR_PEER);
	assert_non_null(strstr(D->why.text, "its certificate (expired-server) has expired on 20"));
}

/* ---- own files ---- */

static void own(const char *name, const char *value, const char *says)
{
	struct err e = {0};

	configure(D, 'D', "data-owner", "ca");
	set(&D->config, name, value);
	assert_int_equal(net_new(&D->net, &D->config, ROLE_D, &e), -1);
	assert_int_equal(e.code, ERR_INPUT);
	if (!strstr(e.text, says))
		fail_msg("\"%s\" does not say \"%s\"", e.text, says);
	config_free(&D->config);
}

static void test_own_files(void **state)
{
	own("certificate", certs_path("expired", ".pem"), "does not belong to the certificate");
	own("key", certs_path("provider", ".key"), "does not belong to the certificate");
	own("key", certs_path("nothing", ".key"), "obscura pki issue");
	own("key", certs_path("data-owner", ".pem"), "is not a PEM file with a private key");
	own("ca", certs_path("data-owner", ".key"), "is not a PEM file with the authority's certificate");
	own("certificate", certs_path("data-owner", ".key"), "is not a PEM file with a certificate");
	rename(certs_path("data-owner", ".key"), certs_path("kept", ".key"));
	rename(certs_path("expired", ".key"), certs_path("data-owner", ".key"));
	own("certificate", certs_path("expired", ".pem"), "has expired on 20");
	rename(certs_path("data-owner", ".key"), certs_path("expired", ".key"));
	rename(certs_path("provider", ".key"), certs_path("data-owner", ".key"));
	own("certificate", certs_path("provider", ".pem"),
	    "is for the role \"provider\", not \"data-owner\"");
	rename(certs_path("data-owner", ".key"), certs_path("provider", ".key"));
	rename(certs_path("kept", ".key"), certs_path("data-owner", ".key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, nets_begin, nets_end)
	    TEST(test_wrong_role_of_server), TEST(test_wrong_role_of_client), TEST(test_wrong_host),
	    TEST(test_wrong_name),	     TEST(test_unknown_ca_of_server), TEST(test_unknown_ca_of_client),
	    TEST(test_expired_client),	     TEST(test_expired_server),	      TEST(test_own_files),
	};

	return cmocka_run_group_tests(tests, nets_make, nets_remove);
}
