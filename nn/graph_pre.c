/* SPDX-License-Identifier: Apache-2.0 */
/* What turns pixels into the network's input, from JSON:
 * {"layout":"NCHW","scale":255,"mean":[…],"std":[…],"labels":[…],"resize":"bilinear"}; every key may be
 * absent. And what may come out: {"reveal":"label"} keeps scores from data owners. */
#include "nn/onnx.h"

#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_BYTES 256

static int number(struct json_object *o, float *x)
{
	double d;

	if (!json_object_is_type(o, json_type_double) && !json_object_is_type(o, json_type_int))
		return -1;
	d = json_object_get_double(o);
	*x = (float)d;
	return fabs(d) < 1e30 ? 0 : -1;
}

/* One number for all channels, or one for each. */
static int per_channel(struct graph *g, struct json_object *o, float to[NN_MAX_CHANNELS])
{
	uint32_t c, channels = g->nodes[0].shape.c;
	float one;

	if (!json_object_is_type(o, json_type_array)) {
		if (number(o, &one))
			return -1;
		for (c = 0; c < channels; c++)
			to[c] = one;
		return 0;
	}
	if (json_object_array_length(o) != channels && json_object_array_length(o) != 1)
		return -1;
	for (c = 0; c < channels; c++)
		if (number(json_object_array_get_idx(o, json_object_array_length(o) == 1 ? 0 : c), &to[c]))
			return -1;
	return 0;
}

/* Labels are printed on terminals. */
static int label_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 32 || s[i] == 127)
			return 0;
	return n < LABEL_BYTES;
}

static void labels_free(struct preprocess *pre)
{
	for (uint32_t j = 0; j < pre->n_labels; j++)
		free(pre->labels[j]);
	free(pre->labels);
	pre->labels = NULL;
	pre->n_labels = 0;
}

static int labels(struct preprocess *pre, struct json_object *o)
{
	size_t n;

	if (!json_object_is_type(o, json_type_array) || !(n = json_object_array_length(o)) ||
	    n > NN_MAX_ELEMENTS)
		return -1;
	labels_free(pre);
	pre->labels = calloc(n, sizeof(*pre->labels));
	for (size_t j = 0; pre->labels && j < n; j++) {
		struct json_object *s = json_object_array_get_idx(o, j);
		if (!json_object_is_type(s, json_type_string) || !label_ok(json_object_get_string(s)))
			return -1;
		pre->labels[j] = strdup(json_object_get_string(s));
		if (!pre->labels[j])
			return -1;
		pre->n_labels++;
	}
	return pre->labels ? 0 : -1;
}

static int text_is(struct json_object *o, const char *text)
{
	return json_object_is_type(o, json_type_string) && !strcmp(json_object_get_string(o), text);
}

static int member(struct graph *g, const char *key, struct json_object *o, const char *where, int nhwc,
		  struct err *e)
{
	struct preprocess *pre = &g->pre;

	if (!strcmp(key, "layout")) {
		if (!text_is(o, nhwc ? "NHWC" : "NCHW"))
			return err_set(e, ERR_INPUT, "%s: layout must be \"%s\", as the network's input is",
				       where, nhwc ? "NHWC" : "NCHW");
	} else if (!strcmp(key, "scale")) {
		if (number(o, &pre->scale) || !(pre->scale > 1e-30f))
			return err_set(e, ERR_INPUT, "%s: scale must be a positive number", where);
	} else if (!strcmp(key, "mean")) {
		if (per_channel(g, o, pre->mean))
			return err_set(e, ERR_INPUT, "%s: mean must hold %u numbers", where,
				       g->nodes[0].shape.c);
	} else if (!strcmp(key, "std")) {
		if (per_channel(g, o, pre->std))
			return err_set(e, ERR_INPUT, "%s: std must hold %u numbers", where,
				       g->nodes[0].shape.c);
		for (uint32_t c = 0; c < g->nodes[0].shape.c; c++)
			if (!(pre->std[c] > 1e-30f))
				return err_set(e, ERR_INPUT, "%s: std must be positive", where);
	} else if (!strcmp(key, "resize")) {
		if (!text_is(o, "bilinear") && !text_is(o, "none"))
			return err_set(e, ERR_INPUT, "%s: resize must be \"bilinear\" or \"none\"", where);
		pre->resize = text_is(o, "none") ? NN_RESIZE_NONE : NN_RESIZE_BILINEAR;
	} else if (!strcmp(key, "reveal")) {
		if (!text_is(o, "label") && !text_is(o, "logits"))
			return err_set(e, ERR_INPUT, "%s: reveal must be \"label\" or \"logits\"", where);
		pre->label_only = text_is(o, "label");
	} else if (!strcmp(key, "labels")) {
		if (labels(pre, o))
			return err_set(e, ERR_INPUT, "%s: labels must be a list of printable names", where);
	} else {
		return err_set(
		    e, ERR_INPUT,
		    "%s: unknown key '%.40s'; layout, scale, mean, std, labels, resize, reveal are known",
		    where, label_ok(key) ? key : "?");
	}
	return 0;
}

int graph_preprocess(struct graph *g, const char *json, const char *where, int nhwc, struct err *e)
{
	struct json_tokener *tok = json_tokener_new_ex(4);
	struct json_object *o;
	int code = 0;

	if (!tok)
		return err_set(e, ERR_ENV, "out of memory");
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, json, (int)strnlen(json, 1 << 24) + 1);
	if (!o || !json_object_is_type(o, json_type_object)) {
		code = err_set(e, ERR_INPUT, "%s: not a JSON object (%s)", where,
			       json_tokener_error_desc(json_tokener_get_error(tok)));
	} else {
		json_object_object_foreach(o, key, value)
		{
			if (!code)
				code = member(g, key, value, where, nhwc, e);
		}
	}
	json_object_put(o);
	json_tokener_free(tok);
	return code;
}
