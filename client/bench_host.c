/* SPDX-License-Identifier: Apache-2.0 */
#include "client/bench_host.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "client/json.h"
#include "crypto/cpu.h"

/* ---- processes ---- */

/* "VmHWM:   1234 kB" of /proc/PID/status. */
static uint64_t peak_of(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %llu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb << 10;
}

static int add_process(struct usage *u, enum used_by who, pid_t pid, struct err *e)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		return err_set(e, ERR_ENV, "cannot read the processor time of process %d: has it ended?",
			       (int)pid);
	u->cpu[who] += (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
	u->peak[who] += peak_of(pid);
	return 0;
}

/* The processes that a process has started: a model owner's enclave. */
static int add_children(struct usage *u, enum used_by who, pid_t parent, struct err *e)
{
	char path[64];
	int child, failed = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	f = fopen(path, "re");
	while (f && !failed && fscanf(f, "%d", &child) == 1)
		failed = add_process(u, who, child, e) || add_children(u, who, child, e);
	if (f)
		fclose(f);
	return failed;
}

int usage_read(struct usage *u, const struct roles *r, struct err *e)
{
	memset(u, 0, sizeof(*u));
	for (size_t i = 0; i < r->n_owners; i++)
		if (add_process(u, USED_DATA_OWNER, r->data_owners[i], e))
			return -1;
	return add_process(u, USED_MODEL_OWNER, r->model_owner, e) ||
		       (*r->enclave_at && add_children(u, USED_MODEL_OWNER, r->model_owner, e)) ||
		       (r->provider && add_process(u, USED_PROVIDER, r->provider, e)) ||
		       add_process(u, USED_DRIVER, getpid(), e)
		   ? -1
		   : 0;
}

/* ---- this host ---- */

/* The value of the first line "name   : value" of a file; "" when there is none. */
static void value_of(const char *path, const char *name, char *out, size_t bytes)
{
	size_t n = strlen(name);
	char line[200];
	FILE *f = fopen(path, "re");

	*out = 0;
	while (f && !*out && fgets(line, sizeof(line), f)) {
		const char *at = strchr(line, ':'); /* lines that are longer come in parts */

		line[strcspn(line, "\n")] = 0;
		if (!n)
			snprintf(out, bytes, "%s", line);
		else if (!strncmp(line, name, n) && at)
			snprintf(out, bytes, "%s", at + 1 + strspn(at + 1, " \t"));
	}
	if (f)
		fclose(f);
}

/* What a command prints, its first line. */
static void output_of(const char *command, char *out, size_t bytes)
{
	FILE *f = popen(command, "re");

	*out = 0;
	if (f && fgets(out, (int)bytes, f))
		out[strcspn(out, "\n")] = 0;
	if (f)
		pclose(f);
}

static void add_date(struct json_object *o)
{
	char text[32];
	time_t now = time(NULL);
	struct tm tm;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	json_text(o, "date", text);
}

struct json_object *host_conditions(void)
{
	struct json_object *o = json_object_new_object(), *loads = json_object_new_array();
	struct utsname u = {0};
	double load[3] = {0};
	char text[256];

	uname(&u);
	json_text(o, "kind", "conditions");
	add_date(o);
	snprintf(text, sizeof(text), "%s %s %s", u.sysname, u.release, u.machine);
	json_text(o, "kernel", text);
	value_of("/proc/cpuinfo", "model name", text, sizeof(text));
	json_text(o, "processor", text);
	json_count(o, "cores", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
	json_text(o, "tier", cpu_name(cpu_tier()));
	value_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "", text, sizeof(text));
	json_text(o, "governor", *text ? text : NULL);
	value_of("/proc/sys/net/ipv4/tcp_congestion_control", "", text, sizeof(text));
	json_text(o, "congestion_control", text);
	if (getloadavg(load, 3) == 3)
		for (int i = 0; i < 3; i++)
			json_object_array_add(loads, json_real_new(round(load[i] * 100) / 100));
	json_object_object_add(o, "load", loads);
	json_text(o, "compiler", "gcc " __VERSION__);
	output_of("git describe --always --dirty --abbrev=12 2>/dev/null", text, sizeof(text));
	json_text(o, "commit", *text ? text : NULL);
	return o;
}
