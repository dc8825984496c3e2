# SPDX-License-Identifier: Apache-2.0
# Every fuzz target of test/fuzz (or FUZZ_TARGETS, some of them) for ten minutes (FUZZ_SECONDS), as many at once as there are cores, seeded with the shared evidence. A crash, a
# leak, an input that takes 20 s or 3 GB fails, and its input stays in build/fuzz/findings.
. test/e2e/lib.sh
if ! make --no-print-directory -s V=fuzz fuzzers >"$T/build" 2>&1; then
	not_ok "fuzz targets build" "$(tail -5 "$T/build")"
	exit 1
fi
export OBSCURA_SHARED="${SHARED:-../shared}" FUZZ_SECONDS="${FUZZ_SECONDS:-600}" T
mkdir -p build/fuzz/findings
cat >"$T/one.sh" <<'EOS'
n=$1
mkdir -p "build/fuzz/corpus/$n"
build/fuzz/test/fuzz/"${n}"_fuzz -max_total_time="$FUZZ_SECONDS" -rss_limit_mb=3000 -timeout=20 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$n-" \
	"build/fuzz/corpus/$n" "test/fuzz/corpus/$n" >"$T/$n.fuzz" 2>&1
code=$?
stat() { sed -n "s/^stat::$1: *//p" "$T/$n.fuzz"; }
if [ $code = 0 ] && [ "$(stat number_of_executed_units)" -gt 0 ]; then
	echo "ok - $n: no finding in $(stat number_of_executed_units) inputs, $(stat average_exec_per_sec)/s, $(ls "build/fuzz/corpus/$n" | wc -l) in the corpus"
else
	echo "not ok - $n (exit $code)"
	tail -25 "$T/$n.fuzz" | sed 's/^/  # /'
fi
EOS
TARGETS=${FUZZ_TARGETS:-$(for f in test/fuzz/*_fuzz.c; do basename "$f" _fuzz.c; done)}
echo "$TARGETS" | xargs -P "$(nproc)" -n 1 sh "$T/one.sh" | tee "$T/all"
for n in $TARGETS; do
	grep -q "^ok - $n:" "$T/all" || FAILED=1
done
