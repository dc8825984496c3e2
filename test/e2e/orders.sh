# SPDX-License-Identifier: Apache-2.0
# The roles start in all six orders, with pauses in which those that are there look for the others in vain: the first request
# after the last has come is answered; one before says whom it misses.
. test/e2e/lib.sh
M=$ROOT/test/models/digits_mlp.onnx
IDX=$(pictures_of digits)
make_pki "$T/pki" localhost 127.0.0.1
# started by something that has closed standard input and output: no socket gets their numbers
# shellcheck disable=SC2046
timeout 60 "$OBSCURAD" provider --listen=127.0.0.1:0 $(creds "$T/pki" provider) <&- >&- 2>"$T/closed.log" &
PIDS="$PIDS $!"
port closed >/dev/null
D=$(pgrep -P $! obscurad)
if readlink "/proc/$D/fd/2" >/dev/null; then
	is "standard input and output that were closed are /dev/null" "/dev/null /dev/null" "$(readlink "/proc/$D/fd/0") $(readlink "/proc/$D/fd/1")"
else
	echo "skip - standard input and output that were closed (needs root and CAP_SYS_PTRACE)"
fi
# below the ports that systems give to whoever asks for any
PROVIDER=127.0.0.1:$((10000 + $$ % 9000))
MODEL_OWNER=127.0.0.1:$((20000 + $$ % 9000))
up() {
	# shellcheck disable=SC2046
	case $1 in
	provider) start provider "$OBSCURAD" provider --listen="$PROVIDER" $(creds "$T/pki" provider) ;;
	model-owner) start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$PROVIDER" --models="$M" $(creds "$T/pki" model-owner) ;;
	data-owner) start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $(creds "$T/pki" data-owner) ;;
	esac
	for _ in $(seq 100); do grep -q "ready" "$T/$1.log" && return; sleep 0.05; done
}
for order in "provider model-owner data-owner" "provider data-owner model-owner" "model-owner provider data-owner" \
	"model-owner data-owner provider" "data-owner provider model-owner" "data-owner model-owner provider"; do
	# shellcheck disable=SC2086
	set -- $order
	up "$1"
	sleep 0.7
	up "$2"
	if [ "$3" != data-owner ]; then
		classify --deadline-ms=1500 --limit 1 "$IDX" >/dev/null 2>"$T/err"
		code=$?
		if { [ $code = 4 ] || [ $code = 5 ]; } && grep -q "$3\|$PROVIDER\|$MODEL_OWNER" "$T/err"; then ok "$1, $2: a request says that the $3 is missing"; else not_ok "$1, $2: a request says that the $3 is missing" "exit $code: $(cat "$T/err")"; fi
	else
		sleep 0.7
	fi
	up "$3"
	classify --limit 4 --json "$IDX" >"$T/out" 2>"$T/err"
	is "$order: the first request is answered" "0 7 2 1 0 " "$? $(jq .label "$T/out" | tr '\n' ' ')" || cat "$T/err"
	for role in data-owner model-owner provider; do kill_role $role; done
	rm -f "$T/data-owner.sock"
done
