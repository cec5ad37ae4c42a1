"""Queues: limits, guarantees, and what is taken back for a guarantee."""
# also: asan

import json
import re

from cluster import PYTHON, ROOT, check, contains, equal, main, wait_for

EXAMPLE = f"{ROOT}/docs/examples/plain_python.py"
STEPS = 150   # a training of some ten seconds


def with_queues(c):
    c.admin("quota", "set", "prod", "--guarantee", 6)
    c.admin("quota", "set", "research", "--guarantee", 0)
    c.admin("quota", "set", "small", "--guarantee", 0, "--limit", 2)


def quota_show_has_the_numbers(c):
    with_queues(c)
    queues = {q["name"]: q for q in c.json("quota", "show")["queues"]}
    equal((queues["prod"]["guarantee"], queues["prod"]["limit"]), (6, None), "prod")
    equal((queues["small"]["guarantee"], queues["small"]["limit"]), (0, 2), "small")
    equal(c.json("quota", "show")["gpus_total"], 8, "GPUs in total")


def guarantees_beyond_the_cluster_are_refused(c):
    with_queues(c)
    answer = c.admin("quota", "set", "greedy", "--guarantee", 100, code=None)
    check(answer.code in (2, 4), f"a guarantee of 100 of 8 GPUs: {answer!r}")
    contains(answer.err, "100", "the numbers")


def more_than_the_limit_can_never_fit(c):
    with_queues(c)
    contains(c.muster("submit", "-Q", "small", "-g", 3, "--", "true", code=4).err, "2", "the limit is named")


def a_limit_makes_jobs_wait_with_numbers(c):
    with_queues(c)
    first = c.submit("-Q", "small", "-g", 2, "--", "sleep", "60")
    second = c.submit("-Q", "small", "-g", 1, "--", "true")
    c.wait_state(first, "RUNNING")
    why = wait_for(lambda: (c.json("why", second)["jobs"][0]["reason"] or {}), 5, "a reason")
    equal(why["code"], "QUEUE_LIMIT", "reason")
    contains(why["text"], "2", "its numbers")
    contains(c.muster("why", second).out, "small", "why names the queue")
    c.muster("cancel", first)
    c.muster("wait", second, timeout=30)


def a_busy_queue_is_not_deleted(c):
    with_queues(c)
    job = c.submit("-Q", "small", "-g", 1, "--", "sleep", "60")
    c.wait_state(job, "RUNNING")
    equal(c.admin("quota", "delete", "small", code=None).code, 5, "exit code of deleting a queue in use")
    c.muster("cancel", job)
    c.wait_final(job)
    c.admin("quota", "delete", "small")


def a_guarantee_is_taken_back_with_the_checkpoint_kept(c):
    with_queues(c)
    training = c.submit("-Q", "research", "-N", 2, "-g", 8, "-n", 4, "--launcher", "direct", "--grace", "20s", "--",
                        PYTHON, EXAMPLE, "--steps", STEPS, "--seconds-per-step", 0.05, "--folder", f"{c.work}/reclaim")
    c.wait_state(training, "RUNNING")
    reached = wait_for(lambda: (c.show(training)["progress"] or {}).get("step", 0), 20, "the training goes on")
    urgent = c.submit("-Q", "prod", "-g", 6, "-N", 2, "--", "sleep", "2")
    c.wait_state(urgent, "RUNNING")
    waiting = c.json("why", training)["jobs"][0]
    equal(waiting["state"], "PENDING", "state of the training")
    check(re.search(r"\d", waiting["reason"]["text"]), f"it waits with numbers: {waiting['reason']}")
    check(waiting["past"], "why tells of the eviction")
    c.muster("wait", urgent, timeout=60)
    row = c.wait_final(training, 90)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempts of the training")
    first = row["attempts"][0]
    equal(first["outcome"].upper(), "PREEMPTED", "how the first attempt ended")
    check(first["step"] >= reached, f"its checkpoint: {first}, when step {reached} had been seen")
    contains(c.output(training), f"resumed at step {first['step']} of {STEPS}", "it resumed at that very step")
    with open(f"{c.work}/reclaim/history.json") as f:
        equal([h["step"] for h in json.load(f)], list(range(1, STEPS + 1)), "every step once, in order")


def beyond_the_guarantee_nothing_is_taken(c):
    with_queues(c)
    holder = c.submit("-Q", "research", "-g", 8, "-N", 2, "--", "sleep", "60")
    c.wait_state(holder, "RUNNING")
    other = c.submit("-Q", "default", "-g", 1, "--", "true")
    wait_for(lambda: c.show(other)["reason"], 5, "a reason")
    equal((c.state_of(holder), c.state_of(other)), ("RUNNING", "PENDING"), "states")
    c.muster("cancel", holder)
    c.muster("wait", other)


def priority_goes_first_inside_a_queue(c):
    with_queues(c)
    holder = c.submit("-g", 8, "-N", 2, "--", "sleep", "60")
    c.wait_state(holder, "RUNNING")
    low = c.submit("-g", 8, "-N", 2, "-p", 1, "--", "true")
    high = c.submit("-g", 8, "-N", 2, "-p", 9, "--", "true")
    c.muster("cancel", holder)
    c.muster("wait", low, high)
    check(c.show(high)["start_ms"] <= c.show(low)["start_ms"], "the higher priority started first")


if __name__ == "__main__":
    main([quota_show_has_the_numbers, guarantees_beyond_the_cluster_are_refused, more_than_the_limit_can_never_fit,
          a_limit_makes_jobs_wait_with_numbers, a_busy_queue_is_not_deleted, beyond_the_guarantee_nothing_is_taken,
          priority_goes_first_inside_a_queue, a_guarantee_is_taken_back_with_the_checkpoint_kept])
