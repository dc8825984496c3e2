/* SPDX-License-Identifier: Apache-2.0 */
/* Inference requests from strangers. Input: one byte says which headers come with the rest, which is the
 * body; the first two bytes of it are also the length that Inference-Header-Content-Length tells. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/infer.h"

static void check(const struct infer *q, const uint8_t *body, size_t n)
{
	size_t sum = 0;

	if (q->n > 64 || (!q->pixels && !q->files))
		abort();
	for (size_t i = 0; q->files && i < q->n; i++) {
		const struct infer_file *f = &q->files[i];
		int inside = (f->bytes >= body && f->bytes + f->n <= body + n) ||
			     (q->store && f->bytes >= q->store && f->bytes + f->n <= q->store + q->stored);

		if (f->n && !inside)
			abort();
		for (size_t k = 0; k < f->n; k++)
			sum += f->bytes[k];
	}
	for (size_t i = 0; q->pixels && i < q->bytes; i++)
		sum += q->pixels[i];
	if (sum > SIZE_MAX / 2)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {NULL, "application/json", "application/octet-stream",
					    "image/png"};
	static const struct shape wants[] = {{1, 2, 2}, {3, 1, 2}};
	struct infer_limits limits = {.images = 64};
	struct infer q;
	struct err e = {0};
	char header[16];
	uint8_t how;

	if (size < 3 || size > 65536)
		return 0;
	how = data[0];
	snprintf(header, sizeof(header), "%d", data[1] | data[2] << 8);
	if (infer_parse(&q, data + 1, size - 1,
			how & 4	  ? header
			: how & 8 ? "0"
				  : NULL,
			types[how & 3], &limits, &e)) {
		if (e.code != ERR_INPUT || !e.text[0])
			abort();
		return 0;
	}
	if (q.rank || q.files)
		check(&q, data + 1, size - 1);
	if (q.pixels && !infer_fit(&q, wants[how >> 4 & 1], &e) &&
	    q.bytes != q.n * shape_size(wants[how >> 4 & 1]))
		abort();
	infer_free(&q);
	return 0;
}
