# SPDX-License-Identifier: Apache-2.0
# conf/haproxy.cfg with the real HAProxy: two model owners behind one address and a provider for each of two tenants behind
# another, chosen by name. One model owner is drained under load, then killed: the first costs no request.
if [ -z "$OBSCURA_HOSTS" ]; then # the names of the configuration, for this test alone
	OBSCURA_HOSTS=$(mktemp)
	export OBSCURA_HOSTS
	printf '127.0.0.1 %s\n' localhost model.example model-1.internal model-2.internal north.provider.example south.provider.example >"$OBSCURA_HOSTS"
	if unshare -m true 2>/dev/null; then
		unshare -m sh -c 'mount --bind "$OBSCURA_HOSTS" /etc/hosts && exec sh test/sys/haproxy.sh'
		code=$?
	else
		echo "skip - HAProxy (needs root, for names of its own)"
		code=0
	fi
	rm -f "$OBSCURA_HOSTS"
	exit $code
fi
. test/e2e/lib.sh
command -v haproxy >/dev/null || { echo "skip - HAProxy (apt-get install haproxy)"; exit 0; }
command -v perl >/dev/null || { echo "skip - HAProxy (its admin socket needs perl here)"; exit 0; }
M=$ROOT/test/models/digits_mlp.onnx
IDX=$(pictures_of digits)
P=$T/pki
"$OBSCURA" pki init "$P" >/dev/null
issue() { name=$1; shift; "$OBSCURA" pki issue --dir "$P" --name "$name" "$@" >/dev/null; }
issue model-1 model-owner model.example model-1.internal
issue model-2 model-owner model.example model-2.internal
issue north provider north.provider.example
issue south provider south.provider.example
for k in 1 2 3; do issue owner-$k data-owner owner-$k.example; done
with() { echo "--ca=$P/ca.pem --certificate=$P/$1.pem --key=$P/$1.key"; }
# a port that is free now: the kernel chooses one, once for each number of arguments
free_port() { perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", ReuseAddr => 1)->sockport'; }
say() { perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or exit 1; print $s "$ARGV[1]\n"; print <$s>' "$T/haproxy.sock" "$1"; }

# the roles, and the proxy between them
for tenant in north south; do
	# shellcheck disable=SC2046
	start $tenant "$OBSCURAD" provider --listen=127.0.0.1:0 $(with $tenant)
done
FRONT_M=$(free_port) FRONT_C=$(free_port) PORT_1=$(free_port) PORT_2=$(free_port)
NORTH=$(port north) SOUTH=$(port south)
sed -e "s|/run/haproxy/obscura.sock mode 600|$T/haproxy.sock mode 600|" -e "s/bind :7402/bind 127.0.0.1:$FRONT_M/" -e "s/bind :7403/bind 127.0.0.1:$FRONT_C/" \
	-e "s/model-1.internal:7402/model-1.internal:$PORT_1/" -e "s/model-2.internal:7402/model-2.internal:$PORT_2/" \
	-e "s/north.internal:7403/127.0.0.1:$NORTH/" -e "s/south.internal:7403/127.0.0.1:$SOUTH/" "$ROOT/conf/haproxy.cfg" >"$T/haproxy.cfg"
haproxy -c -q -f "$T/haproxy.cfg" >"$T/out" 2>&1
is "HAProxy takes conf/haproxy.cfg" 0 $? || cat "$T/out"
start haproxy haproxy -db -f "$T/haproxy.cfg"
model() { # model N PORT TENANT
	# shellcheck disable=SC2046
	start "model-$1" "$OBSCURAD" model-owner --listen="127.0.0.1:$2" --provider="$3.provider.example:$FRONT_C" --models="$M" $(with "model-$1")
	for _ in $(seq 100); do grep -q "provider .*: connected" "$T/model-$1.log" && return; sleep 0.05; done
	cat "$T/model-$1.log"
}
model 1 "$PORT_1" north
model 2 "$PORT_2" north
for _ in $(seq 100); do [ "$(say "show servers state model_owners" 2>/dev/null | awk '$6==2' | wc -l)" = 2 ] && break; sleep 0.1; done
is "both model owners are up" 2 "$(say "show servers state model_owners" | awk '$6==2' | wc -l)"
for k in 1 2; do
	# shellcheck disable=SC2046
	start data-owner-$k "$OBSCURAD" data-owner --socket="$T/$k/data-owner.sock" --provider="north.provider.example:$FRONT_C" --model-owner="model.example:$FRONT_M" $(with owner-$k)
done
for _ in $(seq 100); do [ -S "$T/1/data-owner.sock" ] && [ -S "$T/2/data-owner.sock" ] && break; sleep 0.05; done

# load: requests at both data owners until $T/stop; one line for each request
ask() { timeout 60 "$OBSCURA" classify --socket="$T/$1/data-owner.sock" --limit 4 --json "$IDX" 2>"$T/err-$1"; }
ask 1 | jq .label >"$T/labels"
is "through both proxies it works" "7 2 1 0 " "$(tr '\n' ' ' <"$T/labels")"
[ -s "$T/labels" ] || { cat "$T/err-1" "$T/haproxy.log"; exit 1; }
load() {
	while [ ! -e "$T/stop" ]; do
		if ask "$1" | jq .label | cmp -s - "$T/labels"; then echo ok; else cat "$T/err-$1"; fi >>"$T/load-$1"
	done
}
for k in 1 2; do load $k & PIDS="$PIDS $!"; eval "load$k=$!"; done
# served N: N more requests at each data owner
served() {
	for k in 1 2; do
		from=$(wc -l <"$T/load-$k")
		for _ in $(seq 300); do [ "$(wc -l <"$T/load-$k")" -ge $((from + $1)) ] && break; sleep 0.1; done
	done
}
sessions() { grep -c "session .* on digits_mlp" "$T/model-$1.log"; }
sleep 0.5
served 5
is "each model owner serves one data owner" "yes yes" "$([ "$(sessions 1)" -ge 1 ] && echo yes) $([ "$(sessions 2)" -ge 1 ] && echo yes)"
before=$(sessions 2)
say "set server model_owners/model-1 state drain" >/dev/null
kill -TERM "$(cat "$T/model-1.pid")"
wait "$(cat "$T/model-1.pid")"
is "drained: the model owner ends in order" 0 $?
served 10
is "its data owner has come to the other one" yes "$([ "$(sessions 2)" -gt "$before" ] && echo yes)"
is "draining one cost no request" "0" "$(cat "$T"/load-? | grep -vc '^ok$')" || cat "$T"/load-? | grep -v '^ok$' | head
# it comes back, takes its share again, and is killed: what fails says why, and the rest goes on
say "set server model_owners/model-1 state ready" >/dev/null
model 1 "$PORT_1" north
for _ in $(seq 100); do [ "$(say "show servers state model_owners" | awk '$6==2' | wc -l)" = 2 ] && break; sleep 0.1; done
kill -TERM "$(cat "$T/model-2.pid")"
wait "$(cat "$T/model-2.pid")"
served 10
is "the other one drained: no request lost either" "0" "$(cat "$T"/load-? | grep -vc '^ok$')" || cat "$T"/load-? | grep -v '^ok$' | head
model 2 "$PORT_2" north
for _ in $(seq 100); do [ "$(say "show servers state model_owners" | awk '$6==2' | wc -l)" = 2 ] && break; sleep 0.1; done
kill_role model-1
served 10
touch "$T/stop"
wait "$load1" "$load2"
is "one killed: every request that failed says which peer and why" "" "$(cat "$T"/load-? | grep -v '^ok$' | grep -vE 'obscura: .*(model-owner|provider).*[a-z]{3}')"
is "and the service goes on with the other" "ok ok" "$(tail -qn 1 "$T"/load-? | tr '\n' ' ' | sed 's/ $//')"
is "probes of the proxy do not fill the log" 0 "$(grep -c "a peer was refused" "$T/model-2.log")"
echo "  # $(cat "$T"/load-? | grep -c '^ok$') requests answered, $(cat "$T"/load-? | grep -vc '^ok$') failed when one was killed"

# tenants: the name chooses the provider; a data owner that uses another than its model owner is told so
# shellcheck disable=SC2046
timeout 20 "$OBSCURA" classify --standalone --provider="south.provider.example:$FRONT_C" --model-owner="model.example:$FRONT_M" $(with owner-3) --limit 1 "$IDX" >/dev/null 2>"$T/err"
code=$?
if [ $code = 4 ] && grep -q "another crypto provider than we do" "$T/err"; then ok "the other tenant's provider is another party"; else not_ok "the other tenant's provider is another party" "exit $code: $(cat "$T/err")"; fi
is "nobody came to it but that one" "1" "$(grep -c "data-owner owner-3.example .*: connected" "$T/south.log")"
is "tenants stay apart" 0 "$(cat "$T/north.log" "$T/south.log" | grep -c " paired data-owner owner-3")"
