/* SPDX-License-Identifier: Apache-2.0 */
/* client/link_parts.h — network devices of the current namespace: for link_net.c alone. */
#ifndef OBSCURA_CLIENT_LINK_PARTS_H
#define OBSCURA_CLIENT_LINK_PARTS_H

#include "client/link_net.h"

/* ---- link_tun.c ---- */
int device_up(const char *name, struct err *e) MUST_USE;
/* A TUN device "link0" with 10.77.0.x/24, up; packets of up to gso bytes. Returns its file, −1: failed. */
int tun_new(uint32_t address, uint32_t gso, struct err *e) MUST_USE;

/* ---- link_veth.c: with ip(8) and tc(8) ---- */
int veth_has_netem(void);
/* A pair of devices between every two roles, each end with its queue: netem, or tbf. We are home after it. */
int veth_mesh(const struct link_net *n, int netem, struct err *e) MUST_USE;

#endif
