/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"

#define NAMES_MAX 300

/* What is served, or being made, or why it cannot be. */
struct variant {
	struct job job; /* first */
	const struct graph *g;
	struct plan_options options;
	struct served *served;
	struct err err;
	int making;
	models_made made;
	void *ctx;
};

struct model {
	struct graph *g;
	struct variant variants[2][2]; /* [optimise][reveal] */
};

struct models {
	struct model *all;
	size_t n;
};

static void variant_run(struct job *job)
{
	struct variant *v = (struct variant *)job;

	if (served_new(&v->served, v->g, &v->options, &v->err))
		v->served = NULL;
}

static void variant_done(struct job *job)
{
	struct variant *v = (struct variant *)job;

	v->making = 0;
	if (!v->served)
		log_err(LOG_ERR, v->g->name, &v->err);
	else
		log_line(LOG_INFO, "serves %s (%s, %s)", v->g->name,
			 v->options.optimise == PLAN_BANDWIDTH ? "bandwidth" : "latency",
			 v->options.reveal == REVEAL_LABEL ? "label" : "logits");
	v->made(v->ctx);
}

static void prepare(struct model *m, const struct config *c)
{
	for (unsigned i = 0; i < 4; i++) {
		struct variant *v = &m->variants[i / 2][i % 2];

		v->job = (struct job){variant_run, variant_done, 0};
		v->g = m->g;
		v->options = plan_defaults();
		v->options.optimise = i / 2;
		v->options.reveal = i % 2;
		v->options.weight_bits = (unsigned)c->weight_bits;
		v->options.activation_bits = (unsigned)c->activation_bits;
		v->options.granularity = (unsigned)c->granularity;
	}
}

static int load_one(struct models *s, const char *path, const struct config *c, struct err *e)
{
	struct model *m = &s->all[s->n];
	struct variant *first = &m->variants[PLAN_LATENCY][REVEAL_LOGITS];

	if (graph_load(&m->g, path, e))
		return -1;
	s->n++;
	for (size_t i = 0; i + 1 < s->n; i++)
		if (!strcmp(s->all[i].g->name, m->g->name))
			return err_set(e, ERR_INPUT, "two models are named %s; rename one of the files",
				       m->g->name);
	prepare(m, c);
	if (served_new(&first->served, m->g, &first->options, e)) {
		first->served = NULL;
		return err_context(e, "%s", path);
	}
	log_line(LOG_INFO, "serves %s", m->g->name);
	return 0;
}

int models_load(struct models **models, const struct config *c, struct err *e)
{
	struct models *s = calloc(1, sizeof(*s));

	*models = NULL;
	if (!s || !(s->all = calloc(c->models.n + 1, sizeof(*s->all)))) {
		free(s);
		return err_set(e, ERR_ENV, "out of memory for models");
	}
	for (size_t i = 0; i < c->models.n; i++)
		if (load_one(s, c->models.items[i], c, e)) {
			models_free(s);
			return -1;
		}
	if (!s->n) {
		models_free(s);
		return err_set(e, ERR_USAGE, "no models; name some with --models=FILE.onnx,…");
	}
	*models = s;
	return 0;
}

static struct model *find(struct models *s, const char *name, struct err *e)
{
	char names[NAMES_MAX] = "";
	size_t at = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->all[i].g->name, name) || (!name[0] && s->n == 1))
			return &s->all[i];
	for (size_t i = 0; i < s->n && at < sizeof(names); i++)
		at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", i ? ", " : "",
				       s->all[i].g->name);
	err_set(e, ERR_PEER, "there is no model \"%.64s\"; this model owner serves %s", name, names);
	return NULL;
}

int models_serve(struct models *s, const char *name, unsigned optimise, unsigned reveal,
		 const struct host *host, models_made made, void *ctx, const struct served **served,
		 struct err *e)
{
	struct model *m = find(s, name, e);
	struct variant *v;

	*served = NULL;
	if (!m)
		return -1;
	if (optimise > PLAN_BANDWIDTH || reveal > REVEAL_LABEL)
		return err_set(e, ERR_PEER, "an unknown way to optimise or to reveal");
	v = &m->variants[optimise][reveal];
	if (!v->making && !v->served && !v->err.code) {
		v->making = 1;
		v->made = made;
		v->ctx = ctx;
		host->submit(host->ctx, &v->job);
	}
	if (v->making)
		return 0;
	*served = v->served;
	return v->served ? 0 : err_set(e, v->err.code, "%s", v->err.text);
}

Wire__ModelList *models_list(const struct models *s)
{
	static char smpc[] = "smpc", *personalities[] = {smpc};
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
	for (size_t i = 0; i < s->n; i++) {
		struct shape shape = s->all[i].g->nodes[0].shape;

		wire__model_info__init(&info[i]);
		wire__shape__init(&shapes[i]);
		shapes[i].c = shape.c;
		shapes[i].h = shape.h;
		shapes[i].w = shape.w;
		info[i].name = s->all[i].g->name;
		info[i].input = &shapes[i];
		info[i].personalities = personalities;
		info[i].n_personalities = 1;
		infos[i] = &info[i];
	}
	list->n_models = s->n;
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
	for (size_t i = 0; i < s->n; i++) {
		for (unsigned k = 0; k < 4; k++)
			served_free(s->all[i].variants[k / 2][k % 2].served);
		graph_free(s->all[i].g);
	}
	free(s->all);
	free(s);
}
