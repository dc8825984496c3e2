# SPDX-License-Identifier: Apache-2.0
"""tutorial.py FILE.md: runs its ```sh blocks in one shell, in order, and compares what they print with the ```output block that
follows. "…" stands for anything within a line; a line of only "…" for any lines. Prints ok / not ok for each block."""
import re, subprocess, sys

MARK = "-- end of a block --"


def blocks(text):
    """(line, kind, body) of each fenced block."""
    for m in re.finditer(r"^```(sh|output)\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2)


def pattern(expected):
    out = []
    for line in expected.splitlines():
        if line == "…":
            out.append(r"(?:.*\n)*")
        else:
            out.append(".*".join(re.escape(part) for part in line.rstrip().split("…")) + r" *\n")
    return "".join(out)


class Shell:
    def __init__(self):
        self.p = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, body):
        self.p.stdin.write(f"{body}\n__code=$?; echo; echo '{MARK}' $__code\n")
        self.p.stdin.flush()
        lines = []
        for line in self.p.stdout:
            if line.startswith(MARK):
                return "".join(lines)[:-1], int(line[len(MARK):])
            lines.append(line)
        return "".join(lines), None  # the shell has ended


shell, failed = Shell(), False
found = list(blocks(open(sys.argv[1], encoding="utf-8").read()))
for i, (line, kind, body) in enumerate(found):
    if kind == "output":
        continue
    printed, code = shell.run(body)
    follows = found[i + 1] if i + 1 < len(found) and found[i + 1][1] == "output" else None
    good = code == 0 and (follows is None or re.fullmatch(pattern(follows[2]), printed))
    print("ok" if good else "not ok", f"- {sys.argv[1]}:{line}: {body.splitlines()[0]}")
    if not good:
        failed = True
        print(f"  # exit {code}; it printed:")
        for text in printed.splitlines():
            print("  #", text)
        break  # the rest depends on it
shell.p.stdin.close()
shell.p.wait(timeout=30)
sys.exit(failed)
