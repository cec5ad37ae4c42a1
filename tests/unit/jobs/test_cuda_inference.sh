#!/bin/sh
# muster-infer on the CUDA backend, whose GPU is the fake one (fake_cuda/), against the same on the CPU: the likeliest texts and the sampled
# ones are the same, in any batch and on any number of ranks, beyond the model's context, too; images fall into the same classes. What a GPU
# lacks is an error. MUSTER_CUDA_LIBRARY is another library to try. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
library=${MUSTER_CUDA_LIBRARY:-$bin/../tests/jobs/fake-cuda/muster-backend-cuda.so}
need muster-train muster-infer mpirun "$library"
mkdir "$work/bin" "$work/lib"
cp "$bin/muster-infer" "$work/bin"   # the library is looked for beside the program

yes 'so it goes and it goes on' | head -300 >"$work/text"
"$bin/muster-train" "$work/text" --backend cpu --layers 2 --channels 24 --heads 2 --context 21 --batch 8 --steps 60 --threads 1 \
    --checkpoint "$work/model" >"$work/log" 2>&1 || fail "the training"
for prompt in 'so it' 'and' '' 'goes on' 'it goes and it goes' 'x'; do
    echo "{\"prompt\": \"$prompt\", \"tokens\": $((24 + ${#prompt}))}"
done >"$work/prompts"

# shellcheck disable=SC2317  # called by expect
infer() { "$work/bin/muster-infer" --checkpoint "$work/model" --prompts "$work/prompts" "$@"; }
real=CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000000

# ---- without a library ----

expect 2 "--backend is auto, cpu or cuda, not 'gpu'" infer --backend gpu
expect 3 "rank 0: CUDA can't be used: $work/bin/../lib/muster-backend-cuda.so: cannot open" infer --backend cuda
expect 3 "real GPUs are allocated, but CUDA can't be used" env "$real" "$work/bin/muster-infer" --checkpoint "$work/model"
expect 0 "steps, on cpu: " env "$real" "$work/bin/muster-infer" --checkpoint "$work/model" --backend cpu --tokens 1

# ---- texts ----

cp "$library" "$work/lib"
if infer --backend cuda --tokens 1 2>&1 | grep "no GPU:" >"$work/log"; then
    echo "skipped: $(cat "$work/log")"
    exit 77
fi
same() { # CPU CUDA WHAT: the answers
    cmp "$work/$1" "$work/$2" || fail "$3: other texts than on the CPU"
    echo "ok - $3"
}
infer --backend cpu --temperature 0 --out "$work/greedy" >"$work/log" 2>&1 || fail "on the CPU"
infer --backend cpu --temperature 1 --top-k 0 --seed 5 --out "$work/sampled" >"$work/log" 2>&1 || fail "on the CPU, sampled"
[ "$(wc -l <"$work/greedy")" -eq 6 ] && ! cmp -s "$work/greedy" "$work/sampled" || fail "there is little to compare"

infer --backend cuda --temperature 0 --batch 3 --out "$work/hidden" >"$work/log" 2>&1 || fail "on the GPU"
grep -q "steps, on cuda: " "$work/log" || fail "the GPU isn't told"
same greedy hidden "the likeliest tokens, by memory that the host can't touch"
export FAKE_CUDA_OPEN=1
for batch in 1 3 8; do
    infer --backend cuda --temperature 0 --batch "$batch" --out "$work/greedy$batch" >"$work/log" 2>&1 || fail "batch $batch"
    same greedy "greedy$batch" "the likeliest tokens, in batches of $batch"
    infer --backend cuda --temperature 1 --top-k 0 --seed 5 --batch "$batch" --out "$work/sampled$batch" >"$work/log" 2>&1 ||
        fail "batch $batch, sampled"
    same sampled "sampled$batch" "sampled tokens, in batches of $batch"
done
if [ -z "${MUSTER_CUDA_LIBRARY:-}" ]; then   # one real GPU isn't for two ranks
    mpirun --oversubscribe --bind-to none -np 2 env FAKE_GPUS=2 "$work/bin/muster-infer" --checkpoint "$work/model" \
        --prompts "$work/prompts" --backend cuda --temperature 0 --out "$work/greedy-ranks" >"$work/log" 2>&1 || fail "two ranks"
    same greedy greedy-ranks "two ranks, a GPU each"
    expect 1 "out of memory: " env FAKE_CUDA_MEMORY=40000000 "$work/bin/muster-infer" --checkpoint "$work/model" --backend cuda \
        --batch 1024
fi

# ---- images ----

command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
small_images "$work/images" 200 70
for model in mlp cnn; do
    "$bin/muster-train" --model "$model" --backend cpu --data "$work/images" --image-size 8 --classes 3 --hidden 8 --batch 16 --steps 12 \
        --threads 1 --checkpoint "$work/$model" >"$work/log" 2>&1 || fail "the training of an $model"
    for backend in cpu cuda; do
        "$work/bin/muster-infer" --checkpoint "$work/$model" --images "$work/images" --backend "$backend" --out "$work/$model-$backend" \
            >"$work/log" 2>&1 || fail "$model on $backend"
    done
    [ "$(sed 's/.*predicted/p/' "$work/$model-cpu" | sort -u | wc -l)" -gt 1 ] || fail "$model: one class"
    cmp "$work/$model-cpu" "$work/$model-cuda" || fail "$model: other classes than on the CPU"
    echo "ok - the classes that an $model gives images"
done
