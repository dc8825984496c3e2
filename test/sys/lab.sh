# SPDX-License-Identifier: Apache-2.0
# obscura bench --links: three real roles in namespaces of their own; what an inference takes on a link is what was predicted.
. test/e2e/lib.sh
if ! unshare -n true 2>/dev/null; then echo "skip - laboratory (needs root and network namespaces)"; exit 0; fi
if [ ! -r /dev/net/tun ]; then echo "skip - laboratory (no /dev/net/tun)"; exit 0; fi
echo 'test: { rtt_ms = 25; mbit = 200; };' >"$T/links.conf"
OUT=$T/out
lab() { timeout 250 "$OBSCURA" bench --links test --link-file "$T/links.conf" --models "$ROOT/test/models/digits_mlp.onnx" --batch 1,4 --quick --out "$OUT" "$@" >"$T/table" 2>"$T/err" </dev/null; }
rows() { jq -c 'select(.kind=="macro")' "$OUT/bench.jsonl"; }

# Other work on this host disturbs: the whole is measured at most three times, and this line says how often
for try in 1 2 3; do
	lab
	code=$?
	# slower is forgiven where two processes that compute nothing were as slow: that is the host, not us
	good=$(rows | jq -s '[.[]|select(.link=="test")|.off_prediction!=null and .off_prediction>-0.2 and (.off_prediction<0.2 or .seconds.online.median<1.2*.floor.tls.median)]|all and length==4')
	[ "$code $good" = "0 true" ] && break
done
is "measured within 20 % of round trips × RTT + bytes ÷ rate + compute, each mode and batch (asked $try times)" "0 true" "$code $good" || { cat "$T/err"; rows | jq -c '[.mode,.batch,.off_prediction,.warm,.requests]'; }
is "rows of both links, each mode and batch" "native/bandwidth/1 native/bandwidth/4 native/latency/1 native/latency/4 test/bandwidth/1 test/bandwidth/4 test/latency/1 test/latency/4" \
	"$(rows | jq -r '"\(.link)/\(.mode)/\(.batch)"' | sort | paste -sd' ')"
is "latency mode waits for fewer round trips than bandwidth mode" true "$(rows | jq -s '[.[]|select(.link=="test" and .batch==1)]|INDEX(.mode)|.latency.seconds.online.median<.bandwidth.seconds.online.median-0.03')"
is "nothing is faster than its round trips" 4 "$(rows | jq -c 'select(.link=="test" and .seconds.online.least>=.round_trips*0.0249 and .floor.tls.least>=.round_trips*0.0249)' | wc -l)"
is "bytes and round trips are the plan's, and were on the wire of the right pair" 8 "$(rows | jq -c 'select(.as_predicted and .wire_pairs.data_owner_model_owner.sent>=.bytes.online.sent)' | wc -l)"
is "provider's bytes came over its own link" true "$(rows | jq -s '[.[]|select(.link=="test" and .tickets_made>0)|.wire_pairs.model_owner_provider.received>0.2*.bytes.offline.provider]|all')"
is "each row has its link's measurement" 8 "$(rows | jq -c 'select(.repetition==1 and (.mechanism|length)>0 and .link_measured.data_owner_and_model_owner.rtt>0)' | wc -l)"
is "a link is made and measured for the turns of a model" 1 "$(jq -c 'select(.kind=="link" and .link=="test" and (.refused|not))' "$OUT/bench.jsonl" | wc -l)"
is "tables for people" "2 2" "$(grep -c '^test *digits_mlp *latency' "$T/table") $(grep -c '^| test | digits_mlp | latency' "$OUT/bench.md")"

# interrupted: what was not measured is measured, and nothing else
jq -c 'select((.way=="latency" and .link=="test" and .batch==4)|not)' "$OUT/bench.jsonl" | grep -v '"kind":"link"' >"$T/part"
printf '{"kind":"macro","model":"digi' >>"$T/part"
cp "$T/part" "$OUT/bench.jsonl"
lab --resume
is "an interrupted run goes on" "0 8 1" "$? $(jq -R 'fromjson? | select(.kind=="macro")|1' "$OUT/bench.jsonl" | wc -l) $(jq -R 'fromjson? | select(.kind=="link")|1' "$OUT/bench.jsonl" | wc -l)" || cat "$T/err"
lab --resume
is "and has nothing to do when it is whole" "0 8" "$? $(jq -R 'fromjson? | select(.kind=="macro")|1' "$OUT/bench.jsonl" | wc -l)" || cat "$T/err"

# the others on the same link: no provider; each says what it leaks, and the enclave that it is simulated. (It needs root, and no sanitizer.)
others=he,clear
ways() { for link in native test; do for way in clear ${others#he,clear} "he S" "he S tickets"; do echo "$link/${way#,}"; done; done | paste -sd' '; }
[ "$(id -u)" = 0 ] && [ "${B##*/}" = rel ] && others=he,clear,enclave
lab_he() { timeout 250 "$OBSCURA" bench --links test --link-file "$T/links.conf" --models "$ROOT/test/models/digits_mlp.onnx" --batch 1 --personalities $others --quick --out "$T/he" >"$T/table" 2>"$T/err" </dev/null; }
lab_he
is "$others on links: as planned, and none faster than its round trips" "0 $(ways)" "$? $(jq -r 'select(.kind=="macro" and .as_predicted and ((.leaks|length)>0 or .simulated) and .simulated==(.way=="enclave") and .cpu_seconds.model_owner>0 and .wire_pairs.data_owner_model_owner.sent>=.bytes.online.sent and
	(.link=="native" or (.seconds.online.least>=.round_trips*0.0249 and .predicted_seconds.transfer>=.round_trips*0.0249)))|"\(.link)/\(.way)"' "$T/he/bench.jsonl" | sort | paste -sd' ')" || cat "$T/err"

# the report: one file, nothing from elsewhere, each setting in both
if have gnuplot gnuplot-nox; then
	sh docs/report/report.sh "$OUT" >"$T/table" 2>"$T/err"
	is "report: made" 0 $? || cat "$T/err"
	is "  four plots of a model, each row in HTML and Markdown, and what others published beside it" "4 8 8 1" "$(grep -c '<svg' "$OUT/report.html") $(grep -cE '^<tr><td>(native|test)</td><td>digits_mlp' "$OUT/report.html") $(grep -cE '^\| (native|test) \| digits_mlp' "$OUT/report.md") $(grep -c '^| model_z | HE-Transformer (paper) | 549000 ' "$OUT/report.md")"
	is "  and nothing is loaded from elsewhere" "" "$(grep -oE '(src|href)="[^#][^"]*"|url\([^#)]*\)' "$OUT/report.html")"
	echo '{"kind":"conditions"}' >"$T/out/bench.jsonl"
	sh docs/report/report.sh "$OUT" >"$T/table" 2>"$T/err"
	is "  of no rows: told" "3 1" "$? $(grep -c 'has no rows of the laboratory' "$T/err")"
else
	echo "skip - report (gnuplot is missing)"
fi

# a link that no host carries: that run is refused, the native one is not
echo 'fast: { rtt_ms = 1; mbit = 9000000; };' >"$T/links.conf"
timeout 250 "$OBSCURA" bench --links fast --mechanism emulator --link-file "$T/links.conf" --models "$ROOT/test/models/digits_mlp.onnx" --batch 1 --optimise latency --quick --out "$OUT" >"$T/table" 2>"$T/err" </dev/null
is "no figure from a link that is not what it says" "1 native 1" "$? $(rows | jq -r .link) $(grep -c '1 of 2 runs were refused' "$T/err")" || cat "$T/err"
