/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/op/tree.h"

#include <stdlib.h>
#include <string.h>

static uint32_t levels_of(uint32_t largest)
{
	uint32_t levels = 0;

	while ((UINT32_C(1) << levels) < largest)
		levels++;
	return levels;
}

static int level_memory(struct level *l, const uint32_t *count, uint32_t sets)
{
	for (uint32_t s = 0; s < sets; s++) {
		l->pairs += count[s] / 2;
		l->passes += count[s] % 2;
	}
	l->i = calloc(l->pairs + 1, sizeof(*l->i));
	l->j = calloc(l->pairs + 1, sizeof(*l->j));
	l->pass = calloc(l->passes + 1, sizeof(*l->pass));
	return l->i && l->j && l->pass ? 0 : -1;
}

/* Fills one level and replaces each set's members (and count) by those of the next array. */
static void fill_level(struct level *l, const struct pool_sets *sets, uint32_t *member, uint32_t *count)
{
	uint32_t pair = 0, pass = 0;

	for (size_t s = 0; s < sets->outputs; s++) {
		uint32_t *m = member + sets->start[s], left = count[s], next = 0;

		for (uint32_t a = 0; a + 1 < left; a += 2) {
			l->i[pair] = m[a];
			l->j[pair] = m[a + 1];
			m[next++] = pair++;
		}
		if (left % 2) {
			l->pass[pass] = m[left - 1];
			m[next++] = l->pairs + pass++;
		}
		count[s] = next;
	}
}

int tree_new(struct tree **tree, const struct pool_sets *sets, struct err *e)
{
	struct tree *t = calloc(1, sizeof(*t));
	size_t members = sets->start[sets->outputs];
	uint32_t *member = malloc((members + 1) * sizeof(*member)),
		 *count = calloc(sets->outputs + 1, sizeof(*count));

	*tree = NULL;
	if (!t || !member || !count)
		goto fail;
	memcpy(member, sets->member, members * sizeof(*member));
	for (size_t s = 0; s < sets->outputs; s++)
		count[s] = sets->start[s + 1] - sets->start[s];
	t->outputs = sets->outputs;
	t->widest = 1;
	t->out = calloc(t->outputs + 1, sizeof(*t->out));
	t->level = calloc(levels_of(sets->largest) + 1, sizeof(*t->level));
	if (!t->out || !t->level)
		goto fail;
	while (t->levels < levels_of(sets->largest)) {
		struct level *l = &t->level[t->levels++];

		if (level_memory(l, count, t->outputs))
			goto fail;
		fill_level(l, sets, member, count);
		if (t->widest < l->pairs + l->passes)
			t->widest = l->pairs + l->passes;
	}
	for (size_t s = 0; s < sets->outputs; s++)
		t->out[s] = member[sets->start[s]];
	free(member);
	free(count);
	*tree = t;
	return 0;
fail:
	free(member);
	free(count);
	tree_free(t);
	return err_set(e, ERR_ENV, "out of memory for a tournament of %zu elements", members);
}

void tree_free(void *tree)
{
	struct tree *t = tree;

	if (!t)
		return;
	for (uint32_t l = 0; t->level && l < t->levels; l++) {
		free(t->level[l].i);
		free(t->level[l].j);
		free(t->level[l].pass);
	}
	free(t->level);
	free(t->out);
	free(t);
}
