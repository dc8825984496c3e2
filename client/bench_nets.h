/* SPDX-License-Identifier: Apache-2.0 */
/* client/bench_nets.h — the networks A to D that the literature measures, with random weights, as ONNX files.
 */
#ifndef OBSCURA_CLIENT_BENCH_NETS_H
#define OBSCURA_CLIENT_BENCH_NETS_H

#include <stdint.h>
#include "conf/err.h"

/* Writes network 'A', 'B', 'C' or 'D' (input 1×28×28, 10 classes); the same seed gives the same file. */
int bench_net_write(const char *path, char network, uint64_t seed, struct err *e) MUST_USE;

#endif
