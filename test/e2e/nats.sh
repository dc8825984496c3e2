# SPDX-License-Identifier: Apache-2.0
# A work queue on a real NATS JetStream server: two workers, each a data-owner daemon with a model owner of its own, share a job; one of
# them is killed, a redelivered image takes fresh tickets, and every image is once in the result.
. test/e2e/lib.sh
. test/batch_lib.sh
# The server's package would start a service on this machine: it is unpacked, not installed.
NATS=$(command -v nats-server || ls "$ROOT/build/nats/usr/sbin/nats-server" 2>/dev/null)
if [ -z "$NATS" ]; then
	mkdir -p "$ROOT/build/nats"
	(cd "$ROOT/build/nats" && apt_answers && timeout 120 apt-get download -q nats-server && dpkg -x nats-server_*.deb .) >/dev/null 2>&1
	NATS=$(ls "$ROOT/build/nats/usr/sbin/nats-server" 2>/dev/null)
fi
if [ -z "$NATS" ]; then echo "skip - work queue (nats-server is not there and cannot be downloaded)"; exit 0; fi
MODEL=$ROOT/test/models/digits_conv.onnx
STACK=$ROOT/test/images/digits-idx3-ubyte
LIMIT=10000
if [ -d "$SHARED/data" ]; then STACK=$SHARED/data/mnist/t10k-images-idx3-ubyte.gz LIMIT=800; fi
"$OBSCURA" verify "$MODEL" --images "$STACK" --limit $LIMIT --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>"$T/err" || not_ok "verify" "$(cat "$T/err")"
N=$(wc -l <"$T/labels")

start_queue() { start nats "$NATS" -js -a 127.0.0.1 -p "${QPORT:--1}" -sd "$T/nats"; }
start_queue
for _ in $(seq 200); do
	QPORT=$(sed -n 's/.*Listening for client connections on [^:]*:\([0-9]*\).*/\1/p' "$T/nats.log")
	[ -z "$QPORT" ] || break
	sleep 0.05
done
Q=nats://127.0.0.1:$QPORT/IMAGES

# host NAME: a data owner's daemon and a model owner's, on "a host of their own"; one image at a time, so that it takes a while
make_pki "$T/pki" localhost 127.0.0.1
# shellcheck disable=SC2046
start provider "$OBSCURAD" provider --listen=127.0.0.1:0 --log-level=debug $(creds "$T/pki" provider)
PROVIDER=127.0.0.1:$(port provider) || { not_ok "the provider starts"; exit 1; }
host() {
	mkdir "$T/$1"
	# shellcheck disable=SC2046
	start "model-owner-$1" "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$MODEL" --log-level=debug $(creds "$T/pki" model-owner)
	# shellcheck disable=SC2046
	start "data-owner-$1" "$OBSCURAD" data-owner --socket="$T/$1/data-owner.sock" --ledger="$T/$1.sqlite" --provider="$PROVIDER" --model-owner="127.0.0.1:$(port "model-owner-$1")" \
		--max-batch=1 --lanes=1 --log-level=debug $(creds "$T/pki" data-owner)
	for _ in $(seq 200); do grep -q ' ready; ' "$T/data-owner-$1.log" && return 0; sleep 0.05; done
	not_ok "host $1 starts" "$(cat "$T/data-owner-$1.log")"
}
worker() { start "worker-$1" "$OBSCURA" batch --socket="$T/$1/data-owner.sock" --deadline-ms=120000 "$Q" $2; }
host a
host b

# the queue is filled and asked for results before anybody works
start collector "$OBSCURA" batch "$STACK" --limit "$N" --queue "$Q" --out "$T/q.csv"
worker a
worker b
# one worker dies with images in its hands, and so does the host of it; then the one who waits for results; then the queue itself
for _ in $(seq 600); do
	tickets=$(grep -c 'tickets .* burnt' "$T/data-owner-a.log")
	[ "$tickets" -ge $((N / 10)) ] && break
	sleep 0.05
