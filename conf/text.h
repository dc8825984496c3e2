/* SPDX-License-Identifier: Apache-2.0 */
/* conf/text.h — text that strangers wrote, before it ends on a terminal or in a log; words of lists. */
#ifndef OBSCURA_CONF_TEXT_H
#define OBSCURA_CONF_TEXT_H

/* Control characters (also those of two bytes, U+0080 to U+009F, of which some terminals take orders) and bytes that are no UTF-8
 * become '?'. */
void text_clean(char *text);
/* Whether there is nothing to clean. */
int text_is_clean(const char *text);

/* Whether a list of words, with one space between two, has this one: flags and their commands in tables of ours. */
int text_has_word(const char *list, const char *word);

#endif
