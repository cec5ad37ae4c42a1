#!/bin/sh
# Traces: metrics of small ones against numbers worked out by hand, the same document each time, errors that name their place, and, where
# TRACES has them, real ones: all jobs end, and what was delivered is what they asked for.
set -u
cd "$(dirname -- "$0")/../.." || exit 1
sim=${BIN:-build/bin}/muster-sim
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

fail() {
    echo "$*"
    exit 1
}

# expect "OPTIONS" NAME=VALUE...: the metrics of $work/jobs on $work/cluster.
expect() {
    options=$1
    shift
    # shellcheck disable=SC2086  # options are split into words
    "$sim" trace --jobs "$work/jobs" --cluster "$work/cluster" $options --json >"$work/report" 2>&1 || fail "$(cat "$work/report")"
    for wanted; do
        name=${wanted%%=*}
        got=$(sed -n "s/^  \"$name\": \(.*[^,]\),*\$/\1/p" "$work/report")
        awk -v a="$got" -v b="${wanted#*=}" 'BEGIN { exit !(a != "" && a - b < 1e-6 && b - a < 1e-6) }' ||
            fail "$options: $name is '$got', not ${wanted#*=}"
    done
}

printf 'pool,nodes,gpus_per_node\np,1,8\n' >"$work/cluster"

# 1. The second waits 90 s for the first. Up to the last submission (10 s) 4 of 8 GPUs are used, then 4 are idle and too few: nothing is
# held back. Slowdown (90+10)/60.
printf 'user,submit_s,duration_s,gpus\na,0,100,4\na,10,10,8\n' >"$work/jobs"
expect "" jobs=2 jct_mean=100 delay=45 wait_mean=45 wait_p95=85.5 makespan=110 util_win=0.5 util_dem=0.55 frag=0 hol=0 \
    bsld=1.33333333 gang_wait=0 first_start_mean=45 evictions=0 lost_gpu_hours=0

# 2. Two queues of 4: b's job is owed half and takes it back from a's 8 after 100 s. a checkpoints (nothing to do again), waits 50 s, and
# pays 30 s to start again: delay 80 of 1,000 s. 8 GPUs are evicted for 4.
printf 'queue,parent,quota_gpus,weight\na,root,4,1\nb,root,4,1\n' >"$work/quotas"
printf 'queue,submit_s,duration_s,gpus\na,0,1000,8\nb,100,50,4\n' >"$work/jobs"
expect "--quotas $work/quotas" evictions=1 evicted_per_asked=2 wait_mean=40 makespan=1080 lost_gpu_hours=0.0666666667 \
    guarantee_violation_s=0 eviction_price_ratio=1 eviction_price_ratio_worst=1

# 3. The same without asking (grace 0) and with checkpoints each 60 s: the 40 s after the last one are done again. Delay 120 s;
# (40 + 30) s x 8 GPUs are lost.
expect "--quotas $work/quotas --grace 0 --checkpoint-interval 60" evictions=1 wait_mean=60 makespan=1120 lost_gpu_hours=0.155555556

# 4. A gang of 12 needs one whole node and 4 GPUs of another; b waits behind it under FIFO, though it fits.
printf 'pool,nodes,gpus_per_node\np,2,8\n' >"$work/cluster"
printf 'user,submit_s,duration_s,gpus\na,0,100,6\nb,0,100,12\nc,0,100,2\nd,100,10,1\n' >"$work/jobs"
expect "--yardstick fifo" gang_wait=100 hol=0.625 frag=0 makespan=200 wait_mean=50
expect "--policy fifo" gang_wait=100 hol=0.625 frag=0 makespan=200 wait_mean=50

same() {
    grep -v decisions_per_s "$work/report" >"$work/$1"
}
expect "--seed 7" jobs=4
same first
expect "--seed 7" jobs=4
same second
cmp -s "$work/first" "$work/second" || fail "the same seed gives another report"

refused() { # OPTIONS PART
    # shellcheck disable=SC2086  # options are split into words
    if "$sim" trace --jobs "$work/jobs" --cluster "$work/cluster" $1 >"$work/report" 2>&1 || ! grep -q -- "$2" "$work/report"; then
        fail "$1: '$(cat "$work/report")' does not say '$2'"
    fi
}

