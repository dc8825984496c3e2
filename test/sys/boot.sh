# SPDX-License-Identifier: Apache-2.0
# A Debian 12 with the packages is booted (systemd-nspawn), and the three units do what they are for: start by socket, restart and reload
# without a failed request, refuse a bad file, come back when they hang or are killed, each as a user of its own.
. test/e2e/lib.sh
. test/sys/debian.inc
trap 'stop_all; [ -z "${LEADER:-}" ] || kill -9 "$LEADER" 2>/dev/null; rm -rf "$T"; exit $FAILED' EXIT
if ! command -v systemd-nspawn >/dev/null; then echo "skip - booted units (systemd-nspawn is missing)"; exit 0; fi
make --no-print-directory -s V=rel deb >"$T/log" 2>&1
debian_with_packages "$T/root" || { echo "skip - booted units ($WHY)"; exit 0; }
R=$T/root
chroot "$R" sh -c 'dpkg -i /tmp/*.deb' >"$T/log" 2>&1
is "the packages install where systemd is" 0 $? || cat "$T/log"
tr -d - </proc/sys/kernel/random/uuid >"$R/etc/machine-id" # not a first boot, which would enable all
ln -sf /dev/null "$R/etc/systemd/system/systemd-networkd-wait-online.service"
cp "$ROOT/test/models/digits_mlp.onnx" "$ROOT/test/models/digits_conv.onnx" "$ROOT/test/images/seven-0.png" "$ROOT/test/images/two-0.png" "$R/srv"

start nspawn systemd-nspawn -q --register=no --keep-unit --private-network --boot --console=pipe -D "$R"
for _ in $(seq 100); do LEADER=$(pgrep -P "$(cat "$T/nspawn.pid")" | head -1); [ -n "$LEADER" ] && break; sleep 0.1; done
in_host() { nsenter -t "$LEADER" -a env LC_ALL=C.UTF-8 "$@" </dev/null; }
for _ in $(seq 300); do state=$(in_host systemctl is-system-running 2>/dev/null); case $state in running | degraded) break ;; esac; sleep 0.2; done
case $state in running | degraded) ;; *) echo "skip - booted units (it does not boot here: $state $(tail -1 "$T/nspawn.log"))"; exit 0 ;; esac
in_host sh -c 'obscura pki init /etc/obscura/pki && for r in provider model-owner data-owner; do obscura pki issue --dir /etc/obscura/pki $r localhost; done' >"$T/log" 2>&1
is "certificates by root" 0 $? || cat "$T/log"
echo 'models = ["/srv/digits_mlp.onnx"];' >>"$R/etc/obscura/model-owner.conf"
conf() { sed -i "s|^models = .*|models = $1;|" "$R/etc/obscura/model-owner.conf"; }
labels() { in_host obscura classify --model "$1" --json /srv/seven-0.png /srv/two-0.png 2>>"$T/bad" | jq -r .label | paste -sd' '; }

in_host systemctl start obscura-provider.socket obscura-model-owner.socket obscura-data-owner.socket
is "sockets only: nothing runs" "inactive inactive inactive" "$(in_host systemctl is-active obscura-provider obscura-model-owner obscura-data-owner | paste -sd' ')"
is "the first request starts all three" "7 2" "$(labels digits_mlp)" || cat "$T/bad"
is "  and they are up" "active active active" "$(in_host systemctl is-active obscura-provider obscura-model-owner obscura-data-owner | paste -sd' ')"
sleep 2.5
is "  and say how they are" 1 "$(in_host systemctl show -P StatusText obscura-data-owner | grep -c 'model owner connected, provider connected; 1 sessions')"
for role in provider model-owner data-owner; do
	pid=$(in_host systemctl show -P MainPID obscura-$role)
	is "  the $role is its own user, without capabilities, under seccomp" "$(in_host id -u obscura-$role) 0000000000000000 2" "$(in_host cat "/proc/$pid/status" | awk '/^Uid/ {u=$2} /^CapBnd/ {c=$2} /^Seccomp:/ {s=$2} END {print u, c, s}')"
