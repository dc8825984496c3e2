# SPDX-License-Identifier: Apache-2.0
# 200 real images of each model through three real processes: labels equal verify's, round trips and bytes equal the plan's prediction.
. test/e2e/lib.sh
if [ ! -d "$SHARED/data" ]; then echo "skip - real models (no ../shared/data)"; exit 0; fi
D=$SHARED/data
# the paper's files say nothing of their input: MODEL.json beside a copy does
M=$T/models
mkdir "$M"
cp "$D"/models/*.onnx "$M"
echo '{"scale":255,"mean":[0.1307],"std":[0.3081]}' | tee "$M/model_x.json" >"$M/model_y.json"
echo '{"scale":255,"mean":[0.5],"std":[0.5]}' >"$M/model_z.json"
start_three "$M/model_x.onnx,$M/model_y.onnx,$M/model_z.onnx" || { not_ok "roles start"; exit 1; }

source_of() { case $1 in model_z) echo "$D/malaria/images.npy" ;; *) echo "$D/mnist/t10k-images-idx3-ubyte.gz" ;; esac; }
trips() { case $1/$2 in model_z/latency) echo 4 ;; model_z/*) echo 7 ;; */latency) echo 3 ;; *) echo 5 ;; esac; }

for mode in latency bandwidth; do
	for model in model_x model_y model_z; do
		classify --model "$model" --optimise "$mode" --limit 200 --json "$(source_of $model)" >"$T/out" 2>"$T/err"
		is "$model $mode: exit code" 0 $? || cat "$T/err"
		is "$model $mode: 200 results" 200 "$(jq -s length "$T/out")"
		is "$model $mode: round trips" "[$(trips $model $mode)]" "$(jq -sc '[.[].round_trips]|unique' "$T/out")"
		is "$model $mode: round trips and bytes equal the prediction, all directions" 200 \
			"$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==.predicted.round_trips)' "$T/out" | wc -l)"
		"$OBSCURA" verify "$M/$model.onnx" --images "$(source_of $model)" --limit 200 --optimise "$mode" --labels-out "$T/labels" --json >"$T/verify" 2>>"$T/err"
		is "$model $mode: labels equal verify's" "$(tr '\n' ' ' <"$T/labels")" "$(jq .label "$T/out" | tr '\n' ' ')"
	done
done
X=$(classify --model model_x --limit 1 --json "$(source_of model_x)" | jq '.bytes.online.sent+.bytes.online.received')
Y=$(classify --model model_y --limit 1 --json "$(source_of model_y)" | jq '.bytes.online.sent+.bytes.online.received')
Z=$(classify --model model_z --limit 1 --json "$(source_of model_z)" | jq '.bytes.online.sent+.bytes.online.received')
is "online bytes, latency: X $X <= 5200, Y $Y <= 7200, Z $Z <= 180000" yes "$([ "$X" -le 5200 ] && [ "$Y" -le 7200 ] && [ "$Z" -le 180000 ] && echo yes)"
off() { classify --model "$1" --optimise bandwidth --limit 1 --json "$(source_of "$1")" | jq '.bytes.offline.sent+.bytes.offline.received+.bytes.offline.provider'; }
X=$(off model_x) Y=$(off model_y) Z=$(off model_z)
is "offline bytes, bandwidth: X $X <= 25000, Y $Y <= 65000, Z $Z <= 2400000" yes "$([ "$X" -le 25000 ] && [ "$Y" -le 65000 ] && [ "$Z" -le 2400000 ] && echo yes)"

# the data owner's role inside the command itself, and the label alone
# shellcheck disable=SC2046
"$OBSCURA" classify --standalone --model model_x --limit 5 --json $(creds "$T/pki" data-owner) --provider="$PROVIDER" --model-owner="$MODEL_OWNER" "$(source_of model_x)" >"$T/alone" 2>"$T/err"
is "standalone: labels" "7 2 1 0 4 " "$(jq .label "$T/alone" | tr '\n' ' ')"
classify --model model_x --reveal label --limit 5 --json "$(source_of model_x)" >"$T/label"
is "label only: labels" "7 2 1 0 4 " "$(jq .label "$T/label" | tr '\n' ' ')"
is "label only: bytes equal the prediction" 5 "$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==.predicted.round_trips)' "$T/label" | wc -l)"
