# SPDX-License-Identifier: Apache-2.0
# Durable jobs: results and their forms, resuming, what cannot be read, a ledger that cannot be used; and a job that survives the death of
# every process.
. test/e2e/lib.sh
. test/batch_lib.sh
MODEL=$ROOT/test/models/digits_conv.onnx
STACK=$ROOT/test/images/digits-idx3-ubyte
LABELS=$ROOT/test/images/digits-labels-idx1-ubyte
start_durable "$MODEL,$ROOT/test/models/digits_mlp.onnx" || { not_ok "roles start"; exit 1; }
"$OBSCURA" verify "$MODEL" --images "$STACK" --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>"$T/err" || not_ok "verify" "$(cat "$T/err")"
N=$(wc -l <"$T/labels")

# results and their forms
batch "$STACK" --model digits_conv --labels "$LABELS" --out "$T/a.csv" >"$T/out" 2>"$T/err"
is "a job ends" "0 " "$? $(cat "$T/err")"
is "header" "image,truth,label,name,attempts,error,score_0" "$(head -1 "$T/a.csv" | cut -d, -f1-7)"
tail -n +2 "$T/a.csv" | cut -d, -f3 | diff - "$T/labels" >"$T/diff"
is "labels equal verify's" 0 $?
is "the summary has accuracy and matrix" "1 11" "$(grep -c accuracy "$T/out") $(sed -n '/TRUE CLASS/,$p' "$T/out" | wc -l)"
is "the ledger is for its owner only" "600 600" "$(stat -c %a "$T/jobs.sqlite" "$T/jobs.sqlite-wal" | tr '\n' ' ' | sed 's/ $//')"
batch "$STACK" --model digits_conv --labels "$LABELS" --out "$T/a.csv" --json >"$T/out" 2>"$T/err"
is "the same again does nothing anew" "$N 0" "$(jq -r '"\(.done) \(.images_now)"' "$T/out")"
is "JSON Lines: labels equal verify's" "" "$(jq .label "$T/a.csv" | diff - "$T/labels")"
is "the matrix adds up" "$N" "$(jq '[.confusion[][]]|add' "$T/out")"
is "accuracy is the matrix's diagonal" true "$(jq '. as $s | ([range(.confusion|length) | $s.confusion[.][.]]|add) / .done == .accuracy' "$T/out")"
batch "$STACK" --model digits_conv --out "$T/a.csv" --json --again >"$T/out" 2>"$T/err"
is "--again does it all" "$N" "$(jq .images_now "$T/out")"
batch "$STACK" --model digits_conv --out "$T/b.jsonl" --reveal label --limit 5 --offset 3 >"$T/out" 2>"$T/err"
is "label only: labels, no scores" "$(sed -n 4,8p "$T/labels" | tr '\n' ' ')[[]]" "$(jq .label "$T/b.jsonl" | tr '\n' ' ')$(jq -sc '[.[].scores]|unique' "$T/b.jsonl")"

# a folder, and a list on standard input, with pictures that cannot be read
mkdir "$T/folder"
cp "$ROOT/test/images/seven-0.png" "$ROOT/test/images/two-0.png" "$T/folder"
head -c 60 "$ROOT/test/images/two-0.png" >"$T/folder/broken.png"
batch "$T/folder" --model digits_mlp --out "$T/c.csv" >"$T/out" 2>"$T/err"
is "a damaged picture is one row, exit 1" "1 1 7 2 " "$? $(grep -c '^[^,]*/broken.png,,,0,.*broken.png: corrupt PNG' "$T/c.csv") $(tail -n +3 "$T/c.csv" | cut -d, -f2 | tr '\n' ' ')"
printf '%s\n' "$T/folder/two-0.png" "$T/nowhere.png" "$T/folder/seven-0.png" | batch - --model digits_mlp --out "$T/d.csv" --json >"$T/out" 2>"$T/err"
is "a list of paths" "2 null 7 " "$(jq .label "$T/d.csv" | tr '\n' ' ')"
grep -q "nowhere.png: cannot open" "$T/d.csv"
is "what is not there says so" 0 $?
mkdir "$T/slash" && cp "$ROOT/test/images/seven-0.png" "$T/slash"
batch "$T/slash//" --model digits_conv --out "$T/slash.csv" >"$T/out" 2>"$T/err"
is "a folder with a slash has the name without" "$T/slash/seven-0.png" "$(tail -1 "$T/slash.csv" | cut -d, -f1)"

