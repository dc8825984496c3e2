# SPDX-License-Identifier: Apache-2.0
# The HTTP API of the data owner through three real processes: every path of the Open Inference Protocol v2, every form of
# a picture, the same numbers as `obscura classify`, every refusal in its error form, tokens, limits, a peer that is down.
. test/e2e/lib.sh
command -v curl >/dev/null && command -v jq >/dev/null || { echo "skip - HTTP API (no curl or jq)"; exit 0; }
printf '%s\n' 0123456789abcdef0123456789abcdef >"$T/token"
chmod 600 "$T/token"
mkdir "$T/shy" && cp test/models/digits_mlp.onnx "$T/shy/shy.onnx" && echo '{"scale":255,"reveal":"label"}' >"$T/shy/shy.json"
printf 'http_token_file = "%s";\nhttp_images = 400;\nhttp_body_mib = 1;\n' "$T/token" >"$T/http.conf"
start_three "$SAMPLES,$T/shy/shy.onnx" --http-listen=127.0.0.1:0 -c "$T/http.conf" || { not_ok "roles start"; exit 1; }
TCP=$(sed -n 's|.*HTTP at http://\([^/]*\)/.*|\1|p' "$T/data-owner.log")

api() { u=$1; shift; curl -sS --max-time 60 --unix-socket "$T/http.sock" "http://localhost$u" "$@" 2>&1; }
code() { u=$1; shift; curl -s -o /dev/null -w '%{http_code}' --max-time 60 --unix-socket "$T/http.sock" "http://localhost$u" "$@"; }
tcp_code() { u=$1; shift; curl -s -o /dev/null -w '%{http_code}' --max-time 60 "http://$TCP$u" "$@"; }
I=/v2/models/digits_mlp/infer

# ---- health and metadata
is "live" '{"live":true}' "$(api /v2/health/live)"
is "server metadata" '["obscura",["binary_tensor_data","classification"]]' "$(api /v2 | jq -c '[.name,.extensions]')"
for _ in $(seq 100); do [ "$(code /v2/health/ready)" = 200 ] && break; sleep 0.1; done
is "ready when peers and a ticket are there" '{"live":true,"ready":true}' "$(api /v2/health/ready)"
for _ in $(seq 100); do [ "$(code /v2/models/digits_mlp/ready)" = 200 ] && break; sleep 0.1; done
is "model ready" '{"name":"digits_mlp","ready":true}' "$(api /v2/models/digits_mlp/ready)"
is "model metadata" '{"name":"digits_mlp","platform":"obscura_smpc","inputs":[{"name":"image","datatype":"UINT8","shape":[-1,1,28,28]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,10]},{"name":"label","datatype":"INT64","shape":[-1]}]}' "$(api /v2/models/digits_mlp)"
is "unknown model" "404 $(printf '{"error":"the model owner serves no model of this name"}')" "$(code /v2/models/nobody) $(api /v2/models/nobody)"

# ---- pictures in every form, the same result
STACK=$(pictures_of digits)
tail -c +17 "$STACK" >"$T/pixels"
N=$(($(stat -c %s "$T/pixels") / 784))
WANT=$(classify --model digits_mlp --json "$STACK" | jq -sc '[.[].label]')
LIST=$(od -An -v -tu1 "$T/pixels" | tr -s ' \n' ',,' | sed 's/^,//;s/,$//')
json_request() { printf '{"id":"r1","inputs":[{"name":"image","datatype":"UINT8","shape":%s,"data":[%s]}]%s}' "$1" "$LIST" "$2"; }
json_request "[$N,1,28,28]" >"$T/json"
R=$(api $I -d @"$T/json")
is "JSON tensor: labels of $N pictures equal classify's" "$WANT" "$(echo "$R" | jq -c '.outputs[]|select(.name=="label").data')"
is "JSON tensor: names, types, shapes" "[\"digits_mlp\",\"r1\",[[\"scores\",\"FP32\",[$N,10]],[\"label\",\"INT64\",[$N]]]]" "$(echo "$R" | jq -c '[.model_name,.id,[.outputs[]|[.name,.datatype,.shape]]]')"
is "JSON tensor: as many scores" $((N * 10)) "$(echo "$R" | jq '.outputs[0].data|length')"
is "costs equal the plan's prediction" true "$(echo "$R" | jq '.parameters|.round_trips==.predicted_round_trips and .bytes_online_sent==.predicted_online_sent and .bytes_online_received==.predicted_online_received and .bytes_offline_provider==.predicted_offline_provider')"
json_request "[$N,28,28,1]" >"$T/json"
is "channels last" "$WANT" "$(api $I -d @"$T/json" | jq -c '.outputs[1].data')"

