#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sealed model lies at the enclave's host; its owner releases the key to the attested enclave. What the host changes or swaps is seen, versions
# do not go back, and neither key nor model is anywhere but in the enclave.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
mkdir "$T/host" "$T/mine"
M=$ROOT/test/models/digits_mlp.onnx
K="--seal-key $T/mine/seal.key"
LABEL=PLANTED$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
cp "$M" "$T/mine/digits.onnx"
echo "{\"scale\":255,\"labels\":[\"$LABEL\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}" >"$T/mine/digits.json"
# shellcheck disable=SC2086
seal() { "$OBSCURA" model seal "$T/mine/digits.onnx" "$T/host/$1" ${3:-$K} --version-number "$2" >"$T/out" 2>"$T/err"; }
# shellcheck disable=SC2086
release() { provision "$1" ${2:-$K} $3 $4 >"$T/out" 2>"$T/err"; }
refused() { # refused NAME WORDS FILE [KEY] [flags]
	name=$1 words=$2
	shift 2
	release "$@"
	[ $? -ne 0 ] && grep -q "$words" "$T/err" && ok "$name" || not_ok "$name" "$(cat "$T/err")"
}
flip() { # flip FILE OFFSET OUT: one byte is another
	cp "$1" "$3"
	b=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\$(printf %03o $((b ^ 1)))" | dd of="$3" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

seal three.sealed 3; is "a model is sealed" 0 $?
is "its key is the owner's alone" 600 "$(stat -c %a "$T/mine/seal.key")"
cp "$T/host/three.sealed" "$T/mine/kept"
seal three.sealed 3
[ $? -ne 0 ] && cmp -s "$T/mine/kept" "$T/host/three.sealed" && ok "a sealed file is never written over" || not_ok "a sealed file is never written over"
seal two.sealed 2
seal four.sealed 4
seal five.sealed 5
seal stranger.sealed 9 "--seal-key $T/mine/other.key"
grep -q "$LABEL" "$T/host/"* && not_ok "sealed files show nothing of the model" || ok "sealed files show nothing of the model"

# At the owner: every part of the file, another key, an older file than wanted; no enclave is asked.
ENCLAVE=127.0.0.1:1
size=$(wc -c <"$T/host/three.sealed")
for at in 0 16 24 60 84 90 1000 $((size - 1)); do # magic, version, owner, nonce, name, model, tag
	flip "$T/host/three.sealed" "$at" "$T/mine/bad"
	refused "a sealed model with byte $at changed is refused by its owner" "not a sealed model\|was changed" "$T/mine/bad"
done
head -c $((size - 1)) "$T/host/three.sealed" >"$T/mine/bad"
refused "a sealed model that is cut off is refused by its owner" "was changed" "$T/mine/bad"
refused "another owner's key is refused" "another one" "$T/host/three.sealed" "--seal-key $T/mine/other.key"
refused "an older version than wanted is refused by its owner, with both" "expected version 3 at least, received 2" "$T/host/two.sealed" "$K" --version-number 3
provision "$T/host/three.sealed" >/dev/null 2>"$T/err"; is "a sealed model without its key is refused" 2 $?
says "and it is said what to name" "seal-key"

# At the enclave.
start_enclave --enclave-models="$T/host/two.sealed,$T/host/three.sealed,$T/host/four.sealed,$T/host/stranger.sealed"
[ -n "$CHILD" ] && ok "an enclave starts with sealed models" || not_ok "an enclave starts with sealed models" "$(cat "$T/model-owner.log")"
good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "before the release nothing is computed" 4 $?
refused "what does not lie at the host cannot be released" "version 5) does not lie at the enclave's host, but another of that name" "$T/host/five.sealed"
refused "an enclave without a TPM does not promise to keep" "release without --keep" "$T/host/three.sealed" "$K" --keep
release "$T/host/three.sealed"; is "a sealed model is released" 0 $? || cat "$T/err"
grep -qx 3 "$T/out" && grep -q "no hardware isolation" "$T/out" && ok "under the version that it was sealed with, and it is said what the enclave is" || not_ok "under the version that it was sealed with, and it is said what the enclave is" "$(cat "$T/out")"
refused "an older one is refused by the enclave" "models do not go back" "$T/host/two.sealed"
refused "even where its owner would go back" "models do not go back" "$T/host/two.sealed" "$K" --version-number 1
refused "another owner is refused" "another owner" "$T/host/stranger.sealed" "--seal-key $T/mine/other.key"
provision "$M" --version-number 1 >/dev/null 2>"$T/err"; is "a model of another name may come through the connection" 0 $?
release "$T/host/three.sealed"
is "the released name is the file's own" digits "$(sed -n 2p "$T/out")"
provision "$T/mine/digits.onnx" --version-number 2 >/dev/null 2>"$T/err"; is "the floor holds for models in clear as well" 4 $?
says "for the same reason" "models do not go back"
provision "$T/mine/digits.onnx" --version-number 1000000 >/dev/null 2>"$T/err"; is "another model owner's certificate does not replace the owner's model" 4 $?
says "and it is said who may" "released by their owner"
# shellcheck disable=SC2046,SC2086
timeout 60 "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" data-owner) "$T/host/three.sealed" $K >/dev/null 2>"$T/err"
code=$?
[ $code = 6 ] || [ $code = 4 ] && ok "a data owner cannot release" || not_ok "a data owner cannot release" "exit $code"
good "$ROOT/test/images/digits-idx3-ubyte" --json >"$T/out" 2>"$T/err"; is "pictures are classified" 0 $?
jq -r .label "$T/out" | awk -v l="$LABEL" '{print $1 == l ? 0 : $1}' >"$T/labels"
n=$(wc -l <"$T/labels")
tail -c $((n * 40)) "$ROOT/test/models/digits_mlp.npy" | od -An -v -tf4 -w40 | awk '{b=1; for (i=2;i<=10;i++) if ($i>$b) b=i; print b-1}' >"$T/want"
cmp -s "$T/labels" "$T/want" && ok "labels of $n pictures equal the float model's" || not_ok "labels of $n pictures equal the float model's" "$(diff "$T/labels" "$T/want" | head -5)"

