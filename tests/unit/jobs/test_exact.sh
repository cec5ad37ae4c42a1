#!/bin/sh
# --reduce exact: 1, 2, 3, 4, 6 and 8 ranks give the same bits of all parameters and the same losses after 20 steps; so do 10 steps, a
# preemption, and the rest on another number of ranks; and kill -9 in the middle, resumed from the last checkpoint. Real mpirun. Exit: 0,
# 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
need muster-train mpirun

seq 1 9000 >"$work/text"

train() { # RANKS NAME OPTIONS...: 20 steps into $work/NAME, whatever of them is done already
    n=$1 name=$2
    shift 2
    mpirun --oversubscribe --bind-to none -np "$n" "$bin/muster-train" "$work/text" --layers 2 --channels 48 --heads 3 --context 33 \
        --batch 24 --steps 20 --reduce exact --shards 8 --threads 1 --metrics "$work/$name.jsonl" --checkpoint "$work/$name" \
        --checkpoint-every 0 "$@" >"$work/$name.log" 2>&1
}

sums() { # NAME: of weights and moments
    (cd "$work/$1/step-00000020" && sha256sum model.safetensors optimizer.safetensors)
}

losses() { sed -E 's/.*"step":([0-9]+),"loss":([0-9.e+-]+),.*"gradient_norm":([0-9.e+-]+).*/\1 \2 \3/' "$work/$1.jsonl"; }

same() { # NAME WHAT: as one rank did it
    sums "$1" >"$work/a"
    cmp -s "$work/a" "$work/sums" || fail "$2: other parameters than on one rank"
    losses "$1" >"$work/a"
    cmp -s "$work/a" "$work/losses" || { diff "$work/a" "$work/losses"; fail "$2: other losses than on one rank"; }
    grep -o 'held-out loss.*' "$work/$1.log" | head -1 >"$work/a"
    cmp -s "$work/a" "$work/held" || fail "$2: another held-out loss than on one rank"
    echo "ok - $2"
}

train 1 one || fail "$(cat "$work/one.log")"
sums one >"$work/sums"
losses one >"$work/losses"
grep -o 'held-out loss.*' "$work/one.log" | head -1 >"$work/held"
[ "$(wc -l <"$work/losses")" -eq 20 ] || fail "one rank wrote $(wc -l <"$work/losses") losses, not 20"

for n in 2 3 4 6 8; do
    train $n "on$n" || fail "$(cat "$work/on$n.log")"
    same "on$n" "$n ranks"
done
train 3 threads --threads 2 || fail "$(cat "$work/threads.log")"
same threads "3 ranks of 2 threads"
train 3 slices --shard-optimizer || fail "$(cat "$work/slices.log")"
same slices "3 ranks with a slice of the optimiser each"

# A model of several stretches, of which ranks have parts, all, or nothing; of more than are under way at a time.
wide() { # RANKS NAME OPTIONS...
    n=$1 name=$2
    shift 2
    mpirun --oversubscribe --bind-to none -np "$n" "$bin/muster-train" "$work/text" --layers 3 --channels 384 --heads 3 --context 33 \
        --batch 4 --steps 3 --reduce exact --shards 4 --threads 1 --checkpoint "$work/$name" --checkpoint-every 2 "$@" >"$work/log" 2>&1 ||
        fail "a wide model on $n ranks"
    (cd "$work/$name/step-00000003" && sha256sum model.safetensors optimizer.safetensors)
}
wide 1 wide >"$work/a"
wide 4 wide4 --shard-optimizer >"$work/b"
rm -r "$work/wide4/step-00000003"
wide 3 wide4 --shard-optimizer >"$work/c"
cmp -s "$work/a" "$work/b" || fail "slices of a wide model on 4 ranks: other parameters than on one"
cmp -s "$work/a" "$work/c" || fail "slices of a wide model, resumed on 3 ranks: other parameters than on one"
echo "ok - slices of a wide model, resumed on another number of ranks"

# Preempted somewhere on 4 ranks with a slice of the optimiser each, by a signal that mpirun passes on; then on 3, each with all of it.
train 4 preempted --shard-optimizer &
pid=$!
until [ -s "$work/preempted.jsonl" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the training to be preempted ended by itself: $(cat "$work/preempted.log")"
    sleep 0.02
done
pkill -USR1 -f "^mpirun .*$work/preempted " || true
wait $pid || fail "a preempted training exits with 0"
step=$(sed -n 's/.*yielding after step //p' "$work/preempted.log")
[ -n "$step" ] || fail "it was not preempted: $(cat "$work/preempted.log")"
train 3 preempted || fail "$(cat "$work/preempted.log")"
grep -q "resumed from .* step $step of 20" "$work/preempted.log" || fail "it did not resume at step $step"
same preempted "$step steps on 4 ranks, and the rest on 3"

# Killed at some moment, with a checkpoint each 3 steps, and resumed on another number of ranks.
for after in 0.3 0.6 0.9; do
    train 2 "killed$after" --checkpoint-every 3 &
    pid=$!
    sleep "$after"
    pkill -9 -f "^[^ ]*(muster-train|mpirun) .*$work/killed$after " 2>/dev/null || true
    wait $pid 2>/dev/null || true
    train 6 "killed$after" --checkpoint-every 3 || fail "$(cat "$work/killed$after.log")"
    same "killed$after" "kill -9 after $after s on 2 ranks, the rest on 6"
done

# In bf16 too, whose bits are others.
train 1 bf16 --precision bf16 || fail "$(cat "$work/bf16.log")"
train 3 bf16on3 --precision bf16 || fail "$(cat "$work/bf16on3.log")"
sums bf16 >"$work/a"
cmp -s "$work/a" "$work/sums" && fail "bf16 gives the bits of fp32"
sums bf16on3 >"$work/b"
cmp -s "$work/a" "$work/b" || fail "bf16 on 3 ranks: other parameters than on one"
echo "ok - bf16 on 3 ranks"

# What can't be exact is refused.
train 9 many && fail "9 ranks share 8 shards"
grep -q '9 ranks are more than the 8 shards' "$work/many.log" || fail "9 ranks: $(cat "$work/many.log")"
sed -i 's/"arithmetic": "[^"]*"/"arithmetic": "Abacus, 1 thread"/' "$work/one/step-00000020/manifest.json"
train 1 one --steps 21 && fail "it resumed what another machine computed"
grep -q 'was computed with Abacus, 1 thread' "$work/one.log" || fail "another machine: $(cat "$work/one.log")"
train 1 one --steps 21 --allow-inexact || fail "--allow-inexact: $(cat "$work/one.log")"
echo "ok - ranks beyond the shards and another machine's bits are refused"
