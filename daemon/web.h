/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/web.h — the files of the page, in the binary: build/gen/web.c, which daemon/web/embed.sh makes of
 * daemon/web/. */
#ifndef OBSCURA_DAEMON_WEB_H
#define OBSCURA_DAEMON_WEB_H

#include <stddef.h>

struct web_file {
	const char *path, *type;
	const unsigned char *bytes;
	size_t n;
};
extern const struct web_file web_files[];
extern const size_t web_count;

#endif
