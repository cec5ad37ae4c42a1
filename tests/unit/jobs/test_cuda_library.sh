#!/bin/sh
# The real muster-backend-cuda.so: it is loaded, and where there is no GPU it says so, instead of crashing; where there is one, all of
# test_cuda passes on it. Exit: 0, 1, or 77 where there is no CUDA toolkit.
set -u
bin=${BIN:-build/bin}
library=$bin/../lib/muster-backend-cuda.so
[ -e "$library" ] || { echo "skipped: $library is not built (it needs the CUDA toolkit)"; exit 77; }
output=$(MUSTER_CUDA_LIBRARY=$library "$bin/../tests/jobs/test_cuda" 2>&1)
code=$?
case $code:$output in
0:*) echo "ok - the backend computes as defined on this GPU" ;;
77:"skipped: no GPU: "*) echo "ok - $output" ;;
*) echo "$output"; echo "not ok - exit code $code"; exit 1 ;;
esac