# binary data behind the JSON, both ways
binary() { # binary HEADER FILE
	printf '%s' "$1" | cat - "$2" >"$T/body"
	curl -sS --unix-socket "$T/http.sock" "http://localhost$I" -D "$T/head" -o "$T/out" -H "Inference-Header-Content-Length: ${#1}" -H 'Content-Type: application/octet-stream' --data-binary @"$T/body"
}
binary '{"inputs":[{"name":"image","datatype":"UINT8","shape":['"$N"',1,28,28],"parameters":{"binary_data_size":'$((N * 784))'}}],"outputs":[{"name":"label","parameters":{"binary_data":true}},{"name":"scores"}]}' "$T/pixels"
H=$(sed -n 's/^Inference-Header-Content-Length: \([0-9]*\).*/\1/p' "$T/head")
is "binary tensor: header, size and labels" "$((N * 8)) $WANT" "$(head -c "$H" "$T/out" | jq '.outputs[0].parameters.binary_data_size') $(tail -c +$((H + 1)) "$T/out" | od -An -v -td8 -w8 | jq -sc .)"
is "binary tensor: the other output in JSON" $((N * 10)) "$(head -c "$H" "$T/out" | jq '.outputs[1].data|length')"
is "binary tensor: nothing else in the body" $((H + N * 8)) "$(stat -c %s "$T/out")"

cat "$T/pixels" "$T/pixels" "$T/pixels" "$T/pixels" >"$T/many"
M=$((4 * N))
binary '{"inputs":[{"name":"image","datatype":"UINT8","shape":['$M',1,28,28],"parameters":{"binary_data_size":'$((M * 784))'}}],"outputs":[{"name":"view_data_owner"}]}' "$T/many"
is "views of $M pictures are too long for JSON" "true" "$(jq '.error|contains("binary_data")' "$T/out")"
binary '{"parameters":{"binary_data_output":true},"inputs":[{"name":"image","datatype":"UINT8","shape":['$M',1,28,28],"parameters":{"binary_data_size":'$((M * 784))'}}],"outputs":[{"name":"view_data_owner"}]}' "$T/many"
is "views of $M pictures in binary are the pictures" yes "$(tail -c $((M * 784)) "$T/out" | cmp -s - "$T/many" && echo yes)"

