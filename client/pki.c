/* SPDX-License-Identifier: Apache-2.0 */
/* obscura pki: ca.pem, ca.key, revoked.crl, ROLE.pem, ROLE.key in one folder. */
#include "client/certificate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/command.h"
#include "client/json.h"
#include "client/sheet.h"

#define DEFAULT_DIR "/etc/obscura/pki"
#define WARN_DAYS 30
#define LEAF_DAYS 397
#define AUTHORITY_DAYS 3650
#define DAYS_MAX 36500

static const char *folder(const struct args *a)
{
	return a->flag[FLAG_dir] ? a->flag[FLAG_dir] : DEFAULT_DIR;
}

static int path_of(char *path, size_t bytes, const char *dir, const char *name, const char *end,
		   struct err *e)
{
	int n = snprintf(path, bytes, "%s/%s%s", dir, name, end);

	return n < 0 || (size_t)n >= bytes ? err_set(e, ERR_INPUT, "the path is too long: %.80s…", dir) : 0;
}

/* Key first: a certificate without its key is of no use, and a key without certificate can be issued again.
 */
static int write_pair(const char *dir, const char *name, const struct identity *id, int replace,
		      struct err *e)
{
	char certificate[4096], key[4096];

	if (path_of(certificate, sizeof(certificate), dir, name, ".pem", e) ||
	    path_of(key, sizeof(key), dir, name, ".key", e))
		return -1;
	if (!replace && !access(certificate, F_OK))
		return err_set(e, ERR_INPUT, "%s exists; nothing was changed (--force replaces it)",
			       certificate);
	if (key_write(key, id->key, replace, e))
		return -1;
	if (!certificate_write(certificate, id->certificate, replace, e)) {
		printf("%s\n%s\n", certificate, key);
		return 0;
	}
	if (!replace)
		unlink(key);
	return -1;
}

static int read_pair(const char *dir, const char *name, struct identity *id, struct err *e)
{
	char path[4096];

	memset(id, 0, sizeof(*id));
	if (path_of(path, sizeof(path), dir, name, ".pem", e) ||
	    certificate_read(path, &id->certificate, e) ||
	    path_of(path, sizeof(path), dir, name, ".key", e) || key_read(path, &id->key, e)) {
		identity_free(id);
		return -1;
	}
	return 0;
}

/* ---- init, issue ---- */

static int pki_init(struct args *a, struct err *e)
{
	struct identity ca;
	uint64_t days;
	int r;

	if (a->n != 2)
		return err_set(e, ERR_USAGE, "say where: obscura pki init DIR");
	if (args_number(a, FLAG_days, AUTHORITY_DAYS, 1, DAYS_MAX, &days, e))
		return -1;
	if (mkdir(a->words[1], 0755) && errno != EEXIST)
		return err_set(e, ERR_ENV, "cannot make the folder %s: %s", a->words[1], strerror(errno));
	if (authority_make(&ca, (unsigned)days, e))
		return -1;
	r = write_pair(a->words[1], "ca", &ca, a->flag[FLAG_force] != NULL, e);
	identity_free(&ca);
	return r;
}

static int role_check(const char *role, struct err *e)
{
	static const char *const roles[] = {"data-owner", "model-owner", "provider"};

	for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++)
		if (!strcmp(roles[i], role))
			return 0;
	return err_set(e, ERR_USAGE, "\"%.40s\" is no role: data-owner, model-owner or provider", role);
}

static int name_check(const char *name, struct err *e)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (!n || name[n] || *name == '.' || !strcmp(name, "ca") || n > 100)
		return err_set(
		    e, ERR_USAGE,
		    "--name: \"%.80s\" is no file name of letters, digits, '.', '_' and '-' (and not ca)",
		    name);
	return 0;
}

static int issue_checks(const struct args *a, const char *name, struct err *e)
{
	if (a->n < 3)
		return err_set(
		    e, ERR_USAGE,
		    "say for whom: obscura pki issue data-owner|model-owner|provider HOST… [--dir DIR]");
	if (role_check(a->words[1], e) || name_check(name, e))
		return -1;
	for (int i = 2; i < a->n; i++)
		if (host_check(a->words[i], e))
			return -1;
	return 0;
}

