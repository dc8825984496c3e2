#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The enclave personality with simulated evidence, through real processes: provisioning, inference, and every way in which it must
# be refused; what the front end and the disk hold.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
SIM=$T/sim
make_pki "$T/pki" localhost 127.0.0.1
"$OBSCURA" attest simulation --dir "$SIM" --program "$B/obscura-enclave" >"$T/out"
is "the simulation's root and quoting key are made" 0 $?
grep -q "no hardware isolation" "$T/out" && ok "and it is said what it is" || not_ok "and it is said what it is" "$(cat "$T/out")"

start_enclave
[ -n "$CHILD" ] && ok "the enclave is ready" || not_ok "the enclave is ready" "$(cat "$T/model-owner.log")"
grep -q "simulated: no hardware isolation" "$T/model-owner.log" && ok "the log says that it is simulated" || not_ok "the log says that it is simulated"

good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"
is "without a model nothing is computed" 4 $?
says "and it is said how to bring one" "model provision"
provision "$ROOT/test/models/digits_mlp.onnx" --version-number 3 >"$T/out" 2>"$T/err"; is "a model is provisioned" 0 $?
provision "$ROOT/test/models/digits_mlp.onnx" --version-number 2 >/dev/null 2>"$T/err"; is "an older version is refused" 4 $?
says "because models do not go back" "models do not go back"
# shellcheck disable=SC2046
timeout 60 "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" data-owner) "$ROOT/test/models/digits_mlp.onnx" >/dev/null 2>"$T/err"
code=$?
[ $code = 6 ] || [ $code = 4 ] && ok "a data owner cannot bring a model" || not_ok "a data owner cannot bring a model" "exit $code"

# Labels of all sample pictures against the float logits that were computed elsewhere.
good "$ROOT/test/images/digits-idx3-ubyte" --json >"$T/out" 2>"$T/err"; is "all sample pictures are classified" 0 $?
jq -r .label "$T/out" >"$T/labels"
n=$(wc -l <"$T/labels")
tail -c $((n * 40)) "$ROOT/test/models/digits_mlp.npy" | od -An -v -tf4 -w40 | awk '{b=1; for (i=2;i<=10;i++) if ($i>$b) b=i; print b-1}' >"$T/want"
cmp -s "$T/labels" "$T/want" && ok "labels of $n pictures equal the float model's" || not_ok "labels of $n pictures equal the float model's" "$(diff "$T/labels" "$T/want" | head -5)"
is "each answer says that it is simulated" "true enclave" "$(jq -r '"\(.simulated) \(.personality)"' "$T/out" | sort -u)"
good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 | grep -q "simulated: no hardware isolation" && ok "and so does the table" || not_ok "and so does the table"
is "bytes of a picture are counted" "784 44" "$(jq -r '"\(.bytes.online.sent) \(.bytes.online.received)"' "$T/out" | sort -u)"
good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 --reveal label --json | jq -e '.scores == []' >/dev/null && ok "only the label is revealed where that is asked" || not_ok "only the label is revealed where that is asked"

# Refusals, exit 6, with expected and received.
ask "$SIM/policy.conf" "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "simulation is refused unless it is accepted" 6 $?
says "for what it is" "no hardware isolation"
sed 's/measurement = \["...../measurement = ["00000/' "$SIM/policy.conf" >"$SIM/other.conf"
ask "$SIM/other.conf" --accept-simulated "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "another program is refused" 6 $?
says "its measurement is named with the expected one" "expected 00000.*received"
"$OBSCURA" attest simulation --dir "$T/sim2" --program "$B/obscura-enclave" >/dev/null
ask "$T/sim2/policy.conf" --accept-simulated "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "another installation's root is refused" 6 $?
says "by its key" "ROOT_UNTRUSTED"
(cat "$SIM/policy.conf"; echo "min_model_version = 4;") >"$SIM/new.conf"
ask "$SIM/new.conf" --accept-simulated "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "a model below the policy's version is refused" 6 $?
says "both versions are named" "expected version 4 at least, received 3"
grep -v measurement "$SIM/policy.conf" >"$SIM/any.conf"
ask "$SIM/any.conf" --accept-simulated "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "a policy that names no program is refused" 6 $?
make_pki "$T/pki2" localhost 127.0.0.1
timeout 60 "$OBSCURA" classify --personality enclave --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated --ca="$T/pki2/ca.pem" --certificate="$T/pki/data-owner.pem" \
	--key="$T/pki/data-owner.key" "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "an enclave that obeys another authority is refused" 6 $?
# shellcheck disable=SC2046
timeout 60 "$OBSCURA" classify --personality enclave --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki2" data-owner) \
	"$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"
[ $? -ne 0 ] && ok "a data owner of another authority is refused" || not_ok "a data owner of another authority is refused"

kill_role model-owner
for _ in $(seq 50); do grep -q "^State:[[:space:]]*[^ZX]" "/proc/$CHILD/status" 2>/dev/null || break; sleep 0.1; done
grep -q "^State:[[:space:]]*[^ZX]" "/proc/$CHILD/status" 2>/dev/null && not_ok "the enclave ends with its front end" || ok "the enclave ends with its front end"
start_enclave
good "$ROOT/test/images/digits-idx3-ubyte" --limit 1 >/dev/null 2>"$T/err"; is "after a restart the model must be provisioned again" 4 $?
"$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) --enclave-listen=127.0.0.1:0 --simulation="$SIM" >"$T/err" 2>&1
[ $? -ne 0 ] && ok "simulation is never chosen by itself" || not_ok "simulation is never chosen by itself"
says "it is said what would" "tee=sim"

# The paper's models on the paper's pictures, against float logits that were computed elsewhere.
S=$SHARED/data
paper() { # paper MODEL MEAN STD PICTURES LOGITS COUNT CLASSES
	if [ -z "$SHARED" ] || [ ! -f "$S/models/$1.onnx" ] || [ ! -f "$S/$5" ]; then
		echo "skip - $1 on shared pictures (there is no $S/models/$1.onnx)"
		return
	fi
	cp "$S/models/$1.onnx" "$T"
	echo "{\"scale\":255,\"mean\":[$2],\"std\":[$3]}" >"$T/$1.json"
	provision "$T/$1.onnx" >/dev/null 2>"$T/err"
	good "$S/$4" --json 2>"$T/err" | jq -r .label >"$T/labels"
	tail -c $(($6 * 4 * $7)) "$S/$5" | od -An -v -tf4 -w$((4 * $7)) | awk '{b=1; for (i=2;i<=NF;i++) if ($i>$b) b=i; print b-1}' >"$T/want"
	[ "$(wc -l <"$T/labels")" = "$6" ] && cmp -s "$T/labels" "$T/want" && ok "$1: labels of all $6 pictures equal the float model's" ||
		not_ok "$1: labels of all $6 pictures equal the float model's" "$(cat "$T/err"; diff "$T/labels" "$T/want" | head -5)"
}
paper model_x 0.1307 0.3081 mnist/t10k-images-idx3-ubyte.gz mnist/logits_model_x.npy 10000 10
paper model_y 0.1307 0.3081 mnist/t10k-images-idx3-ubyte.gz mnist/logits_model_y.npy 10000 10
paper model_z 0.5 0.5 malaria/images.npy malaria/logits_model_z.npy 1378 2
