/* SPDX-License-Identifier: Apache-2.0 */
/* conf/err.h — the one way in which a function says why it failed. */
#ifndef OBSCURA_CONF_ERR_H
#define OBSCURA_CONF_ERR_H

/* The value of an error is the exit code of a program that ends with it. */
enum err_code {
	ERR_NONE = 0,
#define ERR(name, exit_code, meaning) ERR_##name = exit_code,
#include "conf/errors.def"
#undef ERR
};

/* An error travels with the work that failed. Text is one line for a person: what, where, remedy. */
struct err {
	enum err_code code;
	char peer[96]; /* who caused it, "" when nobody did */
	char text[512];
};

#define MUST_USE __attribute__((warn_unused_result))

/* Sets code and text and returns -1, so that a failing function ends with `return err_set(...)`.
 * The first reason wins: an error that is already set is not overwritten. e may be NULL. */
int err_set(struct err *e, enum err_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text, and returns -1. */
int err_context(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What it means that a file could not be read, by errno: the file is not what was asked for (INPUT), or this
 * system or its rights do not let us (ENV). */
enum err_code err_of_file(int error);

/* Its name in errors.def, "PEER", "INPUT": for logs and metrics. */
const char *err_name(enum err_code code);

#endif
