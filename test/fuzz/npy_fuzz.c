/* SPDX-License-Identifier: Apache-2.0 */
/* NPY headers: what is accepted has exactly the elements that it promises. */
#include "client/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t item[] = {[ARRAY_U8] = 1, [ARRAY_F32] = 4, [ARRAY_I32] = 4, [ARRAY_I64] = 8};
	struct array a;
	struct err e = {0};
	unsigned __int128 bytes;

	if (array_npy(&a, data, size, &e)) {
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
