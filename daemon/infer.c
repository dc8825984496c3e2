/* SPDX-License-Identifier: Apache-2.0 */
/* The envelope of a request: JSON, outputs, parameters. */
#include "daemon/infer_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <sodium.h>

#define DEPTH 12 /* of nested JSON: a tensor of rank 4 in an input in a list in an object */
#define CLASSES_MAX (1 << 20)
#define DEADLINE_MAX 86400000

const char *const infer_output_names[INFER_OUTPUTS] = {"scores", "label", "view_data_owner",
						       "view_model_owner", "layers"};

struct json_object *infer_field(struct json_object *o, const char *of, const char *field, enum json_type type,
				struct err *e)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, field, &value) || !value)
		return NULL;
	if (json_object_get_type(value) == type)
		return value;
	err_set(e, ERR_INPUT, "%s: \"%s\" is not of type %s", of, field, json_type_to_name(type));
	return NULL;
}

/* ---- parameters ---- */

static int flag(struct json_object *o, const char *of, const char *name, int *value, struct err *e)
{
	struct json_object *x = infer_field(o, of, name, json_type_boolean, e);

	if (x)
		*value = json_object_get_boolean(x);
	return e->code ? -1 : 0;
}

/* One of two words. */
static int choice(struct json_object *o, const char *name, const char *const words[2], unsigned *value,
		  struct err *e)
{
	struct json_object *x = infer_field(o, "parameters", name, json_type_string, e);
	const char *word = x ? json_object_get_string(x) : NULL;

	if (!x)
		return e->code ? -1 : 0;
	for (unsigned i = 0; i < 2; i++)
		if (!strcmp(word, words[i])) {
			*value = i;
			return 0;
		}
	return err_set(e, ERR_INPUT, "parameters: \"%s\" is neither \"%s\" nor \"%s\"", name, words[0],
		       words[1]);
}

static int whole(struct json_object *o, const char *of, const char *name, int64_t most, uint32_t *value,
		 struct err *e)
{
	struct json_object *x = infer_field(o, of, name, json_type_int, e);
	int64_t n = x ? json_object_get_int64(x) : 0;

	if (!x)
		return e->code ? -1 : 0;
	if (n < 1 || n > most)
		return err_set(e, ERR_INPUT, "%s: \"%s\" is not from 1 to %lld", of, name, (long long)most);
	*value = (uint32_t)n;
	return 0;
}

static int personality(struct infer *q, struct json_object *o, struct err *e)
{
	struct json_object *x = infer_field(o, "parameters", "personality", json_type_string, e);
	const char *word = x ? json_object_get_string(x) : "";

	if (e->code)
		return -1;
	if (strlen(word) >= sizeof(q->personality))
		return err_set(e, ERR_INPUT, "parameters: there is no personality \"%.40s\"", word);
	memcpy(q->personality, word, strlen(word) + 1);
	return 0;
}

/* Those that are not ours are passed over, as the protocol wants. */
static int parameters(struct infer *q, struct json_object *root, struct err *e)
{
	static const char *const modes[] = {[PLAN_LATENCY] = "latency", [PLAN_BANDWIDTH] = "bandwidth"},
				 *const reveals[] = {[REVEAL_LOGITS] = "logits", [REVEAL_LABEL] = "label"};
	struct json_object *o = infer_field(root, "request", "parameters", json_type_object, e);
	unsigned optimise = q->optimise, reveal = q->reveal;

	if (!o)
		return e->code ? -1 : 0;
	if (choice(o, "optimise", modes, &optimise, e) || choice(o, "reveal", reveals, &reveal, e) ||
	    personality(q, o, e) || flag(o, "parameters", "convert", &q->convert, e) ||
	    flag(o, "parameters", "binary_data_output", &q->binary_output, e) ||
	    whole(o, "parameters", "deadline_ms", DEADLINE_MAX, &q->deadline_ms, e))
		return -1;
	q->optimise = optimise;
	q->reveal = reveal;
	q->scores_asked = json_object_object_get_ex(o, "reveal", NULL) && reveal == REVEAL_LOGITS;
	return 0;
}

/* ---- outputs ---- */

static int output(struct infer *q, struct json_object *o, struct err *e)
{
	struct infer_wanted wanted = {.what = INFER_OUTPUTS, .binary = q->binary_output}, *w = &wanted;
	struct json_object *name = infer_field(o, "output", "name", json_type_string, e),
			   *p = infer_field(o, "output", "parameters", json_type_object, e);
	const char *text = name ? json_object_get_string(name) : "";

	if (e->code)
		return -1;
	for (unsigned i = 0; i < INFER_OUTPUTS; i++)
		if (!strcmp(text, infer_output_names[i]))
			w->what = i;
	if (w->what == INFER_OUTPUTS)
		return err_set(e, ERR_INPUT,
			       "there is no output \"%.64s\"; there are scores, label, view_data_owner, "
			       "view_model_owner and layers",
			       text);
	if (infer_wants(q, w->what))
		return err_set(e, ERR_INPUT, "output %s is asked for twice", text);
	if (w->what == INFER_SCORES && q->reveal == REVEAL_LABEL)
		return err_set(e, ERR_INPUT, "with \"reveal\": \"label\" there are no scores");
	w = &q->wanted[q->n_wanted++]; /* each at most once: there is room */
	*w = wanted;
	q->scores_asked |= w->what == INFER_SCORES;
	if (!p)
		return 0;
	return flag(p, text, "binary_data", &w->binary, e) || flag(p, text, "names", &w->names, e) ||
		       whole(p, text, "classification", CLASSES_MAX, &w->classes, e)
		   ? -1
		   : 0;
}

