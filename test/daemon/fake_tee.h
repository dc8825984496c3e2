/* SPDX-License-Identifier: Apache-2.0 */
/* test/daemon/fake_tee.h — a machine with trusted hardware, out of plain files and one ioctl: what a kernel
 * does when a directory is made, an attribute is closed or a device is asked is done here at the same moment.
 * Faults are asked for in `fake`. */
#ifndef OBSCURA_TEST_DAEMON_FAKE_TEE_H
#define OBSCURA_TEST_DAEMON_FAKE_TEE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/enclave_quote.h"
#include "test/crypto/attest/make.h"

static struct {
	char root[64];
	const char *provider;		      /* configfs-tsm; NULL: no driver there */
	struct span evidence;		      /* what it says, whatever is asked; or: */
	void (*make)(const uint8_t data[64]); /* sets evidence for what is asked */
	struct span table;		      /* SNP: the host's certificates */
	const char *floor;		      /* privlevel_floor; NULL: no such file */
	/* faults, of the next so many requests */
	int intruders;	     /* somebody else writes while the report is read */
	int deaf;	     /* closing inblob takes nothing in */
	int failing, number; /* reading outblob, or the ioctl, gives this errno */
	unsigned host_error, firmware_error;
	uint32_t status, size; /* of the response; size 0: the evidence's */
	/* what was seen */
	int made, removed, pauses, asked, plain;
	uint8_t data[64];
	char level[16];
} fake;

static inline void fake_path(char out[512], const char *path)
{
	make_must(snprintf(out, 512, "%s%s", fake.root, path) < 512);
}

static inline void fake_write(const char *folder, const char *name, const void *p, size_t n)
{
	char path[700];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	make_must(f && fwrite(p, 1, n, f) == n && !fclose(f));
}

static inline size_t fake_read(const char *folder, const char *name, void *p, size_t room)
{
	char path[700];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "r");
	make_must(f != NULL);
	n = fread(p, 1, room, f);
	fclose(f);
	return n;
}

static inline void fake_answer(const uint8_t data[64])
{
	memcpy(fake.data, data, 64);
	fake.asked++;
	if (fake.make)
		fake.make(data);
}

/* ---- configfs and Gramine ---- */

static inline void fake_count(const char *folder)
{
	char text[32] = "";

	fake_read(folder, "generation", text, sizeof(text) - 1);
	snprintf(text, sizeof(text), "%d\n", atoi(text) + 1);
	fake_write(folder, "generation", text, strlen(text));
}

static inline int fake_make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode))
		return -1;
	if (!fake.provider) {
		rmdir(path);
		errno = ENXIO;
		return -1;
	}
	fake.made++;
	fake_write(path, "provider", fake.provider, strlen(fake.provider));
	fake_write(path, "generation", "0\n", 2);
	fake_write(path, "inblob", "", 0);
	fake_write(path, "outblob", "", 0);
	if (fake.floor) {
		fake_write(path, "privlevel_floor", fake.floor, strlen(fake.floor));
		fake_write(path, "privlevel", "", 0);
	}
	return 0;
}

static inline int fake_remove_dir(const char *path)
{
	static const char *const files[] = {"provider", "generation",	   "inblob",   "outblob",
					    "auxblob",	"privlevel_floor", "privlevel"};
	char name[700];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(name, sizeof(name), "%s/%s", path, files[i]);
		unlink(name);
	}
	fake.removed++;
	return rmdir(path);
}

/* The folder and the file's name behind an open file. */
static inline const char *fake_name(int fd, char folder[512])
{
	char link[64];
	ssize_t n;
	char *slash;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, folder, 511);
	folder[n > 0 ? n : 0] = 0;
	slash = strrchr(folder, '/');
	if (!slash)
		return "";
	*slash = 0;
	return slash + 1;
}

static inline void fake_commit(const char *folder, const char *name)
{
	uint8_t data[65];
	size_t n;

	if (!strcmp(name, "privlevel")) {
		n = fake_read(folder, name, fake.level, sizeof(fake.level) - 1);
		fake.level[n] = 0;
	} else {
		n = fake_read(folder, name, data, sizeof(data));
		if (n != 64)
			return;
		fake_answer(data);
		fake_write(folder, strcmp(name, "inblob") ? "quote" : "outblob", fake.evidence.p,
			   fake.evidence.n);
		if (fake.table.n)
			fake_write(folder, "auxblob", fake.table.p, fake.table.n);
	}
	if (strcmp(name, "user_report_data"))
		fake_count(folder);
}

static inline int fake_close(int fd)
{
	char folder[512];
	const char *name = fake_name(fd, folder);
	int writing = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY, bad = close(fd);

	if (!writing || bad)
		return bad;
	if (fake.deaf && !strcmp(name, "inblob"))
		fake.deaf--;
	else
		fake_commit(folder, name);
	return 0;
}

