/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/duo.h"

const struct duo_owner_kind *duo_owner_kind(enum personality p)
{
	static const struct duo_owner_kind *const kinds[PERSONALITIES] = {
	    [PERSONALITY_HE] = &he_owner_kind, [PERSONALITY_CLEAR] = &clear_owner_kind};

	return kinds[p];
}

const struct duo_modeller_kind *duo_modeller_kind(enum personality p)
{
	static const struct duo_modeller_kind *const kinds[PERSONALITIES] = {
	    [PERSONALITY_HE] = &he_modeller_kind, [PERSONALITY_CLEAR] = &clear_modeller_kind};

	return kinds[p];
}
