#!/bin/sh
# Ranks on GPUs, two and three of them on one. --reduce exact: a run repeated, 2 and 3 ranks over NCCL, 2 by way of host memory, slices of
# the optimiser, a preemption and the rest on another number of ranks: all have the parameters of one rank, to the bit, and its losses.
# --reduce fast: its losses, to rounding. SIGKILL of one rank ends the other within seconds. Checkpoints of CPUs and of GPUs go on on the
# other.
#
# Here on fakes (fake_nccl.c, fake_cuda/), with 4 and 8 ranks too. By `make test-gpu` MUSTER_CUDA_LIBRARY is the real one, and the models
# are larger; where the machine has more GPUs, ranks have one each, too. Ranks are started as --launcher direct
# does it, and some by mpirun. Exit: 0, 1, or 77 where something is missing.
# timeout: 900
. "$(dirname -- "$0")/jobs.sh"
nccl=$bin/../lib/muster-collective-nccl.so
need muster-train "$nccl"
mkdir "$work/bin" "$work/lib"
cp "$bin/muster-train" "$work/bin"   # the libraries are looked for beside the program
cp "$nccl" "$work/lib"
export MUSTER_SHARE_GPU=1

if [ -n "${MUSTER_CUDA_LIBRARY:-}" ]; then
    cp "$MUSTER_CUDA_LIBRARY" "$work/lib/muster-backend-cuda.so"
    gpt="--layers 4 --heads 4 --channels 256 --context 128 --batch 16" text=9000 more_ranks='' patience=50
    gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
else
    need "$bin/../tests/jobs/fake-nccl/libnccl.so.2" "$bin/../tests/jobs/fake-cuda/muster-backend-cuda.so"
    cp "$bin/../tests/jobs/fake-cuda/muster-backend-cuda.so" "$work/lib"
    export LD_LIBRARY_PATH="$bin/../tests/jobs/fake-nccl" FAKE_FOLDER="$work" FAKE_CUDA_OPEN=1 FAKE_GPUS=1
    gpt="--layers 1 --heads 1 --channels 8 --context 9 --batch 8" text=300 more_ranks='4 8' patience=300
    gpus=2
fi

seq 1 "$text" >"$work/text"

# NCCL refuses a GPU to two ranks of one host: so each says that it is on another.
cat >"$work/rank" <<'END'
#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-${RANK:-0}}
echo $$ >"$PIDS/pid.$rank"
[ -z "${MUSTER_SHARE_GPU:-}" ] || export NCCL_HOSTID="rank-$rank" NCCL_P2P_DISABLE=1
exec "$@"
END
chmod +x "$work/rank"
export PIDS="$work"

by=direct   # or mpirun
port=$((20000 + $$ % 20000))

direct() { # RANKS COMMAND...: with the variables of torchrun, as --launcher direct does it
    n=$1 r=0 pids='' code=0
    shift
    while [ "$r" -lt "$n" ]; do
        RANK=$r WORLD_SIZE=$n LOCAL_RANK=$r LOCAL_WORLD_SIZE=$n MASTER_ADDR=127.0.0.1 MASTER_PORT=$port timeout -k 5 300 "$work/rank" "$@" &
        r=$((r + 1)) pids="$pids $!"
    done
    for each in $pids; do wait "$each" || code=1; done
    return "$code"
}

launch() { # RANKS COMMAND...
    n=$1
    shift
    if [ "$n" -eq 1 ]; then
        "$work/rank" "$@"
    elif [ "$by" = direct ]; then
        port=$((port + 1))
        direct "$n" "$@"
    else
        timeout -k 5 300 mpirun --oversubscribe --bind-to none --mca orte_enable_recovery 1 -np "$n" "$work/rank" "$@"
    fi
}

train() { # RANKS NAME OPTIONS...: 20 steps into $work/NAME, whatever of them is done already
    n=$1 name=$2
    shift 2
    launch "$n" "$work/bin/muster-train" --steps 20 --threads 1 --backend cuda --collective nccl \
        --metrics "$work/$name.jsonl" --checkpoint "$work/$name" --checkpoint-every 0 "$@" >"$work/log" 2>&1
}

gpt() { # RANKS NAME OPTIONS...
    n=$1 name=$2
    shift 2
    # shellcheck disable=SC2086  # several words
    train "$n" "$name" --data "$work/text" $gpt "$@"
}

exact() { gpt "$@" --reduce exact --shards 8 || fail "training on $1 ranks: $2"; }

losses() { sed -E 's/.*"step":([0-9]+),"loss":([0-9.e+-]+),.*"gradient_norm":([0-9.e+-]+).*/\1 \2 \3/' "$work/$1.jsonl"; }

same() { # NAME AS WHAT: 20 steps of the same parameters, moments and losses
    for name in "$1" "$2"; do
        (cd "$work/$name/step-00000020" && sha256sum model.safetensors optimizer.safetensors) >"$work/$name.sums"
        losses "$name" >"$work/$name.losses"
    done
    cmp -s "$work/$1.sums" "$work/$2.sums" || fail "$3: other parameters"
    diff "$work/$1.losses" "$work/$2.losses" || fail "$3: other losses"
    [ "$(wc -l <"$work/$1.losses")" -eq 20 ] || fail "$3: not 20 losses"
    echo "ok - $3"
}

