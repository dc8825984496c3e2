# SPDX-License-Identifier: Apache-2.0
# Labels only: real processes, both modes, every sample model; the argmax runs under the masks, so that the data owner gets one
# number an image; a model whose owner demands it refuses scores. Sizes and round trips are the plan's.
. test/e2e/lib.sh
mkdir "$T/models"
cp "$ROOT"/test/models/*.onnx "$T/models"
cp "$ROOT/test/models/digits_mlp.onnx" "$T/models/secret.onnx"
echo '{"scale":255,"reveal":"label","labels":["null","eins","zwei","drei","vier","fünf","sechs","sieben","acht","neun"]}' >"$T/models/secret.json"
start_three "$(ls "$T"/models/*.onnx | tr '\n' ',' | sed 's/,$//')" || { not_ok "roles start"; exit 1; }
for sample in "$ROOT"/test/models/*.onnx; do
	name=$(basename "$sample" .onnx)
	idx=$(pictures_of "$name")
	"$OBSCURA" verify "$sample" --images "$idx" --limit 40 --reveal label --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>&1
	for mode in latency bandwidth; do
		classify --model "$name" --reveal label --optimise $mode --limit 40 --json "$idx" >"$T/out" 2>"$T/err"
		is "$name $mode: labels equal verify's" "0 $(tr '\n' ' ' <"$T/labels")" "$? $(jq .label "$T/out" | tr '\n' ' ')" || cat "$T/err"
		is "$name $mode: scores say nothing but the label" 40 "$(jq -c '. as $r|select([range(.scores|length)|if .==$r.label then 1 else 0 end]==.scores)' "$T/out" | wc -l)"
		is "$name $mode: bytes and round trips as predicted" 40 "$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==.predicted.round_trips)' "$T/out" | wc -l)"
	done
	classify --model "$name" --limit 40 --json "$idx" >"$T/logits" 2>"$T/err"
	is "$name: logits give the same labels" 40 "$(jq .label "$T/logits" | paste - "$T/labels" | awk '$1==$2' | wc -l)"
	is "$name: a label costs round trips, more than logits" yes "$([ "$(jq -s '.[0].round_trips' "$T/out")" -gt "$(jq -s '.[0].round_trips' "$T/logits")" ] && echo yes)"
done
is "obscura status tells the sessions of a model apart" "smpc bandwidth label,smpc latency label,smpc latency logits" "$("$OBSCURA" status --socket="$T/data-owner.sock" --json | jq -r '.pools[]|select(.model=="digits_mlp")|.personality+" "+.mode+" "+.reveal' | sort | paste -sd,)"
IDX=$(pictures_of digits)
for mode in latency bandwidth; do
	classify --model secret --optimise $mode --limit 1 "$IDX" >/dev/null 2>"$T/err"
	code=$?
	if [ $code = 4 ] && grep -q "model-owner.*model secret gives only labels.*--reveal label" "$T/err" && [ "$(wc -l <"$T/err")" = 1 ]; then ok "secret $mode: scores are refused, with the remedy"; else not_ok "secret $mode: scores are refused" "exit $code: $(cat "$T/err")"; fi
	classify --model secret --reveal label --optimise $mode --limit 5 --json "$IDX" >"$T/out" 2>"$T/err"
	is "secret $mode: labels are given, with their names" "0 5" "$? $(jq -c 'select(.name|test("^[a-zü]+$"))' "$T/out" | wc -l)"
done
echo '{"reveal":"nothing"}' >"$T/models/secret.json"
"$OBSCURA" model check "$T/models/secret.onnx" >"$T/out" 2>&1
is "a policy that is misspelt is refused" "3 1" "$? $(grep -c 'secret.json.*reveal must be' "$T/out")"
