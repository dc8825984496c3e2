/* SPDX-License-Identifier: Apache-2.0 */
/* The process that asks for evidence: measured launch, then one report a request, from the guest's hardware
 * or signed by the simulation's quoting key. */
#include "daemon/enclave.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "crypto/attest/sim.h"
#include "daemon/enclave_quote.h"

/* Bits that only the child can tell (it is measured, so its word counts), and those that only we can. All
 * others need both: a filter of system calls, for one, may be somebody else's that the child has inherited.
 */
#define TOLD (1u << SIM_LANDLOCK | 1u << SIM_SECRET_MEMORY)
#define SEEN (1u << SIM_NAMESPACES | 1u << SIM_NO_DEBUGGER)

struct quoter {
	const struct quote_provider *provider;
	struct quote_host host;
	struct quote_sim sim;
	uint8_t chain[ENCLAVE_CHAIN_MAX], measurement[48];
	int program; /* sealed memfd; after measuring nothing can change it */
	int measured;
	pid_t child;
	int ask;
};

static int read_file(const char *path, uint8_t *out, size_t room, size_t *n, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_INPUT, "cannot read %.300s: %s", path, strerror(errno));
	*n = fread(out, 1, room, f);
	fclose(f);
	return *n && *n < room ? 0 : err_set(e, ERR_INPUT, "%.300s is empty or too large", path);
}

static int read_key(struct quoter *q, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, ERR_INPUT, "cannot read the quoting key %.300s: %s", path, strerror(errno));
	q->sim.key = PEM_read_PrivateKey(f, NULL, NULL, (void *)"");
	fclose(f);
	return q->sim.key ? 0 : err_set(e, ERR_INPUT, "%.300s is no private key in PEM", path);
}

/* ---- measured launch ---- */

static int copy_self(int to)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat s;
	off_t at = 0;
	int ok = from >= 0 && !fstat(from, &s);

	while (ok && at < s.st_size)
		ok = sendfile(to, from, &at, (size_t)(s.st_size - at)) > 0;
	if (from >= 0)
		close(from);
	return ok ? 0 : -1;
}

static int hash_program(int fd, uint8_t out[48])
{
	struct stat s;
	void *p = MAP_FAILED;
	int ok;

	if (!fstat(fd, &s))
		p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	ok = p != MAP_FAILED && EVP_Digest(p, (size_t)s.st_size, out, NULL, EVP_sha384(), NULL);
	if (p != MAP_FAILED)
		munmap(p, (size_t)s.st_size);
	return ok ? 0 : -1;
}

/* Sealed first, hashed then: what is hashed is what will run. */
static int measure(struct quoter *q, struct err *e)
{
	q->program = memfd_create("obscura-enclave", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (q->program < 0 || copy_self(q->program) || fchmod(q->program, 0555))
		return err_set(e, ERR_ENV, "cannot copy the enclave's program: %s", strerror(errno));
	q->measured =
	    !fcntl(q->program, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return hash_program(q->program, q->measurement)
		   ? err_set(e, ERR_ENV, "cannot hash the enclave's program")
		   : 0;
}

/* Empty namespaces, and an empty, read-only root. What fails shows from outside and costs the measurement. */
static void isolate(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC))
		return;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/tmp", "tmpfs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, "size=4k") ||
	    chroot("/tmp") || chdir("/"))
		fprintf(stderr, "obscura-enclave: cannot give the child an empty root: %s\n",
			strerror(errno));
}

static void place(int from, int to)
{
	if (from == to)
		fcntl(to, F_SETFD, 0);
	else if (dup2(from, to) != to)
		_exit(ERR_ENV);
}

static void become_child(const struct quoter *q, int ask, int ca)
{
	static char name[] = "obscura-enclave", mode[] = "child";
	char *const argv[] = {name, mode, (char *)q->provider->name, NULL}, *const env[] = {NULL};
	int program = fcntl(q->program, F_DUPFD_CLOEXEC, 10), a = fcntl(ask, F_DUPFD_CLOEXEC, 10),
	    c = fcntl(ca, F_DUPFD_CLOEXEC, 10);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	place(ENCLAVE_FD_CONTROL, ENCLAVE_FD_CONTROL);
	place(a, ENCLAVE_FD_QUOTE);
	place(c, ENCLAVE_FD_CA);
	close_range(ENCLAVE_FD_CA + 1, 9, 0);
	isolate();
	syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH);
	fprintf(stderr, "obscura-enclave: cannot start the child: %s\n", strerror(errno));
	_exit(ERR_ENV);
}