# 5. Backfill: a place is kept for the gang of 16, for 100 s. d is gone by then and starts; e would hold it up and waits.
printf 'user,submit_s,duration_s,gpus,est_s\na,0,100,6,100\nb,0,100,16,100\nd,1,10,2,10\ne,2,200,2,200\n' >"$work/jobs"
expect "--policy backfill" evictions=0 gang_wait=100 makespan=400

# 6. Nobody says how long f runs: with the default limit of 24 h it waits for the gang, with one of 50 s it does not.
printf 'user,submit_s,duration_s,gpus,est_s\na,0,100,6,100\nb,0,100,16,100\nf,1,10,2,\n' >"$work/jobs"
expect "--policy backfill" gang_wait=100 makespan=210
expect "--policy backfill --default-limit 50" gang_wait=100 makespan=200

# 7. In a queue the users are served alike: of eight jobs of a and one of b, b's is not the last.
printf 'queue,parent,quota_gpus,weight\nq,root,16,1\n' >"$work/quotas"
{ echo user,queue,submit_s,duration_s,gpus; seq 1 8 | sed 's/.*/a,q,0,100,16/'; echo b,q,1,10,16; } >"$work/jobs"
expect "--quotas $work/quotas" jct_mean=419.888889 evictions=0

# What can't be guaranteed is told at once, not after the replay, by whatever policy.
for policy in fair fifo backfill; do
    refused "--quotas $work/quotas --nodes 1 --policy $policy" "quotas: the queues at the top are guaranteed 16 GPUs, and 1 node of 8 has 8"
done
refused "--yardstick fifo --policy fair" "--yardstick is instead of --policy: give one of the two"
refused "--default-limit 0" "default-limit"
refused "--policy nonsense" "expected fair, backfill or fifo, got 'nonsense'"
refused "--quotas $work/absent" "absent: No such file"
printf 'queue,submit_s,duration_s,gpus\na,0,1000,eight\n' >"$work/jobs"
refused "" "jobs:2: gpus: expected an integer, got 'eight'"
printf 'queue,submit_s,duration_s\na,0,1000\n' >"$work/jobs"
refused "" "jobs:1: column 'gpus' is missing"
printf 'queue,submit_s,duration_s,gpus\na,0,1000\n' >"$work/jobs"
refused "" "jobs:2: 3 columns, but the first line names 4"
printf 'queue,submit_s,duration_s,gpus\na,0,soon,1\n' | gzip >"$work/jobs"
refused "" "jobs:2: duration_s: expected seconds, got 'soon'"
seq 1 20000 | sed 's/.*/a,&,1000,1/; 1i queue,submit_s,duration_s,gpus' | gzip | head -c 30000 >"$work/jobs"
refused "" "the compressed data end too early"

if [ -z "${TRACES:-}" ] || [ ! -d "$TRACES" ]; then
    echo "trace: small ones are right; TRACES is not set: real ones were not replayed"
    exit 0
fi
# All GPU time that was delivered is what the jobs asked for, and what was lost.
balanced() {
    awk -F '[:,]' '/"(gpu_hours|gpu_hours_of_jobs|lost_gpu_hours)"/ { sum += $1 ~ /"gpu_hours"/ ? $2 : -$2; n++ }
        END { exit !(n == 3 && sum < 0.01 && sum > -0.01) }' "$work/report" || fail "$1: delivered is not what was asked for and lost"
}
for trace in philly-w1:1 hpc2n:0.45 llm-synth-a:1; do
    name=${trace%:*} scale="--submit-scale ${trace#*:}"
    [ -e "$TRACES/$name.jobs.csv.gz" ] || continue
    cp "$TRACES/$name.jobs.csv.gz" "$work/jobs"
    cp "$TRACES/$name.cluster.csv" "$work/cluster"
    jobs=$(($(zcat "$work/jobs" | wc -l) - 1))
    expect "$scale --yardstick fifo" jobs=$jobs jobs_never_fit=0 evictions=0
    same yardstick
    expect "$scale --policy fifo"
    same first
    cmp -s "$work/first" "$work/yardstick" || fail "$name: the policy fifo is not plain FIFO"
    expect "$scale --policy backfill" jobs=$jobs evictions=0 lost_gpu_hours=0
    balanced "$name, backfill"
    expect "$scale" jobs=$jobs
    balanced "$name"
    [ -e "$TRACES/$name.quotas.csv" ] || continue
    expect "$scale --quotas $TRACES/$name.quotas.csv" guarantee_violation_s=0
    balanced "$name with quotas"
done
echo "trace: small and real ones are right"
