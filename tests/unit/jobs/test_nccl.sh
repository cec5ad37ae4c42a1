#!/bin/sh
# The real collective/nccl.c on a fake of the hardware (fake_nccl.c, fake_backend.c): training over it gives the losses of MPI, whether the
# gradients lie in host memory or in the GPUs'; a rank without a GPU is refused, and a rank that dies is an error of its peer within
# seconds. Exit: 0, 1, or 77 where there is no CUDA toolkit.
. "$(dirname -- "$0")/jobs.sh"
fake=$bin/../tests/jobs/fake-nccl backend=$bin/../tests/jobs/fake-backend/muster-backend-cuda.so
need muster-train "$bin/../lib/muster-collective-nccl.so" "$fake/libnccl.so.2" "$backend" mpirun

seq 1 9000 >"$work/text"
mkdir "$work/bin" "$work/lib"
cp "$bin/muster-train" "$work/bin"   # the libraries are looked for beside the program
cp "$bin/../lib/muster-collective-nccl.so" "$backend" "$work/lib"

train() { # RANKS NAME BACKEND ENVIRONMENT...: with $options
    n=$1 name=$2 where=$3
    shift 3
    # shellcheck disable=SC2086  # several words
    mpirun --oversubscribe --bind-to none -np "$n" env "$@" "$work/bin/muster-train" "$work/text" --layers 2 --channels 64 --context 32 \
        --batch 12 --steps 40 --threads 1 --metrics "$work/$name.jsonl" --backend "$where" ${options:-} >"$work/log" 2>&1
}

gpus="LD_LIBRARY_PATH=$fake FAKE_FOLDER=$work CUDA_VISIBLE_DEVICES=GPU-fake"

losses() { sed -E 's/.*"step":([0-9]+),"loss":([0-9.]+),.*/\1 \2/' "$work/$1.jsonl"; }

train 1 mpi cpu CUDA_VISIBLE_DEVICES=FAKE-1 || fail "training over MPI"
over_nccl() { # RANKS BACKEND TOLD: as over MPI; the first line tells of this
    # shellcheck disable=SC2086  # several words
    train "$1" nccl "$2" $gpus || fail "training over NCCL on $1 ranks, with --backend $2"
    grep -q "on $1 rank.* (nccl), $3: " "$work/log" || fail "it did not use NCCL, or not $3"
    losses mpi >"$work/a"
    losses nccl | paste -d ' ' "$work/a" - | awk '
        { d = $2 - $4; if (d < 0) d = -d }
        $1 != $3 || d > 1e-4 * $2 { print; bad = 1 }
        END { exit bad || NR != 40 }' || fail "the losses over NCCL on $1 ranks, with --backend $2, differ from those over MPI"
    rm "$work/nccl.jsonl"
    echo "ok - $1 ranks over NCCL train as over MPI, with --backend $2"
}
for n in 1 2 4; do over_nccl $n cpu cpu; done
for n in 1 2 3 8; do over_nccl $n auto cuda; done

# Exact: a model of several stretches of what GPUs exchange at a time. (What is small: test_gpu_ranks.sh.)
wide() { # RANKS OPTIONS...
    n=$1
    shift
    rm -rf "$work/wide"
    options="--layers 3 --channels 384 --batch 4 --steps 2 --reduce exact --shards 4 --checkpoint $work/wide $*"
    # shellcheck disable=SC2086
    train "$n" wide cuda $gpus || fail "an exact training of a wide model on $n ranks: $*"
    (cd "$work/wide/step-00000002" && sha256sum model.safetensors optimizer.safetensors)
}
wide 1 >"$work/a"
for how in --collective=nccl --collective=mpi --shard-optimizer; do
    wide 3 "$how" >"$work/b"
    cmp -s "$work/a" "$work/b" || fail "an exact training of a wide model on 3 ranks, with $how: other parameters"
    echo "ok - an exact training of a wide model on 3 ranks, with $how"
done
options=

# shellcheck disable=SC2086
if train 2 refused auto $gpus FAKE_GPUS=1 || ! grep -q "rank 1 of this node has no GPU: 1 are visible" "$work/log"; then
    fail "a rank without a GPU is refused"
fi
echo "ok - a rank without a GPU is refused"

# Rank 1 is killed in the middle of a sum. mpirun would end the other too, so it is told not to: rank 0 must find out by itself.
cat >"$work/rank" <<END
#!/bin/sh
echo \$\$ >"$work/pid.\$OMPI_COMM_WORLD_RANK"
exec env $gpus FAKE_KILL=1:20 "$work/bin/muster-train" "$work/text" \\
    --layers 2 --channels 64 --context 32 --batch 12 --steps 1000 --threads 1
END
chmod +x "$work/rank"
timeout -k 1 40 mpirun --oversubscribe --bind-to none --mca orte_enable_recovery 1 -np 2 "$work/rank" >"$work/log" 2>&1 &
mpirun=$!
tries=0
until [ -s "$work/pid.0" ] && ! kill -0 "$(cat "$work/pid.0")" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "30 s after its peer's death a rank still waits"
    sleep 0.1
done
wait "$mpirun" || true
grep -q "remote process exited" "$work/log" || fail "the death of a peer is not told"
echo "ok - the death of a peer is an error"
