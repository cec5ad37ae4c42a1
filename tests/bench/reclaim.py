#!/usr/bin/env python3
"""How long a guaranteed job waits on a full cluster: from the moment its user calls `muster submit` until its first instruction, while a
real training (muster-train) is asked to save its work and leaves. Beside it the least that this can be: the step that the training is in,
and the time that its checkpoint takes. What is left is the scheduler's, the worker's and the processes' own.

    tests/bench/reclaim.py STAMP        (make bench-control)

Prints `metric value unit` lines.
"""
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from cluster import BIN, Cluster, Disappointment, wait_for  # noqa: E402

ROUNDS = 10
GPUS = 8


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def start_training(c):
    return c.submit("-Q", "research", "-g", GPUS, "--grace", "60s", "--", f"{BIN}/muster-train", "--data", f"{c.work}/text", "--steps",
                    1000000, "--checkpoint", f"{c.work}/checkpoints", "--checkpoint-every", 0, "--threads", 1, "--metrics",
                    f"{c.work}/metrics", "--log-every", 1000)


def steps_in(c):
    try:
        with open(f"{c.work}/metrics") as f:
            return [json.loads(line)["step_ms"] for line in f if line.endswith("\n") and "step_ms" in line]
    except FileNotFoundError:
        return []


def stalls(c, job):
    """Milliseconds of each checkpoint, as the training says."""
    return [float(line.split(" still for ")[1].split()[0]) for line in c.output(job).splitlines() if line.startswith("checkpoint of step")]


def urgent(c, stamp):
    """Milliseconds from the call of `muster submit` to the first instruction of what it submits."""
    stamps = f"{c.work}/stamps"
    begin = now_us()
    job = c.submit("-Q", "prod", "-g", GPUS, "--", stamp, stamps)
    c.muster("wait", job, timeout=120)
    with open(stamps) as f:
        return (dict(line.split() for line in f)[str(job)], begin)


def measure(c, stamp):
    c.write("text", "".join(f"the {i}th line of a text that nobody reads twice\n" for i in range(4000)))
    c.admin("quota", "set", "prod", "--guarantee", GPUS)
    c.admin("quota", "set", "research", "--guarantee", 0)
    waits, stalled = [], []
    for _ in range(ROUNDS):   # each with a training of its own: one that is evicted again and again cools down for longer and longer
        before, training = len(steps_in(c)), start_training(c)
        wait_for(lambda: len(steps_in(c)) > before + 5, 60, "the training goes on")
        at, begin = urgent(c, stamp)
        waits.append((int(at) - begin) / 1000)
        c.muster("cancel", training)
        c.wait_final(training)
        stalled += stalls(c, training)[:1]
    return waits, steps_in(c), stalled


def tell(metric, value):
    print(f"{metric:32} {value:9.2f} ms", flush=True)


def main():
    stamp = os.path.abspath(sys.argv[1])
    c = Cluster(1, str(GPUS))
    try:
        c.start()
        waits, steps, stall = measure(c, stamp)
    except (Disappointment, subprocess.TimeoutExpired) as e:
        sys.exit(f"reclaim.py: {e}")
    finally:
        c.stop()
    p50, step, stalled = statistics.median(waits), statistics.median(steps), statistics.median(stall)
    tell("reclaim_to_start_p50_ms", p50)
    tell("reclaim_to_start_max_ms", max(waits))
    tell("reclaim_step_p50_ms", step)
    tell("reclaim_checkpoint_stall_p50_ms", stalled)
    tell("reclaim_beside_them_p50_ms", p50 - step - stalled)


if __name__ == "__main__":
    main()
