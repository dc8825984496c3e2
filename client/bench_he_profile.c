/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench.h"

int bench_he_profile(struct bench *b, const struct measured *m, const struct program *p, struct err *e)
{
	return err_set(e, ERR_USAGE, "--profile: of smpc only");
}
