/* SPDX-License-Identifier: Apache-2.0 */
/* The table of quote providers, what they share, and the check that evidence answers the question. */
#include "daemon/enclave_quote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crypto/attest/quote.h"
#include "crypto/attest/sim.h"
#include "daemon/enclave_wire.h"

#define SNP_REPORT 0x4a0

/* "auto" goes from top to bottom. sim is never chosen by itself. */
static const struct quote_provider providers[] = {
    {"tsm", "guest of SEV-SNP or TDX, by configfs-tsm", 1, quote_tsm_probe, quote_tsm_get},
    {"sev-guest", "guest of SEV-SNP, by /dev/sev-guest", 1, quote_sev_guest_probe, quote_sev_guest_get},
    {"gramine", "SGX enclave in Gramine", 1, quote_gramine_probe, quote_gramine_get},
    {"sim", SIM_WORDS, 0, quote_sim_probe, quote_sim_get},
};
#define PROVIDERS (sizeof(providers) / sizeof(*providers))

/* ---- the machine ---- */

static int control(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

static void pause_ms(unsigned ms)
{
	const struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

const struct quote_host quote_host_linux = {"", mkdir, rmdir, read, close, control, pause_ms, NULL};

int quote_passing(int number)
{
	return number == EBUSY || number == EAGAIN || number == EINTR;
}

static int open_at(const struct quote_host *h, const char *path, int flags)
{
	char whole[512];

	if (snprintf(whole, sizeof(whole), "%s%s", h->root, path) >= (int)sizeof(whole)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(whole, flags | O_CLOEXEC);
}

int quote_read(const struct quote_host *h, const char *path, void *out, size_t room, size_t *n)
{
	int fd = open_at(h, path, O_RDONLY), number = 0;
	ssize_t got = 1;
	uint8_t more;

	*n = 0;
	if (fd < 0)
		return errno;
	while (!number && got > 0 && *n < room) {
		got = h->read(fd, (uint8_t *)out + *n, room - *n);
		number = got < 0 ? errno : 0;
		*n += got > 0 ? (size_t)got : 0;
	}
	if (!number && *n == room && h->read(fd, &more, 1) == 1)
		number = EFBIG;
	h->close(fd);
	return number;
}

/* configfs takes a binary attribute in when the file is closed, and then says nothing of errors: whoever
 * writes one must look at what became of it. */
int quote_write(const struct quote_host *h, const char *path, const void *p, size_t n)
{
	int fd = open_at(h, path, O_WRONLY), number = 0;
	ssize_t put;

	if (fd < 0)
		return errno;
	put = write(fd, p, n);
	if (put != (ssize_t)n)
		number = put < 0 ? errno : EIO;
	if (h->close(fd) && !number)
		number = errno;
	return number;
}

int quote_line(const struct quote_host *h, const char *path, char *out, size_t room)
{
	size_t n;
	int number = quote_read(h, path, out, room - 1, &n);

	out[number ? 0 : n] = 0;
	out[strcspn(out, "\n")] = 0;
	return number;
}

/* ---- choosing ---- */

static const struct quote_provider *first_that_works(const struct quote_host *h, struct err *e)
{
	char why[4 * sizeof(e->text)] = "";
	size_t n = 0;

	for (size_t i = 0; i < PROVIDERS; i++) {
		struct err one = {0};

		if (!providers[i].automatic)
			continue;
		if (!providers[i].probe(h, &one))
			return &providers[i];
		n += (size_t)snprintf(why + n, sizeof(why) - n, "%s: %.120s; ", providers[i].name, one.text);
	}
	err_set(e, ERR_ENV, "no trusted hardware here: %s--tee=sim simulates it: no hardware isolation", why);
	return NULL;
}

const struct quote_provider *quote_choose(const char *tee, const struct quote_host *h, struct err *e)
{
	if (!strcmp(tee, "auto"))
		return first_that_works(h, e);
	for (size_t i = 0; i < PROVIDERS; i++) {
		if (strcmp(tee, providers[i].name))
			continue;
		if (!providers[i].probe(h, e))
			return &providers[i];
		err_context(e, "--tee=%s", tee);
		return NULL;
	}
	err_set(e, ERR_USAGE, "--tee: \"%.40s\" is not auto, tsm, sev-guest, gramine or sim", tee);
	return NULL;
}

/* ---- asking ---- */

int quoted_whole(const struct quoted *q, size_t n)
{
	return n >= QUOTED_HEAD && q->report_n <= QUOTE_REPORT_MAX && q->chain_n <= QUOTE_CHAIN_MAX &&
	       n == QUOTED_HEAD + q->report_n + q->chain_n;
}

/* Where a quote's report data lie; it is cut to its size (kernels give whole buffers). */
static const uint8_t *dcap_data(struct quoted *q, struct err *e)
{
	struct attest_result r;
	struct quote parsed;

	memset(&r, 0, sizeof(r));
	if (quote_parse(&r, (struct span){q->bytes, q->report_n}, &parsed)) {
		err_set(e, ERR_ENV, "this is no quote: %s: %s", attest_verdict_name(r.verdict), r.detail);
		return NULL;
	}
	memmove(q->bytes + parsed.size, q->bytes + q->report_n, q->chain_n);
	q->report_n = (uint32_t)parsed.size;
	return parsed.body + (parsed.td ? 520 : 320);
}

static const uint8_t *sized_data(const struct quoted *q, size_t size, size_t at, struct err *e)
{
	if (q->report_n == size)
		return q->bytes + at;
	err_set(e, ERR_ENV, "a report of %u bytes, not %zu", q->report_n, size);
	return NULL;
}

static int check(struct quoted *q, const uint8_t data[64], struct err *e)
{
	const uint8_t *said = q->kind == ENCLAVE_DCAP  ? dcap_data(q, e)
			      : q->kind == ENCLAVE_SNP ? sized_data(q, SNP_REPORT, 0x50, e)
						       : sized_data(q, SIM_REPORT, 72, e);

	if (!said)
		return -1;
	return memcmp(said, data, 64) ? err_set(e, ERR_ENV, "its report data are not what was asked for") : 0;
}

int quote_get(const struct quote_provider *p, const struct quote_host *h, const uint8_t data[64],
	      struct quoted *out, struct err *e)
{
	memset(out, 0, QUOTED_HEAD);
	if (p->get(h, data, out, e) || check(out, data, e)) {
		err_context(e, "quote provider %s", p->name);
		return -1;
	}
	return 0;
}
