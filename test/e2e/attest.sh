#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# obscura attest verify on the shared evidence: every case by its files, a policy file and its time; then exit codes, messages and
# what a policy file demands.
. "$(dirname "$0")/lib.sh"
E=$SHARED/data/attestation
if [ -z "$SHARED" ] || [ ! -f "$E/CASES.tsv" ]; then
	echo "skip - attest verify on shared evidence (there is no $E/CASES.tsv)"
	exit 0
fi
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }
repeat() { printf "%$2s" | sed "s/ /$1/g"; }

# What the list calls strict refuses debug only; the rest is allowed by name.
lax() {
	cat <<-'END'
		allow = ["migration", "no-collateral", "masked-chip", "old-report"];
		accept_tcb = ["OutOfDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "NotSupported",
			"OutOfDateConfigurationNeeded", "TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded"];
	END
}

policy() { # policy ID POLICY-COLUMN
	lax
	case $2 in *"want vmpl 0"*) ;; *) [ "$1" = syn-snp-vmpl3 ] || echo "vmpl_max = 3;" ;; esac
	case $2 in *pin=synthetic*)
		echo "amd_roots = [\"$E/synthetic/snp/ark.pem\"];"
		echo "intel_roots = [\"$E/synthetic/dcap/root.pem\"];" ;;
	esac
	case $2 in
	*report_data=01*) echo "report_data = \"$(repeat 01 64)\";" ;;
	*report_data.bin*) echo "report_data = \"$(hex "$E/synthetic/report_data.bin")\";" ;;
	esac
	case $2 in
	*want\ measurement=00*) echo "measurement = \"$(repeat 00 48)\";" ;;
	*mrtd=00*) echo "mrtd = \"$(repeat 00 48)\";" ;;
	*measurement.bin*)
		m=$(hex "$E/synthetic/measurement.bin")
		echo "measurement = \"$m\"; mrtd = \"$m\"; mrenclave = \"$(echo "$m" | cut -c1-64)\";" ;;
	esac
}

n=0 good=0 wrong=""
tail -n +2 "$E/CASES.tsv" >"$T/cases"
while IFS="$(printf '\t')" read -r id kind evidence chain collateral time unix expect levels pol note; do
	n=$((n + 1))
	policy "$id" "$pol" >"$T/policy"
	set -- --kind "$kind" --evidence "$E/$evidence" --time "$time" --policy "$T/policy" --json
	[ "$collateral" = - ] || set -- "$@" --collateral "$E/$collateral"
	case $pol in *allow_debug*) set -- "$@" --allow debug ;; esac
	for c in $(echo "$chain" | tr ';' ' '); do set -- "$@" --chain "$E/$c"; done
	"$OBSCURA" attest verify "$@" >"$T/out" 2>"$T/err"
	code=$?
	got=$(jq -r .verdict "$T/out" 2>/dev/null)
	want=6
	[ "$expect" != OK ] || want=0
	if [ "$got" = "$expect" ] && [ $code = $want ]; then good=$((good + 1)); else wrong="$wrong
$id: wanted $expect ($want), got $got ($code) $(cat "$T/err")"; fi
done <"$T/cases"
if [ "$good" = "$n" ] && [ "$n" -ge 120 ]; then ok "attest verify gives the verdict of all $n cases"; else not_ok "attest verify gives the verdict of all $n cases" "$wrong"; fi

verify() { "$OBSCURA" attest verify "$@"; }
genoa="--kind snp --evidence $E/snp/ms-genoa/report.bin --chain $E/snp/ms-genoa/vcek.pem $E/snp/ms-genoa/ca.pem --time 2026-03-01T12:00:00Z"
tdx="--kind dcap --evidence $E/tdx/phala/quote.dat --time 2025-07-04"

