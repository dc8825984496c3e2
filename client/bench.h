/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench.h — the parts of `obscura bench`: bench.c has the command and its matrix, bench_roles.c the
 * processes, bench_models.c what is measured, bench_load.c drives data owners, bench_measure.c makes rows of it,
 * bench_report.c writes them. */
#ifndef OBSCURA_CLIENT_BENCH_H
#define OBSCURA_CLIENT_BENCH_H

#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>

#include "client/bench_host.h"
#include "client/bench_stat.h"
#include "client/command.h"
#include "client/he.h"
#include "client/roles.h"
#include "nn/graph.h"
#include "protocol/personality.h"
#include "protocol/program.h"
#include "protocol/session.h"

#define BENCH_MODELS_MAX 16
#define BENCH_BATCHES_MAX 8

/* ---- bench_models.c ---- */
struct bench_model {
	char name[64], file[PATH_MAX];
	struct graph *graph;  /* owns */
	size_t pixels, n;     /* bytes of an image; images */
	uint8_t *images;      /* owns */
	uint32_t *labels;     /* owns: what the float reference says of each */
	int32_t *truth;	      /* owns: the class of each; NULL where nobody knows */
	double float_seconds; /* of one image, median */
};
/* which: X, Y, Z (of the paper, below `shared`), A, B, C, D (of the literature, random weights, written to
 * `folder`) or FILE.onnx. 0 when it is not there, 1 when it is. */
int bench_model_new(struct bench_model *m, const char *which, const char *shared, const char *folder,
		    struct err *e) MUST_USE;
void bench_model_free(struct bench_model *m);
/* The plan of one mode; program_free and plan_free. */
int bench_plan(const struct bench_model *m, enum plan_optimise optimise, struct plan **plan,
	       struct program **program, struct err *e) MUST_USE;

/* ---- bench_he.c ---- */
/* How the he personality is asked for. */
struct bench_he {
	enum he_set set;
	int offline;			       /* with tickets */
	const char *name;		       /* in tables, in the place of the mode */
	unsigned weight_bits, activation_bits; /* 0: the defaults */
};
/* A personality and how it is asked for. */
struct bench_way {
	enum personality personality;
	enum plan_optimise optimise; /* of smpc */
	const struct bench_he *he;   /* of he */
};
#define BENCH_WAYS_MAX 16
/* In tables and rows: "latency", "bandwidth", "he L", … */
const char *bench_way_name(const struct bench_way *w);
struct bench;
/* All ways that are asked for of a model on links: smpc in both modes or the one of --optimise; he with and
 * without tickets in the set that it would take by itself. What cannot be is named on standard error. */
int bench_ways(struct bench *b, const struct bench_model *m, struct bench_way ways[BENCH_WAYS_MAX], size_t *n,
	       struct err *e) MUST_USE;
/* --personalities, a list. Returns in wanted[p] whether personality p is. */
int bench_personalities(const struct bench *b, int wanted[PERSONALITIES], struct err *e) MUST_USE;
/* Rows of all models in sets L and S, with and without tickets; with --profile, profiles. */
int bench_he(struct bench *b, struct err *e) MUST_USE;

struct load;
struct measured;
/* ---- bench_enclave.c ---- */
/* Flags of roles with a simulated enclave; the texts live here. */
struct bench_enclave {
	char simulation[128], policy[140], at[96], listen[64];
	const char *modeller[3], *owner[3];
};
/* Before the servers start: modeller; after that: a model, and owner. */
int bench_enclave_servers(struct bench *b, struct bench_enclave *x, struct err *e) MUST_USE;
int bench_enclave_provision(struct bench *b, struct bench_enclave *x, const struct bench_model *m,
			    struct err *e) MUST_USE;
/* What only this personality has: warm requests beside clear's, cold connections. */
int bench_enclave_measure(struct bench *b, struct load *l, struct measured *m, struct err *e) MUST_USE;
void bench_enclave_note(const struct bench *b); /* says them */

