# SPDX-License-Identifier: Apache-2.0
# The enclave through the data owner's daemon: classify, batch and the HTTP API; attested once, and again after a loss; refusals say why.
. test/e2e/lib.sh
. test/enclave_lib.sh
make_simulation
cp "$ROOT/test/models/digits_conv.onnx" "$T/"
start_enclave
provision "$T/digits_conv.onnx" >/dev/null 2>&1
is "a model is provisioned" 0 $?
MODEL_OWNER=127.0.0.1:$(port model-owner)

# owner flags…: a data owner's daemon; nobody else is there
owner() {
	rm -f "$T/data-owner.sock"
	# shellcheck disable=SC2046
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --http-socket="$T/http" --admin-socket="$T/admin" --provider=127.0.0.1:9 --model-owner="$MODEL_OWNER" --enclave="$ENCLAVE" $(creds "$T/pki" data-owner) "$@"
	for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && return 0; sleep 0.05; done
	cat "$T/data-owner.log" >&2
	return 1
}
DIGITS=$ROOT/test/images/digits-idx3-ubyte

owner --policy="$SIM/policy.conf" --accept-simulated=on || { not_ok "the daemon starts"; exit 1; }
classify --personality enclave --json "$DIGITS" >"$T/out" 2>"$T/err"
is "classify: exit code" 0 $?
"$OBSCURA" verify "$ROOT/test/models/digits_conv.onnx" --personality clear --images "$DIGITS" --labels-out "$T/labels" --json >/dev/null
is "labels equal verify's" "$(tr '\n' ' ' <"$T/labels")" "$(jq .label "$T/out" | tr '\n' ' ')"
is "bytes and round trips equal the prediction" "[true]" "$(jq -sc '[.[]|.bytes==.predicted.bytes and .round_trips==1 and .bytes.online.sent==784]|unique' "$T/out")"
is "each answer says that it is simulated" '[["enclave",true]]' "$(jq -sc '[.[]|[.personality,.simulated]]|unique' "$T/out")"
classify --personality enclave "$ROOT/test/images/seven-0.png" >"$T/table"
is "and so does the table" 1 "$(grep -c 'simulated: no hardware isolation' "$T/table")"
is "the label alone, where that is asked" '[4,0]' "$(classify --personality enclave --reveal label --json "$ROOT/test/images/seven-0.png" | jq -c '[.bytes.online.received,(.scores|length)]')"
is "one connection served all" 1 "$(grep -c 'has proved itself (simulated' "$T/data-owner.log")"
curl -s --unix-socket "$T/admin" http://x/metrics >"$T/metrics"
is "metrics count them as simulated" yes "$(grep -q '^obscura_simulated_inferences_total [1-9]' "$T/metrics" && echo yes)"
"$OBSCURA" status --socket="$T/data-owner.sock" >"$T/status" 2>&1
is "status says so" yes "$(grep -q 'enclave.*simulated: no hardware isolation' "$T/status" && echo yes)"
"$OBSCURA" batch "$DIGITS" --personality enclave --model digits_conv --socket="$T/data-owner.sock" --out "$T/job.jsonl" --json >"$T/job" 2>"$T/err"
is "a job of all pictures" "0 true $(tr '\n' ' ' <"$T/labels")" "$? $(jq -r .simulated "$T/job") $(jq .label "$T/job.jsonl" | tr '\n' ' ')"
printf '{"inputs":[{"name":"image","shape":[1,1,28,28],"datatype":"UINT8","data":[%s]}],"parameters":{"personality":"enclave"}}' "$(python3 -c 'print(",".join(["7"]*784))')" >"$T/body"
curl -s --unix-socket "$T/http" -H 'Content-Type: application/json' -d @"$T/body" http://x/v2/models/digits_conv/infer >"$T/http.out"
is "the HTTP API" '["enclave",true]' "$(jq -c '[.parameters.personality,.parameters.simulated]' "$T/http.out")"

# the enclave goes, and comes back without its model, then with it
kill_role model-owner
sleep 0.3
classify --personality enclave "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "without an enclave: cannot reach a peer" 5 $?
OLD=$ENCLAVE
start_enclave --enclave-listen="$OLD"
for _ in $(seq 40); do classify --personality enclave "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1; grep -q 'no model was provisioned' "$T/out" && break; sleep 0.2; done
is "a new enclave, which has no model yet" 1 "$(grep -c "no model was provisioned" "$T/out")"
provision "$T/digits_conv.onnx" >/dev/null 2>&1
classify --personality enclave --json "$ROOT/test/images/seven-0.png" >"$T/out" 2>"$T/err"
is "then with it" 7 "$(jq .label "$T/out")"
kill_role data-owner

