#!/bin/sh
# Every graph that jobs/cuda builds for cuDNN gets an execution plan, for an A100 and an H100, without a GPU (cudnn_plans.c). Exit: 0, 1, or
# 77 where cuDNN isn't.
set -eu
tests=$(cd "${BIN:-build/bin}/../tests/jobs" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
[ -x "$tests/cudnn-plans" ] || { echo "skipped: cudnn-plans is not built (it needs cuDNN)"; exit 77; }
LD_LIBRARY_PATH=$tests/fake-libcuda exec "$tests/cudnn-plans"
