#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The enclave's sealed state, with a real TPM 2.0 (swtpm): a key that may be kept survives a restart, floors do, old copies of the state do not.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
if [ ! -x "$B/obscura-enclave-keeper" ]; then
	echo "skip - the enclave's sealed state (built without libtss2-dev)"
	exit 0
fi
if ! have swtpm swtpm; then
	echo "skip - the enclave's sealed state (no swtpm)"
	exit 0
fi
make_simulation
mkdir "$T/host" "$T/mine" "$T/tpm" "$T/tpm2"
start_tpm() { # start_tpm DIR: on a free pair of ports; the second is the first and one
	for _ in 1 2 3 4 5 6 7 8; do
		P=$(python3 -c 'import random; print(random.randrange(20000, 32000, 2))')
		start swtpm swtpm socket --tpm2 --tpmstate dir="$1" --server type=tcp,port="$P" --ctrl type=tcp,port=$((P + 1)) --flags not-need-init,startup-clear
		for _ in $(seq 100); do
			kill -0 "$(cat "$T/swtpm.pid")" 2>/dev/null || break
			grep -q ":$(printf %04X $((P + 1))) 00000000:0000 0A" /proc/net/tcp && break 2
			sleep 0.05
		done
	done
	TPM=swtpm:host=127.0.0.1,port=$P
}
up() { # up [FILE]: the enclave with its state
	start_enclave --enclave-models="${1:-$T/host/three.sealed,$T/host/two.sealed}" --enclave-state="$T/host/state" --enclave-tpm="$TPM" ${ACCESS:+--access="$ACCESS"} ${REVOKED:+--revoked="$REVOKED"} ${OWNERS:+--enclave-owners="$OWNERS"}
	KEEPER=$(awk '{print $2}' "/proc/$FRONT/task/$FRONT/children")
	for _ in $(seq 100); do grep -q "the enclave: " "$T/model-owner.log" && break; sleep 0.05; done
}
down() { # as systemd does it
	kill "$FRONT"; wait "$FRONT" 2>/dev/null
	for _ in $(seq 100); do [ -d "/proc/$KEEPER" ] || break; sleep 0.05; done
}
logged() { grep -q "$2" "$T/model-owner.log" && ok "$1" || not_ok "$1" "$(cat "$T/model-owner.log")"; }
one() { good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 --json >"$T/out" 2>"$T/err"; }
release() { f=$1; shift; provision "$f" --seal-key "$T/mine/seal.key" "$@" >"$T/out" 2>"$T/err"; }

for v in two:2 three:3; do
	cp "$ROOT/test/models/digits_mlp.onnx" "$T/mine/digits.onnx"
	"$OBSCURA" model seal "$T/mine/digits.onnx" "$T/host/${v%:*}.sealed" --seal-key "$T/mine/seal.key" --version-number "${v#*:}" >/dev/null
done
# shellcheck disable=SC2046
timeout 60 "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0 --tee=sim --simulation="$SIM" \
	--enclave-state="$T/host/state" --enclave-tpm=device:/nonexistent >"$T/err" 2>&1
[ $? -ne 0 ] && grep -q "no TPM at device:/nonexistent (enclave_tpm)" "$T/err" && ok "without the TPM that is asked for nothing starts" || not_ok "without the TPM that is asked for nothing starts" "$(cat "$T/err")"

# Floors alone.
start_tpm "$T/tpm"
up
[ -n "$CHILD" ] && [ -n "$KEEPER" ] && ok "an enclave starts with a TPM" || not_ok "an enclave starts with a TPM" "$(cat "$T/model-owner.log")"
logged "it is said that there is no state yet" "there is no sealed state yet"
release "$T/host/three.sealed"; is "a model is released" 0 $? || cat "$T/err"
is "the state is on disk, for its owner alone" 600 "$(stat -c %a "$T/host/state")"
down
up
logged "after a restart the floors are in force" "sealed state is in force: version floors alone"
one; is "but a key that nobody allowed to keep is gone" 4 $?
release "$T/host/two.sealed"; is "an older version is refused across the restart" 4 $?
says "because models do not go back" "models do not go back"
"$OBSCURA" model seal "$T/mine/digits.onnx" "$T/host/stranger.sealed" --seal-key "$T/mine/other.key" --version-number 9 >/dev/null
provision "$T/host/stranger.sealed" --seal-key "$T/mine/other.key" >/dev/null 2>"$T/err"; is "and so is another owner" 4 $?

# The key as well.
release "$T/host/three.sealed" --keep; is "a model is released to be kept" 0 $?
cp "$T/host/state" "$T/mine/old.state"
python3 test/e2e/enclave_release.py "$T/mine/seal.key" "$T/host/three.sealed" NOT-THERE "$FRONT" "$KEEPER" "$T/host" "$T/tpm" >"$T/out" 2>&1 || not_ok "the search for keys runs" "$(cat "$T/out")"
cat "$T/out"
down
kill_role swtpm
start_tpm "$T/tpm"
up
logged "after a restart of both the model is there" "in force, with the model of the last release"
one; is "and classifies without being released again" 0 $?
grep -q '"label":"7"\|"label":7\|"label":"seven"' "$T/out" && ok "as before" || not_ok "as before" "$(cat "$T/out")"
release "$T/host/two.sealed"; is "an older version is still refused" 4 $?