# files: raw, base64, binary BYTES
S=test/images/seven-0.png
is "PNG as the body" 7 "$(api $I -H 'Content-Type: image/png' --data-binary @$S | jq '.outputs[1].data[0]')"
is "PNG as raw binary request" 7 "$(api $I -H 'Inference-Header-Content-Length: 0' --data-binary @$S | jq '.outputs[1].data[0]')"
is "pixels as raw binary request" "$WANT" "$(api $I -H 'Inference-Header-Content-Length: 0' --data-binary @"$T/pixels" | jq -c '.outputs[1].data')"
B7=$(base64 -w0 $S) B2=$(base64 -w0 test/images/two-0.png)
is "PNG in base64, best classes with names" '[["seven","two"],["seven","two"]]' "$(api $I -d '{"inputs":[{"name":"image","datatype":"BYTES","shape":[2],"data":["'"$B7"'","'"$B2"'"]}],"outputs":[{"name":"scores","parameters":{"classification":1}},{"name":"label","parameters":{"names":true}}]}' | jq -c '[[.outputs[0].data[]|split(":")[2]],.outputs[1].data]')"
RGB='{"inputs":[{"name":"image","datatype":"BYTES","shape":[2],"data":["'"$(base64 -w0 test/fuzz/corpus/image/rgb.png)"'","'"$(base64 -w0 test/fuzz/corpus/image/baseline.jpg)"'"]}]'
is "colour for a grey model: only when it is allowed" '400 200' "$(code $I -d "$RGB}") $(code $I -d "$RGB,\"parameters\":{\"convert\":true}}")"
le() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))\\000\\000"; }
{ le "$(stat -c %s $S)"; cat $S; } >"$T/files"
binary '{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":'"$(stat -c %s "$T/files")"'}}]}' "$T/files"
is "PNG as binary BYTES" 7 "$(jq '.outputs[1].data[0]' "$T/out")"
V='{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}],"outputs":[{"name":"view_data_owner"},{"name":"view_model_owner"}]}'
is "views: names, types, shapes" '[["view_data_owner","UINT8",[1,1,28,28],784],["view_model_owner","UINT8",[1,1,28,28],784]]' "$(api $I -d "$V" | jq -c '[.outputs[]|[.name,.datatype,.shape,(.data|length)]]')"
is "views: the data owner sees the picture" "$(head -c 784 "$T/pixels" | od -An -v -tu1 | jq -sc .)" "$(api $I -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":['"$(head -c 784 "$T/pixels" | od -An -v -tu1 | tr -s ' \n' ',,' | sed 's/^,//;s/,$//')"']}],"outputs":[{"name":"view_data_owner"}]}' | jq -c '.outputs[0].data')"
is "views: the model owner sees something else each time" 2 "$({ api $I -d "$V"; api $I -d "$V"; } | jq -c '.outputs[1].data' | sort -u | wc -l)"
is "layers: operators with their times, and all bytes" "mask true true" "$(api $I -d '{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}],"outputs":[{"name":"layers"}]}' | jq -r '(.parameters|.bytes_online_sent+.bytes_online_received) as $all|.outputs[0]|[(.data[0]|split(":")[0]),((.data|length)==.shape[0] and all(.data[]; test("^[a-z]+(:[0-9]+){4}$")))]+[([.data[]|split(":")[3:5]|map(tonumber)|add]|add)==$all]|join(" ")')"
is "label only" '[["label"],[7]]' "$(api $I -d '{"parameters":{"reveal":"label"},"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}]}' | jq -c '[[.outputs[].name],.outputs[0].data]')"
is "bandwidth mode" '["bandwidth",7]' "$(api $I -d '{"parameters":{"optimise":"bandwidth"},"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}]}' | jq -c '[.parameters.mode,.outputs[1].data[0]]')"

# a model whose owner gives only labels: who does not insist gets the label
is "label-only model: metadata" '["label"]' "$(api /v2/models/shy | jq -c '[.outputs[].name]')"
is "label-only model: the label" '[["label"],[7]]' "$(api /v2/models/shy/infer -H 'Content-Type: image/png' --data-binary @$S | jq -c '[[.outputs[].name],.outputs[0].data]')"
for _ in $(seq 100); do [ "$(code /v2/models/shy/ready)" = 200 ] && break; sleep 0.1; done
is "label-only model: ready" 200 "$(code /v2/models/shy/ready)"

