#!/bin/sh
# docs/examples/read_checkpoint.py reads what muster-train wrote, and its own GPT-2 in numpy finds the same loss in it: so the layout is
# GPT-2's. Exit: 0, 1, or 77 where something is missing.
set -eu
cd "$(dirname -- "$0")/../../.."
bin=$(cd "${BIN:-build/bin}" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
[ -x "$bin/muster-train" ] || { echo "skipped: muster-train is not built"; exit 77; }
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && break
    python=
done
[ -n "$python" ] || { echo "skipped: there is no numpy (deploy/install-deps bench)"; exit 77; }

work=$(mktemp -d /tmp/muster-read.XXXXXX)
trap 'rm -rf "$work"' EXIT
unset MUSTER_SOCKET RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE CUDA_VISIBLE_DEVICES OMPI_COMM_WORLD_SIZE PMIX_RANK

fail() {
    echo "not ok - $*"
    exit 1
}

# Of a text of 20 blocks the 10th and the 20th are held out: blocks of 330 bytes, all twenty the same, so any two are the held-out ones.
seq 100 182 | head -c 330 >"$work/block"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do cat "$work/block"; done >"$work/text"
cat "$work/block" "$work/block" >"$work/held"
[ "$(wc -c <"$work/text")" -eq 6600 ] || fail "the text hasn't the size that the test reckons with"

"$bin/muster-train" "$work/text" --layers 2 --channels 48 --heads 3 --context 32 --batch 8 --steps 40 --threads 1 \
    --checkpoint "$work/model" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
trained=$(sed -n 's/^held-out loss \([0-9.]*\) .*over \([0-9]*\) bytes.*/\1 \2/p' "$work/log")
"$python" docs/examples/read_checkpoint.py "$work/model" --text "$work/held" >"$work/read" 2>&1 || fail "$(cat "$work/read")"
read=$(sed -n 's/^loss \([0-9.]*\) nats.*over \([0-9]*\) bytes/\1 \2/p' "$work/read")
echo "$trained $read" | awk '{ d = $1 - $3; exit !(NF == 4 && $2 == $4 && d < 1e-3 && d > -1e-3) }' ||
    fail "muster-train's held-out loss and bytes: $trained; numpy's: $read"
grep -qE '^h\.1\.attn\.c_attn\.weight +48x144 ' "$work/read" || fail "no row of h.1.attn.c_attn.weight: $(cat "$work/read")"
echo "ok - numpy finds the held-out loss that muster-train printed: $trained, $read"

printf x | dd of="$work/model/step-00000040/model.safetensors" bs=1 seek=4000 conv=notrunc 2>/dev/null
"$python" docs/examples/read_checkpoint.py "$work/model" >"$work/read" 2>&1 && fail "a damaged file was read"
grep -q 'model.safetensors is damaged' "$work/read" || fail "$(cat "$work/read")"
echo "ok - a damaged file is named"