# Rollback: the state moves on, then the host puts an old copy back.
release "$T/host/three.sealed" --keep; is "another release moves the counter" 0 $?
down
cp "$T/host/state" "$T/mine/new.state"
cp "$T/mine/old.state" "$T/host/state"
up
logged "an old copy of the state is refused, with both counts" "old copy: it was made at count [0-9]*, and the TPM is at [0-9]*; the model must be provisioned again"
one; is "with it no model comes back" 4 $?
down
cp "$T/mine/new.state" "$T/host/state"
up
one; is "the newest is good still" 0 $?
down
echo 'rules = ( { who = "*"; } );' >"$T/rules"
ACCESS=$T/rules
up
for _ in $(seq 100); do grep -q "must be provisioned" "$T/model-owner.log" && break; sleep 0.05; done
logged "under access rules that its owner has not seen the model stays away" "must be provisioned again"
one; is "and is not served" 4 $?
down
ACCESS=
printf 'models = ( { name = "digits"; owners = ["%064d"]; } );\n' 7 >"$T/owners"
cp "$T/mine/new.state" "$T/host/state"
OWNERS=$T/owners
up
for _ in $(seq 100); do grep -q "must be provisioned" "$T/model-owner.log" && break; sleep 0.05; done
logged "and so it does where the enclave takes other owners' models" "must be provisioned again"
one; is "which is not served either" 4 $?
down
OWNERS=

# The revocation list: a model that is kept comes back under one that is as new as any that was in force with it, or not at all.
"$OBSCURA" pki revoke --dir "$T/pki" >/dev/null 2>&1
cp "$T/pki/revoked.crl" "$T/mine/list1"
cp "$T/mine/list1" "$T/host/list"
REVOKED=$T/host/list
cp "$T/mine/new.state" "$T/host/state"
back() { # back NAME WORDS CODE
	up
	for _ in $(seq 100); do grep -q "in force\|must be provisioned" "$T/model-owner.log" && break; sleep 0.05; done
	logged "$1" "$2"
	one; is "$1: exit code" "$3" $?
	down
}
up
release "$T/host/three.sealed" --keep --revoked "$T/host/list"; is "a model is released under a revocation list" 0 $?
down
back "under that list it comes back" "in force, with the model of the last release" 0
REVOKED=
back "without a list it does not" "released under a revocation list" 4
REVOKED=$T/host/list
up
"$OBSCURA" pki revoke --dir "$T/pki" "$(openssl x509 -in "$T/pki/provider.pem" -noout -serial | cut -d= -f2)" >/dev/null 2>&1
cp "$T/pki/revoked.crl" "$T/host/list"
kill -HUP "$FRONT"
for _ in $(seq 100); do [ "$(grep -c "enforces the revocation" "$T/model-owner.log")" = 2 ] && break; sleep 0.05; done
one; is "a newer list comes while it runs" 0 $?
down
back "under the newer list it comes back" "in force, with the model of the last release" 0
cp "$T/mine/list1" "$T/host/list"
back "under the older one it does not" "released under a revocation list" 4
REVOKED=
up
release "$T/host/three.sealed" --keep; is "its owner may release it without a list" 0 $?
down
cp "$T/host/state" "$T/mine/new.state"
back "then it comes back without one" "in force, with the model of the last release" 0
up "$T/host/two.sealed"
logged "a sealed model that is gone is named" "(version 3) does not lie at the enclave's host, but another"
down

# Changed, another TPM's, and a counter that is made anew.
size=$(wc -c <"$T/host/state")
for at in 0 20 30 60 $((size - 1)); do # magic, counter, nonce, wrapped key, state
	cp "$T/mine/new.state" "$T/host/state"
	b=$(od -An -tu1 -j"$at" -N1 "$T/host/state" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf %03o $((b ^ 1)))" | dd of="$T/host/state" bs=1 seek="$at" conv=notrunc 2>/dev/null
	up
	one
	[ $? = 4 ] && grep -q "must be provisioned again" "$T/model-owner.log" && ok "a state with byte $at changed is refused" || not_ok "a state with byte $at changed is refused" "$(cat "$T/model-owner.log")"
	down
done
cp "$T/mine/new.state" "$T/host/state"
if command -v tpm2_nvundefine >/dev/null; then
	tpm2_nvundefine -T "$TPM" -C o 0x01800b5c >/dev/null 2>"$T/err"; is "root removes the counter" 0 $?
	up
	logged "a counter made anew does not go back" "old copy"
	release "$T/host/three.sealed" --keep; is "the next release is kept again" 0 $?
	down
	up
	one; is "and comes back" 0 $?
	down
	cp "$T/mine/new.state" "$T/host/state"
else
	echo "skip - a counter made anew does not go back (no tpm2-tools)"
fi
kill_role swtpm
start_tpm "$T/tpm2"
for _ in $(seq 16); do # until the other TPM has counted as far, or further
	up
	grep -q "another TPM" "$T/model-owner.log" && break
	grep -q "old copy" "$T/model-owner.log" || break
	cp "$T/host/state" "$T/mine/was"
	release "$T/host/three.sealed"
	down
	cp "$T/mine/was" "$T/host/state"
done
logged "a state of another TPM is refused, even at the same count" "another TPM"
one; is "with it no model comes back either" 4 $?

# A keeper that is gone: nothing is released that could not be kept.
kill -9 "$KEEPER"
release "$T/host/three.sealed"; is "without its keeper the enclave takes no release" 4 $?
says "and says what to do" "keeper of the sealed state has ended: restart obscurad"
provision "$T/mine/digits.onnx" --keep >/dev/null 2>"$T/err"; is "only a sealed model's key can be kept" 2 $?
down
