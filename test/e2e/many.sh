# SPDX-License-Identifier: Apache-2.0
# One model owner serves several models and several data owners at once, each with a certificate of its own.
. test/e2e/lib.sh
start_three "$SAMPLES" || { not_ok "roles start"; exit 1; }
for i in 1 2 3; do
	"$OBSCURA" pki issue --dir "$T/pki" --name "owner-$i" data-owner localhost >/dev/null
done
n=0
for sample in "$ROOT"/test/models/*.onnx; do
	for i in 1 2 3; do
		name=$(basename "$sample" .onnx)
		n=$((n + 1))
		timeout 120 "$OBSCURA" classify --standalone --json --model "$name" --limit 20 --provider="$PROVIDER" --model-owner="$MODEL_OWNER" \
			--ca="$T/pki/ca.pem" --certificate="$T/pki/owner-$i.pem" --key="$T/pki/owner-$i.key" "$(pictures_of "$name")" \
			>"$T/many-$n" 2>"$T/many-$n.err" &
		echo "$! $name $n" >>"$T/jobs"
	done
done
while read -r pid name k; do
	wait "$pid"
	code=$?
	want=$("$OBSCURA" verify "$ROOT/test/models/$name.onnx" --images "$(pictures_of "$name")" --limit 20 --labels-out "$T/labels" --min-agreement 0 >/dev/null 2>&1; tr '\n' ' ' <"$T/labels")
	is "data owner $k of $n at once, $name: labels equal verify's" "0 $want" "$code $(jq .label "$T/many-$k" | tr '\n' ' ')"
	is "data owner $k of $n at once, $name: bytes equal the prediction" 20 "$(jq -c 'select(.bytes==.predicted.bytes)' "$T/many-$k" | wc -l)"
done <"$T/jobs"
