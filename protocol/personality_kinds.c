/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/personality.h"

const struct owner_kind *owner_kind(enum personality p)
{
	static const struct owner_kind *const kinds[PERSONALITIES] = {[PERSONALITY_HE] = &he_owner_kind,
								      [PERSONALITY_CLEAR] = &clear_owner_kind};

	return kinds[p];
}

const struct modeller_kind *modeller_kind(enum personality p)
{
	static const struct modeller_kind *const kinds[PERSONALITIES] = {[PERSONALITY_HE] = &he_modeller_kind,
									 [PERSONALITY_CLEAR] = &clear_modeller_kind};

	return kinds[p];
}
