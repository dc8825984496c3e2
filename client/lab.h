/* SPDX-License-Identifier: Apache-2.0 */
/* client/lab.h — `obscura bench --links`: the roles on hosts of their own, joined by links. lab.c has the
 * matrix, lab_links.c the links, lab_rows.c predictions, rows and what was done before. */
#ifndef OBSCURA_CLIENT_LAB_H
#define OBSCURA_CLIENT_LAB_H

#include "client/bench.h"
#include "client/link_measure.h"

#define LAB_LINKS_MAX 16
#define LAB_REPEAT_MAX 100
#define LAB_TRIES 4 /* of measuring a link, before a run on it is refused */

/* ---- lab_rows.c ---- */

/* What was measured of one model, mode and batch on one link. */
struct lab_known {
	char link[32], model[64], way[24];
	size_t batch, repetition;
	double online; /* seconds, median */
};
/* Rows of an interrupted run whose results are in file: read, and counted as done. A last line that is not
 * whole is none. 0 rows when there is no file. */
int lab_read(struct lab *l, const char *file, struct err *e) MUST_USE;
int lab_done(const struct lab *l, const char *link, const char *model, const struct bench_way *way,
	     size_t batch, size_t repetition);
/* Likewise, on the link and in the repetition at hand. */
int lab_has(const struct lab *l, const char *model, const struct bench_way *way, size_t batch);
/* Before a row is measured: on which link. Once its plan is known: the prediction, and how long to
 * measure. */
void lab_begin(struct lab *l, struct measured *m);
void lab_predict(struct lab *l, struct measured *m);
/* Afterwards. */
void lab_note(struct lab *l, const struct measured *m);
void lab_json(struct json_object *o, const struct measured *m);
int lab_print(const struct lab *l, struct err *e) MUST_USE;

/* ---- lab_links.c ---- */

/* Makes link i and measures it; both are written down. Then l->net is that link. */
int lab_link(struct lab *l, size_t i, struct err *e) MUST_USE;
int lab_print_links(const struct lab *l, struct err *e) MUST_USE;

/* ---- lab.c ---- */
struct lab {
	struct bench *bench;
	struct link links[LAB_LINKS_MAX];
	struct link_measured measured[LAB_LINKS_MAX]; /* the last time */
	enum link_mechanism made[LAB_LINKS_MAX];
	size_t n_links, repeat, refused; /* refused: turns */
	struct link_net net;		 /* the one that stands, if `stands` */
	int stands;
	long group;		 /* of turns: for which it was made; −1: none yet */
	size_t at, repetition;	 /* of what is measured now */
	struct lab_known *known; /* owns */
	size_t n_known, room;
};
/* The whole of `obscura bench --links …`, results open. */
int lab_run(struct bench *b, struct err *e) MUST_USE;

#endif
