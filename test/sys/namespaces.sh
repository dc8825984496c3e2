# SPDX-License-Identifier: Apache-2.0
# Three hosts: each role in its own network namespace, joined by veth pairs through a bridge namespace; the whole job passes.
. test/e2e/lib.sh
three_hosts || { echo "skip - three network namespaces ($WHY)"; exit 0; }
start_hosts "$SAMPLES" || { not_ok "roles start"; exit 1; }
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
