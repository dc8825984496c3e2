#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-packages.sh LIST — installs the Debian packages of LIST that are missing; asks for sudo when it is not root.
set -eu
missing=$(while read -r p; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
done <"$1")
[ -n "$missing" ] || exit 0
echo "installing: $missing"
as=""
[ "$(id -u)" = 0 ] || as=sudo
$as apt-get update -q >/dev/null || echo "apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086
$as env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null ||
	{ echo "cannot install: $missing — install them by hand, then run make again" >&2; exit 7; }
