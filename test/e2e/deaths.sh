# SPDX-License-Identifier: Apache-2.0
# Any role is killed while inferences run: the client is told within 2 s and by name; after a restart the next request succeeds.
. test/e2e/lib.sh
SAMPLE=$(ls "$ROOT"/test/models/*.onnx | head -1)
NAME=$(basename "$SAMPLE" .onnx)
IDX=$(pictures_of "$NAME")
start_three "$SAMPLE" --pool-low=2 --pool-high=4 || { not_ok "roles start"; exit 1; }
restart_provider() { start provider "$OBSCURAD" provider --listen="$PROVIDER" $(creds "$T/pki" provider); }
restart_model_owner() { start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$PROVIDER" --models="$SAMPLE" $(creds "$T/pki" model-owner); }
restart_data_owner() { start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $(creds "$T/pki" data-owner); }

classify --model "$NAME" --limit 10 "$IDX" >/dev/null 2>"$T/err"
is "before: it works" 0 $?
for role in provider model-owner data-owner; do
	# load: one image a request, for ever, until one fails
	(code=0; while [ $code = 0 ]; do classify --model "$NAME" --limit 20 "$IDX" >/dev/null 2>"$T/err-load"; code=$?; done; date +%s%N >"$T/at"; echo $code >"$T/code") &
	load=$!
	PIDS="$PIDS $load"
	sleep 1
	rm -f "$T/code"
	killed=$(date +%s%N)
	kill_role $role
	for _ in $(seq 100); do [ -s "$T/at" ] && [ -s "$T/code" ] && break; sleep 0.1; done
	wait $load
	code=$(cat "$T/code" 2>/dev/null || echo none)
	ms=$((($(cat "$T/at" 2>/dev/null || echo 0) - killed) / 1000000))
	if { [ "$code" = 4 ] || [ "$code" = 5 ]; } && [ $ms -le 2000 ] && grep -q "$role" "$T/err-load"; then ok "$role killed: told by name within 2 s"; else not_ok "$role killed: told by name within 2 s" "exit $code after $ms ms: $(cat "$T/err-load")"; fi
	rm -f "$T/at"
	case $role in provider) restart_provider ;; model-owner) restart_model_owner ;; data-owner) restart_data_owner ;; esac
	good=1
	for _ in $(seq 20); do
		if classify --model "$NAME" --limit 3 "$IDX" >/dev/null 2>"$T/err"; then good=0; break; fi
		sleep 0.2
	done
	is "$role restarted: requests succeed again" 0 $good || cat "$T/err"
done

# A daemon that stops after it has greeted and before it reads the question: the client asks the one that comes next, once.
cat >"$T/relay.py" <<'EOF'
import os, select, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[2])
listener.listen()
for drop in sys.argv[3]:  # 1: this connection ends instead of its question
    client, daemon = listener.accept()[0], socket.socket(socket.AF_UNIX)
    daemon.connect(sys.argv[1])
    said = 0
    while True:
        ready = select.select([client, daemon], [], [])[0]
        data = ready[0].recv(1 << 20)
        said += ready[0] is client
        if not data or (drop == '1' and said == 2):
            break
        (daemon if ready[0] is client else client).sendall(data)
    client.close(), daemon.close()
os.remove(sys.argv[2])
EOF
# through DROPS: which connections end; the label that comes of it, or the exit code and why
through() {
	python3 "$T/relay.py" "$T/data-owner.sock" "$T/relay.sock" "$1" &
	relay=$!
	PIDS="$PIDS $relay"
	for _ in $(seq 100); do [ -S "$T/relay.sock" ] && break; sleep 0.05; done
	"$OBSCURA" classify --socket="$T/relay.sock" --model "$NAME" --limit 1 --json "$IDX" >"$T/out" 2>"$T/err"
	code=$?
	[ $code = 0 ] && jq -c .label "$T/out" || echo "$code $(grep -c 'went away\|was lost\|ended' "$T/err")"
	kill $relay 2>/dev/null
	wait $relay 2>/dev/null
	rm -f "$T/relay.sock"
}
LABEL=$(classify --model "$NAME" --limit 1 --json "$IDX" | jq -c .label)
is "a daemon that goes before it reads the question: the next one is asked" "$LABEL" "$(through 10)"
is "if that goes, too, it is said" "5 1" "$(through 11)"
