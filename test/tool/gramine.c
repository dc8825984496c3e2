/* SPDX-License-Identifier: Apache-2.0 */
/* gramine DIR [MS] — what Gramine has in /dev/attestation, made of named pipes in DIR/attestation: SGX quotes
 * by an Intel of our own, whose root is written to DIR/root.der. Each takes MS milliseconds, as hardware takes
 * its time. Prints a line for each quote. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "test/crypto/attest/make_dcap.h"

static struct make_dcap intel;
static char question[600], answer[600];

static void make_intel(const char *dir)
{
	struct span der;
	char path[600];
	FILE *f;

	make_dcap_now(&intel);
	make_dcap_kind(&intel, 3, 0, 0);
	der = make_der(&intel.root);
	snprintf(path, sizeof(path), "%s/root.der", dir);
	f = fopen(path, "w");
	make_must(f && fwrite(der.p, 1, der.n, f) == der.n && !fclose(f));
	make_free(&der);
}

static void make_files(const char *dir)
{
	char path[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/attestation", dir);
	make_must(!mkdir(path, 0755));
	snprintf(question, sizeof(question), "%s/attestation/user_report_data", dir);
	snprintf(answer, sizeof(answer), "%s/attestation/quote", dir);
	make_must(!mkfifo(question, 0600) && !mkfifo(answer, 0600));
	snprintf(path, sizeof(path), "%s/attestation/attestation_type", dir);
	f = fopen(path, "w");
	make_must(f && fputs("dcap", f) >= 0 && !fclose(f));
}

static void one(long ms)
{
	const struct timespec slow = {ms / 1000, ms % 1000 * 1000000};
	int fd = open(question, O_RDONLY);
	uint8_t data[64];

	make_must(fd >= 0 && read(fd, data, sizeof(data)) == (ssize_t)sizeof(data));
	close(fd);
	memcpy(intel.body + 320, data, 64);
	make_quote(&intel);
	nanosleep(&slow, NULL);
	fd = open(answer, O_WRONLY);
	make_must(fd >= 0 && write(fd, intel.quote, intel.n) == (ssize_t)intel.n);
	close(fd);
	puts("quote");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc != 2 && argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	make_intel(argv[1]);
	make_files(argv[1]);
	puts("ready");
	fflush(stdout);
	for (;;)
		one(argc == 3 ? atol(argv[2]) : 0);
}
