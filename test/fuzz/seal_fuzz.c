/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a sealed model: every part must lie in the file, and together they are the file. */
#include "daemon/seal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sealed s;

	if (seal_read((struct span){data, size}, &s))
		return 0;
	if (s.head.p != data || s.head.n + s.box.n != size || s.box.p != data + s.head.n)
		abort();
	if (s.name.p < data || s.name.p + s.name.n != s.box.p || s.nonce.p + s.nonce.n > s.name.p ||
	    s.owner.p + s.owner.n > s.nonce.p)
		abort();
	return 0;
}
