/* SPDX-License-Identifier: Apache-2.0 */
/* What the enclave reads of its owner's release and of its own sealed state. The first byte chooses. Parts
 * lie in the input; a state that is read is written and read again as the same. */
#include "daemon/enclave_state.h"

#include <stdlib.h>
#include <string.h>

static void inside(struct span all, struct span part)
{
	if (part.p < all.p || part.p + part.n > all.p + all.n)
		abort();
}

static void read_release(struct span all)
{
	struct enclave_state s = {0};
	struct release r;
	struct err e = {0};
	int genuine;

	if (release_read(all, &r, &genuine))
		return;
	inside(all, r.key);
	inside(all, r.file.head);
	inside(all, r.file.name);
	inside(r.said, r.to);
	inside(r.said, r.digest);
	if (state_accept(&s, &r, &e))
		return;
	if (state_floor(&s, r.file.name) != r.floor || s.head_n != (r.keep ? r.file.head.n : 0))
		abort();
}

static void read_state(struct span all)
{
	struct enclave_state s, t;
	uint8_t *p;
	size_t n;

	if (state_read(all, &s))
		return;
	p = state_pack(&s, &n);
	if (!p || state_read((struct span){p, n}, &t) || memcmp(&s, &t, sizeof(s)))
		abort();
	seal_free(p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = {data + 1, size - 1};
	struct state_file f;

	if (!size)
		return 0;
	if (*data % 3 == 0)
		read_release(all);
	else if (*data % 3 == 1)
		read_state(all);
	else if (!state_file_read(all, &f)) {
		inside(all, f.head);
		inside(all, f.wrapped);
		inside(all, f.box);
		if (f.head.n + f.box.n != all.n)
			abort();
	}
	return 0;
}
