# SPDX-License-Identifier: Apache-2.0
# Metrics, health and readiness of the three roles on their admin sockets, as promtool and a probe see them.
. test/e2e/lib.sh
command -v curl >/dev/null && command -v jq >/dev/null || { echo "skip - metrics (no curl or jq)"; exit 0; }
make_pki "$T/pki" localhost 127.0.0.1
ask() { r=$1 u=$2; curl -sS --max-time 20 --unix-socket "$T/$r.admin" "http://localhost$u" 2>&1; }
status() { curl -s -o /dev/null -w '%{http_code}' --max-time 20 --unix-socket "$T/$1.admin" "http://localhost$2"; }
value() { ask "$1" /metrics | sed -n "s/^obscura_$2 //p"; } # value ROLE 'NAME{LABELS}'
await() { for _ in $(seq 100); do [ "$(status "$1" "$2")" = "$3" ] && return; sleep 0.1; done; }
# shellcheck disable=SC2046
{
	start provider "$OBSCURAD" provider --listen=127.0.0.1:0 --admin-socket="$T/provider.admin" $(creds "$T/pki" provider)
	PROVIDER=127.0.0.1:$(port provider)
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --admin-socket="$T/data-owner.admin" --provider="$PROVIDER" --model-owner=127.0.0.1:1 $(creds "$T/pki" data-owner)
	await data-owner /health/live 200
}
is "provider: live and ready" "200 200" "$(status provider /health/live) $(status provider /health/ready)"
is "data owner: live, not ready without a model owner" "200 503" "$(status data-owner /health/live) $(status data-owner /health/ready)"
is "and the reason" 'no connection to the model-owner 127.0.0.1:1' "$(ask data-owner /health/ready | jq -r .error | cut -c1-44)"
kill "$(cat "$T/data-owner.pid")"; wait "$(cat "$T/data-owner.pid")"
# shellcheck disable=SC2046
{
	start model-owner "$OBSCURAD" model-owner --listen=127.0.0.1:0 --admin-socket="$T/model-owner.admin" --provider="$PROVIDER" --models="$SAMPLES" $(creds "$T/pki" model-owner)
	MODEL_OWNER=127.0.0.1:$(port model-owner)
	start data-owner "$OBSCURAD" data-owner --socket="$T/data-owner.sock" --admin-socket="$T/data-owner.admin" --provider="$PROVIDER" --model-owner="$MODEL_OWNER" --deadline-ms=5000 $(creds "$T/pki" data-owner)
}
await model-owner /health/ready 200
is "model owner: ready when its provider is there" 200 "$(status model-owner /health/ready)"
await data-owner /health/ready 200
is "data owner: ready when peers and a ticket are there" '{"ready":true}' "$(ask data-owner /health/ready)"

STACK=$(pictures_of digits)
classify --model digits_mlp --limit 5 --max-batch 1 --json "$STACK" >"$T/out" || not_ok "five pictures"
classify --model digits_mlp --limit 3 --max-batch 3 --json "$STACK" >>"$T/out" || not_ok "three pictures"
classify --model nobody --limit 1 "$STACK" >/dev/null 2>&1
sum() { jq -s "[.[]$1]|add" "$T/out"; }
is "requests (one for a model that is not there), images, inferences" "7 8 6" "$(value data-owner requests_total) $(value data-owner images_total) $(value data-owner inferences_total)"
is "round trips" 18 "$(value data-owner round_trips_total)"
is "payload online, sent" "$(sum .bytes.online.sent)" "$(value data-owner 'payload_bytes_total{phase="online",direction="sent"}')"
is "payload online, received" "$(sum .bytes.online.received)" "$(value data-owner 'payload_bytes_total{phase="online",direction="received"}')"
is "payload offline, of the provider" "$(sum .bytes.offline.provider)" "$(value data-owner 'payload_bytes_total{phase="offline",direction="provider"}')"
is "online seconds are counted" 6 "$(value data-owner 'online_seconds_count{model="digits_mlp"}')"
is "the model owner counts the same inferences and tickets" "6 8" "$(value model-owner inferences_total) $(value model-owner tickets_burnt_total)"
is "the data owner burnt as many tickets" 8 "$(value data-owner tickets_burnt_total)"
HAD=$(value data-owner tickets_made_total)
is "tickets made: the provider made what the data owner has and had" yes "$([ "$HAD" -ge 8 ] && [ "$(value provider tickets_made_total)" -ge "$HAD" ] && echo yes)"
is "TLS moved more than the payload" yes "$([ "$(value data-owner 'bytes_total{phase="online",direction="sent"}')" -gt "$(sum .bytes.online.sent)" ] && echo yes)"
is "peers" "1 1 1 1 1 1" "$(value data-owner 'peers_up{role="provider"}') $(value data-owner 'peers_up{role="model-owner"}') $(value model-owner 'peers_up{role="provider"}') $(value model-owner 'peers_up{role="data-owner"}') $(value provider 'peers_up{role="data-owner"}') $(value provider 'peers_up{role="model-owner"}')"
is "certificate: more than a year" yes "$([ "$(value provider certificate_expiry_seconds)" -gt 31536000 ] && echo yes)"
for role in provider model-owner data-owner; do
	is "$role: build and role" 1 "$(ask $role /metrics | grep -c "^obscura_build_info{version=\"[0-9.]*\",role=\"$role\",kernels=\"[a-z0-9]*\"} 1$")"
	if have promtool prometheus; then
		ask $role /metrics >"$T/metrics"
		is "$role: promtool finds nothing" "0 " "$(promtool check metrics <"$T/metrics" >"$T/lint" 2>&1; echo "$? $(cat "$T/lint")")"
	else
		echo "skip - $role: promtool (Debian's prometheus cannot be installed)"
	fi
	is "$role: its socket is only for its user" 600 "$(stat -c %a "$T/$role.admin")"
done
is "each row of metrics.def that a role has is shown" "" "$(sed -n 's/^METRIC([A-Z]*, \([a-z_]*\), "\([DMC]*\)".*/\1 \2/p' daemon/metrics.def | while read -r name roles; do
	for role in $(echo "$roles" | sed 's/D/data-owner /; s/M/model-owner /; s/C/provider /'); do
		case $name in failures_total | http_requests_total) continue ;; esac # appear with the first
		ask "$role" /metrics | grep -q "^# TYPE obscura_$name " || echo "$role $name"
	done
done)"

kill_role provider
await data-owner /health/ready 503
is "not ready without the provider" "503 503" "$(status data-owner /health/ready) $(status model-owner /health/ready)"
is "ready is a metric too" 0 "$(value data-owner ready)"
classify --model digits_mlp --limit 1 "$STACK" >/dev/null 2>&1
is "failures by reason" 1 "$(value data-owner 'failures_total{reason="REACH"}')"
is "peers down" "0 1" "$(value data-owner 'peers_up{role="provider"}') $(value data-owner 'peers_up{role="model-owner"}')"
is "no such address" 404 "$(status data-owner /else)"
