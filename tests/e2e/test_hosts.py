"""Four hosts that are hosts: namespaces with own names, addresses, processes and /tmp, one shared folder, keys between them."""

import re
import subprocess
import time

from cluster import DEPLOY, check, contains, equal, main, wait_for
from test_mpirun import program, ranks_of


def on_host(c, index, *words):
    done = subprocess.run(["sh", f"{DEPLOY}/hosts", "exec", "--dir", f"{c.state}/hosts", f"host{index}", *words], cwd=c.work,
                          capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


def they_are_hosts(c):
    equal([on_host(c, i, "hostname") for i in range(4)], [f"host{i}" for i in range(4)], "names")
    contains(on_host(c, 2, "ip", "-o", "addr"), "10.77.0.3/24", "address")
    on_host(c, 0, "touch", "/tmp/mark")
    check("mark" not in on_host(c, 1, "ls", "/tmp"), "/tmp is not shared")
    nodes = c.json("nodes")["nodes"]
    equal([n["address"] for n in nodes], [f"10.77.0.{i}" for i in range(1, 5)], "addresses of the nodes")


def a_job_runs_on_one_of_them(c):
    job = c.submit("--", "sh", "-c", "hostname; readlink /proc/self/ns/net")
    c.muster("wait", job)
    contains(c.output(job), "host", "the host's name")


def mpirun_spans_all_four(c):
    job = c.submit("-N", 4, "-g", 8, "-n", 8, "--", program(c))
    c.muster("wait", job, timeout=90)
    equal(ranks_of(c.output(job)), [(r, 8, "36") for r in range(8)], "ranks and their sum")


def plain_mpirun_spans_two(c):
    c.write("plain.sh", f"#!/bin/sh\nmpirun {program(c)}\n")
    job = c.submit("-N", 2, "-g", 4, "--launcher", "none", "./plain.sh")
    c.muster("wait", job, timeout=90)
    equal([r for r, n, s in ranks_of(c.output(job))], list(range(4)), "ranks")


def direct_spans_two(c):
    job = c.submit("-N", 2, "-g", 2, "-n", 2, "--launcher", "direct", "--", "sh", "-c", "echo $(hostname) $MASTER_ADDR")
    c.muster("wait", job)
    lines = [c.muster("logs", job, "--rank", r).out.split() for r in range(2)]
    check(lines[0][0] != lines[1][0], f"two hosts: {lines}")
    check(re.match(r"10\.77\.0\.\d$", lines[1][1]), f"MASTER_ADDR {lines[1][1]}")


def a_short_cut_of_the_cable_touches_nothing(c):
    job = c.submit("-g", 1, "--", "sh", "-c", "sleep 3; echo attempt $MUSTER_ATTEMPT")
    where = c.wait_state(job, "RUNNING")["nodes"][0]
    cable(c, "cut", where)
    time.sleep(1)
    cable(c, "join", where)
    c.muster("wait", job, timeout=60)
    equal(c.output(job), "attempt 1\n", "output")


def a_long_cut_requeues_and_never_runs_twice(c):
    breathe = "[ $MUSTER_ATTEMPT -gt 1 ] && exit 0; while :; do date +%s.%N >>alive.1; sleep 0.05; done"
    job = c.submit("-g", 1, "--", "sh", "-c", breathe)
    where = c.wait_state(job, "RUNNING")["nodes"][0]
    if where == "worker0":
        # musterd lives there: its own worker reaches it without the cable.
        c.admin("drain", "worker0", "--reason", "the cable of another is to be cut")
        c.muster("cancel", job)
        c.wait_final(job)
        job = c.submit("-g", 1, "--", "sh", "-c", breathe)
        where = c.wait_state(job, "RUNNING")["nodes"][0]
        c.admin("resume", "worker0")
    cable(c, "cut", where)
    try:
        row = c.wait_final(job, 60)
    finally:
        cable(c, "join", where)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempt")
    with open(f"{c.work}/alive.1") as f:
        last_breath = float(f.read().split("\n")[-2])   # the last whole line
    started = row["start_ms"] / 1000
    check(last_breath <= started + 0.1, f"the first attempt still ran {last_breath - started:.2f} s into the second")
    wait_for(lambda: all(n["state"] == "UP" for n in c.json("nodes")["nodes"]), 20, "all nodes are UP again")


def cable(c, command, node):
    subprocess.run(["sh", f"{DEPLOY}/hosts", command, "--dir", f"{c.state}/hosts", node.replace("worker", "host")], check=True, timeout=20)


def musterd_is_killed_and_restarted(c):
    job = c.submit("-N", 2, "-g", 4, "-n", 4, "--", "sh", "-c", "sleep 4")
    c.wait_state(job, "RUNNING")
    c.kill("musterd")
    c.restart("musterd")
    c.muster("wait", job, timeout=60)
    equal(c.show(job)["attempt"], 1, "attempt")


if __name__ == "__main__":
    main([they_are_hosts, a_job_runs_on_one_of_them, mpirun_spans_all_four, plain_mpirun_spans_two, direct_spans_two,
          a_short_cut_of_the_cable_touches_nothing, a_long_cut_requeues_and_never_runs_twice, musterd_is_killed_and_restarted],
         4, "4", "--hosts")
