/* SPDX-License-Identifier: Apache-2.0 */
/* What root can do to a simulated enclave, as docs/ENCLAVE.md admits: make the process run code of ours,
 * which copies its secret memory to where it can be read.
 *
 * inject PID PATTERN   first a plain read of the secret memory, which must fail; then bytes are carried out
 * by injected code until PATTERN is found. 0 found, 1 not found, 2 the attempt itself failed. inject PID only
 * attaches, as a debugger does, until it is ended. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK 65536ul
#define BELOW 8192ul	   /* bytes under the stack pointer that stay untouched */
#define MOST (256ul << 20) /* bytes of secret memory that are searched */
#define COPY 0xcca4f3ul	   /* rep movsb; int3 */
#define SECRET "secretmem" /* what the kernel calls it in /proc/PID/maps */

static pid_t pid;
static int memory;

static int fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	return 2;
}

static int open_proc(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Where secret memory lies; 0 when there is none. */
static unsigned long find_secret(unsigned long *bytes)
{
	char line[512];
	unsigned long from = 0, to = 0;
	FILE *f = fdopen(open_proc("maps"), "r");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, SECRET) && sscanf(line, "%lx-%lx", &from, &to) == 2)
			break;
	*bytes = to - from < MOST ? to - from : MOST;
	return f && !feof(f) ? from : 0;
}

/* The program's first instruction: no thread comes there again. */
static unsigned long find_entry(void)
{
	Elf64_auxv_t all[64];
	int fd = open_proc("auxv");
	ssize_t n = read(fd, all, sizeof(all));

	close(fd);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(*all); i++)
		if (all[i].a_type == AT_ENTRY)
			return all[i].a_un.a_val;
	return 0;
}

static int plain_read(unsigned long at)
{
	uint8_t bytes[64];

	errno = 0;
	if (pread(memory, bytes, sizeof(bytes), (off_t)at) > 0)
		return 1;
	ptrace(PTRACE_PEEKDATA, pid, at, NULL);
	return errno == 0;
}

/* One piece of secret memory onto the stack by code that runs in the process, from there to us. */
static int carry(const struct user_regs_struct *start, unsigned long entry, unsigned long at, uint8_t *out)
{
	struct user_regs_struct r = *start;
	unsigned long to = (start->rsp - BELOW - CHUNK) & ~15ul;
	int status;

	r.rip = entry;
	r.rsi = at;
	r.rdi = to;
	r.rcx = CHUNK;
	r.eflags &= ~0x400ul; /* forwards */
	r.orig_rax = ~0ul;    /* the system call that was interrupted is not begun again here */
	if (ptrace(PTRACE_SETREGS, pid, NULL, &r) || ptrace(PTRACE_CONT, pid, NULL, NULL) ||
	    waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP)
		return -1;
	return pread(memory, out, CHUNK, (off_t)to) == (ssize_t)CHUNK ? 0 : -1;
}

static int search(const char *pattern, unsigned long secret, unsigned long bytes, unsigned long entry)
{
	static uint8_t piece[CHUNK];
	struct user_regs_struct start;
	size_t n = strlen(pattern);
	int result = 1;
	long was;

	errno = 0;
	was = ptrace(PTRACE_PEEKTEXT, pid, entry, NULL);
	if (errno || ptrace(PTRACE_GETREGS, pid, NULL, &start) ||
	    ptrace(PTRACE_POKETEXT, pid, entry, (was & ~0xfffffffful) | COPY | 0x90000000ul))
		return fail("cannot write code into the process");
	for (unsigned long at = 0; result == 1 && at + CHUNK <= bytes; at += CHUNK - n) {
		if (carry(&start, entry, secret + at, piece)) {
			result = fail("the injected code did not run to its end");
		} else if (memmem(piece, CHUNK, pattern, n)) {
			printf("injected code carried \"%s\" out of secret memory\n", pattern);
			result = 0;
		}
	}
	ptrace(PTRACE_POKETEXT, pid, entry, was);
	ptrace(PTRACE_SETREGS, pid, NULL, &start);
	return result;
}

static int attach(void)
{
	int status;

	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) || waitpid(pid, &status, __WALL) != pid)
		return fail("cannot attach");
	return 0;
}

/* The process runs on under our eyes. */
static int watch(void)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return fail("cannot attach");
	puts("attached");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	unsigned long secret, bytes, entry;
	int result;

	if (argc < 2 || argc > 3)
		return 2;
	pid = atoi(argv[1]);
	if (argc == 2)
		return watch();
	memory = open_proc("mem");
	secret = find_secret(&bytes);
	entry = find_entry();
	if (memory < 0 || !secret || !entry)
		return fail("this process has no secret memory, or we may not look");
	if (attach())
		return 2;
	puts(plain_read(secret) ? "plain read succeeded" : "plain read refused");
	result = search(argv[2], secret, bytes, entry);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	return result;
}