# ---- the published schemas (open_inference_rest.yaml) and examples
TYPES='["BOOL","UINT8","UINT16","UINT32","UINT64","INT8","INT16","INT32","INT64","FP16","FP32","FP64","BYTES"]'
RESPONSE="(.model_name|type)==\"string\" and (.outputs|type)==\"array\" and all(.outputs[];
	(.name|type)==\"string\" and (.datatype as \$t|$TYPES|index(\$t)) != null and all(.shape[]; type==\"number\" and .==floor) and (.data|type)==\"array\"
	and (.shape|reduce .[] as \$d (1; .*\$d))==(.data|flatten|length)) and all(.parameters//{}|.[]; type|.==\"string\" or .==\"number\" or .==\"boolean\")"
ALL='{"id":"42","parameters":{"binary_data_output":false},"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","parameters":{"content_type":"base64"},"data":["'"$B7"'"]}],"outputs":[{"name":"scores"},{"name":"label"},{"name":"view_data_owner"},{"name":"view_model_owner"},{"name":"layers"}]}'
is "inference_response: five outputs, every one as the schema has it" "true 42" "$(api $I -d "$ALL" | jq -r "[$RESPONSE, .id]|join(\" \")")"
is "inference_response: no id where none was sent" "true null" "$(api $I -H 'Content-Type: image/png' --data-binary @$S | jq -r "[$RESPONSE, (.id|tostring)]|join(\" \")")"
is "metadata_server_response" true "$(api /v2 | jq '([.name,.version]|all(type=="string")) and (.extensions|all(type=="string"))')"
is "metadata_model_response" true "$(api /v2/models/fashion_res | jq '([.name,.platform]|all(type=="string")) and all((.inputs+.outputs)[]; ([.name,.datatype]|all(type=="string")) and (.shape|all(type=="number")))')"
is "a path with a slash at its end, as the schema has it" '"obscura"' "$(api /v2/ | jq .name)"
# the protocol's own example request: other inputs than this model's, so it is refused in the error form
PUBLISHED='{"id":"42","inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32","data":[1,2,3,4]},{"name":"input1","shape":[3],"datatype":"BOOL","data":[true]}],"outputs":[{"name":"output0"}]}'
is "the published example" '400 ["error"]' "$(code $I -d "$PUBLISHED") $(api $I -d "$PUBLISHED" | jq -c keys)"

# ---- refusals, all in the protocol's error form
refused() { # refused NAME STATUS WORD ARGUMENTS…
	n=$1 s=$2 w=$3; shift 3
	r=$(api "$@")
	c=$(code "$@")
	if [ "$c" = "$s" ] && [ "$(echo "$r" | jq -c keys 2>/dev/null)" = '["error"]' ] && echo "$r" | grep -q "$w"; then ok "$n"; else not_ok "$n" "$c $r"; fi
}
refused "no JSON" 400 "cannot be read" $I -d 'hello'
refused "JSON that ends early" 400 "ends early" $I -d '{"inputs":['
refused "no inputs" 400 inputs $I -d '{}'
refused "floats" 400 "8-bit pixels" $I -d '{"inputs":[{"name":"image","datatype":"FP32","shape":[1,1,28,28],"data":[0.5]}]}'
refused "scores of a label-only model" 502 "only labels" /v2/models/shy/infer -d '{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}],"outputs":[{"name":"scores"}]}'
P='"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}]'
refused "a personality that does not exist" 400 personalit $I -d '{"parameters":{"personality":"zero"},'"$P}"
refused "a personality that the model owner does not offer" 502 "offered" $I -d '{"parameters":{"personality":"he"},'"$P}"
refused "an unknown input" 400 'no input' $I -d '{"inputs":[{"name":"x","datatype":"UINT8","shape":[1,1,28,28],"data":[1]}]}'
refused "an unknown output" 400 'no output' $I -d '{"inputs":[{"name":"image","datatype":"BYTES","shape":[1],"data":["'"$B7"'"]}],"outputs":[{"name":"x"}]}'
refused "too few numbers" 400 "has 3 numbers, its shape 784" $I -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,28,28],"data":[1,2,3]}]}'
refused "a shape that is not the model's" 400 'takes \[N,1,28,28\]' $I -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,1,2],"data":[1,2]}]}'
refused "a number that is no pixel" 400 "0 to 255" $I -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[1,1,1,2],"data":[1,256]}]}'
refused "too many pictures" 400 http_images $I -d '{"inputs":[{"name":"image","datatype":"UINT8","shape":[401,1,28,28],"data":[1]}]}'
refused "a header that is too long" 400 Inference-Header $I -H 'Inference-Header-Content-Length: 99' -d '{}'
refused "a picture that is none" 400 "neither PNG" $I -H 'Content-Type: image/png' -d 'hello'
head -c 100 $S >"$T/cut"
refused "a corrupt picture" 400 "picture 0: corrupt PNG" $I -H 'Content-Type: image/png' --data-binary "@$T/cut"
head -c 1200000 /dev/zero >"$T/big"
refused "a body that is too large" 413 http_body_mib $I --data-binary "@$T/big"
refused "no such address" 404 "no such address" /v3
refused "no versions" 404 "no versions" /v2/models/digits_mlp/versions/1/ready
refused "wrong method" 405 POST $I
is "a body that is far too large is not read" 413 "$(head -c 9000000 /dev/zero | code $I --data-binary @-)"

