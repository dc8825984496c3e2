# SPDX-License-Identifier: Apache-2.0
# Peers with good certificates and bad intentions (hostile.py), against real roles: what they may take from others is bounded.
. test/e2e/lib.sh
PNG=$ROOT/test/images/seven-0.png
attack() { timeout 100 python3 "$ROOT/test/e2e/hostile.py" "$@"; }
serves() { is "$1" '"label":7' "$(classify --json "$PNG" 2>&1 | grep -o '"label":7')"; }

if ! python3 -c 'import ssl' 2>/dev/null; then
	echo "skip - hostile peers (needs python3)"
	exit 0
fi
make_pki "$T/pki" localhost 127.0.0.1
"$OBSCURA" pki issue --dir "$T/pki" --name rogue data-owner rogue.example 127.0.0.1 >/dev/null
start_three "$ROOT/test/models/digits_mlp.onnx" --http-listen=127.0.0.1:0 || { not_ok "roles start"; exit 1; }

# ---- a data owner that takes all sessions
start sessions python3 "$ROOT/test/e2e/hostile.py" sessions "$T/pki" "$MODEL_OWNER" digits_mlp 300
for _ in $(seq 200); do [ -s "$T/sessions.log" ] && break; sleep 0.1; done
is "one data owner gets an eighth of the sessions, over however many connections, also with its certificate signed in another way" "32 you have 32 sessions here" "$(cut -d, -f1 "$T/sessions.log")"
serves "others are served meanwhile"
kill_role sessions

# ---- one that would have a ticket answered twice; its numbers are noise, which a model owner cannot tell. The sizes are of the plan.
attack replays "$T/pki" "$MODEL_OWNER" "$PROVIDER" digits_mlp 608 2352 2 >"$T/out" 2>&1
for way in "BEGIN again: ERROR.*ticket 0 where ticket 1 is next" "the first message again: ERROR.*message 1 of 6 where message 3" \
	"all again: ERROR.*ticket 0 where ticket 1" "in a batch with the next: ERROR.*ticket 0 where ticket 1" "δ again: ERROR.*DELTA of ticket 0" \
	"the next with the tag of the last: ERROR.*another tag" "the one after the next: ERROR.*ticket 2 where ticket 1" \
	"another epoch: ERROR.*another epoch" "a message ahead of its turn: ERROR.*message 5 of 6" "ABORT, then all again: ERROR.*ticket 0 where ticket 1"; do
	if grep -q "^$way" "$T/out"; then ok "no ticket twice: ${way%%:*}"; else not_ok "no ticket twice: ${way%%:*}" "$(cat "$T/out")"; fi
done
seed=$(date +%s)
sent=$(attack storm "$T/pki" "$MODEL_OWNER" "$PROVIDER" digits_mlp 608 2352 "$seed" 40 2>&1)
if [ "$sent" -gt 50 ] 2>/dev/null; then ok "frames of any kind at any time (seed $seed)"; else not_ok "frames of any kind at any time (seed $seed)" "$sent"; fi
serves "the service still answers after them"

# ---- a model owner whose plans are damaged, or take half a GiB for each of forty rows
start evil python3 "$ROOT/test/e2e/hostile.py" plans "$T/pki" "$MODEL_OWNER" digits_mlp "$seed" 24
# shellcheck disable=SC2046
start victim "$OBSCURAD" data-owner --socket="$T/victim/data-owner.sock" --ledger="$T/victim/jobs" --provider="$PROVIDER" --model-owner="127.0.0.1:$(port evil)" $(creds "$T/pki" data-owner)
for _ in $(seq 200); do [ -S "$T/victim/data-owner.sock" ] && break; sleep 0.05; done
for _ in $(seq 24); do timeout 20 "$OBSCURA" classify --socket="$T/victim/data-owner.sock" --deadline-ms=3000 "$PNG" 2>&1; done >"$T/out"
is "no hostile plan gives a result (seed $seed)" 0 "$(grep -c '"label"' "$T/out")"
is "plans that ask for much memory are refused" yes "$(grep -q "maximum pools over .* use a smaller network" "$T/out" && echo yes)"
most=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$(cat "$T/victim.pid")/status")
if [ "$most" -lt 400000 ] 2>/dev/null; then ok "and took none"; else not_ok "and took none" "$most KB"; fi