# what cannot be done
batch "$STACK" --model digits_conv --out "$T/nowhere/x.csv" >"$T/out" 2>"$T/err"
is "no such folder" "7 1" "$? $(grep -c nowhere "$T/err")"
if [ "$(id -u)" = 0 ]; then
	: >"$T/theirs.csv.part"
	chown 65534 "$T/theirs.csv.part"
	batch "$STACK" --model digits_conv --out "$T/theirs.csv" >"$T/out" 2>"$T/err"
	is "results go into no file of somebody else's" "3 1 0" "$? $(grep -c "theirs.csv.part is somebody else's" "$T/err") $(stat -c %s "$T/theirs.csv.part")"
fi
batch "$STACK" --model nosuch --out "$T/x.csv" >"$T/out" 2>"$T/err"
is "no such model" "4 1" "$? $(grep -c nosuch "$T/err")"
batch "$STACK" --out "" >"$T/out" 2>"$T/err"
is "no --out" 2 $?
mkfifo "$T/fifo"
for out in - "$T" "$T/fifo"; do
	batch "$STACK" --out "$out" >"$T/out" 2>"$T/err"
	is "results go to a regular file, not to $(basename "$out")" "2 1" "$? $(grep -c "is no regular file" "$T/err")"
done
is "  and what was there is there" "fifo" "$(stat -c %F "$T/fifo")"
batch "$STACK" --out "$T/x.csv" --queue queue.example:4222 >"$T/out" 2>"$T/err"
is "a queue without a scheme" "2 1" "$? $(grep -c "nats://HOST:PORT/STREAM" "$T/err")"
kill_role data-owner
batch "$STACK" --model digits_conv --out "$T/x.csv" >"$T/out" 2>"$T/err"
is "nobody there" 5 $?
cp "$T/jobs.sqlite" "$T/kept.sqlite"
echo "this is no ledger at all, but a text" >"$T/jobs.sqlite"
rm -f "$T/jobs.sqlite-wal"
start_role data-owner
for _ in $(seq 100); do grep -q "damaged" "$T/data-owner.log" && break; sleep 0.05; done
batch "$STACK" --model digits_conv --out "$T/x.csv" >"$T/out" 2>"$T/err"
is "a damaged ledger is named with a remedy" "3 1" "$? $(grep -c "jobs.sqlite is damaged.*move it away" "$T/err")"
classify --model digits_conv --limit 1 "$STACK" >/dev/null 2>"$T/err"
is "and all else goes on" 0 $?

# every process dies
kill_role data-owner
cp "$T/kept.sqlite" "$T/jobs.sqlite"
DATA_OWNER_FLAGS="--max-batch=1 --lanes=1"
start_role data-owner
if [ -d "$SHARED/data" ]; then STACK=$SHARED/data/mnist/t10k-images-idx3-ubyte.gz N=1000; fi
"$OBSCURA" verify "$MODEL" --images "$STACK" --limit "$N" --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>&1
sweep 1500 "$STACK" --model digits_conv --limit "$N" --out "$T/s.csv" >"$T/sweep.out" 2>&1
code=$?
is "a job of $N images ends after $KILLS kills" "" "$([ $code = 0 ] || tail -3 "$T/sweep.out")"
results "$T/s.csv" "$N" "$T/labels"
audit "$N"

# an orderly stop in the middle: it is quick, and the client waits for the daemon to come back
start_client "$STACK" --model digits_conv --limit "$N" --out "$T/t.csv"
before=$(grep -c 'tickets .* burnt' "$T/data-owner.log")
for _ in $(seq 200); do [ "$(grep -c 'tickets .* burnt' "$T/data-owner.log")" -ge $((before + 20)) ] && break; sleep 0.05; done
at=$(date +%s%3N)
kill "$(cat "$T/data-owner.pid")"
wait "$(cat "$T/data-owner.pid")"
code=$?
ms=$(($(date +%s%3N) - at))
is "SIGTERM during a job: the daemon ends in order, at once ($ms ms)" "0 yes yes" "$code $([ $ms -lt 5000 ] && echo yes) $(client_runs && echo yes)"
start_role data-owner
wait "$(cat "$T/client.pid")"
is "the client waits, says so, and the job ends" "0 1" "$? $(grep -c 'waiting:.*data-owner' "$T/client.err" | sed 's/[1-9][0-9]*/1/')"
results "$T/t.csv" "$N" "$T/labels"
