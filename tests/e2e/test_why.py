"""Why a job waits, as its user sees it: each kind of wait made with real daemons; what would let it start, done; past evictions."""
# also: asan

import json
import re
import time

from cluster import PYTHON, ROOT, check, contains, equal, main, wait_for

EXAMPLE = f"{ROOT}/docs/examples/plain_python.py"


def why(c, job, code=None, **more):
    """The reason of a waiting job, once it has the code; and what `muster why` prints beside it."""
    def reason():
        found = c.json("why", job, **more)["jobs"][0]["reason"]
        return found if found and (code is None or found["code"] == code) else None
    found = wait_for(reason, 10, f"job {job} waits by {code}")
    return found, c.muster("why", job, **more).out


def options(reason, by="user"):
    return [change["option"] for change in reason["changes"] if change["by"] == by]


def holder(c, *options, gpus=4):
    """A job that runs until it is cancelled."""
    job = c.submit("-g", gpus, *options, "--", "sleep", "600")
    c.wait_state(job, "RUNNING")
    return job


def end(c, *jobs):
    c.admin("cancel", *jobs, code=None)
    for job in jobs:
        c.wait_final(job)


def starts(c, *words):
    """Submits it: it has to run at once."""
    job = c.submit(*words, "--", "sleep", "600")
    c.wait_state(job, "STARTING", "RUNNING", seconds=5)
    return job


def a_full_cluster_tells_who_holds_it_and_until_when(c):
    one = holder(c, "--time", "2h")
    two = holder(c, "--time", "1h")
    job = c.submit("-g", 4, "--", "true")
    reason, text = why(c, job, "NO_FIT")
    contains(text, "waits for 4 GPUs: 0 of 8 are free", "the sentence")
    equal((reason["holders"], reason["holder_count"], reason["holder_gpus"]), ([one, two], 2, 8), "who holds it")
    contains(text, f"held by     jobs {one}, {two}", "who holds it, in text")
    check(abs(reason["expected_start_ms"] / 1000 - time.time() - 3600) < 60, f"about in an hour: {reason['expected_start_ms']}")
    equal(reason["expected_start_basis"], f"if job {two} ends by its time limit", "on what that rests")
    check(re.search(rf"starts      about \d\d:\d\d:\d\d, if job {two} ends by its time limit", text), f"and in text: {text}")
    end(c, job, one, two)


def without_a_time_limit_nobody_knows(c):
    job = holder(c, gpus=8)
    waiting = c.submit("-g", 2, "--", "true")
    reason, text = why(c, waiting, "NO_FIT")
    equal(reason["expected_start_ms"], None, "no time is made up")
    contains(text, f"starts      unknown: job {job} has no time limit", "who gives none")
    end(c, waiting, job)


def a_smaller_gang_and_another_topology_start_at_once(c):
    job = holder(c, "-N", 2, gpus=2)
    waiting = c.submit("-g", 4, "--topology", "node", "--", "true")
    reason, text = why(c, waiting, "TOPOLOGY")
    equal(options(reason), ["--gpus 3", "--topology any"], "what it could ask for")
    contains(text, "--gpus 3: 3 GPUs would start now on worker", "in text")
    smaller = starts(c, "-g", 3, "--topology", "node")
    end(c, smaller)
    wider = starts(c, "-g", 4, "--topology", "any")
    end(c, waiting, wider, job)


def a_queues_limit_names_another_queue(c):
    c.admin("quota", "set", "small", "--limit", 2)
    job = holder(c, "-Q", "small", gpus=2)
    waiting = c.submit("-Q", "small", "-g", 1, "--", "sleep", "600")
    reason, text = why(c, waiting, "QUEUE_LIMIT")
    equal(reason["holders"], [job], "who holds it")
    contains(options(reason), "--queue default", "another queue")
    equal(options(reason, "admin"), ["muster quota set small --limit 3"], "and what an admin could do")
    elsewhere = starts(c, "-Q", "default", "-g", 1)
    c.admin("quota", "set", "small", "--limit", 3)
    c.wait_state(waiting, "RUNNING")
    end(c, elsewhere, waiting, job)


