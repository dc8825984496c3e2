#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The enclave as it runs in Gramine, without Gramine: a real process that listens by itself and asks /dev/attestation, which is imitated
# with an Intel of our own. No SGX here: what is shown is that nothing on the way takes it for simulated, or for anybody else's.
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
	echo "skip - enclave in Gramine (needs root and a mount namespace, for a /dev of its own)"
	exit 0
fi
if [ ! -x "$B/test/tool/gramine" ]; then
	echo "skip - enclave in Gramine (make tools)"
	exit 0
fi
make_pki "$T/pki" localhost 127.0.0.1
mkdir "$T/dev"
wait_for() { # wait_for FILE TEXT
	for _ in $(seq 200); do
		grep -q "$2" "$1" 2>/dev/null && return
		sleep 0.05
	done
}
# device NAME [MS]: $T/NAME is a /dev as in Gramine, where a quote takes so long
device() {
	setsid "$B/test/tool/gramine" "$T/$1" "${2:-0}" >"$T/quotes" 2>"$T/gramine.err" </dev/null &
	PIDS="$PIDS $!"
	wait_for "$T/quotes" ready
}
# enclave DEVICE LOG [WORD…]: an enclave with that /dev; its log is $T/LOG
enclave() {
	place=$T/$1 log=$T/$2
	shift 2
	setsid unshare -m sh -c 'mount --make-rprivate / && mount --bind "$0" /dev && exec "$@"' "$place" "$B/obscura-enclave" gramine 127.0.0.1:0 "$T/pki/ca.pem" "$@" >"$log" 2>&1 </dev/null &
	PIDS="$PIDS $!"
	wait_for "$log" "ready at"
	ENCLAVE=$(sed -n 's/.*ready at \(127[^ ;]*\);.*/\1/p' "$log")
}
device dev
enclave dev enclave.log
[ -n "$ENCLAVE" ] && ok "the enclave listens by itself" || not_ok "the enclave listens by itself" "$(cat "$T/enclave.log" "$T/gramine.err")"
is "it has asked for a quote for its certificate" 1 "$(grep -c quote "$T/quotes")"

program=$(printf '4d%.0s' $(seq 32))
{ echo "mrenclave = \"$program\";"; echo 'intel_roots = ["dev/root.der"]; allow = ["no-collateral"];'; } >"$T/policy"
# shellcheck disable=SC2046
provision() { timeout 60 "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$T/policy" $(creds "$T/pki" model-owner) "$@"; }
# shellcheck disable=SC2046
ask() { # ask POLICY flags…
	policy=$1; shift
	timeout 60 "$OBSCURA" classify --personality enclave --enclave="$ENCLAVE" --policy "$policy" $(creds "$T/pki" data-owner) "$ROOT/test/images/digits-idx3-ubyte" "$@"
}
says() { grep -q "$2" "$T/err" && ok "$1" || not_ok "$1" "$(cat "$T/err")"; }

provision "$ROOT/test/models/digits_mlp.onnx" --version-number 3 >"$T/out" 2>"$T/err"; is "a model is provisioned" 0 $?
grep -q "no hardware isolation" "$T/out" && not_ok "nothing is called simulated" "$(cat "$T/out")" || ok "nothing is called simulated"
ask "$T/policy" --json >"$T/out" 2>"$T/err"; is "pictures are classified" 0 $?
is "each answer says that it is not simulated" "false enclave" "$(jq -r '"\(.simulated) \(.personality)"' "$T/out" | sort -u)"
jq -r .label "$T/out" >"$T/labels"
n=$(wc -l <"$T/labels")
tail -c $((n * 40)) "$ROOT/test/models/digits_mlp.npy" | od -An -v -tf4 -w40 | awk '{b=1; for (i=2;i<=10;i++) if ($i>$b) b=i; print b-1}' >"$T/want"
cmp -s "$T/labels" "$T/want" && ok "labels of $n pictures equal the float model's" || not_ok "labels of $n pictures equal the float model's" "$(diff "$T/labels" "$T/want" | head -5)"
is "every connection had a quote of its own" 3 "$(grep -c quote "$T/quotes")"

{ echo "mrenclave = \"0${program#?}\";"; echo 'intel_roots = ["dev/root.der"]; allow = ["no-collateral"];'; } >"$T/other"
ask "$T/other" --limit 1 >/dev/null 2>"$T/err"; is "another program is refused" 6 $?
says "with expected and received" "expected 0d4d.* received 4d4d"
echo "mrenclave = \"$program\"; allow = [\"no-collateral\"];" >"$T/real"
ask "$T/real" --limit 1 >/dev/null 2>"$T/err"; is "without our root, Intel's alone is trusted" 6 $?
says "and this is not Intel's" ROOT_UNTRUSTED
{ echo "mrenclave = \"$program\";"; echo 'intel_roots = ["dev/root.der"];'; } >"$T/strict"
ask "$T/strict" --limit 1 >/dev/null 2>"$T/err"; is "without collateral it is refused" 6 $?
says "unless that is allowed" NO_COLLATERAL

