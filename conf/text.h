/* SPDX-License-Identifier: Apache-2.0 */
/* conf/text.h — text that strangers wrote, before it ends on a terminal or in a log; words of lists. */
#ifndef OBSCURA_CONF_TEXT_H
#define OBSCURA_CONF_TEXT_H

#include <stddef.h>
#include <stdio.h>

/* Control characters (also those of two bytes, U+0080 to U+009F, of which some terminals take orders) and
 * bytes that are no UTF-8 become '?'. */
void text_clean(char *text);
/* Whether there is nothing to clean. */
int text_is_clean(const char *text);

/* Whether a list of words, with one space between two, has this one: flags and their commands in tables of
 * ours. */
int text_has_word(const char *list, const char *word);

/* Levenshtein distance of two short names, of which b has n bytes, for "did you mean"; TEXT_FAR where one is
 * long. */
#define TEXT_FAR 64
size_t text_distance(const char *a, const char *b, size_t n);

/* Writes a line of help: the flag, and beside or below it what it does, in lines of at most 100 columns.
 * value: its default, or NULL. */
void text_help(FILE *out, const char *flag, const char *help, const char *value);

#endif
