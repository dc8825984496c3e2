/* SPDX-License-Identifier: Apache-2.0 */
/* obscura bench --personalities enclave: a simulated enclave behind the model owner, asked through the data
 * owner's daemon like any other personality; what a warm request takes beyond clear's, asked in turns; what a
 * cold connection takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/bench.h"
#include "client/bench_table.h"
#include "daemon/enclave_client.h"

#define COLD_SAMPLES 60
#define COLD_PAUSE_NS 4000000 /* until the enclave has cleared away the connection before */
#define TURNS 24
#define TURN_REQUESTS 17 /* the first of a turn finds caches cold, and is not counted */

/* ---- how the roles are started ---- */

static int prepare(struct bench *b, char folder[96], struct err *e)
{
	char program[PATH_MAX];

	snprintf(folder, 96, "%s/simulation", b->roles.folder);
	if (!access(folder, F_OK))
		return 0;
	if (geteuid())
		return err_set(e, ERR_ENV,
			       "a simulated enclave has a user and namespaces of its own: bench must be "
			       "started as root for "
			       "--personalities enclave");
	snprintf(program, sizeof(program), "%s", b->roles.obscurad);
	snprintf(strrchr(program, '/'), 32, "/obscura-enclave");
	return roles_quietly(
	    (char *[]){b->roles.obscura, "attest", "simulation", "--dir", folder, "--program", program, NULL},
	    e);
}

int bench_enclave_servers(struct bench *b, struct bench_enclave *x, struct err *e)
{
	char folder[96];

	if (prepare(b, folder, e))
		return -1;
	snprintf(x->simulation, sizeof(x->simulation), "--simulation=%s", folder);
	snprintf(x->policy, sizeof(x->policy), "--policy=%s/policy.conf", folder);
	snprintf(x->listen, sizeof(x->listen), "--enclave-listen=%s:%d",
		 b->roles.net ? link_net_address(b->roles.net, LINK_MODEL_OWNER) : "127.0.0.1",
		 b->roles.net && !b->roles.net->link.native ? 7404 : 0);
	x->modeller[0] = x->listen;
	x->modeller[1] = "--tee=sim";
	x->modeller[2] = x->simulation;
	return 0;
}

int bench_enclave_provision(struct bench *b, struct bench_enclave *x, const struct bench_model *m,
			    struct err *e)
{
	struct roles *r = &b->roles;
	char enclave[96], ca[96], certificate[96], key[96];
	int failed;

	if (roles_enclave(r, e))
		return -1;
	snprintf(x->at, sizeof(x->at), "--enclave=%s", r->enclave_at);
	x->owner[0] = x->at;
	x->owner[1] = x->policy;
	x->owner[2] = "--accept-simulated=on";
	snprintf(enclave, sizeof(enclave), "--enclave=%s", r->enclave_at);
	snprintf(ca, sizeof(ca), "--ca=%s/pki/ca.pem", r->folder);
	snprintf(certificate, sizeof(certificate), "--certificate=%s/pki/model-owner.pem", r->folder);
	snprintf(key, sizeof(key), "--key=%s/pki/model-owner.key", r->folder);
	if (r->net && link_net_enter(r->net, LINK_MODEL_OWNER, e))
		return -1;
	failed =
	    roles_quietly((char *[]){r->obscura, "model", "provision", (char *)(uintptr_t)m->file, enclave,
				     x->policy, "--accept-simulated", ca, certificate, key, NULL},
			  e);
	return (r->net && link_net_home(r->net, e)) || failed ? -1 : 0;
}

/* ---- a cold connection: TCP, TLS, nonce, evidence, its verification, one answer ---- */

static int cold_once(const struct enclave_how *how, const Wire__Classify *q, double *seconds, struct err *e)
{
	Wire__Classified *reply = NULL;
	struct enclave *x = NULL;
	double start = bench_now();
	int failed = enclave_dial(&x, how, e) || enclave_classify(x, q, &reply, e);

	*seconds = bench_now() - start;
	wire__classified__free_unpacked(reply, NULL);
	enclave_close(x);
	nanosleep(&(struct timespec){0, COLD_PAUSE_NS}, NULL);
	return failed;
}

