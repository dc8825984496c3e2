# SPDX-License-Identifier: Apache-2.0
# Ten thousand MNIST images by `obscura batch` while every 10 s one of the four processes is killed with SIGKILL: one image at a time, so
# that it takes minutes. Then the paper's model in small batches, with a kill every second.
. test/e2e/lib.sh
. test/batch_lib.sh
if [ ! -d "$SHARED/data" ]; then echo "skip - ten thousand images (no ../shared/data)"; exit 0; fi
N=${SWEEP_IMAGES:-10000}
IDX=$SHARED/data/mnist/t10k-images-idx3-ubyte.gz
mkdir "$T/models"
cp "$SHARED/data/models/model_x.onnx" "$ROOT"/test/models/digits_conv.onnx "$T/models"
echo '{"scale":255,"mean":[0.1307],"std":[0.3081]}' >"$T/models/model_x.json"
start_durable "$T/models/digits_conv.onnx,$T/models/model_x.onnx" --max-batch=1 --lanes=1 || { not_ok "roles start"; exit 1; }

# run MILLISECONDS MODEL
run() {
	"$OBSCURA" verify "$T/models/$2.onnx" --images "$IDX" --limit "$N" --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>"$T/err" || not_ok "verify $2" "$(cat "$T/err")"
	began=$(date +%s)
	sweep "$1" "$IDX" --model "$2" --limit "$N" --out "$T/$2.csv" >"$T/sweep.out" 2>&1
	code=$?
	is "$2: $N images are done after $KILLS kills in $(($(date +%s) - began)) s" "" "$([ $code = 0 ] || tail -3 "$T/sweep.out")"
	is "$2: there were kills" yes "$([ "$KILLS" -gt 0 ] && echo yes)"
	results "$T/$2.csv" "$N" "$T/labels"
}
run $((${SWEEP_SECONDS:-10} * 1000)) digits_conv
kill_role data-owner
DATA_OWNER_FLAGS="--max-batch=16 --lanes=2"
start_role data-owner
run 700 model_x
audit $((2 * N))
