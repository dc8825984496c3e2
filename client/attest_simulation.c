/* SPDX-License-Identifier: Apache-2.0 */
/* obscura attest simulation --dir DIR: the root of this installation's simulation, and its quoting key. The
 * root's private key is not kept: nobody can make a second quoting key under it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "client/certificate.h"
#include "client/enclave.h"
#include "crypto/attest/sim.h"

#define DAYS 3650L

static int extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	int ok = x && X509_add_ext(cert, x, -1);

	X509_EXTENSION_free(x);
	return ok;
}

static int make(struct identity *id, const struct identity *root, const char *name, long serial,
		struct err *e)
{
	X509 *c = id->certificate = X509_new();
	X509_NAME *subject = c ? X509_get_subject_name(c) : NULL;

	id->key = EVP_EC_gen("P-256");
	if (c && id->key && X509_set_version(c, X509_VERSION_3) &&
	    ASN1_INTEGER_set(X509_get_serialNumber(c), serial) &&
	    X509_gmtime_adj(X509_getm_notBefore(c), -300) &&
	    X509_gmtime_adj(X509_getm_notAfter(c), DAYS * 24 * 3600) &&
	    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8,
				       (const uint8_t *)"simulated: no hardware isolation", -1, -1, 0) &&
	    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0) &&
	    X509_set_issuer_name(c, root ? X509_get_subject_name(root->certificate) : subject) &&
	    X509_set_pubkey(c, id->key) &&
	    extension(c, NID_basic_constraints, root ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0") &&
	    extension(c, NID_key_usage,
		      root ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
	    X509_sign(c, root ? root->key : id->key, EVP_sha256()))
		return 0;
	return err_set(e, ERR_ENV, "cannot make the certificate \"%s\"", name);
}

/* For all to read, and for us alone to write, whatever the umask. New; NULL with errno. */
static FILE *create(const char *path)
{
	FILE *f = fopen(path, "we");

	if (f && fchmod(fileno(f), 0644)) {
		fclose(f);
		return NULL;
	}
	return f;
}

static int write_chain(const char *path, const struct identity *key, const struct identity *root,
		       struct err *e)
{
	FILE *f = create(path);
	int ok = f && PEM_write_X509(f, key->certificate) && PEM_write_X509(f, root->certificate);

	if (f && fclose(f))
		ok = 0;
	return ok ? 0 : err_set(e, ERR_ENV, "cannot write %.300s: %s", path, strerror(errno));
}

/* The measurement that the quoter will find, for the policy. */
static int measure(const char *program, uint8_t out[48], struct err *e)
{
	struct span file;
	int bad = attest_file_read_most(program, 64u << 20, &file, e);

	if (bad)
		return -1;
	bad = !EVP_Digest(file.p, file.n, out, NULL, EVP_sha384(), NULL);
	attest_file_free(&file);
	return bad ? err_set(e, ERR_ENV, "out of memory for a digest") : 0;
}

static int write_policy(const char *dir, const uint8_t measurement[48], struct err *e)
{
	char path[1100], text[97];
	FILE *f;

	for (int i = 0; i < 48; i++)
		sprintf(text + 2 * i, "%02x", measurement[i]);
	snprintf(path, sizeof(path), "%.1000s/policy.conf", dir);
	f = create(path);
	if (!f ||
	    fprintf(f,
		    "# What this installation's simulated enclave is. It is accepted with --accept-simulated "
		    "only.\n"
		    "measurement = [\"%s\"];\nsimulation_roots = [\"root.pem\"];\n",
		    text) < 0 ||
	    fclose(f))
		return err_set(e, ERR_ENV, "cannot write %.300s: %s", path, strerror(errno));
	printf("%s\n", path);
	return 0;
}

static int write_all(const char *dir, const struct identity *root, const struct identity *key, int force,
		     struct err *e)
{
	char path[1100];

	snprintf(path, sizeof(path), "%.1000s/quoting.key", dir);
	if (key_write(path, key->key, force, e))
		return -1;
	printf("simulated: no hardware isolation\n%s\n", path);
	snprintf(path, sizeof(path), "%.1000s/root.pem", dir);
	if (certificate_write(path, root->certificate, 1, e))
		return -1;
	printf("%s\n", path);
	snprintf(path, sizeof(path), "%.1000s/chain.pem", dir);
	if (write_chain(path, key, root, e))
		return -1;
	printf("%s\n", path);
	return 0;
}

int attest_simulation(struct args *a, struct err *e)
{
	const char *dir = a->flag[FLAG_dir] ? a->flag[FLAG_dir] : "/etc/obscura/simulation",
		   *program = a->flag[FLAG_program];
	struct identity root = {0}, key = {0};
	uint8_t measurement[48];
	int bad;

	if (!program)
		return err_set(e, ERR_USAGE,
			       "say what will run: --program /usr/lib/…/obscura-enclave (beside obscurad)");
	if (measure(program, measurement, e)) /* first: nothing is made when there is no program */
		return -1;
	if (mkdir(dir, 0755) && errno != EEXIST)
		return err_set(e, ERR_ENV, "cannot make the folder %s: %s", dir, strerror(errno));
	bad = make(&root, NULL, SIM_ROOT_NAME, 1, e) || make(&key, &root, SIM_KEY_NAME, 2, e) ||
	      write_all(dir, &root, &key, a->flag[FLAG_force] != NULL, e) ||
	      write_policy(dir, measurement, e);
	identity_free(&key);
	identity_free(&root);
	return bad ? -1 : 0;
}
