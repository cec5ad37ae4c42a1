"""Elastic gangs under real daemons, mpirun and the trainer: a job shrinks by a checkpoint for a guarantee, grows back on idle GPUs, and
loses no step."""

import hashlib
import json

from cluster import BIN, check, contains, equal, main, wait_for

STEPS = 600
LEAST_RUN = "1s"


def step_of(c, job):
    return (c.show(job)["progress"] or {}).get("step", -1)


def wait_step(c, job, step, seconds=60):
    wait_for(lambda: step_of(c, job) >= step, seconds, f"job {job} is at step {step}")


def runs_with(c, job, gpus, seconds=60):
    """It runs with so many GPUs, each with a rank."""
    def reached():
        row = c.show(job)
        return row["state"] == "RUNNING" and row["gpus"] == gpus and row
    row = wait_for(reached, seconds, f"job {job} runs with {gpus} GPUs")
    equal(row["ranks"], gpus, "ranks")
    return row


def train(c, name, steps, *words):
    """Everybody's own checkpoint and metrics; eight shards can be dealt to 8, 4, 2 and 1."""
    return c.submit(*words, "--name", name, "--launcher", "mpirun", "--", f"{BIN}/muster-train", "--data", c.text, "--layers", 1,
                    "--heads", 2, "--channels", 32, "--context", 32, "--batch", 16, "--steps", steps, "--warm-up", 5,
                    "--reduce", "exact", "--shards", 8,
                    "--checkpoint", f"{c.work}/{name}", "--checkpoint-every", 20, "--metrics", f"{c.work}/{name}.jsonl", "--threads", 1)


def metrics(c, name):
    with open(f"{c.work}/{name}.jsonl") as f:
        return [json.loads(line) for line in f]


def set_up(c):
    c.text = c.write("text.txt", "".join(f"{i} times {i} is {i * i}; the sum of both is {2 * i}.\n" for i in range(4000)), mode=0o644)
    c.admin("quota", "set", "prod", "--guarantee", 4)
    c.admin("quota", "set", "lab", "--min-runtime", LEAST_RUN)


def a_job_says_from_to(c):
    set_up(c)
    contains(c.muster("submit", "--dry-run", "--gpus", "4..8", "--estimate", "2h", "--compact", "--", "true").out,
             "asked for   4 to 8 GPUs, 1 core a rank, compact, about 2h00m", "dry run")
    for words, part in ((["--gpus", "3..8"], "ask for 2..8 or 4..8"), (["--gpus", "8..4"], "the least comes first: 4..8"),
                        (["--gpus", "4..8", "--ranks", "2"], "leave ranks out, or ask for 8"),
                        (["--gpus", "4..8", "--no-preempt"], "a job that can't be stopped can't be resized"),
                        (["--gpus", "16..32"], "16 GPUs")):
        contains(c.muster("submit", *words, "--", "true", code=None).err, part, f"{words}")
    script = c.write("elastic.sh", "#!/bin/sh\n#MUSTER --gpus 2..8 --launcher mpirun\n#MUSTER --compact\necho rank $RANK of $WORLD_SIZE\n")
    job = c.submit(script)
    equal(c.wait_final(job)["state"], "COMPLETED", "state")
    requested = c.show(job)["requested"]
    equal([requested[k] for k in ("gpus", "gpus_min", "ranks", "compact")], [8, 2, 8, True], "requested")
    contains(c.output(job), "rank 7 of 8", "output")


def it_shrinks_for_a_guarantee_grows_back_and_loses_no_step(c):
    job = train(c, "train", STEPS, "-Q", "lab", "--gpus", "4..8")
    runs_with(c, job, 8)
    wait_step(c, job, 25)

    urgent = c.submit("-Q", "prod", "-g", 4, "--output", "/dev/null", "--", "sleep", "600")
    c.wait_state(urgent, "RUNNING", seconds=60)
    row = runs_with(c, job, 4)
    equal(row["attempt"], 2, "attempts after it shrank")
    contains(c.muster("show", job).out, "4 to 8 GPUs, runs with 4", "what show says")
    contains(c.muster("why", job).out, f"attempt 1 was to go on with less than 8 GPUs (rule: shrink: job {urgent} of queue prod",
             "why it was resized")
    wait_step(c, job, row["checkpoint"]["step"] + 25)

    c.muster("cancel", urgent)
    row = runs_with(c, job, 8)
    equal(row["attempt"], 3, "attempts after it grew")
    contains(c.muster("why", job).out, "attempt 2 was to go on with more than 4 GPUs (rule: grow: 4 GPUs are idle", "why it was resized")

    row = c.wait_final(job, seconds=120)
    equal(row["state"], "COMPLETED", "state")
    equal([a["outcome"] for a in row["attempts"]], ["RESIZED", "RESIZED", "COMPLETED"], "outcomes")
    events = [e["event"] for e in row["timeline"]]
    check(events.count("RESIZED") == 2 and "PREEMPTED" not in events and "KILLED" not in events, f"timeline {events}")
    equal([m["step"] for m in metrics(c, "train")], list(range(1, STEPS + 1)), "steps")
    out = c.output(job)
    for n in (8, 4):
        contains(out, f"on {n} ranks", "ranks of the attempts")
    for attempt in (0, 1):   # it goes on where the attempt before it left
        contains(out, f"step {row['attempts'][attempt]['step']} of {STEPS}", "resumed at")


def digest(c, name):
    """Of the weights, the moments of the optimiser, and each step's loss."""
    sums = []
    for file in ("model.safetensors", "optimizer.safetensors"):
        with open(f"{c.work}/{name}/step-{STEPS:08d}/{file}", "rb") as f:
            sums.append(hashlib.sha256(f.read()).hexdigest())
    return sums, [(m["step"], m["loss"], m["gradient_norm"]) for m in metrics(c, name)]


def every_bit_is_that_of_an_undisturbed_run(c):
    alone = train(c, "alone", STEPS, "-Q", "lab", "--gpus", 2)
    equal(c.wait_final(alone, seconds=120)["state"], "COMPLETED", "state")
    equal(digest(c, "train"), digest(c, "alone"), "weights, moments and losses")


main([a_job_says_from_to, it_shrinks_for_a_guarantee_grows_back_and_loses_no_step, every_bit_is_that_of_an_undisturbed_run], 2, "4",
     "--cpus", "16")
