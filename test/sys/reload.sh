# SPDX-License-Identifier: Apache-2.0
# SIGHUP under load: models, limits, log level, certificates; a bad file; SIGTERM drains. No request fails.
. test/e2e/lib.sh
make_pki "$T/pki" localhost 127.0.0.1
P=$T/pki
mkdir "$T/models"
cp "$ROOT/test/models/digits_mlp.onnx" "$ROOT/test/models/digits_conv.onnx" "$T/models"
PICTURES=$ROOT/test/images/digits-idx3-ubyte
conf() { # conf ROLE LINE…
	printf 'ca = "%s/ca.pem";\ncertificate = "%s/%s.pem";\nkey = "%s/%s.key";\n' "$P" "$P" "$1" "$P" "$1" >"$T/new"
	role=$1; shift
	printf '%s\n' "$@" >>"$T/new"
	mv "$T/new" "$T/$role.conf"
}
conf provider 'listen = "127.0.0.1:0";'
start provider "$OBSCURAD" provider -c "$T/provider.conf"
PROVIDER=127.0.0.1:$(port provider) || exit 1
model_owner() { conf model-owner 'listen = "127.0.0.1:0";' "provider = \"$PROVIDER\";" "$@"; }
model_owner "models = [\"$T/models/digits_mlp.onnx\"];"
start model-owner "$OBSCURAD" model-owner -c "$T/model-owner.conf"
MODEL_OWNER=127.0.0.1:$(port model-owner) || exit 1
data_owner() { conf data-owner "socket = \"$T/data-owner.sock\";" "provider = \"$PROVIDER\";" "model_owner = \"$MODEL_OWNER\";" "$@"; }
data_owner
start data-owner "$OBSCURAD" data-owner -c "$T/data-owner.conf"
for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && break; sleep 0.05; done
classify --model digits_mlp --limit 20 --json "$PICTURES" >"$T/want" 2>"$T/err"
is "the service answers" 0 $?
jq -r .label "$T/want" >"$T/labels"

# Load: three clients, each one request after the other until $T/stop; each must give the same labels. A line of "good" or "bad" each.
load() {
	while [ ! -e "$T/stop" ]; do
		if classify --model digits_mlp --limit 20 --json "$PICTURES" 2>"$T/load$1.err" | jq -r .label | cmp -s - "$T/labels"; then echo good; else echo bad; cat "$T/load$1.err" >>"$T/load.log"; fi >>"$T/load$1.count"
	done
}
LOAD=""
for client in 1 2 3; do
	: >"$T/load$client.count"
	load $client &
	LOAD="$LOAD $!"
	PIDS="$PIDS $!"
done
count() { cat "$T"/load?.count | grep -c "$1"; }
# served N: waits until N more requests than now have been answered
served() {
	from=$(count good)
	for _ in $(seq 600); do [ "$(count good)" -ge $((from + $1)) ] && return 0; sleep 0.05; done
	return 1
}
# hup ROLE PATTERN: SIGHUP, and a new line of its log that matches
hup() {
	lines=$(wc -l <"$T/$1.log")
	kill -HUP "$(cat "$T/$1.pid")"
	for _ in $(seq 200); do
		tail -n +$((lines + 1)) "$T/$1.log" | grep -qE -- "$2" && return 0
		kill -0 "$(cat "$T/$1.pid")" 2>/dev/null || { echo "the $1 has ended"; break; }
		sleep 0.05
	done
	tail -n +$((lines + 1)) "$T/$1.log"
	return 1
}
# reload NAME ROLE PATTERN
reload() { if said=$(hup "$2" "$3"); then ok "$1"; else not_ok "$1" "no line matches /$3/: $said"; fi; }
sessions() { grep -c "session .* on digits_mlp" "$T/model-owner.log"; }
served 6

