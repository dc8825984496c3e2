/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/tls.h"
#include "protocol/session.h"

static struct {
	struct config *live;
	int argc;
	char **argv;
} source;

struct reload {
	struct job job; /* first */
	struct net *net;
	const struct reload_hooks *hooks;
	void *ctx;
	struct event *signal;
	int busy, again, gone; /* again: SIGHUP came while one was under way; gone: the job frees */
	struct config next;
	struct tls tls;
	void *loaded;
	struct err err;
};

/* ---- reading ---- */

static int read_words(int argc, char **argv, struct asked *asked, struct err *e)
{
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "-t"))
			asked->test = 1;
		else if (!strcmp(argv[i], "-T"))
			asked->print = 1;
		else if (!strcmp(argv[i], "-c") && i + 1 < argc)
			asked->file = argv[++i];
		else if (!strcmp(argv[i], "-c"))
			return err_set(e, ERR_USAGE, "-c needs a file: -c FILE");
		else if (strncmp(argv[i], "--", 2))
			return err_set(e, ERR_USAGE, "%s is not an option; see obscurad %s --help", argv[i],
				       argv[1]);
	}
	return 0;
}

/* Flags win over the file, so the file is read first. */
int config_read(struct config *c, char letter, int argc, char **argv, struct asked *asked, struct err *e)
{
	*asked = (struct asked){0};
	if (config_defaults(c, letter, e))
		return -1;
	if (read_words(argc, argv, asked, e) || (asked->file && config_file(c, asked->file, e)))
		goto fail;
	for (int i = 2; i < argc; i++)
		if (!strncmp(argv[i], "--", 2) && config_flag(c, argv[i], e))
			goto fail;
	if (!config_check(c, e))
		return 0;
fail:
	config_free(c);
	return -1;
}

void reload_source(struct config *live, int argc, char **argv)
{
	source.live = live;
	source.argc = argc;
	source.argv = argv;
}

/* ---- one reload ---- */

static void start(struct reload *r);

static void discard(struct reload *r)
{
	if (r->loaded)
		r->hooks->drop(r->loaded);
	r->loaded = NULL;
	tls_free(&r->tls);
	config_free(&r->next);
}

static void finish(struct reload *r)
{
	r->busy = 0;
	if (!r->again)
		return;
	r->again = 0;
	start(r);
}

static void refuse(struct reload *r)
{
	char place[400];

	if (r->next.role) /* it was read, but what it names is bad; otherwise the reason has its place */
		err_context(&r->err, "%s", config_place(&r->next, r->err.text, place, sizeof(place)));
	log_line(LOG_ERR, "reload: %s; nothing has changed", r->err.text);
	notify("READY=1\nSTATUS=The new configuration is refused: %.300s", r->err.text);
	discard(r);
	finish(r);
}

/* Everything is there: it comes into force in one step of the loop. */
static void commit(struct reload *r)
{
	void *loaded = r->loaded;
	char kept[300];
	int identity;

	r->loaded = NULL;
	if (config_adopt(source.live, &r->next, kept, sizeof(kept)))
		log_line(LOG_WARNING, "reload: restart for the new values of: %s", kept);
	identity = net_take_tls(r->net, &r->tls);
	log_open(source.live->log_level, frame_role_name(frame_role(source.argv[1])));
	r->hooks->take(r->ctx, loaded, identity);
	discard(r);
	log_line(LOG_INFO, "reload: the new configuration is in force%s",
		 identity ? ", with a new certificate" : "");
	notify("READY=1\nSTATUS=Reloaded");
	finish(r);
}

static void load_run(struct job *job)
{
	struct reload *r = (struct reload *)job;

	if (r->hooks->load)
		r->loaded = r->hooks->load(r->ctx, &r->next, &r->err);
}

static void load_done(struct job *job)
{
	struct reload *r = (struct reload *)job;

	if (r->gone) {
		discard(r);
		free(r);
	} else if (r->err.code) {
		refuse(r);
	} else {
		commit(r);
	}
}

static void start(struct reload *r)
{
	const struct host *host = net_host(r->net);
	struct asked asked;

	r->busy = 1;
	r->err = (struct err){0};
	r->next = (struct config){0};
	notify_reloading();
	if (config_read(&r->next, source.live->role, source.argc, source.argv, &asked, &r->err) ||
	    net_read_tls(r->net, &r->next, &r->tls, &r->err)) {
		refuse(r);
		return;
	}
	host->submit(host->ctx, &r->job);
}

static void on_hangup(evutil_socket_t fd, short what, void *ctx)
{
	struct reload *r = ctx;

	if (net_stopping(r->net))
		return;
	if (r->busy)
		r->again = 1;
	else
		start(r);
}

/* ---- life ---- */

int reload_new(struct reload **reload, struct net *net, const struct reload_hooks *hooks, void *ctx,
	       struct err *e)
{
	struct reload *r = calloc(1, sizeof(*r));

	*reload = NULL;
	if (!r)
		return err_set(e, ERR_ENV, "out of memory");
	r->job = (struct job){.run = load_run, .done = load_done};
	r->net = net;
	r->hooks = hooks;
	r->ctx = ctx;
	if (source.live)
		r->signal = evsignal_new(net_base(net), SIGHUP, on_hangup, r);
	if (source.live && (!r->signal || event_add(r->signal, NULL))) {
		reload_free(r);
		return err_set(e, ERR_ENV, "cannot listen for signals");
	}
	*reload = r;
	return 0;
}

void reload_free(struct reload *r)
{
	if (!r)
		return;
	if (r->signal)
		event_free(r->signal);
	r->signal = NULL;
	if (r->busy)
		r->gone = 1;
	else
		free(r);
}
