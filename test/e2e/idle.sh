# SPDX-License-Identifier: Apache-2.0
# What roles cost that have nothing to do: how often their threads wake, tickets and sessions at hand. A timer that runs for nothing would
# wake one hundreds of times in these seconds; what is left is one PING a second on each connection, and its answer.
. test/e2e/lib.sh
S=4 MOST=60
case $B in */tsan) MOST=300 ;; esac # the sanitizer has a thread of its own, which wakes ten times a second
# Times that threads of a process, and of those that it started, have gone to sleep
sleeps() {
	cat /proc/"$1"/task/*/status | awk '/^voluntary_ctxt_switches/ {n += $2} END {print n}'
	for child in $(cat /proc/"$1"/task/*/children); do sleeps "$child"; done
}
total() { sleeps "$(cat "$T/$1.pid")" | awk "{n += \$1} END {print n}"; }
quiet() { # quiet WHAT ROLE…: how often each has woken in $S seconds
	what=$1; shift
	sleep 2 # what the requests before began has ended
	for role in "$@"; do total "$role" >"$T/$role.before"; done
	sleep $S
	for role in "$@"; do
		n=$(($(total "$role") - $(cat "$T/$role.before")))
		[ $n -le $MOST ] && ok "$what: the $role sleeps" || not_ok "$what: the $role woke $n times in $S seconds"
	done
}
if [ ! -r /proc/self/task/$$/children ]; then echo "skip - idle (no /proc/PID/task/TID/children)"; exit 0; fi
make_pki "$T/pki" localhost 127.0.0.1
start_three "$ROOT/test/models/digits_mlp.onnx" --http-socket="$T/http.sock" --admin-socket="$T/admin.sock" || { not_ok "roles start"; exit 1; }
classify --model digits_mlp --limit 3 "$(pictures_of digits)" >"$T/out" 2>&1 || not_ok "three pictures" "$(cat "$T/out")"
classify --model digits_mlp --optimise auto --limit 1 "$(pictures_of digits)" >"$T/out" 2>&1 || not_ok "a picture, mode by the link" "$(cat "$T/out")"
quiet "two full pools" provider model-owner data-owner
is "it is awake when asked: a data owner that has slept answers" 0 "$(classify --model digits_mlp --limit 1 "$(pictures_of digits)" >/dev/null 2>&1; echo $?)"
kill_role provider
quiet "without a provider" model-owner data-owner
stop_all
start_owners he,clear "$ROOT/test/models/digits_mlp.onnx" --clear=on --he-offline=on
for p in he clear; do classify --model digits_mlp --personality $p --limit 1 "$(pictures_of digits)" >"$T/out" 2>&1 || not_ok "$p: a picture" "$(cat "$T/out")"; done
for _ in $(seq 300); do
	"$OBSCURA" status --socket="$T/data-owner.sock" --json | jq -e '.pools | map(select(.personality == "he"))[0] | .depth == .high' >/dev/null && break
	sleep 0.2
done
quiet "he with a full pool, and clear" model-owner data-owner