/* ---- bench_load.c ---- */
/* Connects to n data owners' sockets and asks each for nothing but what the model wants, once. */
int load_open(struct load **l, const struct roles *r, size_t n, struct err *e) MUST_USE;
void load_close(struct load *l);
/* a request that waited so long for tickets, seconds */
int load_is_warm(const struct load *l, double offline);
void load_personality(struct load *l, enum personality p); /* of what is asked from now on; else smpc */

struct load_spec {
	const struct bench_model *model;
	enum plan_optimise optimise;
	size_t batch, in_flight; /* of each data owner */
	size_t requests;	 /* at most, of all */
	double seconds;		 /* none is sent after so long */
	int describe;		 /* no images: only what the daemon answers at once */
};
/* Images whose label was looked at. */
struct judged {
	size_t images, agree;	   /* agree: with the float reference's label */
	size_t right, float_right; /* with the true one; 0 where nobody knows it */
};
/* Of the answers that came. */
struct load_result {
	size_t requests, images;
	double wall, connect;		   /* connect: the longest of any answer */
	double *client, *online, *offline; /* own: seconds of each request; client: as seen at the socket */
	size_t room;
	size_t warm;   /* requests that waited for no ticket */
	size_t unlike; /* images whose bytes or round trips are not as predicted */
	struct judged judged;
	uint32_t round_trips, predicted_round_trips;
	struct counted on, off, wire_on;	    /* sums over images */
	struct counted predicted_on, predicted_off; /* of one image */
	uint64_t setup_bytes;
};
int load_run(struct load *l, const struct load_spec *spec, struct load_result *result,
	     struct err *e) MUST_USE;
void load_result_free(struct load_result *r); /* the samples; the sums stay */
/* The pool of the first data owner's only session. */
int load_pool(struct load *l, struct pool_status *pool, struct err *e) MUST_USE;

/* ---- bench_floor.c ---- */
/* The same messages between two processes over TLS with nothing computed: seconds of one inference. */
struct floor {
	struct bench_stat seconds;
	size_t rounds;
};
int bench_floor(struct floor *f, const struct roles *r, const struct program *p, size_t batch, double seconds,
		struct err *e) MUST_USE;

/* ---- lab.c ---- */
/* On which link, and what was predicted: round trips × RTT + bytes ÷ rate + compute. */
struct lab_row {
	const struct link_net *net;	  /* while it is measured; NULL: without --links */
	const struct link_measured *link; /* likewise */
	char name[32];
	int native;
	size_t repetition; /* from 1 */
	/* seconds: of computing (online on the native link), on the wire, both */
	double compute, transfer, online;
};

/* ---- bench_measure.c ---- */
/* One row: a model, a mode, and how it was asked. */
struct measured {
	const char *kind; /* "macro", "lanes", "images", "owners" */
	const struct bench_model *model;
	enum plan_optimise optimise;
	enum personality personality;
	const struct bench_he *he; /* of he */
	size_t batch, in_flight, owners;
	/* one request at a time, tickets ready where there is memory for so many */
	struct bench_stat online, client, offline;
	size_t latency_requests, warm, unlike; /* unlike: images not as predicted, of both parts */
	struct judged judged;		       /* of both parts */
	double connect;			       /* of the first request */
	uint32_t planned_trips;		       /* of one image, as the plan says */
	struct counted planned_on;
	/* as many requests as there is time for, offline work included */
	struct load_result steady;
	uint64_t made, burnt; /* tickets, meanwhile */
	uint64_t pool_high;   /* tickets that the data owner keeps ready */
	double images_per_second;
	struct usage used;	/* seconds of processor meanwhile; peaks since the start of the processes */
	struct wire_pairs wire; /* meanwhile */
	struct floor floor;
	int simulated; /* of the enclave: no hardware isolation */
	/* of it: one image, of clear and of it in turns; new connections */
	struct bench_stat beside[2], cold;
	struct bench_stat local; /* asked and answered through the socket, nothing computed */
	struct lab_row lab;	 /* all 0: loopback */
};
/* bench_he.c: its plan (he_local_free). */
struct he_local;
int bench_he_plan(struct he_local *made, const struct measured *m, struct err *e) MUST_USE;
/* The floor of its messages, those that are online. */
int bench_he_floor(struct floor *f, const struct roles *r, const struct measured *m, double seconds,
		   struct err *e) MUST_USE;