def queues_that_are_closed_to_a_user_are_not_named(c):
    c.admin("quota", "set", "small", "--limit", 2)
    c.admin("quota", "set", "theirs", "--users", "nobody-else")
    job = holder(c, "-Q", "small", gpus=2)
    waiting = c.submit("-Q", "small", "-g", 1, "--", "true")
    reason, _ = why(c, waiting, "QUEUE_LIMIT")
    if c.user:
        check("--queue theirs" not in options(reason), f"not a queue that it may not use: {reason['changes']}")
    check("--queue theirs" in options(why(c, waiting, root=True)[0]), "an admin may")
    end(c, waiting, job)
    c.admin("quota", "delete", "theirs")


def what_can_not_be_stopped_needs_a_guarantee(c):
    c.admin("quota", "set", "prod", "--guarantee", 2)
    job = holder(c, "-Q", "prod", "--no-preempt", gpus=1)
    waiting = c.submit("-Q", "prod", "--no-preempt", "-g", 2, "--", "true")
    reason, _ = why(c, waiting, "QUOTA")
    equal(options(reason)[:2], ["--gpus 1", "without --no-preempt"], "what it could ask for")
    contains(options(reason, "admin"), "muster quota set prod --guarantee 3", "what an admin could do")
    end(c, starts(c, "-Q", "prod", "-g", 2))
    end(c, waiting)   # what is left of the guarantee is kept for it as long as it waits
    end(c, starts(c, "-Q", "prod", "-g", 1, "--no-preempt"))
    end(c, job)
    c.admin("quota", "delete", "prod")


def one_job_of_a_user_at_a_time(c):
    c.admin("quota", "set", "small", "--limit", 4, "--max-running-per-user", 1)
    job = holder(c, "-Q", "small", "--time", "1h", gpus=1)
    waiting = c.submit("-Q", "small", "-g", 1, "--", "true")
    reason, _ = why(c, waiting, "USER_LIMIT")
    equal((reason["holders"], reason["expected_start_basis"]), ([job], f"if job {job} ends by its time limit"), "who, and until when")
    equal(options(reason, "admin"), ["muster quota set small --max-running-per-user 2"], "what an admin could do")
    end(c, waiting, job)
    c.admin("quota", "set", "small", "--max-running-per-user", "none")


def a_drained_queue_and_a_drained_node(c):
    c.admin("quota", "set", "small", "--limit", 4)
    waiting = c.submit("-Q", "small", "-g", 1, "--hold", "--", "true")
    c.admin("quota", "drain", "small")
    c.muster("release", waiting)
    reason, text = why(c, waiting, "QUEUE_CLOSED")
    contains(text, "starts      unknown: queue small is drained until somebody resumes it", "until when")
    equal(options(reason, "admin"), ["muster quota resume small"], "what an admin could do")
    c.admin("quota", "resume", "small")
    c.muster("wait", waiting)
    c.admin("drain", "worker1", "--reason", "new disk")
    waiting = c.submit("-g", 8, "--", "true")
    reason, text = why(c, waiting, "NODE_HEALTH")
    contains(text, "worker1 (drained: new disk)", "which node")
    equal(options(reason, "admin"), ["muster resume worker1"], "what an admin could do")
    contains(options(reason), "--gpus 4", "what its user could do")
    c.admin("resume", "worker1")
    c.muster("wait", waiting)


