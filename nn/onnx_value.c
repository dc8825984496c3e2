/* SPDX-License-Identifier: Apache-2.0 */
/* The importer's values: an arena with a budget, a table of names, constants decoded from TensorProto. */
#include "nn/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
	struct block *next;
	_Alignas(max_align_t) unsigned char bytes[];
};

int import_spend(struct import *im, size_t n, size_t size, struct err *e)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes) || bytes > im->budget)
		return err_set(
		    e, ERR_INPUT,
		    "the model's constants need too much memory: simplify it (onnxsim) or use a smaller one");
	im->budget -= bytes;
	return 0;
}

void *import_alloc(struct import *im, size_t n, size_t size, struct err *e)
{
	struct block *b;

	if (import_spend(im, n, size, e))
		return NULL;
	b = calloc(1, sizeof(*b) + n * size);
	if (!b) {
		err_set(e, ERR_ENV, "out of memory while importing (%zu bytes)", n * size);
		return NULL;
	}
	b->next = im->blocks;
	im->blocks = b;
	return b->bytes;
}

void import_end(struct import *im)
{
	struct block *b, *next;

	for (b = im->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(im->vals);
	memset(im, 0, sizeof(*im));
}

/* Names come from strangers and end in messages on terminals. */
const char *import_printable(struct import *im, const char *s, struct err *e)
{
	size_t n = strnlen(s, 120), i;
	char *text = import_alloc(im, n + 1, 1, e);

	if (!text)
		return NULL;
	for (i = 0; i < n; i++)
		text[i] = s[i] >= 32 && s[i] < 127 ? s[i] : '?';
	return text;
}

static size_t hash(const char *key)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
	return (size_t)(h ^ h >> 29);
}

static struct val *slot(const struct import *im, const char *key)
{
	size_t at = hash(key) & im->mask;

	while (im->vals[at].key && strcmp(im->vals[at].key, key))
		at = (at + 1) & im->mask;
	return &im->vals[at];
}

struct val *import_find(const struct import *im, const char *key)
{
	struct val *v = slot(im, key);

	return v->key ? v : NULL;
}

struct val *import_value(struct import *im, const char *key, struct err *e)
{
	struct val *v = slot(im, key);

	if (v->key)
		return v;
	v->name = import_printable(im, key, e);
	if (!v->name)
		return NULL;
	v->key = key;
	return v;
}

/* The table never grows: every name that can be written is counted first. */
int import_begin(struct import *im, const Onnx__GraphProto *proto, int64_t opset, size_t file_bytes,
		 struct err *e)
{
	size_t names = graph_names(proto) + 1, slots = 16;

	memset(im, 0, sizeof(*im));
	im->proto = proto;
	im->opset = opset;
	im->budget = ((size_t)1 << 29) + 8 * file_bytes;
	if (proto->n_node > ONNX_MAX_NODES)
		return err_set(e, ERR_INPUT, "%zu nodes: at most %u are accepted", proto->n_node,
			       ONNX_MAX_NODES);
	while (slots < 2 * names)
		slots *= 2;
	im->mask = slots - 1;
	im->vals = calloc(slots, sizeof(*im->vals));
	return im->vals ? 0 : err_set(e, ERR_ENV, "out of memory for %zu names", names);
}

const char *dims_text(char text[ONNX_SHAPE_TEXT], unsigned rank, const int64_t *dims)
{
	size_t at = 0;
	unsigned i;

	at += (size_t)snprintf(text, ONNX_SHAPE_TEXT, "[");
	for (i = 0; i < rank && at < ONNX_SHAPE_TEXT - 24; i++)
		at += (size_t)snprintf(text + at, ONNX_SHAPE_TEXT - at, "%s%lld", i ? "," : "",
				       (long long)dims[i]);
	snprintf(text + at, ONNX_SHAPE_TEXT - at, "]");
	return text;
}

int val_dims(struct val *v, unsigned rank, const int64_t *dims, struct err *e)
{
	char text[ONNX_SHAPE_TEXT];
	uint64_t n = 1, positive = 1;
	unsigned i;

	if (rank > ONNX_MAX_RANK)
		return err_set(e, ERR_INPUT, "tensor '%s' has %u dimensions: at most %d are accepted",
			       v->name, rank, ONNX_MAX_RANK);
	for (i = 0; i < rank; i++) {
		if (dims[i] < 0 || dims[i] > NN_MAX_ELEMENTS)
			goto size;
		n *= (uint64_t)dims[i];
		positive *= dims[i] ? (uint64_t)dims[i] : 1;
		if (positive > NN_MAX_ELEMENTS)
			goto size;
		v->dims[i] = dims[i];
	}
	v->rank = rank;
	v->n = (size_t)n;
	return 0;
size:
	return err_set(e, ERR_INPUT, "tensor '%s' of shape %s is not within the limit of %u elements",
		       v->name, dims_text(text, rank, dims), NN_MAX_ELEMENTS);
}

