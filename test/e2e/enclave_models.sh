#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A data owner's policy says which model an enclave may hold, and whose: what model seal and provision print passes, another digest, another
# owner, another name is refused with exit 6, at the command line and in the daemon, also when the model changes later.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
mkdir "$T/mine"
M=$T/mine/digits.onnx
cp "$ROOT/test/models/digits_mlp.onnx" "$M"
echo '{"scale":255}' >"$T/mine/digits.json"
PICTURES=$ROOT/test/images/digits-idx3-ubyte
policy() { { cat "$SIM/policy.conf"; cat; } >"$T/policy.conf"; cp "$SIM/root.pem" "$T/"; } # policy <MORE: the simulation's, and more
one() { ask "$T/policy.conf" --accept-simulated "$PICTURES" --limit 1 >"$T/out" 2>"$T/err"; }
other() { echo "$1" | tr 0-9a-f 1-9a-f0; } # no digit is as it was
is "the example in conf/ is a policy" 2 "$("$OBSCURA" attest verify --policy "$ROOT/conf/policy.conf" --evidence "$T/pki/ca.pem" --kind nothing >/dev/null 2>&1; echo $?)"

start_enclave
echo "models = ( { name = \"digits\"; owners = [\"$(printf '%064d' 7)\"]; } );" | policy
one; is "a policy that demands a model is not met by none" 6 $?
says "and it is said" "received no model"

