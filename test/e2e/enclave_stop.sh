# SPDX-License-Identifier: Apache-2.0
# The model owner stops while strangers and clients are busy with its enclave: the enclave ends, too, and by no signal.
. test/e2e/lib.sh
. test/enclave_lib.sh
make_simulation
# Forty clients, each connecting, greeting and leaving until nobody listens any more.
cat >"$T/busy.py" <<'END'
import socket, ssl, sys, threading, time

address, cert, key = sys.argv[1:]
host, port = address.rsplit(':', 1)
client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client.check_hostname = False
client.verify_mode = ssl.CERT_NONE
client.load_cert_chain(cert, key)
end = time.monotonic() + 30

def busy():
    while time.monotonic() < end:
        try:
            with client.wrap_socket(socket.create_connection((host, int(port)), 5)) as s:
                s.send(b'\x21\0\0\0\1D' + bytes(32))
                if s.recv(100):
                    print('evidence', flush=True)
        except ConnectionRefusedError:
            return
        except OSError:
            pass

for t in [threading.Thread(target=busy) for _ in range(40)]:
    t.start()
END
ROUNDS=20 busy=0
for _ in $(seq $ROUNDS); do
	start_enclave
	: >"$T/evidence"
	python3 "$T/busy.py" "$ENCLAVE" "$T/pki/data-owner.pem" "$T/pki/data-owner.key" >"$T/evidence" 2>/dev/null &
	clients=$!
	grown "$T/evidence" 180
	kill "$FRONT"
	wait "$FRONT"
	[ $? = 0 ] && [ -s "$T/evidence" ] && busy=$((busy + 1))
	wait $clients
	grep signal "$T/model-owner.log" >>"$T/signals"
done
is "a model owner stops while its enclave is busy" $ROUNDS $busy
is "and the enclave ends by itself" "" "$(sort "$T/signals" | uniq -c)"
