#!/usr/bin/env bash
# Counts the instructions of the hot paths with callgrind, as a table like benches/BASELINE.md's.
# Unlike times they are the same on a busy machine, so that a regression of a few percent shows.
#
#   benches/instructions.sh            about two minutes
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "benches/instructions.sh needs: valgrind" >&2; exit 1; }

bench=$(cargo build --profile dist --locked --bench instructions --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*instructions-[^"]*\)".*/\1/p' | tail -1)
[ -x "$bench" ] || { echo "the benchmark was not built" >&2; exit 1; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# count NAME TURNS: instructions from start to end.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" >"$out" 2>&1 || { cat "$out" >&2; exit 1; }
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$out"
}

# What eleven turns take more than one, so that preparing does not count.
echo "| of | instructions |"
echo "|---|---|"
while read -r name text; do
    one=$(count "$name" 1)
    many=$(count "$name" 11)
    echo "| $name: $text | $(((many - one) / 10)) |"
done <<'END'
decode a recorded XML-RPC reply with one VM's record to JSON
apply 1,000 events that each change one of 1,000 VMs
represent all fields of 1,000 VMs
fields three fields of 1,000 VMs
filter 1,000 VMs by a glob and a number
END
