# SPDX-License-Identifier: Apache-2.0
# obscura bench with real processes: every row has its fields, and bytes and round trips are those of the prediction.
. test/e2e/lib.sh
OUT=$T/bench
timeout 300 "$OBSCURA" bench --quick --models A --batch 1,4 --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench: exit code" 0 $? || cat "$T/err"
J=$OUT/bench.jsonl
is "bench: every line is JSON" 5 "$(jq -s length "$J" 2>>"$T/err")"
is "bench: conditions come first" true "$(head -1 "$J" | jq '.kind=="conditions" and (.kernel|length)>0 and (.processor|length)>0 and .cores>0 and (.load|length)==3 and (.compiler|length)>0 and (.date|test("^20[0-9-]+T")) and has("governor") and has("commit")')"
jq -c 'select(.kind=="macro")' "$J" >"$T/rows"
is "bench: a row for each mode and batch" "bandwidth/1 bandwidth/4 latency/1 latency/4" "$(jq -r '"\(.mode)/\(.batch)"' "$T/rows" | sort | tr '\n' ' ' | sed 's/ $//')"

# the fields of docs/BENCHMARKS.md, in every row, with values that can be
is "bench: every row has its fields" 4 "$(jq -c 'select(
	(.model=="net_a") and (.personality=="smpc") and (.link=="native") and .in_flight==1 and .data_owners==1 and .requests>0 and .warm<=.requests and
	([.seconds.online,.seconds.offline,.seconds.total|[has("n","least","median","p99","most","mean")]|all]|all) and (.seconds.connect|type)=="number" and
	.seconds.online.least>0 and .seconds.online.median>=.seconds.online.least and .seconds.online.p99>=.seconds.online.median and .seconds.total.median>=.seconds.online.least and
	.images>0 and .wall>0 and .images_per_second>0 and .images_per_cpu_second>0 and .pool_high>0 and .tickets_burnt>0 and (.tickets_made|type)=="number" and .agreement>=0.9 and
	([.cpu_seconds,.peak_bytes|[.data_owner,.model_owner,.provider,.driver]|map(.>0)|all]|all) and
	.floor.tls.median>0 and .floor.socket.median>0 and .floor.float>0 and .simulated==false and .setup_bytes>0)' "$T/rows" | wc -l)"
is "bench: bytes and round trips are the prediction's" 4 "$(jq -c 'select(.as_predicted and .round_trips==.predicted.round_trips and
	.bytes.online.sent==.predicted.bytes.online.sent and .bytes.online.received==.predicted.bytes.online.received and
	.bytes.offline.sent==.predicted.bytes.offline.sent and .bytes.offline.provider==.predicted.bytes.offline.provider)' "$T/rows" | wc -l)"
# … and the prediction is the plan's own, not a copy of what was measured: A has 3 and 5 round trips and 256 comparisons of 440 or 68 bytes at most
is "bench: the prediction is the plan's" "3 5" "$(jq -s '[.[]|select(.mode=="latency").predicted.round_trips][0], [.[]|select(.mode=="bandwidth").predicted.round_trips][0]' "$T/rows" | tr '\n' ' ' | sed 's/ $//')"
# on the wire: the payload with frames and TLS around it, by pair; tickets are made ahead, so that a window's offline bytes are near its images'
is "bench: the wire carries the payload and little more" 4 "$(jq -c 'select((.bytes.online.sent+.bytes.online.received) as $p | (.wire.online.sent+.wire.online.received) as $w | $w>$p and $w<1.6*$p+700 and
	.wire_pairs.data_owner_model_owner.sent>=.wire.online.sent and .wire_pairs.model_owner_provider.received>0.2*.bytes.offline.provider and .wire_pairs.model_owner_provider.received<5*.bytes.offline.provider)' "$T/rows" | wc -l)"
is "bench: tables for people" "3 yes" "$(grep -c '^net_a *latency *1 ' "$T/table" | sed 's/^2$/3/') $(grep -q 'IMAGES/S' "$T/table" && grep -q 'AS PLANNED' "$T/table" && echo yes)"
is "bench: Markdown has a line for each row in each table" 8 "$(grep -c '^| net_a |' "$OUT/bench.md")"

