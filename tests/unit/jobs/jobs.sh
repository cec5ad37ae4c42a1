# Sourced by the scripts beside it. $bin has the programs; $work is a folder of the script's own, gone at its end, in which the log of what
# ran last is called log. Ranks may be more than the cores, and nothing of a job that surrounds the test is left in the environment.
# shellcheck shell=sh
set -eu
bin=$(cd "${BIN:-build/bin}" 2>/dev/null && pwd) || { echo "skipped: nothing is built in ${BIN:-build/bin}"; exit 77; }
work=$(mktemp -d /tmp/muster-jobs.XXXXXX)
trap 'rm -rf "$work"' EXIT
export TMPDIR="$work" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
unset MUSTER_SOCKET RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE CUDA_VISIBLE_DEVICES OMPI_COMM_WORLD_SIZE PMIX_RANK

need() { # WHAT...: programs of ours or of the system's, or files
    for what; do
        [ -e "$what" ] || [ -x "$bin/$what" ] || command -v "$what" >/dev/null || { echo "skipped: there is no $what"; exit 77; }
    done
}

fail() { # WHAT WENT WRONG
    [ ! -s "$work/log" ] || sed 's/^/    /' "$work/log"
    echo "not ok - $*"
    exit 1
}
