/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/bench_nets.h"
#include "client/papers.h"
#include "client/samples.h"

#define IMAGES 512 /* different ones; requests go through them in turn */
#define SEED 1

/* ---- files ---- */

static int is_network(const char *which)
{
	return which[0] >= 'A' && which[0] <= 'D' && !which[1];
}

static int is_paper(const char *which)
{
	return which[0] >= 'X' && which[0] <= 'Z' && !which[1];
}

static int find_file(struct bench_model *m, const char *which, const char *shared, const char *folder,
		     struct err *e)
{
	if (is_paper(which))
		return paper_model(m->file, &papers[*which - 'X'], shared, folder, e);
	if (is_network(which)) {
		snprintf(m->file, sizeof(m->file), "%s/net_%c.onnx", folder, *which + 'a' - 'A');
		return bench_net_write(m->file, *which, SEED, e) ? -1 : 1;
	}
	if (strlen(which) < 5 || strcmp(which + strlen(which) - 5, ".onnx"))
		return err_set(e, ERR_USAGE,
			       "--models: \"%.80s\" is none of A, B, C, D, X, Y, Z and no FILE.onnx", which);
	if (!realpath(which, m->file))
		return err_set(e, ERR_INPUT, "cannot read %s", which);
	return 1;
}

/* ---- images ---- */

static int random_images(struct bench_model *m, struct err *e)
{
	uint8_t seed[randombytes_SEEDBYTES] = {SEED};

	m->n = IMAGES;
	m->images = malloc(m->n * m->pixels);
	if (!m->images)
		return err_set(e, ERR_ENV, "out of memory for images");
	randombytes_buf_deterministic(m->images, m->n * m->pixels, seed);
	return 0;
}

/* Pictures of the model's own size from the paper's data; 0: there are none. */
static int real_images(struct bench_model *m, const char *which, const char *shared, struct err *e)
{
	const struct paper *p = is_paper(which) ? &papers[*which - 'X'] : &papers[0];
	struct samples_from from = {.limit = IMAGES};
	char path[PATH_MAX], classes[PATH_MAX];
	struct samples s;

	if (!is_paper(which) && !is_network(which))
		return 0;
	snprintf(path, sizeof(path), "%s/data/%s", shared, p->stack);
	snprintf(classes, sizeof(classes), "%s/data/%s", shared, p->stack_labels);
	if (access(path, R_OK))
		return 0;
	from.images = path;
	if (is_paper(which) && !access(classes, R_OK)) /* the networks of the literature were not trained */
		from.labels = classes;
	from.fit = (struct fit){m->graph->nodes[0].shape, NN_RESIZE_NONE, 0};
	from.classes = shape_size(m->graph->nodes[m->graph->n - 1].shape);
	if (samples_load(&s, &from, e))
		return -1;
	m->n = s.n;
	m->images = s.chw;
	m->truth = s.labels;
	s.chw = NULL;
	s.labels = NULL;
	samples_free(&s);
	return 1;
}

/* The float reference, one thread: labels, and how long one image takes. */
static int float_reference(struct bench_model *m, struct err *e)
{
	size_t classes = shape_size(m->graph->nodes[m->graph->n - 1].shape);
	double *seconds = calloc(m->n, sizeof(*seconds));
	float *out = calloc(classes, sizeof(*out));
	struct float_run *run = NULL;
	int r = -1;

	m->labels = calloc(m->n, sizeof(*m->labels));
	if (!seconds || !out || !m->labels)
		err_set(e, ERR_ENV, "out of memory");
	else
		r = float_new(&run, m->graph, e);
	for (size_t i = 0; !r && i < m->n; i++) {
		double start = bench_now();

		float_infer(run, m->images + i * m->pixels, out);
		seconds[i] = bench_now() - start;
		for (uint32_t j = 1; j < classes; j++)
			if (out[j] > out[m->labels[i]])
				m->labels[i] = j;
	}
	if (!r)
		m->float_seconds = bench_stat(seconds, m->n).median;
	float_free(run);
	free(seconds);
	free(out);
	return r;
}

/* ---- models ---- */

int bench_model_new(struct bench_model *m, const char *which, const char *shared, const char *folder,
		    struct err *e)
{
	int there, real;

	memset(m, 0, sizeof(*m));
	there = find_file(m, which, shared, folder, e);
	if (there <= 0)
		return there;
	if (graph_load(&m->graph, m->file, e))
		return -1;
	snprintf(m->name, sizeof(m->name), "%s", m->graph->name);
	m->pixels = shape_size(m->graph->nodes[0].shape);
	real = real_images(m, which, shared, e);
	if (real < 0 || (!real && random_images(m, e)) || float_reference(m, e)) {
		bench_model_free(m);
		return -1;
	}
	return 1;
}

void bench_model_free(struct bench_model *m)
{
	graph_free(m->graph);
	free(m->images);
	free(m->labels);
	free(m->truth);
	memset(m, 0, sizeof(*m));
}

int bench_plan(const struct bench_model *m, enum plan_optimise optimise, struct plan **plan,
	       struct program **program, struct err *e)
{
	struct plan_options options = plan_defaults();
	struct weights *weights;

	options.optimise = optimise;
	if (plan_make(plan, &weights, NULL, m->graph, &options, e))
		return -1;
	weights_free(weights);
	if (!program_new(program, &(*plan)->tape, e))
		return 0;
	plan_free(*plan);
	return -1;
}
