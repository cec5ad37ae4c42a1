#!/bin/sh
# docs/examples/generate.c on jobs/infer/engine.h gives the texts that muster-infer gives. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
example=$bin/../examples/generate
need muster-train muster-infer "$example"

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
