#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/report/report.sh FOLDER: report.md and report.html (one file, plots within) of the bench.jsonl there. Needs jq and gnuplot.
set -e
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=${1:?say which folder has bench.jsonl}
IN=$DIR/bench.jsonl
for p in jq gnuplot; do command -v $p >/dev/null || { echo "report: there is no $p; apt-get install $p" >&2; exit 7; }; done
[ -r "$IN" ] || { echo "report: cannot read $IN" >&2; exit 3; }
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

# Rows of one setting become one: medians over the repetitions. A line that is not whole is none.
jq -R 'fromjson?' "$IN" | jq -s -L "$HERE" 'include "report"; rows' >"$T/rows.json"
[ "$(jq length "$T/rows.json")" -gt 0 ] || { echo "report: $IN has no rows of the laboratory (obscura bench --links)" >&2; exit 3; }
table() { jq -r -L "$HERE" "include \"report\"; $1" "$T/rows.json"; }

plot() { # plot NAME TITLE COMMANDS: $T/NAME.svg
	gnuplot >"$T/$1.all" <<END
set terminal svg noenhanced size 760,440 dynamic font "sans-serif,13" background "#ffffff" name "$1"
set title "$2"
set key outside bottom center horizontal maxrows 4 height 1
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
$3
END
	sed -n '/<svg/,$p' "$T/$1.all" >"$T/$1.svg"
}

# lines FILTER: plot clauses of the columns of a data file whose first line names them
lines() { head -1 "$1" | tr '\t' '\n' | sed 1d | awk -v f="$1" '{printf "%s\"%s\" using 1:%d with linespoints lw 2 pt 7 ps 0.7 title \"%s\"", (NR > 1 ? ", " : ""), f, NR + 1, $0}'; }
table 'by_rtt' >"$T/rtt.dat"
table 'by_batch' >"$T/batch.dat"
table 'by_phase' >"$T/bytes.dat"
table 'split' >"$T/split.dat"
plot rtt "Online time of one image against the round trip" "set datafile separator '\t'
set xlabel 'round trip, ms (measured)'
set ylabel 'online, ms'
set logscale xy
plot $(lines "$T/rtt.dat")"
plot batch "Images a second against the batch, on the slowest link" "set datafile separator '\t'
set xlabel 'images of a request'
set ylabel 'images a second, one request at a time'
set logscale xy
plot $(lines "$T/batch.dat")"
plot bytes "Payload of one image by phase" "set datafile separator '\t'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set boxwidth 0.9
set ylabel 'bytes'
set logscale y
set yrange [100:]
set xtics rotate by -30
plot '$T/bytes.dat' using 2:xtic(1) title 'online, sent' lc rgb '#1b6ca8', '' using 3 title 'online, received' lc rgb '#6fb1dc', '' using 4 title 'offline, sent' lc rgb '#e8a33d', '' using 5 title 'offline, provider' lc rgb '#b5562b'"
plot split "Where the online time of one image goes" "set datafile separator '\t'
set style data histograms
set style histogram rowstacked
set style fill solid 0.9 border -1
set boxwidth 0.6
set ylabel 'ms'
set xtics rotate by -40
plot '$T/split.dat' using 2:xtic(1) title 'round trips' lc rgb '#6fb1dc', '' using 3 title 'bytes' lc rgb '#1b6ca8', '' using 4 title 'computing' lc rgb '#e8a33d', '' using 5 title 'not predicted' lc rgb '#999999'"

{
	echo "# Experiments on links"
	echo
	jq -R 'fromjson?' "$IN" | jq -rs -L "$HERE" 'include "report"; conditions'
	echo
	echo "## Online time, tickets ready"
	echo
	table 'latency_table'
	echo
	echo "## Cost of one image"
	echo
	table 'cost_table'
	echo
	echo "## Links as they were measured"
	echo
	jq -R 'fromjson?' "$IN" | jq -rs -L "$HERE" 'include "report"; links_table'
	echo
	echo "What each figure means: docs/BENCHMARKS.md and docs/EXPERIMENTS.md. Everything that was measured: bench.jsonl."
} >"$DIR/report.md"

{
	cat "$HERE/head.html"
	awk -v dir="$T" '
	function text(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); return s }
	function figure(n,   l) { print "<figure>"; while ((getline l < (dir "/" n ".svg")) > 0) print l; print "</figure>" }
	/^\|[-:|]+$/ { next }
	/^\|/ {
		n = split($0, c, "|")
		cell = rows++ ? "td" : "th"
		if (cell == "th") print "<div class=\"wide\"><table>"
		printf "<tr>"
		for (i = 2; i < n; i++) { gsub(/^ +| +$/, "", c[i]); printf "<%s%s>%s</%s>", cell, c[i] ~ /^[-+]?[0-9.]+( %| kB| MB)?$/ ? " class=\"n\"" : "", text(c[i]), cell }
		print "</tr>"
		next
	}
	rows { print "</table></div>"; rows = 0 }
	/^# / { print "<h1>" text(substr($0, 3)) "</h1>"; next }
	/^## / {
		print "<h2>" text(substr($0, 4)) "</h2>"
		if ($0 ~ /Online/) { figure("rtt"); figure("split") }
		if ($0 ~ /Cost/) { figure("bytes"); figure("batch") }
		next
	}
	/./ { print "<p>" text($0) "</p>" }
	END { if (rows) print "</table></div>"; print "</body></html>" }' "$DIR/report.md"
} >"$DIR/report.html"
echo "$DIR/report.html and $DIR/report.md"
