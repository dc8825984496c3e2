#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/report/report.sh FOLDER [LOOPBACK]: report.md and report.html (one file, plots within) of the bench.jsonl in FOLDER; networks A to D from the one in
# LOOPBACK, by default the last of docs/results/*-loopback. Needs jq and gnuplot.
set -e
HERE=$(cd "$(dirname "$0")" && pwd)
DIR=${1:?say which folder has bench.jsonl}
IN=$DIR/bench.jsonl
LOOPBACK=${2:-$(ls -d "$HERE"/../results/*-loopback 2>/dev/null | tail -1)}
for p in jq gnuplot; do command -v $p >/dev/null || { echo "report: there is no $p; apt-get install $p" >&2; exit 7; }; done
[ -r "$IN" ] || { echo "report: cannot read $IN" >&2; exit 3; }
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT

# Rows of one setting become one: medians over the repetitions. A line that is not whole is none.
jq -R 'fromjson?' "$IN" | jq -s -L "$HERE" 'include "report"; rows' >"$T/rows.json"
[ "$(jq length "$T/rows.json")" -gt 0 ] || { echo "report: $IN has no rows of the laboratory (obscura bench --links)" >&2; exit 3; }
[ -r "$LOOPBACK/bench.jsonl" ] && jq -R 'fromjson?' "$LOOPBACK/bench.jsonl" | jq -s -L "$HERE" 'include "report"; loopback' >"$T/loopback.json" || echo '[]' >"$T/loopback.json"
beside() { jq -r -L "$HERE" --rawfile text "$HERE/published.tsv" --slurpfile more "$T/loopback.json" "include \"report\"; beside(\"$1\"; \$text; \$more[0])" "$T/rows.json"; }
table() { jq -r -L "$HERE" "include \"report\"; $1" "$T/rows.json"; }

plot() { # plot NAME TITLE COMMANDS: $T/NAME.svg
	gnuplot >"$T/$1.all" <<END
set terminal svg noenhanced size 600,420 dynamic font "sans-serif,15" background "#ffffff" name "$(echo "$1" | tr -c "A-Za-z0-9\n" _)"
set title "$2"
set key outside bottom center horizontal maxcols 3 height 0.5 samplen 1.5 width -1
set linetype 1 lc rgb "#1b6ca8"
set linetype 2 lc rgb "#2a9d55"
set linetype 3 lc rgb "#b5562b"
set linetype 4 lc rgb "#e8a33d"
set linetype 5 lc rgb "#7b4fa3"
set linetype 6 lc rgb "#444444"
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
$3
END
	sed -n -e 's/ id="gnuplot_canvas"//' -e '/<svg/,$p' "$T/$1.all" >"$T/$1.svg"
}

# lines FILTER: plot clauses of the columns of a data file whose first line names them
lines() { head -1 "$1" | tr '\t' '\n' | sed 1d | awk -v f="$1" '{printf "%s\"%s\" using 1:%d with linespoints lw 2 pt 7 ps 0.7 title \"%s\"", (NR > 1 ? ", " : ""), f, NR + 1, $0}'; }

plots() { # plots MODEL: four of them
	for f in by_rtt by_batch by_phase by_part; do table "$f(\"$1\")" >"$T/$f.$1"; done
	plot "rtt-$1" "$1: online time of one image against the round trip" "set datafile separator '\t'
set xlabel 'round trip, ms (measured)'
set ylabel 'online, ms'
set logscale xy
plot $(lines "$T/by_rtt.$1")"
	plot "batch-$1" "$1: images a second against the batch, on the slowest link" "set datafile separator '\t'
set xlabel 'images of a request'
set ylabel 'images a second, one request at a time'
set logscale xy
plot $(lines "$T/by_batch.$1")"
	plot "bytes-$1" "$1: payload of one image by phase" "set datafile separator '\t'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set boxwidth 0.9
set ylabel 'bytes'
set logscale y
set yrange [100:]
set xtics rotate by -25
plot '$T/by_phase.$1' using 2:xtic(1) title 'online, sent' lc rgb '#1b6ca8', '' using 3 title 'online, received' lc rgb '#6fb1dc', '' using 4 title 'offline, between the two' lc rgb '#e8a33d', '' using 5 title 'offline, provider' lc rgb '#b5562b'"
	plot "split-$1" "$1: where the online time of one image goes, on the slowest link" "set datafile separator '\t'
set style data histograms
set style histogram rowstacked
set style fill solid 0.9 border -1
set boxwidth 0.6
set ylabel 'ms'
set yrange [0:]
set xtics rotate by -25
plot '$T/by_part.$1' using 2:xtic(1) title 'round trips' lc rgb '#6fb1dc', '' using 3 title 'bytes' lc rgb '#1b6ca8', '' using 4 title 'computing' lc rgb '#e8a33d', '' using 5 title 'not predicted' lc rgb '#999999'"
}
MODELS=$(table 'models')
for m in $MODELS; do plots "$m"; done

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
	echo "Of processors and memory, on the quickest link; the pool's tickets are in the memory of the model owner:"
	echo
	table 'use_table'
	echo
	jq -R 'fromjson?' "$IN" | jq -rs -L "$HERE" 'include "report"; lanes_table' >"$T/lanes"
	if [ -s "$T/lanes" ]; then printf '## Several requests at once, offline work included\n\n'; cat "$T/lanes"; echo; fi
	echo "## Beside the paper's Table 2"
	echo
	beside "Table 2"
	echo
	echo "Milliseconds of ours are online, one image, tickets ready; images a second include all offline work. Figures marked paper are as printed there, on other hosts; measured: run for this project with all parties counted."
	echo
	echo "## Networks A to D of the paper's Table 1"
	echo
	beside "Table 1"
	echo
	echo "Of MiniONN, Gazelle, Chameleon, DeepSecure and XONN no figure of these networks could be checked against a source at hand; none is given. Gazelle's abstract (2018) says 20 times less online time than MiniONN and 30 times less than Chameleon, XONN's (2019) at most 7, 93 and 37 times less than Gazelle, MiniONN and SecureML; both are ratios of published figures, Gazelle's without the offline phase."
	echo
	echo "## Links as they were measured"
	echo
	jq -R 'fromjson?' "$IN" | jq -rs -L "$HERE" 'include "report"; links_table'
	echo
	echo "What each figure means: docs/BENCHMARKS.md and docs/EXPERIMENTS.md. Everything that was measured: bench.jsonl."
} >"$DIR/report.md"

{
	cat "$HERE/head.html"
	awk -v dir="$T" -v models="$(echo $MODELS)" '
	function text(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); return s }
	function figure(n,   l) { print "<figure>"; while ((getline l < (dir "/" n ".svg")) > 0) print l; print "</figure>" }
	function figures(kinds,   k, m, n, i, j) {
		n = split(kinds, k, " ")
		split(models, m, " ")
		print "<div class=\"plots\">"
		for (i = 1; i <= n; i++) for (j = 1; j in m; j++) figure(k[i] "-" m[j])
		print "</div>"
	}
	/^\|[-:|]+$/ { next }
	/^\|/ {
		n = split($0, c, "|")
		cell = rows++ ? "td" : "th"
		if (cell == "th") printf "<div class=\"wide\"><table><thead>"
		printf "<tr>"
		for (i = 2; i < n; i++) { gsub(/^ +| +$/, "", c[i]); printf "<%s%s>%s</%s>", cell, c[i] ~ /^[-+]?[0-9.]+( %| kB| MB)?$/ ? " class=\"n\"" : (length(c[i]) > 40 ? " class=\"t\"" : ""), text(c[i]), cell }
		print cell == "th" ? "</tr></thead><tbody>" : "</tr>"
		next
	}
	rows { print "</tbody></table></div>"; rows = 0 }
	/^# / { print "<h1>" text(substr($0, 3)) "</h1>"; next }
	/^## / {
		print "<h2>" text(substr($0, 4)) "</h2>"
		if ($0 ~ /Online/) figures("rtt split")
		if ($0 ~ /Cost/) figures("bytes batch")
		next
	}
	/./ { print "<p>" text($0) "</p>" }
	END { if (rows) print "</tbody></table></div>"; print "</body></html>" }' "$DIR/report.md"
} >"$DIR/report.html"
echo "$DIR/report.html and $DIR/report.md"
