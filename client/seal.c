/* SPDX-License-Identifier: Apache-2.0 */
/* obscura model seal: a model encrypted under a key that stays with its owner. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/command.h"
#include "client/enclave.h"

/* Never over a file that is there: it may be the only key, or the only sealed copy. */
static int write_new(const char *path, const uint8_t *p, size_t n, mode_t mode, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	ssize_t w = 0;

	if (fd < 0)
		return err_set(e, err_of_file(errno), "cannot write %.200s: %s%s", path, strerror(errno),
			       errno == EEXIST ? "; nothing was changed, name another file" : "");
	for (size_t done = 0; done < n && w >= 0; done += (size_t)w) {
		w = write(fd, p + done, n - done);
		if (w < 0 && errno == EINTR)
			w = 0;
	}
	if (w >= 0 && !fsync(fd) && !close(fd))
		return 0;
	err_set(e, ERR_ENV, "%.200s: %s", path, strerror(errno));
	unlink(path);
	return -1;
}

static int key_read(const char *path, uint8_t key[SEAL_KEY], struct err *e)
{
	struct span s = {NULL, 0};
	struct stat st;
	int bad;

	if (!stat(path, &st) && st.st_mode & 077)
		return err_set(e, ERR_INPUT, "%.200s: others may read this key: chmod 600", path);
	if (attest_file_read(path, &s, e))
		return -1;
	bad = s.n != SEAL_KEY;
	if (bad)
		err_set(e, ERR_INPUT, "%.200s: a sealing key has %d bytes, this file %zu", path, SEAL_KEY,
			s.n);
	else
		memcpy(key, s.p, SEAL_KEY);
	sodium_memzero((void *)s.p, s.n);
	attest_file_free(&s);
	return bad ? -1 : 0;
}

static int key_make(const char *path, uint8_t key[SEAL_KEY], struct err *e)
{
	if (!access(path, F_OK))
		return key_read(path, key, e);
	if (sodium_init() < 0)
		return err_set(e, ERR_ENV, "libsodium does not start");
	randombytes_buf(key, SEAL_KEY);
	return write_new(path, key, SEAL_KEY, 0600, e);
}

/* What the enclave will say of the model once it is released. */
static int describe(const struct enclave_model *m, struct span file, char text[ENCLAVE_MANIFEST_MAX],
		    struct err *e)
{
	struct enclave_model mine = *m;
	struct sealed s;

	if (seal_read(file, &s) || enclave_owner_key(s.owner.p, mine.owner))
		return err_set(e, ERR_ENV, "out of memory for a digest");
	return enclave_manifest(text, &mine, e);
}

static int show_sealed(const struct args *a, const char *text, size_t bytes, struct err *e)
{
	struct enclave_manifest m;
	struct json_object *o;

	if (enclave_manifest_read((struct span){(const uint8_t *)text, strlen(text)}, &m))
		return err_set(e, ERR_ENV, "the model cannot be described");
	if (!a->flag[FLAG_json]) {
		printf("%s: %.*s, version %llu, %zu bytes, sealed\n", a->words[2], (int)m.name.n,
		       (const char *)m.name.p, (unsigned long long)m.version, bytes);
		manifest_text(&m);
		return 0;
	}
	o = json_object_new_object();
	json_text(o, "file", a->words[2]);
	json_count(o, "bytes", bytes);
	manifest_json(o, &m);
	return json_line(o, e);
}

int model_seal(struct args *a, const struct enclave_model *m, struct err *e)
{
	uint8_t key[SEAL_KEY], *file = NULL;
	char text[ENCLAVE_MANIFEST_MAX];
	size_t n = 0;
	int bad;

	if (a->n != 3 || !a->flag[FLAG_seal_key])
		return err_set(e, ERR_USAGE,
			       "say which: obscura model seal MODEL.onnx FILE.sealed --seal-key FILE");
	bad = key_make(a->flag[FLAG_seal_key], key, e) || seal_make(key, m, &file, &n, e);
	sodium_memzero(key, sizeof(key));
	bad = bad || describe(m, (struct span){file, n}, text, e) ||
	      write_new(a->words[2], file, n, 0644, e) || show_sealed(a, text, n, e);
	free(file);
	return bad ? -1 : 0;
}

/* That key and file belong together is seen here, before an enclave is asked. */
static int check_file(const uint8_t seed[SEAL_KEY], struct span file, uint64_t *floor, struct err *e)
{
	uint8_t key[SEAL_KEY], *plain = NULL;
	struct enclave_model m;
	struct sealed s;
	size_t n = 0;
	int bad;

	if (seal_read(file, &s))
		return seal_open(seed, file, &m, &plain, &n, e); /* says why */
	bad = seal_file_key(seed, s.head, key, e) || seal_open(key, file, &m, &plain, &n, e);
	sodium_memzero(key, sizeof(key));
	seal_free(plain, n);
	if (bad)
		return -1;
	if (s.version < *floor)
		return err_set(e, ERR_INPUT, "expected version %llu at least, received %llu",
			       (unsigned long long)*floor, (unsigned long long)s.version);
	if (!*floor)
		*floor = s.version;
	return 0;
}

/* The enclave first: what is released is sealed to its key. */
static int release(struct args *a, const uint8_t seed[SEAL_KEY], struct span file, uint64_t floor,
		   struct err *e)
{
	struct enclave *x = NULL;
	uint8_t *box = NULL;
	size_t n = 0;
	int bad = enclave_open(&x, a, 'M', e) ||
		  release_make(seed, file, floor, a->flag[FLAG_keep] != NULL, enclave_release_key(x), &box,
			       &n, e) ||
		  provision_send(a, x, ENCLAVE_RELEASE, (struct span){box, n}, e);

	free(box);
	enclave_close(x);
	return bad ? -1 : 0;
}

int release_sealed(struct args *a, struct span file, uint64_t floor, struct err *e)
{
	uint8_t seed[SEAL_KEY];
	struct err why = {0};
	int bad;

	if (key_read(a->flag[FLAG_seal_key], seed, e))
		return -1;
	bad = check_file(seed, file, &floor, &why);
	if (bad)
		err_set(e, why.code, "%.200s: %.200s", a->words[1], why.text);
	bad = bad || release(a, seed, file, floor, e);
	sodium_memzero(seed, sizeof(seed));
	return bad ? -1 : 0;
}
