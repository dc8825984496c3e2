# SPDX-License-Identifier: Apache-2.0
# Who may use which model and how often, at the model owner and at the provider; what is refused says who, which model and
# what to do; the audits of both name the same sessions and tickets, none twice; a day's count survives kill -9.
. test/e2e/lib.sh
M=$ROOT/test/models
IDX=$(pictures_of digits_mlp)
make_pki "$T/pki" localhost 127.0.0.1
for who in alice.example bob.example carol.example mallory.example; do
	"$OBSCURA" pki issue --dir "$T/pki" --name "$who" data-owner "$who" >/dev/null
done
cat >"$T/rules" <<END
rules = (
  { who = "alice.example"; models = ["digits_mlp"]; per_day = 30; },
  { who = "*.example"; models = ["digits_conv", "digits_mlp"]; per_minute = 12; reveal = "any"; }
);
END
cat >"$T/rules-c" <<END
rules = ( { who = ["alice.example", "bob.example", "localhost"]; model_owner = "localhost"; per_day = 200; },
  { who = "carol.example"; per_minute = 9; } );
END
run_provider() { start provider "$OBSCURAD" provider --listen="${PROVIDER:-127.0.0.1:0}" --access="$T/rules-c" --audit="$T/audit-c" $(creds "$T/pki" provider); }
run_model_owner() {
	start model-owner "$OBSCURAD" model-owner --listen="${MODEL_OWNER:-127.0.0.1:0}" --provider="$PROVIDER" --models="$M/digits_mlp.onnx,$M/digits_conv.onnx" \
		--access="$T/rules" --audit="$T/audit-m" --admin-socket="$T/admin" $(creds "$T/pki" model-owner)
}
run_provider
PROVIDER=127.0.0.1:$(port provider)
run_model_owner
MODEL_OWNER=127.0.0.1:$(port model-owner)
as() { # as WHO ARGUMENTS…
	who=$1; shift
	timeout 60 "$OBSCURA" classify --standalone --json --pool-low=1 --pool-high=2 --provider="$PROVIDER" --model-owner="$MODEL_OWNER" \
		--ca="$T/pki/ca.pem" --certificate="$T/pki/$who.pem" --key="$T/pki/$who.key" "$@" >"$T/out" 2>"$T/err"
}
# refused NAME PATTERN: exit 4, one line that matches
refused() {
	code=$?
	if [ $code = 4 ] && grep -qE -- "$2" "$T/err" && [ "$(wc -l <"$T/err")" = 1 ]; then ok "$1"; else not_ok "$1" "exit $code: $(cat "$T/err")"; fi
}

as alice.example --model digits_mlp --limit 10 "$IDX"
is "alice may use her model" "0 10" "$? $(wc -l <"$T/out")"
as alice.example --model digits_conv --limit 1 "$IDX"
is "alice may use what the next rule gives everybody" 0 $?
as mallory.example --model digits_mlp --limit 1 "$IDX"
refused "the provider knows no mallory: who, which model, what to do" "provider.*mallory.example may not use model digits_mlp.*operator"
cp "$T/pki/data-owner.pem" "$T/pki/l.pem"; cp "$T/pki/data-owner.key" "$T/pki/l.key"
as l --model digits_mlp --limit 1 "$IDX"
refused "the model owner has no rule for localhost" "model-owner.*localhost may not use model digits_mlp.*operator"
as bob.example --model digits_mlp --limit 12 "$IDX"
is "bob may use 12 images a minute" "0 12" "$? $(wc -l <"$T/out")"
as bob.example --model digits_conv --limit 1 "$IDX"
refused "the 13th is refused, of another model of the rule too" "bob.example may use 12 images a minute.*12 were.*again"
# the provider holds tickets back: whoever waits for one is told at once, not when a deadline passes
as carol.example --model digits_mlp --max-batch=6 --limit 6 "$IDX"
is "carol may have 9 tickets a minute" 0 $?
as carol.example --model digits_mlp --max-batch=6 --limit 6 --step-ms=60000 --deadline-ms=60000 "$IDX"
refused "more are held back, and the provider says why" "provider.*carol.example may use 9 tickets a minute of model digits_mlp"
as alice.example --model digits_mlp --limit 15 "$IDX"
is "alice's day: 25 of 30" 0 $?
kill_role model-owner
run_model_owner
port model-owner >/dev/null
as alice.example --model digits_mlp --limit 6 "$IDX"
refused "after kill -9 the day's count is still there" "alice.example may use 30 images a day of model digits_mlp, 25 are used.*midnight"
as alice.example --model digits_mlp --limit 5 "$IDX"
is "what is left may be used" 0 $?

