/* SPDX-License-Identifier: Apache-2.0 */
/* client/picture.h — writes pictures for people: PNG, enlarged so that pixels can be seen. */
#ifndef OBSCURA_CLIENT_PICTURE_H
#define OBSCURA_CLIENT_PICTURE_H

#include <stdint.h>
#include <stdio.h>
#include "nn/graph.h"

/* What each party saw of one picture, as three files NAME-data-owner.png, NAME-model-owner.png,
 * NAME-provider.png in dir. masked: what the model owner received, NULL when it is not known (no file then).
 * The provider receives nothing that depends on a picture: its file is plain grey. Says on standard output
 * which file is what. */
int picture_views(FILE *out, const char *dir, const char *name, const uint8_t *chw, const uint8_t *masked,
		  struct shape s, struct err *e) MUST_USE;

#endif
