/* SPDX-License-Identifier: Apache-2.0 */
/* configfs-tsm (Linux 6.7): a directory for each request, so that nobody else's request mixes with ours;
 * generation counts every write, so that it is seen if somebody's does.
 * Source: Documentation/ABI/testing/configfs-tsm-report. */
#include "daemon/enclave_quote.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/enclave_wire.h"

#define FOLDER "/sys/kernel/config/tsm/report"
#define TRIES 5
#define PAUSE_MS 20
#define AGAIN 1 /* beside 0 and -1: another try may help */

struct request {
	const struct quote_host *h;
	char path[120];
	unsigned long long generation; /* what it must be now, if all writes are ours */
};

static int fail(int number, const char *file, const char *remedy, struct err *e)
{
	err_set(e, ERR_ENV, FOLDER "/…/%s: %s%s", file, strerror(number), remedy);
	return quote_passing(number) ? AGAIN : -1;
}

static const char *of(const struct request *r, const char *file, char path[160])
{
	snprintf(path, 160, "%s/%s", r->path, file);
	return path;
}

/* ---- the directory ---- */

static int begin(struct request *r, const struct quote_host *h, struct err *e)
{
	static atomic_uint count;
	char whole[400];
	int number;

	r->h = h;
	for (int i = 0; i < 100; i++) {
		snprintf(r->path, sizeof(r->path), FOLDER "/obscura-%d-%u", (int)getpid(),
			 atomic_fetch_add(&count, 1));
		snprintf(whole, sizeof(whole), "%s%s", h->root, r->path);
		if (!h->make_dir(whole, 0700))
			return 0;
		if (errno != EEXIST) /* of a process before us, with our number */
			break;
	}
	number = errno;
	err_set(e, ERR_ENV, FOLDER ": %s%s", strerror(number),
		number == ENOENT  ? " (no module tsm_report, or configfs not mounted)"
		: number == ENXIO ? " (no SEV-SNP or TDX guest, or no module sev-guest or tdx-guest)"
		: number == EACCES || number == EPERM ? " (needs root)"
						      : "");
	return quote_passing(number) ? AGAIN : -1;
}

static void end(const struct request *r)
{
	char whole[400];

	snprintf(whole, sizeof(whole), "%s%s", r->h->root, r->path);
	r->h->remove_dir(whole);
}

/* ---- attributes ---- */

static int read_number(const struct request *r, const char *file, unsigned long long *x, struct err *e)
{
	char path[160], text[32], *last;
	int number = quote_line(r->h, of(r, file, path), text, sizeof(text));

	if (number)
		return fail(number, file, "", e);
	errno = 0;
	*x = strtoull(text, &last, 10);
	return errno || last == text || *last ? err_set(e, ERR_ENV, FOLDER "/…/%s is no number", file) : 0;
}

static int check_generation(const struct request *r, struct err *e)
{
	unsigned long long now;
	int bad = read_number(r, "generation", &now, e);

	if (bad || now == r->generation)
		return bad;
	err_set(e, ERR_ENV, FOLDER ": somebody else writes into our request (generation %llu, expected %llu)",
		now, r->generation);
	return AGAIN;
}

static int put(struct request *r, const char *file, const void *p, size_t n, struct err *e)
{
	char path[160];
	int number = quote_write(r->h, of(r, file, path), p, n);

	if (number)
		return fail(number, file, "", e);
	r->generation++;
	return 0;
}

/* Under a service module at VMPL 0 (SVSM) the guest is at a higher number, and must say so. */
static int set_level(struct request *r, struct err *e)
{
	unsigned long long floor = 0;
	struct err unused = {0};
	char text[16];
	int n;

	if (read_number(r, "privlevel_floor", &floor, &unused) || !floor)
		return 0; /* TDX has no such levels */
	n = snprintf(text, sizeof(text), "%llu", floor);
	return put(r, "privlevel", text, (size_t)n, e);
}

static int kind_of(const struct request *r, struct quoted *out, struct err *e)
{
	char path[160], name[32];
	int number = quote_line(r->h, of(r, "provider", path), name, sizeof(name));

	if (number)
		return fail(number, "provider", "", e);
	out->kind = !strcmp(name, "sev_guest") ? ENCLAVE_SNP : !strcmp(name, "tdx_guest") ? ENCLAVE_DCAP : 0;
	return out->kind
		   ? 0
		   : err_set(e, ERR_ENV, FOLDER ": provider \"%s\" is neither sev_guest nor tdx_guest", name);
}

static int read_report(const struct request *r, struct quoted *out, struct err *e)
{
	char path[160];
	size_t n;
	int number = quote_read(r->h, of(r, "outblob", path), out->bytes, QUOTE_REPORT_MAX, &n);

	if (number)
		return fail(number, "outblob",
			    number == ENOTTY || number == EIO || number == ETIMEDOUT
				? "; the firmware or the host refused: see the kernel's log and the host's"
				: "",
			    e);
	if (!n)
		return err_set(e, ERR_ENV, FOLDER "/…/outblob is empty");
	out->report_n = (uint32_t)n;
	return 0;
}

/* The host may have none: then the client's policy must. */
static int read_certificates(const struct request *r, struct quoted *out, struct err *e)
{
	char path[160];
	uint8_t *table = malloc(QUOTE_TABLE_MAX);
	size_t n;
	int number, bad;

	if (!table)
		return err_set(e, ERR_ENV, "out of memory");
	number = quote_read(r->h, of(r, "auxblob", path), table, QUOTE_TABLE_MAX, &n);
	bad = number == ENOENT ? 0
	      : number	       ? fail(number, "auxblob", "", e)
			       : quote_snp_chain((struct span){table, n}, out, e);
	free(table);
	return bad;
}

/* ---- a request ---- */

static int question(struct request *r, const uint8_t data[64], struct quoted *out, struct err *e)
{
	int bad = kind_of(r, out, e);

	if (!bad)
		bad = read_number(r, "generation", &r->generation, e);
	if (!bad)
		bad = set_level(r, e);
	if (!bad)
		bad = put(r, "inblob", data, 64, e);
	if (!bad)
		bad = check_generation(r, e); /* it was taken in: closing the file does not say */
	if (!bad)
		bad = read_report(r, out, e);
	if (!bad && out->kind == ENCLAVE_SNP)
		bad = read_certificates(r, out, e);
	return bad ? bad : check_generation(r, e);
}

static int once(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e)
{
	struct request r = {0};
	int bad = begin(&r, h, e);

	if (bad)
		return bad;
	memset(out, 0, QUOTED_HEAD);
	bad = question(&r, data, out, e);
	end(&r);
	return bad;
}

int quote_tsm_probe(const struct quote_host *h, struct err *e)
{
	struct request r = {0};
	struct quoted head;
	int bad = begin(&r, h, e);

	if (bad)
		return -1;
	bad = kind_of(&r, &head, e);
	end(&r);
	return bad ? -1 : 0;
}

int quote_tsm_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e)
{
	int bad = once(h, data, out, e);

	for (int i = 1; bad == AGAIN && i < TRIES; i++) {
		h->pause(PAUSE_MS << i);
		memset(e, 0, sizeof(*e));
		bad = once(h, data, out, e);
	}
	return bad ? -1 : 0;
}
