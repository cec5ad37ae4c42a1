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

expect() { # CODE PART COMMAND...: the command ends with CODE, and says PART
    code=$1 part=$2
    shift 2
    got=0
    "$@" >"$work/log" 2>&1 || got=$?
    [ "$got" -eq "$code" ] && grep -qF -- "$part" "$work/log" || fail "exit code $got, not $code, or without '$part': $*"
    echo "ok - $part"
}

small_images() { # FOLDER [TRAINED HELD]: three classes of 8 x 8 pixels, 64 to train on and 4 held out or so many, by python3
    mkdir "$1"
    python3 - "$1" "${2:-64}" "${3:-4}" <<'END'
import random, struct, sys
random.seed(1)
for part, count in ("train", int(sys.argv[2])), ("t10k", int(sys.argv[3])):
    labels = [random.randrange(3) for _ in range(count)]
    images = bytes(min(255, 80 * label + random.randrange(60)) for label in labels for _ in range(64))
    open(f"{sys.argv[1]}/{part}-images-idx3-ubyte", "wb").write(struct.pack(">4B3I", 0, 0, 8, 3, count, 8, 8) + images)
    open(f"{sys.argv[1]}/{part}-labels-idx1-ubyte", "wb").write(struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(labels))
END
}