def dependencies_holds_and_cool_downs(c):
    first = c.submit("--time", "1h", "--", "sleep", "600")
    c.wait_state(first, "RUNNING")
    second = c.submit("--after", f"any:{first}", "--", "true")
    reason, _ = why(c, second, "DEPENDENCY")
    equal((reason["holders"], reason["expected_start_basis"]), ([first], f"if job {first} ends by its time limit"), "it waits for that one")
    third = c.submit("--after", f"ok:{second}", "--", "true")
    contains(why(c, third, "DEPENDENCY")[1], f"starts      unknown: job {second}, which it waits for, waits itself", "and so on")
    held = c.submit("--hold", "--", "true")
    contains(why(c, held, "HELD")[1], "starts      unknown: it is held until somebody releases it", "a hold")
    end(c, first)
    c.muster("wait", second, third)
    end(c, held)
    failing = c.submit("--retries", 9, "--", "false")
    reason, _ = why(c, failing, "COOL_DOWN")
    check(reason["expected_start_ms"] and reason["expected_start_ms"] < time.time() * 1000 + 70e3, f"soon again: {reason}")
    end(c, failing)


def a_place_that_is_kept_and_a_time_that_is_short_enough(c):
    c.admin("quota", "set", "prod", "--guarantee", 8)
    job = holder(c, "-Q", "prod", "--time", "2h")
    gang = c.submit("-Q", "prod", "-g", 8, "--time", "1h", "--", "true")
    equal(why(c, gang, "NO_FIT")[0]["expected_start_basis"], f"if job {job} ends by its time limit", "when the gang starts")
    waiting = c.submit("-Q", "prod", "-g", 2, "--time", "3h", "--no-preempt", "--", "true")
    reason, _ = why(c, waiting, "PRIORITY")
    equal(reason["holders"], [gang], "for whom what is free is kept")
    shorter = [o for o in options(reason) if o.startswith("--time")]
    check(shorter, f"a time is told: {reason['changes']}")
    small = starts(c, "-Q", "prod", "-g", 2, "--no-preempt", *shorter[0].split())
    end(c, small, waiting, gang, job)
    c.admin("quota", "delete", "prod")


def tested(c, *words):
    """What `muster submit --test-only` says."""
    return json.loads(c.muster("submit", "--test-only", "--json", *words).out)


def only_to_test(c):
    listed = len(c.json("jobs", "-a")["jobs"])
    answer = tested(c, "-g", 4, "--", "true")
    equal((answer["verdict"], answer["placement"]["level"], answer["reason"]), ("starts", "island", None), "it would start")
    contains(c.muster("submit", "--test-only", "-g", 4, "--topology", "node", "--", "true").out, "would start now\n  on          worker",
             "in text")
    contains(c.muster("submit", "--test-only", "-g", "2..16", "--", "true").out, "narrowest link), with 8 GPUs", "of an elastic job")
    job = holder(c, "--time", "1h", gpus=8)
    answer = tested(c, "-g", 4, "--", "true")
    equal((answer["verdict"], answer["reason"]["code"]), ("waits", "NO_FIT"), "it would wait")
    equal(answer["reason"]["expected_start_basis"], f"if job {job} ends by its time limit", "until when")
    c.write("job.yaml", "name: fromfile\ngpus: 2\ncommand: [\"true\"]\n")
    contains(c.muster("submit", "--test-only", "job.yaml").out, "Not submitted: job fromfile would wait  NO_FIT", "a job file")
    contains(c.muster("submit", "--test-only", "-g", 9, "--", "true", code=4).err, "9 GPUs", "what can never fit")
    c.muster("submit", "--test-only", "-Q", "nowhere", "--", "true", code=3)
    equal(len(c.json("jobs", "-a")["jobs"]), listed + 1, "nothing was submitted")
    end(c, job)


def only_to_test_what_others_would_have_to_leave(c):
    c.admin("quota", "set", "prod", "--guarantee", 4)
    c.admin("quota", "set", "research", "--guarantee", 0)
    job = holder(c, "-Q", "research", "--grace", "90s", gpus=8)
    answer = tested(c, "-Q", "prod", "-g", 4, "--", "true")
    equal((answer["verdict"], answer["evicts"]["jobs"], answer["evicts"]["rule"]), ("takes", [job], "reclaim"), "it would take GPUs")
    text = c.muster("submit", "--test-only", "-Q", "prod", "-g", 4, "--", "true").out
    contains(text, f"from        job {job}, which holds 8 GPUs (rule: reclaim)", "in text")
    contains(text, "as soon as they have saved their work, which their grace of 1m30s bounds", "and when")
    equal(c.state_of(job), "RUNNING", "nobody was asked to leave")
    end(c, job)


