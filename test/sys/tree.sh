# SPDX-License-Identifier: Apache-2.0
# The tree itself: a folder includes only itself and those to its left (docs/ARCHITECTURE.md), lines are as .clang-format has them, every
# file says its licence, and nothing else stands at the top.
. test/e2e/lib.sh
sources() { git ls-files '*.c' '*.h'; }
if ! git rev-parse -q HEAD >/dev/null 2>&1; then echo "skip - the tree (no git repository)"; exit 0; fi

left=
for folder in conf crypto nn protocol provider daemon client; do
	left="$left${left:+|}$folder"
	is "$folder includes only what stands below it" "" "$(git grep -nE '^#include "[a-z_]+/' -- "$folder/*.[ch]" | grep -vE "\"($left)/")"
done
is "every source says its licence" "" "$(for f in $(sources); do head -1 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f"; done)"
is "the top has the folders that README names, and no more" "" \
	"$(git ls-files | cut -d/ -f1 | sort -u | grep -vxE '\..*|LICENSE|Makefile|README.md|(conf|crypto|nn|protocol|provider|daemon|client|test|docs)')"
if have clang-format clang-format && clang-format --version | grep -q 'version 14\.'; then
	is "lines are as clang-format 14 breaks them" "" "$(clang-format -n $(sources) 2>&1 | grep -E '^[^ ]*:[0-9]+:' | cut -d: -f1,2 | head -20)"
else
	echo "skip - lines are as clang-format 14 breaks them (no clang-format 14)"
fi
