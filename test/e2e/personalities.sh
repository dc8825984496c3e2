# SPDX-License-Identifier: Apache-2.0
# Jobs and HTTP requests in other personalities than smpc, through real processes without a provider: labels and bytes as predicted, the leak
# named in every answer, refusals.
. test/e2e/lib.sh
command -v curl >/dev/null && command -v jq >/dev/null || { echo "skip - jobs and requests in other personalities (no curl or jq)"; exit 0; }
make_pki "$T/pki" localhost 127.0.0.1
MODEL=$ROOT/test/models/digits_conv.onnx
STACK=$ROOT/test/images/digits-idx3-ubyte
# shellcheck disable=SC2046
start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$NOBODY" --personalities=smpc,he,clear --models="$MODEL" $(creds "$T/pki" model-owner)
MODEL_OWNER=127.0.0.1:$(port model-owner) || { not_ok "roles start"; exit 1; }
data_owner() {
	# shellcheck disable=SC2046
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --admin-socket=none --provider="$NOBODY" --model-owner="$MODEL_OWNER" --clear=on $(creds "$T/pki" data-owner)
	for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && [ -S "$T/http.sock" ] && return 0; sleep 0.05; done
	return 1
}
data_owner || { not_ok "roles start"; exit 1; }
batch() { timeout 120 "$OBSCURA" batch --socket="$T/data-owner.sock" --model digits_conv "$@"; }
"$OBSCURA" verify "$MODEL" --images "$STACK" --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>"$T/err" || not_ok "verify" "$(cat "$T/err")"
N=$(wc -l <"$T/labels")
tail -c +17 "$STACK" >"$T/pixels"
LIST=$(od -An -v -tu1 "$T/pixels" | tr -s ' \n' ',,' | sed 's/^,//;s/,$//')

for P in he clear; do
	LEAK=$(classify --model digits_conv --personality $P --json --limit 1 "$STACK" | jq -r .leaks)
	is "$P: classify names a leak" yes "$([ "${#LEAK}" -gt 10 ] && echo yes)"
	batch "$STACK" --personality $P --out "$T/$P.csv" --json >"$T/out" 2>"$T/err"
	is "$P: a job ends" "0 " "$? $(cat "$T/err")"
	is "$P: labels of the job equal verify's" "" "$(jq .label "$T/$P.csv" | diff - "$T/labels")"
	is "$P: the summary names personality and leak" "$P $LEAK $N" "$(jq -r '"\(.personality) \(.leaks) \(.done)"' "$T/out")"
	batch "$STACK" --personality $P --out "$T/$P-2.csv" --limit 2 >"$T/out" 2>"$T/err"
	is "$P: so does the table" 1 "$(grep -c "^$P leaks $LEAK\$" "$T/out")"
	printf '{"inputs":[{"name":"image","datatype":"UINT8","shape":[%s,1,28,28],"data":[%s]}],"parameters":{"personality":"%s"}}' "$N" "$LIST" "$P" >"$T/json"
	curl -sS --max-time 60 --unix-socket "$T/http.sock" http://localhost/v2/models/digits_conv/infer -d @"$T/json" >"$T/out"
	is "$P: labels of a request equal verify's" "" "$(jq '.outputs[]|select(.name=="label").data[]' "$T/out" | diff - "$T/labels")"
	is "$P: the answer names personality and leak" "$P $LEAK" "$(jq -r '.parameters|"\(.personality) \(.leaks)"' "$T/out")"
	is "$P: bytes of a request equal the prediction" true "$(jq '.parameters|.bytes_online_sent==.predicted_online_sent and .bytes_online_received==.predicted_online_received and .bytes_online_sent>0' "$T/out")"
done

# a job of one personality is not that of another, and stays what it is when the process dies
batch "$STACK" --personality he --out "$T/he.csv" --json >"$T/out" 2>"$T/err"
is "the same again does nothing anew" "$N 0" "$(jq -r '"\(.done) \(.images_now)"' "$T/out")"
kill -STOP "$(cat "$T/model-owner.pid")"
batch "$STACK" --personality he --out "$T/later.csv" --json >"$T/later.out" 2>"$T/later.err" &
LATER=$!
PIDS="$PIDS $LATER"
sleep 1
kill_role data-owner
kill -CONT "$(cat "$T/model-owner.pid")"
rm -f "$T/data-owner.sock" "$T/http.sock"
data_owner
wait "$LATER"
is "a job of he goes on after the death of the data owner" "0 " "$? $(jq .label "$T/later.csv" | diff - "$T/labels")$(cat "$T/later.err" | grep -v waiting)"
kill_role model-owner
# shellcheck disable=SC2046
start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$NOBODY" --personalities=he --models="$MODEL" $(creds "$T/pki" model-owner)
port model-owner >/dev/null
for _ in $(seq 50); do classify --model digits_conv --personality he --limit 1 "$STACK" >/dev/null 2>&1 && break; sleep 0.2; done # until it is connected again
batch "$STACK" --personality he --out "$T/again.csv" --json >"$T/out" 2>"$T/err"
is "the data owner survives a model owner that comes back" "0 1" "$(kill -0 "$(cat "$T/data-owner.pid")"; echo $?) $(grep -c "ready; model owner" "$T/data-owner.log")"
is "and new ones run" "" "$(jq .label "$T/again.csv" | diff - "$T/labels")"
batch "$STACK" --personality clear --out "$T/none.csv" >"$T/out" 2>"$T/err"
is "not offered: refused" "4 1" "$? $(grep -c 'there is he' "$T/err")"
batch "$STACK" --personality shares --out "$T/none.csv" >"$T/out" 2>"$T/err"
is "no such personality: refused with those that are" "2 1" "$? $(grep -c "there is smpc, he, clear" "$T/err")"
batch "$STACK" --personality he --reveal label --out "$T/none.csv" >"$T/out" 2>"$T/err"
is "he with the label alone: refused" 1 "$(grep -c 'shows all scores' "$T/err")"
