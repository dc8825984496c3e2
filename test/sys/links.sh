# SPDX-License-Identifier: Apache-2.0
# The laboratory's links are what they say: round trips within 5 %, rates within 15 % of the profile, measured over TCP between three namespaces.
# Other work on this host disturbs: obscura itself measures a link up to four times, and this test asks at most three times, and says so.
. test/e2e/lib.sh
if ! unshare -n true 2>/dev/null; then echo "skip - links (needs root and network namespaces)"; exit 0; fi
if [ ! -r /dev/net/tun ]; then echo "skip - links (no /dev/net/tun)"; exit 0; fi
cat >"$T/links.conf" <<'END'
uneven: { rtt_ms = 20; mbit = 50; data_owner_to_model_owner: { mbit = 10; delay_ms = 30; }; model_owner_and_provider: { rtt_ms = 4; }; };
lossy: { rtt_ms = 10; mbit = 20; jitter_ms = 2; loss_percent = 0.5; };
END
# bench NAME FLAGS…: the row of each link in $T/rows
bench() {
	timeout 200 "$OBSCURA" bench --check --out "$T/out" "$@" >"$T/table" 2>"$T/err" </dev/null
	code=$?
	jq -c 'select(.kind=="link")' "$T/out/bench.jsonl" >"$T/rows"
	return $code
}
# disturbed NAME: obscura itself would not measure on such a link: other work on this host is too much for it
disturbed() { [ $code = 1 ] && grep -q 'refused' "$T/err" && echo "skip - $1 (other work on this host disturbs too much, asked $try times)"; }
for link in wan wan-us wan-slow; do
	for try in 1 2 3; do
		bench --links $link
		code=$?
		good=$(jq -r '.refused==false and .measured.off_rtt<=0.05 and .measured.off_rate<=0.15 and (.made.mechanism|IN("netem","emulator"))' "$T/rows")
		[ "$code $good" = "0 true" ] && break
	done
	disturbed "$link" && continue
	is "$link: round trips within 5 %, rates within 15 %, of all pairs, both ways ($(jq -r '"off by \(.measured.off_rtt*1000|round/10) % and \(.measured.off_rate*1000|round/10) %, \(.made.mechanism)"' "$T/rows"), asked $try times)" "0 true" "$code $good" || cat "$T/err"
done
is "a link's row has all that was measured, and the conditions" true "$(jq '.made.mtu==1500 and (.made.congestion_control|length)>0 and (.made.tcp_rmem|length)>0 and .measured.rounds>=16 and
	([.measured|.data_owner_and_model_owner,.data_owner_and_provider,.model_owner_and_provider|.rtt_p99>=.rtt and .there>0 and .back>0]|all)' "$T/rows")"

# own links: a direction of its own, loss and jitter. The emulator: netem is not asked for jitter without disorder
for try in 1 2 3; do bench --links uneven --link-file "$T/links.conf" --mechanism emulator; code=$?; [ $code = 0 ] && break; done
disturbed "a link of one's own" || is "a link of one's own: pairs and directions differ (asked $try times)" "0 true" "$code $(jq '.measured|
	(.data_owner_and_model_owner|.rtt>=0.0399 and .rtt<0.042 and .there<1.3e6 and .back>5e6) and
	(.model_owner_and_provider|.rtt>=0.0039 and .rtt<0.0048) and (.data_owner_and_provider.rtt|.>=0.0199 and .<0.0215)' "$T/rows")" || cat "$T/err" "$T/table"
bench --links lossy --link-file "$T/links.conf" --mechanism emulator
is "loss: packets are lost, about as many as the profile says" true "$(jq '.made|.packets_lost>0.003*.packets and .packets_lost<0.008*.packets' "$T/rows")"

# rate alone: the kernel's own queues
for try in 1 2 3; do bench --links rate-only; code=$?; [ $code = 0 ] && break; done
disturbed "rate alone" || is "rate alone (asked $try times)" "0 true" "$code $(jq '.measured.off_rate<=0.15 and (.made.mechanism|IN("netem","tbf"))' "$T/rows")" || cat "$T/err" "$T/table"

# without root: a user namespace of one's own. Programs must be where anybody may run them
install -m755 -Dt "$T/bin" "$OBSCURA" && chmod 755 "$T" && install -d -m777 "$T/nobody"
anyone() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
if anyone unshare -Urn true 2>/dev/null; then
	for try in 1 2 3; do
		anyone timeout 200 "$T/bin/obscura" bench --check --links rate-only --out "$T/nobody/out" >"$T/table" 2>"$T/err" </dev/null
		code=$?
		[ $code = 0 ] && break
	done
	disturbed "without root: rate alone" || is "without root: rate alone (asked $try times)" 0 $code || cat "$T/err"
	if ! anyone test -r /dev/net/tun; then
		anyone timeout 200 "$T/bin/obscura" bench --check --links metro --out "$T/nobody/out" >"$T/table" 2>"$T/err" </dev/null
		is "without root and without /dev/net/tun: told what is missing" "7 1" "$? $(grep -c '/dev/net/tun: Permission denied; the link emulator needs it' "$T/err")" || cat "$T/err"
	fi
	# the emulator too, where the device is open to all: here it is, in a mount namespace of its own
	mkdir "$T/dev" && mknod -m 666 "$T/dev/tun" c 10 200
	for try in 1 2 3; do
		unshare -m sh -c 'mount --bind "$1/dev/tun" /dev/net/tun && exec setpriv --reuid=65534 --regid=65534 --clear-groups timeout 200 "$1/bin/obscura" bench --check --links metro --out "$1/nobody/out"' sh "$T" >"$T/table" 2>"$T/err" </dev/null
		code=$?
		[ $code = 0 ] && break
	done
	disturbed "without root: metro" || is "without root: metro by the emulator (asked $try times)" 0 $code || cat "$T/err"
else
	echo "skip - links without root (no user namespaces)"
fi

# refusals
refuse() { # refuse NAME CODE PATTERN FLAGS…
	name=$1 code=$2 pattern=$3
	shift 3
	bench "$@"
	got=$?
	if [ $got = "$code" ] && grep -qE -- "$pattern" "$T/err"; then ok "$name"; else not_ok "$name" "exit $got: $(cat "$T/err")"; fi
}
refuse "no such link" 2 'no link "moon"; there are native, lan' --links moon --check
refuse "no such mechanism" 2 "none of auto, netem" --links wan --mechanism magic
refuse "a mechanism that cannot" 2 "tbf makes no delay" --links wan --mechanism tbf
echo 'x: { rtt_ms = 1; mbit = 1; bytes = 3; };' >"$T/links.conf"
refuse "a file of links with a wrong word" 3 'links.conf:1: bytes: there are rtt_ms' --links x --link-file "$T/links.conf"
# a link that cannot be as it says: what no single core carries
echo 'x: { rtt_ms = 1; mbit = 9000000; };' >"$T/links.conf"
refuse "a link that is not what it says is refused" 1 "link x is not what it should be" --links x --link-file "$T/links.conf" --mechanism emulator
is "  and stays in the results as refused" true "$(jq .refused "$T/rows")"
