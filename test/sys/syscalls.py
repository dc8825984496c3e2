# SPDX-License-Identifier: Apache-2.0
"""syscalls.py UNIT TRACE…: the system calls in traces (strace -f -o) that the unit's SystemCallFilter= does not allow."""
import re, subprocess, sys


def group(name, seen=None):
    """All calls of a group such as @system-service, nested groups included."""
    seen = set() if seen is None else seen
    calls = set()
    for word in subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout.split("\n")[1:]:
        word = word.strip()
        if word.startswith("@") and word not in seen:
            seen.add(word)
            calls |= group(word, seen)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def expand(words):
    return set().union(*(group(w) if w.startswith("@") else {w} for w in words))


allowed = None
for line in open(sys.argv[1]):
    name, _, value = line.strip().partition("=")
    if name != "SystemCallFilter":
        continue
    words = expand(value.lstrip("~").split())
    if value.startswith("~"):
        allowed -= words
    else:
        allowed = words if allowed is None else allowed | words
made = set()
for path in sys.argv[2:]:
    made |= set(re.findall(r"^(?:\d+ +)?(\w+)\(", open(path, errors="replace").read(), re.M))
made.discard("fchown")  # SQLite, only as root
print(len(made), *sorted(made - allowed))
