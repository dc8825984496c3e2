/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of collateral: root_ca.crl.der, pck.crl.der; tcb_info.json with tcb_info.chain.pem,
 * qe_identity.json with qe_identity.chain.pem. A .json file is Intel's whole answer, or the inner object
 * alone with its signature in hexadecimal beside it (.sig.hex). */
#include "daemon/attest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_part(const char *folder, const char *name, struct span *s, struct err *e)
{
	char path[1024];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return err_set(e, ERR_INPUT, "the path is too long: %.80s…", folder);
	return attest_file_read(path, s, e);
}

static int hex_digit(int x)
{
	const char *digits = "0123456789abcdef",
		   *at = x ? strchr(digits, x | ('A' <= x && x <= 'F' ? 0x20 : 0)) : NULL;

	return at ? (int)(at - digits) : -1;
}

static int read_signature(const char *folder, const char *name, uint8_t out[64], struct err *e)
{
	struct span text;
	int bad = read_part(folder, name, &text, e);

	if (bad)
		return err_context(
		    e, "the .json file is no whole answer of Intel's, so its signature is needed");
	while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
		text.n--;
	if (text.n != 128)
		bad = 1;
	for (size_t i = 0; !bad && i < 64; i++) {
		int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);

		bad = high < 0 || low < 0;
		out[i] = bad ? 0 : (uint8_t)(high << 4 | low);
	}
	attest_file_free(&text);
	return bad ? err_set(e, ERR_INPUT, "%.300s/%s is not 128 hexadecimal digits", folder, name) : 0;
}

/* name: tcb_info or qe_identity; member: what Intel's answer calls it. */
static int read_signed(struct attest_files *f, const char *name, const char *member, struct span *file,
		       struct span *inner, uint8_t signature[64], struct err *e)
{
	char part[64];

	snprintf(part, sizeof(part), "%s.json", name);
	if (read_part(f->folder, part, file, e))
		return -1;
	if (!attest_unwrap(*file, member, inner, signature))
		return 0;
	*inner = *file;
	snprintf(part, sizeof(part), "%s.sig.hex", name);
	return read_signature(f->folder, part, signature, e);
}

int attest_files_read(struct attest_files *f, const char *folder, struct err *e)
{
	struct attest_collateral *c = &f->collateral;

	memset(f, 0, sizeof(*f));
	f->folder = folder;
	if (read_part(folder, "root_ca.crl.der", &c->root_crl, e) ||
	    read_part(folder, "pck.crl.der", &c->pck_crl, e) ||
	    read_part(folder, "tcb_info.chain.pem", &c->tcb_chain, e) ||
	    read_part(folder, "qe_identity.chain.pem", &c->qe_chain, e) ||
	    read_signed(f, "tcb_info", "tcbInfo", &f->tcb_info, &c->tcb_info, f->signature[0], e) ||
	    read_signed(f, "qe_identity", "enclaveIdentity", &f->qe_identity, &c->qe_identity,
			f->signature[1], e)) {
		attest_files_free(f);
		return -1;
	}
	c->tcb_signature = (struct span){f->signature[0], 64};
	c->qe_signature = (struct span){f->signature[1], 64};
	return 0;
}

void attest_files_free(struct attest_files *f)
{
	attest_file_free(&f->collateral.root_crl);
	attest_file_free(&f->collateral.pck_crl);
	attest_file_free(&f->collateral.tcb_chain);
	attest_file_free(&f->collateral.qe_chain);
	attest_file_free(&f->tcb_info);
	attest_file_free(&f->qe_identity);
}
