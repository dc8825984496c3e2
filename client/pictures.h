/* SPDX-License-Identifier: Apache-2.0 */
/* client/pictures.h — the pictures of one `classify`: decoded before anybody is contacted, fitted when the
 * model's size is known. */
#ifndef OBSCURA_CLIENT_PICTURES_H
#define OBSCURA_CLIENT_PICTURES_H

#include "client/image.h"

struct picture {
	char *name;	    /* owns */
	struct image image; /* until it is fitted */
	uint8_t *chw;	    /* owns */
};
struct pictures {
	struct picture *all; /* owns */
	size_t n, pixels;    /* pixels: bytes of chw */
	size_t held;	     /* bytes of decoded pictures */
};
/* All pictures of n sources, passing over the first `offset`, at most `limit` (0: all). */
int pictures_load(struct pictures *b, char *const *sources, int n, uint64_t offset, uint64_t limit,
		  struct err *e) MUST_USE;
/* Errors name the picture. */
int pictures_fit(struct pictures *b, const struct fit *fit, struct err *e) MUST_USE;
void pictures_free(struct pictures *b);

#endif
