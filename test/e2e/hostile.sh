# SPDX-License-Identifier: Apache-2.0
# Peers with good certificates and bad intentions (hostile.py), against real roles: what they may take from others is bounded.
. test/e2e/lib.sh
PNG=$ROOT/test/images/seven-0.png
attack() { timeout 100 python3 "$ROOT/test/e2e/hostile.py" "$@"; }
serves() { is "$1" '"label":7' "$(classify --json "$PNG" 2>&1 | grep -o '"label":7')"; }

if ! python3 -c 'import ssl' 2>/dev/null; then
	echo "skip - hostile peers (needs python3)"
	exit 0
fi
make_pki "$T/pki" localhost 127.0.0.1
"$OBSCURA" pki issue --dir "$T/pki" --name rogue data-owner rogue.example 127.0.0.1 >/dev/null
start_three "$ROOT/test/models/digits_mlp.onnx" || { not_ok "roles start"; exit 1; }

# ---- a data owner that takes all sessions
start sessions python3 "$ROOT/test/e2e/hostile.py" sessions "$T/pki" "$MODEL_OWNER" digits_mlp 300
for _ in $(seq 200); do [ -s "$T/sessions.log" ] && break; sleep 0.1; done
is "one data owner gets an eighth of the sessions, over however many connections" "32 you have 32 sessions here" "$(cut -d, -f1 "$T/sessions.log")"
serves "others are served meanwhile"
kill_role sessions

# ---- one that is refused, again and again
printf 'rules = ( { who = "localhost"; } );' >"$T/rules"
# shellcheck disable=SC2046
start ruled "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$ROOT/test/models/digits_mlp.onnx" --access="$T/rules" --audit="$T/audit" $(creds "$T/pki" model-owner)
attack refusals "$T/pki" "127.0.0.1:$(port ruled)" digits_mlp 500 >"$T/out" 2>&1
is "what the rules forbid is refused" 1 "$(grep -c "rogue.example may not use model digits_mlp" "$T/out")"
is "and cannot fill the audit" 60 "$(grep -c '"event":"refused"' "$T/audit")"
