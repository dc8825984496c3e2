# SPDX-License-Identifier: Apache-2.0
# Certificates come to an end: revoked ones are refused by every role from the next reload on, in both directions and with the
# reason; those that end soon are warned of in log and status; new ones are taken at SIGHUP while requests run.
. test/e2e/lib.sh
M=$ROOT/test/models/digits_mlp.onnx
IDX=$(pictures_of digits_mlp)
P=$T/pki
make_pki "$P" localhost 127.0.0.1
"$OBSCURA" pki issue --dir "$P" --name other data-owner other.example >/dev/null
"$OBSCURA" pki revoke --dir "$P" >/dev/null 2>&1
is "an empty list is one" 0 $?
cp "$P/revoked.crl" "$T/list"
R=--revoked=$T/list
# shellcheck disable=SC2046
start provider "$OBSCURAD" provider --listen=127.0.0.1:0 $R $(creds "$P" provider)
PROVIDER=127.0.0.1:$(port provider)
# shellcheck disable=SC2046
start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$M" $R $(creds "$P" model-owner)
MODEL_OWNER=127.0.0.1:$(port model-owner)
# shellcheck disable=SC2046
start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --admin-socket="$T/admin" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $R $(creds "$P" data-owner)
for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && break; sleep 0.05; done
reload() { # reload ROLE: until the log says that it is done
	before=$(grep -c "reload: " "$T/$1.log")
	kill -HUP "$(cat "$T/$1.pid")"
	for _ in $(seq 100); do [ "$(grep -c "reload: " "$T/$1.log")" -gt "$before" ] && return; sleep 0.05; done
}
other() { timeout 20 "$OBSCURA" classify --standalone --provider="$PROVIDER" --model-owner="$MODEL_OWNER" --ca="$P/ca.pem" --certificate="$P/other.pem" --key="$P/other.key" --limit 1 "$IDX" >"$T/out" 2>"$T/err"; }
classify --limit 3 "$IDX" >/dev/null 2>"$T/err"
is "nobody is revoked: it works" 0 $? || cat "$T/err"
other
is "for another data owner too" 0 $?

"$OBSCURA" pki revoke --dir "$P" other >/dev/null 2>&1
is "pki check names it" 1 "$("$OBSCURA" pki list --dir "$P" | grep -c '^other.pem.*revoked')"
is "pki check: exit code" 1 "$("$OBSCURA" pki check --dir "$P" >/dev/null 2>&1; echo $?)"
cp "$P/revoked.crl" "$T/list"
other
is "before the reload it is still accepted" 0 $?
reload model-owner
other
code=$?
if [ $code = 4 ] && grep -q "model-owner.*our certificate has been revoked" "$T/err"; then ok "the model owner refuses it, and says why"; else not_ok "the model owner refuses it, and says why" "exit $code: $(cat "$T/err")"; fi
is "the model owner's log names peer, reason and file" yes "$(grep "refused" "$T/model-owner.log" | grep -q "other.example) is revoked, says $T/list" && echo yes)"
classify --limit 3 "$IDX" >/dev/null 2>"$T/err"
is "others are served on" 0 $?

