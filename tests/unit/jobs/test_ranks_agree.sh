#!/bin/sh
# The same training on 1, 2, 3 and 4 ranks gives the same losses to rounding, also when it is preempted on 4 ranks and resumed on 2; the
# same requests on 1, 2 and 3 ranks give the same texts to the byte. Real mpirun. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
need muster-train muster-infer mpirun

seq 1 9000 >"$work/text"

ranks() { # N COMMAND...: on N ranks, however few the cores
    n=$1
    shift
    mpirun --oversubscribe --bind-to none -np "$n" "$@" >"$work/log" 2>&1 || { cat "$work/log"; fail "$* on $n ranks"; }
}

train() { # RANKS NAME OPTIONS...
    n=$1 name=$2
    shift 2
    ranks "$n" "$bin/muster-train" "$work/text" --layers 2 --channels 64 --context 32 --batch 12 --steps 60 --threads 1 \
        --metrics "$work/$name.jsonl" "$@"
}

losses() { sed -E 's/.*"step":([0-9]+),"loss":([0-9.]+),.*/\1 \2/' "$work/$1.jsonl"; }

agree() { # A B: step by step, to 1 in 10,000: the sums are taken in another order
    losses "$1" >"$work/a"
    losses "$2" >"$work/b"
    [ "$(wc -l <"$work/a")" -eq 60 ] || fail "$1 has $(wc -l <"$work/a") steps, not 60"
    paste -d ' ' "$work/a" "$work/b" | awk -v a="$1" -v b="$2" '
        { d = $2 - $4; if (d < 0) d = -d; if (d > worst) worst = d }
        $1 != $3 || d > 1e-4 * $2 { print "not ok - step " NR ": " a " has " $1 " " $2 ", " b " has " $3 " " $4; bad = 1; exit 1 }
        END { if (!bad) printf "ok - %s and %s agree over %d steps, the losses to %.1g\n", a, b, NR, worst }' || exit 1
}

for n in 1 2 3 4; do
    train "$n" "ranks$n" --checkpoint "$work/model$n"
    [ "$n" = 1 ] || agree ranks1 "ranks$n"
done

# Each with a slice of the optimiser and of the gradient: two ranks' sums are the same bits in any order.
for n in 2 3 4; do
    train "$n" "slices$n" --shard-optimizer --checkpoint "$work/slices$n"
    agree ranks1 "slices$n"
done
cat "$work"/model2/*/*.safetensors >"$work/a"
cat "$work"/slices2/*/*.safetensors >"$work/b"
cmp "$work/a" "$work/b" || fail "two ranks with a slice of the optimiser each have other parameters than with all of it"
echo "ok - slices of the optimiser change no bit of two ranks"

# Preempted by a signal that mpirun passes on, resumed on another number of ranks.
mpirun --oversubscribe --bind-to none -np 4 "$bin/muster-train" "$work/text" --layers 2 --channels 64 --context 32 --batch 12 --steps 60 \
    --threads 1 --metrics "$work/preempted.jsonl" --checkpoint "$work/preempted" --checkpoint-every 0 >"$work/log" 2>&1 &
pid=$!
until [ -s "$work/preempted.jsonl" ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$work/log"; fail "the training to be preempted ended by itself"; }
    sleep 0.02
done
kill -USR1 "$pid"
wait "$pid" || { cat "$work/log"; fail "a preempted training exits with 0"; }
if grep -q 'yielding after step' "$work/log"; then
    train 2 preempted --checkpoint "$work/preempted"
    grep -q 'resumed from' "$work/log" || fail "it did not resume"
fi
agree ranks1 preempted

# Requests of lengths and settings of their own: on any number of ranks, in any batch, and resumed on another number after a crash.
for i in 1 2 3 4 5 6 7 8 9 10 11; do
    echo "{\"id\": \"r$i\", \"prompt\": \"${i}77\", \"tokens\": $((i * 13 % 70 + 5)), \"temperature\": 0.$i, \"stop\": [\"9$i\"]}"
done >"$work/prompts"
infer() { # RANKS BATCH OUT
    ranks "$1" "$bin/muster-infer" --checkpoint "$work/model1" --prompt 10 --count 2 --prompts "$work/prompts" --tokens 60 --batch "$2" \
        --out "$work/$3"
}
for n in 1 2 3; do
    for batch in 1 3 8; do
        infer "$n" "$batch" "text$n.$batch"
        cmp "$work/text1.1" "$work/text$n.$batch" || fail "the texts of $n ranks in batches of $batch differ from those of one in turn"
    done
done
[ "$(wc -l <"$work/text1.1")" -eq 24 ] || fail "24 texts were asked for"
grep -q '"finish":"stop"' "$work/text1.1" && grep -q '"finish":"length"' "$work/text1.1" || fail "no text was stopped, or all were"
echo "ok - 1, 2 and 3 ranks wrote the same texts in batches of 1, 3 and 8"
head -c $(($(head -9 "$work/text1.1" | wc -c) + 20)) "$work/text1.1" >"$work/cut"
infer 3 4 cut
cmp "$work/text1.1" "$work/cut" || fail "the texts of a resumed run differ"
grep -q 'resumed: 9 of 24 answers' "$work/log" || fail "it did not resume"
infer 2 4 cut
cmp "$work/text1.1" "$work/cut" || fail "a run with nothing left to do changed its texts"
echo "ok - a run that was cut off goes on after its last whole line"
