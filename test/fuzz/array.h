/* SPDX-License-Identifier: Apache-2.0 */
/* test/fuzz/array.h — headers of stacks: what is accepted has exactly the elements that it promises. */
#include "client/image.h"

#include <stdlib.h>

typedef int (*array_reader)(struct array *a, const uint8_t *bytes, size_t n, struct err *e);

static int array_fuzz(array_reader read, const uint8_t *data, size_t size)
{
	static const size_t item[] = {[ARRAY_U8] = 1, [ARRAY_F32] = 4, [ARRAY_I32] = 4, [ARRAY_I64] = 8};
	struct array a;
	struct err e = {0};
	unsigned __int128 bytes;

	if (read(&a, data, size, &e)) {
		if (e.code != ERR_INPUT || !*e.text)
			abort();
		return 0;
	}
	if (a.rank < 1 || a.rank > 4 || a.data < data || a.data > data + size)
		abort();
	bytes = item[a.type];
	for (unsigned i = 0; i < a.rank; i++)
		bytes *= a.dims[i];
	if (bytes != (size_t)(data + size - a.data))
		abort();
	return 0;
}
