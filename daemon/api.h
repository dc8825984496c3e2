/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/api.h — the data owner's HTTP API: the Open Inference Protocol v2 (REST) with the extensions
 * binary_tensor_data and classification, and the page for people. It carries clear pictures: it is the data
 * owner's own, on a Unix socket, on loopback, or with a token. */
#ifndef OBSCURA_DAEMON_API_H
#define OBSCURA_DAEMON_API_H

#include "daemon/data_owner.h"
#include "daemon/decoder.h"

struct api;
/* Listens on config->http_socket and config->http_listen. decoder: borrowed. */
int api_new(struct api **a, struct net *net, struct data_owner *d, struct decoder *decoder,
	    const struct config *config, struct err *e) MUST_USE;
/* config has changed: limits and the token are taken from it. */
void api_reload(struct api *a);
/* Nothing new is accepted; what is under way is answered. */
void api_stop(struct api *a);
/* Before data_owner_free, which answers what waits. NULL is allowed. */
void api_end(struct api *a);
/* After data_owner_free and net_drain. NULL is allowed. */
void api_free(struct api *a);

#endif
