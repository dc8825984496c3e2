/* SPDX-License-Identifier: Apache-2.0 */
/* What the model owner brings to the child: a model through the connection, or the key of one that lies
 * sealed at the host. Versions do not go back. */
#include "daemon/enclave_parts.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/enclave.h"
#include "daemon/enclave_keep.h"

#define FILES 16

/* state, next and secret lie on the heap: that is secret memory. Guarded by lock. */
static struct {
	pthread_mutex_t lock;
	uint8_t public_key[ENCLAVE_RELEASE_KEY], *secret;
	struct enclave_state *state, *next; /* next: what is not yet in force */
	struct span files[FILES];	    /* sealed models; not secret */
	unsigned n;
	struct keep keep;
	char bound[ENCLAVE_POLICY_MAX]; /* what the sealed state is for: the authority, and access rules */
} own = {.keep.fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

int enclave_owner_start(uint8_t public_key[ENCLAVE_RELEASE_KEY], const char *policy, struct err *e)
{
	memcpy(own.bound, policy, ENCLAVE_POLICY_CA);
	own.secret = malloc(ENCLAVE_RELEASE_KEY);
	own.state = calloc(1, sizeof(*own.state));
	own.next = calloc(1, sizeof(*own.next));
	if (!own.secret || !own.state || !own.next || sodium_init() < 0)
		return err_set(e, ERR_ENV, "out of memory");
	crypto_box_keypair(own.public_key, own.secret);
	memcpy(public_key, own.public_key, ENCLAVE_RELEASE_KEY);
	return 0;
}

/* Into the front end's log: the child itself may write to no file. */
void enclave_say(char level, const char *format, ...)
{
	char text[ENCLAVE_NOTE] = {level};
	va_list args;

	va_start(args, format);
	vsnprintf(text + 1, sizeof(text) - 1, format, args);
	va_end(args);
	if (send(ENCLAVE_FD_CONTROL, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    (errno == EBADF || errno == ENOTSOCK)) /* in Gramine there is no front end */
		fprintf(stderr, "obscura-enclave: %s\n", text + 1);
}

/* ---- sealed models that lie at the host ---- */

static uint8_t *read_whole(int fd, size_t *n)
{
	size_t room = 1 << 16;
	uint8_t *p = malloc(room), *more;
	ssize_t got = 1;

	*n = 0;
	while (p && got > 0) {
		if (*n == room) {
			more = room > ENCLAVE_BODY_MAX ? NULL : realloc(p, room *= 2);
			if (!more)
				free(p);
			p = more;
			continue;
		}
		do
			got = read(fd, p + *n, room - *n);
		while (got < 0 && errno == EINTR);
		*n += got > 0 ? (size_t)got : 0;
	}
	return p;
}

/* With the lock held: where a file with this head lies, or room for one more; -1 when there is none. */
static int place_of(const struct sealed *want)
{
	struct sealed s;

	for (unsigned i = 0; i < own.n; i++)
		if (!seal_read(own.files[i], &s) && s.head.n == want->head.n &&
		    !memcmp(s.head.p, want->head.p, s.head.n))
			return (int)i;
	return own.n < FILES ? (int)own.n : -1;
}

void enclave_owner_lies_here(int fd)
{
	struct sealed s;
	size_t n;
	uint8_t *p = read_whole(fd, &n);
	int at = -1;

	close(fd);
	pthread_mutex_lock(&own.lock);
	if (p && !seal_read((struct span){p, n}, &s))
		at = place_of(&s);
	if (at >= 0) {
		struct span was = own.files[at];

		own.files[at] = (struct span){p, n};
		own.n += (unsigned)at == own.n;
		p = (uint8_t *)was.p;
	}
	pthread_mutex_unlock(&own.lock);
	if (at < 0)
		enclave_say(ENCLAVE_SAYS_WARNING,
			    "a file of enclave_models is no sealed model, or is one too many");
	free(p);
}

/* The file with this very head. The others are named when it is not there. */
static const struct span *find_file(const struct sealed *want, struct err *e)
{
	struct sealed s;
	char other[64] = "";
	int at = place_of(want);

	if (at >= 0 && (unsigned)at < own.n)
		return &own.files[at];
	for (unsigned i = 0; i < own.n; i++)
		if (!seal_read(own.files[i], &s) && s.name.n == want->name.n &&
		    !memcmp(s.name.p, want->name.p, s.name.n))
			snprintf(other, sizeof(other), ", but another of that name (version %llu)",
				 (unsigned long long)s.version);
	err_set(
	    e, ERR_INPUT,
	    "the sealed model %.*s (version %llu) does not lie at the enclave's host%s: bring the file there "
	    "and name it in enclave_models of obscurad model-owner",
	    (int)want->name.n, (const char *)want->name.p, (unsigned long long)want->version, other);
	return NULL;
}

/* ---- bringing a model ---- */

/* With the lock held: own.next is to be in force with the model, and kept before that, if it can be. */
static int bring(const struct enclave_model *m, struct err *e)
{
	struct enclave_ready *ready;

	if (enclave_rules_takes(m, e) || enclave_model_make(&ready, m, e))
		return -1;
	own.next->list = enclave_rules_list();
	if (keep_save(&own.keep, own.next, e)) {
		enclave_model_free(ready);
		return -1;
	}
	enclave_model_take(ready);
	*own.state = *own.next;
	return 0;
}

/* Once an owner has signed for a name, a certificate of a model owner alone, which may be anybody's, brings
 * nothing of that name: it would be served as the owner's, and its version would be the floor for ever. */
static int is_owned(const struct enclave_model *m, struct err *e)
{
	if (!own.state->pinned || !state_knows(own.state, m->name))
		return 0;
	err_set(e, ERR_PEER,
		"models named %.*s are released by their owner here, and do not come through the connection: "
		"seal it "
		"(obscura model seal) and provision it with --seal-key",
		(int)m->name.n, (const char *)m->name.p);
	return 1;
}

static int provision(const struct enclave_model *m, struct err *e)
{
	*own.next = *own.state;
	own.next->head_n = 0;
	sodium_memzero(own.next->key, sizeof(own.next->key));
	return state_allows(own.next, m->name, m->version, e) || is_owned(m, e) ||
	       state_raise(own.next, m->name, m->version, e) || bring(m, e);
}

static int of_key(struct enclave_model *m, const struct sealed *file, struct err *e)
{
	return enclave_owner_key(file->owner.p, m->owner)
		   ? err_set(e, ERR_INPUT, "the owner of the sealed model has no usable key: seal it again")
		   : 0;
}

static int release(const struct release *r, struct err *e)
{
	const struct span *file;
	struct enclave_model m;
	uint8_t *plain = NULL;
	size_t n = 0;
	int bad;

	if (r->keep && own.keep.fd < 0)
		return err_set(
		    e, ERR_INPUT,
		    "this enclave keeps nothing beyond its end (enclave_state of obscurad model-owner): "
		    "release without --keep");
	*own.next = *own.state;
	if (state_accept(own.next, r, e) || !(file = find_file(&r->file, e)))
		return -1;
	bad = release_is_of(r, *file, e) || seal_open(r->key.p, *file, &m, &plain, &n, e) ||
	      of_key(&m, &r->file, e) || bring(&m, e);
	seal_free(plain, n);
	return bad;
}

/* ---- the sealed state ---- */

/* That the file is the one that its owner signed, whoever may have written the state (state_read sees to the
 * signature). */
static int is_signed(const struct sealed *want, struct span file, struct err *e)
{
	struct release r = {.file = *want};
	int genuine;

	return release_read_said((struct span){own.state->said, own.state->said_n}, &r, &genuine)
		   ? err_set(e, ERR_INPUT, "the model that is kept is not signed by its owner")
		   : release_is_of(&r, file, e);
}

/* The model whose key was kept. */
static int reopen(struct err *e)
{
	const struct span *file;
	struct enclave_ready *ready;
	struct enclave_model m;
	struct sealed want;
	uint8_t *plain = NULL;
	size_t n = 0;
	int bad;

	if (enclave_rules_list() < own.state->list)
		return err_set(
		    e, ERR_INPUT,
		    "the model that is kept was released under a revocation list, and that one or a "
		    "newer is not here (revoked of obscurad model-owner)");
	if (seal_read_head((struct span){own.state->head, own.state->head_n}, &want) ||
	    !(file = find_file(&want, e)))
		return -1;
	bad = state_allows(own.state, want.name, want.version, e) || is_signed(&want, *file, e) ||
	      seal_open(own.state->key, *file, &m, &plain, &n, e) || of_key(&m, &want, e) ||
	      enclave_rules_takes(&m, e) || enclave_model_make(&ready, &m, e);
	if (!bad)
		enclave_model_take(ready);
	seal_free(plain, n);
	return bad;
}

void enclave_owner_keeper(int fd)
{
	struct err e = {0};
	int r;

	if (own.keep.fd >= 0) {
		close(fd);
		return;
	}
	own.keep.fd = fd;
	/* A model that is opened without its owner is under the rules that the owner has seen. */
	own.keep.authority =
	    (struct span){(const uint8_t *)own.bound,
			  ENCLAVE_POLICY_CA + enclave_rules_freeze(own.bound + ENCLAVE_POLICY_CA)};
	r = keep_load(&own.keep, own.state, &e);
	if (!r)
		enclave_say(ENCLAVE_SAYS_NOTE, "there is no sealed state yet");
	else if (r < 0 || (own.state->head_n && reopen(&e)))
		enclave_say(ENCLAVE_SAYS_WARNING, "%s; the model must be provisioned again", e.text);
	else
		enclave_say(ENCLAVE_SAYS_NOTE, "the sealed state is in force%s",
			    own.state->head_n ? ", with the model of the last release"
					      : ": version floors alone");
}

void enclave_owner_listed(void)
{
	struct err e = {0};
	int bad = 0;

	pthread_mutex_lock(&own.lock);
	if (own.keep.fd >= 0 && own.state->head_n && enclave_rules_list() > own.state->list) {
		*own.next = *own.state;
		own.next->list = enclave_rules_list();
		bad = keep_save(&own.keep, own.next, &e);
		if (!bad)
			*own.state = *own.next;
	}
	pthread_mutex_unlock(&own.lock);
	if (bad)
		enclave_say(ENCLAVE_SAYS_WARNING,
			    "the sealed state does not know the newest revocation list: %s", e.text);
}

/* ---- messages ---- */

static int provisioned(struct guest *g, struct err *e)
{
	char manifest[ENCLAVE_MANIFEST_MAX];

	enclave_model_manifest(manifest);
	return enclave_send(g->ssl, ENCLAVE_PROVISIONED, manifest, strlen(manifest), e);
}

int enclave_on_provision(struct guest *g, const uint8_t *body, size_t n, struct err *e)
{
	struct enclave_model m;
	int bad;

	if (!g->owner)
		return err_set(e, ERR_PEER, "only the model owner's certificate may bring a model");
	if (enclave_model_read((struct span){body, n}, &m))
		return err_set(e, ERR_PEER, "the model's message is malformed");
	if (enclave_owner_certificate(SSL_get0_peer_certificate(g->ssl), m.owner))
		return err_set(e, ERR_ENV, "the certificate of the model's owner cannot be read");
	pthread_mutex_lock(&own.lock);
	bad = provision(&m, e);
	pthread_mutex_unlock(&own.lock);
	return bad ? -1 : provisioned(g, e);
}

int enclave_on_release(struct guest *g, const uint8_t *body, size_t n, struct err *e)
{
	struct release r;
	uint8_t *plain;
	size_t plain_n = 0;
	int bad;

	if (!g->owner)
		return err_set(e, ERR_PEER, "only the model owner's certificate may release a model");
	bad = release_open((struct span){body, n}, own.public_key, own.secret, &r, &plain, &plain_n, e);
	if (!bad) {
		pthread_mutex_lock(&own.lock);
		bad = release(&r, e);
		pthread_mutex_unlock(&own.lock);
	}
	seal_free(plain, plain_n);
	return bad ? -1 : provisioned(g, e);
}
