/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/core.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include "wire.pb-c.h"

const struct legal *legal_find(const struct legal *rows, size_t n, const struct channel *from,
			       const struct frame *f, unsigned state, const char *state_name, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].type == f->type && (rows[i].from & from->peer) && (rows[i].states & 1u << state))
			return &rows[i];
	error_of(e, from, "sent %s, which has no place while %s", frame_name(f->type), state_name);
	return NULL;
}

void host_log(const struct host *host, int priority, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	host->log(host->ctx, priority, text);
}

static void name_peer(struct err *e, const struct channel *peer)
{
	if (e && !e->peer[0])
		snprintf(e->peer, sizeof(e->peer), "%s", peer->name);
}

int error_of(struct err *e, const struct channel *peer, const char *format, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	name_peer(e, peer);
	return err_set(e, ERR_PEER, "%s %s", peer->name, text);
}

int error_blame(struct err *e, const struct channel *peer)
{
	if (e->code == ERR_PEER)
		name_peer(e, peer);
	return -1;
}

void ticket_log(const struct host *host, const uint8_t token[16], uint64_t first, size_t n, const char *what)
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	char session[17];

	if (!n)
		return;
	crypto_hash_sha256(hash, token, 16);
	sodium_bin2hex(session, sizeof(session), hash, 8);
	host_log(host, LOG_DEBUG, "tickets %s %llu-%llu %s", session, (unsigned long long)first,
		 (unsigned long long)(first + n - 1), what);
}

int error_read(struct err *e, const struct channel *from, const struct frame *f)
{
	Wire__Error *said = wire__error__unpack(NULL, f->length, f->body);
	enum err_code code = ERR_PEER;
	char text[300] = "gave no reason";

	if (said && said->text[0])
		snprintf(text, sizeof(text), "%s", said->text);
	/* A peer's bad input or missing memory keeps its class; anything else that it says is a peer's
	 * failure. */
	if (said && (said->code == ERR_INPUT || said->code == ERR_REACH || said->code == ERR_ATTEST))
		code = (enum err_code)said->code;
	if (said)
		wire__error__free_unpacked(said, NULL);
	name_peer(e, from);
	return err_set(e, code, "%s refused: %s", from->name, text);
}

static void reason_send(struct channel *c, enum frame_type type, uint16_t session, uint32_t lane,
			const struct err *why)
{
	Wire__Error message = WIRE__ERROR__INIT;

	message.code = why->code;
	message.text = (char *)(uintptr_t)why->text;
	channel_send_message(c, type, session, lane, &message);
}

void abort_send(struct channel *c, uint16_t session, uint32_t lane, const struct err *why)
{
	reason_send(c, FRAME_ABORT, session, lane, why);
}

void held_send(struct channel *c, uint16_t session, const struct err *why)
{
	reason_send(c, FRAME_HELD, session, 0, why);
}

int same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}

int different(const struct channel *a, const struct channel *b, struct err *e)
{
	if (same_bytes(a->fingerprint, b->fingerprint, 32))
		return error_of(e, a, "has the same certificate as %s: they must be different parties",
				b->name);
	if (same_bytes(a->fingerprint, a->self_fingerprint, 32))
		return error_of(e, a, "has our own certificate: it must be another party");
	if (same_bytes(b->fingerprint, b->self_fingerprint, 32))
		return error_of(e, b, "has our own certificate: it must be another party");
	return 0;
}

uint64_t send_pieces(struct channel *c, struct frame f, uint8_t *body, uint64_t bytes)
{
	uint64_t sent = 0;

	do {
		f.length = bytes < FRAME_BODY_MAX ? (uint32_t)bytes : FRAME_BODY_MAX;
		f.body = body;
		c->ops->send_inplace(c, &f, body);
		body += f.length;
		bytes -= f.length;
		sent += f.length;
		f.sequence++;
	} while (bytes);
	return sent;
}

void send_step(struct channel *c, struct frame f, uint8_t *body, uint64_t bytes, int continues)
{
	do {
		f.length = bytes < FRAME_BODY_MAX ? (uint32_t)bytes : FRAME_BODY_MAX;
		f.flags = bytes > f.length || continues ? FRAME_MORE : 0;
		f.body = body;
		c->ops->send_inplace(c, &f, body);
		body += f.length;
		bytes -= f.length;
	} while (bytes);
}

struct core *core_new(struct err *e)
{
	struct core *core = calloc(1, sizeof(*core));

	if (!core)
		err_set(e, ERR_ENV, "out of memory for a session");
	else
		core->refs = 1;
	return core;
}

/* A comparison costs about as much as 64 multiply-adds; only P1 multiplies online. */
void core_weigh(struct core *core, enum party party)
{
	const struct program *p = core->program;
	uint64_t work = 64 * p->comparisons;

	for (unsigned i = 0; party == P1 && i < p->tape->n_rows; i++)
		for (unsigned t = 0; t < p->tape->rows[i].n_terms; t++)
			work += term_multiply_adds(&p->tape->rows[i].terms[t]);
	core->work = work / (p->n_messages ? p->n_messages : 1) + 1;
}

void core_unref(struct core *core)
{
	if (!core || --core->refs)
		return;
	if (core->plan) {
		if (core->layers)
			layers_free(core->layers, core->program);
		program_free(core->program);
		plan_free(core->plan);
	}
	stock_free(&core->stock);
	free(core);
}
