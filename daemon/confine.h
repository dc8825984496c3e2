/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/confine.h — runs a decoder of hostile bytes in a process that can do nothing but compute. */
#ifndef OBSCURA_DAEMON_CONFINE_H
#define OBSCURA_DAEMON_CONFINE_H

#include "daemon/image.h"

typedef int (*confine_decoder)(struct image *im, const uint8_t *bytes, size_t n, struct err *e);

/* Forks; the child drops every file, limits its memory and time, allows itself a handful of system calls
 * (seccomp), decodes, and passes the picture back through a pipe. A decoder that crashes, hangs or asks for
 * anything else ends as ERR_INPUT here. */
int confine_decode(struct image *im, confine_decoder decode, const uint8_t *bytes, size_t n,
		   struct err *e) MUST_USE;

/* What the child does first: nothing is left to this process but to compute, and to read and write one file,
 * which becomes CONFINE_FD. For good. */
#define CONFINE_FD 3
int confine_enter(int only) MUST_USE;
/* All n bytes to CONFINE_FD; -1: whoever reads it is gone. */
int confine_put(const void *p, size_t n);

#endif