struct lab;
/* Fills a row from `kind` to `owners` on. */
int measure_row(struct bench *b, struct load *l, const struct program *p, struct measured *m,
		struct err *e) MUST_USE;

/* Its parts. One request to open sessions and take memory; requests that find their tickets ready. */
int measure_warm_up(struct load *l, struct measured *m, struct err *e) MUST_USE;
int measure_latency(struct bench *b, struct load *l, struct measured *m, struct err *e) MUST_USE;

/* ---- bench_profile.c ---- */
/* The file that a role (0 data owner, 1 model owner, 2 provider) writes. Returns path. */
const char *profile_path(const struct roles *r, int role, char path[128]);
/* Prints and writes what the roles, which have ended, wrote about the requests of m. */
int bench_profile(struct bench *b, const struct measured *m, const struct program *p, struct err *e) MUST_USE;
/* bench_he_profile.c: the same of the he personality. */
int bench_he_profile(struct bench *b, const struct measured *m, const struct program *p,
		     struct err *e) MUST_USE;

/* ---- bench.c ---- */
struct bench {
	const struct args *args;
	struct roles roles;
	uint16_t link_port; /* the model owner's, to the provider: wire_read */
	struct bench_model models[BENCH_MODELS_MAX];
	size_t n_models, batches[BENCH_BATCHES_MAX], n_batches;
	int quick, profile, shown;		/* shown: a progress line stands on the terminal */
	double part, left;			/* of the whole: done, and seconds to go; 0: not known */
	double latency_seconds, steady_seconds; /* of one row */
	struct measured *rows;
	size_t n_rows, room;
	struct json_object *conditions; /* owns */
	char folder[PATH_MAX];		/* results */
	FILE *jsonl, *markdown;
	struct lab *lab; /* NULL: without --links */
};
/* One model in one way, every batch, in processes of their own on b->roles.net. */
int bench_batches(struct bench *b, const struct bench_model *m, const struct bench_way *way,
		  struct err *e) MUST_USE;
/* All models, all batches, in a personality that has but one way. */
int bench_plain(struct bench *b, enum personality p, struct err *e) MUST_USE;
/* One model in one set of the he personality: every batch, or its profiles. */
int bench_he_batches(struct bench *b, const struct bench_model *m, const struct bench_he *he,
		     struct err *e) MUST_USE;
/* What --models says, into b->models. */
int bench_load_models(struct bench *b, struct err *e) MUST_USE;
/* Where we are: a line on standard error, on a terminal. */
void bench_progress(struct bench *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bench_clear(struct bench *b);

/* ---- bench_roles.c ---- */
/* of corrections and δ: below the roles' default of 256 MiB */
#define BENCH_POOL_BYTES ((uint64_t)192 << 20)
struct bench_setting {
	const struct bench_model *model;
	enum plan_optimise optimise;
	struct plan *plan; /* own */
	struct program *program;
	enum personality personality;
	const struct bench_he *he; /* of he */
	size_t owners;
	struct measured row; /* what is profiled */
};
typedef int (*bench_rows)(struct bench *b, struct load *l, struct bench_setting *s, struct err *e);
/* Starts the roles, lets `rows` measure, ends them. */
int bench_with_roles(struct bench *b, struct bench_setting *s, bench_rows rows, struct err *e) MUST_USE;
void bench_setting_free(struct bench_setting *s);
/* Tickets of the data owner's pool, and below how many it is refilled. */
uint64_t bench_pool(const struct bench *b, const struct program *p);
uint64_t bench_pool_low(uint64_t high);

/* ---- bench_files.c ---- */
/* What was measured where: first in each file. */
int bench_open_results(struct bench *b, struct err *e) MUST_USE;
/* What was measured is on the disk before we say that it was. */
int bench_close_results(struct bench *b, struct err *e) MUST_USE;

/* ---- bench_report.c ---- */
int report_row(struct bench *b, const struct measured *m, struct err *e) MUST_USE;
int report_line(struct bench *b, struct json_object *o, struct err *e) MUST_USE; /* takes o */
/* Prints what was measured, and writes it to b->markdown. */
int report_tables(const struct bench *b, struct err *e) MUST_USE;

#endif
