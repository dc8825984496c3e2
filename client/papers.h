/* SPDX-License-Identifier: Apache-2.0 */
/* client/papers.h — the paper's models X, Y, Z in ../shared/data, which come without the description of their
 * input. */
#ifndef OBSCURA_CLIENT_PAPERS_H
#define OBSCURA_CLIENT_PAPERS_H

#include <limits.h>
#include "conf/err.h"

#define PAPERS 3

struct paper {
	const char *model, *images, *labels; /* files below shared/data */
	/* many pictures of the model's own size, likewise, and their classes */
	const char *stack, *stack_labels;
	const char *json;
};
extern const struct paper papers[PAPERS];

/* What was asked for, $OBSCURA_SHARED, or ../shared. */
const char *papers_folder(const char *asked);
/* A link to the model, and the description of its input, in `folder`; file receives its path. 1, or 0 when
 * there is no such model below `shared`. */
int paper_model(char file[PATH_MAX], const struct paper *p, const char *shared, const char *folder,
		struct err *e) MUST_USE;

#endif
