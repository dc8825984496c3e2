/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that obscurad model-owner starts for the enclave. */
#include "daemon/enclave_front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/enclave.h"

/* Between fork and exec of a process with threads: system calls only. */
static void become(int control, const char *program, char *const argv[])
{
	int fd = fcntl(control, F_DUPFD, 10);

	if (fd < 0 || dup2(fd, ENCLAVE_FD_CONTROL) != ENCLAVE_FD_CONTROL)
		_exit(ERR_ENV);
	close_range(ENCLAVE_FD_CONTROL + 1, ~0u, 0);
	execv(program, argv);
	_exit(ERR_ENV);
}

static int beside_us(char *path, size_t bytes, const char *name)
{
	ssize_t n = readlink("/proc/self/exe", path, bytes - 1);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	return slash && (size_t)snprintf(slash + 1, bytes - (size_t)(slash + 1 - path), "%s", name) <
			    bytes - (size_t)(slash + 1 - path)
		   ? 0
		   : -1;
}

int enclave_spawn(const char *name, char *const argv[], int *ours, pid_t *pid, struct err *e)
{
	char program[1024];
	int pair[2];

	if (beside_us(program, sizeof(program), name) || access(program, X_OK))
		return err_set(e, ERR_ENV, "there is no %s beside obscurad (make install)", name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return err_set(e, ERR_ENV, "cannot make a socket: %s", strerror(errno));
	*ours = pair[0];
	*pid = fork();
	if (!*pid)
		become(pair[1], program, argv);
	close(pair[1]);
	return *pid < 0 ? err_set(e, ERR_ENV, "cannot start %s: %s", name, strerror(errno)) : 0;
}
