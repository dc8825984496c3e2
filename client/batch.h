/* SPDX-License-Identifier: Apache-2.0 */
/* client/batch.h — the pictures of one `classify`: decoded before anybody is contacted, fitted when the
 * model's size is known. */
#ifndef OBSCURA_CLIENT_BATCH_H
#define OBSCURA_CLIENT_BATCH_H

#include "client/image.h"

struct picture {
	char *name;	    /* owns */
	struct image image; /* until it is fitted */
	uint8_t *chw;	    /* owns */
};
struct batch {
	struct picture *pictures; /* owns */
	size_t n, pixels;	  /* pixels: bytes of chw */
	size_t held;		  /* bytes of decoded pictures */
};
/* All pictures of n sources, passing over the first `offset`, at most `limit` (0: all). */
int batch_load(struct batch *b, char *const *sources, int n, uint64_t offset, uint64_t limit,
	       struct err *e) MUST_USE;
/* Errors name the picture. */
int batch_fit(struct batch *b, const struct fit *fit, struct err *e) MUST_USE;
void batch_free(struct batch *b);

#endif