int val_new_const(struct import *im, struct val *v, int is_int, unsigned rank, const int64_t *dims,
		  struct err *e)
{
	void *data;

	if (val_dims(v, rank, dims, e))
		return -1;
	data = import_alloc(im, v->n, is_int ? sizeof(int64_t) : sizeof(float), e);
	if (!data)
		return -1;
	v->kind = VAL_CONST;
	v->f = is_int ? NULL : data;
	v->i = is_int ? data : NULL;
	return 0;
}

void val_copy_one(struct val *to, size_t j, const struct val *from, size_t k)
{
	if (to->i)
		to->i[j] = from->i[k];
	else
		to->f[j] = from->f[k];
}

/* How one element type stands in a TensorProto. */
struct tensor_type {
	int type;
	const char *name;
	unsigned width; /* bytes in raw_data */
	int is_int;
};
static const struct tensor_type types[] = {
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, "float32", 4, 0},
    {ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, "float64", 8, 0},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT64, "int64", 8, 1},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT32, "int32", 4, 1},
    {ONNX__TENSOR_PROTO__DATA_TYPE__BOOL, "bool", 1, 1},
};

static const struct tensor_type *tensor_type(int type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i].type == type)
			return &types[i];
	return NULL;
}

/* ONNX is little-endian. Bytes are assembled, so that the host's order does not matter. */
static uint64_t little(const uint8_t *p, unsigned n)
{
	uint64_t x = 0;

	while (n--)
		x = x << 8 | p[n];
	return x;
}

static void decode_raw(struct val *v, const struct tensor_type *t, const uint8_t *p)
{
	for (size_t j = 0; j < v->n; j++, p += t->width) {
		uint64_t bits = little(p, t->width);
		uint32_t low = (uint32_t)bits;
		double d;

		if (t->is_int) {
			v->i[j] = t->width == 4 ? (int32_t)low : (int64_t)bits;
		} else if (t->width == 4) {
			memcpy(&v->f[j], &low, 4);
		} else {
			memcpy(&d, &bits, 8);
			v->f[j] = (float)d;
		}
	}
}

static void decode_typed(struct val *v, int type, const Onnx__TensorProto *t)
{
	for (size_t j = 0; j < v->n; j++) {
		if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
			v->f[j] = t->float_data[j];
		else if (type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
			v->f[j] = (float)t->double_data[j];
		else if (type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64)
			v->i[j] = t->int64_data[j];
		else
			v->i[j] = t->int32_data[j];
	}
}

static size_t typed_count(int type, const Onnx__TensorProto *t)
{
	if (type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT)
		return t->n_float_data;
	if (type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
		return t->n_double_data;
	return type == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 ? t->n_int64_data : t->n_int32_data;
}

int tensor_decode(struct import *im, struct val *v, const Onnx__TensorProto *t, struct err *e)
{
	const struct tensor_type *type = tensor_type(t->data_type);
	char text[ONNX_SHAPE_TEXT];
	size_t have;

	if (t->n_external_data || t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
		return err_set(e, ERR_INPUT,
			       "tensor '%s' is kept in an external file: save the model with its data inside "
			       "(onnx.save(m, f) "
			       "without save_as_external_data)",
			       v->name);
	if (!type)
		return err_set(e, ERR_INPUT,
			       "tensor '%s' has element type %d: only float32 weights and integer shapes are "
			       "accepted; export in float32",
			       v->name, (int)t->data_type);
	if (t->segment)
		return err_set(e, ERR_INPUT, "tensor '%s' is segmented, which is not supported", v->name);
	if (t->n_dims > ONNX_MAX_RANK)
		return err_set(e, ERR_INPUT, "tensor '%s' has %zu dimensions: at most %d are accepted",
			       v->name, t->n_dims, ONNX_MAX_RANK);
	if (val_dims(v, (unsigned)t->n_dims, t->dims, e))
		return -1;
	/* The length is checked before anything of the claimed size is allocated. */
	have = t->has_raw_data ? t->raw_data.len / type->width : typed_count(t->data_type, t);
	if (have != v->n || (t->has_raw_data && t->raw_data.len % type->width))
		return err_set(e, ERR_INPUT,
			       "tensor '%s': shape %s of %s needs %zu elements, the file holds %zu%s",
			       v->name, dims_text(text, v->rank, v->dims), type->name, v->n, have,
			       t->has_raw_data ? " (raw_data)" : "");
	if (val_new_const(im, v, type->is_int, v->rank, v->dims, e))
		return -1;
	if (t->has_raw_data)
		decode_raw(v, type, t->raw_data.data);
	else
		decode_typed(v, t->data_type, t);
	return 0;
}