# profiles
timeout 120 "$OBSCURA" bench --quick --profile --models "$ROOT/test/models/digits_mlp.onnx" --optimise latency --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench --profile: exit code" 0 $? || cat "$T/err"
jq -c 'select(.kind=="profile")' "$J" >"$T/profile"
is "bench --profile: rows are the plan's, and the data owner's time is in them" true "$(jq '
	([.rows[].op]|index("linear")!=null and index("relu")!=null and .[-1]=="reveal") and
	([.rows[].bytes.online.sent]|add)>0 and
	([.rows[].seconds.model_owner.compute]|add)>0 and ([.rows[].seconds.provider.offline]|add)>0 and ([.rows[].seconds.data_owner.offline]|add)>0 and
	((.seconds.data_owner|.compute+.send+.wait) as $s | $s>0 and $s<1.5*.online)' "$T/profile")"
want=$("$OBSCURA" plan --json "$ROOT/test/models/digits_mlp.onnx" | jq -c '[.layers[]|{op,bytes}]')
is "bench --profile: bytes of every row are the plan's" "$want" "$(jq -c '[.rows[]|{op,bytes}]' "$T/profile")"

# the he personality: two processes, keys exchanged, with and without tickets, in both sets
# A ticket has one seed of 32 bytes, its three round trips would have had three.
HE_MODEL=$ROOT/test/models/digits_mlp.onnx
timeout 200 "$OBSCURA" bench --quick --personalities he --models "$HE_MODEL" --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench, he: exit code" 0 $? || cat "$T/err"
jq -c 'select(.kind=="macro")' "$J" >"$T/rows"
is "bench, he: rows for sets, tickets and batches" "L/false/1/16 L/false/8/16 L/true/1/16 L/true/8/16 S/false/1/16 S/false/1/6 S/false/8/16 S/false/8/6 S/true/1/16 S/true/8/16" "$(jq -r '"\(.he_set)/\(.he_offline)/\(.batch)/\(.he_weight_bits)"' "$T/rows" | sort | tr '\n' ' ' | sed 's/ $//')"
is "bench, he: every row says the leak, has no provider, and the floor of its messages" 10 "$(jq -c 'select(.personality=="he" and (.leaks|startswith("pre-activations")) and .cpu_seconds.provider==0 and .cpu_seconds.model_owner>0 and
	.wire_pairs.model_owner_provider.received==0 and .images>0 and .requests>0 and .agreement>=0.9 and .seconds.online.least>0 and (.batch>1 or .floor.tls.median>0))' "$T/rows" | wc -l)"
is "bench, he: bytes and round trips are the prediction's" 10 "$(jq -c 'select(.as_predicted and .round_trips==.predicted.round_trips and .bytes.online==.predicted.bytes.online and .bytes.offline==.predicted.bytes.offline)' "$T/rows" | wc -l)"
for set in S L; do
	want=$("$OBSCURA" plan "$HE_MODEL" --personality he --he-set $set --json | jq -c '.bytes.online|[.sent,.received]')
	is "bench, he: set $set sends what obscura plan says, ahead of time or not" "$want $want" "$(jq -c "select(.he_set==\"$set\" and .batch==1 and .he_offline==false and .he_weight_bits==16).predicted.bytes.online|[.sent,.received]" "$T/rows") $(jq -c --argjson s 64 "select(.he_set==\"$set\" and .batch==1 and .he_offline==true).predicted.bytes.offline|[.sent+\$s,.received]" "$T/rows")"
done

timeout 120 "$OBSCURA" bench --quick --profile --personalities he --models "$HE_MODEL" --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench --profile, he: exit code" 0 $? || cat "$T/err"
jq -c 'select(.kind=="profile")' "$J" >"$T/profile"
is "bench --profile, he: encrypting, transforms, products, masks, decrypting and network stand in every linear row" "L/false S/false S/false" "$(jq -r 'select((.he_offline|not) and .personality=="he" and (.leaks|length)>0 and
	([.rows[]|select(.op=="linear").seconds|.data_owner.encrypt>0 and .data_owner.transform>0 and .data_owner.decrypt>0 and .model_owner.transform>0 and .model_owner.multiply>0 and .model_owner.mask>0 and .network>=0]|length==3 and all) and
	([.rows[]|select(.op!="linear").seconds|.data_owner.encrypt==0 and .model_owner.multiply==0 and .network==0]|all) and
	(([.seconds.data_owner[]]|add) as $s | $s>0 and $s<2*.online))|"\(.he_set)/\(.he_offline)"' "$T/profile" | sort | tr '\n' ' ' | sed 's/ $//')"