static int pki_issue(struct args *a, struct err *e)
{
	const char *name = a->flag[FLAG_name] ? a->flag[FLAG_name] : a->n > 1 ? a->words[1] : "";
	struct identity ca, id;
	uint64_t days;
	int r = -1, left;

	if (args_number(a, FLAG_days, LEAF_DAYS, 1, DAYS_MAX, &days, e) || issue_checks(a, name, e))
		return -1;
	if (read_pair(folder(a), "ca", &ca, e))
		return e->code == ERR_ENV
			   ? -1
			   : err_context(
				 e, "no authority here (obscura pki init DIR makes one; --dir names it)");
	left = certificate_days_left(ca.certificate);
	if (X509_check_private_key(ca.certificate, ca.key) != 1)
		err_set(e, ERR_INPUT, "%s: ca.key does not belong to ca.pem", folder(a));
	else if (left < 0 || (uint64_t)left < days)
		err_set(e, ERR_INPUT,
			"the authority itself ends in %d days; issue with --days %d or make a new authority",
			left, left > 0 ? left : 1);
	else if (!identity_make(&id, &ca, a->words[1], a->words + 2, a->n - 2, (unsigned)days, e)) {
		r = write_pair(folder(a), name, &id, a->flag[FLAG_force] != NULL, e);
		identity_free(&id);
	}
	identity_free(&ca);
	return r;
}

/* ---- revoke ---- */

/* The list of the folder; NULL without error when there is none. */
static int read_list(const char *dir, X509 *ca, X509_CRL **list, struct err *e)
{
	char path[4096];

	*list = NULL;
	if (path_of(path, sizeof(path), dir, "revoked", ".crl", e))
		return -1;
	if (access(path, F_OK) && errno == ENOENT)
		return 0;
	if (!revocation_read(path, list, e) && !revocation_verify(*list, ca, e))
		return 0;
	X509_CRL_free(*list);
	*list = NULL;
	return err_context(e, "%s", path);
}

/* NAME of NAME.pem in the folder, or a serial number: that of a certificate whose file has been replaced. */
static int serial_of(const char *dir, const char *word, X509 *ca, ASN1_INTEGER **serial, struct err *e)
{
	char path[4096];
	X509 *c;
	int r;

	if (path_of(path, sizeof(path), dir, word, ".pem", e))
		return -1;
	if (strchr(word, '/') || access(path, F_OK)) {
		if (!revocation_serial(word, serial, &(struct err){0}))
			return 0;
		return err_set(e, ERR_INPUT, "there is no %s, and \"%.60s\" is no serial number either", path,
			       word);
	}
	if (!strcmp(word, "ca"))
		return err_set(e, ERR_USAGE,
			       "the authority cannot revoke itself; make a new one with obscura pki init");
	if (certificate_read(path, &c, e))
		return -1;
	r = X509_NAME_cmp(X509_get_issuer_name(c), X509_get_subject_name(ca))
		? err_set(e, ERR_INPUT, "%s is of another authority", path)
		: 0;
	*serial = r ? NULL : ASN1_INTEGER_dup(X509_get0_serialNumber(c));
	X509_free(c);
	return r || *serial ? r : err_set(e, ERR_ENV, "out of memory");
}

static int write_list(struct args *a, const struct identity *ca, X509_CRL *before, ASN1_INTEGER **serials,
		      struct err *e)
{
	int left = certificate_days_left(ca->certificate), r;
	X509_CRL *list;
	char path[4096];
	uint64_t days;

	if (left < 1)
		return err_set(e, ERR_INPUT, "the authority itself has ended or ends today; make a new one");
	if (args_number(a, FLAG_days, (uint64_t)left, 1, (uint64_t)left, &days, e) ||
	    path_of(path, sizeof(path), folder(a), "revoked", ".crl", e) ||
	    revocation_make(&list, ca, before, (const ASN1_INTEGER *const *)serials, a->n - 1, (unsigned)days,
			    e))
		return -1;
	r = revocation_write(path, list, e);
	if (!r) {
		puts(path);
		fputs("obscura: copy it to every host, name it there with --revoked, and reload the roles "
		      "(SIGHUP)\n",
		      stderr);
	}
	X509_CRL_free(list);
	return r;
}

