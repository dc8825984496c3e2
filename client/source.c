/* SPDX-License-Identifier: Apache-2.0 */
/* SRC of CLI.md: one picture, an IDX or NPY stack, a folder of pictures; standard input: one of the files, or
 * a list of pictures' paths, one a line. */
#include <sodium.h>

#include "client/image.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct source {
	char *path;		 /* owns */
	struct blob blob;	 /* a file; empty for a folder */
	struct array stack;	 /* of IDX and NPY: borrows from blob */
	int single;		 /* the blob is one picture */
	struct dirent **entries; /* own; of a folder, sorted */
	char **paths;		 /* own; of a list */
	uint64_t at, n;
	char *name; /* owns: of the last picture */
};

/* ---- IDX and NPY: (H,W), (N,H,W) or (N,H,W,C) ---- */

/* Picture shape of a stack; (H,W,3) is told from (N,H,W) by its last dimension only when that is 3. */
static int stack_shape(const struct array *a, uint64_t *n, uint64_t *h, uint64_t *w, uint32_t *c)
{
	const uint64_t *d = a->dims;

	*c = 1;
	if (a->rank == 2)
		*n = 1, *h = d[0], *w = d[1];
	else if (a->rank == 3 && d[2] == 3)
		*n = 1, *h = d[0], *w = d[1], *c = 3;
	else if (a->rank == 3)
		*n = d[0], *h = d[1], *w = d[2];
	else if (a->rank == 4 && (d[3] == 1 || d[3] == 3))
		*n = d[0], *h = d[1], *w = d[2], *c = (uint32_t)d[3];
	else
		return -1;
	return 0;
}

static int open_stack(struct source *s, struct err *e)
{
	uint64_t h, w;
	uint32_t c;

	if (array_parse(&s->stack, s->blob.bytes, s->blob.n, e))
		return -1;
	if (s->stack.type != ARRAY_U8)
		return err_set(e, ERR_INPUT,
			       "its elements are no pixels: pictures are 8-bit (uint8), these are floats or "
			       "wider integers");
	if (stack_shape(&s->stack, &s->n, &h, &w, &c))
		return err_set(e, ERR_INPUT, "its shape is none of (H,W), (N,H,W), (N,H,W,1), (N,H,W,3)");
	return 0;
}

static int next_of_stack(struct source *s, struct image *im, struct err *e)
{
	uint64_t n, h, w;
	uint32_t c;

	if (stack_shape(&s->stack, &n, &h, &w, &c) || image_new(im, w, h, c, e))
		return -1;
	memcpy(im->pixels, s->stack.data + s->at * (w * h * c), (size_t)(w * h * c));
	return 0;
}

/* ---- folders ---- */