static int outputs(struct infer *q, struct json_object *root, struct err *e)
{
	struct json_object *list = infer_field(root, "request", "outputs", json_type_array, e);
	size_t n = list ? json_object_array_length(list) : 0;

	if (e->code)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!json_object_is_type(o, json_type_object))
			return err_set(e, ERR_INPUT, "output %zu is no object", i);
		if (output(q, o, e))
			return -1;
	}
	return 0;
}

int infer_wants(const struct infer *q, enum infer_output what)
{
	for (unsigned i = 0; i < q->n_wanted; i++)
		if (q->wanted[i].what == what)
			return 1;
	return 0;
}

/* ---- the request ---- */

static int identify(struct infer *q, struct json_object *root, struct err *e)
{
	struct json_object *id = infer_field(root, "request", "id", json_type_string, e);

	if (e->code)
		return -1;
	if (!id)
		return 0;
	if (json_object_get_string_len(id) > INFER_ID_MAX)
		return err_set(e, ERR_INPUT, "the id is longer than %d bytes", INFER_ID_MAX);
	q->id = strdup(json_object_get_string(id));
	return q->id ? 0 : err_set(e, ERR_ENV, "out of memory");
}

static int request(struct infer *q, struct json_object *root, const uint8_t *tail, size_t n, struct err *e)
{
	struct json_object *inputs;

	if (!json_object_is_type(root, json_type_object))
		return err_set(e, ERR_INPUT, "the request is no JSON object");
	if (identify(q, root, e) || parameters(q, root, e) || outputs(q, root, e))
		return -1;
	inputs = infer_field(root, "request", "inputs", json_type_array, e);
	if (!inputs || json_object_array_length(inputs) != 1 ||
	    !json_object_is_type(json_object_array_get_idx(inputs, 0), json_type_object))
		return err_set(e, ERR_INPUT, "the request needs \"inputs\" with one object: the input \"%s\"",
			       INFER_INPUT);
	return infer_input(q, json_object_array_get_idx(inputs, 0), tail, n, e);
}

static struct json_object *read_json(const uint8_t *text, size_t n, struct err *e)
{
	struct json_tokener *t;
	struct json_object *root;

	if (n > INFER_JSON_MAX) {
		err_set(e, ERR_INPUT,
			"%zu bytes of JSON, where %zu are read: send pixels as binary data or as PNG", n,
			INFER_JSON_MAX);
		return NULL;
	}
	t = json_tokener_new_ex(DEPTH);
	if (!t) {
		err_set(e, ERR_ENV, "out of memory");
		return NULL;
	}
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(t, (const char *)text, (int)n);
	if (!root || json_tokener_get_error(t) != json_tokener_success) {
		enum json_tokener_error why = json_tokener_get_error(t);

		err_set(e, ERR_INPUT,
			"the JSON cannot be read at byte %zu: %s; a picture comes with its Content-Type, "
			"image/png or image/jpeg",
			json_tokener_get_parse_end(t),
			why == json_tokener_success    ? "it is null"
			: why == json_tokener_continue ? "it ends early"
						       : json_tokener_error_desc(why));
		json_object_put(root);
		root = NULL;
	}
	json_tokener_free(t);
	return root;
}

/* -1: it is no number of bytes that the body has. */
static int header_length(const char *header, size_t n, size_t *length)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(header, &end, 10);
	*length = (size_t)value;
	return header[0] < '0' || header[0] > '9' || *end || errno || value > n ? -1 : 0;
}

static int parse(struct infer *q, const uint8_t *body, size_t n, const char *header, const char *type,
		 struct err *e)
{
	int picture = type && !strncasecmp(type, "image/", 6), failed;
	struct json_object *root;
	size_t length = n;

	if (header && header_length(header, n, &length))
		return err_set(e, ERR_INPUT,
			       "Inference-Header-Content-Length is no number of bytes of this body of %zu",
			       n);
	if (picture || (header && !length))
		return infer_raw(q, body, n, picture, e);
	root = read_json(body, length, e);
	if (!root)
		return -1;
	failed = request(q, root, body + length, n - length, e);
	json_object_put(root);
	return failed;
}

int infer_parse(struct infer *q, const uint8_t *body, size_t n, const char *header, const char *type,
		const struct infer_limits *limits, struct err *e)
{
	*q = (struct infer){.optimise = limits->optimise, .most = limits->images};
	if (!parse(q, body, n, header, type, e))
		return 0;
	infer_free(q);
	return -1;
}

void infer_free(struct infer *q)
{
	if (q->pixels)
		sodium_memzero(q->pixels, q->bytes);
	if (q->store)
		sodium_memzero(q->store, q->stored);
	free(q->pixels);
	free(q->store);
	free(q->files);
	free(q->id);
	*q = (struct infer){0};
}
