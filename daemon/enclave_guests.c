/* SPDX-License-Identifier: Apache-2.0 */
/* Places for connections in the child. Whoever shows no certificate loses its place to others; whoever shows
 * one has a share of them. */
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/evp.h>

#include "daemon/enclave_parts.h"

#define PLACES 64
#define PLACES_OF_PEER (PLACES / 4) /* with one certificate */

/* Guarded by lock. Newest first. spare: waits for its client, and has no place yet; NULL: none. */
static struct {
	pthread_mutex_t lock;
	struct guest *first, *spare;
	unsigned n;
} guests = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Its thread finds the connection ended, and leaves. Who has said nothing goes before those whose handshake
 * is under way: to be many costs more then. */
static int turn_out_oldest(void)
{
	struct guest *oldest = NULL;

	for (struct guest *g = guests.first; g; g = g->next)
		if (g->standing == GUEST_UNKNOWN && (!oldest || oldest->speaks || !g->speaks))
			oldest = g;
	if (!oldest)
		return -1;
	oldest->standing = GUEST_TURNED_OUT;
	shutdown(oldest->fd, SHUT_RDWR);
	return 0;
}

static int take_place(struct guest *g)
{
	if (guests.n >= 2 * PLACES || (guests.n >= PLACES && turn_out_oldest()))
		return -1;
	g->next = guests.first;
	guests.first = g;
	guests.n++;
	return 0;
}

/* There is one spare: when the next comes, a client has been given the one before, which takes a place like
 * all others. */
static void put_spare(struct guest *g)
{
	struct guest *before = guests.spare;

	guests.spare = g;
	if (!before || !take_place(before))
		return;
	before->standing = GUEST_TURNED_OUT;
	shutdown(before->fd, SHUT_RDWR);
}

int guest_enter(struct guest *g, enum guest_place place)
{
	int bad = 0;

	pthread_mutex_lock(&guests.lock);
	if (place == GUEST_SPARE)
		put_spare(g);
	else
		bad = take_place(g);
	pthread_mutex_unlock(&guests.lock);
	return bad;
}

int guest_speaks(struct guest *g)
{
	int bad = 0;

	pthread_mutex_lock(&guests.lock);
	g->speaks = 1;
	if (guests.spare == g) {
		guests.spare = NULL;
		bad = take_place(g);
	}
	pthread_mutex_unlock(&guests.lock);
	return bad;
}

int guest_known(struct guest *g, const X509 *certificate)
{
	unsigned same = 0, n = sizeof(g->who);
	int stays;

	/* of the key: whoever has an ECDSA signature (r, s) has (r, q - s), too, and so another certificate */
	if (!certificate || X509_pubkey_digest(certificate, EVP_sha256(), g->who, &n) != 1)
		return -1;
	pthread_mutex_lock(&guests.lock);
	for (const struct guest *o = guests.first; o; o = o->next)
		same += o->standing == GUEST_KNOWN && !memcmp(o->who, g->who, sizeof(g->who));
	stays = g->standing == GUEST_UNKNOWN && same < PLACES_OF_PEER;
	if (stays)
		g->standing = GUEST_KNOWN;
	pthread_mutex_unlock(&guests.lock);
	return stays ? 0 : -1;
}

void guest_leave(struct guest *g)
{
	pthread_mutex_lock(&guests.lock);
	if (guests.spare == g)
		guests.spare = NULL;
	for (struct guest **at = &guests.first; *at; at = &(*at)->next)
		if (*at == g) {
			*at = g->next;
			guests.n--;
			break;
		}
	pthread_mutex_unlock(&guests.lock);
}
