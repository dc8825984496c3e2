/* SPDX-License-Identifier: Apache-2.0 */
/* What strangers wrote: nothing that a terminal takes for an order gets through, everything else does. */
#include "test/test.h"

#include "conf/err.h"
#include "conf/text.h"

static void becomes(const char *text, const char *clean)
{
	char copy[64];

	strcpy(copy, text);
	assert_int_equal(text_is_clean(text), !strcmp(text, clean));
	text_clean(copy);
	assert_string_equal(copy, clean);
	assert_true(text_is_clean(copy));
}

static void characters(void **state)
{
	becomes("", "");
	becomes("3×3 “größer” → ≤ 日本 🙂 ~", "3×3 “größer” → ≤ 日本 🙂 ~");
	becomes("a\033[31mb\nc\td\x7f", "a?[31mb?c?d?");
	becomes("\xc2\x9b"
		"31m \xc2\x80 \xc2\x9f \xc2\xa0",
		"??31m ?? ?? \xc2\xa0"); /* U+009B is ESC [ to some */
	becomes("\x9b"
		"31m \xff",
		"?31m ?"); /* bytes that are no UTF-8 */
	becomes("half \xc3", "half ?");
	becomes("\xc0\x9b \xe0\x80\x9b \xed\xa0\x80", "?? ??? ???"); /* overlong, a surrogate */
}

static void errors(void **state)
{
	struct err e = {0};

	err_set(&e, ERR_PEER, "it says: %s", "\033]0;mine\007");
	assert_string_equal(e.text, "it says: ?]0;mine?");
	err_context(&e, "%s", "\xc2\x9b");
	assert_string_equal(e.text, "??: it says: ?]0;mine?");
}

static void names(void **state)
{
	assert_int_equal(text_distance("lanes", "lanes=3", 5), 0);
	assert_int_equal(text_distance("lanes", "lnaes", 5), 2);
	assert_int_equal(text_distance("", "abc", 3), 3);
	assert_int_equal(text_distance("model", "modle", 5), 2);
	assert_int_equal(
	    text_distance("x", "0123456789012345678901234567890123456789012345678901234567890123", 64),
	    TEXT_FAR);
}

/* A line of help is at most 100 columns wide, whatever a character takes in bytes; a word that is longer
 * stands alone. */
static void help(void **state)
{
	static const char want[] =
	    "  --mean=M,…                    then M\n"
	    "  --a-flag-that-is-so-long-that=IT\n                                is alone [7]\n"
	    "  --x                           ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× "
	    "×××× ××\n"
	    "                                ××\n";
	char got[1024] = "";
	FILE *f = fmemopen(got, sizeof(got), "w");

	assert_non_null(f);
	text_help(f, "--mean=M,…", "then M", NULL);
	text_help(f, "--a-flag-that-is-so-long-that=IT", "is alone", "7");
	text_help(f, "--x", "×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×××× ×× ××", "");
	fclose(f);
	assert_string_equal(got, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(characters), cmocka_unit_test(errors),
					   cmocka_unit_test(names), cmocka_unit_test(help)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
