#!/usr/bin/env python3
"""The metrics of a replay against a naive recomputation, straight from their definitions, out of the log of what happened to each job:
small random traces, each policy, with quotas and without. And no policy knows how long a job will run."""
import csv
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile

BIN = os.environ.get("BIN", "build/bin")
NODES, PER_NODE, GRACE = 4, 8, 60
QUOTAS = {"a": 12, "b": 8, "c": 9}


def make_trace(folder, seed):
    rng = random.Random(seed)
    rows, at = [], 0
    for _ in range(90):
        at += rng.choice([0, 1, 7, 60, 200])
        gpus = rng.choice([1, 1, 1, 2, 3, 4, 8, 12, 16, 24])
        estimate = rng.choice(["", 300, 3000])
        duration = rng.choice([5, 90, 600, 2500, 9000])
        rows.append([rng.choice("uvw"), rng.choice("aaaabbbbddc"), at, duration, gpus, rng.randrange(2), estimate])
    with open(f"{folder}/jobs", "w", encoding="utf-8") as f:
        csv.writer(f).writerows([["user", "queue", "submit_s", "duration_s", "gpus", "priority", "est_s"]] + rows)
    with open(f"{folder}/cluster", "w", encoding="utf-8") as f:
        f.write(f"nodes,gpus_per_node\n{NODES},{PER_NODE}\n")
    with open(f"{folder}/quotas", "w", encoding="utf-8") as f:
        f.write("queue,quota_gpus\n" + "".join(f"{q},{g}\n" for q, g in QUOTAS.items()))
    return [{"user": r[0], "queue": r[1], "submit": r[2], "duration": r[3], "gpus": r[4], "priority": r[5]} for r in rows]


