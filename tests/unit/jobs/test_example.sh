#!/bin/sh
# docs/examples/generate.c on jobs/infer/engine.h gives the texts that muster-infer gives. Exit: 0, 1, or 77 where something is missing.
set -eu
bin=$(cd "${BIN:-build/bin}" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
example=$bin/../examples/generate
for program in "$bin/muster-train" "$bin/muster-infer" "$example"; do
    [ -x "$program" ] || { echo "skipped: there is no $program"; exit 77; }
done

work=$(mktemp -d /tmp/muster-example.XXXXXX)
trap 'rm -rf "$work"' EXIT
unset MUSTER_SOCKET RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE CUDA_VISIBLE_DEVICES OMPI_COMM_WORLD_SIZE PMIX_RANK

fail() {
    echo "not ok - $*"
    exit 1
}

yes 'so it goes and it goes on' | head -400 >"$work/text"
"$bin/muster-train" "$work/text" --layers 1 --channels 32 --context 32 --steps 80 --threads 1 --checkpoint "$work/model" >"$work/log" ||
    fail "the training"
# The example's settings; its first text has seed 2.
"$bin/muster-infer" --checkpoint "$work/model" --prompt "so it" --prompt "and" --tokens 80 --seed 2 >"$work/log" || fail "muster-infer"
"$example" "$work/model" "so it" "and" >"$work/got" || fail "the example"
grep -E '[a-z]' "$work/log" | grep -vE '^---|^model of|^generated' >"$work/want"
grep -E '[a-z]' "$work/got" | cmp - "$work/want" || fail "the example gives other texts"
[ "$(wc -c <"$work/want")" -gt 100 ] || fail "there is next to no text"
echo "ok - docs/examples/generate.c gives the texts of muster-infer"
if "$example" "$work/none" x 2>"$work/log" || ! grep -q "train first" "$work/log"; then
    fail "a missing model isn't told"
fi
echo "ok - a missing model is told"