static int measure_cold(struct bench *b, struct measured *m, struct err *e)
{
	char ca[96], certificate[96], key[96], policy[128];
	struct enclave_trust *trust = NULL; /* files are read once, as a daemon does */
	struct config config = {.enclave = b->roles.enclave_at,
				.ca = ca,
				.certificate = certificate,
				.key = key,
				.step_ms = 10000};
	struct enclave_how how = {
	    .config = &config, .policy = policy, .accept_simulated = 1, .role = 'D', .keep = &trust};
	ProtobufCBinaryData image = {m->model->pixels, m->model->images};
	Wire__Classify q = WIRE__CLASSIFY__INIT;
	double samples[COLD_SAMPLES];
	int n = 0, failed = 0;

	snprintf(ca, sizeof(ca), "%s/pki/ca.pem", b->roles.folder);
	snprintf(certificate, sizeof(certificate), "%s/pki/data-owner.pem", b->roles.folder);
	snprintf(key, sizeof(key), "%s/pki/data-owner.key", b->roles.folder);
	snprintf(policy, sizeof(policy), "%s/simulation/policy.conf", b->roles.folder);
	q.model = (char *)(uintptr_t)m->model->name;
	q.images = &image;
	q.n_images = 1;
	for (; n < COLD_SAMPLES && !failed; n++)
		failed = roles_go_on(e) || cold_once(&how, &q, &samples[n], e);
	enclave_trust_free(trust);
	if (failed)
		return err_context(e, "a new connection to the enclave");
	m->cold = bench_stat(samples, (size_t)n);
	return 0;
}

/* ---- beside clear ---- */

static int turn(struct load *l, const struct measured *m, enum personality p, double *samples, size_t *n,
		struct err *e)
{
	struct load_spec spec = {
	    .model = m->model, .batch = 1, .in_flight = 1, .requests = TURN_REQUESTS, .seconds = 5};
	struct load_result r = {0};
	int failed;

	load_personality(l, p);
	failed = load_run(l, &spec, &r, e);
	for (size_t i = 1; !failed && i < r.requests; i++)
		samples[(*n)++] = r.online[i];
	load_result_free(&r);
	return failed;
}

/* The same pictures, asked of both in turns: what a busy machine does, it does to both. */
static int measure_beside(struct load *l, struct measured *m, struct err *e)
{
	double clear[TURNS * TURN_REQUESTS], enclave[TURNS * TURN_REQUESTS];
	size_t n_clear = 0, n_enclave = 0;
	int failed = 0;

	for (int i = 0; !failed && i < TURNS; i++)
		failed = roles_go_on(e) || turn(l, m, PERSONALITY_CLEAR, clear, &n_clear, e) ||
			 turn(l, m, PERSONALITY_ENCLAVE, enclave, &n_enclave, e);
	load_personality(l, PERSONALITY_ENCLAVE);
	if (failed)
		return -1;
	m->beside[0] = bench_stat(clear, n_clear);
	m->beside[1] = bench_stat(enclave, n_enclave);
	return 0;
}

int bench_enclave_measure(struct bench *b, struct load *l, struct measured *m, struct err *e)
{
	m->simulated = 1;
	if (b->lab || m->batch != 1 || m->in_flight != 1 || m->owners != 1)
		return 0;
	return measure_beside(l, m, e) || measure_cold(b, m, e) ? -1 : 0;
}

void bench_enclave_note(const struct bench *b)
{
	for (size_t i = 0; i < b->n_rows; i++) {
		const struct measured *m = &b->rows[i];

		if (!m->cold.n)
			continue;
		bench_note(b->markdown,
			   "%s: a warm request takes %.0f µs in the enclave, %.0f µs in clear (medians of "
			   "%zu, one image, asked in "
			   "turns): %+.0f µs; a cold connection with its evidence verified %.2f ms (median "
			   "of %zu). Simulated: no "
			   "hardware isolation.",
			   m->model->name, m->beside[1].median * 1e6, m->beside[0].median * 1e6,
			   m->beside[1].n, (m->beside[1].median - m->beside[0].median) * 1e6,
			   m->cold.median * 1e3, m->cold.n);
	}
}
