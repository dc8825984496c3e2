# SPDX-License-Identifier: Apache-2.0
# docs/DEPLOYMENT.md as it is written: its commands make the authority, its files configure three hosts (network namespaces with
# the names of the document), and the service works, is limited, and is recorded.
if [ -z "$OBSCURA_HOSTS" ]; then # names for this test alone
	OBSCURA_HOSTS=$(mktemp)
	export OBSCURA_HOSTS
	printf '%s\n' "127.0.0.1 localhost" "10.77.0.1 provider.example" "10.77.0.2 model.example" "10.77.0.3 hospital.example" >"$OBSCURA_HOSTS"
	if unshare -m true 2>/dev/null; then
		unshare -m sh -c 'mount --bind "$OBSCURA_HOSTS" /etc/hosts && exec sh test/sys/hosts.sh'
		code=$?
	else
		echo "skip - docs/DEPLOYMENT.md on three hosts (needs root)"
		code=0
	fi
	rm -f "$OBSCURA_HOSTS"
	exit $code
fi
. test/e2e/lib.sh
three_hosts || { echo "skip - docs/DEPLOYMENT.md on three hosts ($WHY)"; exit 0; }
DOC=$ROOT/docs/DEPLOYMENT.md
PATH=$B:$PATH
mkdir -p "$T/etc/pki" "$T/var/obscura-provider" "$T/var/obscura-model-owner"
# section N: its indented lines, as typed
section() { sed -n "/^## $1\\./,/^## /s/^    //p" "$DOC"; }

(cd "$T" && section 1 | sh -e) >"$T/out" 2>&1
is "1. its commands make the authority" 0 $? || cat "$T/out"
is "every certificate is good" 0 "$(obscura pki check --dir "$T/pki" >"$T/out" 2>&1; echo $?)"
cp "$T"/pki/ca.pem "$T"/pki/revoked.crl "$T"/pki/[a-z]*-*.pem "$T"/pki/[a-z]*-*.key "$T"/pki/provider.* "$T/etc/pki"
cp "$ROOT/test/models/digits_mlp.onnx" "$T/var/obscura-model-owner/digits.onnx"
# what "cat >FILE <<'END'" writes, here under $T; and where certificates are, which the defaults name
for n in 2 3 4; do
	section $n | awk '/^cat >/ { f = $2; sub(/^>/, "", f); print "cat " ">" f " <<\047END\047"; next } f { print } /^END/ { f = "" }' | sed "s#/etc/obscura#$T/etc#g; s#/var/lib/obscura#$T/var/obscura#g" | sh -e
done
start_role() { # start_role ROLE NAMESPACE: tested first, as the document says
	role=$1
	printf 'ca = "%s/ca.pem";\ncertificate = "%s/%s.pem";\nkey = "%s/%s.key";\n' "$T/etc/pki" "$T/etc/pki" "$role" "$T/etc/pki" "$role" >>"$T/etc/$role.conf"
	[ "$role" != data-owner ] || printf 'socket = "%s";\nledger = "%s";\n' "$T/data-owner.sock" "$T/jobs.sqlite" >>"$T/etc/$role.conf"
	obscurad "$role" -c "$T/etc/$role.conf" -t >"$T/out" 2>&1
	is "obscurad $role -t" 0 $? || cat "$T/out"
	start "$role" ip netns exec "$N-$2" obscurad "$role" -c "$T/etc/$role.conf"
}
start_role data-owner d
start_role model-owner m
start_role provider c
for _ in $(seq 200); do [ -S "$T/data-owner.sock" ] && grep -q connected "$T/model-owner.log" && break; sleep 0.05; done
IDX=$(pictures_of digits)
classify --model digits --limit 20 --json "$IDX" >"$T/out" 2>"$T/err"
is "it works: 20 images" "0 20" "$? $(wc -l <"$T/out")" || cat "$T/err"
is "the model owner's audit has them, by the hospital's name" "hospital.example digits 20" "$(jq -rs '[.[]|select(.event=="inference")]|"\(.[0].peer) \(.[0].model) \([.[].images]|add)"' "$T/var/obscura-model-owner/audit.jsonl")"
is "the provider's names both parties" "hospital.example model.example" "$(jq -r 'select(.event=="paired")|"\(.peer) \(.with)"' "$T/var/obscura-provider/audit.jsonl" | head -1)"
echo 'rules = ( { who = "clinic.example"; } );' >"$T/etc/model-owner.rules"
kill -HUP "$(cat "$T/model-owner.pid")"
for _ in $(seq 100); do grep -q "new configuration is in force" "$T/model-owner.log" && break; sleep 0.05; done
classify --model digits --limit 1 "$IDX" >/dev/null 2>"$T/err"
is "5. other rules, reloaded: refused by name" "4 1" "$? $(grep -c "hospital.example may not use model digits" "$T/err")"
section 5 >"$T/rules"
obscurad model-owner -t -c "$T/etc/model-owner.conf" --access="$T/rules" >"$T/out" 2>&1
is "5. the rules shown are rules" 0 $? || cat "$T/out"
is "6. the line shown has the keys of real ones" "$(section 6 | jq -cS keys)" "$(jq -cS 'select(.event=="inference")|keys' "$T/var/obscura-model-owner/audit.jsonl" | head -1)"
is "files that the document names are there" "" "$(grep -o '](\.*[^)#]*)\|`test/[^`]*\.sh`\|`conf/[^` ]*`' "$DOC" | tr -d ']()`' | while read -r f; do [ -e "$ROOT/docs/$f" ] || [ -e "$ROOT/$f" ] || echo "$f"; done)"
