#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each row of crypto/attest/hardening.def is taken away in turn, by a system call that fails as on a host without the right or the feature, or by
# a tracer: the measurement must be zero, the client must refuse it and name what is missing. A row that nothing here takes away fails.
. "$(dirname "$0")/lib.sh"
. test/enclave_lib.sh
make_simulation
PICTURE=$ROOT/test/images/digits-idx3-ubyte
measurement() { # of the report in fresh evidence: bytes 38 to 85 of the answer to a greeting
	: >"$T/answer"
	{ greeting; grown "$T/answer" 86; } |
		openssl s_client -connect "$ENCLAVE" -quiet -no_ign_eof -tls1_3 -cert "$T/pki/data-owner.pem" -key "$T/pki/data-owner.key" 2>/dev/null >"$T/answer"
	od -An -v -tx1 -j38 -N48 "$T/answer" | tr -d ' \n'
}
ZERO=$(head -c 96 /dev/zero | tr '\0' 0)
refused() { # refused WORD [CALLS]
	good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "with $1 taken away${2:+ by $2} it is refused" 6 $?
	says "because of $1" "SIM_HARDENING.*missing: .*\(measurement\|, \)*.*$1"
	is "its measurement is zero" $ZERO "$(measurement)"
}
start_enclave
is "with all in force the measurement is the program's" "$(openssl dgst -sha384 -r "$B/obscura-enclave" | cut -d' ' -f1)" "$(measurement)"
"$TOOL/inject" "$CHILD" >"$T/out" 2>&1 &
tracer=$!
for _ in $(seq 100); do grep -q attached "$T/out" && break; sleep 0.05; done
refused no-debugger
kill -9 $tracer
wait $tracer 2>/dev/null
provision "$ROOT/test/models/digits_mlp.onnx" >/dev/null 2>"$T/err"
good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "when the debugger has gone it is accepted again" 0 $?
kill_role model-owner

# word system-call…: as in deny.c
cat >"$T/rows" <<'EOS'
measured fcntl:1=1033
own-uid setresuid
namespaces unshare
namespaces mount
namespaces chroot
no-new-privs prctl:0=38
not-dumpable prctl:0=4
landlock landlock_restrict_self
seccomp seccomp prctl:0=22
secret-memory memfd_secret
EOS
while read -r word calls; do
	UNDER="$TOOL/deny $calls --"
	start_enclave
	[ -n "$CHILD" ] || not_ok "without $word the enclave starts" "$(cat "$T/model-owner.log")"
	refused "$word" "$calls"
	kill_role model-owner
done <"$T/rows"
UNDER="$TOOL/deny reboot --"
start_enclave
good "$PICTURE" --limit 1 >/dev/null 2>"$T/err"; is "a filter that takes nothing away changes nothing: it is asked for a model" 4 $?
for word in $(sed -n 's/^HARDENING([A-Z_]*, "\([a-z-]*\)".*/\1/p' crypto/attest/hardening.def); do
	[ "$word" = no-debugger ] || grep -q "^$word " "$T/rows" || not_ok "$word is taken away here"
done

# On hardware the evidence says nothing of the child, so there it serves hardened or not at all.
python3 test/e2e/enclave_alone.py "$B/obscura-enclave" "$T/pki/ca.pem" >"$T/out" 2>"$T/err"
is "as on hardware: hardened it serves" "R exit 0" "$(tr '\n' ' ' <"$T/out" | sed 's/ $//')"
python3 test/e2e/enclave_alone.py "$B/obscura-enclave" "$T/pki/ca.pem" 65534 >"$T/out" 2>"$T/err"
is "without a user of its own it does not" "1 exit 7" "$(grep -c 'it is not hardened' "$T/out") $(tail -1 "$T/out")"