# ---- TCP: token, other sites
is "TCP without the token" 401 "$(tcp_code /v2)"
is "TCP with a wrong token" 401 "$(tcp_code /v2 -H 'Authorization: Bearer 0123456789abcdef0123456789abcdeF')"
A="Authorization: Bearer 0123456789abcdef0123456789abcdef"
is "TCP with the token" 200 "$(tcp_code /v2 -H "$A")"
is "TCP: probes need no token" 200 "$(tcp_code /v2/health/ready)"
is "a page of another site is refused" 403 "$(tcp_code /v2 -H "$A" -H 'Origin: http://evil.example')"
is "another name for this host is refused" 403 "$(tcp_code /v2 -H "$A" -H 'Host: evil.example')"
is "a page of our own is not" 200 "$(tcp_code /v2 -H "$A" -H "Origin: http://$TCP")"
# shellcheck disable=SC2046
"$OBSCURAD" data-owner --socket="$T/second.sock" --http-socket=none --http-listen=0.0.0.0:0 --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $(creds "$T/pki" data-owner) >"$T/second" 2>&1
is "another address without a token is refused at start" 2 $?
grep -q 'http_token_file' "$T/second" && ok "and the remedy is named" || not_ok "and the remedy is named" "$(cat "$T/second")"

# ---- limits and the token change while it runs
printf '%s\n' fedcba9876543210fedcba9876543210 >"$T/token"
sed -i 's/http_images = 400/http_images = 1/' "$T/http.conf"
kill -HUP "$(cat "$T/data-owner.pid")"
for _ in $(seq 100); do grep -q 'new configuration is in force' "$T/data-owner.log" && break; sleep 0.1; done
is "reload: the new token, not the former" "200 401" "$(tcp_code /v2 -H 'Authorization: Bearer fedcba9876543210fedcba9876543210') $(tcp_code /v2 -H "$A")"
refused "reload: a new limit" 400 "may have 1 " $I -d "$RGB,\"parameters\":{\"convert\":true}}"

# ---- the decoder, and a peer that is down
D=$(pgrep -P "$(cat "$T/data-owner.pid")" | head -1)
if readlink "/proc/$D/fd/0" >/dev/null 2>&1; then is "the decoder's process has no descriptor but its socket" "socket" "$(for f in /proc/"$D"/fd/*; do case $f in */[012]) ;; *) readlink "$f" | sed 's/:.*//' ;; esac; done | sort -u)"; else echo "skip - the decoder's descriptors (needs root and CAP_SYS_PTRACE)"; fi
kill_role provider
for _ in $(seq 50); do [ "$(code /v2/health/ready)" = 503 ] && break; sleep 0.1; done
is "not ready without the provider, and why" 503 "$(code /v2/health/ready)"
is "a stranger is not told why" "null true" "$(curl -s "http://$TCP/v2/health/ready" | jq -r '[(.error|tostring),(.ready==false)]|join(" ")')"
refused "a request without the provider" 503 "$PROVIDER" $I -H 'Content-Type: image/png' --data-binary @$S
kill "$(cat "$T/data-owner.pid")"; wait "$(cat "$T/data-owner.pid")"
is "stops in order" 0 $?
is "its HTTP socket is gone" no "$([ -e "$T/http.sock" ] && echo yes || echo no)"
