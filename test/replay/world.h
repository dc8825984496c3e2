/* SPDX-License-Identifier: Apache-2.0 */
/* test/replay/world.h — data owners, one model owner and the provider in one process: a fake network whose
 * frames can be counted, changed and lost, a fake clock, jobs that run at once or when the world says so. */
#ifndef OBSCURA_TEST_REPLAY_WORLD_H
#define OBSCURA_TEST_REPLAY_WORLD_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "protocol/core.h"
#include "provider/provider.h"
#include "wire.pb-c.h"

#define WORLD_OWNERS 4
#define WORLD_SESSIONS 16
#define WORLD_FOREVER_MS 8000 /* longer than all deadlines used here, one after another */

struct packet {
	struct packet *next;
	size_t bytes; /* header and body */
	uint8_t data[];
};

struct wire;
struct fake {
	struct channel channel; /* first */
	struct wire *wire;
	int side;
};
struct wire {
	struct fake end[2];
	struct {
		struct packet *head, *tail;
		size_t queued;
	} pipe[2]; /* from end i */
	int alive;
};

enum fate { DELIVER, DROP, KILL_WIRE };
struct world {
	struct host host;
	uint64_t now;
	/* jobs wait for the world's turn; 2: they run on threads meanwhile, for the thread sanitizer */
	int deferred;
	struct job *jobs[256];
	pthread_t threads[256];
	size_t n_jobs;
	struct wire mc, dm[WORLD_OWNERS], dc[WORLD_OWNERS];
	size_t n_owners;
	struct provider *provider;
	const struct served *served;
	struct modeller_options modeller_options;
	struct owner_options owner_options;
	struct provider_options provider_options;
	struct {
		struct modeller *m;
		struct wire *wire;
		uint16_t session, provider_session;
	} sessions[WORLD_SESSIONS];
	uint16_t next_session;
	struct owner *owner[WORLD_OWNERS];
	struct err owner_err[WORLD_OWNERS], modeller_err, provider_err;
	unsigned frames;
	unsigned turn;
	uint32_t chaos; /* not 0: which wire or job comes next is drawn, wires may starve for a while */
	/* Called before a frame is delivered; may change it, or replace *p by another of the same kind of
	 * allocation. */
	enum fate (*tamper)(struct world *w, struct wire *wire, int side, struct packet **p);
	void *ctx;
	unsigned target; /* for tamper: the number of a frame */
	int verbose;
	struct { /* what was delivered, by type and receiving role */
		unsigned count[64];
	} seen;
};

/* ---- the host ---- */
static void *world_thread(void *job)
{
	((struct job *)job)->run(job);
	return NULL;
}

static void world_submit(void *ctx, struct job *job)
{
	struct world *w = ctx;

	if (w->deferred && w->n_jobs < 256) {
		if (w->deferred == 2 && pthread_create(&w->threads[w->n_jobs], NULL, world_thread, job))
			abort();
		w->jobs[w->n_jobs++] = job;
		return;
	}
	job->run(job);
	job->done(job);
}

static void world_finish_job(struct world *w)
{
	struct job *job = w->jobs[0];
	pthread_t thread = w->threads[0];

	w->n_jobs--;
	memmove(w->jobs, w->jobs + 1, w->n_jobs * sizeof(w->jobs[0]));
	memmove(w->threads, w->threads + 1, w->n_jobs * sizeof(w->threads[0]));
	if (w->deferred == 2)
		pthread_join(thread, NULL);
	else
		job->run(job);
	job->done(job);
}

