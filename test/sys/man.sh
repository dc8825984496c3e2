# SPDX-License-Identifier: Apache-2.0
# Manual and completion: made from the tables, whole, and without a warning of the formatters.
. test/e2e/lib.sh
make --no-print-directory -s V=rel man >"$T/log" 2>&1
is "make man" 0 $? || cat "$T/log"
for p in obscura.1 obscurad.8 obscura.conf.5; do
	f=build/man/$p
	if command -v mandoc >/dev/null; then
		is "mandoc has nothing against $p" "" "$(mandoc -Tlint -Wwarning "$f" 2>&1)"
	else
		echo "skip - mandoc -Tlint $p (mandoc is missing)"
	fi
	if command -v groff >/dev/null; then
		is "groff has nothing against $p" "" "$(preconv "$f" | groff -mdoc -Tutf8 -ww -b 2>&1 >"$T/${p%.*}.txt")"
	else
		echo "skip - groff $p (groff is missing)"
	fi
done
sed -n 's/^COMMAND(\([a-z]*\),.*/\1/p' client/commands.def | while read -r c; do grep -q "^\.Ss obscura $c" build/man/obscura.1 || echo "$c"; done >"$T/out"
is "every command is in obscura(1)" "" "$(cat "$T/out")"
sed -n 's/^FLAG(\([a-z_]*\),.*/\1/p' client/commands.def | tr _ - | while read -r n; do grep -q "^\.It Fl .-$n\b" build/man/obscura.1 || echo "$n"; done >"$T/out"
is "every flag is in obscura(1)" "" "$(cat "$T/out")"
sed -n 's/^OPTION([A-Z]*, \([a-z_]*\),.*/\1/p' conf/options.def | while read -r n; do grep -q "^\.It Va $n " build/man/obscura.conf.5 || echo "$n"; done >"$T/out"
is "every option is in obscura.conf(5)" "" "$(cat "$T/out")"

if ! command -v bash >/dev/null; then echo "skip - completion (bash is missing)"; exit 0; fi
# complete WORD…: what bash would offer for the last word
complete() {
	bash -c 'complete() { :; }; compopt() { :; }; . build/man/obscura.bash
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}; _obscura; printf "%s\n" "${COMPREPLY[@]}"' bash "$@" | paste -sd' '
}
is "completion of a command" "verify" "$(complete obscura ver)"
is "of what a command does" "init issue" "$(complete obscura pki i)"
is "of a role" "model-owner" "$(complete obscurad mod)"
is "of a flag" "--standalone" "$(complete obscura classify --stan)"
is "of an option of a command" "--pool-low= --pool-high= --pool-memory=" "$(complete obscura classify --pool)"
is "of an option of a role" "--max-sessions=" "$(complete obscurad provider --max)"
is "of a value" "warning" "$(complete obscurad provider --log-level=w)"
is "of a file" "test/models/digits_conv.onnx test/models/digits_mlp.onnx" "$(complete obscura plan test/models/digits_ | tr ' ' '\n' | grep onnx | sort | paste -sd' ')"
is "of nothing for another command" "" "$(complete obscura status --stan)"
