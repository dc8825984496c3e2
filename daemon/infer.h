/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/infer.h — an inference request of the Open Inference Protocol v2 (REST), as JSON, as JSON followed
 * by binary tensors, or as one raw picture: hostile bytes in, checked pictures out.
 *
 * The one input is named "image": UINT8 of shape [N,C,H,W] (or [N,H,W,C] where that is not the same), or
 * BYTES of shape [N] with PNG or JPEG files (base64 in JSON, as they are in binary). */
#ifndef OBSCURA_DAEMON_INFER_H
#define OBSCURA_DAEMON_INFER_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"
#include "nn/graph.h"
#include "nn/plan.h"

#define INFER_INPUT "image"
#define INFER_JSON_MAX                                                                                       \
	((size_t)4                                                                                           \
	 << 20) /* bytes of JSON: each number in it takes some 60 bytes of memory                  \
			   */
#define INFER_ID_MAX 256
#define INFER_PERSONALITY_MAX 16

enum infer_output {
	INFER_SCORES,
	INFER_LABEL,
	INFER_VIEW_OWNER,
	INFER_VIEW_MODEL,
	INFER_LAYERS,
	INFER_OUTPUTS
};
extern const char *const infer_output_names[INFER_OUTPUTS];

/* An output that was asked for. */
struct infer_wanted {
	enum infer_output what;
	int binary;	  /* as binary data */
	uint32_t classes; /* of scores: the best so many, as "value:index:name" */
	int names;	  /* of label: its name */
};

struct infer_file {
	const uint8_t *bytes; /* borrows from the body or from infer.store */
	size_t n;
};

struct infer {
	char *id; /* owns; NULL: none */
	size_t n; /* pictures */
	size_t most;
	uint64_t shape[4];
	unsigned rank;
	uint8_t *pixels;	  /* owns; NULL: they come as files. infer_fit makes CHW of them */
	size_t bytes;		  /* of pixels */
	struct infer_file *files; /* owns the list */
	uint8_t *store;		  /* owns: files that came as base64 */
	size_t stored;
	struct infer_wanted wanted[INFER_OUTPUTS];
	unsigned n_wanted; /* 0: all that the model has */
	int binary_output;
	enum plan_optimise optimise;
	enum plan_reveal reveal;
	int scores_asked;			 /* in so many words: no label instead */
	char personality[INFER_PERSONALITY_MAX]; /* "": the daemon's choice */
	int convert;				 /* grey ↔ colour is allowed */
	uint32_t deadline_ms;			 /* 0: the daemon's */
};

struct infer_limits {
	size_t images;		     /* of one request */
	enum plan_optimise optimise; /* when the request does not say */
};

/* header: the value of Inference-Header-Content-Length, NULL when there is none; type: Content-Type,
 * likewise. q borrows from body. On failure q is empty, and e says what to send instead. */
int infer_parse(struct infer *q, const uint8_t *body, size_t n, const char *header, const char *type,
		const struct infer_limits *limits, struct err *e) MUST_USE;
/* Holds pixels against what the model takes, and turns [N,H,W,C] into [N,C,H,W]. */
int infer_fit(struct infer *q, struct shape want, struct err *e) MUST_USE;
int infer_wants(const struct infer *q, enum infer_output what);
void infer_free(struct infer *q); /* wipes */

#endif
