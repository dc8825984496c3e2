/* SPDX-License-Identifier: Apache-2.0 */
#include "client/enclave.h"

int enclave_open(struct enclave **x, const struct args *a, char role, struct err *e)
{
	struct enclave_how how = {.config = &a->config,
				  .policy = a->flag[FLAG_policy],
				  .chain = a->flag[FLAG_chain],
				  .collateral = a->flag[FLAG_collateral],
				  .accept_simulated = a->flag[FLAG_accept_simulated] != NULL,
				  .role = role};

	return enclave_dial(x, &how, e);
}
