#!/bin/sh
# A rank that is stopped, or killed, in the middle of a training: the others end with a sentence that says so, and nothing is left behind.
# Real mpirun. Exit: 0, 1, or 77 where something is missing.
set -eu
bin=$(cd "${BIN:-build/bin}" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
command -v mpirun >/dev/null && [ -x "$bin/muster-train" ] || { echo "skipped: there is no mpirun, or no muster-train"; exit 77; }

work=$(mktemp -d /tmp/muster-hang.XXXXXX)
trap 'pkill -KILL -f "$work/text" || true; rm -rf "$work"' EXIT
export TMPDIR="$work" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
unset MUSTER_SOCKET RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE CUDA_VISIBLE_DEVICES
seq 1 9000 >"$work/text"

fail() {
    cat "$work/log"
    echo "not ok - $*"
    exit 1
}

ranks() { pgrep -f "^$bin/muster-train $work/text" || true; }

# strike SIGNAL SENTENCE OPTIONS...: two ranks train; the second gets the signal at step 20
strike() {
    signal=$1 sentence=$2
    shift 2
    mpirun --oversubscribe --bind-to none -np 2 "$bin/muster-train" "$work/text" --steps 1000000 --log-every 20 --threads 1 "$@" \
        >"$work/log" 2>&1 &
    run=$!
    for _ in $(seq 600); do
        grep -q "^step 20/" "$work/log" && break
        sleep 0.1
    done
    kill -"$signal" "$(ranks | tail -1)"
    for _ in $(seq 600); do
        kill -0 "$run" 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 "$run" 2>/dev/null || fail "after SIG$signal mpirun still runs"
    ! wait "$run" || fail "exit code 0 after SIG$signal"
    grep -q "$sentence" "$work/log" || fail "after SIG$signal nothing says: $sentence"
    [ -z "$(ranks)" ] || fail "ranks are left after SIG$signal"
    echo "ok - SIG$signal"
}

strike STOP "muster-train: rank 0: MPI all-reduce: another rank didn't come to it in 2 s" --collective-timeout 2
strike STOP "muster-train: rank 0: MPI .*: another rank didn't come to it in 2 s" --collective-timeout 2 --reduce exact
strike KILL "signal 9"
