# SPDX-License-Identifier: Apache-2.0
# A picture and a model with planted markers go through everything at log level debug: no log, metric or status shows
# a byte of them, of a key, or anything that could be a share.
. test/e2e/lib.sh
command -v jq >/dev/null && command -v curl >/dev/null || { echo "skip - logs (no jq or curl)"; exit 0; }

# The picture's pixels spell a text. The model's weights are floats whose bytes spell another ("mrk=" is 0.0575).
IMAGE=PlantedImageMark WEIGHT=mrk=mrk=mrk=mrk=
for _ in $(seq 49); do printf %s "$IMAGE"; done >"$T/pixels"
{ printf 'P5\n28 28\n255\n'; cat "$T/pixels"; } >"$T/marked.pgm"
mkdir "$T/models"
SIZE=$(stat -c %s test/models/digits_mlp.onnx)
for shift in 0 1 2 3; do # weights are aligned to four bytes somehow
	at=$((SIZE / 2 + shift))
	{ head -c $at test/models/digits_mlp.onnx; printf %s "$WEIGHT$WEIGHT"; tail -c +$((at + 33)) test/models/digits_mlp.onnx; } >"$T/models/marked.onnx"
	"$OBSCURA" plan "$T/models/marked.onnx" >/dev/null 2>&1 && "$OBSCURA" verify "$T/models/marked.onnx" --images "$T/marked.pgm" --json >"$T/verify" 2>&1 &&
		[ "$(jq '.max_abs_error < 1' "$T/verify")" = true ] && break
done
is "the marked model is a model" 1 "$(grep -c "$WEIGHT" "$T/models/marked.onnx")"
cp test/models/digits_mlp.json "$T/models/marked.json" 2>/dev/null

run_all() { # run_all FORMAT
	F="--log-level=debug --log-format=$1"
	# shellcheck disable=SC2046,SC2086
	{
		start provider "$OBSCURAD" provider --listen=127.0.0.1:0 $F $(creds "$T/pki" provider)
		PROVIDER=127.0.0.1:$(port provider)
		start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$T/models/marked.onnx" $F $(creds "$T/pki" model-owner)
		MODEL_OWNER=127.0.0.1:$(port model-owner)
		start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $F $(creds "$T/pki" data-owner)
	}
	for _ in $(seq 200); do [ -S "$T/admin.sock" ] && break; sleep 0.05; done
	for mode in latency bandwidth; do
		for reveal in logits label; do
			classify --optimise $mode --reveal $reveal --json "$T/marked.pgm" >>"$T/results" 2>>"$T/said"
		done
	done
	LIST=$(od -An -v -tu1 "$T/pixels" | tr -s ' \n' ',,' | sed 's/^,//;s/,$//')
	api() { curl -sS --max-time 60 --unix-socket "$T/http.sock" "http://localhost/v2/models/marked/infer" "$@"; }
	api -d '{"id":"x","inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":['"$LIST"']}],"outputs":[{"name":"label"}]}' >>"$T/results"; echo >>"$T/results"
	# and what goes wrong with it, at each step
	{
		api -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,27,28],"data":['"$LIST"']}]}'
		api -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":['"$LIST"',"x"]}]}'
		api -d "{\"inputs\":[{\"name\":\"$IMAGE\"}]" -H 'Content-Type: image/png'
		api --data-binary @"$T/pixels" -H 'Inference-Header-Content-Length: 5'
		{ printf '\211PNG\r\n\032\n'; cat "$T/pixels"; } | api --data-binary @- -H 'Content-Type: image/png'
		classify "$T/pixels"
		printf 'P5\n28 28\n255\n%s' "$IMAGE" >"$T/cut.pgm"
		classify "$T/cut.pgm"
	} >>"$T/said" 2>&1
	curl -sS --unix-socket "$T/admin.sock" http://localhost/metrics >>"$T/shown"
	curl -sS --unix-socket "$T/http.sock" http://localhost/status.json >>"$T/shown"
	kill_role provider
	classify "$T/marked.pgm" >>"$T/said" 2>&1
	stop_all
	cat "$T"/provider.log "$T"/model-owner.log "$T"/data-owner.log >>"$T/logs.$1"
}
make_pki "$T/pki" localhost 127.0.0.1
run_all text
run_all json
is "all forms gave a result" 10 "$(grep -cE '"label"' "$T/results")"
is "text: three roles logged at debug" "3 yes" "$(awk '{print $3}' "$T/logs.text" | sort -u | wc -l) $(grep -q ' debug ' "$T/logs.text" && echo yes)"
is "json: every line is an object with time, level, role and message" "" "$(while read -r line; do
	echo "$line" | jq -e 'has("time") and has("level") and has("role") and has("message")' >/dev/null 2>&1 || echo "$line"
done <"$T/logs.json")"
is "json: peers are a field" yes "$(jq -r '.peer//empty' "$T/logs.json" | grep -q '^provider ' && echo yes)"

# every way in which bytes get into text
forms() { # forms MARKER: raw, hex, decimal with commas or spaces, base64 at each alignment
	printf '%s\n' "$1"
	hex=$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n'); echo "$hex"; echo "$hex" | tr a-f A-F
	dec=$(printf %s "$1" | od -An -v -tu1 | tr -s ' \n' '  ' | sed 's/^ //;s/ $//'); echo "$dec"; echo "$dec" | sed 's/ /, */g'
	for pad in '' x xx; do printf %s%s "$pad" "$1" | base64 -w0 | cut -c5-13; echo; done | grep .
}
{ forms "$(printf %s "$IMAGE" | cut -c1-12)"; forms "$(printf %s "$WEIGHT" | cut -c1-12)"; echo '0\.05775'; } >"$T/forms"
for role in provider model-owner data-owner; do grep -v -e ----- "$T/pki/$role.key"; openssl pkey -in "$T/pki/$role.key" -noout -text 2>/dev/null | grep : | grep -v '[a-z]:$' | sed 's/^ *//;s/:$//' | grep '..:..:..'; done >"$T/keys"
cat "$T/logs.text" "$T/logs.json" "$T/shown" "$T/said" >"$T/all"
is "the search finds what is planted" yes "$(echo "a line with $(printf %s "xxx$IMAGE" | base64 -w0) in it" | grep -q -f "$T/forms" && grep -q -F -f "$T/keys" "$T/pki/provider.key" && echo yes)"
is "no pixel and no weight in any log, metric, status or message" "" "$(grep -a -f "$T/forms" "$T/all")"
is "no line of a private key" "" "$(grep -a -i -F -f "$T/keys" "$T/all")"
is "nothing that looks like key material or a share (32 hex or base64 characters in a row)" "" "$(grep -aoE '[0-9a-f]{32,}|[A-Za-z0-9+]{40,}' "$T/all")"
