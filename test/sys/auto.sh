# SPDX-License-Identifier: Apache-2.0
# --optimise auto on live connections: on a narrow link the data owner measures how long tickets take and turns to bandwidth mode, by itself.
if [ -z "$OBSCURA_IN_SPACE" ]; then
	if ! unshare -n true 2>/dev/null; then echo "skip - mode by the measured link (needs root and network namespaces)"; exit 0; fi
	OBSCURA_IN_SPACE=1 exec unshare -n sh "$0"
fi
. test/e2e/lib.sh
ip link set lo up
if ! tc qdisc add dev lo root tbf rate 50mbit burst 256k latency 400ms 2>"$T/err"; then echo "skip - mode by the measured link (no tc tbf: $(head -1 "$T/err"))"; exit 0; fi
make_pki "$T/pki" localhost 127.0.0.1
start_three "$ROOT/test/models/digits_conv.onnx" --optimise=auto --pool-high=8 --pool-low=4
idx=$(pictures_of digits_conv)
trips() { classify --optimise "$1" --limit 1 --json "$idx" 2>"$T/err" | jq -r .round_trips; }
is "the first request of all: latency mode, since nothing is known" 8 "$(trips auto)" || cat "$T/err" "$T/data-owner.log"
for _ in $(seq 400); do grep -q 'mode from now on' "$T/data-owner.log" && break; sleep 0.1; done
is "3 MB a ticket are too many for 50 Mbit/s: bandwidth mode" 1 "$(grep -c 'round trip .* tickets a second: an image takes .* in latency mode, .* bandwidth mode from now on' "$T/data-owner.log")" || tail -5 "$T/data-owner.log"
is "the next that leaves it to the data owner is in that mode" 15 "$(trips auto)" || cat "$T/err" "$T/data-owner.log"
is "and one that asks for a mode has that" 8 "$(trips latency)" || cat "$T/err"
