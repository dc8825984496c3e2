/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/personality.h"

#include <string.h>

static const struct {
	const char *name, *leaks;
	int provider;
} all[PERSONALITIES] = {
#define PERSONALITY(NAME, name, provider, leaks) [PERSONALITY_##NAME] = {name, leaks, provider},
#include "protocol/personalities.def"
#undef PERSONALITY
};

const char *personality_name(enum personality p)
{
	return all[p].name;
}

enum personality personality_of(const char *name, size_t n)
{
	enum personality p = 0;

	while (p < PERSONALITIES && (strlen(all[p].name) != n || memcmp(all[p].name, name, n)))
		p++;
	return p;
}

enum personality personality_named(const char *name)
{
	return personality_of(name, strlen(name));
}

int personality_provider(enum personality p)
{
	return all[p].provider;
}

const char *personality_leaks(enum personality p)
{
	return all[p].leaks;
}
