# SPDX-License-Identifier: Apache-2.0
# The examples of docs/DEPLOYMENT.md: the Kubernetes files are YAML whose pieces fit together and whose options the programs know;
# the Slurm script runs as an array of two tasks against real roles, and classifies every image once.
. test/e2e/lib.sh
if python3 -c 'import yaml' 2>/dev/null; then
	for file in "$ROOT"/conf/kubernetes/*.yaml; do
		name=$(basename "$file")
		python3 "$ROOT/test/sys/deploy.py" "$file" >"$T/$name.args" 2>"$T/err"
		is "$name: parts fit together" 0 $? || cat "$T/err"
		# the container's arguments, one a line, with the pod's name filled in: every option is known, every value good
		# shellcheck disable=SC2046
		"$OBSCURAD" $(cat "$T/$name.args") -T >"$T/out" 2>"$T/err"
		is "$name: obscurad knows all its options" 0 $? || cat "$T/err"
	done
	sed 's/^    rules = /rules = /; /rules: |/,/^---/!d; /rules: |/d; /^---/d' "$ROOT/conf/kubernetes/provider.yaml" >"$T/rules"
	make_pki "$T/pki" localhost 127.0.0.1
	# shellcheck disable=SC2046
	"$OBSCURAD" provider -t --access="$T/rules" --audit="$T/audit" $(creds "$T/pki" provider) >"$T/out" 2>&1
	is "provider.yaml: its rules are good" 0 $? || cat "$T/out"
	sed 's/who = /whom = /' "$T/rules" >"$T/rules-bad"
	# shellcheck disable=SC2046
	"$OBSCURAD" provider -t --access="$T/rules-bad" --audit="$T/audit" $(creds "$T/pki" provider) >"$T/out" 2>&1
	is "and would be refused if they were not" 3 $?
else
	echo "skip - Kubernetes examples (python3-yaml)"
fi

bash -n "$ROOT/conf/slurm/classify.sbatch"
is "the Slurm script is one" 0 $?
IDX=$(pictures_of digits)
start_three "$ROOT/test/models/digits_mlp.onnx" || { not_ok "roles start"; exit 1; }
task() { # task ID
	PATH=$B:$PATH OBSCURA_MODEL_OWNER=$MODEL_OWNER OBSCURA_PROVIDER=$PROVIDER OBSCURA_PKI=$T/pki OBSCURA_IMAGES=100 TMPDIR=$T \
		SLURM_ARRAY_TASK_ID=$1 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=1 timeout 100 bash "$ROOT/conf/slurm/classify.sbatch" "$IDX" "$T/results" digits_mlp >"$T/task-$1" 2>&1
}
for id in 1 2 3; do task $id & PIDS="$PIDS $!"; eval "task$id=$!"; done
wait "$task1"; a=$?
wait "$task2"; b=$?
wait "$task3"; c=$?
is "three tasks of an array end well" "0 0 0" "$a $b $c" ; [ "$a$b$c" = 000 ] || tail -n 5 "$T"/task-?
"$OBSCURA" verify "$ROOT/test/models/digits_mlp.onnx" --images "$IDX" --limit 100 --labels-out "$T/labels" >/dev/null 2>&1
tail -qn +2 "$T/results/0.csv" "$T/results/1.csv" "$T/results/2.csv" >"$T/all"
is "each of 100 images is in one share" 100 "$(cut -d, -f1 "$T/all" | sort -u | wc -l)"
column=$(head -1 "$T/results/0.csv" | tr ',' '\n' | grep -n '^label$' | cut -d: -f1)
is "labels equal verify's" "$(tr '\n' ' ' <"$T/labels")" "$(cut -d, -f"$column" "$T/all" | tr '\n' ' ')"
