#!/bin/sh
# Twenty steps of small models on the CUDA backend, whose GPU is the fake one (fake_cuda/), against the same on the CPU: the losses in fp32
# differ by 1e-5 at most, relatively, and in bf16 by 5e-3. MUSTER_CUDA_LIBRARY is another library to try. Exit: 0, 1, or 77 where something
# is missing.
. "$(dirname -- "$0")/jobs.sh"
library=${MUSTER_CUDA_LIBRARY:-$bin/../tests/jobs/fake-cuda/muster-backend-cuda.so}
need muster-train "$library"
export FAKE_CUDA_OPEN=1
mkdir "$work/bin" "$work/lib"
cp "$bin/muster-train" "$work/bin"   # the library is looked for beside the program
cp "$library" "$work/lib"

train() { # NAME OPTIONS...
    name=$1
    shift
    "$work/bin/muster-train" --steps 20 --threads 1 --collective local --metrics "$work/$name" "$@" >"$work/log" 2>&1 || {
        sed 's/^/    /' "$work/log"
        echo "not ok - $name: training failed"
        exit 1
    }
    sed -E 's/.*"loss":([0-9.]+),.*"gradient_norm":([0-9.]+),.*/\1 \2/' "$work/$name" >"$work/$name.losses"
}

close_to() { # CPU CUDA PART: the losses and norms of twenty steps
    paste -d ' ' "$work/$1.losses" "$work/$2.losses" | awk -v part="$3" '
        function differ(a, b, part) { return !(a - b <= part * a && b - a <= part * a) }
        differ($1, $3, part) || differ($2, $4, 20 * part + 1e-3) { print "    step " NR ": " $0; bad = 1 }
        END { exit bad || NR != 20 }' || { echo "not ok - $2 differs from $1 by more than $3"; exit 1; }
    echo "ok - $2 trains as $1, within $3"
}

seq 1 1500 >"$work/text"
gpt() { train "$@" --data "$work/text" --layers 2 --channels 24 --heads 2 --context 15 --batch 3; }
gpt gpt-cpu --backend cpu
if "$work/bin/muster-train" --backend cuda --data "$work/text" --steps 1 2>&1 | grep "no GPU:" >"$work/log"; then
    echo "skipped: $(cat "$work/log")"
    exit 77
fi
gpt gpt-cuda-fp32 --backend cuda
close_to gpt-cpu gpt-cuda-fp32 1e-5
gpt gpt-cuda-bf16 --backend cuda --precision bf16
close_to gpt-cpu gpt-cuda-bf16 5e-3

command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
small_images "$work/images"
cnn() { train "$@" --model cnn --data "$work/images" --image-size 8 --classes 3 --hidden 8 --batch-norm --batch 3; }
cnn cnn-cpu --backend cpu
cnn cnn-cuda-fp32 --backend cuda
close_to cnn-cpu cnn-cuda-fp32 1e-5
