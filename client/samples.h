/* SPDX-License-Identifier: Apache-2.0 */
/* client/samples.h — many pictures of a model's size with their classes and reference scores, for `verify`.
 */
#ifndef OBSCURA_CLIENT_SAMPLES_H
#define OBSCURA_CLIENT_SAMPLES_H

#include "client/image.h"

struct samples {
	size_t n, classes;
	size_t pixels;	 /* bytes of one picture */
	uint8_t *chw;	 /* owns: n × pixels */
	int32_t *labels; /* owns: n; NULL without --labels */
	float *logits;	 /* owns: n × classes; NULL without --logits */
};
struct samples_from {
	const char *images, *labels, *logits; /* borrow; labels and logits may be NULL */
	uint64_t offset, limit;		      /* limit 0: all */
	struct fit fit;
	size_t classes;
};
/* Labels: IDX or NPY, or text: one class a line, or FILE CLASS. Errors name the file and the first mistake.
 */
int samples_load(struct samples *s, const struct samples_from *from, struct err *e) MUST_USE;
/* Labels alone, of n pictures that are called names[] (without folder). *labels: returns new. */
int samples_labels(int32_t **labels, const char *path, char **names, size_t n, size_t classes,
		   struct err *e) MUST_USE;
void samples_free(struct samples *s);

#endif
