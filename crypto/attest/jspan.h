/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/attest/jspan.h — JSON (RFC 8259) read in place: a value is the span of its exact bytes, which is
 * what signatures cover. No memory, nesting bounded. Names are compared as bytes, so an escaped name is never
 * found. */
#ifndef OBSCURA_CRYPTO_ATTEST_JSPAN_H
#define OBSCURA_CRYPTO_ATTEST_JSPAN_H

#include "conf/err.h"
#include "crypto/attest/attest.h"

/* Whether the text is one value, no deeper than 16, with nothing but white space around it. 0 or -1. */
int jspan_check(struct span text) MUST_USE;
/* 1 and the member's value; 0: there is none; -1: no object, or the name stands twice. */
int jspan_member(struct span object, const char *name, struct span *value) MUST_USE;
/* Starts *rest at an array; then each call of jspan_item gives an element: 1, 0 at the end, -1. */
int jspan_items(struct span array, struct span *rest) MUST_USE;
int jspan_item(struct span *rest, struct span *value) MUST_USE;

/* Members of an object that must be there and of a type; 0 or -1. */
int jspan_object(struct span object, const char *name, struct span *value) MUST_USE;
int jspan_array(struct span object, const char *name, struct span *rest) MUST_USE;
int jspan_text(struct span object, const char *name,
	       struct span *text) MUST_USE; /* inside the quotes; no escapes */
int jspan_hex(struct span object, const char *name, uint8_t *out,
	      size_t n) MUST_USE; /* exactly n bytes, any case */
int jspan_number(struct span object, const char *name, uint64_t most, uint64_t *value) MUST_USE;
int jspan_time(struct span object, const char *name, int64_t *seconds) MUST_USE; /* "2025-06-19T10:32:27Z" */

#endif
