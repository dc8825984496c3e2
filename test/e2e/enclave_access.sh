#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Access rules and revocation for clients of the enclave, enforced inside it: what is in force is in the evidence; revoked certificates are
# refused, also after a reload; an older, a foreign or an ended list is not taken; rules do not change behind an owner's back.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
PICTURES=$ROOT/test/images/digits-idx3-ubyte
for role in data-owner model-owner; do # a second one of each, which will be revoked
	cp "$T/pki/$role.pem" "$T/first-$role.pem"
	cp "$T/pki/$role.key" "$T/first-$role.key"
	"$OBSCURA" pki issue --dir "$T/pki" --force $role second.example localhost 127.0.0.1 >/dev/null
	mv "$T/pki/$role.pem" "$T/second-$role.pem"
	mv "$T/pki/$role.key" "$T/second-$role.key"
	mv "$T/first-$role.pem" "$T/pki/$role.pem"
	mv "$T/first-$role.key" "$T/pki/$role.key"
done
second() { # second ROLE COMMAND…: with the other certificate
	role=$1
	shift
	timeout 60 "$OBSCURA" "$@" --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated --ca="$T/pki/ca.pem" --certificate="$T/second-$role.pem" --key="$T/second-$role.key"
}
second_asks() { second data-owner classify --personality enclave "$PICTURES" --limit 1 "$@" >/dev/null 2>"$T/err"; }
heard() { # heard TEXT: the model owner's log says it, again
	for _ in $(seq 100); do
		[ "$(grep -c "$1" "$T/model-owner.log")" -gt "$HEARD" ] && HEARD=$(grep -c "$1" "$T/model-owner.log") && return 0
		sleep 0.05
	done
	return 1
}
reload() { # reload TEXT: SIGHUP, until the enclave has answered
	HEARD=$(grep -c "$1" "$T/model-owner.log")
	kill -HUP "$FRONT"
	heard "$1" || not_ok "the enclave answers a reload: $1" "$(tail -5 "$T/model-owner.log")"
}

cat >"$T/rules" <<'EOS'
rules = (
  { who = "second.example"; per_minute = 3; },
  { who = "localhost"; models = ["digits_mlp"]; reveal = "label"; }
);
EOS
"$OBSCURA" pki revoke --dir "$T/pki" >"$T/out" 2>&1; is "an empty revocation list is made" 0 $?
LIST=$T/pki/revoked.crl
revoke() { "$OBSCURA" pki revoke --dir "$T/pki" "$(openssl x509 -in "$1" -noout -serial | cut -d= -f2)" >/dev/null 2>&1 && cp "$LIST" "$T/list"; }
cp "$LIST" "$T/list"
cp "$LIST" "$T/list1"
start_enclave --access="$T/rules" --revoked="$T/list"
[ -n "$CHILD" ] && ok "an enclave takes rules and a revocation list" || not_ok "an enclave takes rules and a revocation list" "$(cat "$T/model-owner.log")"
for _ in $(seq 50); do grep -q "enforces the revocation" "$T/model-owner.log" && break; sleep 0.05; done
grep -q "enforces the access rules" "$T/model-owner.log" && grep -q "enforces the revocation list" "$T/model-owner.log" && ok "and says so" || not_ok "and says so" "$(cat "$T/model-owner.log")"

# The owner of the model sees in the evidence what is in force.
echo 'rules = ( { who = "*"; } );' >"$T/other"
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/other" >/dev/null 2>"$T/err"; is "an owner who wants other rules gives no model" 6 $?
says "expected and received" "expected SHA-256 $(openssl dgst -sha256 -r "$T/other" | cut -d' ' -f1), received $(openssl dgst -sha256 -r "$T/rules" | cut -d' ' -f1)"
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/rules" --revoked "$T/other" >/dev/null 2>"$T/err"; is "nor one who wants another list" 6 $?
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/rules" --revoked "$T/list" >/dev/null 2>"$T/err"; is "who wants these gives it" 0 $?

