# SPDX-License-Identifier: Apache-2.0
# The he personality through real processes, without a provider: labels equal float's, bytes and round trips equal the plan's, the leak is said.
. test/e2e/lib.sh
M=$ROOT/test/models
make_pki "$T/pki" localhost 127.0.0.1

# owners PERSONALITIES MODELS [flags of the data owner]: a model owner that offers them, and a data owner
owners() { start_owners "$@" --admin-socket=none; }
he() { classify --personality he "$@"; }

owners smpc,he "$M/digits_conv.onnx,$M/digits_mlp.onnx,$M/fashion_res.onnx" || { not_ok "roles start"; exit 1; }
for model in digits_conv digits_mlp fashion_res; do
	P=$(pictures_of $model)
	he --model $model --json "$P" >"$T/out" 2>"$T/err"
	is "$model: exit code" 0 $? || cat "$T/err"
	N=$(jq -s length "$T/out")
	is "$model: round trips and bytes equal the prediction" "$N" "$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==.predicted.round_trips and .bytes.online.sent>0)' "$T/out" | wc -l)"
	is "$model: personality and leak are said" "$N" "$(jq -c 'select(.personality=="he" and (.leaks|startswith("pre-activations")))' "$T/out" | wc -l)"
	"$OBSCURA" plan "$M/$model.onnx" --personality he --json >"$T/plan"
	is "$model: bytes as obscura plan said" "$(jq -c .bytes.online "$T/plan")" "$(jq -sc '[.[].bytes.online]|unique|.[0]' "$T/out")"
	"$OBSCURA" verify "$M/$model.onnx" --images "$P" --labels-out "$T/labels" --json >/dev/null
	is "$model: labels equal those of smpc" "$(tr '\n' ' ' <"$T/labels")" "$(jq .label "$T/out" | tr '\n' ' ')"
done
he --model digits_conv "$ROOT/test/images/seven-0.png" >"$T/table"
is "the table says the leak" 1 "$(grep -c 'leaks pre-activations' "$T/table")"
he --model digits_conv --reveal label "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "label alone: refused" "4 1" "$? $(grep -c 'shows all scores' "$T/out")"

# the second data owner's process sends another key; the first one's is known when it comes back
kill_role model-owner
# shellcheck disable=SC2046
start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$NOBODY" --personalities=he --he-set=L --models="$M/digits_conv.onnx" $(creds "$T/pki" model-owner)
port model-owner >/dev/null
for _ in $(seq 150); do he --limit 1 "$(pictures_of digits_conv)" >/dev/null 2>&1 && break; sleep 0.2; done # until it is connected again
is "a new model owner, set L" '[true]' "$(he --json "$(pictures_of digits_conv)" 2>&1 | jq -sc '[.[]|.bytes==.predicted.bytes]|unique')"
# shellcheck disable=SC2046
is "standalone" '[true]' "$("$OBSCURA" classify --standalone --personality he --json $(creds "$T/pki" data-owner) --provider="$NOBODY" --model-owner="$MODEL_OWNER" "$(pictures_of digits_conv)" 2>&1 | jq -sc '[.[]|.bytes==.predicted.bytes]|unique')"
stop_all

# the plan offers both sets, and says what fewer bits do to labels
"$OBSCURA" plan "$M/digits_conv.onnx" --personality he --images "$(pictures_of digits_conv)" --labels "$ROOT/test/images/digits-labels-idx1-ubyte" --json >"$T/plan"
is "plan: sets and widths, the fewer bits the fewer bytes" "L/16/12 S/16/12 S/8/6 S/7/3 S/6/2 true" "$(jq -r '([.offers[]|"\(.set)/\(.weight_bits)/\(.activation_bits)"]|join(" ")) + " " + ([.offers[].bytes.online|.sent+.received]|.==(sort|reverse)|tostring)' "$T/plan")"
"$OBSCURA" verify "$M/digits_conv.onnx" --personality he --he-set S --weight-bits 6 --activation-bits 2 --images "$(pictures_of digits_conv)" --labels "$ROOT/test/images/digits-labels-idx1-ubyte" --json --min-agreement 0 >"$T/verify"
is "plan: agreement, accuracy and bytes are those of verify" "$(jq -c '[.images,.float_accuracy,.bytes.online]' "$T/verify") true" "$(jq -c '.offers[4]|[.images,.float_accuracy,.bytes.online]' "$T/plan") $(jq -s '(.[0].offers[4].accuracy-.[1].accuracy|fabs)<0.05 and (.[0].offers[4].label_agreement-.[1].label_agreement|fabs)<0.05' "$T/plan" "$T/verify")"

# few bits: fewer bytes, those of the plan of as many bits
# shellcheck disable=SC2046
start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$NOBODY" --personalities=he --he-set=S --he-weight-bits=6 --he-activation-bits=3 --models="$M/digits_conv.onnx" $(creds "$T/pki" model-owner)
port model-owner >/dev/null
# shellcheck disable=SC2046
"$OBSCURA" classify --standalone --personality he --json $(creds "$T/pki" data-owner) --provider="$NOBODY" --model-owner="$MODEL_OWNER" "$(pictures_of digits_conv)" >"$T/out" 2>&1
"$OBSCURA" plan "$M/digits_conv.onnx" --personality he --he-set S --weight-bits 6 --activation-bits 3 --json >"$T/plan"
is "few bits: bytes as obscura plan says for as many" "$(jq -c .bytes.online "$T/plan")" "$(jq -sc '[.[].bytes.online]|unique|.[0]' "$T/out")"
B=$(jq '.bytes.online|.sent+.received' "$T/plan") L=$("$OBSCURA" plan "$M/digits_conv.onnx" --personality he --he-set L --json | jq '.bytes.online|.sent+.received')
is "few bits: $B bytes are less than half of set L's $L" yes "$([ $((2 * B)) -lt "$L" ] && echo yes)"
stop_all

owners he "$M/digits_conv.onnx,$M/fashion_res.onnx" --he-offline=on || { not_ok "roles start with tickets"; exit 1; }
for model in digits_conv fashion_res; do
	P=$(pictures_of $model)
	he --model $model --limit 40 --json "$P" >"$T/out" 2>"$T/err"
	is "$model, he_offline: exit code" 0 $? || cat "$T/err"
	is "$model, he_offline: bytes and round trips equal the prediction, offline too" 40 "$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==.predicted.round_trips and .bytes.offline.received>0)' "$T/out" | wc -l)"
	"$OBSCURA" verify "$M/$model.onnx" --images "$P" --limit 40 --labels-out "$T/labels" --json >/dev/null 2>&1
	is "$model, he_offline: labels equal those of smpc" "$(tr '\n' ' ' <"$T/labels")" "$(jq .label "$T/out" | tr '\n' ' ')"
done
B=$(jq -s '.[0].bytes.online.sent+.[0].bytes.online.received' "$T/out")
is "fashion_res, he_offline: online bytes $B are those of words, where ciphertexts take 885,000" yes "$([ "$B" -lt 100000 ] && echo yes)"
stop_all

owners smpc "$M/digits_conv.onnx" || { not_ok "roles start again"; exit 1; }
he "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "not offered by default" "4 1" "$? $(grep -c 'there is smpc' "$T/out")"
