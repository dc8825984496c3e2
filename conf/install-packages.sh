#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-packages.sh LIST — installs the Debian packages of LIST that are missing; asks for sudo when it is not root.
set -eu
absent() {
	while read -r p; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
	done <"$1"
}
stop() {
	echo "cannot install packages: $1; as root: apt-get install $missing— then run make again" >&2
	exit 7
}
missing=$(absent "$1")
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || stop "this is no Debian (12 is what this was made for)"
as=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || stop "not root, and there is no sudo"
	as="sudo"
	[ -t 0 ] || sudo -n true 2>/dev/null || stop "not root, and sudo wants a password, for which there is no terminal"
fi
echo "installing: $missing"
# A machine that has just started may be updating itself: apt waits for the lock. A mirror may stumble once.
apt() { $as env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >/dev/null; }
apt update || { sleep 10; apt update; } || echo "apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086
apt install --no-install-recommends $missing || true
missing=$(absent "$1")
[ -z "$missing" ] || stop "apt-get failed (above)"
