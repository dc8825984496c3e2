/* SPDX-License-Identifier: Apache-2.0 */
/* What the child can still do once it is hardened, and what kills it: each try in a process of its own. */
#include "daemon/enclave.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/attest/sim.h"
#include "test/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* sanitizers need system calls of their own */
#endif

static int data = 7;

static void *in_thread(void *arg)
{
	return arg;
}

static void threads(void)
{
	pthread_t t;
	void *got = NULL;

	if (pthread_create(&t, NULL, in_thread, &data) || pthread_join(t, &got) || got != &data)
		syscall(SYS_exit_group, 1);
}

static void memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p, 4096, PROT_READ))
		syscall(SYS_exit_group, 1);
}

static void new_code(void)
{
	syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void data_as_code(void)
{
	syscall(SYS_mprotect, (uintptr_t)&data & ~(uintptr_t)4095, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static void new_process(void)
{
	syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void new_user_space(void)
{
	syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void new_socket(void)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

/* How a hardened process ends that tries this. */
static int end_of(void (*try)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		if (!(enclave_harden() & 1u << SIM_SECCOMP))
			_exit(2);
		try();
		syscall(SYS_exit_group, 0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static void hardened_test(void **state)
{
	static void (*const good[])(void) = {threads, memory};
	static void (*const bad[])(void) = {new_code, data_as_code, new_process, new_user_space, new_socket};

	if (SANITIZED)
		skip();
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (end_of(good[i]))
			fail_msg("what serving needs is refused: %zu", i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int status = end_of(bad[i]);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("try %zu: status %#x, it should be killed by SIGSYS", i, status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(hardened_test)};

	return cmocka_run_group_tests_name("the enclave's hardening", tests, NULL, NULL);
}
