"""P4: an agent that is away for longer than the lease (stopped, or dead and not restarted) loses its jobs, and never do two
attempts of a job live at once.

The job appends its attempt and the time to one file, twenty times a second: all lines of an attempt must come before those of the next.
FAULT_ROUNDS says how often each (default 1; 5 with FAULT_LONG).
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from cluster import check, equal, main, wait_for  # noqa: E402

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "5" if os.environ.get("FAULT_LONG") else "1"))
BEATER = ("left=40; while [ $left -gt 0 ]; do echo $MUSTER_ATTEMPT $(date +%s%N) >>{beats}; "
          "[ $MUSTER_ATTEMPT -gt 1 ] && left=$((left-1)); sleep 0.05; done")


def beats_of(path):
    with open(path) as f:
        return [tuple(map(int, line.split())) for line in f]


def one_attempt_at_a_time(c, path, job):
    beats = beats_of(path)
    attempts = [attempt for attempt, _ in beats]
    equal(attempts, sorted(attempts), f"the attempts of job {job} in the order of their lines")
    equal([when for _, when in beats], sorted(when for _, when in beats), "their times")
    last = max(when for attempt, when in beats if attempt == 1)
    first = min(when for attempt, when in beats if attempt == 2)
    print(f"# job {job}: {(first - last) / 1e9:.1f} s between its two attempts")
    return c.show(job)


def away(c, sign, number):
    path = f"{c.work}/beats{sign}-{number}"
    job = c.submit("-g", 1, "--", "sh", "-c", BEATER.format(beats=path))
    node = c.wait_state(job, "RUNNING")["nodes"][0]
    wait_for(lambda: os.path.exists(path) and len(beats_of(path)) > 5, 10, "the job beats")
    c.kill(node, sign)
    c.wait_state(job, "COMPLETED", seconds=40)
    row = one_attempt_at_a_time(c, path, job)
    equal(row["attempt"], 2, "the attempts")
    check(row["nodes"] != [node], "the second attempt ran on the other node")
    if sign == signal.SIGSTOP:
        os.kill(c.pid(node), signal.SIGCONT)
    else:
        c.restart(node)
    wait_for(lambda: all(n["state"] == "UP" and n["gpus_used"] == 0 for n in c.json("nodes")["nodes"]), 20, "both nodes are up and free")
    time.sleep(1)
    equal(len([a for a, _ in beats_of(path) if a == 2]), 40, "nothing ran after all that")


def a_stopped_agent(c):
    for number in range(ROUNDS):
        away(c, signal.SIGSTOP, number)


def an_agent_that_stays_dead(c):
    for number in range(ROUNDS):
        away(c, signal.SIGKILL, number)


if __name__ == "__main__":
    main([a_stopped_agent, an_agent_that_stays_dead], 2, "2", "--cpus", "4")
