/* SPDX-License-Identifier: Apache-2.0 */
/* Name, version, digest and owner of a model as an enclave will vouch for them, and the line with which a
 * data owner's policy demands them. */
#include <stdio.h>
#include <string.h>

#include "client/enclave.h"
#include "crypto/attest/parts.h"

#define POLICY_MAX 1200

/* A string of libconfig; every byte may become four. */
static size_t quote(char *out, struct span name)
{
	size_t at = 0;

	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		if (c == '"' || c == '\\')
			out[at++] = '\\';
		if (c >= ' ')
			out[at++] = (char)c;
		else
			at += (size_t)sprintf(out + at, "\\x%02x", c);
	}
	out[at] = 0;
	return at;
}

static void policy_line(char out[POLICY_MAX], const struct enclave_manifest *m)
{
	char name[4 * ENCLAVE_NAME_MAX + 1], digest[2 * ENCLAVE_DIGEST + 1], owner[2 * ENCLAVE_OWNER + 1];

	quote(name, m->name);
	bytes_hex(digest, m->digest, sizeof(m->digest));
	bytes_hex(owner, m->owner, sizeof(m->owner));
	if (m->owned)
		snprintf(out, POLICY_MAX,
			 "models = ( { name = \"%s\"; digests = [\"%s\"]; owners = [\"%s\"]; } );", name,
			 digest, owner);
	else
		snprintf(out, POLICY_MAX, "models = ( { name = \"%s\"; digests = [\"%s\"]; } );", name,
			 digest);
}

void manifest_json(struct json_object *o, const struct enclave_manifest *m)
{
	char text[POLICY_MAX];

	snprintf(text, sizeof(text), "%.*s", (int)m->name.n, (const char *)m->name.p);
	json_text(o, "name", text);
	json_count(o, "version", m->version);
	json_text(o, "digest", bytes_hex(text, m->digest, sizeof(m->digest)));
	if (m->owned)
		json_text(o, "owner", bytes_hex(text, m->owner, sizeof(m->owner)));
	policy_line(text, m);
	json_text(o, "policy", text);
}

void manifest_text(const struct enclave_manifest *m)
{
	char text[POLICY_MAX];

	printf("%.*s\n%llu\n%s\n", (int)m->name.n, (const char *)m->name.p, (unsigned long long)m->version,
	       bytes_hex(text, m->digest, sizeof(m->digest)));
	if (m->owned)
		printf("owner %s\n", bytes_hex(text, m->owner, sizeof(m->owner)));
	policy_line(text, m);
	printf("for a data owner's policy: %s\n", text);
}
