# SPDX-License-Identifier: Apache-2.0
# Figures of report.sh, from the rows of bench.jsonl (docs/BENCHMARKS.md, docs/EXPERIMENTS.md name the fields).
def median: sort | if length == 0 then null else .[(length - 1) / 2 | floor] end;
def fixed(n): . as $x | pow(10; n) as $p | if $x == null then "" else ($x * $p | round / $p | tostring) end;
def signed: if . == null then "cold" else (. * 1000 | round / 10) | (if . >= 0 then "+" else "" end) + tostring + " %" end;
def name: "\(.model) \(.mode)";

# One row for each setting.
def rows:
	[.[] | select(.kind == "macro" and .repetition != null)] | group_by([.model, .mode, .batch, .link]) |
	map(.[0] + {
		repetitions: length, online_ms: (map(.seconds.online.median) | median * 1000), p99_ms: (map(.seconds.online.p99) | max * 1000),
		client_ms: (map(.seconds.total.median) | median * 1000), floor_ms: (map(.floor.tls.median // empty) | median | if . then . * 1000 else null end),
		rtt_ms: (map(.link_measured.data_owner_and_model_owner.rtt) | median * 1000), rate: (map(.images_per_second) | median),
		predicted_ms: (map(.predicted_seconds.online // empty) | median | if . then . * 1000 else null end),
		off: (map(.off_prediction // empty) | median), warm_all: (map(.warm) | add), requests_all: (map(.requests) | add)
	}) | sort_by([(.rtt_ms * 2 | round), .link, .model, .mode, .batch]);

# Columns: x, then one for each series; missing values are "NaN".
def matrix(x; y): . as $r | ([.[] | name] | unique) as $names |
	(["x"] + $names | @tsv), (group_by(x) | .[] | . as $g | [($g[0] | x)] + [$names[] as $n | ([$g[] | select(name == $n) | y][0] // "NaN")] | @tsv);
def by_rtt: (map(.batch) | min) as $b | [.[] | select(.batch == $b)] | group_by(.link) | map((map(.rtt_ms) | median) as $x | map(.x = $x)) | add | matrix(.x; .online_ms);
def by_batch: (max_by(.rtt_ms) | .link) as $l | [.[] | select(.link == $l)] | matrix(.batch; .rate);
def by_phase: (map(.batch) | min) as $b | [.[] | select(.batch == $b)] | unique_by([.model, .mode])[] |
	[name, .bytes.online.sent, .bytes.online.received, .bytes.offline.sent, .bytes.offline.provider] | @tsv;
def split: (map(.batch) | min) as $b | .[] | select(.batch == $b and .predicted_seconds != null) |
	(.round_trips * .rtt_ms) as $trips | (.predicted_seconds.transfer * 1000 - $trips | if . < 0 then 0 else . end) as $bytes |
	(.predicted_seconds.compute * 1000) as $compute | ([.online_ms - $trips - $bytes - $compute, 0] | max) as $rest |
	["\(name), \(.link)", $trips, $bytes, $compute, $rest] | @tsv;

def latency_table:
	"| link | model | mode | batch | round trips | online ms | 99 % | predicted | off | TLS floor | client ms | images/s | warm |", "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
	(.[] | "| \(.link) | \(.model) | \(.mode) | \(.batch) | \(.round_trips) | \(.online_ms | fixed(2)) | \(.p99_ms | fixed(2)) | \(.predicted_ms | fixed(2)) | \(if .link == "native" then "" else .off | signed end) | \(.floor_ms | fixed(2)) | \(.client_ms | fixed(2)) | \(.rate | fixed(1)) | \(.warm_all)/\(.requests_all) |");
def cost_table:
	(map(.batch) | min) as $b |
	"| model | mode | online sent | online received | offline sent | offline provider | as predicted | agreement |", "|---|---|---:|---:|---:|---:|---|---:|",
	([.[] | select(.batch == $b)] | unique_by([.model, .mode])[] | "| \(.model) | \(.mode) | \(.bytes.online.sent) | \(.bytes.online.received) | \(.bytes.offline.sent) | \(.bytes.offline.provider) | \(if .as_predicted then "yes" else "NO" end) | \(.agreement) |");
def links_table:
	"| link | made by | round trip ms | 99 % | there Mbit/s | back Mbit/s | tries | refused |", "|---|---|---:|---:|---:|---:|---:|---|",
	([.[] | select(.kind == "link")] | group_by(.link)[] | (.[0].link) as $l | (map(.measured.data_owner_and_model_owner)) as $m |
	"| \($l) | \(.[0].made.mechanism) | \($m | map(.rtt * 1000) | median | fixed(2)) | \($m | map(.rtt_p99 * 1000) | max | fixed(2)) | \($m | map(.there * 8e-6) | median | fixed(0)) | \($m | map(.back * 8e-6) | median | fixed(0)) | \(map(.measured.tries) | add) | \(map(select(.refused)) | length) |");
def conditions: [.[] | select(.kind == "conditions")][0] | "Measured \(.date) on \(.cores) cores of \(.processor), \(.kernel), congestion control \(.congestion_control), load \(.load | map(. * 100 | round / 100 | tostring) | join(", ")), \(.compiler), commit \(.commit)." +
	(if .quick then " A quick run: few samples." else "" end);
