# SPDX-License-Identifier: Apache-2.0
# Sourced by test/e2e/enclave*.sh after lib.sh: an enclave in its own user and namespaces, behind a real model owner. Skips where that cannot be.
if [ "$(id -u)" != 0 ]; then
	echo "skip - enclave personality (needs root: a user and namespaces of its own)"
	exit 0
fi
if [ "${B##*/}" != rel ]; then
	echo "skip - enclave personality (sanitizers need system calls and an allocator of their own)"
	exit 0
fi
if ! unshare -n -m -i true 2>/dev/null; then
	echo "skip - enclave personality (this root may not make namespaces)"
	exit 0
fi
if [ "$(cat /sys/module/secretmem/parameters/enable 2>/dev/null)" != Y ]; then
	echo "skip - enclave personality (this kernel has no memfd_secret: boot it with secretmem.enable=y)"
	exit 0
fi
UNDER= # a command that the model owner runs under
TOOL=$B/test/tool
start_enclave() { # start_enclave [flags]
	# shellcheck disable=SC2046
	start model-owner $UNDER "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider=127.0.0.1:1 --models="$ROOT/test/models/digits_conv.onnx" $(creds "$T/pki" model-owner) \
		--enclave-listen=127.0.0.1:0 --tee=sim --simulation="$SIM" "$@"
	for _ in $(seq 200); do
		grep -q "enclave is ready" "$T/model-owner.log" && break
		sleep 0.05
	done
	ENCLAVE=$(sed -n 's/.*enclave at \(127[^ ]*\).*/\1/p' "$T/model-owner.log")
	FRONT=$(cat "$T/model-owner.pid")
	QUOTER=$(cat "/proc/$FRONT/task/$FRONT/children" | awk '{print $1}')
	CHILD=$(cat "/proc/$QUOTER/task/$QUOTER/children" | awk '{print $1}')
}
# shellcheck disable=SC2046
provision() { timeout 60 "$OBSCURA" model provision --enclave="$ENCLAVE" --policy "$SIM/policy.conf" --accept-simulated $(creds "$T/pki" model-owner) "$@"; }
# shellcheck disable=SC2046
ask() { # ask POLICY flags…
	policy=$1; shift
	timeout 60 "$OBSCURA" classify --personality enclave --enclave="$ENCLAVE" --policy "$policy" $(creds "$T/pki" data-owner) "$@"
}
good() { ask "$SIM/policy.conf" --accept-simulated "$@"; }
says() { grep -q "$2" "$T/err" && ok "$1" || not_ok "$1" "$(cat "$T/err")"; }

make_simulation() { # PKI in $T/pki, simulation in $T/sim
	SIM=$T/sim
	make_pki "$T/pki" localhost 127.0.0.1
	"$OBSCURA" attest simulation --dir "$SIM" --program "$B/obscura-enclave" >"$T/out"
}
# What a data owner says first, in one piece: s_client takes some letters at the start of a piece for commands.
greeting() {
	{ printf '\041\000\000\000\001D'; head -c 32 /dev/urandom; } >"$T/greeting"
	cat "$T/greeting"
}
# grown FILE BYTES: until it has so many
grown() {
	for _ in $(seq 200); do [ "$(wc -c <"$1")" -ge "$2" ] && return; sleep 0.05; done
}
