/* SPDX-License-Identifier: Apache-2.0 */
/* A child for one picture: no files, no network, 1 GiB, 20 s of processor, and only the system calls of
 * allowed[]. */
#include "daemon/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_MAX ((rlim_t)1 << 30) /* bytes beyond what the parent had mapped */
#define CPU_SECONDS 20
#define DEADLINE_MS 30000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED                                                                                            \
	0 /* sanitizers map terabytes and make calls of their own: there, limits and filter are partly off   \
	   */
#endif

/* What a decoder and the allocator need; mmap and mprotect only without PROT_EXEC. */
static const int allowed[] = {SCMP_SYS(read),	    SCMP_SYS(write),   SCMP_SYS(exit),
			      SCMP_SYS(exit_group), SCMP_SYS(brk),     SCMP_SYS(munmap),
			      SCMP_SYS(mremap),	    SCMP_SYS(madvise), SCMP_SYS(rt_sigreturn)};
static const int not_executable[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};

/* What goes through the pipe before the pixels. */
struct reply {
	struct err err;
	uint32_t failed, w, h, c;
};

static int filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
	int r = ctx ? 0 : -1;

	for (size_t i = 0; !r && !SANITIZED && i < sizeof(allowed) / sizeof(*allowed); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; !r && !SANITIZED && i < sizeof(not_executable) / sizeof(*not_executable); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, not_executable[i], 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!r)
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	return r;
}

/* Bytes mapped now: limits on address space are about the whole of it. */
static rlim_t mapped(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%lu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void limit(int what, rlim_t most)
{
	struct rlimit l = {most, most};

	setrlimit(what, &l);
}

int confine_enter(int only)
{
	limit(RLIMIT_CPU, CPU_SECONDS);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	if (!SANITIZED)
		limit(RLIMIT_AS, mapped() + MEMORY_MAX);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (only != CONFINE_FD && dup2(only, CONFINE_FD) < 0)
		return -1;
	for (int fd = 0; !SANITIZED && fd < CONFINE_FD; fd++)
		close(fd);
	if (close_range(CONFINE_FD + 1, ~0U, 0))
		return -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return filter();
}

int confine_put(const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t k = write(CONFINE_FD, at, n);

		if (k <= 0)
			return -1;
		at += k;
		n -= (size_t)k;
	}
	return 0;
}

static void __attribute__((noreturn)) child(int out, confine_decoder decode, const uint8_t *bytes, size_t n)
{
	struct reply r = {.failed = 1};
	struct image im = {0};

	if (confine_enter(out))
		err_set(&r.err, ERR_ENV,
			"cannot confine the decoder of pictures: this system refuses seccomp or rlimits");
	else
		r.failed = decode(&im, bytes, n, &r.err) != 0;
	r.w = im.w;
	r.h = im.h;
	r.c = im.c;
	if (!confine_put(&r, sizeof(r)) && !r.failed)
		confine_put(im.pixels, (size_t)im.w * im.h * im.c);
	_exit(0);
}

/* ---- the parent: trusts nothing of what comes ---- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* 0: all of it; -1: the child ended or took too long. */
static int get(int fd, void *p, size_t n, int64_t deadline)
{
	uint8_t *at = p;

	while (n) {
		struct pollfd wait = {fd, POLLIN, 0};
		int64_t left = deadline - now_ms();
		ssize_t k;

		if (left <= 0)
			return -1;
		if (poll(&wait, 1, (int)left) < 0 && errno != EINTR)
			return -1;
		if (!wait.revents)
			continue;
		k = read(fd, at, n);
		if (k == 0 || (k < 0 && errno != EINTR && errno != EAGAIN))
			return -1;
		if (k > 0) {
			at += k;
			n -= (size_t)k;
		}
	}
	return 0;
}

static int receive(struct image *im, int fd, struct err *e)
{
	int64_t deadline = now_ms() + DEADLINE_MS;
	struct reply r;

	if (get(fd, &r, sizeof(r), deadline))
		return -1;
	r.err.text[sizeof(r.err.text) - 1] = 0;
	if (r.failed)
		return err_set(e, r.err.code == ERR_ENV ? ERR_ENV : ERR_INPUT, "%s", r.err.text);
	if (r.c != 1 && r.c != 3)
		return -1;
	if (image_new(im, r.w, r.h, r.c, e))
		return -1;
	return get(fd, im->pixels, (size_t)r.w * r.h * r.c, deadline);
}

static int ended(pid_t pid, struct err *e)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return err_set(e, ERR_INPUT,
			       "refused: its decoder asked the system for something that no picture needs");
	if (WIFSIGNALED(status))
		return err_set(e, ERR_INPUT, "refused: its decoder was ended by signal %d (%s)",
			       WTERMSIG(status), strsignal(WTERMSIG(status)));
	return err_set(e, ERR_INPUT, "refused: its decoder ended without a picture");
}

int confine_decode(struct image *im, confine_decoder decode, const uint8_t *bytes, size_t n, struct err *e)
{
	int ends[2], r;
	pid_t pid;

	memset(im, 0, sizeof(*im));
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, ERR_ENV, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return err_set(e, ERR_ENV, "cannot fork a decoder: %s", strerror(errno));
	}
	if (!pid)
		child(ends[1], decode, bytes, n);
	close(ends[1]);
	r = receive(im, ends[0], e);
	close(ends[0]);
	if (r)
		kill(pid, SIGKILL);
	if (!r) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return 0;
	}
	image_free(im);
	return ended(pid, e);
}