# shellcheck disable=SC2086
{
	out=$(verify $genoa 2>&1); is "a genuine SNP report is accepted without a policy" 0 $?
	case $out in *"no policy names a program"*) ok "and it is said that any program would do" ;; *) not_ok "and it is said that any program would do" "$out" ;; esac
	echo "measurement = [\"$(repeat 00 48)\", \"$(verify $genoa --json | jq -r .fields.measurement)\"];" >"$T/p"
	verify $genoa --policy "$T/p" >/dev/null 2>&1; is "a policy that names its measurement accepts it" 0 $?
	echo "mrtd = \"$(repeat 00 48)\";" >"$T/p"
	verify $genoa --policy "$T/p" >"$T/out" 2>/dev/null; is "a policy that names programs for TDX only refuses it" 6 $?
	echo "genoa = { microcode = 85; }" >"$T/p"
	verify $genoa --policy "$T/p" >"$T/out" 2>/dev/null; is "older firmware than the policy's minimum is refused" 6 $?
	grep -q 'TCB_MINIMUM' "$T/out" && grep -q 'expected at least .*microcode 85, received .*microcode 84' "$T/out" &&
		ok "expected and received firmware are named" || not_ok "expected and received firmware are named" "$(cat "$T/out")"
	verify $tdx >"$T/out" 2>/dev/null; is "an Intel quote without collateral is refused" 6 $?
	verify $tdx --allow no-collateral >/dev/null 2>&1; is "and accepted where that is allowed" 0 $?
	verify $tdx --collateral "$E/tdx/phala/collateral" >/dev/null 2>&1; is "a quote with collateral is accepted" 0 $?
	echo "collateral_age = 3600;" >"$T/p"
	verify $tdx --collateral "$E/tdx/phala/collateral" --policy "$T/p" >"$T/out" 2>/dev/null; is "collateral older than the policy's limit is refused" 6 $?
	echo "evaluation_minimum = 18;" >"$T/p"
	verify $tdx --collateral "$E/tdx/phala/collateral" --policy "$T/p" >"$T/out" 2>/dev/null; is "TCB info of an older evaluation is refused" 6 $?
	verify --kind dcap --evidence "$E/tdx/gotdx-cos113/quote.dat" --collateral "$E/tdx/oe/oe-v5-collateral" --time 2026-06-27 >"$T/out" 2>&1
	is "an outdated platform is refused" 6 $?
	grep -q "misses security updates" "$T/out" && ok "its patch level is told in words" || not_ok "its patch level is told in words" "$(cat "$T/out")"
	verify $genoa --policy /nonexistent >/dev/null 2>"$T/err"; is "a missing policy file is bad input" 3 $?
	printf 'vmpl_max = 0;\nmeasurment = "00";\n' >"$T/p"
	verify $genoa --policy "$T/p" >/dev/null 2>"$T/err"; is "a misspelt setting is bad input" 3 $?
	grep -q "$T/p:2: measurment: there is no such setting" "$T/err" && ok "its line is named" || not_ok "its line is named" "$(cat "$T/err")"
	echo 'allow = ["simulated"];' >"$T/p"
	verify $genoa --policy "$T/p" >/dev/null 2>&1; is "no policy file can accept simulation" 3 $?
	verify $genoa --time yesterday >/dev/null 2>&1; is "a time that is none is bad input" 3 $?
	verify --kind snp --evidence /dev/null >/dev/null 2>&1; is "empty evidence is refused" 6 $?
	verify --kind snp --evidence /nonexistent >/dev/null 2>&1; is "missing evidence is bad input" 3 $?
	verify --kind best --evidence /dev/null >/dev/null 2>&1; is "an unknown kind is wrong usage" 2 $?
}

# A folder of Intel's whole answers, as PCS gives them.
mkdir "$T/pcs"
cp "$E"/tdx/phala/collateral/*.crl.der "$E"/tdx/phala/collateral/*.chain.pem "$T/pcs"
for x in tcb_info:tcbInfo qe_identity:enclaveIdentity; do
	printf '{"%s":%s,"signature":"%s"}' "${x#*:}" "$(cat "$E/tdx/phala/collateral/${x%:*}.json")" \
		"$(cat "$E/tdx/phala/collateral/${x%:*}.sig.hex")" >"$T/pcs/${x%:*}.json"
done
# shellcheck disable=SC2086
verify $tdx --collateral "$T/pcs" >/dev/null 2>&1; is "Intel's whole answers are read as they come" 0 $?