done
kill_role worker-a
kill_role data-owner-a
is "worker a dies at work" yes "$([ "$tickets" -ge $((N / 10)) ] && [ "$tickets" -lt "$N" ] && echo yes)"
kill_role collector
kill_role nats
start_queue
start collector "$OBSCURA" batch "$STACK" --limit "$N" --queue "$Q" --out "$T/q.csv"
(sleep 150; kill "$(cat "$T/collector.pid")" 2>/dev/null) >/dev/null 2>&1 &
limit=$!
wait "$(cat "$T/collector.pid")"
code=$?
kill $limit
is "all results come" "" "$([ $code = 0 ] || tail -5 "$T/collector.log" "$T/worker-b.log")"
results "$T/q.csv" "$N" "$T/labels"
for i in a b; do
	sed -n 's/.* tickets \([0-9a-f]\{16\}\) \([0-9]*\)-\([0-9]*\) burnt$/\1 \2 \3/p' "$T/data-owner-$i.log"
done | awk '{ for (t = $2; t <= $3; t++) print $1, t }' | sort >"$T/burnt"
is "no ticket twice ($(wc -l <"$T/burnt") burnt for $N images)" "" "$(uniq -d "$T/burnt" | head -3)"
A=$(grep -c 'tickets .* burnt' "$T/data-owner-a.log") B=$(grep -c 'tickets .* burnt' "$T/data-owner-b.log")
is "both hosts have worked ($A and $B inferences), and none was saved on" yes "$([ "$A" -gt 0 ] && [ "$B" -gt 0 ] && [ $((A + B)) -ge "$N" ] && echo yes)"

# the same again finds all of it; a worker ends when there is nothing to do
timeout 60 "$OBSCURA" batch "$STACK" --limit "$N" --queue "$Q" --out "$T/q.csv" --json >"$T/out" 2>"$T/err"
is "the same again: no work, the same labels" "0 $N" "$? $(jq .label "$T/q.csv" | diff - "$T/labels" >/dev/null && wc -l <"$T/q.csv")"
kill "$(cat "$T/worker-b.pid")"
wait "$(cat "$T/worker-b.pid")"
is "SIGTERM ends a worker in order" "0 1" "$? $(grep -c 'images classified' "$T/worker-b.log")"
timeout 60 "$OBSCURA" batch --socket="$T/b/data-owner.sock" "$Q" --drain >"$T/out" 2>"$T/err"
is "a worker with --drain ends on an empty queue" "0 0 images classified, 0 could not be" "$? $(cat "$T/out")"

# a damaged picture, and one of a stranger: results, not a worker that dies
mkdir "$T/folder"
cp "$ROOT/test/images/seven-0.png" "$T/folder"
head -c 60 "$ROOT/test/images/two-0.png" >"$T/folder/broken.png"
start worker-c "$OBSCURA" batch --socket="$T/b/data-owner.sock" "$Q" --drain
timeout 60 "$OBSCURA" batch "$T/folder" --queue "$Q" --out "$T/f.csv" >"$T/out" 2>"$T/err"
code=$?
[ "$(grep -c seven "$T/f.csv" 2>/dev/null)" = 1 ] || timeout 60 "$OBSCURA" batch --socket="$T/b/data-owner.sock" "$Q" --drain >/dev/null 2>&1
is "a damaged picture is one row, exit 1" "1 1 7" "$code $(grep -c 'broken.png,,,0,.*corrupt PNG' "$T/f.csv") $(grep seven "$T/f.csv" | cut -d, -f2)"

# what cannot be done
timeout 20 "$OBSCURA" batch "$STACK" --queue nats://127.0.0.1:1/IMAGES --out "$T/x.csv" >"$T/out" 2>"$T/err"
is "no server: named, exit 5" "5 1" "$? $(grep -c '127.0.0.1:1' "$T/err")"
timeout 20 "$OBSCURA" batch "$STACK" --queue "nats://u:secret@127.0.0.1:$QPORT/a.b" --out "$T/x.csv" >"$T/out" 2>"$T/err"
is "a bad name: exit 2, and no password is said" "2 0" "$? $(grep -c secret "$T/err")"
