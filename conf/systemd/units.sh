#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# units.sh OUT BINDIR — writes the units of the three roles, single and @, from the templates beside this file.
set -eu
here=$(dirname "$0") out=$1 bindir=$2
mkdir -p "$out"
fill() { # fill TEMPLATE ROLE WHAT NAME KIND OTHER
	sed -e "/^$6|/d" -e "s/^$5|//" -e "s/^$2|//" -e '/^[a-z-]*|/d' -e "s/ROLE/$2/g; s/NAME/$4/g; s/WHAT/$3/g; s#BINDIR#$bindir#g" \
		-e '/^# One template/,/^\[Unit\]/{/^\[Unit\]/!d}' "$here/$1"
}
while IFS=: read -r role what; do
	fill service.in "$role" "$what" "$role" one at >"$out/obscura-$role.service"
	fill service.in "$role" "$what %i" "$role-%i" at one >"$out/obscura-$role@.service"
	fill socket.in "$role" "$what" "$role" one at >"$out/obscura-$role.socket"
done <<ROLES
data-owner:data owner
model-owner:model owner
provider:crypto provider
ROLES
