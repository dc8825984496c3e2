/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/check.h"

#include "daemon/access.h"
#include "daemon/attest.h"
#include "daemon/enclave_front.h"
#include "daemon/models.h"
#include "daemon/net.h"
#include "daemon/tls.h"

#include <errno.h>
#include <string.h>

struct checking {
	const struct config *config;
	FILE *out;
	int code;
};

static void complain(struct checking *k, const char *place, const struct err *e)
{
	fprintf(k->out, "%s: %s\n", place, e->text);
	if (!k->code)
		k->code = (int)e->code;
}

static int try_models(const struct config *c, struct err *e)
{
	struct models *models;

	*e = (struct err){0};
	if (models_load(&models, c, e))
		return -1;
	models_free(models);
	return 0;
}

/* One by one, so that each that is bad is named; then together, since their names must differ. */
static void check_models(struct checking *k)
{
	const struct config_list *all = &k->config->models;
	char place[400];
	struct err e;
	int failed = 0;

	for (size_t i = 0; i < all->n && all->n > 1; i++) {
		struct config one = *k->config;

		one.models = (struct config_list){&all->items[i], 1};
		if (!try_models(&one, &e))
			continue;
		complain(k, config_place(k->config, all->items[i], place, sizeof(place)), &e);
		failed = 1;
	}
	if (!failed && try_models(k->config, &e))
		complain(k, config_place(k->config, all->n ? all->items[0] : "", place, sizeof(place)), &e);
}

static int try_read(const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, err_of_file(errno), "cannot read %s: %s", path, strerror(errno));
	fclose(f);
	return 0;
}

/* What only a data owner names. */
static void check_data_owner(struct checking *k)
{
	const struct config *c = k->config;
	struct attest_policy_file policy = {0};
	char place[400];
	struct err e = {0};

	if (*c->http_token_file && try_read(c->http_token_file, &e))
		complain(k, config_place(c, e.text, place, sizeof(place)), &e);
	e = (struct err){0};
	if (*c->policy && attest_policy_read(&policy, c->policy, &e))
		complain(k, config_place(c, e.text, place, sizeof(place)), &e);
	attest_policy_free(&policy);
}

int check_role(const struct config *c, enum frame_role self, FILE *out)
{
	struct checking k = {.config = c, .out = out};
	struct err e = {0};
	char place[400], congestion[CONGESTION_BYTES];
	struct tls tls;

	if (tls_new(&tls, c, self, &e))
		complain(&k, config_place(c, e.text, place, sizeof(place)), &e);
	tls_free(&tls);
	e = (struct err){0};
	if ((self == ROLE_M || self == ROLE_C) && access_check(c, self, &e))
		complain(&k, config_place(c, e.text, place, sizeof(place)), &e);
	e = (struct err){0};
	if (self != ROLE_C && congestion_choose(congestion, c->congestion, &e))
		complain(&k, config_place(c, e.text, place, sizeof(place)), &e);
	if (self == ROLE_M)
		check_models(&k);
	e = (struct err){0};
	if (self == ROLE_M && enclave_front_check(c, &e))
		complain(&k, config_place(c, e.text, place, sizeof(place)), &e);
	if (self == ROLE_D)
		check_data_owner(&k);
	return k.code;
}
