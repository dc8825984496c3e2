/* SPDX-License-Identifier: Apache-2.0 */
/* client/demo.h — the parts of `obscura demo`: demo.c says what is shown, demo_run.c classifies. */
#ifndef OBSCURA_CLIENT_DEMO_H
#define OBSCURA_CLIENT_DEMO_H

#include "client/papers.h"
#include "client/roles.h"
#include "client/sheet.h"

/* One model and the pictures for it. */
struct show {
	const char *model;   /* name */
	char file[PATH_MAX]; /* ONNX */
	char images[PATH_MAX], labels[PATH_MAX];
	const char *optimise;
	unsigned long long limit;
};
/* Classifies by the real command and adds a row for each picture. *wrong grows with each picture whose label
 * is not that of the same model in clear, or whose bytes or round trips are not the plan's. */
int show_run(const struct show *s, const struct roles *r, struct sheet *sheet, unsigned *wrong,
	     struct err *e) MUST_USE;
/* Writes what each party saw of the first picture; says where. */
int show_views(const struct show *s, const struct roles *r, const char *folder, struct err *e) MUST_USE;

#endif