def run(folder, *options):
    done = subprocess.run([f"{BIN}/muster-sim", "trace", "--jobs", f"{folder}/jobs", "--cluster", f"{folder}/cluster", "--json", "--log",
                           f"{folder}/log", *options], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    with open(f"{folder}/log", encoding="utf-8") as f:
        log = list(csv.DictReader(f))
    return json.loads(done.stdout), log


def percentile(values, share):
    values = sorted(values)
    at = share * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def mean(values):
    return sum(values) / len(values) if values else 0


def can_place(free, gpus):
    """Wholly free nodes, and one more with the rest."""
    whole, rest = divmod(gpus, PER_NODE)
    empty = sum(f == PER_NODE for f in free)
    return empty >= whole and (not rest or sum(f >= rest for f in free) > whole)


def fits_partition(sizes, guarantee):
    """Would floor(guarantee / 8) nodes and one with the rest hold these, repacked? Every way is tried, the largest first."""
    bins = sorted([PER_NODE] * (guarantee // PER_NODE) + [guarantee % PER_NODE], reverse=True)
    pieces = []
    for size in sizes:
        bins = bins[size // PER_NODE:] if all(b == PER_NODE for b in bins[:size // PER_NODE]) and len(bins) >= size // PER_NODE else None
        if bins is None:
            return False
        if size % PER_NODE:
            pieces.append(size % PER_NODE)

    def place(left, room):
        if not left:
            return True
        for room_size in set(room):
            if room_size >= left[0]:
                rest = list(room)
                rest.remove(room_size)
                if place(left[1:], rest + [room_size - left[0]]):
                    return True
        return False
    return place(sorted(pieces, reverse=True), bins)


def owed(jobs, queue, guarantee, running, waiting):
    sizes = [jobs[i]["gpus"] for i in running if jobs[i]["queue"] == queue]
    found = []
    for i in sorted(waiting, key=lambda k: (-jobs[k]["priority"], k)):
        gpus = jobs[i]["gpus"]
        if jobs[i]["queue"] == queue and sum(sizes) + gpus <= guarantee and fits_partition(sizes + [gpus], guarantee):
            sizes.append(gpus)
            found.append(i)
    return found


def recompute(jobs, log, quotas):
    window = jobs[-1]["submit"]
    capacity = NODES * PER_NODE
    free = [PER_NODE] * NODES
    running, waiting, owed_since, started, first, end = {}, set(), {}, {}, {}, {}
    busy = win = dem = dem_time = frag = hol = violation = delivered = 0.0
    evictions = gpus_evicted = gpus_asked = 0
    moments = [(float(at), list(rows)) for at, rows in itertools.groupby(log, key=lambda r: r["at_s"])]
    for k, (at, rows) in enumerate(moments):
        asked = None
        for r in rows:
            i = int(r["line"]) - 2
            where = [tuple(map(int, w.split(":"))) for w in r["where"].split()]
            if r["event"] == "submit":
                waiting.add(i)
            elif r["event"] == "start":
                waiting.remove(i)
                running[i] = where
                started[i] = at
                first.setdefault(i, at)
                for node, gpus in where:
                    free[node] -= gpus
            else:
                delivered += (at - started[i]) * jobs[i]["gpus"]
                for node, gpus in running.pop(i):
                    free[node] += gpus
                if r["event"] == "finish":
                    end[i] = at
                else:
                    waiting.add(i)
            if r["event"] == "evict":
                evictions += 1
                gpus_evicted += jobs[i]["gpus"]
                if r["for_line"] and r["for_line"] != asked:
                    gpus_asked += jobs[int(r["for_line"]) - 2]["gpus"]
                asked = r["for_line"]
        assert min(free) >= 0 and all(sum(g for _, g in w) == jobs[i]["gpus"] for i, w in running.items())
        until = moments[k + 1][0] if k + 1 < len(moments) else at
        passed, inside = until - at, max(0.0, min(until, window) - at)
        used = capacity - sum(free)
        win += used * inside
        if used + sum(jobs[i]["gpus"] for i in waiting) >= capacity:
            dem += used * passed
            dem_time += passed
        by_count = [i for i in waiting if jobs[i]["gpus"] <= sum(free)]
        if any(can_place(free, jobs[i]["gpus"]) for i in by_count):
            hol += (capacity - used) * inside
        elif by_count:
            frag += (capacity - used) * inside
        now = {}
        for queue, guarantee in quotas.items():
            since = [now.setdefault(i, owed_since.get(i, at)) for i in owed(jobs, queue, guarantee, running, waiting)]
            if since:
                violation += max(0.0, until - max(at, min(since) + GRACE))
        owed_since = now
    delay = [end[i] - j["submit"] - j["duration"] for i, j in enumerate(jobs)]
    jct = [end[i] - j["submit"] for i, j in enumerate(jobs)]
    by_queue = {}
    for i, j in enumerate(jobs):
        by_queue.setdefault(j["queue"], []).append(delay[i])
    wanted = sum(j["gpus"] * j["duration"] for j in jobs)
    return {
        "jobs": len(jobs), "jct_mean": mean(jct), "jct_p50": percentile(jct, 0.5), "jct_p95": percentile(jct, 0.95), "delay": mean(delay),
        "wait_mean": mean(delay), "wait_p95": percentile(delay, 0.95), "makespan": int(max(end.values())),
        "first_start_mean": mean([first[i] - j["submit"] for i, j in enumerate(jobs)]),
        "util_dem": dem / (capacity * dem_time) if dem_time else 0, "util_win": win / (capacity * window),
        "frag": frag / (capacity * window), "hol": hol / (capacity * window),
        "bsld": mean([max(1, (d + j["duration"]) / max(j["duration"], 60)) for d, j in zip(delay, jobs)]),
        "worstq": max(mean(d) for d in by_queue.values() if len(d) >= 20),
        "gang_wait": mean([d for d, j in zip(delay, jobs) if j["gpus"] > PER_NODE]),
        "evictions": evictions, "evicted_per_asked": gpus_evicted / gpus_asked if gpus_asked else 0,
        "lost_gpu_hours": (delivered - wanted) / 3600, "guarantee_violation_s": violation,
    }


def worst_ratio(jobs, report, static):
    window, worst = jobs[-1]["submit"], 0
    fixed = {q["queue"]: q["delay"] for q in static["queues"]}
    for q in report["queues"]:
        demand = sum(j["gpus"] * j["duration"] for j in jobs if j["queue"] == q["queue"]) / window
        if QUOTAS.get(q["queue"]) and demand <= QUOTAS[q["queue"]]:
            worst = max(worst, q["delay"] / max(1, fixed[q["queue"]]))
    return worst


def check(name, report, wanted):
    for metric, value in wanted.items():
        assert abs(report[metric] - value) < 1e-6 * max(1, abs(value)), f"{name}: {metric} is {report[metric]}, recomputed {value}"


def check_price(name, report):
    """A plan costs no less than the bound, and here not much more; who evicts nobody has no price. Calling in a loan is no plan."""
    ratio, worst = report["eviction_price_ratio"], report["eviction_price_ratio_worst"]
    assert (ratio is None) == (worst is None) and (ratio is None or report["evictions"]), f"{name}: {ratio} of {report['evictions']}"
    assert ratio is None or 1 <= ratio <= min(worst, 1.25), f"{name}: plans cost {ratio} times their bounds, one {worst} times"


def permute_durations(folder, rng, lines):
    with open(f"{folder}/jobs", encoding="utf-8") as f:
        rows = list(csv.reader(f))
    durations = [rows[i - 1][3] for i in lines]
    rng.shuffle(durations)
    for line, duration in zip(lines, durations):
        rows[line - 1][3] = duration
    with open(f"{folder}/jobs", "w", encoding="utf-8") as f:
        csv.writer(f).writerows(rows)


def check_foresight(folder, seed):
    """Nobody knows how long a job runs before it has ended: the durations of those that have not started yet change nothing."""
    for options in (["--policy", "fifo"], ["--policy", "backfill"], ["--policy", "fair", "--quotas", f"{folder}/quotas"]):
        jobs = make_trace(folder, seed)
        _, before = run(folder, *options)
        at = float(before[len(before) // 2]["at_s"])
        begun = {int(r["line"]) for r in before if r["event"] == "start" and float(r["at_s"]) <= at}
        permute_durations(folder, random.Random(seed), [i + 2 for i in range(len(jobs)) if i + 2 not in begun])
        _, after = run(folder, *options)
        assert after != before, "the permutation was for nothing"
        past = [[r for r in log if float(r["at_s"]) <= at] for log in (before, after)]
        assert past[0] == past[1], f"seed {seed} {options}: what nobody could know changed something before {at} s"


def main():
    seen = {"evictions": 0, "guarantee_violation_s": 0, "frag": 0, "hol": 0, "lost_gpu_hours": 0, "guar_delay_ratio": 0,
            "eviction_price_ratio": 0}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(os.environ.get("METRIC_SEEDS", "8"))):
            jobs = make_trace(folder, seed)
            quotas = ["--quotas", f"{folder}/quotas"]
            static, _ = run(folder, *quotas, "--yardstick", "static")
            for options in (["--policy", "fifo"], ["--policy", "backfill"], ["--policy", "fair"], ["--yardstick", "static"]):
                for with_quotas in (quotas, []) if "static" not in options else (quotas,):
                    report, log = run(folder, *options, *with_quotas)
                    name = f"seed {seed} {' '.join(options)}{' with quotas' if with_quotas else ''}"
                    check(name, report, recompute(jobs, log, QUOTAS if with_quotas else {}))
                    assert report["decisions_per_s"] > 0 and report["starts"] == sum(r["event"] == "start" for r in log), name
                    check_price(name, report)
                    if options == ["--policy", "fair"]:
                        assert report["guarantee_violation_s"] == 0, f"{name}: {report['guarantee_violation_s']} s owed"
                    if with_quotas:
                        check(name, report, {"guar_delay_ratio": worst_ratio(jobs, report, static)})
                    else:
                        assert report["guar_delay_ratio"] is None, name
                    for metric in seen:
                        seen[metric] += bool(report[metric])
            check_foresight(folder, seed)
    assert all(seen.values()), f"never other than 0: {seen}"
    print("metrics: each is what its definition says, and no policy knows the future")


if __name__ == "__main__":
    sys.exit(main())
