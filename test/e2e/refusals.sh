# SPDX-License-Identifier: Apache-2.0
# Bad input and bad peers: the right exit code, one clear line, nothing crashes, nothing hangs.
. test/e2e/lib.sh
M=$ROOT/test/models
SAMPLE=$(ls "$M"/*.onnx | head -1)
NAME=$(basename "$SAMPLE" .onnx)
PNG=$(ls "$ROOT"/test/images/*.png | head -1)

# refuse NAME CODE PATTERN COMMAND…: exit code, a line that matches, and at most two lines
refuse() {
	name=$1 code=$2 pattern=$3
	shift 3
	"$@" >"$T/out" 2>"$T/err" </dev/null
	got=$?
	if [ $got = "$code" ] && grep -qiE -- "$pattern" "$T/err" && [ "$(wc -l <"$T/err")" -le 2 ]; then ok "$name"; else not_ok "$name" "exit $got, wanted $code and /$pattern/:
$(cat "$T/err")"; fi
}

# models
head -c 3000 "$SAMPLE" >"$T/short.onnx"
refuse "truncated ONNX" 3 "short" timeout 20 "$OBSCURA" model check "$T/short.onnx"
: >"$T/empty.onnx"
refuse "empty ONNX" 3 "empty" timeout 20 "$OBSCURA" plan "$T/empty.onnx"
refuse "no such model" 3 "nowhere" timeout 20 "$OBSCURA" plan "$T/nowhere.onnx"
nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups timeout 20 "$@"; }
if [ "$(id -u)" = 0 ] && nobody test -x "$OBSCURA" 2>/dev/null; then
	cp "$SAMPLE" "$T/mine.onnx"
	chmod 600 "$T/mine.onnx"
	chmod 711 "$T"
	refuse "a model that may not be read" 7 "mine.onnx: Permission denied" nobody "$OBSCURA" plan "$T/mine.onnx"
	refuse "  nor pictures" 7 "mine.onnx: .*Permission denied" nobody "$OBSCURA" verify "$M/digits_mlp.onnx" --images "$T/mine.onnx"
else
	echo "skip - a model that may not be read (needs root, and a tree that others may read)"
fi
refuse "a folder is no model" 3 "Is a directory" timeout 20 "$OBSCURA" plan "$T"
refuse "no such file of links" 3 "cannot read .*nolinks: No such file" timeout 20 "$OBSCURA" plan "$SAMPLE" --link wan --link-file "$T/nolinks"
refuse "simulation of a program that is not there" 3 "nowhere" timeout 20 "$OBSCURA" attest simulation --dir "$T/nosim" --program "$T/nowhere"
is "  and nothing was made for it" "" "$(ls "$T/nosim" 2>/dev/null)"
for bad in unsupported nan overflow; do
	if [ -f "$M/bad/$bad.onnx" ]; then
		refuse "model: $bad" 3 "$bad|Erf|finite|NaN|bits" timeout 20 "$OBSCURA" plan "$M/bad/$bad.onnx"
	else
		not_ok "model: $bad" "test/models/bad/$bad.onnx is missing"
	fi
done

cp "$ROOT/test/models/digits_mlp.onnx" "$T/strict.onnx"
echo '{"scale":255,"mean":[0.1307],"std":[0.3081],"resize":"none"}' >"$T/strict.json"
start_three "$SAMPLE,$T/strict.onnx" || { not_ok "roles start"; exit 1; }
# images
head -c 60 "$PNG" >"$T/corrupt.png"
refuse "corrupt PNG" 3 "corrupt.png" classify --model "$NAME" "$T/corrupt.png"
printf '\000\000\010\003\000\000\001\000\000\000\000\034\000\000\000\034abc' >"$T/lying-idx3-ubyte"
refuse "IDX with a lying header" 3 "lying" classify --model "$NAME" "$T/lying-idx3-ubyte"
printf '\223NUMPY\001\000v\000{'"'descr': '<f4', 'fortran_order': False, 'shape': (1, 28, 28), }                                                      \n" >"$T/float.npy"
refuse "NPY of floats" 3 "float.npy" classify --model "$NAME" "$T/float.npy"
printf 'P5 3 3 255\n123456789' >"$T/small.pgm"
refuse "a picture of another size, of a model that resizes none" 3 "3.3|28.28|size" classify --model strict "$T/small.pgm"
refuse "unknown model" 4 "nosuch" classify --model nosuch "$PNG"

# peers: a certificate of another authority, an expired one, the wrong role, nobody there
make_pki "$T/other" localhost 127.0.0.1
alone() { timeout 20 "$OBSCURA" classify --standalone --model "$NAME" --connect-ms=3000 --deadline-ms=5000 --provider="$PROVIDER" "$@" "$PNG"; }
# shellcheck disable=SC2046
refuse "our certificate is of another authority" 4 "model-owner|provider" alone --model-owner="$MODEL_OWNER" --ca="$T/pki/ca.pem" --certificate="$T/other/data-owner.pem" --key="$T/other/data-owner.key"
refuse "the peer's certificate is of an unknown authority" 4 "model-owner|provider" alone --model-owner="$MODEL_OWNER" --ca="$T/other/ca.pem" --certificate="$T/other/data-owner.pem" --key="$T/other/data-owner.key"
# shellcheck disable=SC2046
refuse "a peer of the wrong role" 4 "role" alone --model-owner="$PROVIDER" $(creds "$T/pki" data-owner)
# shellcheck disable=SC2046
refuse "nobody listens" 5 "127.0.0.1:1" alone --model-owner=127.0.0.1:1 $(creds "$T/pki" data-owner)
openssl ecparam -name prime256v1 -genkey -noout -out "$T/old.key" 2>/dev/null
openssl req -new -key "$T/old.key" -subj "/OU=model-owner/CN=localhost" -out "$T/old.csr" 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >"$T/old.ext"
openssl x509 -req -in "$T/old.csr" -CA "$T/pki/ca.pem" -CAkey "$T/pki/ca.key" -CAcreateserial -days -1 -extfile "$T/old.ext" -out "$T/old.pem" 2>/dev/null
refuse "own certificate has expired" 3 "expired" timeout 5 "$OBSCURAD" model-owner --listen=127.0.0.1:0 --provider="$PROVIDER" --models="$SAMPLE" --ca="$T/pki/ca.pem" --certificate="$T/old.pem" --key="$T/old.key"
port=$((20000 + $$ % 20000))
start expired openssl s_server -accept 127.0.0.1:$port -cert "$T/old.pem" -key "$T/old.key" -CAfile "$T/pki/ca.pem" -Verify 1 -tls1_3 -quiet
for _ in $(seq 100); do grep -q ":$(printf %04X $port) 00000000:0000 0A" /proc/net/tcp && break; sleep 0.05; done
# shellcheck disable=SC2046
refuse "a peer whose certificate has expired" 4 "expired" alone --model-owner=127.0.0.1:$port $(creds "$T/pki" data-owner)
# shellcheck disable=SC2046
"$OBSCURA" classify --socket="$T/data-owner.sock" --model "$NAME" --json "$PNG" >"$T/out" 2>"$T/err"
is "after all that the service still answers" 0 $?
