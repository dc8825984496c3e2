# SPDX-License-Identifier: Apache-2.0
# Each role's cable is pulled for 5 s while requests run: nothing crashes, nothing hangs, every request that fails says which
# peer and why, what is answered is right, and the service recovers by itself.
. test/e2e/lib.sh
three_hosts || { echo "skip - cables of three hosts ($WHY)"; exit 0; }
IDX=$(pictures_of digits)
start_hosts "$ROOT/test/models/digits_mlp.onnx" || { not_ok "roles start"; exit 1; }
classify --limit 8 --json "$IDX" >"$T/want" 2>"$T/err"
is "before: it works" 0 $? || cat "$T/err"
jq .label "$T/want" >"$T/labels"

# load K: requests until $T/stop; one line for each in $T/load-K: exit code, milliseconds, what it said
load() {
	while [ ! -e "$T/stop" ]; do
		from=$(date +%s%N)
		timeout 30 "$OBSCURA" classify --socket="$T/data-owner.sock" --deadline-ms=8000 --limit 8 --json "$IDX" >"$T/out-$1" 2>"$T/err-$1"
		code=$?
		[ $code != 0 ] || jq .label "$T/out-$1" | cmp -s - "$T/labels" || code=wrong
		echo "$code $((($(date +%s%N) - from) / 1000000)) $(head -1 "$T/err-$1")" >>"$T/load-$1"
	done
}
for cable in c m d; do
	case $cable in c) role=provider ;; m) role=model-owner ;; d) role=data-owner ;; esac
	rm -f "$T/stop" "$T"/load-*
	for k in 1 2; do load $k & PIDS="$PIDS $!"; eval "load$k=$!"; done
	sleep 1
	ip -n $N-sw link set $N-$cable down
	sleep 5
	ip -n $N-sw link set $N-$cable up
	mended=$(cat "$T"/load-* 2>/dev/null | wc -l)
	for _ in $(seq 150); do [ "$(cat "$T"/load-* | tail -n +$((mended + 1)) | grep -c '^0 ')" -ge 6 ] && break; sleep 0.1; done
	touch "$T/stop"
	wait "$load1" "$load2"
	cat "$T"/load-* >"$T/all"
	is "$role's cable: requests were answered before and failed meanwhile" "yes yes" "$(grep -q '^0 ' "$T/all" && echo yes) $(grep -q '^[45] ' "$T/all" && echo yes)"
	is "$role's cable: every failed request says which peer, and why (exit 4 or 5)" "" "$(grep -v '^0 ' "$T/all" | grep -vE '^[45] [0-9]+ obscura: .*(provider|model-owner|data-owner).*[a-z]{3}')"
	is "$role's cable: none hangs" "" "$(awk '$2 > 12000' "$T/all")"
	is "$role's cable: it recovers by itself" 0 "$(cat "$T"/load-* | tail -n 1 | cut -d' ' -f1)"
	alive=0
	for r in provider model-owner data-owner; do kill -0 "$(cat "$T/$r.pid")" 2>/dev/null && alive=$((alive + 1)); done
	is "$role's cable: all three live" 3 $alive
	echo "  # $(grep -c '^0 ' "$T/all") answered, $(grep -vc '^0 ' "$T/all") failed: $(grep -v '^0 ' "$T/all" | cut -d' ' -f3- | sort | uniq -c | sort -rn | head -3)"
done
