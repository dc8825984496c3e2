#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh DIR — from the installation in DIR/all to three Debian packages in DIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
version=$(all/usr/bin/obscura --version | cut -d' ' -f2)-1
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH

# package NAME PATH…: these paths of the installation
package() {
	name=$1; shift
	mkdir -p "$name/DEBIAN"
	for path; do (cd all && cp -a --parents $path "../$name/"); done
}
# libraries PROGRAM: what it is linked with, as Depends
libraries() {
	mkdir -p shlibs/debian
	printf 'Source: obscura\n\nPackage: obscura\nArchitecture: any\n' >shlibs/debian/control
	(cd shlibs && dpkg-shlibdeps -O "../$1") 2>/dev/null | sed -n 's/^shlibs:Depends=//p'
}
# finish NAME ARCHITECTURE DEPENDS SYNOPSIS: description on standard input; $recommends
recommends=
finish() {
	for script in postinst prerm postrm; do
		[ ! -f "$here/$1.$script" ] || install -m755 "$here/$1.$script" "$1/DEBIAN/$script"
	done
	install -d "$1/usr/share/doc/$1"
	printf 'Obscura\nLicense: Apache-2.0, see /usr/share/common-licenses/Apache-2.0\n' >"$1/usr/share/doc/$1/copyright"
	[ ! -d "$1/etc" ] || (cd "$1" && find etc -type f | sort | sed 's/^/\//') >"$1/DEBIAN/conffiles"
	find "$1/usr/share/man" -type f -exec gzip -9n {} + 2>/dev/null || true
	(cd "$1" && find usr -type f | sort | xargs md5sum) >"$1/DEBIAN/md5sums"
	{
		printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Obscura <root@localhost>\nSection: science\nPriority: optional\n' "$1" "$version" "$2"
		[ -z "$3" ] || echo "Depends: $3"
		[ -z "$recommends" ] || echo "Recommends: $recommends"
		echo "Installed-Size: $(du -sk "$1" | cut -f1)"
		echo "Description: $4"
		fold -sw 76 | sed 's/ *$//; s/^/ /'
	} >"$1/DEBIAN/control.new"
	mv "$1/DEBIAN/control.new" "$1/DEBIAN/control"
	find "$1" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
	chmod -R u+rwX,go=rX "$1"
	dpkg-deb --root-owner-group -Zxz --build "$1" "${1}_${version}_$2.deb"
}

strip --strip-unneeded all/usr/bin/obscura all/usr/bin/obscurad all/usr/bin/obscura-enclave*
package obscura-common usr/share/doc/obscura usr/share/man/man5 usr/share/bash-completion
finish obscura-common all "" "private image classification: manual and completion" <<T
Obscura classifies an image that its server never sees, with a model that its client never sees. This package has what client and
daemon share: documentation, the manual of the configuration file, completion for bash.
T
package obscura-client usr/bin/obscura usr/share/man/man1
finish obscura-client "$arch" "obscura-common (= $version), $(libraries obscura-client/usr/bin/obscura)" "private image classification: command line" <<T
The command line of the data owner: checks and prices models, verifies them against labels, classifies images, keeps certificates.
T
package obscura-daemon usr/bin/obscurad usr/bin/obscura-enclave* usr/share/man/man8 usr/lib etc
# only who seals an enclave's state needs a TPM
[ ! -f obscura-daemon/usr/bin/obscura-enclave-keeper ] || recommends=$(libraries obscura-daemon/usr/bin/obscura-enclave-keeper)
finish obscura-daemon "$arch" "obscura-common (= $version), systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles, $(libraries obscura-daemon/usr/bin/obscurad)" "private image classification: the three roles" <<T
The daemon of data owner, model owner and crypto provider, its units for systemd, a user for each role, sample configurations. Nothing
is started by the installation: enable the unit of the role that this host has.
T
