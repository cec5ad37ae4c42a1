#!/bin/sh
# --backend: a CUDA that is missing, of another version, or lacks a library is an error that says so, and never a training on the CPU
# instead. Behind the door of a GPU (fake_backend.c) a training gives the bits of the CPU's, its checkpoints go both ways, ranks sum through
# host memory, and what fails on one rank ends all. The same of inference. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
fake=$bin/../tests/jobs/fake-backend/muster-backend-cuda.so
need muster-train muster-infer "$fake"

seq 1 4000 >"$work/text"
mkdir "$work/bin" "$work/lib"
cp "$bin/muster-train" "$bin/muster-infer" "$work/bin"   # the libraries are looked for beside the program

# shellcheck disable=SC2317  # called by expect
train() { "$work/bin/muster-train" "$work/text" --layers 2 --channels 48 --heads 3 --context 32 --batch 8 --steps 10 --threads 1 "$@"; }

# ---- opening ----

real=CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000000
# shellcheck disable=SC2317
on_real() { env "$real" "$work/bin/muster-train" "$work/text" --steps 1 --collective local "$@"; }

expect 2 "--backend is auto, cpu or cuda, not 'gpu'" train --backend gpu
expect 3 "rank 0: CUDA can't be used: $work/bin/../lib/muster-backend-cuda.so: cannot open" train --backend cuda
expect 3 "real GPUs are allocated, but CUDA can't be used" on_real
expect 0 "held-out loss" on_real --backend cpu
expect 0 "backend           cuda: a GPU a rank" on_real --dry-run
expect 0 "backend           cpu" train --dry-run

compiler=${CC:-cc}
if command -v "$compiler" >/dev/null; then
    echo 'const int cuda_library[8] = {99};' >"$work/old.c"
    "$compiler" -shared -fPIC -o "$work/lib/muster-backend-cuda.so" "$work/old.c"
    expect 5 "lib/muster-backend-cuda.so is of another version of Muster (99, not " train --backend cuda
    echo 'int nothing;' >"$work/gone.c"
    "$compiler" -shared -fPIC -Wl,-soname,libcublas.so.none -o "$work/libgone.so" "$work/gone.c"
    "$compiler" -shared -fPIC -Wl,--no-as-needed -o "$work/lib/muster-backend-cuda.so" "$work/old.c" "$work/libgone.so"
    expect 3 "CUDA can't be used: libcublas.so.none: cannot open" train --backend cuda
    echo 'int another;' >"$work/gone.c"
    "$compiler" -shared -fPIC -o "$work/lib/muster-backend-cuda.so" "$work/gone.c"
    expect 3 "undefined symbol: cuda_library" train --backend cuda
fi

# ---- training ----

cp "$fake" "$work/lib"
sums() { (cd "$work/$1/step-000000$2" && sha256sum model.safetensors optimizer.safetensors); }
same() { # CPU CUDA STEP WHAT
    sums "$1" "$3" >"$work/a"
    sums "$2" "$3" | cmp -s - "$work/a" || fail "$4: other parameters than on the CPU"
    echo "ok - $4"
}

expect 2 "rank 0 of this node has no GPU" env FAKE_GPUS=0 "$work/bin/muster-train" "$work/text" --backend cuda
train --backend cpu --checkpoint "$work/cpu" >"$work/log" 2>&1 || fail "training on the CPU"
grep 'held-out' "$work/log" >"$work/held"
train --backend cuda --checkpoint "$work/cuda" >"$work/log" 2>&1 || fail "training on a GPU"
grep -q "on 1 rank (local), cuda: Fake GPU, fp32; " "$work/log" || fail "the device isn't told"
grep 'held-out' "$work/log" | cmp -s - "$work/held" || fail "another held-out loss than on the CPU"
same cpu cuda 10 "the parameters of the CPU"
grep -q '"arithmetic": "cuda, fp32: Fake GPU"' "$work/cuda/step-00000010/manifest.json" || fail "the manifest doesn't tell of cuda"
grep -q '"arithmetic": ".* kernels, .*"' "$work/cpu/step-00000010/manifest.json" || fail "the manifest doesn't tell of the kernels"
train --backend cpu --steps 20 --checkpoint "$work/cuda" >"$work/log" 2>&1 || fail "going on on the CPU"
train --backend cuda --steps 20 --checkpoint "$work/cpu" >"$work/log" 2>&1 || fail "going on on a GPU"
grep -q "resumed from .*: step 10 of 20" "$work/log" || fail "it wasn't resumed"
same cpu cuda 20 "a checkpoint of one goes on on the other"

# ---- several ranks, through host memory ----

