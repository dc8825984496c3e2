/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "nn/he_plan.h"

#define NAMES_MAX 300

/* What a file was when it was read; zero when it was not there. */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

/* What is served, or being made, or why it cannot be. */
struct variant {
	struct job job; /* first */
	struct model *model;
	const struct graph *g;
	struct plan_options options;
	unsigned optimise; /* PLAN_LATENCY, PLAN_BANDWIDTH, MODELS_HE, MODELS_CLEAR */
	int set;	   /* parameters of the he personality: HE_S, HE_L, -1 */
	struct served *served;
	struct err err;
	int making;
	models_made made;
	void *ctx;
};

struct model {
	struct model *next; /* among the retired */
	struct graph *g;
	char *path;
	struct stamp onnx, json;
	unsigned refs; /* of the set, of sessions, of variants that are being made */
	int retired;
	struct variant variants[MODELS_CLEAR + 1][2]; /* [optimise][reveal] */
};

struct models {
	struct model **all;
	size_t n;
	const struct models *from; /* of models_next: what is in it too is not ours */
	struct model *retired;
};

static void variant_run(struct job *job)
{
	struct variant *v = (struct variant *)job;
	enum personality p = PERSONALITY_SMPC;

	if (v->optimise == MODELS_HE)
		p = PERSONALITY_HE;
	else if (v->optimise == MODELS_CLEAR)
		p = PERSONALITY_CLEAR;
	if (served_new(&v->served, p, v->g, &v->options, v->set, &v->err))
		v->served = NULL; /* err says why */
}

static void variant_done(struct job *job)
{
	static const char *const names[] = {"latency", "bandwidth", "he", "clear"};
	struct variant *v = (struct variant *)job;

	v->making = 0;
	model_release(v->model);
	if (!v->served)
		log_err(LOG_ERR, v->g->name, &v->err);
	else
		log_line(LOG_INFO, "serves %s (%s, %s)", v->g->name, names[v->optimise],
			 v->options.reveal == REVEAL_LABEL ? "label" : "logits");
	v->made(v->ctx);
}

static int he_set_of(const char *name)
{
	enum he_set set = he_set_named(name);

	return set < HE_SETS ? (int)set : -1;
}

/* optimise: of enum plan_optimise, or MODELS_HE, MODELS_CLEAR. */
static struct plan_options options_of(const struct config *c, unsigned optimise, unsigned reveal)
{
	struct plan_options o = {.optimise = optimise == PLAN_BANDWIDTH ? PLAN_BANDWIDTH : PLAN_LATENCY,
				 .reveal = reveal,
				 .weight_bits = (unsigned)c->weight_bits,
				 .activation_bits = (unsigned)c->activation_bits,
				 .granularity = (unsigned)c->granularity};

	if (optimise != MODELS_HE)
		return o;
	if (c->he_weight_bits)
		o.weight_bits = (unsigned)c->he_weight_bits;
	if (c->he_activation_bits)
		o.activation_bits = (unsigned)c->he_activation_bits;
	he_plan_options(&o);
	return o;
}

static void prepare(struct model *m, const struct config *c)
{
	for (unsigned i = 0; i < 2 * (MODELS_CLEAR + 1); i++) {
		struct variant *v = &m->variants[i / 2][i % 2];

		v->job = (struct job){variant_run, variant_done, 0};
		v->model = m;
		v->g = m->g;
		v->options = options_of(c, i / 2, i % 2);
		v->optimise = i / 2;
		v->set = he_set_of(c->he_set);
	}
}

static void model_free(struct model *m)
{
	for (unsigned k = 0; k < 2 * (MODELS_CLEAR + 1); k++)
		served_free(m->variants[k / 2][k % 2].served);
	graph_free(m->g);
	free(m->path);
	free(m);
}

void model_release(struct model *m)
{
	m->refs--; /* models_sweep frees it: jobs may still read it */
}

const char *model_name(const struct model *m)
{
	return m->g->name;
}

int model_retired(const struct model *m)
{
	return m->retired;
}

