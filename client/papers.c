/* SPDX-License-Identifier: Apache-2.0 */
#include "client/papers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct paper papers[PAPERS] = {
    {"model_x", "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
     "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
     "{\"scale\":255,\"mean\":[0.1307],\"std\":[0.3081]}"},
    {"model_y", "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
     "mnist/t10k-images-idx3-ubyte.gz", "mnist/t10k-labels-idx1-ubyte.gz",
     "{\"scale\":255,\"mean\":[0.1307],\"std\":[0.3081]}"},
    {"model_z", "malaria/original", "malaria/original.txt", "malaria/images.npy", "malaria/labels.npy",
     "{\"scale\":255,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"labels\":[\"parasitized\",\"uninfected\"]"
     "}"},
};

const char *papers_folder(const char *asked)
{
	const char *set = getenv("OBSCURA_SHARED");

	return asked ? asked : set ? set : "../shared";
}

static int write_json(const char *path, const char *json, struct err *e)
{
	FILE *f = fopen(path, "we");
	int failed = !f || fputs(json, f) < 0;

	if (f && fclose(f))
		failed = 1;
	return failed ? err_set(e, ERR_ENV, "cannot write %s: %s", path, strerror(errno)) : 0;
}

int paper_model(char file[PATH_MAX], const struct paper *p, const char *shared, const char *folder,
		struct err *e)
{
	char from[PATH_MAX], whole[PATH_MAX], json[PATH_MAX];

	if ((size_t)snprintf(from, sizeof(from), "%s/data/models/%s.onnx", shared, p->model) >=
		sizeof(from) ||
	    !realpath(from, whole))
		return 0;
	snprintf(file, PATH_MAX, "%s/%s.onnx", folder, p->model);
	snprintf(json, sizeof(json), "%s/%s.json", folder, p->model);
	if (write_json(json, p->json, e))
		return -1;
	if (symlink(whole, file))
		return err_set(e, ERR_ENV, "cannot write %s: %s", file, strerror(errno));
	return 1;
}