(cat "$SIM/policy.conf"; echo "attestation_age = 1;") >"$SIM/brief.conf"
owner --policy="$SIM/brief.conf" --accept-simulated=on || { not_ok "the daemon starts with a brief policy"; exit 1; }
classify --personality enclave "$ROOT/test/images/seven-0.png" >/dev/null 2>&1
for _ in $(seq 100); do [ "$(grep -c 'has proved itself' "$T/data-owner.log")" -ge 2 ] && break; sleep 0.1; done
is "attestation_age: after so many seconds the enclave proves itself again" yes "$([ "$(grep -c 'has proved itself' "$T/data-owner.log")" -ge 2 ] && echo yes)"
kill_role data-owner
for control in $(cat /proc/sys/net/ipv4/tcp_allowed_congestion_control); do
	owner --policy="$SIM/policy.conf" --accept-simulated=on --congestion="$control" || { not_ok "the daemon starts with congestion = $control"; exit 1; }
	classify --personality enclave "$ROOT/test/images/seven-0.png" >/dev/null 2>&1
	is "congestion = $control: the connection to the enclave has it, too" 1 "$(ss -tinH state established dst "$ENCLAVE" | grep -cw "$control")"
	kill_role data-owner
done
echo "attestation_age = 0;" >"$T/never.conf"
is "attestation_age: 0 is refused by file and line" 1 "$("$OBSCURA" attest verify --kind sim --evidence "$SIM/root.pem" --policy "$T/never.conf" 2>&1 | grep -c 'never.conf:1: .*attestation_age.*1 at least')"

owner --policy="$SIM/policy.conf" || { not_ok "the daemon starts again"; exit 1; }
classify --personality enclave "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "simulation is refused unless it is accepted" "6" "$?"
kill_role data-owner
owner || { not_ok "the daemon starts without a policy"; exit 1; }
classify --personality enclave "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "without a policy nothing is asked" "2 1" "$? $(grep -c 'say what you accept' "$T/out")"
kill_role data-owner

# Stricter under load: no request goes out under evidence that was judged by the configuration before.
CONF=$T/data-owner.conf
printf 'policy = "%s";\naccept_simulated = "on";\n' "$SIM/policy.conf" >"$CONF"
owner -c "$CONF" || { not_ok "the daemon starts with a file"; exit 1; }
python3 -c 'import sys; sys.stdout.buffer.write(bytes([0,0,8,3,0,0,78,32,0,0,0,28,0,0,0,28]) + bytes(20000*784))' >"$T/many"
for i in 1 2 3; do
	start load$i "$OBSCURA" classify --socket="$T/data-owner.sock" --personality enclave --json "$T/many"
done
for i in 1 2 3; do
	for _ in $(seq 200); do [ "$(wc -l <"$T/load$i.log")" -gt 10 ] && break; sleep 0.05; done
done
printf 'policy = "%s";\naccept_simulated = "off";\n' "$SIM/policy.conf" >"$CONF"
kill -HUP "$(cat "$T/data-owner.pid")"
for i in 1 2 3; do
	wait "$(cat "$T/load$i.pid")"
	is "a stricter configuration holds under load: client $i is refused" "6 yes" "$? $([ "$(grep -c '"label"' "$T/load$i.log")" -lt 20000 ] && echo yes)"
done
kill_role data-owner

# Whoever is on the way needs no certificate to answer a byte now and then: the daemon gives up, and stops when it shall.
start trickle python3 test/e2e/enclave_hostile.py - - - trickle
ENCLAVE=127.0.0.1:$(port trickle)
owner --policy="$SIM/policy.conf" --accept-simulated=on --step-ms=500 --drain-ms=500 || { not_ok "the daemon starts"; exit 1; }
classify --personality enclave --deadline-ms=1000 "$ROOT/test/images/seven-0.png" >"$T/out" 2>&1
is "an answer that trickles is not waited for" 5 $?
for _ in $(seq 400); do grep -q gone "$T/trickle.log" && break; sleep 0.05; done
is "nor for ever by the daemon" 1 "$(grep -c gone "$T/trickle.log")"
grep -q "the TLS handshake failed: Connection timed out" "$T/data-owner.log" && ok "which says so" || not_ok "which says so" "$(cat "$T/data-owner.log")"
