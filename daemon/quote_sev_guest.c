/* SPDX-License-Identifier: Apache-2.0 */
/* SEV-SNP by the guest driver's own device, for kernels before configfs-tsm (Linux 6.7): an extended report,
 * with the host's certificates; where the driver has none, a plain one.
 * Source: include/uapi/linux/sev-guest.h; AMD, "SEV Secure Nested Paging Firmware ABI Specification" (56860),
 * MSG_REPORT_RSP. */
#include "daemon/enclave_quote.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "crypto/attest/parts.h"
#include "daemon/enclave_wire.h"

#define DEVICE "/dev/sev-guest"
#define REPORT 0x4a0
#define PAGE 4096
#define AT_REPORT 32 /* response: u32 status, u32 size, 24 reserved, report */
#define TRIES 5
#define PAUSE_MS 20

/* One request; the kernel reads and writes all of it. */
struct question {
	struct snp_guest_request_ioctl io;
	struct snp_ext_report_req ask;
	struct snp_report_resp answer;
	uint8_t *table; /* QUOTE_TABLE_MAX, whole pages */
};

static int open_device(const struct quote_host *h)
{
	char path[512];

	if (snprintf(path, sizeof(path), "%s" DEVICE, h->root) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, O_RDWR | O_CLOEXEC);
}

int quote_sev_guest_probe(const struct quote_host *h, struct err *e)
{
	int fd = open_device(h);

	if (fd < 0)
		return err_set(e, ERR_ENV, "%s: %s", DEVICE,
			       errno == ENOENT ? "this is no SEV-SNP guest, or module sev-guest is not loaded"
					       : strerror(errno));
	h->close(fd);
	return 0;
}

/* 0 or an errno. ext: with `room` bytes for certificates. */
static int request(const struct quote_host *h, int fd, struct question *q, const uint8_t data[64], int ext,
		   uint32_t room)
{
	for (int i = 0;; i++) {
		memset(&q->io, 0, sizeof(q->io));
		memset(&q->ask, 0, sizeof(q->ask));
		memset(&q->answer, 0, sizeof(q->answer));
		memset(q->table, 0, QUOTE_TABLE_MAX);
		memcpy(q->ask.data.user_data, data, 64);
		q->ask.certs_address = (uintptr_t)q->table;
		q->ask.certs_len = room;
		q->io.msg_version = 1;
		q->io.req_data = (uintptr_t)&q->ask; /* a plain request is its first part */
		q->io.resp_data = (uintptr_t)&q->answer;
		if (!h->control(fd, ext ? SNP_GET_EXT_REPORT : SNP_GET_REPORT, &q->io))
			return 0;
		if (!quote_passing(errno) || i == TRIES - 1)
			return errno;
		h->pause(PAUSE_MS << i);
	}
}

/* What an errno of the driver means for a person. */
static int refused(int number, const struct question *q, struct err *e)
{
	const char *remedy = "";

	if (number == ENOTTY)
		remedy =
		    "; the guest's key to the firmware is gone after an earlier error: start the guest again";
	else if (number == EIO || number == EBADMSG)
		remedy = "; the firmware or the host refused: see the kernel's log and the host's";
	else if (quote_passing(number) || number == ETIMEDOUT)
		remedy = "; the host holds back requests: try again later";
	return err_set(e, ERR_ENV, DEVICE ": %s (firmware 0x%x, host 0x%x)%s", strerror(number),
		       q->io.fw_error, q->io.vmm_error, remedy);
}

/* With certificates if it goes. *table: how much of q->table counts. */
static int ask(const struct quote_host *h, int fd, struct question *q, const uint8_t data[64], size_t *table,
	       struct err *e)
{
	int number = request(h, fd, q, data, 1, QUOTE_TABLE_MAX);
	uint32_t wanted = q->ask.certs_len;

	*table = QUOTE_TABLE_MAX;
	if (!number)
		return 0;
	if (number == EIO && q->io.vmm_error == SNP_GUEST_VMM_ERR_INVALID_LEN)
		return err_set(e, ERR_ENV,
			       "the host's certificate table needs %u bytes, the driver gives %d: make it "
			       "smaller on the host",
			       wanted, QUOTE_TABLE_MAX);
	if (number != ENOTTY && number != EINVAL)
		return refused(number, q, e);
	*table = 0;
	number = request(h, fd, q, data, 0, 0);
	return number ? refused(number, q, e) : 0;
}

static int take(const struct question *q, size_t table, struct quoted *out, struct err *e)
{
	uint32_t status = le32(q->answer.data), size = le32(q->answer.data + 4);

	if (status)
		return err_set(e, ERR_ENV, DEVICE ": the firmware refused the request: status 0x%x%s", status,
			       status == 0x27 ? " (no key to sign with)" : "");
	if (size != REPORT)
		return err_set(e, ERR_ENV, DEVICE ": a report of %u bytes, not %d", size, REPORT);
	memcpy(out->bytes, q->answer.data + AT_REPORT, REPORT);
	out->kind = ENCLAVE_SNP;
	out->report_n = REPORT;
	return quote_snp_chain((struct span){q->table, table}, out, e);
}

int quote_sev_guest_get(const struct quote_host *h, const uint8_t data[64], struct quoted *out, struct err *e)
{
	struct question q;
	size_t table;
	int fd = open_device(h), bad;

	if (fd < 0)
		return err_set(e, ERR_ENV, DEVICE ": %s", strerror(errno));
	q.table = aligned_alloc(PAGE, QUOTE_TABLE_MAX);
	if (!q.table) {
		h->close(fd);
		return err_set(e, ERR_ENV, "out of memory");
	}
	bad = ask(h, fd, &q, data, &table, e) || take(&q, table, out, e);
	free(q.table);
	h->close(fd);
	return bad ? -1 : 0;
}
