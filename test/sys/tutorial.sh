# SPDX-License-Identifier: Apache-2.0
# docs/TUTORIAL.md, word for word; in a network namespace of its own where that is possible, so that its ports are free.
. test/e2e/lib.sh
rm -rf build/tutorial
trap 'for f in build/tutorial/*.pid; do [ -f "$f" ] && kill "$(cat "$f")" 2>/dev/null; done; stop_all; rm -rf "$T" build/tutorial; exit $FAILED' EXIT
if unshare -n true 2>/dev/null; then
	unshare -n sh -c 'ip link set lo up && exec timeout 300 python3 test/sys/tutorial.py docs/TUTORIAL.md' || FAILED=1
else
	timeout 300 python3 test/sys/tutorial.py docs/TUTORIAL.md || FAILED=1
fi
