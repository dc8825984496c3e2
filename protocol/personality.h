/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/personality.h — how an inference can be evaluated: names, and what each leaks. */
#ifndef OBSCURA_PROTOCOL_PERSONALITY_H
#define OBSCURA_PROTOCOL_PERSONALITY_H

#include <stddef.h>

enum personality {
#define PERSONALITY(NAME, name, provider, leaks) PERSONALITY_##NAME,
#include "protocol/personalities.def"
#undef PERSONALITY
	PERSONALITIES
};
const char *personality_name(enum personality p);
/* The one of that name, or PERSONALITIES. */
enum personality personality_named(const char *name);
/* The same of the first n characters. */
enum personality personality_of(const char *name, size_t n);
int personality_provider(enum personality p);	   /* whether a provider takes part */
const char *personality_leaks(enum personality p); /* "": nothing */

#endif
