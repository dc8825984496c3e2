/* SPDX-License-Identifier: Apache-2.0 */
/* client/rows.h — rows of a tape, for people. */
#ifndef OBSCURA_CLIENT_ROWS_H
#define OBSCURA_CLIENT_ROWS_H

#include "protocol/program.h"

/* "linear conv 5×5, pool 2×2". Returns text. */
const char *row_describe(const struct row *row, char *text, size_t bytes);
/* Of one image. */
uint64_t row_multiply_adds(const struct row *row);
uint64_t row_sent(const struct program *p, const struct placed *row, enum party from);

#endif