static int pki_revoke(struct args *a, struct err *e)
{
	ASN1_INTEGER **serials = calloc((size_t)a->n, sizeof(ASN1_INTEGER *));
	X509_CRL *before = NULL;
	struct identity ca;
	int r;

	if (!serials)
		return err_set(e, ERR_ENV, "out of memory");
	if (read_pair(folder(a), "ca", &ca, e)) {
		free(serials);
		return e->code == ERR_ENV ? -1 : err_context(e, "no authority here (--dir names the folder)");
	}
	r = read_list(folder(a), ca.certificate, &before, e);
	for (int i = 1; !r && i < a->n; i++)
		r = serial_of(folder(a), a->words[i], ca.certificate, &serials[i - 1], e);
	if (!r)
		r = write_list(a, &ca, before, serials, e);
	for (int i = 1; i < a->n; i++)
		ASN1_INTEGER_free(serials[i - 1]);
	free(serials);
	X509_CRL_free(before);
	identity_free(&ca);
	return r;
}

/* ---- list, check ---- */

/* One certificate of the folder as it is shown. */
struct entry {
	char file[264], role[64], hosts[256], serial[48], until[16];
	int days;
	char state[768]; /* "ok", a warning, or what is wrong */
	int bad;
};

/* The key beside a certificate: it may live on another host, but if it is here it must fit and be private. */
static void check_key(struct entry *x, const char *dir, const char *name, X509 *c)
{
	char path[4096];
	struct err e = {0};
	struct stat s;
	EVP_PKEY *key;

	if (path_of(path, sizeof(path), dir, name, ".key", &e) || stat(path, &s))
		return;
	if (key_read(path, &key, &e)) {
		snprintf(x->state, sizeof(x->state), "%s", e.text);
		x->bad = 1;
		return;
	}
	if (X509_check_private_key(c, key) != 1) {
		snprintf(x->state, sizeof(x->state), "%s.key does not belong to it", name);
		x->bad = 1;
	} else if (s.st_mode & 077) {
		snprintf(x->state, sizeof(x->state), "others may read %s.key: chmod 600 it", name);
		x->bad = 1;
	}
	EVP_PKEY_free(key);
}

static void examine(struct entry *x, const char *dir, const char *name, X509 *c, X509 *ca, X509_CRL *list)
{
	struct err why = {0};
	int authority = !strcmp(name, "ca");

	snprintf(x->file, sizeof(x->file), "%s.pem", name);
	if (authority)
		snprintf(x->role, sizeof(x->role), "authority");
	else
		certificate_field(c, NID_organizationalUnitName, x->role, sizeof(x->role));
	certificate_hosts(c, x->hosts, sizeof(x->hosts));
	certificate_serial(c, x->serial, sizeof(x->serial));
	certificate_until(c, x->until, sizeof(x->until));
	x->days = certificate_days_left(c);
	snprintf(x->state, sizeof(x->state), "ok");
	check_key(x, dir, name, c);
	if (x->bad)
		return;
	if (x->days < 0)
		snprintf(x->state, sizeof(x->state), "expired");
	else if (!authority && revocation_has(list, c))
		x->bad = snprintf(x->state, sizeof(x->state), "revoked") > 0;
	else if (!authority && certificate_verify(c, ca, &why))
		snprintf(x->state, sizeof(x->state), "%.200s", why.text);
	else if (x->days < WARN_DAYS)
		snprintf(x->state, sizeof(x->state), "expires in %d days: issue it again", x->days);
	x->bad |= x->days < 0 || why.code;
}

static int is_pem(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return dot && dot != d->d_name && !strcmp(dot, ".pem");
}

static int show_json(const struct entry *x, struct err *e)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "file", x->file);
	json_text(o, "role", x->role);
	json_text(o, "hosts", x->hosts);
	json_text(o, "serial", x->serial);
	json_text(o, "until", x->until);
	json_object_object_add(o, "days", json_object_new_int(x->days));
	json_text(o, "state", x->state);
	return json_line(o, e);
}