done

: >"$T/good"
: >"$T/bad"
( while [ ! -e "$T/stop" ]; do labels digits_mlp; done >"$T/good" ) &
PIDS="$PIDS $!"
LOAD=$!
for role in provider model-owner data-owner model-owner provider; do
	in_host systemctl restart obscura-$role
	is "systemctl restart obscura-$role under load" 0 $?
	n=$(wc -l <"$T/good")
	for _ in $(seq 200); do [ "$(wc -l <"$T/good")" -gt $((n + 3)) ] && break; sleep 0.05; done
done
conf '["/srv/digits_mlp.onnx", "/srv/digits_conv.onnx"]'
in_host systemctl reload obscura-model-owner
is "systemctl reload with another model" "0 7 2" "$? $(sleep 0.5; labels digits_conv)"
conf '["/srv/none.onnx"]'
in_host systemctl reload obscura-model-owner 2>/dev/null
is "  a bad file fails the reload" 1 $?
is "  and the journal says why" 1 "$(in_host journalctl -u obscura-model-owner --no-pager -o cat -n 20 | grep -c 'model-owner.conf:[0-9]*: models: cannot open /srv/none.onnx')"
is "  and the service goes on" "7 2" "$(labels digits_conv)"
conf '["/srv/digits_mlp.onnx", "/srv/digits_conv.onnx"]'
in_host obscura pki issue --dir /etc/obscura/pki --force data-owner localhost >/dev/null
in_host systemctl reload obscura-data-owner
is "  a new certificate" 0 $?
sleep 1
: >"$T/stop"
wait "$LOAD"
is "no request failed meanwhile: $(wc -l <"$T/good") were answered" "7 2 " "$(sort -u "$T/good" | tr '\n' ' ')" || cat "$T/bad"

if command -v curl >/dev/null; then
	is "a picture over HTTP, read by a confined child" 7 "$(curl -s --max-time 30 --unix-socket "/proc/$LEADER/root/run/obscura/http.sock" http://x/v2/models/digits_mlp/infer -H 'Content-Type: image/png' --data-binary @"$R/srv/seven-0.png" | jq '.outputs[1].data[0]')"
fi
in_host systemctl kill -s KILL obscura-provider
for _ in $(seq 50); do [ "$(in_host systemctl show -P NRestarts obscura-provider)" -ge 1 ] && [ "$(in_host systemctl is-active obscura-provider)" = active ] && break; sleep 0.1; done
is "a killed role comes back" "active 7 2" "$(in_host systemctl is-active obscura-provider) $(labels digits_mlp)"
mkdir -p "$R/etc/systemd/system/obscura-provider.service.d"
printf '[Service]\nWatchdogSec=1s\n' >"$R/etc/systemd/system/obscura-provider.service.d/watchdog.conf"
in_host systemctl daemon-reload
in_host systemctl restart obscura-provider
in_host systemctl kill -s STOP obscura-provider
for _ in $(seq 100); do [ "$(in_host systemctl show -P NRestarts obscura-provider)" -ge 1 ] && [ "$(in_host systemctl is-active obscura-provider)" = active ] && break; sleep 0.1; done
is "one that hangs is started again by the watchdog" "active 7 2" "$(in_host systemctl is-active obscura-provider) $(labels digits_mlp)"
cp "$R/etc/obscura/provider.conf" "$R/etc/obscura/provider-two.conf"
echo 'listen = "localhost:7503";' >>"$R/etc/obscura/provider-two.conf"
in_host systemctl start obscura-provider@two
is "an instance beside it" "0 active" "$? $(in_host systemctl is-active obscura-provider@two)" || in_host journalctl -u obscura-provider@two --no-pager -o cat -n 5
in_host systemctl stop obscura-data-owner.socket obscura-data-owner obscura-model-owner.socket obscura-model-owner obscura-provider.socket obscura-provider obscura-provider@two
is "all end in order" "success success success success" "$(in_host systemctl show -P Result obscura-data-owner obscura-model-owner obscura-provider obscura-provider@two | grep . | paste -sd' ')"