command -v mpirun >/dev/null || { echo "skipped: mpirun is not installed"; exit 77; }
ranks() { # RANKS NAME OPTIONS...
    n=$1 name=$2
    shift 2
    timeout 60 mpirun --oversubscribe --bind-to none -np "$n" "$work/bin/muster-train" "$work/text" --layers 2 --channels 48 --heads 3 \
        --context 32 --batch 12 --steps 10 --threads 1 --collective mpi --checkpoint "$work/$name" "$@" >"$work/log" 2>&1
}
ranks 3 cpu3 --backend cpu || fail "training on the CPU on 3 ranks"
ranks 3 cuda3 --backend cuda || fail "training on GPUs on 3 ranks"
same cpu3 cuda3 10 "three ranks that sum through host memory"

ranks 1 exact1 --backend cpu --reduce exact --shards 4 || fail "an exact training on the CPU"
ranks 3 exact3 --backend cuda --reduce exact --shards 4 || fail "an exact training on GPUs on 3 ranks"
same exact1 exact3 10 "an exact training on 3 ranks"

further() { # RANKS OPTIONS...: one step more
    n=$1
    shift
    ranks "$n" exact3 --backend cuda --reduce exact --shards 4 --steps 11 "$@"
}
export FAKE_DEVICE="0:Another GPU"
further 1 && fail "an exact training went on on another model of GPU"
grep -q "was computed with cuda, fp32: Fake GPU, and this machine computes with cuda, fp32: Another GPU" "$work/log" || fail "another model"
further 1 --allow-inexact || fail "--allow-inexact"
export FAKE_DEVICE="1:Another GPU"
further 2 && fail "an exact training on two models of GPU"
grep -q "rank 1 computes with cuda, fp32: Another GPU, rank 0 with cuda, fp32: Fake GPU: --reduce exact needs" "$work/log" ||
    fail "two models aren't told"
unset FAKE_DEVICE
echo "ok - an exact training keeps to one model of GPU"

# The first finish is for what was allocated, then comes one a step; at the checkpoint one for the comparison of ranks, one for the copy.
fails() { # RANK:AT WHAT OPTIONS...
    got=0 rank=${1%:*} what=$2
    export FAKE_BACKEND_FAIL="$1"
    shift 2
    rm -rf "$work/failing"
    ranks 3 failing --backend cuda --checkpoint-every 9 "$@" || got=$?
    unset FAKE_BACKEND_FAIL
    [ "$got" -eq 1 ] && [ "$(grep -c 'a fake error' "$work/log")" -eq 1 ] || fail "$what: exit code $got"
    grep -q "muster-train: rank $rank: attention_forward: a fake error" "$work/log" || fail "$what: the rank isn't told"
    echo "ok - $what"
}
fails 1:1 "memory that one rank can't have ends all"
fails 1:3 "an operation that fails on one rank ends all"
fails 1:3 "also of an exact training" --reduce exact --shards 4
fails 0:12 "a checkpoint that can't be copied isn't written"
[ ! -e "$work/failing/step-00000009" ] || fail "a checkpoint of what couldn't be copied"

# ---- inference: a finish for the weights, one for the cache, and one a step ----

seq 101 130 >"$work/prompts"
infer_on() { # RANKS NAME OPTIONS...
    n=$1 name=$2
    shift 2
    timeout 60 mpirun --oversubscribe --bind-to none -np "$n" "$work/bin/muster-infer" --checkpoint "$work/cpu" --prompts "$work/prompts" \
        --tokens 40 --batch 3 --out "$work/$name" "$@" >"$work/log" 2>&1
}
infer_on 1 texts-cpu --backend cpu || fail "inference on the CPU"
infer_on 3 texts-cuda --backend cuda || fail "inference on GPUs on 3 ranks"
cmp "$work/texts-cpu" "$work/texts-cuda" || fail "other texts than on the CPU"
grep -q "steps, on cuda: Fake GPU" "$work/log" || fail "the device isn't told"
echo "ok - inference gives the texts of the CPU"

inference_fails() { # RANK:AT WHAT
    got=0
    export FAKE_BACKEND_FAIL="$1"
    rm -f "$work/failing-texts"
    infer_on 3 failing-texts --backend cuda || got=$?
    unset FAKE_BACKEND_FAIL
    [ "$got" -eq 1 ] && [ "$(grep -c 'a fake error' "$work/log")" -eq 1 ] || fail "$2: exit code $got"
    grep -q "muster-infer: rank ${1%:*}: attention_forward: a fake error" "$work/log" || fail "$2: the rank isn't told"
    echo "ok - $2"
}
inference_fails 1:1 "weights that one rank has no memory for end all"
inference_fails 2:2 "a cache that one rank has no memory for ends all"
inference_fails 0:6 "a step that fails on rank 0 ends all"
inference_fails 1:6 "a step that fails on another rank ends all"
infer_on 3 failing-texts --backend cuda || fail "going on after a failure"
cmp "$work/texts-cpu" "$work/failing-texts" || fail "after a failure other texts"
echo "ok - a run that failed goes on to the same texts"
