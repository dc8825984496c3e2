/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c unpacks by recursion and believes every count. This walk over the raw bytes, without recursion,
 * refuses what would exhaust the stack or the memory, and says where a file is cut short. */
#include "nn/onnx.h"

#define SCAN_DEPTH 32
#define SCAN_MESSAGES (1u << 20)

struct level {
	const ProtobufCMessageDescriptor *type; /* NULL at unknown fields: not entered */
	size_t end;
	uint64_t seen; /* singular messages by field number: a second one would be merged by recursion */
};

struct scan {
	const uint8_t *b;
	size_t at, n;
	struct level stack[SCAN_DEPTH];
	unsigned depth;
	uint32_t messages;
};

static int cut(const struct scan *s, struct err *e)
{
	return err_set(e, ERR_INPUT,
		       "not an ONNX file, or cut short or damaged at byte %zu: fetch or export it again",
		       s->at);
}

static int varint(struct scan *s, size_t end, uint64_t *value, struct err *e)
{
	unsigned shift = 0;

	*value = 0;
	for (; s->at < end && shift < 64; shift += 7) {
		uint8_t byte = s->b[s->at++];
		*value |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return 0;
	}
	return cut(s, e);
}

static int enter(struct scan *s, const ProtobufCFieldDescriptor *f, size_t end, struct err *e)
{
	struct level *l = &s->stack[s->depth - 1];

	if (f->label != PROTOBUF_C_LABEL_REPEATED && f->id < 64) {
		if (l->seen >> f->id & 1)
			return err_set(e, ERR_INPUT, "damaged ONNX file: %s.%s occurs twice",
				       l->type->short_name, f->name);
		l->seen |= UINT64_C(1) << f->id;
	}
	if (s->depth == SCAN_DEPTH)
		return err_set(e, ERR_INPUT, "ONNX file nests messages more than %d deep", SCAN_DEPTH);
	if (++s->messages > SCAN_MESSAGES)
		return err_set(e, ERR_INPUT, "ONNX file holds more than %u messages", SCAN_MESSAGES);
	s->stack[s->depth++] = (struct level){.type = f->descriptor, .end = end};
	return 0;
}

static int field(struct scan *s, struct err *e)
{
	struct level *l = &s->stack[s->depth - 1];
	const ProtobufCFieldDescriptor *f;
	uint64_t tag, n = 0;

	if (varint(s, l->end, &tag, e))
		return -1;
	switch (tag & 7) {
	case 0:
		return varint(s, l->end, &n, e);
	case 1:
		n = 8;
		break;
	case 5:
		n = 4;
		break;
	case 2:
		if (varint(s, l->end, &n, e))
			return -1;
		break;
	default:
		return cut(s, e);
	}
	if (n > l->end - s->at)
		return cut(s, e);
	f = tag >> 3 <= INT32_MAX ? protobuf_c_message_descriptor_get_field(l->type, (unsigned)(tag >> 3))
				  : NULL;
	if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) == 2)
		return enter(s, f, s->at + n, e);
	s->at += n;
	return 0;
}

int onnx_scan(const uint8_t *bytes, size_t n, struct err *e)
{
	struct scan s = {.b = bytes, .n = n, .depth = 1};

	if (n > ONNX_MAX_BYTES)
		return err_set(e, ERR_INPUT, "ONNX file of %zu bytes: at most %u are accepted", n,
			       ONNX_MAX_BYTES);
	s.stack[0] = (struct level){.type = &onnx__model_proto__descriptor, .end = n};
	while (s.depth) {
		if (s.at == s.stack[s.depth - 1].end)
			s.depth--;
		else if (field(&s, e))
			return -1;
	}
	return 0;
}
