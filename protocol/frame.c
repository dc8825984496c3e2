/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/frame.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "crypto/secret.h"
#include "wire.pb-c.h"

struct rule {
	const char *name;
	uint8_t from, to;
	uint32_t longest;
};

static const struct rule rules[256] = {
#define FRAME(name, code, from, to, body, longest, meaning) [code] = {#name, ROLE_##from, ROLE_##to, longest},
#include "protocol/frames.def"
#undef FRAME
};

static const struct {
	enum frame_role role;
	const char *name;
} roles[] = {{ROLE_D, "data-owner"}, {ROLE_M, "model-owner"}, {ROLE_C, "provider"}, {ROLE_L, "client"}};

enum frame_role frame_role(const char *name)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i].name, name) == 0)
			return roles[i].role;
	return 0;
}

const char *frame_role_name(enum frame_role role)
{
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (roles[i].role == role)
			return roles[i].name;
	return "unknown role";
}

const char *frame_name(uint8_t type)
{
	return rules[type].name ? rules[type].name : "unknown frame";
}

static void put32(uint8_t *out, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *in)
{
	return in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

void frame_pack(uint8_t header[FRAME_HEADER], const struct frame *f)
{
	put32(header, f->length);
	header[4] = f->type;
	header[5] = f->flags;
	header[6] = (uint8_t)f->session;
	header[7] = (uint8_t)(f->session >> 8);
	put32(header + 8, f->lane);
	put32(header + 12, f->sequence);
}

int frame_unpack(struct frame *f, const uint8_t header[FRAME_HEADER], enum frame_role from,
		 enum frame_role to, struct err *e)
{
	const struct rule *rule = &rules[header[4]];
	unsigned known;

	*f = (struct frame){.length = get32(header),
			    .type = header[4],
			    .flags = header[5],
			    .session = (uint16_t)(header[6] | header[7] << 8),
			    .lane = get32(header + 8),
			    .sequence = get32(header + 12)};
	if (!rule->name)
		return err_set(e, ERR_PEER, "frame of unknown type %u", f->type);
	if (!(rule->from & from) || !(rule->to & to))
		return err_set(e, ERR_PEER, "a %s may not send %s to a %s", frame_role_name(from), rule->name,
			       frame_role_name(to));
	if (f->length > rule->longest)
		return err_set(e, ERR_PEER, "%s of %u bytes is longer than the %u allowed", rule->name,
			       f->length, rule->longest);
	/* Only a message of the plan is cut into pieces that need a mark; all else counts its pieces. */
	known = f->type == FRAME_STEP ? FRAME_MORE : f->type == FRAME_CLOSE ? FRAME_LATER : 0;
	if (f->flags & ~known)
		return err_set(e, ERR_PEER, "%s with unknown flags 0x%02x", rule->name, f->flags);
	return 0;
}

/* ---- the digest of what both sides must have been built from ---- */
static void hash_text(crypto_hash_sha256_state *s, const char *text)
{
	crypto_hash_sha256_update(s, (const uint8_t *)text, strlen(text) + 1);
}

static void hash_number(crypto_hash_sha256_state *s, uint32_t v)
{
	uint8_t bytes[4];

	put32(bytes, v);
	crypto_hash_sha256_update(s, bytes, sizeof(bytes));
}

/* wire.proto as compiled: names, numbers, labels and types of all fields, messages inside messages too (none
 * is recursive). */
static void hash_message(crypto_hash_sha256_state *s, const ProtobufCMessageDescriptor *m)
{
	hash_text(s, m->name);
	hash_number(s, m->n_fields);
	for (unsigned i = 0; i < m->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->fields[i];

		hash_text(s, f->name);
		hash_number(s, f->id);
		hash_number(s, f->label);
		hash_number(s, f->type);
		if (f->type == PROTOBUF_C_TYPE_MESSAGE)
			hash_message(s, f->descriptor);
	}
}

void frame_digest(uint8_t digest[32])
{
	static const ProtobufCMessageDescriptor *const messages[] = {
	    &wire__hello__descriptor,  &wire__error__descriptor,    &wire__model_list__descriptor,
	    &wire__open__descriptor,   &wire__opened__descriptor,   &wire__pair__descriptor,
	    &wire__paired__descriptor, &wire__classify__descriptor, &wire__classified__descriptor,
	    &wire__status__descriptor};
	static const char *const rows[] = {
#define FRAME(name, code, from, to, body, longest, meaning)                                                  \
#name " " #code " " #from " " #to " " #body " " #longest,
#include "protocol/frames.def"
#undef FRAME
#define OP(kind, prefix) #kind,
#include "protocol/ops.def"
#undef OP
	};
	crypto_hash_sha256_state s;

	crypto_hash_sha256_init(&s);
	hash_number(&s, PROTOCOL_VERSION);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		hash_text(&s, rows[i]);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		hash_message(&s, messages[i]);
	crypto_hash_sha256_final(&s, digest);
}

#define SMALL 8192 /* bytes of a message that needs no memory */

/* ---- sending ---- */
void channel_send_message(struct channel *c, enum frame_type type, uint16_t session, uint32_t lane,
			  const void *message)
{
	size_t bytes = protobuf_c_message_get_packed_size(message);
	struct frame f = {.type = (uint8_t)type, .session = session, .lane = lane};
	uint8_t small[SMALL], *buffer = NULL;

	if (bytes <= rules[type & 255].longest)
		buffer = bytes <= sizeof(small) ? small : malloc(bytes);
	if (!buffer) {
		/* The peer must not wait for what will never come: an ERROR without a body needs no
		 * memory. */
		f.type = FRAME_ERROR;
		c->ops->send(c, &f);
		c->ops->flush(c);
		return;
	}
	f.length = (uint32_t)protobuf_c_message_pack(message, buffer);
	f.body = buffer;
	c->ops->send(c, &f);
	c->ops->flush(c);
	secret_wipe(buffer, bytes); /* PAIR and PAIRED carry seeds */
	if (buffer != small)
		free(buffer);
}

void channel_send_error(struct channel *c, uint16_t session, const struct err *e, const char *step)
{
	Wire__Error message = WIRE__ERROR__INIT;

	message.code = e->code;
	message.text = (char *)(uintptr_t)e->text;
	message.step = (char *)(uintptr_t)(step ? step : "");
	channel_send_message(c, FRAME_ERROR, session, 0, &message);
}
