/* SPDX-License-Identifier: Apache-2.0 */
/* What the child gives up, on one page; and what the quoter sees of it. */
#include "daemon/enclave.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "crypto/attest/sim.h"

/* All that serving needs: bytes on sockets that were handed over, memory, threads, time, randomness. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(close),
    SCMP_SYS(shutdown),
    SCMP_SYS(poll),
    SCMP_SYS(munmap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
};

/* Sanitized builds keep the usual heap. */
__attribute__((weak)) int enclave_memory_secret(void)
{
	return 0;
}

static int missing(const char *what)
{
	fprintf(stderr, "obscura-enclave: cannot harden: %s: %s\n", what, strerror(errno));
	return 0;
}

static int drop_user(void)
{
	if (geteuid())
		return 0;
	return (!setgroups(0, NULL) && !setresgid(ENCLAVE_UID, ENCLAVE_UID, ENCLAVE_UID) &&
		!setresuid(ENCLAVE_UID, ENCLAVE_UID, ENCLAVE_UID)) ||
	       missing("own user");
}

/* A ruleset that handles every access and has no rule allows none. */
static int no_files(void)
{
	struct landlock_ruleset_attr all = {.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
	int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all.handled_access_fs), 0), ok;

	ok = fd >= 0 && !syscall(SYS_landlock_restrict_self, fd, 0);
	if (fd >= 0)
		close(fd);
	return ok || missing("Landlock");
}

/* What runs stays what was measured: no code is made, no process. clone3 hides its flags behind a pointer;
 * libc takes clone where there is none. */
static int no_code(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) ||
	       seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) ||
	       seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) ||
	       seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int few_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ok = filter != NULL;

	for (size_t i = 0; ok && i < sizeof(allowed) / sizeof(*allowed); i++)
		ok = !seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	/* threads' stacks ask for no guard names; an errno is answer enough */
	ok = ok && !no_code(filter) && !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 0) &&
	     !seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 0) &&
	     !seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOTTY), SCMP_SYS(ioctl), 0) && !seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return ok || missing("seccomp");
}

/* From here on nothing can be said on a standard error that is a file; trying must not end us. */
static void limits(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
}

uint32_t enclave_harden(void)
{
	uint32_t in_force = 0;

	if (drop_user())
		in_force |= 1u << SIM_OWN_UID;
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || missing("no new privileges"))
		in_force |= 1u << SIM_NO_NEW_PRIVS;
	if (!prctl(PR_SET_DUMPABLE, 0) || missing("not dumpable"))
		in_force |= 1u << SIM_NOT_DUMPABLE;
	if (no_files())
		in_force |= 1u << SIM_LANDLOCK;
	if (enclave_memory_secret())
		in_force |= 1u << SIM_SECRET_MEMORY;
	limits();
	if (few_calls())
		in_force |= 1u << SIM_SECCOMP;
	return in_force;
}

/* ---- from outside ---- */

static long status_number(const char *text, const char *name, int base)
{
	const char *at = strstr(text, name);
	long x = -1;

	if (at && sscanf(at + strlen(name), base == 10 ? "%ld" : "%lx", &x) != 1)
		x = -1;
	return x;
}

/* proc: the folder /proc/PID, here and below. No stdio, no opendir: a client waits, and their buffers cost as
 * much as the looking. */
static int other_space(int proc, const char *space)
{
	char path[64], own[64], its[64];
	ssize_t n, m;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", space);
	n = readlinkat(proc, path + strlen("/proc/self/"), its, sizeof(its));
	m = readlink(path, own, sizeof(own));
	return n > 0 && m > 0 && (n != m || memcmp(own, its, (size_t)n));
}

/* Its root is a read-only file system with nothing in it. */
static int empty_root(int proc)
{
	_Alignas(struct dirent64) char list[2048];
	struct statvfs f;
	ssize_t got;
	int root = openat(proc, "root/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;

	if (root < 0)
		return 0;
	while ((got = getdents64(root, list, sizeof(list))) > 0)
		for (ssize_t at = 0; at < got; at += ((struct dirent64 *)(list + at))->d_reclen) {
			const char *name = ((struct dirent64 *)(list + at))->d_name;

			n += strcmp(name, ".") && strcmp(name, "..");
		}
	if (got < 0 || fstatvfs(root, &f))
		n = -1;
	close(root);
	return !n && f.f_flag & ST_RDONLY;
}

/* Files in /proc of a process that is not dumpable belong to root, whoever runs it. */
static int not_dumpable(int proc)
{
	struct stat s;

	return !fstatat(proc, "mem", &s, 0) && !s.st_uid;
}

/* "" when it cannot be read. */
static void read_status(int proc, char *text, size_t room)
{
	int fd = openat(proc, "status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, room - 1); /* the kernel gives all of it at once */

	text[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

static uint32_t observe(int proc)
{
	char text[4096];
	uint32_t seen = 0;

	read_status(proc, text, sizeof(text));
	if (status_number(text, "\nTracerPid:", 10) == 0)
		seen |= 1u << SIM_NO_DEBUGGER;
	if (status_number(text, "\nNoNewPrivs:", 10) == 1)
		seen |= 1u << SIM_NO_NEW_PRIVS;
	if (status_number(text, "\nSeccomp:", 10) == 2)
		seen |= 1u << SIM_SECCOMP;
	if (status_number(text, "\nUid:", 10) == ENCLAVE_UID && status_number(text, "\nCapEff:", 16) == 0) {
		seen |= 1u << SIM_OWN_UID;
		if (not_dumpable(proc))
			seen |= 1u << SIM_NOT_DUMPABLE;
	}
	if (other_space(proc, "net") && other_space(proc, "mnt") && other_space(proc, "ipc") &&
	    empty_root(proc))
		seen |= 1u << SIM_NAMESPACES;
	return seen;
}

uint32_t enclave_observe(pid_t child)
{
	char path[64];
	uint32_t seen;
	int proc;

	snprintf(path, sizeof(path), "/proc/%d", (int)child);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return 0;
	seen = observe(proc);
	close(proc);
	return seen;
}
