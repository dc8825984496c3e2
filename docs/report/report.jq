# SPDX-License-Identifier: Apache-2.0
# Figures of report.sh, from the rows of bench.jsonl (docs/BENCHMARKS.md, docs/EXPERIMENTS.md name the fields).
def median: sort | if length == 0 then null else .[(length - 1) / 2 | floor] end;
def fixed(n): . as $x | pow(10; n) as $p | if $x == null then "" else ($x * $p | round / $p | tostring) end;
def signed: if . == null then "cold" else (. * 1000 | round / 10) | (if . >= 0 then "+" else "" end) + tostring + " %" end;
def way: .way // .mode;
def name: way;
def kilobytes: if . == null then "" elif . < 1e6 then "\(. / 1e3 | fixed(1)) kB" else "\(. / 1e6 | fixed(2)) MB" end;

# One row for each setting.
def rows:
	[.[] | select(.kind == "macro" and .repetition != null)] | group_by([.model, way, .batch, .link]) |
	map(.[0] + {
		repetitions: length, online_ms: (map(.seconds.online.median) | median * 1000), p99_ms: (map(.seconds.online.p99) | max * 1000),
		client_ms: (map(.seconds.total.median) | median * 1000), floor_ms: (map(.floor.tls.median // empty) | median | if . then . * 1000 else null end),
		rtt_ms: (map(.link_measured.data_owner_and_model_owner.rtt) | median * 1000), rate: (map(.images_per_second) | median),
		predicted_ms: (map(.predicted_seconds.online // empty) | median | if . then . * 1000 else null end),
		off: (map(.off_prediction // empty) | median), computing_ms: (map(.seconds.computing // empty) | median | if . then . * 1000 else null end), warm_all: (map(.warm) | add), requests_all: (map(.requests) | add)
	}) | sort_by([(.rtt_ms * 2 | round), .link, .model, .personality, way, .batch]);
def models: [.[].model] | unique[];
def of($m): [.[] | select(.model == $m)];

# Columns: x, then one for each series; missing values are "NaN".
def matrix(x; y): . as $r | ([.[] | name] | unique) as $names |
	(["x"] + $names | @tsv), (group_by(x) | .[] | . as $g | [($g[0] | x)] + [$names[] as $n | ([$g[] | select(name == $n) | y][0] // "NaN")] | @tsv);
def by_rtt($m): of($m) | (map(.batch) | min) as $b | [.[] | select(.batch == $b)] | group_by(.link) | map((map(.rtt_ms) | median) as $x | map(.x = $x)) | add | matrix(.x; .online_ms);
def by_batch($m): of($m) | (max_by(.rtt_ms) | .link) as $l | [.[] | select(.link == $l)] | matrix(.batch; .rate);
def by_phase($m): of($m) | (map(.batch) | min) as $b | [.[] | select(.batch == $b)] | unique_by(way)[] |
	[name, .bytes.online.sent, .bytes.online.received, .bytes.offline.sent + (.bytes.offline.received // 0), .bytes.offline.provider] | @tsv;
# Of the slowest link.
def by_part($m): of($m) | (max_by(.rtt_ms) | .link) as $l | (map(.batch) | min) as $b | [.[] | select(.batch == $b and .link == $l)] | unique_by(way)[] |
	(.round_trips * .rtt_ms) as $trips | ((.predicted_seconds.transfer // 0) * 1000 - $trips | if . < 0 then 0 else . end) as $bytes |
	((.predicted_seconds.compute // (.online_ms / 1000)) * 1000) as $compute | ([.online_ms - $trips - $bytes - $compute, 0] | max) as $rest |
	[name, $trips, $bytes, $compute, $rest] | @tsv;

def latency_table:
	"| link | model | way | batch | round trips | online ms | 99 % | computing | waiting | predicted | off | TLS floor | client ms | images/s | warm |", "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
	(.[] | "| \(.link) | \(.model) | \(way) | \(.batch) | \(.round_trips) | \(.online_ms | fixed(2)) | \(.p99_ms | fixed(2)) | \(.computing_ms | fixed(2)) | \(if .computing_ms then .online_ms - .computing_ms | fixed(2) else "" end) | \(.predicted_ms | fixed(2)) | \(if .link == "native" then "" else .off | signed end) | \(.floor_ms | fixed(2)) | \(.client_ms | fixed(2)) | \(.rate | fixed(1)) | \(.warm_all)/\(.requests_all) |");
# Bytes do not depend on the link.
def settings: (map(.batch) | min) as $b | [.[] | select(.batch == $b)] | group_by([.model, .personality, way]) | map(min_by(.rtt_ms));
def cost_table:
	"| model | way | online sent | received | offline sent | from the provider | wire, both phases | as predicted | like the float model | accuracy (float model) | images | leaks | simulated |", "|---|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---|---|",
	(settings[] | ([.wire_pairs[] | .sent + .received] | add) as $wire |
	"| \(.model) | \(way) | \(.bytes.online.sent) | \(.bytes.online.received) | \(.bytes.offline.sent) | \(.bytes.offline.provider) | \($wire | fixed(0)) | \(if .as_predicted then "yes" else "NO" end) | \(.agreement * 100 | fixed(2)) % | \(if .accuracy then "\(.accuracy * 100 | fixed(2)) % (\(.float_accuracy * 100 | fixed(2)) %)" else "" end) | \(.judged // .images) | \(.leaks // "") | \(if .simulated then "yes" else "no" end) |");
def use_table:
	"| model | way | CPU ms: data owner | model owner | provider | peak MB: data owner | model owner | provider | connect ms |", "|---|---|---:|---:|---:|---:|---:|---:|---:|",
	(settings[] | "| \(.model) | \(way) | \(.cpu_seconds.data_owner * 1000 | fixed(2)) | \(.cpu_seconds.model_owner * 1000 | fixed(2)) | \(.cpu_seconds.provider * 1000 | fixed(2)) | \(.peak_bytes.data_owner / 1e6 | fixed(0)) | \(.peak_bytes.model_owner / 1e6 | fixed(0)) | \(.peak_bytes.provider / 1e6 | fixed(0)) | \(.seconds.connect * 1000 | fixed(1)) |");
def lanes_table:
	[.[] | select(.kind == "lanes" and .repetition != null)] | if length == 0 then empty else
	"| link | model | way | batch | in flight | client ms | 99 % | images/s |", "|---|---|---|---:|---:|---:|---:|---:|",
	(sort_by([.link, .model, way])[] | "| \(.link) | \(.model) | \(way) | \(.batch) | \(.in_flight) | \(.seconds.total.median * 1000 | fixed(1)) | \(.seconds.total.p99 * 1000 | fixed(1)) | \(.images_per_second | fixed(1)) |") end;

# Figures of others: published.tsv as one string.
def published($t; $text): $text | split("\n")[] | select(length > 0 and (startswith("#") | not)) | split("\t") | select(.[0] == $t) | {table: .[0], model: .[1], system: .[2], ms: .[3], rate: .[4], mb: .[5], source: .[6], without: .[7]};
def whole: .bytes.online.sent + .bytes.online.received + .bytes.offline.sent + (.bytes.offline.received // 0) + .bytes.offline.provider;
def without: [(if .leaks then "leaks \(.leaks)" else empty end), (if .simulated then "simulated: no hardware isolation" else empty end), "nothing: all parties, both directions, both phases"] | if length > 1 then .[0:-1] else . end | join("; ");
def ours: "| \(.model) | Obscura, \(way), \(.link) | \(.online_ms // (.seconds.online.median * 1000) | fixed(2)) | \(.rate // .images_per_second | fixed(1)) | \(.bytes.online.sent + .bytes.online.received | kilobytes) | \(whole | kilobytes) | measured here | \(without) |";
# Rows of one table of the paper: ours and theirs of each model. $more: rows measured elsewhere, on loopback.
def beside($t; $text; $more):
	[published($t; $text)] as $theirs | ([.[] | select(.batch == 1)] + $more) as $ours |
	"| model | system | ms | images/s | online bytes | all bytes | source | what it leaves out |", "|---|---|---:|---:|---:|---:|---|---|",
	([$theirs[].model] | unique[] as $m | ($theirs[] | select(.model == $m) | "| \(.model) | \(.system) | \(.ms) | \(.rate) | | \(if .mb == "" then "" else .mb | tonumber * 1e6 | kilobytes end) | \(.source) | \(.without) |"), ($ours[] | select(.model == $m) | ours));
# Networks measured on loopback (docs/BENCHMARKS.md), in the shape of `rows`.
def loopback: [.[] | select(.kind == "macro" and .repetition == null and .batch == 1 and (.model | startswith("net_")))];
def links_table:
	"| link | made by | round trip ms | 99 % | there Mbit/s | back Mbit/s | tries | refused |", "|---|---|---:|---:|---:|---:|---:|---|",
	([.[] | select(.kind == "link")] | group_by(.link)[] | (.[0].link) as $l | (map(.measured.data_owner_and_model_owner)) as $m |
	"| \($l) | \(.[0].made.mechanism) | \($m | map(.rtt * 1000) | median | fixed(2)) | \($m | map(.rtt_p99 * 1000) | max | fixed(2)) | \($m | map(.there * 8e-6) | median | fixed(0)) | \($m | map(.back * 8e-6) | median | fixed(0)) | \(map(.measured.tries) | add) | \(map(select(.refused)) | length) |");
def conditions: [.[] | select(.kind == "conditions")][0] | "Measured \(.date) on \(.cores) cores of \(.processor), \(.kernel), congestion control \(.congestion_control), load \(.load | map(. * 100 | round / 100 | tostring) | join(", ")), \(.compiler), commit \(.commit)." +
	(if .quick then " A quick run: few samples." else "" end);
