/* SPDX-License-Identifier: Apache-2.0 */
/* daemon/enclave_client_parts.h — what the files of enclave_client.h share. */
#ifndef OBSCURA_DAEMON_ENCLAVE_CLIENT_PARTS_H
#define OBSCURA_DAEMON_ENCLAVE_CLIENT_PARTS_H

#include "daemon/enclave_client.h"
#include "daemon/net_parts.h"

/* What the files say. */
struct enclave_trust {
	SSL_CTX *tls; /* with our certificate */
	X509 *authority;
	struct attest_policy_file policy;
	char congestion[CONGESTION_BYTES]; /* control that fits this host; "": its own */
};

struct enclave {
	struct enclave_trust *trust; /* owns it if it is not kept */
	int kept;
	SSL *ssl;
	int fd;
	double connect_s, until_s;	      /* until_s: when dialling must have ended */
	int simulated, boot;		      /* boot: evidence in the certificate is enough */
	uint8_t release[ENCLAVE_RELEASE_KEY]; /* of the enclave's evidence */
	/* of enclave_pump: the question, and the answer as far as it is there */
	const uint8_t *out; /* borrows; NULL: nothing is asked */
	size_t out_n, out_at, images, image_bytes;
	uint8_t *in; /* owns */
	size_t in_room, in_n;
	double asked_s;
	uint64_t sent, received; /* of TLS, before it */
};

double enclave_now(void); /* seconds */
/* Times, bytes and "simulated" are what this side has seen, whatever the answer says. */
int enclave_account(struct enclave *x, Wire__Classified *c, size_t images, size_t image_bytes, double seconds,
		    uint64_t sent, uint64_t received, struct err *e) MUST_USE;

#endif
