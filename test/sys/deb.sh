# SPDX-License-Identifier: Apache-2.0
# The three packages install on a clean Debian 12 (a chroot), classify there under their own users, upgrade, and leave nothing behind.
. test/e2e/lib.sh
umount_all() { umount "$T/root/proc" 2>/dev/null; }
trap 'stop_all; umount_all; rm -rf "$T"; exit $FAILED' EXIT
make --no-print-directory -s V=rel deb >"$T/log" 2>&1
is "make deb" 0 $? || tail -5 "$T/log"
make --no-print-directory -s V=rel install PREFIX=/opt/obscura DESTDIR="$T/here" >"$T/log" 2>&1
is "make install elsewhere" "0 1" "$? $(grep -c '^ExecStart=/opt/obscura/bin/obscurad provider' "$T/here/opt/obscura/lib/systemd/system/obscura-provider.service")" || cat "$T/log"
echo "lanes = 3;" >"$T/here/etc/obscura/data-owner.conf"
make --no-print-directory -s V=rel install PREFIX=/opt/obscura DESTDIR="$T/here" >"$T/log" 2>&1
is "  again, and a changed configuration is kept" "lanes = 3;" "$(cat "$T/here/etc/obscura/data-owner.conf")"
is "three packages" 3 "$(ls build/deb/*.deb | wc -l)"
for d in build/deb/*.deb; do dpkg-deb -c "$d"; done | sed -n 's/.* \.\/\(.*[^/]\)$/\1/p' | sed 's/ ->.*//; s/\.gz$//' | grep -vE '/copyright$' | sort >"$T/packed"
(cd build/deb/all && find . ! -type d | sed 's/^\.\///') | sort >"$T/installed"
is "what make install installs is packed, once" "" "$(diff "$T/installed" "$T/packed")"

. test/sys/debian.inc
debian_with_packages "$T/root" || { echo "skip - installation in a chroot ($WHY)"; exit 0; }
R=$T/root
mount -t proc proc "$R/proc" 2>/dev/null || mkdir -p "$R/proc/self/fd"
in_root() { LC_ALL=C.UTF-8 chroot "$R" "$@"; }
find "$R/etc" "$R/usr" "$R/var/lib" ! -type d | grep -vE '/var/lib/dpkg/|/etc/(passwd|group|shadow|gshadow|\.pwd)|cache' | sort >"$T/before"
cp build/deb/*.deb "$R/tmp"
in_root sh -c 'dpkg -i /tmp/*.deb' >"$T/log" 2>&1
is "they install on a clean Debian 12" 0 $? || cat "$T/log"
is "  without a complaint" "" "$(in_root dpkg --audit; grep -iE 'warning|error|cannot' "$T/log")"
is "  a user for each role" 3 "$(grep -c '^obscura-' "$R/etc/passwd")"
is "  both programs run" "obscura 0.1.0 obscurad 0.1.0 (systemd)" "$( (in_root obscura --version; in_root obscurad --version) | paste -sd' ')"
in_root obscurad provider -c /etc/obscura/provider.conf -t >"$T/out" 2>"$T/err"
is "  -t asks for certificates" "3 1" "$? $(grep -c 'obscura pki init' "$T/err")"

in_root sh -c 'obscura pki init /etc/obscura/pki && for r in provider model-owner data-owner; do obscura pki issue --dir /etc/obscura/pki $r localhost 127.0.0.1; done && systemd-tmpfiles --create obscura.conf' >"$T/log" 2>&1
is "certificates, and each key its user's" "600 obscura-model-owner" "$(in_root stat -c '%a %U' /etc/obscura/pki/model-owner.key)" || cat "$T/log"
install -Dm644 -t "$R/srv" "$ROOT/test/models/digits_mlp.onnx" "$ROOT/test/images/seven-0.png"
echo 'models = ["/srv/digits_mlp.onnx"];' >>"$R/etc/obscura/model-owner.conf"
p=$((21000 + $$ % 9000)) m=$((31000 + $$ % 9000))
as() { echo "chroot --userspec=obscura-$1:obscura-$1 $R obscurad $1 -c /etc/obscura/$1.conf"; }
start provider $(as provider) --listen=127.0.0.1:$p
start model-owner $(as model-owner) --listen=127.0.0.1:$m --provider=127.0.0.1:$p
mkdir -p "$R/run/obscura" "$R/var/lib/obscura"
chown "$(in_root id -u obscura-data-owner)" "$R/run/obscura" "$R/var/lib/obscura"
start data-owner $(as data-owner) --provider=127.0.0.1:$p --model-owner=127.0.0.1:$m
for _ in $(seq 200); do [ -S "$R/run/obscura/data-owner.sock" ] && break; sleep 0.05; done
in_root obscura classify --json /srv/seven-0.png >"$T/out" 2>"$T/err"
is "three roles, each its own user, classify there" "0 7" "$? $(jq -r .label "$T/out")" || cat "$T/err" "$T"/*.log
stop_all

in_root sh -c 'dpkg -i /tmp/*.deb' >"$T/log" 2>&1
is "they install over themselves" 0 $? || cat "$T/log"
is "  and keep a changed configuration" 1 "$(grep -c digits_mlp "$R/etc/obscura/model-owner.conf")"
rm -rf "$R/etc/obscura/pki"
in_root dpkg -P obscura-client obscura-daemon obscura-common >"$T/log" 2>&1
is "they can be purged" 0 $? || cat "$T/log"
find "$R/etc" "$R/usr" "$R/var/lib" ! -type d | grep -vE '/var/lib/dpkg/|/etc/(passwd|group|shadow|gshadow|\.pwd)|cache' | sort >"$T/after"
is "  and leave nothing behind" "" "$(diff "$T/before" "$T/after")"
