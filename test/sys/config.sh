# SPDX-License-Identifier: Apache-2.0
# Configuration of the daemons: -t names file, line, option, reason and remedy; -T can be read back; samples are whole.
. test/e2e/lib.sh
make_pki "$T/pki" localhost
make_pki "$T/other" localhost
M=$ROOT/test/models/digits_mlp.onnx
P=$T/pki

conf() { # conf ROLE LINE…: a file of the role with good certificates, and what it takes from $T/extra
	printf 'ca = "%s/ca.pem";\ncertificate = "%s/%s.pem";\nkey = "%s/%s.key";\n' "$P" "$P" "$1" "$P" "$1" >"$T/$1.conf"
	role=$1; shift
	printf '%s\n' "$@" >>"$T/$role.conf"
}
# says NAME CODE PATTERN ROLE: what -t of the role's file says
says() {
	"$OBSCURAD" "$4" -c "$T/$4.conf" -t >"$T/out" 2>"$T/err"
	code=$?
	if [ $code = "$2" ] && cat "$T/out" "$T/err" | grep -qE -- "$3"; then ok "$1"; else not_ok "$1" "exit $code, wanted $2 and /$3/:
$(cat "$T/out" "$T/err")"; fi
}

for role in data-owner provider; do
	conf $role
	says "-t: a good file of the $role" 0 "$role.conf: the configuration is fine" $role
done
conf model-owner "models = [\"$M\"];"
says "-t: a good file of the model-owner" 0 "the configuration is fine" model-owner
conf model-owner "models = [\"$M\"];" "lanes = 0;"
says "-t: a number outside its range" 3 "model-owner.conf:5: lanes: 0 is outside 1 to 64" model-owner
conf model-owner "models = [\"$M\", \"$T/none.onnx\"];"
says "-t: a model that is not there" 3 "model-owner.conf:4: models: cannot open .*none.onnx" model-owner
conf model-owner "models = [\"$ROOT/test/models/bad/nan.onnx\"];"
says "-t: a model that cannot run" 3 "model-owner.conf:4: models: .*NaN" model-owner
sed -n '/^rules = (/,/^);/p' docs/man/obscura.conf.5.in >"$T/rules"
conf model-owner "models = [\"$M\"];" "access = \"$T/rules\";" "audit = \"$T/audit\";"
says "-t: the manual's rules of access" 0 "the configuration is fine" model-owner
is "  no audit is made by that" "" "$(ls "$T/audit" 2>/dev/null)"
sed -i 's/per_day/per_year/' "$T/rules"
says "-t: bad rules of access" 3 "model-owner.conf:5: access: .*rules:3: .*per_year" model-owner
conf model-owner
says "-t: no model" 2 "no models; name some with --models" model-owner
conf provider
sed -i "3s/.*/key = \"$(echo "$T/other/provider.key" | sed 's/\//\\\//g')\";/" "$T/provider.conf"
says "-t: a key of another certificate" 3 "provider.conf:3: key: .*does not belong to the certificate" provider
conf provider
sed -i '2s/provider.pem/model-owner.pem/; 3s/provider.key/model-owner.key/' "$T/provider.conf"
says "-t: a certificate of another role" 3 "provider.conf:2: certificate: .*for the role \"model-owner\"" provider
conf provider
sed -i '1s/ca.pem/none.pem/' "$T/provider.conf"
says "-t: no authority" 3 "provider.conf:1: ca: .*No such file.*obscura pki init" provider
conf data-owner 'pool_hihg = 3;'
says "-t: a misspelt option" 3 "data-owner.conf:4: pool_hihg: .*did you mean pool_high" data-owner
conf data-owner 'lanes = ;'
says "-t: no libconfig" 3 "data-owner.conf:4: syntax error" data-owner

conf data-owner "http_token_file = \"$T/token\";"
says "-t: a token that is not there" 3 "data-owner.conf:4: http_token_file: cannot read .*token: No such file" data-owner
conf data-owner "policy = \"$T/rules\";"
says "-t: a policy that is none" 3 "data-owner.conf:4: policy: .*rules:" data-owner
conf model-owner "models = [\"$M\"];" 'personalities = ["smpc", "hee"];'
says "-t: a personality that there is not" 3 "model-owner.conf:5: personalities: \"hee\" is none of" model-owner
conf model-owner "models = [\"$M\"];" 'congestion = "nosuch";'
says "-t: no such congestion control" 7 "model-owner.conf:5: congestion: .*tcp_allowed_congestion_control" model-owner
conf model-owner "models = [\"$M\"];" "enclave_models = [\"$M\"];"
says "-t: an enclave's models without an enclave" 2 "need enclave_listen" model-owner
conf model-owner "models = [\"$M\"];" 'enclave_listen = "127.0.0.1:0";' 'tee = "sim";' "simulation = \"$T/none\";"
says "-t: a simulation that was not made" 3 "none/quoting.key: .*attest simulation --dir" model-owner
mkdir "$T/sim" && touch "$T/sim/quoting.key" "$T/sim/chain.pem"
conf model-owner "models = [\"$M\"];" 'enclave_listen = "127.0.0.1:0";' 'tee = "sim";' "simulation = \"$T/sim\";" "enclave_models = [\"$M\"];"
says "-t: an enclave's model that is not sealed" 3 "model-owner.conf:8: enclave_models: .*is no sealed model" model-owner
conf provider
sed -i "1s|$P|$T/other|" "$T/provider.conf"
says "-t: a certificate of another authority than ours" 0 "provider.pem is not of the authority .*other/ca.pem" provider
conf provider
refused=$("$OBSCURAD" provider -c "$T/provider.conf" --threads=0 -t 2>&1)
is "a wrong value on the command line is wrong usage" "2 obscurad: --threads: 0 is outside 1 to 1024" "$? $refused"
refused=$("$OBSCURAD" provider -c 2>&1)
is "-c without a file" "2 obscurad: -c needs a file: -c FILE" "$? $refused"

conf data-owner 'lanes = 9;'
"$OBSCURAD" data-owner -c "$T/data-owner.conf" --pool-low=3 -T >"$T/one"
is "-T names the origins" "2" "$(grep -cE "^lanes = 9; # .*data-owner.conf:4$|^pool_low = 3; # --pool-low$" "$T/one")"
"$OBSCURAD" data-owner -c "$T/one" -T | sed 's/ #.*//' >"$T/two"
is "-T can be read back" "$(sed 's/ #.*//' "$T/one")" "$(cat "$T/two")"
is "-T: threads by default" "1" "$(grep -c '^threads = 2; # default$' "$T/one")"
for role in data-owner model-owner provider; do
	"$OBSCURAD" $role --sample >"$T/sample"
	if cmp "$T/sample" "$ROOT/conf/$role.conf" >"$T/err" 2>&1; then ok "conf/$role.conf is what the table says"; else not_ok "conf/$role.conf is what the table says" "make samples: $(cat "$T/err")"; fi
	"$OBSCURAD" $role -c "$ROOT/conf/$role.conf" -T >"$T/out" 2>"$T/err"
	is "conf/$role.conf parses" 0 $?
done
