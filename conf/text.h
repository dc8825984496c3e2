/* SPDX-License-Identifier: Apache-2.0 */
/* conf/text.h — text that strangers wrote, before it ends on a terminal or in a log. */
#ifndef OBSCURA_CONF_TEXT_H
#define OBSCURA_CONF_TEXT_H

/* Control characters (also those of two bytes, U+0080 to U+009F, of which some terminals take orders) and bytes that are no UTF-8
 * become '?'. */
void text_clean(char *text);
/* Whether there is nothing to clean. */
int text_is_clean(const char *text);

#endif
