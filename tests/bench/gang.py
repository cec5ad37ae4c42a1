#!/usr/bin/env python3
"""What Muster adds to the start of a gang: 32 ranks on 8 workers, all on this machine, from the moment at which the scheduler assigns the
nodes until the last rank's first instruction. Beside it, in turns, the bare mpirun of the same ranks over as many orteds, which a shim
starts without ssh.

    tests/bench/gang.py STAMP        (make bench-control)

Prints `metric value unit` lines, medians.
"""
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from cluster import Cluster, Disappointment  # noqa: E402

ROUNDS, WORKERS, RANKS = 5, 8, 32
# HOST COMMAND...: as on a host of its own, which has a folder for temporary files.
SHIM = """#!/bin/sh
TMPDIR=$(mktemp -d "$PWD/$1.XXXX") || exit
export TMPDIR
shift
exec /bin/sh -c "$*"
"""


def now_us():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def last_stamp(path):
    with open(path) as f:
        at = [int(line.split()[1]) for line in f]
    os.unlink(path)
    if len(at) != RANKS:
        raise Disappointment(f"{len(at)} of {RANKS} ranks began")
    return max(at)


def by_muster(c, stamp):
    """(from the assignment, from the call of `muster submit`), in ms."""
    begin, stamps = now_us(), f"{c.work}/stamps"
    job = c.submit("-N", WORKERS, "-g", RANKS, "-n", RANKS, "--launcher", "mpirun", "--", stamp, stamps)
    c.muster("wait", job, timeout=300)
    wall_less_boot_us = time.time_ns() // 1000 - now_us()
    end = last_stamp(stamps)
    return (end + wall_less_boot_us) / 1e3 - c.show(job)["start_ms"], (end - begin) / 1e3


def by_mpirun(c, stamp):
    stamps = f"{c.work}/bare"
    hosts = ",".join(f"muster-{i}:{RANKS // WORKERS}" for i in range(WORKERS))
    environment = c.environment(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", "-np", str(RANKS), "--host", hosts, "--map-by", "slot", "--bind-to", "none", "--leave-session-attached",
               "--mca", "plm_rsh_agent", f"{c.work}/shim", "--mca", "plm_rsh_no_tree_spawn", "1", "--mca", "oob_tcp_if_include", "lo",
               stamp, stamps]
    begin = now_us()
    subprocess.run(command, cwd=c.work, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300, **c.identity())
    return (last_stamp(stamps) - begin) / 1e3


def measure(c, stamp):
    c.write("shim", SHIM)
    of_muster, submitted, bare = [], [], []
    for i in range(-1, ROUNDS):   # the first warms up
        assigned, called = by_muster(c, stamp)
        alone = by_mpirun(c, stamp)
        if i >= 0:
            of_muster.append(assigned)
            submitted.append(called)
            bare.append(alone)
    median = statistics.median
    print(f"gang_start_p50_ms {median(of_muster):.0f} ms")
    print(f"gang_submit_to_start_p50_ms {median(submitted):.0f} ms")
    print(f"gang_start_bare_mpirun_p50_ms {median(bare):.0f} ms")
    print(f"gang_start_overhead_ratio {median(of_muster) / median(bare):.2f} times", flush=True)


def main():
    c = Cluster(WORKERS, str(RANKS // WORKERS), "--cpus", "8")
    try:
        c.start()
        measure(c, os.path.abspath(sys.argv[1]))
    except (Disappointment, subprocess.SubprocessError) as e:
        sys.exit(f"gang.py: {e}")
    finally:
        c.stop()


if __name__ == "__main__":
    main()