# a peer that is connected: it is cut off at the reload, and told
SERIAL=$("$OBSCURA" pki list --dir "$P" --json | jq -r 'select(.file=="data-owner.pem").serial')
"$OBSCURA" pki revoke --dir "$P" "$SERIAL" >/dev/null 2>&1
cp "$P/revoked.crl" "$T/list"
reload provider
for _ in $(seq 40); do grep -q "your certificate (localhost) is revoked" "$T/data-owner.log" && break; sleep 0.05; done
is "a connected peer is told why it is cut off" 1 "$(grep -c "your certificate (localhost) is revoked" "$T/data-owner.log" | sed 's/[1-9][0-9]*/1/')"
classify --limit 1 "$IDX" >/dev/null 2>"$T/err"
code=$?
if [ $code = 4 ] && grep -q "provider.*revoked" "$T/err"; then ok "its requests fail with the reason"; else not_ok "its requests fail with the reason" "exit $code: $(cat "$T/err")"; fi
# the other direction: a data owner refuses a revoked model owner
"$OBSCURA" pki issue --dir "$P" --force data-owner localhost >/dev/null
reload data-owner
reload provider
reload model-owner
good=1
for _ in $(seq 200); do classify --limit 1 "$IDX" >/dev/null 2>"$T/err" && { good=0; break; }; sleep 0.1; done
is "a new certificate at SIGHUP: it works again by itself" 0 $good || cat "$T/err"
"$OBSCURA" pki revoke --dir "$P" model-owner >/dev/null 2>&1
cp "$P/revoked.crl" "$T/list"
reload data-owner
classify --limit 1 "$IDX" >/dev/null 2>"$T/err"
code=$?
if [ $code = 4 ] && grep -q "model-owner.*its certificate (localhost) is revoked" "$T/err"; then ok "the data owner refuses a revoked model owner"; else not_ok "the data owner refuses a revoked model owner" "exit $code: $(cat "$T/err")"; fi
reload model-owner
is "own certificate revoked: the reload is refused" 1 "$(grep -c "own certificate $P/model-owner.pem is revoked.*nothing has changed" "$T/model-owner.log")"

# lists that are no good are refused, never taken for empty
"$OBSCURA" pki init "$T/else" >/dev/null
"$OBSCURA" pki revoke --dir "$T/else" >/dev/null 2>&1
bad() { # bad NAME FILE PATTERN
	# shellcheck disable=SC2046
	"$OBSCURAD" provider -t --revoked="$2" $(creds "$P" provider) >"$T/out" 2>&1
	code=$?
	if [ $code = 3 ] && grep -q "$3" "$T/out"; then ok "$1"; else not_ok "$1" "exit $code: $(cat "$T/out")"; fi
}
bad "list of another authority" "$T/else/revoked.crl" "not signed by our authority"
bad "no such list" "$T/nowhere" "cannot read the revocation list"
bad "not a list" "$P/ca.pem" "not a PEM file with a revocation list"

# soon: certificates of 12 days
"$OBSCURA" pki issue --dir "$P" --force --days 12 model-owner localhost 127.0.0.1 >/dev/null
"$OBSCURA" pki issue --dir "$P" --force --days 20 data-owner localhost >/dev/null
reload model-owner
reload data-owner
good=1
for _ in $(seq 200); do classify --limit 1 "$IDX" >/dev/null 2>"$T/err" && { good=0; break; }; sleep 0.1; done
is "renewed: it works again" 0 $good || cat "$T/err"
"$OBSCURA" status --socket="$T/data-owner.sock" --json >"$T/status"
is "status warns of own certificate, with date and remedy" 1 "$(jq '[.warnings[]|select(test("own certificate .*data-owner.pem ends in (19|20) days, on 20..-..-...*pki issue"))]|length' "$T/status")"
is "status warns of the peer's" 1 "$(jq '[.warnings[]|select(test("model-owner .*its certificate ends in 1[12] days"))]|length' "$T/status")"
days() { curl -sS --unix-socket "$T/admin" http://localhost/metrics | awk -v m="$1" 'index($1, m) == 1 { print int($2 / 86400 + 0.5) }'; }
is "so do metrics: own, model owner's, provider's (in days)" "20 12 397" "$(days obscura_certificate_expiry_seconds) $(days 'obscura_peer_certificate_expiry_seconds{role="model-owner"}') $(days 'obscura_peer_certificate_expiry_seconds{role="provider"}')"
is "the log warns too" yes "$(grep -q "warning.*own certificate .*ends in" "$T/data-owner.log" && grep -q "warning.*model-owner .*its certificate ends in" "$T/data-owner.log" && echo yes)"
"$OBSCURA" pki check --dir "$P" >/dev/null 2>"$T/err"
is "pki check warns" 1 "$(grep -c "expire within 30 days" "$T/err")"