static int show(struct sheet *sheet, const struct entry *x, struct err *e)
{
	if (!sheet)
		return show_json(x, e);
	sheet_row(sheet);
	sheet_cell(sheet, "%s", x->file);
	sheet_cell(sheet, "%s", x->role);
	sheet_cell(sheet, "%s", x->hosts);
	sheet_cell(sheet, "%s", x->until);
	sheet_cell(sheet, "%d", x->days);
	sheet_cell(sheet, "%s", x->state);
	return 0;
}

static int show_one(struct sheet *sheet, const char *dir, char *file, X509 *ca, X509_CRL *list, int *bad,
		    int *soon, struct err *e)
{
	struct entry x = {.days = -1};
	char path[4096];
	X509 *c;

	if (path_of(path, sizeof(path), dir, file, "", e))
		return -1;
	if (certificate_read(path, &c, &(struct err){0})) {
		snprintf(x.file, sizeof(x.file), "%s", file);
		snprintf(x.state, sizeof(x.state), "this is no PEM certificate");
		x.bad = 1;
	} else {
		*strrchr(file, '.') = 0;
		examine(&x, dir, file, c, ca, list);
		X509_free(c);
	}
	*bad += x.bad;
	*soon += !x.bad && x.days < WARN_DAYS;
	return show(sheet, &x, e);
}

static int show_all(struct args *a, X509 *ca, X509_CRL *list, int *bad, int *soon, struct err *e)
{
	struct dirent **files;
	struct sheet *sheet = NULL;
	int n = scandir(folder(a), &files, is_pem, alphasort), r = 0;

	if (n < 0)
		return err_set(e, ERR_ENV, "cannot read the folder %s: %s", folder(a), strerror(errno));
	if (!a->flag[FLAG_json])
		r = sheet_new(&sheet, "FILE|ROLE|HOSTS|UNTIL|>DAYS|STATE", e);
	for (int i = 0; i < n; i++) {
		if (!r)
			r = show_one(sheet, folder(a), files[i]->d_name, ca, list, bad, soon, e);
		free(files[i]);
	}
	free(files);
	if (r)
		sheet_free(sheet);
	else if (sheet)
		r = sheet_print(sheet, e);
	return r;
}

/* Roles refuse everybody when their list has ended: 1; a warning before. */
static int list_ends(X509_CRL *list)
{
	const ASN1_TIME *end = X509_CRL_get0_nextUpdate(list);
	int days = 0, seconds = 0, ok = end && ASN1_TIME_diff(&days, &seconds, NULL, end);

	if (!end)
		return 0;
	if (ok && !(days < 0 || seconds < 0) && days >= WARN_DAYS)
		return 0;
	fprintf(stderr, "obscura: warning: revoked.crl %s: obscura pki revoke makes the next one\n",
		!ok || days < 0 || seconds < 0 ? "has ended" : "ends within 30 days");
	return !ok || days < 0 || seconds < 0;
}

static int pki_list(struct args *a, int check, struct err *e)
{
	int bad = 0, soon = 0, r;
	char path[4096];
	X509_CRL *list = NULL;
	X509 *ca;

	if (path_of(path, sizeof(path), folder(a), "ca", ".pem", e) || certificate_read(path, &ca, e))
		return e->code == ERR_ENV ? -1 : err_context(e, "no authority here (--dir names the folder)");
	r = read_list(folder(a), ca, &list, e) || show_all(a, ca, list, &bad, &soon, e) ? -1 : 0;
	if (!r && check && list)
		bad += list_ends(list);
	X509_CRL_free(list);
	X509_free(ca);
	if (r || !check)
		return r;
	if (soon)
		fprintf(stderr, "obscura: warning: %d of the certificates in %s expire within %d days\n",
			soon, folder(a), WARN_DAYS);
	if (bad)
		return err_set(e, ERR_RESULT, "%d of the certificates in %s %s not usable", bad, folder(a),
			       bad == 1 ? "is" : "are");
	return 0;
}

int command_pki(struct args *a, struct err *e)
{
	const char *what = a->n ? a->words[0] : "";

	if (!strcmp(what, "init"))
		return pki_init(a, e);
	if (!strcmp(what, "issue"))
		return pki_issue(a, e);
	if (!strcmp(what, "revoke"))
		return pki_revoke(a, e);
	if (a->n == 1 && (!strcmp(what, "list") || !strcmp(what, "check")))
		return pki_list(a, *what == 'c', e);
	return args_wrong(a, e);
}