is "the metric counts refusals since the restart" 1 "$(curl -sS --unix-socket "$T/admin" http://localhost/metrics | sed -n 's/^obscura_access_refused_total //p')"
# who, when, which model, how many; never what
is "the model owner's audit has every image" 49 "$(jq -s '[.[]|select(.event=="inference").images]|add' "$T/audit-m")"
is "its lines name who, when, model, session and ticket" 0 "$(jq -c 'select(.event=="inference" and ((.time|test("^20..-..-..T..:..:..Z$")) and .peer and .model and (.session|length==32) and (.certificate|length==64) and .ticket>=0 and .images>=1|not))' "$T/audit-m" | wc -l)"
is "refusals are recorded with their reason" true "$(jq -s '[.[]|select(.event=="refused" and .peer=="localhost" and (.why|test("may not")))]|length>=1' "$T/audit-m")"
numbers() { jq -r "select(.event==\"$2\")|.session as \$s|range(.ticket;.ticket+.images)|\"\(\$s) \(.)\"" "$1" | sort; }
numbers "$T/audit-m" inference >"$T/used"
numbers "$T/audit-c" tickets >"$T/made"
is "no ticket is used twice" "" "$(uniq -d "$T/used")"
is "no ticket is made twice" "" "$(uniq -d "$T/made")"
is "every ticket that was used was made by the provider, in the same session" "" "$(comm -23 "$T/used" "$T/made")"
is "keys of the audit" "certificate event from images model peer session ticket time why with " "$(cat "$T/audit-m" "$T/audit-c" | jq -r 'keys[]' | sort -u | tr '\n' ' ')"
is "the audit is its owner's alone" 600 "$(stat -c %a "$T/audit-m")"

# bad rules: file, line, reason; and at SIGHUP nothing changes
cp "$T/rules" "$T/good"
echo 'rules = ( { who = "alice.example"; per_hour = 5; } );' >"$T/rules"
# shellcheck disable=SC2046
"$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$M/digits_mlp.onnx" --access="$T/rules" $(creds "$T/pki" model-owner) >"$T/out" 2>&1
is "bad rules: the model owner does not start" 3 $?
# shellcheck disable=SC2046
"$OBSCURAD" provider -t --access="$T/rules" --audit="$T/nowhere" $(creds "$T/pki" provider) >>"$T/out2" 2>&1
is "-t finds them too, and makes no audit" "3 1 no" "$? $(grep -c "access.*rules:1: per_hour: is unknown" "$T/out2") $([ -e "$T/nowhere" ] && echo yes || echo no)"
is "bad rules: file and line" 1 "$(grep -c "$T/rules:1: per_hour: is unknown" "$T/out")"
kill -HUP "$(cat "$T/model-owner.pid")"
for _ in $(seq 100); do grep -q "nothing has changed" "$T/model-owner.log" && break; sleep 0.1; done
is "bad rules at SIGHUP: refused, with the line" 1 "$(grep -c "rules:1: per_hour.*nothing has changed" "$T/model-owner.log")"
echo 'rules = ( { who = "bob.example"; models = "digits_conv"; reveal = "label"; } );' >"$T/rules"
mv "$T/audit-m" "$T/audit-m.1"
kill -HUP "$(cat "$T/model-owner.pid")"
for _ in $(seq 100); do grep -q "new configuration is in force" "$T/model-owner.log" && break; sleep 0.1; done
as alice.example --model digits_mlp --limit 1 "$IDX"
refused "new rules at SIGHUP: alice is out" "alice.example may not use model digits_mlp"
as bob.example --model digits_conv --limit 1 "$IDX"
refused "new rules at SIGHUP: bob gets no scores" "bob.example gets only labels of model digits_conv.*--reveal label"
as bob.example --model digits_conv --reveal label --limit 3 "$IDX"
is "but labels" 0 $?
is "a rotated audit starts with the day's sums" "sums 30" "$(head -1 "$T/audit-m" | jq -r '"\(.event) \(.sums[]|select(.account=="alice.example" and .model=="digits_mlp").images)"')"
