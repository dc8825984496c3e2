# SPDX-License-Identifier: Apache-2.0
# The page in a real headless Chromium (web.py drives it): upload, result, views, costs, error, a peer that is down.
. test/e2e/lib.sh
command -v python3 >/dev/null || { echo "skip - page (no python3)"; exit 0; }
have chromium chromium || { echo "skip - page (Debian's chromium cannot be installed)"; exit 0; }
TOKEN=0123456789abcdef0123456789abcdef
(umask 077; echo $TOKEN >"$T/token")
start_three "$SAMPLES" --http-listen=127.0.0.1:0 --http-token-file="$T/token" --deadline-ms=20000 || { not_ok "roles start"; exit 1; }
URL=$(sed -n 's|.*HTTP at \(http://[^ ]*\)|\1|p' "$T/data-owner.log")
head -c 100 test/images/seven-0.png >"$T/broken.png"
timeout 300 python3 test/e2e/web.py chromium "$URL" $TOKEN "$ROOT/test/images/seven-0.png" "$T/broken.png" "$ROOT/test/images/sneaker-0.png" "$(cat "$T/provider.pid")" >"$T/said" 2>&1
cat "$T/said"
grep -q '^not ok' "$T/said" && FAILED=1
is "the browser's checks were all made" 23 "$(grep -c '^\(not \)*ok - ' "$T/said")"
