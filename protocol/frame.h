/* SPDX-License-Identifier: Apache-2.0 */
/* protocol/frame.h — frames: the 16-byte header, the rules of frames.def, and what a session sees of a
 * connection. */
#ifndef OBSCURA_PROTOCOL_FRAME_H
#define OBSCURA_PROTOCOL_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include "conf/err.h"

#define FRAME_HEADER 16
#define FRAME_BODY_MAX                                                                                       \
	(1u << 20)     /* longer data travels in pieces; local API frames alone may be longer (frames.def) */
#define FRAME_MORE 1u  /* flag: more pieces of this message follow */
#define FRAME_LATER 1u /* flag of CLOSE: not now, when what is under way has ended */
#define PROTOCOL_VERSION 1

enum frame_type {
#define FRAME(name, code, from, to, body, longest, meaning) FRAME_##name = code,
#include "protocol/frames.def"
#undef FRAME
};

/* Roles as bits, for frames.def's from and to. */
enum frame_role { ROLE_D = 1, ROLE_M = 2, ROLE_C = 4, ROLE_L = 8, ROLE_A = 15, ROLE_DM = 3 };
/* "data-owner", "model-owner", "provider", "client" ↔ role; 0 for an unknown name. */
enum frame_role frame_role(const char *name);
const char *frame_role_name(enum frame_role role);

struct frame {
	uint32_t length;
	uint8_t type, flags;
	uint16_t session;
	uint32_t lane, sequence;
	const uint8_t *body; /* borrows */
};

const char *frame_name(uint8_t type);
void frame_pack(uint8_t header[FRAME_HEADER], const struct frame *f);
/* Reads a header and checks all of it before a byte of the body is interpreted: known type, sent by `from` to
 * `to`, length within the type's limit, flags known. -1: the peer broke the protocol (ERR_PEER, text says
 * how). */
int frame_unpack(struct frame *f, const uint8_t header[FRAME_HEADER], enum frame_role from,
		 enum frame_role to, struct err *e) MUST_USE;

/* SHA-256 over wire.proto, frames.def and ops.def as built: both sides of a connection must have the same. */
void frame_digest(uint8_t digest[32]);

/* One authenticated connection, as a session sees it. Implemented by daemon/net.c on TLS, and by fakes in
 * tests. */
struct channel;
struct channel_ops {
	/* Queues a frame (copies the body into the output). Nothing is put on the wire before flush. */
	void (*send)(struct channel *c, const struct frame *f);
	/* The same for a body that has FRAME_HEADER writable bytes before it: written with its header in one
	 * piece. On return the memory is the caller's again. */
	void (*send_inplace)(struct channel *c, const struct frame *f, uint8_t *body);
	void (*flush)(struct channel *c);
	/* Bytes queued and not yet taken by the socket: for flow control. */
	size_t (*queued)(const struct channel *c);
};
struct channel {
	const struct channel_ops *ops;
	enum frame_role self, peer;
	uint8_t fingerprint[32];      /* SHA-256 of the peer's certificate, 0 for a local client */
	uint8_t self_fingerprint[32]; /* of ours */
	/* SHA-256 of the peer's public key. Shares are of keys: whoever has a certificate with the ECDSA
	 * signature (r, s) has another one, with (r, q - s), that is as good. */
	uint8_t key[32];
	/* of the peer, for messages: "model-owner mo.example (10.0.0.2:7402)" */
	char name[96];
	uint64_t wire_sent, wire_received; /* bytes on the socket */
};

/* Sends a protobuf-c message as one frame. message: ProtobufCMessage. */
void channel_send_message(struct channel *c, enum frame_type type, uint16_t session, uint32_t lane,
			  const void *message);
/* Sends ERROR for a session (0: the connection), from an err. Text only: never a secret. */
void channel_send_error(struct channel *c, uint16_t session, const struct err *e, const char *step);

#endif