# The key of the file, the owner's seed and a label of the model, in memory and on disk.
python3 test/e2e/enclave_release.py "$T/mine/seal.key" "$T/host/three.sealed" "$LABEL" "$FRONT" "$QUOTER" "$CHILD" >"$T/out" 2>&1 || not_ok "the search for keys runs" "$(cat "$T/out")"
cat "$T/out"
python3 test/e2e/enclave_release.py "$T/mine/seal.key" "$T/host/three.sealed" "$LABEL" "$T/host" "$SIM" "$T/model-owner.log" >"$T/out" 2>&1 || not_ok "the search on disk runs" "$(cat "$T/out")"
cat "$T/out"

kill_role model-owner
# The next version comes while the enclave runs; another file under a head that it has replaces that one.
echo "enclave_models = [\"$T/host/three.sealed\"];" >"$T/host/model-owner.conf"
start_enclave -c "$T/host/model-owner.conf"
refused "a version that came later does not lie there at first" "does not lie at" "$T/host/four.sealed"
flip "$T/host/three.sealed" 1000 "$T/host/bad.sealed"
echo "enclave_models = [\"$T/host/bad.sealed\", \"$T/host/four.sealed\"];" >"$T/host/model-owner.conf"
kill -HUP "$FRONT"
for _ in $(seq 100); do grep -q "configuration is in force" "$T/model-owner.log" && break; sleep 0.05; done
refused "a file that the host replaces is refused" "was changed" "$T/host/three.sealed"
release "$T/host/four.sealed"; is "after SIGHUP it is released" 0 $? || cat "$T/err"
kill_role model-owner
start_enclave --enclave-models="$T/host/four.sealed"
good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "after a restart the key must be released again" 4 $?
release "$T/host/four.sealed"; is "a newer version is released" 0 $?
kill_role model-owner

# What the host changes: the owner has the genuine file.
for at in 16 24 60 84 90 $((size - 1)); do # version, owner, nonce, name, model, tag
	flip "$T/host/three.sealed" "$at" "$T/host/bad.sealed"
	start_enclave --enclave-models="$T/host/bad.sealed"
	refused "a file at the host with byte $at changed is refused" "does not lie at\|was changed" "$T/host/three.sealed"
	kill_role model-owner
done
{ head -c 90 "$T/host/three.sealed"; tail -c +91 "$T/host/two.sealed"; } >"$T/host/swapped.sealed"
start_enclave --enclave-models="$T/host/swapped.sealed"
refused "an older model under the head of a newer one is refused" "was changed" "$T/host/three.sealed"
kill_role model-owner
printf 'clear' >"$T/host/no.sealed"
for f in no.sealed absent.sealed; do
	# shellcheck disable=SC2046
	timeout 60 "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0 --tee=sim --simulation="$SIM" \
		--enclave-models="$T/host/$f" >"$T/err" 2>&1
	[ $? -ne 0 ] && grep -q "$f of enclave_models" "$T/err" && ok "$f is named at the start" || not_ok "$f is named at the start" "$(cat "$T/err")"
done