static int launch(struct quoter *q, const char *ca_path, struct err *e)
{
	int ca = open(ca_path, O_RDONLY | O_CLOEXEC), pair[2];

	if (ca < 0)
		return err_set(e, ERR_INPUT, "cannot read %.300s: %s", ca_path, strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		close(ca);
		return err_set(e, ERR_ENV, "cannot make a socket: %s", strerror(errno));
	}
	q->child = fork();
	if (!q->child)
		become_child(q, pair[1], ca);
	close(ca);
	close(pair[1]);
	close(ENCLAVE_FD_CONTROL);
	q->ask = pair[0];
	return q->child < 0 ? err_set(e, ERR_ENV, "cannot start a process: %s", strerror(errno)) : 0;
}

/* ---- answers ---- */

static uint32_t hardening(const struct quoter *q, uint32_t told)
{
	uint32_t seen = enclave_observe(q->child);

	return (seen & told) | (seen & SEEN) | (told & TOLD) | (q->measured ? 1u << SIM_MEASURED : 0);
}

/* A question that gets no evidence is answered with the reason: the next one may do better. */
static void quote(struct quoter *q, const struct enclave_ask *ask, struct quoted *out)
{
	struct err e = {0};

	q->sim.hardening = q->sim.key ? hardening(q, ask->hardening) : 0;
	if (!quote_get(q->provider, &q->host, ask->report_data, out, &e))
		return;
	fprintf(stderr, "obscura-enclave: %s\n", e.text);
	out->kind = 0;
	out->report_n = (uint32_t)strlen(e.text);
	out->chain_n = 0;
	memcpy(out->bytes, e.text, out->report_n);
}

static int answer(struct quoter *q, struct err *e)
{
	static struct quoted out;
	struct enclave_ask ask;
	ssize_t n;

	do
		n = recv(q->ask, &ask, sizeof(ask), 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(ask))
		return err_set(e, ERR_ENV, "the child has ended");
	quote(q, &ask, &out);
	return send(q->ask, &out, QUOTED_HEAD + out.report_n + out.chain_n, MSG_NOSIGNAL) < 0
		   ? err_set(e, ERR_ENV, "the child has ended")
		   : 0;
}

static int read_simulation(struct quoter *q, const char *key, const char *chain, struct err *e)
{
	q->sim.chain.p = q->chain;
	q->sim.measurement = q->measurement;
	q->host.sim = &q->sim;
	return read_key(q, key, e) || read_file(chain, q->chain, sizeof(q->chain), &q->sim.chain.n, e) ? -1
												       : 0;
}

static int prepare(struct quoter *q, const char *tee, const char *ca, const char *key, const char *chain,
		   struct err *e)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	q->host = quote_host_linux;
	q->provider = quote_choose(tee, &q->host, e);
	return !q->provider || (key && read_simulation(q, key, chain, e)) || measure(q, e) || launch(q, ca, e)
		   ? -1
		   : 0;
}

int enclave_quoter_main(const char *tee, const char *ca, const char *key, const char *chain)
{
	static struct quoter q;
	struct err e = {0};
	int status = 0;

	if (prepare(&q, tee, ca, key, chain, &e)) {
		fprintf(stderr, "obscura-enclave: %s\n", e.text);
		return e.code;
	}
	while (!answer(&q, &e))
		;
	if (waitpid(q.child, &status, 0) == q.child && WIFSIGNALED(status))
		fprintf(stderr, "obscura-enclave: the child was killed by signal %d%s\n", WTERMSIG(status),
			WTERMSIG(status) == SIGSYS ? " (a system call that is not on its list)" : "");
	EVP_PKEY_free(q.sim.key);
	return WIFEXITED(status) ? WEXITSTATUS(status) : ERR_ENV;
}
