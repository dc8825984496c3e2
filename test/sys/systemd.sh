# SPDX-License-Identifier: Apache-2.0
# systemd: units are sound and closed, what the daemon tells, sockets that it takes over, users and places.
. test/e2e/lib.sh
make_pki "$T/pki" localhost 127.0.0.1
U=$T/units
conf/systemd/units.sh "$U" "$B" || not_ok "units can be written"
units=$(cd "$U" && ls)
is "units for three roles: single, instances, sockets" 9 "$(echo "$units" | wc -l)"

if command -v systemd-analyze >/dev/null; then
	for u in "$U"/*.service; do
		level=$(systemd-analyze security --offline=true --no-pager "$u" 2>/dev/null | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
		if [ -n "$level" ] && awk "BEGIN { exit !($level <= 1.5) }"; then ok "exposure of $(basename "$u"): $level"; else not_ok "exposure of $(basename "$u")" "it is '$level', more than 1.5"; fi
	done
	# verify knows a unit by its place; man pages are elsewhere
	said=$(systemd-analyze verify --man=no --recursive-errors=no "$U"/*.socket "$U"/obscura-data-owner.service "$U"/obscura-model-owner.service "$U"/obscura-provider.service 2>&1 | grep -F obscura)
	is "systemd-analyze verify says nothing about them" "" "$said"
	cp "$U/obscura-provider@.service" "$T/obscura-provider@one.service"
	is "nor about an instance" "" "$(systemd-analyze verify --man=no --recursive-errors=no "$T/obscura-provider@one.service" 2>&1 | grep -F obscura)"
	if [ "$(basename "$B")" != rel ]; then
		echo "skip - system calls of the roles (a sanitizer makes its own)"
	elif strace -V >/dev/null 2>&1 && strace -o /dev/null true 2>/dev/null; then
		# shellcheck disable=SC2046
		start provider strace -D -f -qq -o "$T/provider.calls" "$OBSCURAD" provider --listen=127.0.0.1:0 $(creds "$T/pki" provider)
		P=127.0.0.1:$(port provider)
		# shellcheck disable=SC2046
		start model-owner strace -D -f -qq -o "$T/model-owner.calls" "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$P" --models="$ROOT/test/models/digits_mlp.onnx" $(creds "$T/pki" model-owner)
		# shellcheck disable=SC2046
		start data-owner strace -D -f -qq -o "$T/data-owner.calls" "$OBSCURAD" data-owner --socket="$T/traced.sock" --ledger="$T/ledger" --provider="$P" --model-owner="127.0.0.1:$(port model-owner)" $(creds "$T/pki" data-owner)
		for _ in $(seq 200); do [ -S "$T/traced.sock" ] && break; sleep 0.05; done
		timeout 60 "$OBSCURA" classify --socket="$T/traced.sock" --model digits_mlp "$ROOT"/test/images/seven-0.png >/dev/null 2>"$T/err"
		is "three roles under strace classify" 0 $? || cat "$T/err"
		# all else that a daemon does: pictures over HTTP, a job, metrics, a reload
		timeout 60 "$OBSCURA" batch --socket="$T/traced.sock" --limit 5 "$ROOT/test/images/digits-idx3-ubyte" --out "$T/job.csv" >/dev/null 2>"$T/err"
		is "  a job" 0 $? || cat "$T/err"
		if command -v curl >/dev/null; then
			is "  a picture over HTTP" 200 "$(curl -s --max-time 60 -o /dev/null -w '%{http_code}' --unix-socket "$T/http.sock" http://x/v2/models/digits_mlp/infer -H 'Content-Type: image/png' --data-binary @test/images/two-0.png)"
			is "  metrics" 200 "$(curl -s --max-time 20 -o /dev/null -w '%{http_code}' --unix-socket "$T/admin.sock" http://x/metrics)"
		fi
		for role in provider model-owner data-owner; do kill -HUP "$(cat "$T/$role.pid")"; done
		for _ in $(seq 200); do [ "$(grep -l 'new configuration is in force' "$T"/*.log | wc -l)" = 3 ] && break; sleep 0.05; done
		is "  reloads" 3 "$(grep -l 'new configuration is in force' "$T"/*.log | wc -l)"
		stop_all
		for role in provider model-owner data-owner; do
			said=$(python3 test/sys/syscalls.py "$U/obscura-$role.service" "$T/$role.calls" 2>&1)
			if echo "$said" | grep -qxE '[2-9][0-9]+ *'; then ok "the unit allows every system call of the $role"; else not_ok "system calls of the $role" "$said"; fi
		done
	else
		echo "skip - system calls of the roles (strace is missing or may not trace)"
	fi
else
	echo "skip - exposure of the units (systemd-analyze is missing)"
fi

if ! "$OBSCURAD" --version | grep -q systemd; then
	echo "skip - notification and sockets (built without libsystemd)"
else
	python3 test/sys/notify.py "$OBSCURAD" provider --listen=127.0.0.1:0 $(creds "$T/pki" provider) >"$T/out" 2>"$T/err"
	is "ready, alive, reloading, ready, alive, status, stopping, end" "READY=1
WATCHDOG=1
WATCHDOG=1
MONOTONIC_USEC is now
RELOADING=1
READY=1
WATCHDOG=1
STATUS=0 sessions, 0 tickets made
STOPPING=1
exit 0" "$(cat "$T/out")" || cat "$T/err"

	# Sockets that systemd holds: peers that come while a role is away wait in them.
	p=$((20000 + $$ % 10000)) m=$((30000 + $$ % 10000))
	# shellcheck disable=SC2046
	start provider systemd-socket-activate --listen=127.0.0.1:$p --fdname=listen "$OBSCURAD" provider --listen=127.0.0.1:1 $(creds "$T/pki" provider)
	# shellcheck disable=SC2046
	start model-owner systemd-socket-activate --listen=127.0.0.1:$m "$OBSCURAD" model-owner --listen=127.0.0.1:1 --provider=127.0.0.1:$p --models="$ROOT/test/models/digits_mlp.onnx" $(creds "$T/pki" model-owner)
	# shellcheck disable=SC2046
	start data-owner systemd-socket-activate --listen="$T/data-owner.sock" --fdname=socket "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/ledger" --provider=127.0.0.1:$p --model-owner=127.0.0.1:$m $(creds "$T/pki" data-owner)
	for _ in $(seq 100); do [ -S "$T/data-owner.sock" ] && break; sleep 0.05; done
	classify --model digits_mlp --limit 3 --json "$ROOT/test/images/digits-idx3-ubyte" >"$T/out" 2>"$T/err"
	is "three roles on sockets of systemd classify" "0 3" "$? $(wc -l <"$T/out")" || cat "$T/err" "$T"/*.log
	is "  the sockets are systemd's" 2 "$(grep -lE 'listening on 127.0.0.1:('$p'|'$m')' "$T/provider.log" "$T/model-owner.log" | wc -l)"
	kill "$(cat "$T/data-owner.pid")"; wait "$(cat "$T/data-owner.pid")" 2>/dev/null
	is "  and not removed at the end" 1 "$(ls "$T/data-owner.sock" | wc -l)"
	stop_all
fi

# Without libsystemd: what would use it is built again without, and the daemon says so.
if [ "$(basename "$B")" != rel ]; then
	echo "skip - a build without libsystemd (only of the variant rel)"
else
	libs=$(pkg-config --libs libevent_core libevent_extra libevent_pthreads libssl libcrypto libprotobuf-c libsodium libconfig json-c libpng libjpeg smartcols libseccomp sqlite3 zlib)
	mkdir "$T/o"
	for f in $(grep -lr HAVE_SYSTEMD daemon); do
		cc -std=gnu11 -Wall -Wextra -Wno-unused-parameter -Werror -D_GNU_SOURCE -I. -Ibuild/gen -c -o "$T/o/$(basename "$f" .c).o" "$f" 2>>"$T/cc" || echo "$f" >>"$T/cc"
	done
	cc -o "$T/obscurad" "$B/daemon/main.o" "$T"/o/*.o "$B/libobscura.a" $libs -lm -pthread 2>>"$T/cc"
	is "it builds without libsystemd" "" "$(cat "$T/cc")"
	is "  without the library" 0 "$(ldd "$T/obscurad" | grep -c libsystemd)"
	is "  and says so" "obscurad 0.1.0 (without systemd)" "$("$T/obscurad" --version)"
	NOTIFY_SOCKET=/nowhere timeout 10 "$T/obscurad" provider --listen=nowhere.invalid:1 $(creds "$T/pki" provider) 2>"$T/err"
	is "  a start by systemd is answered by a warning" 1 "$(grep -c 'warning provider: built without libsystemd' "$T/err")"
fi

if command -v systemd-sysusers >/dev/null && [ "$(id -u)" = 0 ]; then
	mkdir -p "$T/root/etc/obscura/pki"
	cp "$T/pki"/* "$T/root/etc/obscura/pki"
	chmod 666 "$T/root/etc/obscura/pki/provider.key"
	systemd-sysusers --root="$T/root" "$ROOT"/conf/systemd/obscura.sysusers >"$T/out" 2>&1
	is "sysusers makes a user for each role" 3 "$(grep -c '^obscura-.*:/usr/sbin/nologin$' "$T/root/etc/passwd")"
	systemd-tmpfiles --root="$T/root" --create "$ROOT/conf/systemd/obscura.tmpfiles" >"$T/out" 2>&1
	is "tmpfiles gives each role its own key" "600 $(sed -n 's/^obscura-provider:[^:]*:\([0-9]*\):.*/\1/p' "$T/root/etc/passwd")" "$(stat -c '%a %u' "$T/root/etc/obscura/pki/provider.key")"
	is "  and the authority's to nobody" "600 0" "$(stat -c '%a %u' "$T/root/etc/obscura/pki/ca.key")"
else
	echo "skip - users and places (needs root and systemd-sysusers)"
fi