static uint64_t world_now(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static void world_log(void *ctx, int priority, const char *text)
{
	if (((struct world *)ctx)->verbose)
		fprintf(stderr, "<%d> %s\n", priority, text);
}

/* ---- the network ---- */
static struct packet *packet_new(const struct frame *f, const uint8_t *body)
{
	struct packet *p = calloc(1, sizeof(*p) + FRAME_HEADER + f->length);

	if (!p)
		abort();
	p->bytes = FRAME_HEADER + f->length;
	frame_pack(p->data, f);
	if (f->length)
		memcpy(p->data + FRAME_HEADER, body, f->length);
	return p;
}

static void pipe_put(struct wire *wire, int side, struct packet *p)
{
	if (!wire->alive) {
		free(p);
		return;
	}
	p->next = NULL;
	if (wire->pipe[side].tail)
		wire->pipe[side].tail->next = p;
	else
		wire->pipe[side].head = p;
	wire->pipe[side].tail = p;
	wire->pipe[side].queued += p->bytes;
}

static struct packet *pipe_get(struct wire *wire, int side)
{
	struct packet *p = wire->pipe[side].head;

	if (!p)
		return NULL;
	wire->pipe[side].head = p->next;
	if (!p->next)
		wire->pipe[side].tail = NULL;
	wire->pipe[side].queued -= p->bytes;
	return p;
}

static void fake_send(struct channel *c, const struct frame *f)
{
	struct fake *fake = (struct fake *)c;

	pipe_put(fake->wire, fake->side, packet_new(f, f->body));
}

static void fake_send_inplace(struct channel *c, const struct frame *f, uint8_t *body)
{
	/* As the real one does: the header is written in front of the body. */
	frame_pack(body - FRAME_HEADER, f);
	struct fake *fake = (struct fake *)c;

	pipe_put(fake->wire, fake->side, packet_new(f, body));
}

static void fake_flush(struct channel *c)
{
}

static size_t fake_queued(const struct channel *c)
{
	const struct fake *fake = (const struct fake *)c;

	return fake->wire->pipe[fake->side].queued;
}

static const struct channel_ops fake_ops = {fake_send, fake_send_inplace, fake_flush, fake_queued};

static void wire_end(struct wire *wire, int side, enum frame_role self, int self_id, enum frame_role peer,
		     int peer_id)
{
	struct fake *end = &wire->end[side];

	memset(end, 0, sizeof(*end));
	end->wire = wire;
	end->side = side;
	end->channel.ops = &fake_ops;
	end->channel.self = self;
	end->channel.peer = peer;
	memset(end->channel.self_fingerprint, self_id, 32);
	memset(end->channel.fingerprint, peer_id, 32);
	memset(end->channel.key, peer_id, 32);
	snprintf(end->channel.name, sizeof(end->channel.name), "%s %d.example", frame_role_name(peer),
		 peer_id);
}

static void wire_up(struct wire *wire, enum frame_role a, int a_id, enum frame_role b, int b_id)
{
	wire_end(wire, 0, a, a_id, b, b_id);
	wire_end(wire, 1, b, b_id, a, a_id);
	wire->alive = 1;
}

static void wire_empty(struct wire *wire)
{
	for (int side = 0; side < 2; side++)
		for (struct packet *p; (p = pipe_get(wire, side));)
			free(p);
}

/* ---- roles ---- */
static void world_owner_failed(struct world *w, size_t d, const struct err *e)
{
	if (!w->owner_err[d].code)
		w->owner_err[d] = *e;
	owner_free(w->owner[d]);
	w->owner[d] = NULL;
}

static void world_session_over(struct world *w, size_t s, const struct err *e)
{
	if (e->code && !w->modeller_err.code)
		w->modeller_err = *e;
	modeller_free(w->sessions[s].m);
	memset(&w->sessions[s], 0, sizeof(w->sessions[s]));
}

static void wire_lost(struct world *w, struct wire *wire)
{
	if (!wire->alive)
		return;
	wire->alive = 0;
	wire_empty(wire);
	for (size_t d = 0; d < w->n_owners; d++)
		if (w->owner[d] && (wire == &w->dm[d] || wire == &w->dc[d])) {
			struct err e = {0};

			owner_lost(w->owner[d], &wire->end[0].channel, "connection reset");
			if (owner_tick(w->owner[d], &e) == 0)
				abort(); /* a session that lost a channel must be over */
			world_owner_failed(w, d, &e);
		}
	for (size_t s = 0; s < WORLD_SESSIONS; s++)
		if (w->sessions[s].m && (wire == w->sessions[s].wire || wire == &w->mc)) {
			struct err e = {0};

			modeller_lost(w->sessions[s].m, &wire->end[wire == &w->mc ? 0 : 1].channel,
				      "connection reset");
			if (modeller_tick(w->sessions[s].m, &e) == 0)
				abort();
			world_session_over(w, s, &e);
		}
	if (w->provider && wire->end[1].channel.self == ROLE_C)
		provider_lost(w->provider, &wire->end[1].channel);
}

static void world_open(struct world *w, struct wire *wire, const struct frame *f)
{
	Wire__Open *open = wire__open__unpack(NULL, f->length, f->body);
	struct err e = {0};
	size_t s = 0;

	while (s < WORLD_SESSIONS && w->sessions[s].m)
		s++;
	if (!open || strcmp(open->model, "net") != 0 || s == WORLD_SESSIONS || !w->mc.alive || !f->session)
		err_set(&e, ERR_INPUT, "there is no such model, session or provider");
	else if (modeller_new(&w->sessions[s].m, &w->host, &w->modeller_options, w->served,
			      &wire->end[1].channel, f->session, &w->mc.end[0].channel, ++w->next_session,
			      &e) == 0) {
		w->sessions[s].wire = wire;
		w->sessions[s].session = f->session;
		w->sessions[s].provider_session = w->next_session;
	}
	if (e.code) {
		w->modeller_err = e;
		channel_send_error(&wire->end[1].channel, f->session, &e, "open");
	}
	if (open)
		wire__open__free_unpacked(open, NULL);
}

static void to_modeller(struct world *w, struct wire *wire, struct channel *on, const struct frame *f)
{
	for (size_t s = 0; s < WORLD_SESSIONS; s++) {
		int here = wire == &w->mc
			       ? w->sessions[s].provider_session == f->session
			       : w->sessions[s].wire == wire && w->sessions[s].session == f->session;
		struct err e = {0};

		if (!w->sessions[s].m || !here)
			continue;
		if (modeller_frame(w->sessions[s].m, on, f, &e) < 0)
			world_session_over(w, s, &e);
		return;
	}
	if (f->type == FRAME_OPEN && wire != &w->mc)
		world_open(w, wire, f);
}

static void to_owner(struct world *w, struct wire *wire, struct channel *on, const struct frame *f)
{
	for (size_t d = 0; d < w->n_owners; d++) {
		struct err e = {0};

		if (!w->owner[d] || (wire != &w->dm[d] && wire != &w->dc[d]) || f->session != 7)
			continue;
		if (owner_frame(w->owner[d], on, f, &e) < 0)
			world_owner_failed(w, d, &e);
	}
}

static void deliver(struct world *w, struct wire *wire, int side)
{
	struct packet *p = pipe_get(wire, side);
	struct channel *to = &wire->end[!side].channel, *from = &wire->end[side].channel;
	struct err e = {0};
	struct frame f;
	enum fate fate = w->tamper ? w->tamper(w, wire, side, &p) : DELIVER;

	w->frames++;
	if (fate == KILL_WIRE)
		wire_lost(w, wire);
	if (fate != DELIVER || !wire->alive) {
		free(p);
		return;
	}
	/* What the daemon's reader does: a connection that breaks the rules is closed. */
	if (frame_unpack(&f, p->data, from->self, to->self, &e) < 0 || f.length != p->bytes - FRAME_HEADER) {
		free(p);
		wire_lost(w, wire);
		return;
	}
	f.body = p->data + FRAME_HEADER;
	w->seen.count[f.type & 63]++;
	if (to->self == ROLE_C && w->provider) {
		if (provider_frame(w->provider, to, &f, &e) < 0 && !w->provider_err.code)
			w->provider_err = e;
	} else if (to->self == ROLE_M) {
		to_modeller(w, wire, to, &f);
	} else if (to->self == ROLE_D) {
		to_owner(w, wire, to, &f);
	}
	free(p);
}

/* ---- running ---- */
static struct wire *world_wire(struct world *w, unsigned i)
{
	if (i == 0)
		return &w->mc;
	return (i - 1) % 2 ? &w->dc[(i - 1) / 2] : &w->dm[(i - 1) / 2];
}

/* One frame or one job; 0 when there is nothing to do. */
static int world_step(struct world *w)
{
	unsigned n = 2 * (1 + 2 * (unsigned)w->n_owners);

	if (w->chaos) {
		w->chaos = w->chaos * 1664525u + 1013904223u;
		if (w->chaos >> 29) /* seven times in eight the same wire goes on */
			w->turn = w->turn ? w->turn - 1 : 0;
		else
			w->turn = w->chaos >> 16 & 0xff;
	}
	for (unsigned i = 0; i <= n; i++) {
		unsigned at = w->turn++ % (n + 1);

		if (at == n && w->n_jobs) {
			world_finish_job(w);
			return 1;
		}
		if (at < n && world_wire(w, at / 2)->pipe[at % 2].head) {
			deliver(w, world_wire(w, at / 2), (int)(at % 2));
			return 1;
		}
	}
	return 0;
}

static void world_settle(struct world *w)
{
	while (world_step(w))
		if (w->frames > 1000000)
			abort(); /* a storm of frames is a hang */
}

/* Nobody's clock needs looking at before something happens. */
static inline int world_rests(const struct world *w)
{
	for (size_t d = 0; d < w->n_owners; d++)
		if (w->owner[d] && !owner_rests(w->owner[d]))
			return 0;
	for (size_t s = 0; s < WORLD_SESSIONS; s++)
		if (w->sessions[s].m && !modeller_rests(w->sessions[s].m))
			return 0;
	return !w->provider || provider_due(w->provider) == UINT64_MAX;
}

/* As the daemons do: what rests is left alone, so whatever a test waits for shows that it was no rest. */
static void world_tick(struct world *w)
{
	for (size_t d = 0; d < w->n_owners; d++) {
		struct err e = {0};

		if (w->owner[d] && !owner_rests(w->owner[d]) && owner_tick(w->owner[d], &e) < 0)
			world_owner_failed(w, d, &e);
	}
	for (size_t s = 0; s < WORLD_SESSIONS; s++) {
		struct err e = {0};

		if (w->sessions[s].m && !modeller_rests(w->sessions[s].m) &&
		    modeller_tick(w->sessions[s].m, &e) < 0)
			world_session_over(w, s, &e);
	}
	if (w->provider && provider_due(w->provider) <= w->now)
		provider_tick(w->provider);
}

static inline void world_sleep(struct world *w, unsigned ms)
{
	for (unsigned passed = 0; passed < ms; passed += 50) {
		w->now += 50000;
		world_tick(w);
		world_settle(w);
	}
}

static void world_defaults(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->host = (struct host){w, world_submit, world_now, world_log};
	w->now = 1000000;
	w->owner_options = (struct owner_options){
	    .model = "net", .max_batch = 8, .pool_bytes = 64 << 20, .step_ms = 1000, .connect_ms = 2000};
	w->modeller_options = (struct modeller_options){
	    .pool_bytes = 64 << 20, .step_ms = 1000, .connect_ms = 2000, .max_batch = 8, .lanes = 4};
	w->provider_options = (struct provider_options){
	    .connect_ms = 2000, .sessions = 16, .queue_bytes = 16 << 20, .block = 4, .mask_bytes = 64 << 20};
}

/* Certificates: provider 1, model owner 2, data owner d 10 + d. */
static int world_start(struct world *w, const struct served *served, size_t owners, struct err *e)
{
	w->served = served;
	w->n_owners = owners;
	wire_up(&w->mc, ROLE_M, 2, ROLE_C, 1);
	if (provider_new(&w->provider, &w->host, &w->provider_options, e) < 0)
		return -1;
	for (size_t d = 0; d < owners; d++) {
		wire_up(&w->dm[d], ROLE_D, 10 + (int)d, ROLE_M, 2);
		wire_up(&w->dc[d], ROLE_D, 10 + (int)d, ROLE_C, 1);
		if (owner_new(&w->owner[d], &w->host, &w->owner_options, &w->dm[d].end[0].channel,
			      &w->dc[d].end[0].channel, 7, e) < 0)
			return -1;
	}
	return 0;
}

static void world_end(struct world *w)
{
	for (size_t d = 0; d < w->n_owners; d++) {
		owner_free(w->owner[d]);
		w->owner[d] = NULL;
	}
	for (size_t s = 0; s < WORLD_SESSIONS; s++) {
		modeller_free(w->sessions[s].m);
		w->sessions[s].m = NULL;
	}
	provider_free(w->provider);
	w->provider = NULL;
	while (w->n_jobs) /* jobs of sessions that have gone only free */
		world_finish_job(w);
	wire_empty(&w->mc);
	for (size_t d = 0; d < w->n_owners; d++) {
		wire_empty(&w->dm[d]);
		wire_empty(&w->dc[d]);
	}
}

#endif