# Rules.
good "$PICTURES" --limit 2 >/dev/null 2>"$T/err"; is "scores are refused to whom the rules give labels" 4 $?
says "and it is said so" "gets only labels"
good "$PICTURES" --limit 2 --reveal label >/dev/null 2>"$T/err"; is "labels are given" 0 $?
second_asks; is "another data owner gets scores" 0 $?
second data-owner classify --personality enclave "$PICTURES" --limit 3 >/dev/null 2>"$T/err"; is "but not more images a minute than the rules say" 4 $?
says "with the numbers" "may use 3 images a minute of model digits_mlp, 1 were in the last one (3 asked for)"
second data-owner classify --personality enclave "$PICTURES" --limit 2 >/dev/null 2>"$T/err"; is "what was refused is not counted" 0 $?
cp "$ROOT/test/models/digits_mlp.onnx" "$T/another.onnx"
cp "$ROOT/test/models/digits_mlp.json" "$T/another.json" 2>/dev/null
provision "$T/another.onnx" >/dev/null 2>"$T/err"
good "$PICTURES" --limit 1 --reveal label >/dev/null 2>"$T/err"; is "a model that no rule gives is refused" 4 $?
says "with who can allow it" "may not use model another"
provision "$ROOT/test/models/digits_mlp.onnx" >/dev/null 2>"$T/err"

# Revocation, at a reload; what is open is refused as well.
mkfifo "$T/slow"
{ greeting; cat "$T/slow"; } | timeout 30 openssl s_client -connect "$ENCLAVE" -quiet -no_ign_eof -tls1_3 -cert "$T/second-data-owner.pem" \
	-key "$T/second-data-owner.key" >"$T/open" 2>/dev/null &
CLIENT=$!
exec 9>"$T/slow"
grown "$T/open" 500
revoke "$T/second-data-owner.pem"
reload "enforces the revocation list"
second_asks; is "a revoked data owner is refused" 4 $?
says "and it is said why" "certificate is revoked"
greeting >&9
for _ in $(seq 100); do grep -aq "certificate is revoked" "$T/open" && break; sleep 0.05; done
exec 9>&-
wait $CLIENT
grep -aq "certificate is revoked" "$T/open" && ok "also on the connection that it had open" || not_ok "also on the connection that it had open" "$(strings "$T/open" | tail -3)"
good "$PICTURES" --limit 1 --reveal label >/dev/null 2>"$T/err"; is "who is not on the list is served" 0 $?
provision "$ROOT/test/models/digits_mlp.onnx" --revoked "$T/list1" >/dev/null 2>"$T/err"; is "the evidence has the new list" 6 $?
cp "$T/list1" "$T/list"
reload "refuses the revocation list"
second_asks; is "an older list brings nobody back" 4 $?
make_pki "$T/pki2" localhost
"$OBSCURA" pki revoke --dir "$T/pki2" provider >/dev/null 2>&1
cp "$T/pki2/revoked.crl" "$T/list"
kill -HUP "$FRONT"
for _ in $(seq 100); do grep -q "not signed by our authority" "$T/model-owner.log" && break; sleep 0.05; done
grep -q "reload:.*not signed by our authority" "$T/model-owner.log" && ok "a list of another authority is refused" || not_ok "a list of another authority is refused" "$(tail -3 "$T/model-owner.log")"
revoke "$T/second-model-owner.pem"
reload "enforces the revocation list"
second model-owner model provision "$ROOT/test/models/digits_mlp.onnx" >/dev/null 2>"$T/err"; is "a revoked model owner brings no model" 4 $?

# Rules do not change once an owner has seen them.
cp "$T/other" "$T/rules"
reload "refuses the access rules"
good "$PICTURES" --limit 1 >/dev/null 2>"$T/err"; is "other rules are not taken under a model" 4 $?
kill_role model-owner
start_enclave --access="$T/rules"
good "$PICTURES" --limit 1 >/dev/null 2>"$T/err"; says "after a restart there is no model" "no model"
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/rules" --revoked "$T/list" >/dev/null 2>"$T/err"; is "without a list the owner who wants one gives none" 6 $?
says "and is told that there is none" "received none"
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/rules" >/dev/null 2>"$T/err"
good "$PICTURES" --limit 1 >/dev/null 2>"$T/err"; is "under the new rules all is given" 0 $?
kill_role model-owner
"$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0 --tee=sim --simulation="$SIM" --audit="$T/audit" >"$T/err" 2>&1
[ $? -ne 0 ] && ok "what cannot be recorded is not promised: no audit beside an enclave" || not_ok "what cannot be recorded is not promised: no audit beside an enclave"
says "and it is said so" "not seen by audit"
