#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Data owners with good certificates and bad manners, against a real enclave: messages that never come, descriptions of what one may not
# use, a picture under evidence for another model, a configuration that became stricter under load.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
hostile() { timeout 120 python3 test/e2e/enclave_hostile.py "$ENCLAVE" "$T/pki/data-owner.pem" "$T/pki/data-owner.key" "$@" >"$T/out" 2>"$T/err" || cat "$T/err"; }
got() { grep -q "$2" "$T/out" && ok "$1" || not_ok "$1" "$(cat "$T/out" "$T/err")"; }
one() { good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 --json >"$T/out" 2>"$T/err"; }
M=$ROOT/test/models/digits_mlp.onnx

start_enclave
provision "$M" --version-number 3 >/dev/null 2>"$T/err"; is "a model is provisioned" 0 $? || cat "$T/err"
hostile hold
got "messages are begun and never sent" "messages were begun"
one; is "afterwards others are served" 0 $? || cat "$T/err"
hostile hold
one; is "and again" 0 $? || cat "$T/err"
provision "$ROOT/test/models/digits_conv.onnx" >/dev/null 2>"$T/err"; is "and there is room for a model" 0 $? || cat "$T/err"

# shellcheck disable=SC2046
hostile silent "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" model-owner) "$M" --version-number 3
got "200 that say nothing lose their places to one who shows a certificate" "^200 0$"
# shellcheck disable=SC2046
hostile crowd "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" model-owner) "$M" --version-number 3
got "one certificate, and its twin with another signature, get one share of the places" "^16 0$"
got "and is told so" "as many connections here as one may have"

hostile stale true
got "a picture under evidence for the model is classified" "^4 "
# shellcheck disable=SC2046
hostile stale "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" model-owner) "$M" --version-number 4
got "under evidence for another version it is not" "^0 closed"
kill_role model-owner

echo 'rules = ( { who = "nobody.example"; } );' >"$T/rules"
start_enclave --access="$T/rules"
provision "$M" >/dev/null 2>"$T/err"
hostile describe
got "who may not use a model is not told what it is" "^7 .*may not use model"
kill_role model-owner

# Where descriptors are short (an even and an odd number: the last one goes to a connection, or to none), strangers cost no time and few lines.
for most in 64 65; do
	UNDER="prlimit --nofile=$most --"
	start_enclave
	provision "$M" >/dev/null 2>"$T/err"
	hostile silent sleep 1
	lines=$(wc -l <"$T/model-owner.log")
	[ "$lines" -lt 100 ] && ok "with $most descriptors 200 strangers do not fill the log" || not_ok "with $most descriptors 200 strangers do not fill the log" "$lines lines"
	for _ in $(seq 100); do [ "$(find "/proc/$FRONT/fd" | wc -l)" -lt 30 ] && break; sleep 0.05; done
	one; is "and others are served when they have gone" 0 $? || cat "$T/err"
	kill_role model-owner
done

# A child that is behind, because strangers come faster than it takes them: what the operator says reaches it all the same.
"$OBSCURA" pki revoke --dir "$T/pki" >/dev/null 2>&1
UNDER=
start_enclave --revoked="$T/pki/revoked.crl"
for _ in $(seq 100); do grep -q "enforces the revocation" "$T/model-owner.log" && break; sleep 0.05; done
kill -STOP "$CHILD"
for _ in 1 2 3; do hostile silent true; done
for _ in $(seq 100); do grep -q "cannot be handed" "$T/model-owner.log" && break; sleep 0.05; done
is "a child that does not go on has no room for more connections" 1 "$(grep -c "cannot be handed" "$T/model-owner.log" | sed 's/[1-9].*/1/')"
kill -HUP "$FRONT"
sleep 0.5
kill -CONT "$CHILD"
for _ in $(seq 200); do [ "$(grep -c "enforces the revocation" "$T/model-owner.log")" = 2 ] && break; sleep 0.05; done
is "a revocation list reaches it when it goes on" "2 0" "$(grep -c "enforces the revocation" "$T/model-owner.log") $(grep -c "reload: cannot" "$T/model-owner.log")"
