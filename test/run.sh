#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test/run.sh VARIANT — runs what is built for a variant: unit tests, then (variant rel) short fuzzing, real processes, namespaces.
# Scripts print "ok - name", "not ok - name" or "skip - name (why)". The last line counts them all.
cd "$(dirname "$0")/.." || exit 7
V=${1:-rel}
O=build/$V
export OBSCURA_SHARED="${OBSCURA_SHARED:-../shared}" OBSCURA_BUILD="$O"
mkdir -p build/log
passed=0 failed=0 skipped=0

# count LOG: adds what a program or script said; 1 when something failed
count() {
	p=$(grep -acE '^(\[       OK \]|ok - )' "$1")
	f=$(grep -acE '^(\[  FAILED  \] [a-z_0-9]+$|not ok - )' "$1")
	s=$(grep -acE '^(\[  SKIPPED \] [a-z_0-9]+$|skip - )' "$1")
	passed=$((passed + p)) skipped=$((skipped + s))
	[ "$2" = 0 ] || [ "$f" -gt 0 ] || f=1
	failed=$((failed + f))
	if [ "$f" -gt 0 ]; then
		echo "FAILED: $3 (exit $2); its log $1:"
		grep -avE '^\[( RUN|       OK)' "$1" | tail -30
	fi
}

run() { # run NAME SECONDS COMMAND…
	name=$1 limit=$2 log=build/log/$V-$(echo "$1" | tr / -).log
	shift 2
	before=$(date +%s)
	timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null
	code=$?
	echo "$name: $(($(date +%s) - before)) s"
	count "$log" $code "$name"
	grep -aE '^skip - ' "$log"
}

for t in $(find test -name '*_test.c' | sort); do
	run "${t%.c}" 900 "$O/${t%.c}"
done
if [ "$V" = rel ]; then
	make --no-print-directory V=fuzz fuzzers >build/log/fuzzers.log 2>&1 || { echo "FAILED: fuzz targets do not build"; tail -5 build/log/fuzzers.log; failed=$((failed + 1)); }
	for f in test/fuzz/*_fuzz.c; do
		n=$(basename "$f" _fuzz.c)
		mkdir -p "build/fuzz/corpus/$n"
		run "fuzz/$n" 120 sh -c "build/fuzz/test/fuzz/${n}_fuzz -max_total_time=${FUZZ_SECONDS:-5} -rss_limit_mb=3000 -timeout=20 -artifact_prefix=build/fuzz/$n- build/fuzz/corpus/$n test/fuzz/corpus/$n && echo 'ok - fuzz $n'"
	done
fi
for s in test/e2e/*.sh test/sys/*.sh; do
	[ -f "$s" ] && run "${s%.sh}" 900 sh "$s"
done
if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
