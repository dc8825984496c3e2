/* SPDX-License-Identifier: Apache-2.0 */
/* test/fuzz/seeds.h — puts files of the shared evidence, if it is here, into the fuzzer's first corpus
 * folder, behind a first byte that the target reads as a choice. */
#ifndef OBSCURA_TEST_FUZZ_SEEDS_H
#define OBSCURA_TEST_FUZZ_SEEDS_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct seed {
	uint8_t choice;
	const char *path;
};

static inline const char *seeds_folder(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (*argv[i] != '-')
			return argv[i];
	return NULL;
}

static inline void seed_copy(const char *folder, const struct seed *s)
{
	const char *shared = getenv("OBSCURA_SHARED");
	static uint8_t bytes[1 << 17];
	char path[600];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/data/attestation/%s", shared ? shared : "../shared", s->path);
	f = fopen(path, "rb");
	if (!f)
		return;
	n = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	snprintf(path, sizeof(path), "%s/seed-%u-%s", folder, s->choice, s->path);
	for (char *p = path + strlen(folder) + 1; *p; p++)
		if (*p == '/')
			*p = '-';
	f = fopen(path, "wb");
	if (!f)
		return;
	fputc(s->choice, f);
	fwrite(bytes, 1, n, f);
	fclose(f);
}

static inline void seeds_copy(int argc, char **argv, const struct seed *seeds, size_t n)
{
	const char *folder = seeds_folder(argc, argv);
	struct stat s;

	if (!folder || stat(folder, &s) || !S_ISDIR(s.st_mode))
		return;
	for (size_t i = 0; i < n; i++)
		seed_copy(folder, &seeds[i]);
}

#define SEEDS(argc, argv, seeds) seeds_copy(*(argc), *(argv), seeds, sizeof(seeds) / sizeof(*(seeds)))

#endif
