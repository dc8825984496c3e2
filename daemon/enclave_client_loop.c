/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to an enclave from a loop that must not wait. */
#include "daemon/enclave_client_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#define HEAD 5 /* of a message: daemon/enclave_wire.h */
#define FIRST_ROOM 4096

int enclave_loose(struct enclave *x, struct err *e)
{
	int flags = fcntl(x->fd, F_GETFL);

	SSL_set_mode(x->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return flags < 0 || fcntl(x->fd, F_SETFL, flags | O_NONBLOCK) || SSL_set_fd(x->ssl, x->fd) != 1
		   ? err_set(e, ERR_ENV, "a socket cannot be set: %s", strerror(errno))
		   : 0;
}

int enclave_fd(const struct enclave *x)
{
	return x->fd;
}

size_t enclave_packed(const Wire__Classify *q)
{
	return HEAD + wire__classify__get_packed_size(q);
}

void enclave_pack(const Wire__Classify *q, uint8_t *packed)
{
	enclave_head(packed, ENCLAVE_CLASSIFY, wire__classify__pack(q, packed + HEAD));
}

void enclave_ask(struct enclave *x, const uint8_t *packed, size_t n, size_t images, size_t image_bytes)
{
	x->out = packed;
	x->out_n = n;
	x->out_at = x->in_n = 0;
	x->images = images;
	x->image_bytes = image_bytes;
	x->asked_s = enclave_now();
	x->sent = BIO_number_written(SSL_get_wbio(x->ssl));
	x->received = BIO_number_read(SSL_get_rbio(x->ssl));
}

/* 0: it would have to wait, *why for what; -1: lost. */
static int stopped(struct enclave *x, int r, int *why, struct err *e)
{
	int saved = errno;

	*why = SSL_get_error(x->ssl, r);
	ERR_clear_error();
	if (*why == SSL_ERROR_WANT_READ || *why == SSL_ERROR_WANT_WRITE)
		return 0;
	if (*why == SSL_ERROR_SYSCALL && saved)
		return err_set(e, ERR_REACH, "the connection to the enclave was lost: %s", strerror(saved));
	return err_set(e, ERR_REACH, "the enclave closed the connection");
}

/* 1: all is sent. */
static int pump_out(struct enclave *x, int *writes, struct err *e)
{
	size_t done;

	while (x->out && x->out_at < x->out_n) {
		int why, r;

		errno = 0;
		r = SSL_write_ex(x->ssl, x->out + x->out_at, x->out_n - x->out_at, &done);
		if (r <= 0) {
			r = stopped(x, r, &why, e);
			*writes = !r && why == SSL_ERROR_WANT_WRITE;
			return r;
		}
		x->out_at += done;
	}
	return 1;
}

/* Bytes of the answer that are known to come: its head, then all of it. */
static size_t wanted(const struct enclave *x)
{
	return x->in_n < HEAD ? HEAD : HEAD + enclave_head_length(x->in);
}

static int make_room(struct enclave *x, size_t bytes, struct err *e)
{
	size_t room = bytes < FIRST_ROOM ? FIRST_ROOM : bytes;
	uint8_t *in;

	if (bytes > HEAD + ENCLAVE_BODY_MAX)
		return err_set(e, ERR_PEER, "the enclave's answer of %zu bytes is too long", bytes);
	if (bytes < x->in_room)
		return 0;
	in = realloc(x->in, room + 1);
	if (!in)
		return err_set(e, ERR_ENV, "out of memory for an answer of %zu bytes", bytes);
	x->in = in;
	x->in_room = room + 1;
	return 0;
}

/* 1: the answer is whole. */
static int pump_in(struct enclave *x, struct err *e)
{
	for (;;) {
		size_t most = wanted(x), done;
		int why, r;

		if (x->in_n >= HEAD && x->in_n == most)
			return 1;
		if (make_room(x, most, e))
			return -1;
		errno = 0;
		r = SSL_read_ex(x->ssl, x->in + x->in_n, most - x->in_n, &done);
		if (r <= 0)
			return stopped(x, r, &why, e);
		if (!x->out)
			return err_set(e, ERR_PEER, "the enclave said something that nobody asked for");
		x->in_n += done;
	}
}

static int take(struct enclave *x, Wire__Classified **reply, struct err *e)
{
	uint64_t sent = BIO_number_written(SSL_get_wbio(x->ssl)) - x->sent,
		 received = BIO_number_read(SSL_get_rbio(x->ssl)) - x->received;
	double seconds = enclave_now() - x->asked_s;
	size_t n = x->in_n - HEAD;

	x->out = NULL;
	x->in_n = 0;
	x->in[HEAD + n] = 0;
	if (x->in[4] == ENCLAVE_REFUSED)
		return err_set(e, ERR_PEER, "the enclave refused: %.300s", (const char *)x->in + HEAD);
	*reply = x->in[4] == ENCLAVE_CLASSIFIED ? wire__classified__unpack(NULL, n, x->in + HEAD) : NULL;
	if (!*reply)
		return err_set(e, ERR_PEER, "the enclave's answer cannot be read");
	if (!enclave_account(x, *reply, x->images, x->image_bytes, seconds, sent, received, e))
		return 1;
	wire__classified__free_unpacked(*reply, NULL);
	*reply = NULL;
	return -1;
}

int enclave_pump(struct enclave *x, int *writes, Wire__Classified **reply, struct err *e)
{
	int r;

	*writes = 0;
	*reply = NULL;
	r = pump_out(x, writes, e);
	if (r <= 0)
		return r;
	r = pump_in(x, e);
	return r > 0 ? take(x, reply, e) : r;
}