# Through the connection: the owner is who has the certificate's key.
provision "$M" --json >"$T/said" 2>"$T/err"; is "a model is provisioned, and described" 0 $?
DIGEST=$(cat "$M" "$T/mine/digits.json" | openssl dgst -sha384 -r | cut -d' ' -f1)
OWNER=$(openssl x509 -in "$T/pki/model-owner.pem" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
is "its digest is that of the files, its owner that of the certificate's key" "digits 1 $DIGEST $OWNER true" "$(jq -r '"\(.name) \(.version) \(.digest) \(.owner) \(.simulated)"' "$T/said")"
jq -r .policy "$T/said" | policy
one; is "what was printed, as it stands in the policy, is met" 0 $? || cat "$T/err"
provision "$M" >"$T/text" 2>/dev/null
is "people get the same line" "$(jq -r .policy "$T/said")" "$(sed -n "s/^for a data owner's policy: //p" "$T/text")"

echo "models = ( { name = \"digits\"; digests = [\"$(other "$DIGEST")\", \"$DIGEST\"]; } );" | policy
one; is "one of several digests is enough" 0 $? || cat "$T/err"
echo "models = ( { name = \"digits\"; digests = [\"$(other "$DIGEST")\"]; owners = [\"$OWNER\"]; } );" | policy
one; is "another digest is refused" 6 $?
says "with expected and received" "is another one: expected $(other "$DIGEST"), received $DIGEST"
says "and what to do" "ask the model's owner"
echo "models = ( { name = \"digits\"; digests = [\"$DIGEST\"]; owners = [\"$(other "$OWNER")\"]; } );" | policy
one; is "another owner is refused" 6 $?
says "with expected and received" "is another owner's: expected $(other "$OWNER"), received $OWNER"
echo "models = ( { name = \"digits\"; owners = [\"$OWNER\"]; min_version = 2; } );" | policy
one; is "an older version of it is refused" 6 $?
says "with expected and received" "expected version 2 at least, received 1"
echo "models = ( { name = \"cells\"; owners = [\"$OWNER\"]; } );" | policy
one; is "a model that is not named is refused" 6 $?
says "with expected and received" "expected cells, received digits"
printf 'models = (\n  { name = "digits";\n    owners = ["%s,%s"]; } );\n' "$OWNER" "$OWNER" | policy
one; is "two owners in one string are no owner" 3 $?
says "file and line are named" "policy.conf:[0-9]*: owners: needs a list of strings of 64 hexadecimal digits"
echo 'models = ( { name = "digits"; } );' | policy
one; is "a name alone is no demand" 3 $?
says "and it is said what would be" "say which digests, or whose"

# Another model owner of the same authority brings its own model under that name.
mkdir "$T/theirs"
cp "$T/pki/model-owner.pem" "$T/pki/model-owner.key" "$T/theirs"
"$OBSCURA" pki issue --dir "$T/pki" --force model-owner second.example localhost 127.0.0.1 >/dev/null
mv "$T/pki/model-owner.pem" "$T/second.pem"
mv "$T/pki/model-owner.key" "$T/second.key"
mv "$T/theirs/"* "$T/pki"
cp "$ROOT/test/models/digits_conv.onnx" "$T/theirs/digits.onnx"
second() { timeout 60 "$OBSCURA" model provision "$T/theirs/digits.onnx" "$@" --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated --ca="$T/pki/ca.pem" --certificate="$T/second.pem" --key="$T/second.key" >"$T/out" 2>"$T/err"; }
echo "models = ( { name = \"digits\"; owners = [\"$OWNER\"]; } );" | policy
one; is "any model of an owner is met by this one" 0 $?

# The data owner's daemon, with its connection standing.
# shellcheck disable=SC2046
start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --http-socket="$T/http" --admin-socket="$T/admin" --provider=127.0.0.1:9 --model-owner="127.0.0.1:$(port model-owner)" --enclave="$ENCLAVE" \
	$(creds "$T/pki" data-owner) --policy="$T/policy.conf" --accept-simulated=on
for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && break; sleep 0.05; done
daemon() { "$OBSCURA" classify --personality enclave --socket="$T/data-owner.sock" "$ROOT/test/images/seven-0.png" >"$T/out" 2>"$T/err"; }
daemon; is "the daemon, too, is met" 0 $? || cat "$T/err"
second --version-number 2; is "another model owner brings another model of that name" 0 $? || cat "$T/err"
THEIRS=$(openssl x509 -in "$T/second.pem" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)
one; is "which is refused" 6 $?
says "by its owner" "is another owner's: expected $OWNER, received $THEIRS"
daemon; is "and by the daemon, whose connection was made before" 6 $?
says "for the same reason" "is another owner's: expected $OWNER, received $THEIRS"

# Bytes of model and JSON have one border, or one digest would be several models'.
echo ' {"scale":255}' >"$T/theirs/digits.json"
cp "$ROOT/test/models/digits_mlp.onnx" "$T/theirs/digits.onnx"
"$OBSCURA" model seal "$T/theirs/digits.onnx" "$T/theirs/digits.sealed" --seal-key "$T/theirs/seal.key" >/dev/null 2>"$T/err"
is "JSON that does not begin with { is not sealed" "3 no" "$? $([ -e "$T/theirs/digits.sealed" ] && echo yes || echo no)"
says "and it is said why" "must begin with {"
second --version-number 3; is "nor taken by an enclave" 4 $?
says "for the same reason" "must begin with {"
kill_role data-owner
kill_role model-owner

# Sealed: the owner is who has the seed, whatever certificate the release comes with.
"$OBSCURA" model seal "$M" "$T/mine/digits.sealed" --seal-key "$T/mine/seal.key" --version-number 3 --json >"$T/said" 2>"$T/err"; is "a model is sealed, and described" 0 $?
is "with the same digest" "digits 3 $DIGEST" "$(jq -r '"\(.name) \(.version) \(.digest)"' "$T/said")"
SEALER=$(jq -r .owner "$T/said")
start_enclave --enclave-models="$T/mine/digits.sealed"
jq -r .policy "$T/said" | policy
provision "$M" --version-number 3 >/dev/null 2>&1
one; is "the same model, but brought by a certificate, is not the sealer's" 6 $?
says "and it is said whose it is" "expected $SEALER, received $OWNER"
provision "$T/mine/digits.sealed" --seal-key "$T/mine/seal.key" --json >"$T/out" 2>"$T/err"; is "released, it is" 0 $?
is "the enclave says what seal has said" "$(jq -c '[.name,.version,.digest,.owner,.policy]' "$T/said")" "$(jq -c '[.name,.version,.digest,.owner,.policy]' "$T/out")"
one; is "and the policy is met" 0 $? || cat "$T/err"
echo "models = ( { name = \"digits\"; digests = [\"$DIGEST\"]; owners = [\"$OWNER\"]; } );" | policy
one; is "a policy that names the certificate is not" 6 $?
says "by the sealer" "expected $OWNER, received $SEALER"
kill_role model-owner

# What the enclave itself takes, so that no other certified model owner comes first.
echo "models = ( { name = \"digits\"; owners = [\"$SEALER\"]; } );" >"$T/owners"
cp "$ROOT/test/models/digits_conv.onnx" "$T/theirs/cells.onnx"
start_enclave --enclave-models="$T/mine/digits.sealed" --enclave-owners="$T/owners"
grep -q "enforces the owners of models" "$T/model-owner.log" && ok "an enclave is told whose models it takes" || not_ok "an enclave is told whose models it takes" "$(cat "$T/model-owner.log")"
rm -f "$T/theirs/digits.json"
second; is "another owner's model of that name is not taken" 4 $?
says "and it is said whose would be" "expected $SEALER, received $THEIRS"
provision "$T/theirs/cells.onnx" >/dev/null 2>"$T/err"; is "nor another name" 4 $?
says "and it is said which would be" "enclave_owners.*expected digits, received cells"
"$OBSCURA" model seal "$M" "$T/mine/foreign.sealed" --seal-key "$T/mine/foreign.key" --version-number 9 >/dev/null 2>&1
printf 'models = ( { name = "digits"; owners = ["%s"]; } );\n' "$OWNER" >"$T/other-owners"
provision "$T/mine/digits.sealed" --seal-key "$T/mine/seal.key" --enclave-owners "$T/other-owners" >/dev/null 2>"$T/err"; is "an owner who wants other owners enforced releases nothing" 6 $?
says "expected and received" "expected SHA-256 $(openssl dgst -sha256 -r "$T/other-owners" | cut -d' ' -f1), received $(openssl dgst -sha256 -r "$T/owners" | cut -d' ' -f1)"
provision "$T/mine/digits.sealed" --seal-key "$T/mine/seal.key" --enclave-owners "$T/owners" >/dev/null 2>"$T/err"; is "who wants these releases" 0 $? || cat "$T/err"
jq -r .policy "$T/said" | policy
one; is "and a data owner is served" 0 $? || cat "$T/err"
kill_role model-owner
start_enclave --enclave-models="$T/mine/foreign.sealed,$T/mine/digits.sealed" --enclave-owners="$T/owners"
provision "$T/mine/foreign.sealed" --seal-key "$T/mine/foreign.key" >/dev/null 2>"$T/err"; is "another seed's release is not taken" 4 $?
says "by its owner" "enclave_owners.*expected $SEALER"
provision "$T/mine/digits.sealed" --seal-key "$T/mine/seal.key" >/dev/null 2>"$T/err"; is "and has not become the enclave's only owner" 0 $? || cat "$T/err"
kill_role model-owner
echo 'models = ( { name = "digits"; } );' >"$T/owners"
# shellcheck disable=SC2046
timeout 60 "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0 --tee=sim --simulation="$SIM" \
	--enclave-owners="$T/owners" >"$T/err" 2>&1
is "owners that are written wrong are refused at the start" 3 $?
says "with file and line" "owners:1: .*say which digests, or whose"
