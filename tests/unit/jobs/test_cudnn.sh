#!/bin/sh
# The graphs that jobs/cuda builds for cuDNN, without a GPU. cuDNN itself makes an execution plan of each for an A100 and an H100
# (cudnn_plans.c); and a cuDNN that computes on the CPU (fake_cudnn.c) gets from them what the kernels get, both alone (cudnn_numbers.c) and
# below the library on the fake GPU (test_cuda.c).
# Exit: 0, 1, or 77 where cuDNN isn't.
set -eu
tests=$(cd "${BIN:-build/bin}/../tests/jobs" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
[ -x "$tests/cudnn-plans" ] || { echo "skipped: cudnn-plans is not built (it needs cuDNN)"; exit 77; }
log=$(mktemp "${TMPDIR:-/tmp}/muster-cudnn.XXXXXX")
trap 'rm -f "$log"' EXIT
"$tests/cudnn-numbers"
MUSTER_LOG=debug MUSTER_CUDA_LIBRARY=$tests/fake-cudnn/muster-backend-cuda.so "$tests/test_cuda" >"$log" 2>&1 || { cat "$log"; exit 1; }
for way in attention_forward attention_backward conv_forward 'conv_backward (din)' 'conv_backward (dweight)'; do
    grep -qF "muster-backend-cuda: $way [" "$log" || { cat "$log"; echo "not ok - $way never went by cuDNN"; exit 1; }
done
echo "ok - the library on the fake GPU and the fake cuDNN computes what it should"
LD_LIBRARY_PATH=$tests/fake-libcuda "$tests/cudnn-plans"
