#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Genuine evidence on a connection that it was not made for, between a real client and a real enclave: a proxy that ends TLS (openssl s_server
# and s_client back to back, with a good certificate of a data owner towards the enclave), and evidence that was kept and is sent again.
# A proxy that only passes bytes on is the control.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
start_enclave
PICTURE=$ROOT/test/images/digits-idx3-ubyte
provision "$ROOT/test/models/digits_mlp.onnx" >/dev/null 2>"$T/err"; is "a model is provisioned" 0 $?
DIRECT=$ENCLAVE
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$T/proxy.key" -out "$T/proxy.pem" -subj /CN=obscura-enclave -days 2 2>/dev/null
up() { openssl s_client -connect "$DIRECT" -quiet -no_ign_eof -tls1_3 -cert "$T/pki/data-owner.pem" -key "$T/pki/data-owner.key" 2>>"$T/proxy.err"; }
down() { openssl s_server -accept 127.0.0.1:0 -naccept 1 -quiet -tls1_3 -cert "$T/proxy.pem" -key "$T/proxy.key" 2>>"$T/proxy.err"; }
proxy_port() { # where the process that listens for us is: sets ENCLAVE
	for _ in $(seq 100); do
		p=$(ss -Hltnp | sed -n "s/.* 127.0.0.1:\([0-9]*\) .*\"openssl\",pid=\($1\),.*/\1/p" | head -1)
		[ -n "$p" ] && ENCLAVE=127.0.0.1:$p && return 0
		sleep 0.05
	done
	return 1
}
server_of() { # the s_server that job $1 runs
	for _ in $(seq 100); do
		for p in $(cat "/proc/$1/task/$1/children" 2>/dev/null) "$1"; do
			grep -qa s_server "/proc/$p/cmdline" 2>/dev/null && grep -qa "^openssl" "/proc/$p/cmdline" && echo "$p" && return 0
			for q in $(cat "/proc/$p/task/$p/children" 2>/dev/null); do
				grep -qa "^openssl.s_server" "/proc/$q/cmdline" 2>/dev/null && echo "$q" && return 0
			done
		done
		sleep 0.05
	done
	return 1
}
good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "directly, the evidence is accepted" 0 $?

# Passed on as it is: what a load balancer may do.
if have socat socat; then
	socat TCP-LISTEN:0,bind=127.0.0.1,fork TCP:"$DIRECT" &
	PIDS="$PIDS $!"
	socat=$!
	for _ in $(seq 100); do
		p=$(ss -Hltnp | sed -n "s/.* 127.0.0.1:\([0-9]*\) .*pid=$socat,.*/\1/p")
		[ -n "$p" ] && break
		sleep 0.05
	done
	ENCLAVE=127.0.0.1:$p
	good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "through a proxy that passes bytes on it is, too" 0 $?
else
	echo "skip - through a proxy that passes bytes on it is, too (no socat)"
fi

# Ends TLS on both sides: the enclave answers the client's own nonce, but for another key and another connection.
mkfifo "$T/back"
(down <"$T/back" | tee "$T/asked" | up | tee "$T/relayed" >"$T/back") &
job=$!
PIDS="$PIDS $job"
proxy_port "$(server_of $job)" || not_ok "a proxy that ends TLS listens" "$(cat "$T/proxy.err")"
good "$PICTURE" --limit 1 >"$T/out" 2>"$T/err"; is "evidence relayed by a proxy that ends TLS is refused" 6 $?
says "because it was made for another connection, expected and received" "WANT_REPORT_DATA.*expected [0-9a-f]\{128\}, received [0-9a-f]\{128\}"
[ "$(wc -c <"$T/relayed")" -gt 1000 ] && grep -aq "simulated: no hardware isolation" "$T/relayed" && ok "though it was genuine: the proxy has passed it on" || not_ok "though it was genuine: the proxy has passed it on" "$(wc -c <"$T/relayed")"
is "and the picture never left: the proxy saw 38 bytes of a greeting" 38 "$(wc -c <"$T/asked")"

# Kept and sent again: evidence that the enclave gave to us, for our nonce.
{ greeting; grown "$T/kept" 1000; sleep 0.2; } | up >"$T/kept"
[ "$(wc -c <"$T/kept")" -gt 1000 ] && ok "evidence of another connection was kept" || not_ok "evidence of another connection was kept" "$(cat "$T/proxy.err")"
({ cat "$T/kept"; while [ -d "$T" ] && [ ! -e "$T/replayed" ]; do sleep 0.1; done; } | down >/dev/null) &
job=$!
PIDS="$PIDS $job"
proxy_port "$(server_of $job)" || not_ok "a server that replays listens" "$(cat "$T/proxy.err")"
good "$PICTURE" --limit 1 >"$T/out" 2>"$T/err"; is "evidence replayed on another connection is refused" 6 $?
touch "$T/replayed"
says "with expected and received" "WANT_REPORT_DATA.*expected [0-9a-f]\{128\}, received [0-9a-f]\{128\}"
ENCLAVE=$DIRECT
good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "directly, it is accepted as before" 0 $?
