/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/decoder.h — a process that decodes strangers' pictures for a daemon. It is born before the daemon
 * has a key, a share or a thread, and each picture gets a confined child of it (confine.h): a decoder that is
 * taken over finds neither secrets nor a way out. */
#ifndef OBSCURA_DAEMON_DECODER_H
#define OBSCURA_DAEMON_DECODER_H

#include <event2/event.h>
#include "daemon/image.h"

#define DECODER_BYTES_MAX ((size_t)256 << 20) /* of one picture's file */

struct decoder;
/* Forks. Call it before keys are read and threads started. */
int decoder_new(struct decoder **d, struct err *e) MUST_USE;
/* From now on on this loop. */
void decoder_attach(struct decoder *d, struct event_base *base);

struct decoding;
/* chw: shape_size(fit->want) bytes, borrowed; NULL when e says why not. Called once from the loop, never from
 * inside decoder_start; the decoding is over and gone by then. */
typedef void (*decoder_done)(void *ctx, const uint8_t *chw, const struct err *e);
/* Decodes and fits one picture (PNG, JPEG, PNM). bytes are copied. A few run at once, others wait. */
int decoder_start(struct decoding **new, struct decoder *d, const struct fit *fit, const uint8_t *bytes,
		  size_t n, decoder_done done, void *ctx, struct err *e) MUST_USE;
/* done() will not be called. NULL is allowed. */
void decoder_cancel(struct decoding *x);
/* Decodings must be over or cancelled. Ends the process. NULL is allowed. */
void decoder_free(struct decoder *d);

#endif
