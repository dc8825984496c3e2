# SPDX-License-Identifier: Apache-2.0
# The clear personality through real processes, without a provider: labels equal verify's, bytes and round trips equal the plan's, the leak is said,
# and nothing of it happens unless both sides ask for it by name.
. test/e2e/lib.sh
M=$ROOT/test/models
make_pki "$T/pki" localhost 127.0.0.1

# owners PERSONALITIES MODELS: a model owner that offers them, and a data owner
owners() { start_owners "$1" "$2" --clear="${CLEAR:-on}" --admin-socket="$T/admin"; }
clear() { classify --personality clear "$@"; }

owners smpc,clear "$M/digits_conv.onnx,$M/digits_mlp.onnx,$M/fashion_res.onnx" || { not_ok "roles start"; exit 1; }
for model in digits_conv digits_mlp fashion_res; do
	P=$(pictures_of $model)
	clear --model $model --json "$P" >"$T/out" 2>"$T/err"
	is "$model: exit code" 0 $? || cat "$T/err"
	N=$(jq -s length "$T/out")
	is "$model: one round trip, bytes equal the prediction" "$N" "$(jq -c 'select(.bytes==.predicted.bytes and .round_trips==1 and .predicted.round_trips==1 and .bytes.online.sent>0 and .bytes.offline.sent==0)' "$T/out" | wc -l)"
	is "$model: personality and leak are said" "$N" "$(jq -c 'select(.personality=="clear" and .leaks=="the picture to the model owner")' "$T/out" | wc -l)"
	"$OBSCURA" plan "$M/$model.onnx" --personality clear --json >"$T/plan"
	is "$model: bytes as obscura plan said" "$(jq -c .bytes.online "$T/plan")" "$(jq -sc '[.[].bytes.online]|unique|.[0]' "$T/out")"
	"$OBSCURA" verify "$M/$model.onnx" --personality clear --images "$P" --labels-out "$T/labels" --min-agreement 0.98 --json >"$T/verify"
	is "$model: equal to the fixed-point reference, bit by bit" 0 "$(jq .fixed_point_differences "$T/verify")"
	is "$model: labels equal verify's" "$(tr '\n' ' ' <"$T/labels")" "$(jq .label "$T/out" | tr '\n' ' ')"
done
clear --model digits_conv "$ROOT/test/images/seven-0.png" >"$T/table"
is "the table says the leak" 1 "$(grep -c 'clear: leaks the picture to the model owner' "$T/table")"
is "label alone: one byte, no scores" "[1,[]]" "$(clear --model digits_conv --reveal label --json "$ROOT/test/images/seven-0.png" | jq -c '[.bytes.online.received,[.scores[]|select(.!=0 and .!=1)]]')"
is "metrics count it" yes "$(curl -s --unix-socket "$T/admin" http://x/metrics | grep -q '^obscura_clear_inferences_total [1-9]' && echo yes)"
# shellcheck disable=SC2046
is "standalone" '[true]' "$("$OBSCURA" classify --standalone --personality clear --model digits_mlp --json $(creds "$T/pki" data-owner) --provider="$NOBODY" --model-owner="$MODEL_OWNER" "$(pictures_of digits_mlp)" 2>&1 | jq -sc '[.[]|.bytes==.predicted.bytes]|unique')"
stop_all

owners smpc,he "$M/digits_conv.onnx" || { not_ok "roles start again"; exit 1; }
clear "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "not offered by default" "4 1" "$? $(grep -c 'there is smpc and he' "$T/out")"
stop_all

CLEAR=off
owners smpc,clear "$M/digits_conv.onnx" || { not_ok "roles start a third time"; exit 1; }
clear "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "the data owner decides, not its clients" "2 1" "$? $(grep -c 'this data owner does not allow' "$T/out")"
