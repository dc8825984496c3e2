/* SPDX-License-Identifier: Apache-2.0 */
/* scan PATTERN PID…: counts PATTERN in all that can be read of these processes' memory; prints PID, bytes
 * read and occurrences, one process a line. 0 when it was found nowhere, 1 when it was, 2 when nothing could
 * be read. PATTERN is given with its first byte as the next one, so that no copy of it stands in an argument:
 * "Qfoo" searches "Rfoo". */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1ul << 20)

static size_t occurrences(const uint8_t *p, size_t n, const char *pattern, size_t m)
{
	const uint8_t *end = p + n;
	size_t found = 0;

	while (p < end && (p = memmem(p, (size_t)(end - p), pattern, m))) {
		found++;
		p++;
	}
	return found;
}

/* One mapping, in pieces that overlap by a pattern. Pages that cannot be read are passed over. */
static void scan_range(int memory, unsigned long from, unsigned long to, const char *pattern,
		       size_t totals[2])
{
	static uint8_t piece[CHUNK];
	size_t m = strlen(pattern);

	while (from < to) {
		size_t want = to - from < CHUNK ? to - from : CHUNK;
		ssize_t n = pread(memory, piece, want, (off_t)from);

		if (n <= 0) {
			from = (from & ~4095ul) + 4096;
			continue;
		}
		totals[0] += (size_t)n;
		totals[1] += occurrences(piece, (size_t)n, pattern, m);
		from += (size_t)n > m && (size_t)n < to - from ? (size_t)n - m + 1 : (size_t)n;
	}
}

static int scan(const char *pid, const char *pattern, size_t totals[2])
{
	char path[64], line[512];
	unsigned long from, to;
	FILE *maps;
	int memory;

	snprintf(path, sizeof(path), "/proc/%.20s/mem", pid);
	memory = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%.20s/maps", pid);
	maps = fopen(path, "re");
	while (maps && memory >= 0 && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && !(from >> 63))
			scan_range(memory, from, to, pattern, totals);
	if (maps)
		fclose(maps);
	close(memory);
	return totals[0] ? 0 : -1;
}

int main(int argc, char **argv)
{
	int found = 0;

	if (argc < 3 || strlen(argv[1]) < 8)
		return 2;
	argv[1][0]++;
	for (int i = 2; i < argc; i++) {
		size_t totals[2] = {0, 0};

		if (scan(argv[i], argv[1], totals)) {
			fprintf(stderr, "scan: nothing of process %s can be read\n", argv[i]);
			return 2;
		}
		printf("%s %zu %zu\n", argv[i], totals[0], totals[1]);
		found |= totals[1] > 0;
	}
	return found;
}