static struct stamp stamp_of(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct stamp){0};
	return (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

/* MODEL.json beside MODEL.onnx. */
static struct stamp stamp_beside(const char *path)
{
	struct stamp none = {0}, stamp;
	size_t n = strlen(path);
	char *json;

	if (n > 5 && !strcmp(path + n - 5, ".onnx"))
		n -= 5;
	if (asprintf(&json, "%.*s.json", (int)n, path) < 0)
		return none;
	stamp = stamp_of(json);
	free(json);
	return stamp;
}

static int same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

/* Read before the file is: a change meanwhile is seen next time. */
static struct model *model_new(const char *path, struct err *e)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m || !(m->path = strdup(path))) {
		free(m);
		err_set(e, ERR_ENV, "out of memory for models");
		return NULL;
	}
	m->onnx = stamp_of(path);
	m->json = stamp_beside(path);
	m->refs = 1;
	if (!graph_load(&m->g, path, e))
		return m;
	m->g = NULL;
	model_free(m);
	return NULL;
}

static struct model *load_one(const char *path, const struct config *c, struct err *e)
{
	struct model *m = model_new(path, e);
	struct variant *first;

	if (!m)
		return NULL;
	prepare(m, c);
	first = &m->variants[PLAN_LATENCY][m->g->pre.label_only ? REVEAL_LABEL : REVEAL_LOGITS];
	if (!served_new(&first->served, PERSONALITY_SMPC, m->g, &first->options, first->set, e))
		return m;
	err_context(e, "%s", path);
	model_free(m);
	return NULL;
}

static int same_bits(const struct plan_options *a, const struct plan_options *b)
{
	return a->weight_bits == b->weight_bits && a->activation_bits == b->activation_bits &&
	       a->granularity == b->granularity;
}

/* The model of this file if neither it nor the options have changed. */
static struct model *unchanged(const struct models *now, const char *path, const struct config *c)
{
	struct stamp onnx = stamp_of(path), json = stamp_beside(path);

	for (size_t i = 0; now && i < now->n; i++) {
		struct model *m = now->all[i];
		const struct plan_options o = options_of(c, PLAN_LATENCY, 0),
					  he = options_of(c, MODELS_HE, 0);

		if (!strcmp(m->path, path) && same_stamp(&m->onnx, &onnx) && same_stamp(&m->json, &json) &&
		    same_bits(&o, &m->variants[PLAN_LATENCY][0].options) &&
		    same_bits(&he, &m->variants[MODELS_HE][0].options) &&
		    m->variants[MODELS_HE][0].set == he_set_of(c->he_set))
			return m;
	}
	return NULL;
}

static int has(const struct models *s, const struct model *m)
{
	for (size_t i = 0; s && i < s->n; i++)
		if (s->all[i] == m)
			return 1;
	return 0;
}

static int add(struct models *s, struct model *m, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->all[i]->g->name, m->g->name)) {
			err_set(e, ERR_INPUT, "two models are named %s; rename one of the files", m->g->name);
			if (!has(s->from, m))
				model_free(m);
			return -1;
		}
	s->all[s->n++] = m;
	return 0;
}

int models_next(struct models **next, const struct models *now, const struct config *c, struct err *e)
{
	struct models *s = calloc(1, sizeof(*s));

	*next = NULL;
	if (!s || !(s->all = calloc(c->models.n + 1, sizeof(struct model *)))) {
		free(s);
		return err_set(e, ERR_ENV, "out of memory for models");
	}
	s->from = now;
	for (size_t i = 0; i < c->models.n; i++) {
		const char *path = c->models.items[i];
		struct model *m = unchanged(now, path, c);

		if (!m)
			m = load_one(path, c, e);
		if (!m || add(s, m, e)) {
			models_free(s);
			return -1;
		}
	}
	if (!s->n) {
		models_free(s);
		return err_set(e, ERR_USAGE, "no models; name some with --models=FILE.onnx,…");
	}
	*next = s;
	return 0;
}

int models_load(struct models **models, const struct config *c, struct err *e)
{
	if (models_next(models, NULL, c, e))
		return -1;
	for (size_t i = 0; i < (*models)->n; i++)
		log_line(LOG_INFO, "serves %s", (*models)->all[i]->g->name);
	return 0;
}