def each_eviction_is_accounted_for(c):
    c.admin("quota", "set", "prod", "--guarantee", 4)
    c.admin("quota", "set", "research", "--guarantee", 0)
    training = c.submit("-Q", "research", "-g", 8, "-n", 2, "--launcher", "direct", "--grace", "20s", "--", PYTHON, EXAMPLE, "--steps", 60,
                        "--seconds-per-step", 0.05, "--folder", f"{c.work}/why")
    c.wait_state(training, "RUNNING")
    wait_for(lambda: (c.show(training)["progress"] or {}).get("step", 0), 20, "the training goes on")
    urgent = c.submit("-Q", "prod", "-g", 4, "--", "sleep", "1")
    c.muster("wait", urgent, timeout=60)
    c.muster("wait", training, timeout=90)
    for document in (c.json("why", training), c.json("show", training)):
        past = document["jobs"][0]["past"]
        equal(len(past), 1, "how often it was evicted")
        told = ("attempt", "rule", "gpu_type", "for_job", "for_queue", "gpus_asked", "gpus_evicted", "gpus_evicted_by_plan")
        equal({k: past[0][k] for k in told},
              {"attempt": 1, "rule": "reclaim", "gpu_type": None, "for_job": urgent, "for_queue": "prod", "gpus_asked": 4,
               "gpus_evicted": 8, "gpus_evicted_by_plan": 8}, "the record of it")
        check(0 <= past[0]["gpu_seconds_lost"] < 80, f"what it cost: {past[0]['gpu_seconds_lost']}")
        contains(past[0]["plan"], f"job {urgent} of queue prod (guaranteed 4) needs 4 GPUs", "its plan in words")
    text = c.muster("why", training).out
    contains(text, "It is over.", "of a job that is over too")
    contains(text, "evicted     1 time, ", "how often")
    contains(text, f"to job {urgent} of queue prod (rule: reclaim): 4 GPUs asked for, 8 evicted", "for whom, by which rule")
    contains(c.muster("show", training).out, "evicted     1 time, ", "show tells it too")


def one_for_a_guarantee_of_a_type_names_it(c):
    c.admin("quota", "set", "prod", "--guarantee", 4)
    c.admin("quota", "set", "prod", "--gpu-type", "FAKE", "--guarantee", 4)
    large, elastic = (holder(c, "-Q", "research", "--grace", "1s", gpus=gpus) for gpus in (4, "2..4"))
    first, second = (holder(c, "-Q", "prod", gpus=2) for _ in range(2))
    past = c.json("why", elastic)["jobs"][0]["past"]
    equal([(p.get("cause"), p["rule"], p["gpu_type"]) for p in past], [("RESIZED", "shrink", "FAKE"), (None, "reclaim", "FAKE")],
          "whose guarantee each was for")
    contains(c.muster("why", elastic).out, "(rule: reclaim, guarantee of FAKE): 2 GPUs asked for, 2 evicted", "in text")
    end(c, first, second, large, elastic)
    c.admin("quota", "set", "prod", "--gpu-type", "FAKE", "--guarantee", "none")


if __name__ == "__main__":
    main([a_full_cluster_tells_who_holds_it_and_until_when, without_a_time_limit_nobody_knows,
          a_smaller_gang_and_another_topology_start_at_once, a_queues_limit_names_another_queue,
          queues_that_are_closed_to_a_user_are_not_named, what_can_not_be_stopped_needs_a_guarantee, one_job_of_a_user_at_a_time,
          a_drained_queue_and_a_drained_node, dependencies_holds_and_cool_downs, a_place_that_is_kept_and_a_time_that_is_short_enough,
          only_to_test, only_to_test_what_others_would_have_to_leave, each_eviction_is_accounted_for,
          one_for_a_guarantee_of_a_type_names_it])