reload "an unchanged file is in force again" model-owner "new configuration is in force$"
served 6
is "  no session was lost for it" 1 "$(sessions)"
model_owner "models = [\"$T/models/digits_mlp.onnx\", \"$T/models/digits_conv.onnx\"];" 'log_level = "debug";'
reload "a model is added" model-owner "new configuration is in force$"
served 6
is "  the session on the other model goes on" 1 "$(sessions)"
classify --model digits_conv --limit 1 "$PICTURES" >"$T/out" 2>"$T/err"
is "  the new model answers" 0 $?
is "  the log level has changed" 1 "$(grep -q ' debug model-owner' "$T/model-owner.log" && echo 1)"
model_owner "models = [\"$T/models/digits_mlp.onnx\"];"
reload "it is removed again" model-owner "no longer serves digits_conv"
sleep 0.2
classify --model digits_conv --limit 1 "$PICTURES" >"$T/out" 2>"$T/err"
is "  and refused" 4 $?
is "  by name" 1 "$(grep -c 'no model "digits_conv"' "$T/err")"
served 6
is "  the session on the other model goes on" 1 "$(sessions)"
cp "$ROOT/test/models/digits_mlp.onnx" "$T/models/copy" && mv "$T/models/copy" "$T/models/digits_mlp.onnx"
reload "a model file is replaced" model-owner "serves digits_mlp, of"
served 6
is "  it is served in a new session" 2 "$(sessions)"

model_owner "models = [\"$T/models/none.onnx\"];"
reload "a file that names no model is refused" model-owner "reload: .*model-owner.conf:6: models: cannot open .*nothing has changed"
model_owner "lanes = 0;" "models = [\"$T/models/digits_mlp.onnx\"];"
reload "a bad number is refused" model-owner "reload: .*model-owner.conf:6: lanes: 0 is outside.*nothing has changed"
served 6
is "  what was in force goes on" 2 "$(sessions)"
for _ in 1 2 3 4 5; do kill -HUP "$(cat "$T/model-owner.pid")"; done
model_owner "lanes = 5;" "models = [\"$T/models/digits_mlp.onnx\"];"
reload "many signals at once" model-owner "new configuration is in force$"
served 6
is "  no session was lost for them" 2 "$(sessions)"
model_owner "threads = 3;" "models = [\"$T/models/digits_mlp.onnx\"];"
reload "what needs a restart is named" model-owner "restart for the new values of: threads"

for role in provider model-owner data-owner; do
	"$OBSCURA" pki issue --dir "$P" --force $role localhost 127.0.0.1 >/dev/null
	reload "a new certificate of the $role" $role "in force, with a new certificate"
	served 10 || not_ok "  requests go on" "$(count good) good, $(count bad) bad"
done
mv "$P/provider.key" "$P/kept.key"; cp "$P/data-owner.key" "$P/provider.key"
reload "a key of another certificate is refused" provider "reload: .*provider.conf:3: key: .*does not belong"
mv "$P/kept.key" "$P/provider.key"
reload "a provider with other limits" provider "in force$"
data_owner 'pool_high = 12;' 'pool_low = 4;' 'max_batch = 16;'
reload "a data owner with other limits" data-owner "in force$"
served 6

for role in provider model-owner; do
	eval "old=\$$(echo $role | tr a-z- A-Z_)"
	kill "$(cat "$T/$role.pid")"; wait "$(cat "$T/$role.pid")"
	is "SIGTERM: the $role ends in order under load" 0 $?
	start $role "$OBSCURAD" $role -c "$T/$role.conf" --listen="$old"
	port $role >/dev/null
	served 6 || not_ok "  requests go on" "$(count good) good, $(count bad) bad"
done
: >"$T/stop"
# shellcheck disable=SC2086
wait $LOAD
n=$(count good) bad=$(count bad)
if [ "$bad" = 0 ] && [ "$n" -gt 30 ]; then ok "all $n requests under way gave the right labels"; else not_ok "requests under way" "$n good, $bad bad: $(cat "$T/load.log")
$(grep -h -E 'warning|error' "$T/"*.log | sort | tail -12)"; fi
# A peer that does not leave is not waited for longer than drain_ms; idle_ms would end it later.
model_owner 'drain_ms = 200;' 'idle_ms = 60000;' "models = [\"$T/models/digits_mlp.onnx\"];"
reload "a short drain_ms" model-owner "in force$"
kill -STOP "$(cat "$T/data-owner.pid")"
kill "$(cat "$T/model-owner.pid")"; wait "$(cat "$T/model-owner.pid")"
is "SIGTERM: a data owner that hangs is not waited for" 0 $?
kill -CONT "$(cat "$T/data-owner.pid")"
kill "$(cat "$T/data-owner.pid")"; wait "$(cat "$T/data-owner.pid")"
is "SIGTERM: the data owner ends in order" 0 $?
