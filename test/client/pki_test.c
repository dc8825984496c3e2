/* SPDX-License-Identifier: Apache-2.0 */
/* The authority: what it issues passes OpenSSL's own checks; nothing is overwritten; what is wrong is found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/certificate.h"
#include "client/command.h"

static char dir[64];

static int sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *format, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	return system(command);
}

/* Runs "pki WORDS…", words separated by spaces; the error's code (0 = done) and text. */
static int pki(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int pki(char *text, const char *format, ...)
{
	static const struct command command = {"pki", "", "", "", command_pki};
	char line[1024], *argv[32] = {(char *)"pki"}, *save = NULL;
	struct err e = {0};
	struct args a;
	va_list ap;
	int argc = 1, r;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	r = args_parse(&a, &command, argc, argv, &e);
	if (!r)
		r = command.run(&a, &e);
	args_free(&a);
	assert_int_equal(r != 0, e.code != ERR_NONE);
	if (text)
		strcpy(text, e.text);
	return (int)e.code;
}

static int make_folder(void **state)
{
	strcpy(dir, "/tmp/obscura-pki-XXXXXX");
	return mkdtemp(dir) && !pki(NULL, "init %s", dir) ? 0 : -1;
}

static int drop_folder(void **state)
{
	return sh("rm -r %s", dir);
}

static unsigned mode_of(const char *name)
{
	char path[256];
	struct stat s;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &s) ? 0 : s.st_mode & 0777;
}

static X509 *load(const char *name)
{
	char path[256];
	struct err e = {0};
	X509 *c;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(certificate_read(path, &c, &e), 0);
	return c;
}

static void test_issue(void **state)
{
	char text[256];
	X509 *c, *ca;
	struct err e = {0};

	assert_int_equal(pki(NULL, "issue provider c.example 10.1.2.3 ::1 --dir %s", dir), 0);
	assert_int_equal(mode_of("ca.key"), 0600);
	assert_int_equal(mode_of("ca.pem"), 0644);
	assert_int_equal(mode_of("provider.key"), 0600);
	c = load("provider.pem");
	ca = load("ca.pem");
	assert_string_equal(certificate_field(c, NID_commonName, text, sizeof(text)), "c.example");
	assert_string_equal(certificate_field(c, NID_organizationalUnitName, text, sizeof(text)), "provider");
	assert_string_equal(certificate_hosts(c, text, sizeof(text)), "c.example, 10.1.2.3, ::1");
	assert_int_equal(X509_check_host(c, "c.example", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(c, "x.example", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(c, "10.1.2.3", 0), 1);
	assert_int_equal(X509_check_ip_asc(c, "::1", 0), 1);
	assert_in_range(certificate_days_left(c), 396, 397);
	assert_int_equal(certificate_verify(c, ca, &e), 0);
	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(X509_get_pathlen(ca), 0);
	assert_int_equal(EVP_PKEY_get_id(X509_get0_pubkey(c)), EVP_PKEY_EC);
	assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(c)), 256);
	/* valid a few minutes ago, for hosts whose clocks are behind */
	assert_int_equal(X509_cmp_time(X509_get0_notBefore(c), &(time_t){time(NULL) - 200}), -1);
	X509_free(c);
	X509_free(ca);
	assert_int_equal(
	    sh("openssl verify -purpose sslserver -x509_strict -CAfile %s/ca.pem %s/provider.pem >/dev/null",
	       dir, dir),
	    0);
	assert_int_equal(
	    sh("openssl verify -purpose sslclient -x509_strict -CAfile %s/ca.pem %s/provider.pem >/dev/null",
	       dir, dir),
	    0);
}

static void test_several_of_one_role(void **state)
{
	char a[64], b[64];
	X509 *x, *y;

	assert_int_equal(pki(NULL, "issue data-owner one.example --dir %s --days 10 --name do1", dir), 0);
	assert_int_equal(pki(NULL, "issue data-owner two.example --dir %s --days 10 --name do2", dir), 0);
	x = load("do1.pem");
	y = load("do2.pem");
	assert_in_range(certificate_days_left(x), 9, 10);
	assert_string_not_equal(certificate_serial(x, a, sizeof(a)), certificate_serial(y, b, sizeof(b)));
	assert_int_equal(strlen(a), 32);
	X509_free(x);
	X509_free(y);
}