is "bench --profile, he: with tickets nothing is encrypted online" "L/true S/true" "$(jq -r 'select(.he_offline and .seconds.data_owner.encrypt==0 and .seconds.data_owner.transform==0 and .seconds.model_owner.transform==0 and .seconds.data_owner.mask>0 and .seconds.model_owner.multiply>0)|"\(.he_set)/\(.he_offline)"' "$T/profile" | sort | tr '\n' ' ' | sed 's/ $//')"

want=$("$OBSCURA" plan "$HE_MODEL" --personality he --he-set S --json | jq -c '.bytes.online|[.sent,.received]')
is "bench --profile, he: bytes of the rows add up to the plan's, with tickets ahead of time" "$want $want" "$(jq -c 'select(.way=="he S").rows|[([.[].bytes.online.sent]|add),([.[].bytes.online.received]|add)]' "$T/profile") $(jq -c 'select(.way=="he S tickets").rows|[([.[].bytes.offline.sent]|add)+64,([.[].bytes.offline.received]|add)]' "$T/profile")"

# kernels
timeout 120 "$OBSCURA" bench --quick --micro --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench --micro: exit code" 0 $? || cat "$T/err"
is "bench --micro: polynomials of both sets at every tier, by that tier's row" true "$(jq -s '[.[]|select(.what=="he")] as $he | [.[]|select(.what=="linear").tier]|unique as $tiers |
	($he|length)==12*($tiers|length) and ($he|map(.tier)|unique)==$tiers and ($he|all(.seconds>0 and .row==.tier))' "$J")"

# refusals
refuse() { # refuse NAME CODE PATTERN FLAGS…
	name=$1 code=$2 pattern=$3
	shift 3
	timeout 60 "$OBSCURA" bench --out "$OUT" "$@" >"$T/out" 2>"$T/err" </dev/null
	got=$?
	if [ $got = "$code" ] && grep -qE -- "$pattern" "$T/err"; then ok "$name"; else not_ok "$name" "exit $got: $(cat "$T/err")"; fi
}
refuse "bench: no such model" 2 "A, B, C, D, X, Y, Z" --models Q
refuse "bench: an unknown mode" 2 "neither latency nor bandwidth" --models A --optimise auto
refuse "bench: an unknown personality" 2 "none of smpc, he, clear" --models A --personalities smpc,shares
refuse "bench: a batch of nothing" 2 "batch" --models A --batch 0
refuse "bench: a folder that cannot be" 7 "/proc/none" --models A --out /proc/none
refuse "bench: a model that is not there" 3 "nosuch" --models X --shared /nosuch

# the clear personality: the baseline, two processes, one round trip
timeout 200 "$OBSCURA" bench --quick --personalities clear --models "$HE_MODEL" --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "bench, clear: rows say what leaks, and cost what the plan says" "0 2" "$? $(jq -c 'select(.kind=="macro" and .personality=="clear" and .way=="clear" and .leaks=="the picture to the model owner" and .round_trips==1 and .as_predicted and
	.images>0 and .agreement>=0.9 and .cpu_seconds.provider==0 and .wire_pairs.model_owner_provider.received==0 and .bytes.offline.sent==0 and
	.judged>=.images and .accuracy==null and .float_accuracy==null)' "$J" | wc -l)" || cat "$T/err"
if [ -f "$SHARED/data/models/model_x.onnx" ]; then
	timeout 200 "$OBSCURA" bench --quick --personalities clear --models X --batch 1,64 --shared "$SHARED" --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
	is "bench: accuracy and the float model's on the same pictures" "0 2" "$? $(jq -c 'select(.kind=="macro" and .judged>=.images and (.accuracy-.float_accuracy|fabs)<0.01 and .accuracy>0.9 and .accuracy<1)' "$J" | wc -l)" || cat "$T/err"
else
	echo "skip - bench: accuracy (no ../shared/data)"
fi
