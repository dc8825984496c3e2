/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/status_json.h"

#include "daemon/json.h"

struct json_object *status_peer(const Wire__Peer *p)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "role", p->role);
	json_text(o, "name", p->name);
	json_text(o, "address", p->address);
	json_text(o, "state", p->state);
	json_text(o, "error", p->error);
	return o;
}

struct json_object *status_pool(const Wire__Pool *p)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "model", p->model);
	json_text(o, "personality", p->personality);
	json_text(o, "mode", p->mode);
	json_text(o, "reveal", p->reveal);
	json_text(o, "peer", p->peer);
	json_text(o, "state", p->state);
	json_count(o, "depth", p->depth);
	json_count(o, "high", p->high);
	json_count(o, "bytes", p->bytes);
	json_count(o, "made", p->made);
	json_count(o, "burnt", p->burnt);
	json_count(o, "due", p->due);
	json_real(o, "burn_rate", p->burn_rate);
	return o;
}
