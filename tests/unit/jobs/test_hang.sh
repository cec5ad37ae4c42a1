#!/bin/sh
# A rank that is stopped, or killed, in the middle of a training: the others end with a sentence that says so, and nothing is left behind.
# Real mpirun. Exit: 0, 1, or 77 where something is missing.
. "$(dirname -- "$0")/jobs.sh"
need muster-train mpirun pkill
trap 'pkill -KILL -f "$work/text" || true; rm -rf "$work"' EXIT

seq 1 9000 >"$work/text"

ranks() { pgrep -f "^$bin/muster-train $work/text" || true; }

# strike SIGNAL SENTENCE OPTIONS...: two ranks train; the second gets the signal at step 20
strike() {
    signal=$1 sentence=$2
    shift 2
    : >"$work/log"   # at once: whoever runs in the background may truncate it later than it is looked at
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