static void test_never_overwrites(void **state)
{
	char text[512];

	assert_int_equal(pki(NULL, "issue provider a.example --dir %s", dir), 0);
	assert_int_equal(sh("cp -r %s %s.copy", dir, dir), 0);
	assert_int_equal(pki(text, "issue provider b.example --dir %s", dir), ERR_INPUT);
	assert_non_null(strstr(text, "exists"));
	assert_int_equal(pki(text, "init %s", dir), ERR_INPUT);
	assert_int_equal(sh("rm %s/provider.pem", dir), 0); /* the key alone is precious too */
	assert_int_equal(pki(text, "issue provider b.example --dir %s", dir), ERR_INPUT);
	assert_int_equal(sh("cp %s.copy/provider.pem %s && diff -r %s %s.copy", dir, dir, dir, dir), 0);
	assert_int_equal(pki(text, "issue provider b.example --dir %s --force", dir), 0);
	assert_int_not_equal(sh("diff -r %s %s.copy >/dev/null", dir, dir), 0);
	assert_int_equal(sh("rm -r %s.copy", dir), 0);
}

static void test_bad_arguments(void **state)
{
	static const char *const lines[] = {
	    "issue provider",
	    "issue client a.example",
	    "issue provider a.example:80",
	    "issue provider *.example",
	    "issue provider a-.example",
	    "issue provider a..b",
	    "issue provider .a",
	    "issue provider 1.2.3",
	    "issue provider 1.2.3.256",
	    "issue provider a,DNS:evil.example",
	    "issue provider a_b",
	    "issue provider a --days 0",
	    "issue provider a --days x",
	    "issue provider a --name ../x",
	    "issue provider a --name ca",
	    ("issue provider "
	     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
	    "init",
	    "list x",
	    "revoke ca",
	    "retract"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		char text[512];

		if (pki(text, "%s --dir %s", lines[i], dir) != ERR_USAGE)
			fail_msg("\"%s\" is not refused: %s", lines[i], text);
	}
	assert_int_equal(pki(NULL, "issue provider a --dir %s/absent", dir), ERR_INPUT);
	assert_int_equal(pki(NULL, "issue provider a --dir %s --days 5000", dir), ERR_INPUT);
}

static void test_check(void **state)
{
	assert_int_equal(pki(NULL, "issue provider a --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "issue model-owner b --dir %s --days 5", dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s --json", dir), 0); /* soon: a warning */
	assert_int_equal(pki(NULL, "list --dir %s", dir), 0);
	assert_int_equal(sh("chmod 644 %s/provider.key", dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
	assert_int_equal(sh("chmod 600 %s/provider.key && mv %s/provider.key %s/k && cp %s/model-owner.key "
			    "%s/provider.key",
			    dir, dir, dir, dir, dir),
			 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
	assert_int_equal(sh("mv %s/k %s/provider.key", dir, dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), 0);
	assert_int_equal(sh("echo x > %s/z.pem", dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
	assert_int_equal(sh("rm %s/z.pem", dir), 0);
	/* another authority's certificate */
	assert_int_equal(pki(NULL, "init %s/other", dir), 0);
	assert_int_equal(pki(NULL, "issue provider a --dir %s/other", dir), 0);
	assert_int_equal(sh("cp %s/other/provider.* %s", dir, dir), 0);
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
}

static int revoked_by_openssl(const char *name)
{
	return sh("openssl verify -crl_check -CAfile %s/ca.pem -CRLfile %s/revoked.crl %s/%s.pem >/dev/null "
		  "2>&1",
		  dir, dir, dir, name) != 0;
}

static void test_revoke(void **state)
{
	char text[512], serial[64];
	X509 *c;

	assert_int_equal(pki(NULL, "issue provider a --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "issue data-owner b --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "issue model-owner c --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "revoke --dir %s", dir), 0);
	assert_int_equal(mode_of("revoked.crl"), 0644);
	assert_false(revoked_by_openssl("data-owner"));
	assert_int_equal(pki(NULL, "check --dir %s", dir), 0);
	assert_int_equal(pki(NULL, "revoke data-owner --dir %s", dir), 0);
	assert_true(revoked_by_openssl("data-owner"));
	assert_false(revoked_by_openssl("provider"));
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
	/* by number, when the file is another one by now; what was revoked stays so, and once is enough */
	c = load("model-owner.pem");
	certificate_serial(c, serial, sizeof(serial));
	X509_free(c);
	assert_int_equal(sh("cp %s/model-owner.pem %s/old.pem", dir, dir), 0);
	assert_int_equal(pki(NULL, "issue model-owner c --dir %s --force", dir), 0);
	assert_int_equal(pki(NULL, "revoke %s data-owner --dir %s --days 9", serial, dir), 0);
	assert_true(revoked_by_openssl("old"));
	assert_true(revoked_by_openssl("data-owner"));
	assert_false(revoked_by_openssl("model-owner"));
	assert_int_equal(
	    sh("test $(openssl crl -in %s/revoked.crl -noout -text | grep -c 'Serial Number') = 2", dir), 0);
	assert_int_equal(sh("test $(openssl crl -in %s/revoked.crl -noout -crlnumber) = crlNumber=0x03", dir),
			 0);
	/* what is wrong changes nothing */
	assert_int_equal(sh("cp %s/revoked.crl %s/kept", dir, dir), 0);
	assert_int_equal(pki(text, "revoke provider nosuch --dir %s", dir), ERR_INPUT);
	assert_non_null(strstr(text, "nosuch"));
	assert_int_equal(pki(NULL, "revoke ../provider --dir %s", dir), ERR_INPUT);
	assert_int_equal(pki(NULL, "revoke provider --dir %s --days 99999", dir), ERR_USAGE);
	assert_int_equal(sh("cmp %s/revoked.crl %s/kept", dir, dir), 0);
	assert_int_equal(pki(NULL, "init %s/other", dir), 0);
	assert_int_equal(pki(NULL, "revoke --dir %s/other", dir), 0);
	assert_int_equal(sh("cp %s/other/revoked.crl %s", dir, dir), 0);
	assert_int_equal(pki(text, "revoke provider --dir %s", dir), ERR_INPUT);
	assert_non_null(strstr(text, "not signed"));
	assert_int_equal(pki(NULL, "list --dir %s", dir), ERR_INPUT);
	assert_int_equal(sh("echo x >%s/revoked.crl", dir), 0);
	assert_int_equal(pki(text, "check --dir %s", dir), ERR_INPUT);
}

/* A certificate that ended yesterday, made by the openssl tool with our authority. */
static void test_expired(void **state)
{
	struct err e = {0};
	X509 *c, *ca;

	assert_int_equal(sh("cd %s && openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
			    "-keyout old.key -subj /OU=provider/CN=old "
			    "-out old.csr 2>/dev/null && touch index.txt && openssl ca -batch -config "
			    "/dev/null -md sha256 -cert ca.pem -keyfile "
			    "ca.key -in old.csr -out old.pem -notext -rand_serial -startdate 20200101000000Z "
			    "-enddate 20200102000000Z "
			    "-outdir . -policy p 2>/dev/null || openssl x509 -req -in old.csr -CA ca.pem "
			    "-CAkey ca.key -days -1 -out old.pem 2>/dev/null",
			    dir),
			 0);
	c = load("old.pem");
	ca = load("ca.pem");
	assert_true(certificate_days_left(c) < 0);
	assert_int_equal(certificate_verify(c, ca, &e), -1);
	assert_non_null(strstr(e.text, "expired"));
	X509_free(c);
	X509_free(ca);
	assert_int_equal(pki(NULL, "check --dir %s", dir), ERR_RESULT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)
	const struct CMUnitTest tests[] = {
	    TEST(test_issue),
	    TEST(test_several_of_one_role),
	    TEST(test_never_overwrites),
	    TEST(test_bad_arguments),
	    TEST(test_check),
	    TEST(test_revoke),
	    TEST(test_expired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
