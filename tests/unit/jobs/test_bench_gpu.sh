#!/bin/sh
# tests/bench/bench_gpu on the fake GPU (fake_cuda/): it runs to its end and prints each kind of metric. Exit: 0, 1, or 77 where something
# is missing.
. "$(dirname -- "$0")/jobs.sh"
bench=$bin/../bench/bench_gpu library=$bin/../tests/jobs/fake-cuda/muster-backend-cuda.so
need "$bench" "$library"
mkdir "$work/bin" "$work/lib"
cp "$bench" "$work/bin"   # the library is looked for beside the program
expect 2 "usage: bench_gpu [small | " "$work/bin/bench_gpu" large
expect 77 "skipped: " "$work/bin/bench_gpu"
cp "$library" "$work/lib"
export FAKE_CUDA_OPEN=1
expect 0 "decode_tok_s " "$work/bin/bench_gpu" small
for metric in limit_product_tflops attention_forward_us attention_backward_tflops gpt_step_ms gpt_share gpt_optimiser_ms; do
    grep -q "^$metric *[0-9]" "$work/log" || fail "no $metric"
done