static inline ssize_t fake_read_call(int fd, void *p, size_t n)
{
	char folder[512];
	const char *name = fake_name(fd, folder);

	if (strcmp(name, "outblob") && strcmp(name, "quote"))
		return read(fd, p, n);
	if (fake.failing) {
		fake.failing--;
		errno = fake.number;
		return -1;
	}
	if (fake.intruders) {
		fake.intruders--;
		fake_count(folder);
	}
	return read(fd, p, n);
}

/* ---- /dev/sev-guest ---- */

static inline int fake_control(int fd, unsigned long request, void *argument)
{
	struct snp_guest_request_ioctl *io = argument;
	struct snp_ext_report_req *ask = (void *)(uintptr_t)io->req_data;
	uint8_t *answer = (void *)(uintptr_t)io->resp_data;
	int ext = request == SNP_GET_EXT_REPORT;

	make_must((ext || request == SNP_GET_REPORT) && io->msg_version == 1);
	fake.plain += !ext;
	if (fake.failing) {
		fake.failing--;
		io->vmm_error = fake.host_error;
		io->fw_error = fake.firmware_error;
		if (fake.host_error == SNP_GUEST_VMM_ERR_INVALID_LEN)
			ask->certs_len = 0x7000;
		errno = fake.number;
		return -1;
	}
	fake_answer(ask->data.user_data);
	make_le(answer, fake.status, 4);
	make_le(answer + 4, fake.size ? fake.size : fake.evidence.n, 4);
	memcpy(answer + 32, fake.evidence.p, fake.evidence.n < 3968 ? fake.evidence.n : 3968);
	if (ext) {
		make_must(ask->certs_len % 4096 == 0 && ask->certs_address % 4096 == 0 &&
			  fake.table.n <= ask->certs_len);
		if (fake.table.n)
			memcpy((void *)(uintptr_t)ask->certs_address, fake.table.p, fake.table.n);
	}
	return 0;
}

/* ---- the machine ---- */

static inline void fake_pause(unsigned ms)
{
	fake.pauses++;
}

static const struct quote_host fake_host = {fake.root,	fake_make_dir, fake_remove_dir, fake_read_call,
					    fake_close, fake_control,  fake_pause,	NULL};

static inline void fake_folders(const char *path)
{
	char whole[512];

	fake_path(whole, path);
	for (char *p = whole + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(whole, 0755);
		*p = '/';
	}
	make_must(!mkdir(whole, 0755) || errno == EEXIST);
}

/* An empty machine. */
static inline void fake_start(void)
{
	memset(&fake, 0, sizeof(fake));
	strcpy(fake.root, "/tmp/obscura-tee.XXXXXX");
	make_must(mkdtemp(fake.root) != NULL);
}

static inline void fake_stop(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", fake.root);
	make_must(!system(command));
}

static inline void fake_tsm(const char *provider)
{
	fake_folders("/sys/kernel/config/tsm/report");
	fake.provider = provider;
}

static inline void fake_sev_guest(void)
{
	char folder[512];

	fake_folders("/dev");
	fake_path(folder, "/dev");
	fake_write(folder, "sev-guest", "", 0);
}

static inline void fake_gramine(const char *type)
{
	char folder[512];

	fake_folders("/dev/attestation");
	fake_path(folder, "/dev/attestation");
	fake_write(folder, "attestation_type", type, strlen(type));
	fake_write(folder, "user_report_data", "", 0);
	fake_write(folder, "quote", "", 0);
}

/* The host's table of certificates, by GUID; returns its bytes. */
struct fake_entry {
	const char *guid; /* 32 hexadecimal digits */
	struct span der;
};
#define GUID_VCEK "63da758de6644564adc5f4b93be8accd"
#define GUID_VLEK "a8074bc2a25a483eaae639c045a0b8a1"
#define GUID_ASK "4ab7b379bbac4fe4a02f05aef327c782"
#define GUID_ARK "c0b406a4a803495297433fb6014cd0ae"

static inline size_t fake_table(uint8_t *out, const struct fake_entry *entries, size_t n)
{
	size_t at = 24 * (n + 1);

	memset(out, 0, at);
	for (size_t i = 0; i < n; i++) {
		for (int b = 0; b < 16; b++)
			make_must(sscanf(entries[i].guid + 2 * b, "%2hhx", out + 24 * i + b) == 1);
		make_le(out + 24 * i + 16, at, 4);
		make_le(out + 24 * i + 20, entries[i].der.n, 4);
		memcpy(out + at, entries[i].der.p, entries[i].der.n);
		at += entries[i].der.n;
	}
	return at;
}

#endif
