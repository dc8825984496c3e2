/* SPDX-License-Identifier: Apache-2.0 */
/* obscura-enclave: started by obscurad model-owner, not by people; but in Gramine. */
#include "daemon/enclave.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "child"))
		return enclave_child_main(argv[2]);
	if (argc >= 4 && !strcmp(argv[1], "gramine"))
		return enclave_gramine_main(argv[2], argv[3], argv + 4);
	if ((argc == 4 || argc == 6) && !strcmp(argv[1], "quoter"))
		return enclave_quoter_main(argv[2], argv[3], argv[4], argc == 6 ? argv[5] : NULL);
	fputs("obscura-enclave is started by obscurad model-owner (option enclave_listen); in Gramine:\n"
	      "obscura-enclave gramine ADDRESS:PORT CA.pem [access=FILE] [revoked=FILE] [owners=FILE] "
	      "[MODEL.sealed…]\n",
	      stderr);
	return ERR_USAGE;
}
