/* SPDX-License-Identifier: Apache-2.0 */
/* deny CALL[:ARGUMENT=VALUE]… -- COMMAND…: runs it and all its children where these system calls fail with
 * EPERM, as on a host that lacks the right or the feature. For root: no_new_privs stays as it is. */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int deny(scmp_filter_ctx filter, char *spec)
{
	char *argument = strchr(spec, ':');
	unsigned at = 0;
	unsigned long value = 0;
	int call;

	if (argument && sscanf(argument + 1, "%u=%lu", &at, &value) != 2)
		return -1;
	if (argument)
		*argument = 0;
	call = seccomp_syscall_resolve_name(spec);
	if (call == __NR_SCMP_ERROR)
		return -1;
	return argument ? seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 1,
					   SCMP_CMP(at, SCMP_CMP_EQ, value, 0))
			: seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int i = 1;

	if (!filter || seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0))
		return 2;
	for (; i < argc && strcmp(argv[i], "--"); i++)
		if (deny(filter, argv[i])) {
			fprintf(stderr, "deny: %s cannot be denied\n", argv[i]);
			return 2;
		}
	if (i + 1 >= argc || seccomp_load(filter)) {
		fputs("deny: the filter cannot be loaded\n", stderr);
		return 2;
	}
	execvp(argv[i + 1], argv + i + 1);
	perror("deny");
	return 2;
}
