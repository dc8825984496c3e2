/* SPDX-License-Identifier: Apache-2.0 */
#include "test/fuzz/array.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return array_fuzz(array_npy, data, size);
}
