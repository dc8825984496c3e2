/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/clear.h — sessions of the clear personality (protocol/duo.h), sans-I/O. The picture goes to the
 * model owner as it is: the baseline of every experiment, which protects nothing but the wire.
 *   D → M  OPEN (personality clear)   M → D  OPENED (plan)
 *   D → M  BEGIN (epoch, count), STEP 0: pixels, 8 bits each, image after image
 *   M → D  STEP 1: for each image the words of the result, packed to the bits of the value that OP_REVEAL
 *          reads
 * Inferences of a session run one after another. */
#ifndef OBSCURA_PROTOCOL_CLEAR_H
#define OBSCURA_PROTOCOL_CLEAR_H

#include "nn/clear.h"
#include "protocol/core.h"

/* Payload of one image, online, one round trip; the rest of the program is empty. */
void clear_predict(struct program *predicted, const struct plan *plan);
/* How many images' pixels and results fit so many bytes, at most `most`; 0: not one. */
size_t clear_batch(const struct plan *plan, size_t most, uint64_t bytes);

#endif
