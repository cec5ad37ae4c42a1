"""mpirun over the nodes of an allocation, without ssh: Muster's own (--launcher mpirun), and a script's plain `mpirun ./a.out`."""

import os
import re
import signal
import subprocess
import time

from cluster import Skip, check, contains, equal, main, process_runs, wait_for

SOURCE = r"""
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* A 4 MiB all-reduce; then what the argument says: nothing, `die` (rank 2 kills itself), `fail` (rank 1 exits with 9), `sleep`. */
int main(int argc, char **argv) {
    int rank, size, n = 1 << 20;
    float *v = malloc(n * sizeof *v);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = 0; i < n; i++)
        v[i] = rank + 1;
    MPI_Allreduce(MPI_IN_PLACE, v, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d sum %g RANK=%s LOCAL_RANK=%s NODE_RANK=%s pid %d\n", rank, size, v[n - 1], getenv("RANK"), getenv("LOCAL_RANK"),
           getenv("NODE_RANK"), (int)getpid());
    printf("segments in %s\n", getenv("OMPI_MCA_btl_vader_backing_directory"));
    fflush(stdout);
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "die") && rank == 2) {
        sleep(1);   /* what the others have printed is on its way through mpirun, and ends with the gang */
        raise(SIGKILL);
    }
    if (!strcmp(what, "fail") && rank == 1)
        _exit(9);
    if (*what)
        sleep(60);
    MPI_Finalize();
    return 0;
}
"""


def program(c):
    path = f"{c.work}/reduce"
    if not os.path.exists(path):
        source = c.write("reduce.c", SOURCE)
        done = subprocess.run(["mpicc", "-O1", "-o", path, source], capture_output=True, text=True)
        if done.returncode:
            raise Skip(f"mpicc: {done.stderr.strip()[-200:]}")
        os.chmod(path, 0o755)
    return path


def ranks_of(text):
    return sorted((int(r), int(n), s) for r, n, s in re.findall(r"rank (\d+) of (\d+) sum (\S+)", text))


def segment_folders(text):
    """Where the ranks that printed this keep what they share; each node has a folder a job."""
    return set(re.findall(r"segments in (/dev/shm/muster\S+)", text))


def muster_runs_mpirun_over_two_nodes(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", program(c))
    c.muster("wait", job, timeout=60)
    row = c.show(job)
    equal((row["launcher"], sorted(row["nodes"])), ("mpirun", ["worker0", "worker1"]), "launcher and nodes")
    equal(ranks_of(c.output(job)), [(r, 4, "10") for r in range(4)], "ranks and their sum")
    for rank in range(4):
        line = c.muster("logs", job, "--rank", rank).out
        contains(line, f"rank {rank} of 4", f"the log of rank {rank}")
        contains(line, f"RANK={rank} LOCAL_RANK={rank % 2} NODE_RANK={rank // 2}", "torchrun-like variables")
    equal(len(row["placement"]["nodes"]), 2, "nodes in the placement")
    equal(len(row["placement"]["rank_order"]), 4, "rank order")


def a_script_says_plain_mpirun(c):
    c.write("plain.sh", f"#!/bin/sh\necho on $MUSTER_NODELIST\nmpirun {program(c)}\n")
    job = c.submit("-N", 2, "-g", 4, "--launcher", "none", "./plain.sh")
    c.muster("wait", job, timeout=60)
    text = c.output(job)
    contains(text, "on " + ",".join(c.show(job)["nodes"]), "the node list")
    equal([r for r, n, s in ranks_of(text)], list(range(4)), "ranks of a plain mpirun")


def without_gpus_a_plain_mpirun_starts_a_rank_a_core(c):
    job = c.submit("--cpus", 1, "--", "mpirun", program(c))
    c.muster("wait", job, timeout=60)
    equal(ranks_of(c.output(job)), [(0, 1, "1")], "ranks")


def one_rank_a_node(c):
    job = c.submit("-N", 2, "-n", 2, "--", program(c))
    c.muster("wait", job, timeout=60)
    equal(ranks_of(c.output(job)), [(0, 2, "3"), (1, 2, "3")], "ranks")


def a_killed_rank_ends_the_gang_and_is_named(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", program(c), "die")
    c.muster("wait", job, code=128 + signal.SIGKILL, timeout=60)
    row = c.show(job)
    equal((row["state"], row["signal"]), ("FAILED", signal.SIGKILL), "state and signal")
    contains(row["cause"], "rank 2", "the reason names the rank")
    contains(row["cause"], "KILL", "and the signal")
    pids = [int(p) for p in re.findall(r"pid (\d+)", c.output(job))]
    equal(len(pids), 4, "ranks that spoke")
    check(not any(process_runs(p) for p in pids), f"no rank is left: {pids}")
    folders = segment_folders(c.output(job))
    equal((len(folders), [f for f in folders if os.path.exists(f)]), (2, []), "folders of shared memory, and those that are left")


def a_failing_rank_gives_its_code(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", program(c), "fail")
    c.muster("wait", job, code=9, timeout=60)
    contains(c.show(job)["cause"], "rank 1", "the reason names the rank")


def the_reason_comes_within_two_seconds(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", program(c), "sleep")
    c.wait_state(job, "RUNNING")
    pids = wait_for(lambda: (p := re.findall(r"rank 3 of.* pid (\d+)", c.output(job))) and [int(p[0])], 20, "rank 3 speaks")
    began = time.monotonic()
    os.kill(pids[0], signal.SIGSEGV)
    row = c.wait_final(job, 10)
    check(time.monotonic() - began < 3, f"the end was known after {time.monotonic() - began:.1f} s")
    contains(row["cause"], "rank 3", "the rank")
    contains(row["cause"], "SEGV", "the signal")


def cancel_leaves_no_rank(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", program(c), "sleep")
    c.wait_state(job, "RUNNING")
    wait_for(lambda: len(re.findall(r"segments in", c.output(job))) == 4, 20, "all ranks speak")
    pids, folders = [int(p) for p in re.findall(r"pid (\d+)", c.output(job))], segment_folders(c.output(job))
    check(all("vader_segment" in name for f in folders for name in os.listdir(f) or [""]), f"{folders} hold segments of shared memory")
    c.muster("cancel", job)
    equal(c.wait_final(job, 20)["state"], "CANCELLED", "state")
    check(not any(process_runs(p) for p in pids), "no rank is left")
    equal((len(folders), [f for f in folders if os.path.exists(f)]), (2, []), "folders of shared memory, and those that are left")
    nodes = c.json("nodes")["nodes"]
    equal(sum(n["gpus_used"] for n in nodes), 0, "GPUs in use")


if __name__ == "__main__":
    main([muster_runs_mpirun_over_two_nodes, a_script_says_plain_mpirun, without_gpus_a_plain_mpirun_starts_a_rank_a_core,
          one_rank_a_node, a_killed_rank_ends_the_gang_and_is_named,
          a_failing_rank_gives_its_code, the_reason_comes_within_two_seconds, cancel_leaves_no_rank])
