/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files in memory, bounded, gunzipped. */
#include <zlib.h>

#include "client/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void blob_free(struct blob *b)
{
	free(b->bytes);
	memset(b, 0, sizeof(*b));
}

/* Doubles the room, up to BLOB_MAX + 1: one byte more than may be there shows a file that is too long. */
static int grow(struct blob *b, size_t *room, struct err *e)
{
	size_t more = *room ? *room * 2 : 1 << 16;
	uint8_t *bytes;

	if (*room > BLOB_MAX)
		return err_set(e, ERR_INPUT, "the file is larger than 1 GiB; split it");
	if (more > BLOB_MAX)
		more = BLOB_MAX + 1;
	bytes = realloc(b->bytes, more);
	if (!bytes)
		return err_set(e, ERR_ENV, "out of memory for a file of more than %zu bytes", *room);
	b->bytes = bytes;
	*room = more;
	return 0;
}

static int read_stream(struct blob *b, FILE *f, struct err *e)
{
	size_t room = 0;

	do {
		if (b->n == room && grow(b, &room, e))
			return -1;
		b->n += fread(b->bytes + b->n, 1, room - b->n, f);
	} while (!feof(f) && !ferror(f));
	return ferror(f) ? err_set(e, ERR_ENV, "cannot read it: %s", strerror(errno)) : 0;
}

static int inflate_all(struct blob *out, z_stream *z, struct err *e)
{
	size_t room = 0;
	int r;

	do {
		if (out->n == room && grow(out, &room, e))
			return -1;
		z->next_out = out->bytes + out->n;
		z->avail_out = (uInt)(room - out->n);
		r = inflate(z, Z_NO_FLUSH);
		out->n = room - z->avail_out;
		if (r == Z_STREAM_END && z->avail_in && inflateReset(z) == Z_OK)
			r = Z_OK; /* gzip allows several members in a row */
	} while (r == Z_OK && (z->avail_in || !z->avail_out));
	return r == Z_STREAM_END
		   ? 0
		   : err_set(e, ERR_INPUT, "corrupt gzip data: %s", z->msg ? z->msg : "it ends early");
}

int blob_gunzip(struct blob *out, const uint8_t *bytes, size_t n, struct err *e)
{
	z_stream z = {.next_in = (Bytef *)bytes, .avail_in = (uInt)n};
	int r;

	memset(out, 0, sizeof(*out));
	if (n > BLOB_MAX || inflateInit2(&z, 15 + 16) != Z_OK)
		return err_set(e, ERR_ENV, "cannot start to gunzip");
	r = inflate_all(out, &z, e);
	inflateEnd(&z);
	if (r)
		blob_free(out);
	return r;
}

static int unpack(struct blob *b, struct err *e)
{
	struct blob plain;

	if (image_kind(b->bytes, b->n) != IMAGE_GZIP)
		return 0;
	if (blob_gunzip(&plain, b->bytes, b->n, e))
		return -1;
	blob_free(b);
	*b = plain;
	return 0;
}

int blob_read(struct blob *b, const char *path, struct err *e)
{
	int standard = !strcmp(path, "-"), r;
	FILE *f = standard ? stdin : fopen(path, "re");
	struct stat s;

	memset(b, 0, sizeof(*b));
	if (!f)
		return err_set(e, err_of_file(errno), "cannot open it: %s", strerror(errno));
	if (!fstat(fileno(f), &s) && S_ISDIR(s.st_mode))
		r = err_set(e, ERR_INPUT, "this is a folder");
	else
		r = read_stream(b, f, e) || unpack(b, e) ? -1 : 0;
	if (!standard)
		fclose(f);
	if (r)
		blob_free(b);
	return r;
}
