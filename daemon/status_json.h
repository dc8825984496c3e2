/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/status_json.h — parts of a data owner's status as JSON: for `obscura status` and the page. */
#ifndef OBSCURA_DAEMON_STATUS_JSON_H
#define OBSCURA_DAEMON_STATUS_JSON_H

#include <json-c/json.h>

#include "wire.pb-c.h"

struct json_object *status_peer(const Wire__Peer *p);
struct json_object *status_pool(const Wire__Pool *p);

#endif