# ---- one whose words are orders to a terminal
kill_role victim
start orders python3 "$ROOT/test/e2e/hostile.py" names "$T/pki" "$MODEL_OWNER"
# shellcheck disable=SC2046
start victim "$OBSCURAD" data-owner --socket="$T/victim/data-owner.sock" --ledger="$T/victim/jobs" --provider="$PROVIDER" --model-owner="127.0.0.1:$(port orders)" $(creds "$T/pki" data-owner)
for _ in $(seq 200); do [ -S "$T/victim/data-owner.sock" ] && grep -q "look" "$T/victim.log" && break; sleep 0.05; done
for _ in $(seq 10); do timeout 20 "$OBSCURA" classify --socket="$T/victim/data-owner.sock" --deadline-ms=300 "$PNG" 2>&1; timeout 20 "$OBSCURA" status --socket="$T/victim/data-owner.sock" 2>&1; done >"$T/out"
is "they are seen, as text" "yes 0" "$(grep -q 'look ?\[31mhere ??31m' "$T/out" && echo yes) $(LC_ALL=C grep -c "$(printf '\033\|\007\|\302\233')" "$T/out")"

# ---- what a crash would leave behind
core_limit() { sed -n 's/^Max core file size *\([^ ]*\) .*/\1/p' "/proc/$1/limits"; }
# shellcheck disable=SC2046
(ulimit -c unlimited 2>/dev/null; exec "$OBSCURA" classify --standalone --connect-ms=20000 --provider=127.0.0.1:1 --model-owner=127.0.0.1:1 $(creds "$T/pki" data-owner) "$PNG") >/dev/null 2>&1 &
client=$!
for _ in $(seq 100); do grep -q '^obscura$' "/proc/$client/comm" 2>/dev/null && [ "$(core_limit $client)" = 0 ] && break; sleep 0.05; done
is "obscura writes no core" "obscura 0" "$(cat "/proc/$client/comm") $(core_limit $client)"
kill $client
is "obscurad writes no core" "0 0 0" "$(for r in provider model-owner data-owner; do core_limit "$(cat "$T/$r.pid")"; done | xargs)"

# Pictures leave no copy in the data owner's memory. Sanitizers keep what is freed.
if [ "$(id -u)" != 0 ] || [ "$(basename "$B")" != rel ]; then
	echo "skip - no picture stays in memory (needs root, and no sanitizer)"
else
	is "no picture stays in memory" "left:" "$(attack remains "$(cat "$T/data-owner.pid")" "$(sed -n 's|.*HTTP at http://\([^/]*\)/.*|\1|p' "$T/data-owner.log")" 2>&1)"
fi

# ---- one that is refused, again and again
printf 'rules = ( { who = "localhost"; } );' >"$T/rules"
# shellcheck disable=SC2046
start ruled "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$ROOT/test/models/digits_mlp.onnx" --access="$T/rules" --audit="$T/audit" $(creds "$T/pki" model-owner)
attack refusals "$T/pki" "127.0.0.1:$(port ruled)" digits_mlp 500 >"$T/out" 2>&1
is "what the rules forbid is refused" 1 "$(grep -c "rogue.example may not use model digits_mlp" "$T/out")"
is "and cannot fill the audit" 60 "$(grep -c '"event":"refused"' "$T/audit")"

# ---- sessions of two parties
for role in model-owner data-owner; do
	kill_role $role
	mv "$T/$role.log" "$T/first-$role.log"
done
start_owners he,clear "$ROOT/test/models/digits_mlp.onnx" --clear=on || { not_ok "roles start"; exit 1; }
sent=$(attack two_party_storm "$T/pki" "$MODEL_OWNER" digits_mlp "$seed" 120 2>&1)
case $sent in *[0-9]" answered") ok "frames of any kind in sessions of he and clear (seed $seed)" ;; *) not_ok "frames of any kind in sessions of he and clear (seed $seed)" "$sent" ;; esac
for personality in he clear; do
	is "$personality still answers after them" '"label":7' "$(classify --personality $personality --json "$PNG" 2>&1 | grep -o '"label":7')"
done
is "no memory error was found" 0 "$(cat "$T"/*.log | grep -c "Sanitizer\|runtime error")"
