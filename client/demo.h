/* SPDX-License-Identifier: Apache-2.0 */
/* client/demo.h — the parts of `obscura demo`: demo.c says what is shown, demo_roles.c keeps three roles
 * running, demo_run.c classifies. */
#ifndef OBSCURA_CLIENT_DEMO_H
#define OBSCURA_CLIENT_DEMO_H

#include <limits.h>
#include <signal.h>
#include <sys/types.h>
#include "client/sheet.h"

/* Three roles on loopback, in a folder of their own that goes with them. */
struct roles {
	char folder[64];
	char obscura[PATH_MAX], obscurad[PATH_MAX];
	char socket[96];
	pid_t provider, model_owner, data_owner;
};
extern volatile sig_atomic_t demo_stopped; /* Ctrl-C or SIGTERM */

/* Makes the folder; certificates for loopback. */
int roles_prepare(struct roles *r, struct err *e) MUST_USE;
/* models: "a.onnx,b.onnx". Returns when all three are ready. */
int roles_start(struct roles *r, const char *models, struct err *e) MUST_USE;
/* Ends what runs and removes the folder. */
void roles_stop(struct roles *r);

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
