/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/metrics.h — numbers about this process, as Prometheus reads them; metrics.def lists all. Only the
 * loop's thread calls this. Labels are names of models, roles and classes of errors: never a secret, never a
 * picture. */
#ifndef OBSCURA_DAEMON_METRICS_H
#define OBSCURA_DAEMON_METRICS_H

#include <stddef.h>

enum metric {
#define METRIC(kind, name, roles, labels, help) METRIC_##name,
#include "daemon/metrics.def"
#undef METRIC
	METRICS
};

/* Once, at start; forgets all before. role: 'D', 'M' or 'C'. */
void metrics_open(char role);

/* Values of the labels, in the order of metrics.def. */
#define METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__})
#define METRIC_NO_LABELS ((const char *const *)0)

void metrics_add(enum metric m, double n, const char *const *labels);
/* Of a gauge, or of a counter that somebody else counts. */
void metrics_set(enum metric m, double value, const char *const *labels);
void metrics_observe(enum metric m, double seconds, const char *const *labels);
/* Forgets the series of a gauge, before those that are there now are set. */
void metrics_clear(enum metric m);

/* All of the role's metrics in text format 0.0.4. Returns new (free); NULL when memory is short. */
char *metrics_text(size_t *bytes);

#endif
