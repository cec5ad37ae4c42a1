"""kill -9 of musterd, of an agent, of a launcher and of a rank, at random moments of a real training.

Every time the training must end COMPLETED, with each of its steps reached, and nothing may run twice or stay. FAULT_ROUNDS says
how many kills of each kind (default 1; `make faults` runs 20), FAULT_SEED where the moments begin (printed, so that a failure can
be repeated).
"""

import json
import os
import random
import signal
import time

from cluster import BIN, Disappointment, check, contains, equal, main, process_runs, wait_for

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
SEED = int(os.environ.get("FAULT_SEED", str(random.SystemRandom().randrange(1 << 32))))
STEPS = int(os.environ.get("FAULT_STEPS", "150"))
chance = random.Random(SEED)


def train(c, name, *options):
    folder = f"{c.work}/{name}"
    return c.submit("-N", 2, "-g", 4, "-n", 4, "--name", name, *options, "--", f"{BIN}/muster-train", "--data",
                    "/usr/share/common-licenses/GPL-3", "--layers", 1, "--channels", 64, "--context", 64, "--batch", 8, "--steps", STEPS,
                    "--checkpoint", folder, "--checkpoint-every", 25, "--threads", 1, "--metrics", f"{folder}.jsonl")


def wait_step(c, job, step):
    def reached():
        row = c.show(job)
        check(row["state"] not in ("FAILED", "NODE_LOST"), f"job {job} is {row['state']}: {row['cause']}")
        return row["state"] == "COMPLETED" or (row["progress"] or {}).get("step", 0) >= step
    wait_for(reached, 60, f"job {job} reaches step {step}")


def ranks_of(job, state):
    """The pids here of a job's ranks, by their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                words = f.read().split(b"\0")
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                program = f.read().split(b"\0")[0]
        except OSError:
            continue
        if f"MUSTER_JOB_ID={job}".encode() in words and program.endswith(b"muster-train") and any(state.encode() in w for w in words):
            found.append(int(pid))
    return found


def whole(c, job, name, attempts):
    """The training is done, exactly once a step for its last word, and nothing of it is left."""
    c.muster("wait", job, timeout=180)
    row = c.show(job)
    equal(row["state"], "COMPLETED", "state")
    check(row["attempt"] in attempts, f"attempts: {row['attempt']}, expected one of {attempts}")
    last = {}
    with open(f"{c.work}/{name}.jsonl") as f:
        for line in f:
            step = json.loads(line)
            last[step["step"]] = step
    equal(sorted(last), list(range(1, STEPS + 1)), "the steps in its metrics")
    wait_for(lambda: not ranks_of(job, c.state), 5, "no rank is left")
    wait_for(lambda: sum(n["gpus_used"] for n in c.json("nodes")["nodes"]) == 0, 10, "all GPUs are free")
    return row


def rounds(c, kind, *options):
    """Trainings that run, each at a random moment of its own. One that has ended before its moment doesn't count."""
    done = 0
    for number in range(3 * ROUNDS):
        name = f"{kind}{number}"
        job = train(c, name, *options)
        wait_step(c, job, chance.randrange(1, STEPS * 3 // 4))
        pause = chance.random() * 0.3
        time.sleep(pause)
        if c.state_of(job) != "RUNNING":
            c.muster("wait", job)
            continue
        yield name, job, pause
        done += 1
        if done == ROUNDS:
            return
    raise Disappointment(f"only {done} of {ROUNDS} trainings still ran when their moment came")


def kill_of_musterd(c):
    for name, job, pause in rounds(c, "musterd"):
        c.kill("musterd")
        time.sleep(pause)
        c.restart("musterd")
        # The training never noticed: one attempt.
        whole(c, job, name, {1})


def kill_of_an_agent(c):
    for name, job, pause in rounds(c, "agent"):
        agent = f"worker{chance.randrange(2)}"
        c.kill(agent)
        time.sleep(pause)
        c.restart(agent)
        whole(c, job, name, {1})


def kill_of_a_launcher(c):
    for name, job, _ in rounds(c, "launcher"):
        worker = f"worker{chance.randrange(2)}"
        before = ranks_of(job, c.state)
        c.kill(f"{worker}.launcher")
        c.restart(f"{worker}.launcher")
        # Its tasks end with it, and the job runs again from its checkpoint (unless it ended in that very moment).
        row = whole(c, job, name, {1, 2})
        check(row["attempt"] == 2 or not before, f"a second attempt: {row['attempts']}")
        check(not any(process_runs(p) for p in before), "no rank of the first attempt is left")


def kill_of_a_rank(c):
    for name, job, _ in rounds(c, "rank", "--retries", 1):
        pids = ranks_of(job, c.state)
        if pids:
            try:
                os.kill(chance.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pids = []
        row = whole(c, job, name, {1, 2})
        if row["attempt"] == 2:
            text = json.dumps(row)
            contains(text, "rank", "the reason names the rank")


if __name__ == "__main__":
    print(f"# FAULT_SEED={SEED} FAULT_ROUNDS={ROUNDS}")
    if not os.path.exists(f"{BIN}/muster-train"):
        print("muster-train was not built")
        raise SystemExit(77)
    main([kill_of_musterd, kill_of_an_agent, kill_of_a_launcher, kill_of_a_rank])
