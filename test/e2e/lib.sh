# SPDX-License-Identifier: Apache-2.0
# Sourced by test/e2e/*.sh and test/sys/*.sh: a throw-away PKI and the three roles as real processes on free ports.
export LC_ALL=C.UTF-8 # the programs print ×, … and names in UTF-8, and patterns here count characters
B=$(cd "${OBSCURA_BUILD:-build/rel}" && pwd)
OBSCURA=$B/obscura
OBSCURAD=$B/obscurad
SHARED=$(cd "${OBSCURA_SHARED:-../shared}" 2>/dev/null && pwd || true)
ROOT=$(pwd)
T=$(mktemp -d /tmp/obscura-test.XXXXXX)
PIDS=""
FAILED=0
trap 'stop_all; rm -rf "$T"; exit $FAILED' EXIT
trap 'FAILED=1; exit 1' INT TERM

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; [ $# -lt 2 ] || printf '%s\n' "$2" | sed 's/^/  # /' | tail -20; FAILED=1; return 1; }
# is NAME WANT GOT
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2
got: $3"; fi; }

# have PROGRAM PACKAGE: whether it is there, after trying to install Debian's package (tests only; conf/packages has what all need)
have() {
	command -v "$1" >/dev/null && return
	[ "$(id -u)" = 0 ] && apt_answers && DEBIAN_FRONTEND=noninteractive timeout 400 apt-get install -y -q --no-install-recommends "$2" >/dev/null 2>&1
	command -v "$1" >/dev/null
}

# Whether apt's mirror, or Debian's, answers: where none does, waiting for it in each test would take most of an hour
apt_answers() {
	uri=$(apt-get download --print-uris -q zlib1g 2>/dev/null | cut -d"'" -f2)
	case $uri in http*) curl -sfIL -m 20 -o /dev/null "$uri" ;; esac
}
debian_answers() { curl -sfL -m 20 -o /dev/null http://deb.debian.org/debian/dists/bookworm/Release; }

make_pki() { # make_pki DIR HOST…
	dir=$1; shift
	"$OBSCURA" pki init "$dir" >/dev/null
	for role in provider model-owner data-owner; do
		"$OBSCURA" pki issue --dir "$dir" "$role" "$@" >/dev/null
	done
}

creds() { # creds DIR ROLE: flags for a role's own certificate
	echo "--ca=$1/ca.pem --certificate=$1/$2.pem --key=$1/$2.key"
}

# start NAME COMMAND…: runs in the background, log in $T/NAME.log, pid in $T/NAME.pid
start() {
	name=$1; shift
	: >"$T/$name.log"
	"$@" >>"$T/$name.log" 2>&1 &
	echo $! >"$T/$name.pid"
	PIDS="$PIDS $!"
}

# port NAME: waits for "listening on HOST:PORT" in the log
port() {
	for _ in $(seq 200); do
		p=$(sed -n 's/.*listening on [^ ]*:\([0-9][0-9]*\).*/\1/p' "$T/$1.log" | head -1)
		[ -z "$p" ] || { echo "$p"; return 0; }
		sleep 0.05
	done
	echo "no port of $1:" >&2; cat "$T/$1.log" >&2
	return 1
}

kill_role() { kill -9 "$(cat "$T/$1.pid")" 2>/dev/null; wait "$(cat "$T/$1.pid")" 2>/dev/null; }

stop_all() {
	for p in $PIDS; do kill "$p" 2>/dev/null; done
	for p in $PIDS; do wait "$p" 2>/dev/null; done
	PIDS=""
}

# The project's own models and the stack of sample pictures that belongs to each.
SAMPLES=$(ls "$ROOT"/test/models/*.onnx | tr '\n' ',' | sed 's/,$//')
pictures_of() { case $1 in fashion*) echo "$ROOT/test/images/fashion-idx3-ubyte" ;; *) echo "$ROOT/test/images/digits-idx3-ubyte" ;; esac; }

# The data owner answers, or its log says why not.
await_socket() {
	for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && return 0; sleep 0.05; done
	cat "$T/data-owner.log" >&2
	return 1
}

# start_three MODELS [extra flags of the data owner]: provider, model owner and data owner on loopback with the PKI in $T/pki
start_three() {
	models=$1; shift
	[ -d "$T/pki" ] || make_pki "$T/pki" localhost 127.0.0.1
	# shellcheck disable=SC2046
	start provider "$OBSCURAD" provider --listen=127.0.0.1:0 $(creds "$T/pki" provider)
	PROVIDER=127.0.0.1:$(port provider) || return 1
	# shellcheck disable=SC2046
	start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$models" $(creds "$T/pki" model-owner)
	MODEL_OWNER=127.0.0.1:$(port model-owner) || return 1
	# shellcheck disable=SC2046
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" $(creds "$T/pki" data-owner) "$@"
	await_socket
}

NOBODY=127.0.0.1:9 # where no provider runs
# start_owners PERSONALITIES MODELS [flags of the data owner]: a model owner that offers them, and a data owner; no provider runs
start_owners() {
	offered=$1 models=$2; shift 2
	rm -f "$T/data-owner.sock"
	# shellcheck disable=SC2046
	start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$NOBODY" --personalities="$offered" --models="$models" $(creds "$T/pki" model-owner)
	MODEL_OWNER=127.0.0.1:$(port model-owner) || return 1
	# shellcheck disable=SC2046
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --ledger="$T/jobs.sqlite" --http-socket=none --provider="$NOBODY" --model-owner="$MODEL_OWNER" $(creds "$T/pki" data-owner) "$@"
	await_socket
}

classify() { timeout 120 "$OBSCURA" classify --socket="$T/data-owner.sock" "$@"; }

# three_hosts: each role's host is a network namespace ($N-c, $N-m, $N-d), joined by veth pairs and a bridge in $N-sw, where a
# cable is pulled with `ip -n $N-sw link set $N-m down`. 1 and $WHY when that cannot be.
three_hosts() {
	N=obs$$
	WHY="needs root and CAP_NET_ADMIN"
	ip netns add $N-sw 2>/dev/null || return 1
	trap 'stop_all; for h in sw c m d; do ip netns del $N-$h 2>/dev/null; done; rm -rf "$T"; exit $FAILED' EXIT
	WHY="no bridge in this kernel"
	ip -n $N-sw link add br0 type bridge 2>/dev/null || return 1
	ip -n $N-sw link set br0 up
	i=1
	for h in c m d; do
		ip netns add $N-$h
		ip link add $N-$h netns $N-sw type veth peer name eth0 netns $N-$h
		ip -n $N-sw link set $N-$h master br0 up
		ip -n $N-$h addr add 10.77.0.$i/24 dev eth0
		ip -n $N-$h link set eth0 up
		ip -n $N-$h link set lo up
		i=$((i + 1))
	done
}

# start_hosts MODELS: the roles on these hosts
start_hosts() {
	make_pki "$T/pki" provider.test 10.77.0.1
	"$OBSCURA" pki issue --dir "$T/pki" --force model-owner 10.77.0.2 >/dev/null
	"$OBSCURA" pki issue --dir "$T/pki" --force data-owner 10.77.0.3 >/dev/null
	# shellcheck disable=SC2046
	start provider ip netns exec $N-c "$OBSCURAD" provider --listen=10.77.0.1:7403 $(creds "$T/pki" provider)
	# shellcheck disable=SC2046
	start model-owner ip netns exec $N-m "$OBSCURAD" model-owner --listen=10.77.0.2:7402 --provider=10.77.0.1:7403 --models="$1" $(creds "$T/pki" model-owner)
	# shellcheck disable=SC2046
	start data-owner ip netns exec $N-d "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --provider=10.77.0.1:7403 --model-owner=10.77.0.2:7402 $(creds "$T/pki" data-owner)
	for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && return 0; sleep 0.05; done
	return 1
}