void models_replace(struct models *now, struct models *next)
{
	struct models old = *now;

	for (size_t i = 0; i < next->n; i++)
		if (!has(&old, next->all[i]))
			log_line(LOG_INFO, "serves %s, of %s", next->all[i]->g->name, next->all[i]->path);
	for (size_t i = 0; i < old.n; i++) {
		struct model *m = old.all[i];

		if (has(next, m))
			continue;
		log_line(LOG_INFO, "no longer serves %s as it was in %s", m->g->name, m->path);
		m->retired = 1;
		m->next = now->retired;
		now->retired = m;
		model_release(m);
	}
	now->all = next->all;
	now->n = next->n;
	free(old.all);
	free(next);
}

void models_sweep(struct models *s)
{
	for (struct model **at = &s->retired; *at;) {
		struct model *m = *at;

		if (m->refs) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		model_free(m);
	}
}

int models_retiring(const struct models *s)
{
	return s->retired != NULL;
}

static struct model *find(struct models *s, const char *name, struct err *e)
{
	char names[NAMES_MAX] = "";
	size_t at = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->all[i]->g->name, name) || (!name[0] && s->n == 1))
			return s->all[i];
	for (size_t i = 0; i < s->n && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "",
				       s->all[i]->g->name);
	err_set(e, ERR_PEER, "there is no model \"%.64s\"; this model owner serves %s", name, names);
	return NULL;
}

int models_serve(struct models *s, const char *name, unsigned optimise, unsigned reveal,
		 const struct host *host, models_made made, void *ctx, struct model **model,
		 const struct served **served, struct err *e)
{
	struct model *m = find(s, name, e);
	struct variant *v;

	*served = NULL;
	if (!m)
		return -1;
	if (optimise > MODELS_CLEAR || reveal > REVEAL_LABEL)
		return err_set(e, ERR_PEER, "an unknown way to optimise or to reveal");
	if (m->g->pre.label_only && reveal != REVEAL_LABEL)
		return err_set(e, ERR_PEER,
			       "model %s gives only labels, no scores: its owner's policy "
			       "(\"reveal\":\"label\"); ask with "
			       "--reveal label",
			       m->g->name);
	v = &m->variants[optimise][reveal];
	if (!v->making && !v->served && !v->err.code) {
		v->making = 1;
		m->refs++;
		v->made = made;
		v->ctx = ctx;
		host->submit(host->ctx, &v->job);
	}
	if (v->making)
		return 0;
	if (!v->served)
		return err_set(e, v->err.code, "%s", v->err.text);
	*served = v->served;
	*model = m;
	m->refs++;
	return 0;
}

const char *models_name(const struct models *s, const char *name)
{
	return !name[0] && s->n == 1 ? s->all[0]->g->name : name;
}

Wire__ModelList *models_list(const struct models *s, const struct access *access, const struct config *config,
			     const char *names)
{
	Wire__ModelList *list = malloc(sizeof(*list));
	Wire__ModelInfo *info = calloc(s->n, sizeof(*info)), **infos = calloc(s->n, sizeof(*infos));
	Wire__Shape *shapes = calloc(s->n, sizeof(*shapes));

	if (!list || !info || !infos || !shapes) {
		free(list);
		free(info);
		free(infos);
		free(shapes);
		return NULL;
	}
	wire__model_list__init(list);
	infos[0] = info; /* models_list_free finds all by it */
	info[0].input = shapes;
	for (size_t i = 0; i < s->n; i++) {
		struct shape shape = s->all[i]->g->nodes[0].shape;
		size_t n = list->n_models;

		if (!access_lists(access, names, s->all[i]->g->name))
			continue;
		wire__model_info__init(&info[n]);
		wire__shape__init(&shapes[n]);
		shapes[n].c = shape.c;
		shapes[n].h = shape.h;
		shapes[n].w = shape.w;
		info[n].name = s->all[i]->g->name;
		info[n].input = &shapes[n];
		info[n].personalities = config->personalities.items;
		info[n].n_personalities = config->personalities.n;
		infos[n] = &info[n];
		list->n_models++;
	}
	list->models = infos;
	return list;
}

void models_list_free(Wire__ModelList *list)
{
	if (!list)
		return;
	free(list->models[0]->input);
	free(list->models[0]);
	free(list->models);
	free(list);
}

void models_free(struct models *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (!has(s->from, s->all[i]))
			model_free(s->all[i]);
	while (s->retired) {
		struct model *m = s->retired;

		s->retired = m->next;
		model_free(m);
	}
	free(s->all);
	free(s);
}
