/* SPDX-License-Identifier: Apache-2.0 */
/* /status.json: peers, sessions and pools, for the page. */
#include "daemon/api_parts.h"

#include "daemon/json.h"
#include "daemon/status_json.h"

static struct json_object *models(const struct api *a)
{
	struct json_object *list = json_object_new_array();
	char *const *names;
	size_t n = data_owner_models(a->owner, &names);

	for (size_t i = 0; i < n; i++)
		json_object_array_add(list, json_object_new_string(names[i]));
	return list;
}

void api_status(struct api *a, struct http_call *http)
{
	struct json_object *o = json_object_new_object(), *peers = json_object_new_array(),
			   *pools = json_object_new_array();
	Wire__Status s = WIRE__STATUS__INIT;

	data_owner_status(a->owner, &s);
	for (size_t i = 0; i < s.n_peers; i++)
		json_object_array_add(peers, status_peer(s.peers[i]));
	for (size_t i = 0; i < s.n_pools; i++)
		json_object_array_add(pools, status_pool(s.pools[i]));
	json_text(o, "role", s.role);
	json_real(o, "uptime", s.uptime);
	json_object_object_add(o, "models", models(a));
	json_object_object_add(o, "peers", peers);
	json_object_object_add(o, "pools", pools);
	data_owner_status_free(&s);
	http_reply_json(http, 200, o);
}
