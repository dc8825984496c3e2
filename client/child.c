/* SPDX-License-Identifier: Apache-2.0 */
#include "client/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int child_beside(char *path, size_t bytes, const char *program, struct err *e)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return err_set(e, ERR_ENV, "cannot find this program's own file: %s", strerror(errno));
	self[n] = 0;
	slash = strrchr(self, '/');
	if (!slash || (size_t)snprintf(path, bytes, "%.*s/%s", (int)(slash - self), self, program) >= bytes)
		return err_set(e, ERR_ENV, "the path of this program is too long");
	return 0;
}

static void redirect(int fd, int to)
{
	int null = fd < 0 ? open("/dev/null", O_WRONLY) : fd;

	if (null >= 0)
		dup2(null, to);
}

int child_start(pid_t *pid, char *const argv[], int out, int err, struct err *e)
{
	pid_t parent = getpid();

	*pid = fork();
	if (*pid < 0) {
		*pid = 0;
		return err_set(e, ERR_ENV, "cannot start %s: %s", argv[0], strerror(errno));
	}
	if (*pid)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(ERR_ENV);
	redirect(-1, STDIN_FILENO);
	redirect(err, STDERR_FILENO); /* first: err may be our standard output */
	redirect(out, STDOUT_FILENO);
	execv(argv[0], argv);
	_exit(ERR_ENV);
}

int child_alive(pid_t pid)
{
	siginfo_t info = {0};

	return pid > 0 && !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid;
}

void child_stop(pid_t *pid, unsigned ms)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGTERM);
	for (; child_alive(*pid) && ms; ms = ms > 10 ? ms - 10 : 0)
		nanosleep(&(struct timespec){0, 10000000}, NULL);
	if (child_alive(*pid))
		kill(*pid, SIGKILL);
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	*pid = 0;
}

int child_wait(pid_t *pid, const char *what, struct err *e)
{
	int status = 0;

	while (waitpid(*pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, ERR_ENV, "cannot wait for %s: %s", what, strerror(errno));
	*pid = 0;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status))
		return err_set(e, ERR_ENV, "%s was ended by signal %d", what, WTERMSIG(status));
	return err_set(e, WEXITSTATUS(status) <= ERR_ENV ? (enum err_code)WEXITSTATUS(status) : ERR_ENV,
		       "%s failed (exit code %d)", what, WEXITSTATUS(status));
}