# The certificate, as any reader of interoperable RA-TLS gets it; and the client that is content with it.
echo | timeout 20 openssl s_client -connect "$ENCLAVE" -cert "$T/pki/data-owner.pem" -key "$T/pki/data-owner.key" 2>/dev/null | openssl x509 >"$T/cert.pem" 2>/dev/null
openssl x509 -in "$T/cert.pem" -noout -text 2>/dev/null | grep -q "2.23.133.5.4.9" && ok "the certificate has the RA-TLS extension" || not_ok "the certificate has the RA-TLS extension"
"$OBSCURA" attest verify --kind ratls --evidence "$T/cert.pem" --policy "$T/policy" >"$T/out" 2>"$T/err"; is "and is accepted as such" 0 $?
n=$(grep -c quote "$T/quotes")
{ cat "$T/policy"; echo "boot_evidence_age = 600;"; } >"$T/boot"
ask "$T/boot" --limit 1 >/dev/null 2>"$T/err"; is "evidence of boot time is accepted where the policy says so" 0 $?
is "and needs no quote" "$n" "$(grep -c quote "$T/quotes")"
if [ "${B##*/}" = rel ]; then # a sanitized child is not static, and has no libraries in its empty root
# The same machine with front end, quoter and child, as in a guest of SEV-SNP or TDX: --tee=auto finds the hardware, the quoter asks it.
# shellcheck disable=SC2016,SC2046
start model-owner unshare -m sh -c 'mount --make-rprivate / && mount --bind "$0" /dev && exec "$@"' "$T/dev" "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 \
	--models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0
wait_for "$T/model-owner.log" "enclave is ready"
ENCLAVE=$(sed -n 's/.*enclave at \(127[^ ]*\).*/\1/p' "$T/model-owner.log")
grep -q "enclave is ready (SGX" "$T/model-owner.log" && ok "front end, quoter and child start on it" || not_ok "front end, quoter and child start on it" "$(cat "$T/model-owner.log")"
grep -q "simulated" "$T/model-owner.log" && not_ok "and are not simulated" "$(cat "$T/model-owner.log")" || ok "and are not simulated"
provision "$ROOT/test/models/digits_mlp.onnx" >"$T/out" 2>"$T/err"; is "a model is provisioned there" 0 $?
n=$(grep -c quote "$T/quotes")
ask "$T/policy" --limit 3 --json >"$T/out" 2>"$T/err"; is "pictures are classified there" 0 $?
is "with a quote by the quoter" $((n + 1)) "$(grep -c quote "$T/quotes")"
ask "$T/other" --limit 1 >/dev/null 2>"$T/err"; is "another program is refused there" 6 $?
ask "$T/boot" --limit 1 >/dev/null 2>"$T/err"; is "evidence of boot time is accepted there" 0 $?
kill_role model-owner
else
	echo "skip - front end, quoter and child on it (sanitizers)"
fi

# Who may use the model, in Gramine.
echo 'rules = ( { who = "*"; reveal = "label"; } );' >"$T/rules"
"$OBSCURA" pki revoke --dir "$T/pki" >/dev/null 2>&1
printf 'models = ( { name = "digits_mlp"; owners = ["%s"]; } );\n' "$(openssl x509 -in "$T/pki/model-owner.pem" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1)" >"$T/owners"
enclave dev rules.log access="$T/rules" revoked="$T/pki/revoked.crl" owners="$T/owners"
grep -q "enforces the revocation list" "$T/rules.log" && grep -q "enforces the access rules" "$T/rules.log" && ok "it takes rules and a revocation list" || not_ok "it takes rules and a revocation list" "$(cat "$T/rules.log")"
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/policy" >/dev/null 2>"$T/err"; is "an owner who wants others gives no model" 6 $?
provision "$ROOT/test/models/digits_mlp.onnx" --access "$T/rules" --revoked "$T/pki/revoked.crl" >/dev/null 2>"$T/err"; is "who wants these does" 0 $?
provision "$ROOT/test/models/digits_conv.onnx" --enclave-owners "$T/owners" >/dev/null 2>"$T/err"; is "it takes what its file of owners names, no other model" 4 $?
says "and says so" "enclave_owners.*expected digits_mlp, received digits_conv"
ask "$T/policy" --limit 1 >/dev/null 2>"$T/err"; is "the rules hold" 4 $?
ask "$T/policy" --limit 1 --reveal label >/dev/null 2>"$T/err"; is "and give what they give" 0 $?

# Where a quote takes half a second, one certificate can neither keep the others waiting nor have quotes without end.
mkdir "$T/slow"
device slow 500
enclave slow slow.log
cp "$T/pki/data-owner.pem" "$T/greedy.pem"
cp "$T/pki/data-owner.key" "$T/greedy.key"
"$OBSCURA" pki issue --dir "$T/pki" --force data-owner second.example localhost 127.0.0.1 >/dev/null
timeout 120 python3 test/e2e/enclave_hostile.py "$ENCLAVE" "$T/greedy.pem" "$T/greedy.key" greedy "$T/pki/data-owner.pem" "$T/pki/data-owner.key" >"$T/out" 2>"$T/err"
grep -q "^another one waited for few " "$T/out" && ok "who asks 16 times at once and again does not keep others waiting" || not_ok "who asks 16 times at once and again does not keep others waiting" "$(cat "$T/out" "$T/err")"
grep -q "asked for too often; ask again in [0-9]* s" "$T/out" && ok "and is told when to come again" || not_ok "and is told when to come again" "$(cat "$T/out" "$T/err")"
is "after a dozen quotes, not more" yes "$([ "$(grep -c quote "$T/quotes")" -lt 24 ] && echo yes || grep -c quote "$T/quotes")"

"$B/obscura-enclave" gramine 127.0.0.1:0 "$T/pki/ca.pem" >/dev/null 2>"$T/err"
[ $? -ne 0 ] && ok "outside of Gramine it does not start" || not_ok "outside of Gramine it does not start"
says "and says what is missing" "not inside gramine-sgx"
