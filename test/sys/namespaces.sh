# SPDX-License-Identifier: Apache-2.0
# Three hosts: each role in its own network namespace, joined by veth pairs through a bridge namespace; the whole job passes.
. test/e2e/lib.sh
N=obs$$
if ! ip netns add $N-sw 2>/dev/null; then echo "skip - three network namespaces (needs root and CAP_NET_ADMIN)"; exit 0; fi
unmake() { stop_all; for h in sw c m d; do ip netns del $N-$h 2>/dev/null; done; rm -rf "$T"; }
trap 'unmake; exit $FAILED' EXIT
if ! ip -n $N-sw link add br0 type bridge 2>/dev/null; then echo "skip - three network namespaces (no bridge in this kernel)"; exit 0; fi
ip -n $N-sw link set br0 up
i=1
for h in c m d; do
	ip netns add $N-$h
	ip link add $N-$h netns $N-sw type veth peer name eth0 netns $N-$h
	ip -n $N-sw link set $N-$h master br0 up
	ip -n $N-$h addr add 10.77.0.$i/24 dev eth0
	ip -n $N-$h link set eth0 up
	ip -n $N-$h link set lo up
	i=$((i + 1))
done
make_pki "$T/pki" provider.test 10.77.0.1
"$OBSCURA" pki issue --dir "$T/pki" --force model-owner 10.77.0.2 >/dev/null
"$OBSCURA" pki issue --dir "$T/pki" --force data-owner 10.77.0.3 >/dev/null
# shellcheck disable=SC2046
start provider ip netns exec $N-c "$OBSCURAD" provider --listen=10.77.0.1:7403 $(creds "$T/pki" provider)
# shellcheck disable=SC2046
start model-owner ip netns exec $N-m "$OBSCURAD" model-owner --listen=10.77.0.2:7402 --provider=10.77.0.1:7403 --models="$SAMPLES" $(creds "$T/pki" model-owner)
# shellcheck disable=SC2046
start data-owner ip netns exec $N-d "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --provider=10.77.0.1:7403 --model-owner=10.77.0.2:7402 $(creds "$T/pki" data-owner)
for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && break; sleep 0.05; done
for sample in "$ROOT"/test/models/*.onnx; do
	name=$(basename "$sample" .onnx)
	idx=$(pictures_of "$name")
	classify --model "$name" --limit 20 --json "$idx" >"$T/out" 2>"$T/err"
	is "$name across three namespaces" "0 20" "$? $(jq -c 'select(.bytes==.predicted.bytes)' "$T/out" | wc -l)" || cat "$T/err"
done
ip -n $N-sw link set $N-m down
start_ms=$(date +%s%N)
classify --model "$name" --limit 1 "$idx" >/dev/null 2>"$T/err"
code=$?
ms=$((($(date +%s%N) - start_ms) / 1000000))
if { [ $code = 4 ] || [ $code = 5 ]; } && [ $ms -le 5000 ]; then ok "model owner's cable pulled: told (exit $code, $ms ms)"; else not_ok "model owner's cable pulled" "exit $code after $ms ms: $(cat "$T/err")"; fi
ip -n $N-sw link set $N-m up
good=1
for _ in $(seq 60); do classify --model "$name" --limit 1 "$idx" >/dev/null 2>"$T/err" && { good=0; break; }; sleep 0.25; done
is "cable back: requests succeed again" 0 $good
