# SPDX-License-Identifier: Apache-2.0
# Sourced by tests of `obscura batch`: roles that are killed and come back, and an audit of tickets. test/e2e/lib.sh first.

batch() { timeout 120 "$OBSCURA" batch --socket="$T/data-owner.sock" "$@"; }

# start_role ROLE: again, where it was; what it had logged is kept in $T/audit
start_role() {
	mkdir -p "$T/audit"
	[ ! -f "$T/$1.log" ] || cat "$T/$1.log" >>"$T/audit/$1.log"
	# shellcheck disable=SC2046,SC2086
	case $1 in
	provider) start provider "$OBSCURAD" provider --listen="$PROVIDER" --log-level=debug $(creds "$T/pki" provider) ;;
	model-owner) start model-owner "$OBSCURAD" model-owner --listen="$MODEL_OWNER" --provider="$PROVIDER" --models="$MODELS" --log-level=debug $(creds "$T/pki" model-owner) ;;
	data-owner) start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" \
		--log-level=debug $DATA_OWNER_FLAGS $(creds "$T/pki" data-owner) ;;
	esac
}

# start_durable MODELS [flags of the data owner]: three roles with a ledger, on ports that stay
start_durable() {
	MODELS=$1
	shift
	DATA_OWNER_FLAGS=$*
	make_pki "$T/pki" localhost 127.0.0.1
	PROVIDER=127.0.0.1:0 MODEL_OWNER=127.0.0.1:0
	start_role provider
	PROVIDER=127.0.0.1:$(port provider) || return 1
	start_role model-owner
	MODEL_OWNER=127.0.0.1:$(port model-owner) || return 1
	start_role data-owner
	for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && return 0; sleep 0.05; done
	return 1
}

# start_client ARGUMENTS…: obscura batch in the background
start_client() {
	"$OBSCURA" batch --socket="$T/data-owner.sock" "$@" >"$T/client.out" 2>>"$T/client.err" &
	echo $! >"$T/client.pid"
	PIDS="$PIDS $!"
}

# A dead one is still there until somebody waits for it.
client_runs() { [ -d "/proc/$(cat "$T/client.pid")" ] && ! grep -q '^State:.Z' "/proc/$(cat "$T/client.pid")/status" 2>/dev/null; }

# sweep MILLISECONDS ARGUMENTS…: runs `obscura batch ARGUMENTS` to its end while every so often one of the four processes is killed
# with SIGKILL and started again: a random order of the four, and then another. The number of kills is in $KILLS.
sweep() {
	every=$1
	shift
	KILLS=0 queue=""
	start_client "$@"
	last=$(date +%s%3N)
	while :; do
		if ! client_runs; then
			wait "$(cat "$T/client.pid")"
			code=$?
			[ $code != 0 ] || return 0
			[ $code = 5 ] || { echo "obscura batch ended with $code"; cat "$T/client.err"; return 1; } # 5: the daemon is not back yet
			start_client "$@"
		fi
		now=$(date +%s%3N)
		if [ $((now - last)) -ge "$every" ]; then
			[ -n "$queue" ] || queue=$(shuf -e provider model-owner data-owner client | tr '\n' ' ')
			role=${queue%% *} queue=${queue#* }
			kill_role "$role"
			if [ "$role" = client ]; then start_client "$@"; else start_role "$role"; fi
			KILLS=$((KILLS + 1)) last=$now
		fi
		sleep 0.05
	done
}

# audit N: no ticket twice at any role, as many burnt as images or more, none burnt that was not made
audit() {
	for role in provider model-owner data-owner; do
		cat "$T/audit/$role.log" "$T/$role.log" 2>/dev/null |
			sed -n 's/.* tickets \([0-9a-f]\{16\}\) \([0-9]*\)-\([0-9]*\) \(burnt\|made\)$/\1 \2 \3/p' |
			awk '{ for (t = $2; t <= $3; t++) print $1, t }' | sort >"$T/tickets.$role"
		is "no ticket twice at the $role ($(wc -l <"$T/tickets.$role") of $(cut -d' ' -f1 "$T/tickets.$role" | uniq | wc -l) sessions)" "" "$(uniq -d "$T/tickets.$role" | head -3)"
	done
	is "at least one ticket burnt for each of $1 images" yes "$([ "$(wc -l <"$T/tickets.data-owner")" -ge "$1" ] && echo yes)"
	is "every ticket that was burnt had been made, once" "" "$(comm -23 "$T/tickets.data-owner" "$T/tickets.provider" | head -3)"
	is "the model owner burnt none that the data owner did not" "" "$(comm -23 "$T/tickets.model-owner" "$T/tickets.data-owner" | head -3)"
}

# results FILE.csv N LABELS: each of N images once, in order, with these labels
results() {
	tail -n +2 "$1" | tr -d '\r' >"$T/rows"
	is "$2 rows" "$2" "$(wc -l <"$T/rows")"
	sed 's/^[^[]*\[\([0-9]*\)\],.*/\1/' "$T/rows" >"$T/numbers"
	is "each image once, in order" "" "$(seq 0 $(($2 - 1)) | diff - "$T/numbers" | head -5)"
	is "labels equal verify's" "" "$(cut -d, -f2 "$T/rows" | diff - "$3" | head -5)"
}