close_to() { # NAME AS PART WHAT: the losses differ by no more than this part of them
    losses "$1" >"$work/a"
    losses "$2" | paste -d ' ' "$work/a" - | awk -v part="$3" '
        { d = $2 - $5; if (d < 0) d = -d }
        $1 != $4 || !(d <= part * $5) { print "    " $0; bad = 1 }
        END { exit bad || NR != 20 }' || fail "$4: the losses differ by more than $3"
    echo "ok - $4, within $3"
}

# ---- one rank ----

if ! gpt 1 one --reduce exact --shards 8; then
    grep -E "no GPU:|counting GPUs:" "$work/log" >"$work/why" && { echo "skipped: $(cat "$work/why")"; exit 77; }
    fail "training on one rank"
fi
exact 1 again
same again one "a run repeated"
exact 1 bf16 --precision bf16
exact 1 bf16again --precision bf16
same bf16again bf16 "a run in bf16 repeated"

# The checkpoints of one go on on the other.
gpt 1 cpu --backend cpu || fail "training on the CPU"
gpt 1 cpu-gpu --backend cpu --steps 10 || fail "ten steps on the CPU"
gpt 1 cpu-gpu || fail "ten more on the GPU"
grep -q "resumed from .* step 10 of 20" "$work/log" || fail "the GPU didn't resume"
close_to cpu-gpu cpu 1e-4 "ten steps on the CPU, then ten on the GPU"
gpt 1 gpu-cpu --steps 10 || fail "ten steps on the GPU"
gpt 1 gpu-cpu --backend cpu || fail "ten more on the CPU"
grep -q "resumed from .* step 10 of 20" "$work/log" || fail "the CPU didn't resume"
close_to gpu-cpu cpu 1e-4 "ten steps on the GPU, then ten on the CPU"
gpt 1 one --backend cpu --steps 21 --reduce exact --shards 8 && fail "an exact training went on on another machine"
grep -q "was computed with cuda, fp32: " "$work/log" || fail "it isn't told what the training was computed with"
echo "ok - an exact training doesn't go on on another machine"

# ---- several, exact ----

for n in 2 3 $more_ranks; do
    exact "$n" "on$n"
    same "on$n" one "$n ranks"
done
exact 3 slices --shard-optimizer
same slices one "3 ranks with a slice of the optimiser each"
exact 3 bf16on3 --precision bf16
same bf16on3 bf16 "3 ranks in bf16"
if [ "$gpus" -ge 2 ]; then
    unset MUSTER_SHARE_GPU
    FAKE_GPUS=2 exact 2 own
    same own one "2 ranks with a GPU each"
    export MUSTER_SHARE_GPU=1
fi

if command -v python3 >/dev/null; then
    small_images "$work/images"
    cnn() { train "$@" --data "$work/images" --model cnn --image-size 8 --classes 3 --hidden 8 --batch-norm --batch 4 --reduce exact; }
    cnn 1 cnn || fail "a CNN on one rank"
    cnn 3 cnn3 || fail "a CNN on 3 ranks"
    same cnn3 cnn "a CNN with batch norm on 3 ranks"
fi

exact 3 preempted &
pid=$!
until [ -s "$work/preempted.jsonl" ]; do
    kill -0 "$pid" 2>/dev/null || fail "the training to be preempted ended by itself"
    sleep 0.02
done
for r in 0 1 2; do kill -USR1 "$(cat "$work/pid.$r")"; done
wait "$pid" || fail "a preempted training exits with 0"
step=$(sed -n 's/.*yielding after step //p' "$work/log")
[ -n "$step" ] || fail "it was not preempted"
exact 2 preempted
grep -q "resumed from .* step $step of 20" "$work/log" || fail "it did not resume at step $step"
same preempted one "$step steps on 3 ranks, and the rest on 2"

# ---- several, fast ----

gpt 1 fast || fail "one rank, fast"
for n in 2 3; do
    gpt "$n" "fast$n" || fail "$n ranks, fast"
    close_to "fast$n" fast 1e-4 "$n ranks, fast"
done

# mpirun would end the other too, so it is told not to: rank 0 must find out by itself.
killed() { # NAME
    rm -f "$work"/pid.*
    gpt 2 "$1" --steps 1000000 &
    pid=$!
    until [ -s "$work/$1.jsonl" ]; do
        kill -0 "$pid" 2>/dev/null || fail "the training to be killed ended by itself"
        sleep 0.02
    done
    kill -KILL "$(cat "$work/pid.1")"
    tries=0
    while kill -0 "$(cat "$work/pid.0")" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt "$patience" ] || {
            kill -KILL "$(cat "$work/pid.0")"   # or it would keep the GPU busy for whoever comes next
            fail "$((patience / 10)) s after its peer's death a rank still waits"
        }
        sleep 0.1
    done
    wait "$pid" || true
    grep -Eq "muster-train: rank 0: (NCCL, all-reduce: |.*: rank 1 is gone)" "$work/log" || fail "the death of a peer is not told"
    echo "ok - the death of a peer is an error within $(((tries + 9) / 10)) s"
}
killed killed

# ---- started by mpirun ----

command -v mpirun >/dev/null || { echo "ok - ranks weren't started by mpirun: it is not installed"; exit 0; }
by=mpirun
exact 3 mpirun --shard-optimizer
same mpirun one "3 ranks of mpirun"
exact 2 host --collective mpi
same host one "2 ranks of mpirun by way of host memory"
killed killed-of-mpirun
