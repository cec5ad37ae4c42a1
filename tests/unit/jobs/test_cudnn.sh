#!/bin/sh
# The graphs that jobs/cuda builds for cuDNN, without a GPU. cuDNN itself makes an execution plan of each for an A100 and an H100
# (cudnn_plans.c); and a cuDNN that computes on the CPU gets from them what the kernels get (cudnn_numbers.c, fake_cudnn.c).
# Exit: 0, 1, or 77 where cuDNN isn't.
set -eu
tests=$(cd "${BIN:-build/bin}/../tests/jobs" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
[ -x "$tests/cudnn-plans" ] || { echo "skipped: cudnn-plans is not built (it needs cuDNN)"; exit 77; }
"$tests/cudnn-numbers"
LD_LIBRARY_PATH=$tests/fake-libcuda "$tests/cudnn-plans"