static int is_picture(const struct dirent *d)
{
	static const char *const ends[] = {".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pnm"};
	const char *dot = strrchr(d->d_name, '.');

	for (size_t i = 0; dot && i < sizeof(ends) / sizeof(*ends); i++)
		if (!strcasecmp(dot, ends[i]))
			return d->d_name[0] != '.';
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int open_folder(struct source *s, struct err *e)
{
	int n = scandir(s->path, &s->entries, is_picture, by_name);

	if (n < 0)
		return err_set(e, err_of_file(errno), "cannot read the folder: %m");
	s->n = (uint64_t)n;
	return n ? 0 : err_set(e, ERR_INPUT, "there is no .png, .jpg, .ppm or .pgm file in this folder");
}

static int next_of_path(const char *path, struct image *im, struct err *e)
{
	struct blob b;
	int r = blob_read(&b, path, e);

	if (!r)
		r = image_decode(im, b.bytes, b.n, e);
	blob_free(&b);
	return r;
}

static int next_of_folder(struct source *s, struct image *im, struct err *e)
{
	char *path;
	int r;

	if (asprintf(&path, "%s/%s", s->path, s->entries[s->at]->d_name) < 0)
		return err_set(e, ERR_ENV, "out of memory");
	r = next_of_path(path, im, e);
	if (r)
		err_context(e, "%s", s->entries[s->at]->d_name);
	free(path);
	return r;
}

/* ---- lists of paths ---- */

/* The end of the line that starts at `at`, without a carriage return. */
static size_t line_end(const struct blob *b, size_t at, size_t *next)
{
	const uint8_t *newline = memchr(b->bytes + at, '\n', b->n - at);
	size_t end = newline ? (size_t)(newline - b->bytes) : b->n;

	*next = newline ? end + 1 : end;
	return end > at && b->bytes[end - 1] == '\r' ? end - 1 : end;
}

static int add_path(struct source *s, size_t at, size_t end, struct err *e)
{
	char **paths = s->paths;

	if (!(s->n & (s->n - 1))) /* full at every power of 2 */
		paths = reallocarray(s->paths, s->n ? s->n * 2 : 1, sizeof(*paths));
	if (!paths)
		return err_set(e, ERR_ENV, "out of memory");
	s->paths = paths;
	paths[s->n] = strndup((const char *)s->blob.bytes + at, end - at);
	if (!paths[s->n])
		return err_set(e, ERR_ENV, "out of memory");
	s->n++;
	return 0;
}

static int open_list(struct source *s, struct err *e)
{
	size_t next;

	if (memchr(s->blob.bytes, 0, s->blob.n))
		return err_set(e, ERR_INPUT, "neither PNG, JPEG, PPM/PGM, IDX, NPY nor a list of paths");
	for (size_t at = 0; at < s->blob.n; at = next) {
		size_t end = line_end(&s->blob, at, &next);

		if (end > at && add_path(s, at, end, e))
			return -1;
	}
	return s->n ? 0 : err_set(e, ERR_INPUT, "the list of paths is empty");
}

/* ---- all ---- */

static int open_any(struct source *s, struct err *e)
{
	struct stat st;
	enum image_kind kind;

	if (strcmp(s->path, "-") && !stat(s->path, &st) && S_ISDIR(st.st_mode))
		return open_folder(s, e);
	if (blob_read(&s->blob, s->path, e))
		return -1;
	kind = image_kind(s->blob.bytes, s->blob.n);
	if (kind == IMAGE_IDX || kind == IMAGE_NPY)
		return open_stack(s, e);
	if (kind == IMAGE_UNKNOWN && s->blob.n && !strcmp(s->path, "-"))
		return open_list(s, e);
	if (kind == IMAGE_UNKNOWN || kind == IMAGE_GZIP)
		return err_set(e, ERR_INPUT,
			       s->blob.n ? "neither PNG, JPEG, PPM/PGM, IDX, NPY nor a folder"
					 : "the file is empty");
	s->single = 1;
	s->n = 1;
	return 0;
}

int source_open(struct source **source, const char *path, struct err *e)
{
	struct source *s = calloc(1, sizeof(*s));
	size_t n = strlen(path);

	*source = NULL;
	while (n > 1 && path[n - 1] == '/') /* FOLDER/ is FOLDER: it becomes part of names */
		n--;
	if (s)
		s->path = strndup(path, n);
	if (!s || !s->path) {
		free(s);
		return err_set(e, ERR_ENV, "out of memory");
	}
	if (open_any(s, e)) {
		err_context(e, "%s", path);
		source_close(s);
		return -1;
	}
	*source = s;
	return 0;
}

/* "seven.png", "FOLDER/seven.png", "t10k-images.gz[17]". */
static int name_it(struct source *s, struct err *e)
{
	int r;

	free(s->name);
	if (s->entries)
		r = asprintf(&s->name, "%s/%s", s->path, s->entries[s->at]->d_name);
	else if (s->paths)
		r = asprintf(&s->name, "%s", s->paths[s->at]);
	else if (s->single || s->n == 1)
		r = asprintf(&s->name, "%s", s->path);
	else
		r = asprintf(&s->name, "%s[%llu]", s->path, (unsigned long long)s->at);
	if (r < 0)
		s->name = NULL;
	return r < 0 ? err_set(e, ERR_ENV, "out of memory") : 0;
}

static int next_of_any(struct source *s, struct image *im, struct err *e)
{
	if (s->entries)
		return next_of_folder(s, im, e);
	if (s->paths)
		return next_of_path(s->paths[s->at], im, e) ? err_context(e, "%s", s->paths[s->at]) : 0;
	if (s->single)
		return image_decode(im, s->blob.bytes, s->blob.n, e);
	return next_of_stack(s, im, e);
}

int source_next(struct source *s, struct image *im, const char **name, struct err *e)
{
	int r;

	*name = NULL;
	if (s->at >= s->n)
		return 0;
	if (name_it(s, e))
		return -1;
	r = next_of_any(s, im, e);
	*name = s->name;
	s->at++;
	return r ? err_context(e, "%s", s->path) : 1;
}

void source_skip(struct source *s, uint64_t n)
{
	s->at += n < s->n - s->at ? n : s->n - s->at;
}

void source_seek(struct source *s, uint64_t n)
{
	s->at = n < s->n ? n : s->n;
}

uint64_t source_count(const struct source *s)
{
	return s->n - s->at;
}

/* A file that is named and not read: its path, size and time of change stand for it. */
static int hash_file(crypto_hash_sha256_state *h, const char *path)
{
	struct stat st;
	int64_t seen[3] = {-1};

	if (!stat(path, &st)) {
		seen[0] = st.st_size;
		seen[1] = st.st_mtim.tv_sec;
		seen[2] = st.st_mtim.tv_nsec;
	}
	crypto_hash_sha256_update(h, (const uint8_t *)path, strlen(path) + 1);
	return crypto_hash_sha256_update(h, (const uint8_t *)seen, sizeof(seen));
}

int source_identity(const struct source *s, uint8_t identity[32], struct err *e)
{
	crypto_hash_sha256_state h;
	char *path;

	crypto_hash_sha256_init(&h);
	if (s->blob.n && !s->paths)
		crypto_hash_sha256_update(&h, s->blob.bytes, s->blob.n);
	for (uint64_t i = 0; s->paths && i < s->n; i++)
		hash_file(&h, s->paths[i]);
	for (uint64_t i = 0; s->entries && i < s->n; i++) {
		if (asprintf(&path, "%s/%s", s->path, s->entries[i]->d_name) < 0)
			return err_set(e, ERR_ENV, "out of memory");
		hash_file(&h, path);
		free(path);
	}
	crypto_hash_sha256_final(&h, identity);
	return 0;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	for (uint64_t i = 0; s->paths && i < s->n; i++)
		free(s->paths[i]);
	free(s->paths);
	for (uint64_t i = 0; s->entries && i < s->n; i++)
		free(s->entries[i]);
	free(s->entries);
	blob_free(&s->blob);
	free(s->path);
	free(s->name);
	free(s);
}
