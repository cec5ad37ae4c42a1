#!/bin/sh
# Runs every scenario with the simulator; fails if one does, or if a failing one would pass.
set -u
cd "$(dirname -- "$0")/../.." || exit 1
sim=${BIN:-build/bin}/muster-sim
"$sim" scenario tests/scenarios/*.txt || exit 1

# The expectations must be able to fail.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf 'node node0 gpus=1\nsubmit a gpus=1\nexpect a RUNNING\n' >"$work/wrong_state.txt"
printf 'node node0 gpus=1\nsubmit a gpus=1\nexpect a STARTING on node0:1\n' >"$work/wrong_gpu.txt"
printf 'node node0 gpus=1\nrefused "never" submit a gpus=1\n' >"$work/not_refused.txt"
printf 'nod node0 gpus=1\n' >"$work/no_such_verb.txt"
for file in "$work"/*.txt; do
    if "$sim" scenario "$file" >"$work/output"; then
        echo "$(basename "$file") passed, and must not"
        exit 1
    fi
done
