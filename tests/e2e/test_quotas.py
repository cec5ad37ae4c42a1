"""The quota tree under real daemons: settings, changes with jobs inside, evictions with a checkpoint, limits by user, and who may."""
# also: asan

import json
import pwd
import re

from cluster import PYTHON, ROOT, Skip, check, contains, equal, is_root, main, wait_for

EXAMPLE = f"{ROOT}/docs/examples/plain_python.py"
PEOPLE = ("games", "news", "backup")   # ordinary accounts of any Debian, each with a group of its own name


def queues(c):
    return {q["name"]: q for q in c.json("quota", "show")["queues"]}


def fresh(c):
    """Only `default` is left, with nothing set."""
    c.quiet()
    names = sorted(queues(c), key=lambda n: -n.count("/"))
    for name in names:
        if name != "default":
            c.admin("quota", "delete", name)
    c.admin("quota", "apply", "-f", c.write("empty.yaml", "queues: {default: }\n"))


def effective(c, queue, setting):
    row = queues(c)[queue]["effective"][setting]
    return row["value"], row["from"]


def people():
    if not is_root():
        raise Skip("only root can act as several users")
    try:
        for name in PEOPLE:
            pwd.getpwnam(name)
    except KeyError:
        raise Skip(f"these accounts are not all there: {', '.join(PEOPLE)}") from None
    return PEOPLE


def sleeper(c, *words, **more):
    return c.submit("--output", "/dev/null", "-D", "/tmp", *words, "--", "sleep", "300", **more)


def settings_are_shown_as_they_hold(c):
    fresh(c)
    c.admin("quota", "set", "ml", "--guarantee", 6, "--limit", 7, "--policy", "fifo", "--min-runtime", "10m", "--max-walltime", "2d",
            "--max-running-per-user", 3)
    c.admin("quota", "set", "ml/a", "--weight", 2, "--default-time", "4h")
    equal(effective(c, "ml/a", "limit"), ("7", "ml"), "limit")
    equal(effective(c, "ml/a", "policy"), ("fifo", "ml"), "policy")
    equal(effective(c, "ml/a", "max_walltime"), ("2d", "ml"), "max_walltime")
    equal(effective(c, "ml/a", "default_time"), ("4h", "ml/a"), "default_time")
    equal(effective(c, "ml/a", "max_pending_per_user"), ("none", None), "what nobody says")
    equal(effective(c, "ml/a", "users"), ("all", None), "users")
    equal(effective(c, "default", "limit"), ("8", None), "no limit is the cluster")
    contains(c.muster("quota", "show", "ml/a").out, "limit                 7   (from ml)", "text")
    c.admin("quota", "set", "ml", "--limit", "none")
    equal(effective(c, "ml/a", "limit"), ("8", None), "taken back")
    equal(queues(c)["ml"]["settings"]["policy"], "fifo", "what was not given stays")


def wrong_words_are_usage(c):
    for words in (["set"], ["set", "ml", "--limit", "-1"], ["set", "ml", "--policy", "best"], ["rename", "a"], ["drain"], ["apply"],
                  ["show", "--limit", "3"], ["delete", "ml", "--evict"], ["set", "ml", "--drain", "--evict", "--limit", "1"],
                  ["set", "ml", "--gpu-type", "FAKE"], ["set", "ml", "--users", "a,,b"]):
        equal(c.admin("quota", *words, code=None).code, 2, f"exit code of quota {words}")
    for words in (["set", "a b"], ["rename", "default", "x/"]):
        contains(c.admin("quota", *words, code=2).err, f"queue '{words[-1]}': a name has letters, digits", "which name")
    for words in (["set", "x" * 300, "--limit", 3], ["show", "x" * 300], ["delete", "ml", "--move-to", "x" * 300]):
        contains(c.admin("quota", *words, code=2).err, f"queue '{'x' * 32}...': a name has 1..255 bytes, not 300", words[0])
    equal(c.admin("quota", "drain", "nowhere", code=None).code, 3, "draining what is not there")
    equal(c.admin("quota", "set", "ml", "--gpu-type", "H200", "--limit", 1, code=None).code, 3, "a type that nobody has")


def a_file_is_applied_whole_or_not_at_all(c):
    fresh(c)
    good = c.write("good.yaml", "queues:\n  a: {guarantee: 4, users: [ada, bob]}\n  a/x: {guarantee: 2, max_walltime: 36h}\n"
                   "  b: {guarantee: 4, gpu_types: {FAKE: {limit: 5}}}\n")
    dry = c.admin("quota", "apply", "-f", good, "--dry-run")
    contains(dry.out, "create a: guarantee 4, users ada,bob", "the difference")
    contains(dry.out, "in effect: guarantee 2, limit 8, weight 1, policy fair, min_runtime 10m, max_walltime 36h", "what holds then")
    equal(sorted(queues(c)), ["default"], "a dry run changes nothing")
    c.admin("quota", "apply", "-f", good)
    equal(sorted(queues(c)), ["a", "a/x", "b", "default"], "queues")
    of_type = queues(c)["b"]["gpu_types"][0]
    equal(of_type["limit"], 5, "limit of a type")
    equal(of_type["entitlement"], None, "a type with limits alone is not divided by itself")
    c.admin("quota", "set", "b", "--gpu-type", "FAKE", "--guarantee", 3)
    of_type = queues(c)["b"]["gpu_types"][0]
    equal([of_type[k] for k in ("guarantee", "entitlement", "used", "borrowed", "waiting_gpus", "owed")], [3, 3, 0, 0, 0, 0],
          "a type that is divided by itself")

    swap = c.write("swap.yaml", "queues: {a: {guarantee: 3}, a/x: {guarantee: 3}, b: {guarantee: 5}}\n")
    c.admin("quota", "apply", "-f", swap)   # no order of single steps would be allowed
    equal([queues(c)[n]["guarantee"] for n in ("a", "a/x", "b")], [3, 3, 5], "guarantees")
    check("users" not in queues(c)["a"]["settings"], "what a file does not say is unset")

    bad = c.write("bad.yaml", "queues: {a: {guarantee: 2}, b: {guarantee: 1}}\n")
    contains(c.admin("quota", "apply", "-f", bad, code=4).err, "its children are guaranteed 3 GPUs, more than 2", "the numbers")
    equal(queues(c)["b"]["guarantee"], 5, "nothing of it was applied")
    contains(c.admin("quota", "apply", "-f", c.write("name.yaml", "queues:\n  a: {}\n  'b c': {}\n"), code=2).err,
             "name.yaml:3:3: queue 'b c': a name has letters", "where a name is wrong")
    contains(c.admin("quota", "apply", "-f", "-", stdin=c.muster("quota", "export").out).err, "nothing changes", "from standard input")
    contains(c.admin("quota", "apply", "-f", "-", stdin="queues: 3\n", code=2).err, "-:1:9: queues: expected", "a place in it")
    contains(c.admin("quota", "apply", "-f", c.write("typo.yaml", "queues:\n  a: {guarante: 2}\n"), code=2).err,
             "typo.yaml:2:7: guarante: no such setting (did you mean guarantee?)", "place of the error")

    exported = c.write("export.yaml", c.muster("quota", "export").out)
    contains(c.admin("quota", "apply", "-f", exported).err, "nothing changes", "an export applied again")
    c.admin("quota", "apply", "-f", c.write("one.yaml", "queues: {b: {guarantee: 5}}\n"), "--prune")
    equal(sorted(queues(c)), ["b", "default"], "pruned")


def a_rename_and_a_delete_take_running_jobs_along(c):
    fresh(c)
    c.admin("quota", "set", "ml", "--guarantee", 4)
    c.admin("quota", "set", "ml/a")
    running, waiting = sleeper(c, "-Q", "ml/a", "-g", 2), c.submit("-Q", "ml/a", "--hold", "-g", 1, "--", "true")
    c.wait_state(running, "RUNNING")
    contains(c.admin("quota", "rename", "ml", "research").err, "rename ml/a to research/a", "the child comes along")
    for job in (running, waiting):
        equal(c.show(job)["queue"], "research/a", f"queue of job {job}")
    equal([j["id"] for j in c.json("jobs", "-Q", "research/a")["jobs"]], [running, waiting], "jobs by their queue's new name")
    contains(c.muster("jobs", "-Q", "reserch", code=3).err, "no such queue: 'reserch' (`muster quota show` lists them)", "a wrong name")
    c.admin("quota", "rename", "research/a", "a")
    equal((queues(c)["research"]["used"], queues(c)["a"]["used"]), (0, 2), "use moved")
    answer = c.admin("quota", "delete", "a", code=None)
    equal(answer.code, 5, f"deleting a queue in use: {answer!r}")
    contains(answer.err, "muster quota delete a --move-to OTHER", "what to type")
    c.admin("quota", "set", "tiny", "--limit", 1)
    contains(c.admin("quota", "delete", "a", "--move-to", "tiny", code=4).err, "would use 2 GPUs, more than its limit of 1", "the numbers")
    contains(c.admin("quota", "delete", "a", "--move-to", "research").err, "move a: 2 jobs to research", "what was done")
    equal((c.show(running)["queue"], c.state_of(running)), ("research", "RUNNING"), "the running job")
    c.kill("musterd")
    c.restart("musterd")
    equal((c.show(running)["queue"], c.show(waiting)["queue"]), ("research", "research"), "after kill -9")
    equal(queues(c)["research"]["used"], 2, "its use")
    c.muster("cancel", running, waiting)
    c.wait_final(running)


def a_drained_queue_lets_jobs_end_and_starts_none(c):
    fresh(c)
    c.admin("quota", "set", "ml")
    running = sleeper(c, "-Q", "ml", "-g", 2)
    c.wait_state(running, "RUNNING")
    held = c.submit("-Q", "ml", "--hold", "-g", 1, "--", "true")
    c.admin("quota", "drain", "ml")
    contains(c.muster("submit", "-Q", "ml", "--", "true", code=4).err, "muster quota resume ml", "what to do")
    c.muster("release", held)
    why = wait_for(lambda: c.json("why", held)["jobs"][0]["reason"], 5, "a reason")
    equal(why["code"], "QUEUE_CLOSED", "reason")
    contains(c.muster("quota", "show").out, "drained", "show tells")
    equal(c.state_of(running), "RUNNING", "what runs goes on")
    c.admin("quota", "resume", "ml")
    c.muster("wait", held)
    c.muster("cancel", running)
    c.wait_final(running)


def an_evicted_job_checkpoints_and_goes_on_later(c):
    fresh(c)
    c.admin("quota", "set", "ml")
    small = sleeper(c, "-Q", "ml", "-g", 1)
    training = c.submit("-Q", "ml", "-g", 4, "--grace", "20s", "--", PYTHON, EXAMPLE, "--steps", 60, "--seconds-per-step", 0.05, "--folder",
                        f"{c.work}/evict")
    c.wait_state(training, "RUNNING")
    wait_for(lambda: (c.show(training)["progress"] or {}).get("step", 0), 20, "the training goes on")
    refused = c.admin("quota", "set", "ml", "--limit", 3, code=4).err
    contains(refused, "--drain lets its jobs end and starts none, --evict stops the cheapest of them", "what to type")
    dry = c.admin("quota", "set", "ml", "--limit", 3, "--evict", "--dry-run")
    contains(dry.out, f"over: uses 5 GPUs of 3; evicted, after a checkpoint: job {training}", "who would go")
    equal(c.state_of(training), "RUNNING", "a dry run stops nobody")
    c.admin("quota", "set", "ml", "--limit", 3, "--evict")
    c.wait_state(training, "PENDING")
    equal((c.state_of(small), queues(c)["ml"]["used"]), ("RUNNING", 1), "the rest goes on")
    past = c.json("why", training)["jobs"][0]["past"]
    equal(past[0]["rule"], "quota", "why tells of the eviction")
    contains(past[0]["plan"], "an admin set a limit of queue ml", "and of its plan")
    equal(past[0]["for_job"], None, "for nobody else")
    c.admin("quota", "set", "ml", "--limit", "none")
    row = c.wait_final(training, 60)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempts")
    with open(f"{c.work}/evict/history.json") as f:
        equal([h["step"] for h in json.load(f)], list(range(1, 61)), "every step once, in order")
    c.muster("cancel", small)
    c.wait_final(small)


def an_elastic_job_goes_on_with_less(c):
    fresh(c)
    c.admin("quota", "set", "ml")
    small = sleeper(c, "-Q", "ml", "-g", 1)
    elastic = sleeper(c, "-Q", "ml", "-g", "2..4", "--grace", "1s")
    c.wait_state(elastic, "RUNNING")
    limit = ["quota", "set", "ml", "--limit", 4, "--evict"]
    dry = c.admin(*limit, "--dry-run").out
    contains(dry, f"over: uses 5 GPUs of 4; goes on with less, after a checkpoint: job {elastic} (", "who would shrink")
    contains(dry, "4 -> 2 GPUs)", "and to what")
    (job,) = json.loads(c.admin(*limit, "--dry-run", "--json").out)["rows"][0]["over"]["jobs"]
    equal([job[k] for k in ("id", "element", "number", "gpus", "gpus_left", "fate")], [elastic, None, elastic, 4, 2, "resized"], "as JSON")
    c.admin(*limit)
    row = wait_for(lambda: (row := c.show(elastic))["attempt"] == 2 and row["state"] == "RUNNING" and row, 20, "it goes on")
    equal((row["gpus"], row["past"][0]["rule"], c.state_of(small)), (2, "quota", "RUNNING"), "with less, and nobody is evicted")
    contains(c.muster("why", elastic).out, "attempt 1 was to go on with less than 4 GPUs (rule: shrink: an admin set a limit", "why")
    for each in (small, elastic):
        c.muster("cancel", each)
        c.wait_final(each)


def limits_by_user_and_by_time(c):
    fresh(c)
    c.admin("quota", "set", "ml", "--max-running-per-user", 1, "--max-pending-per-user", 1, "--max-walltime", "1h")
    first = sleeper(c, "-Q", "ml", "-g", 1)
    c.wait_state(first, "RUNNING")
    second = c.submit("-Q", "ml", "-g", 1, "--", "true")
    why = wait_for(lambda: c.json("why", second)["jobs"][0]["reason"], 5, "a reason")
    equal(why["code"], "USER_LIMIT", "reason")
    contains(why["text"], f"runs 1 of a user at most (max_running_per_user), and 1 runs; job {first} is one", "numbers")
    contains(why["remedy"], "muster quota set ml --max-running-per-user 2", "remedy")
    contains(c.muster("submit", "-Q", "ml", "--", "true", code=4).err, "you have 1 jobs waiting in queue 'ml', which takes 1", "pending")
    c.muster("cancel", first)
    c.muster("wait", second)
    contains(c.muster("submit", "-Q", "ml", "-t", "2h", "--", "true", code=4).err, "takes jobs of at most 1h00m (max_walltime)", "time")
    third = sleeper(c, "-Q", "ml")
    equal(c.show(third)["requested"]["time_limit_ms"], 3600000, "a job that gives no time gets the queue's")
    c.muster("cancel", third)
    c.wait_final(third)


def who_may_submit(c):
    ada, bob, eve = people()
    fresh(c)
    c.admin("quota", "set", "lab", "--groups", f"{ada},{bob}")
    c.admin("quota", "set", "lab/a", "--users", ada, "--default-for-groups", ada)
    c.admin("quota", "set", "lab/b", "--default-for-groups", f"{bob},{ada}")
    refused = c.muster("submit", "-Q", "lab/a", "-D", "/tmp", "--", "true", user=bob, code=4).err
    contains(refused, f"queue 'lab/a' takes jobs of the users {ada}, and {bob} is not among them", "the refusal")
    contains(c.muster("submit", "-Q", "lab/b", "-D", "/tmp", "--", "true", user=eve, code=4).err, f"the groups {ada},{bob}", "from above")
    where = {name: c.show(sleeper(c, user=name))["queue"] for name in (ada, bob, eve)}
    equal(where, {ada: "lab/a", bob: "lab/b", eve: "default"}, "where jobs go that name no queue")
    named = sleeper(c, "-Q", "default", user=ada)
    equal(c.show(named)["queue"], "default", "named is named")


def an_admin_of_a_subtree(c):
    ada, bob, eve = people()
    fresh(c)
    c.admin("quota", "set", "lab", "--guarantee", 6, "--limit", 7, "--admins", eve)
    for words in (["set", "lab/a", "--guarantee", 4, "--admins", bob], ["set", "lab/a/x", "--guarantee", 2], ["rename", "lab/a/x", "lab/x"],
                  ["drain", "lab/x"], ["resume", "lab/x"], ["delete", "lab/x"]):
        c.muster("quota", *words, user=eve)
    for words in (["set", "lab", "--limit", 8], ["rename", "lab", "mine"], ["set", "other"], ["rename", "lab/a", "a"],
                  ["drain", "default"]):
        contains(c.muster("quota", *words, user=eve, code=4).err, "only an admin may change queue", f"quota {words}")
    contains(c.muster("quota", "set", "lab/b", "--guarantee", 3, user=eve, code=4).err, "exceed the 6 guaranteed to lab", "sums hold")
    contains(c.muster("quota", "set", "lab/b", "--limit", 8, user=eve, code=4).err, "is more than the 7 of 'lab'", "limits hold")
    c.muster("quota", "set", "lab/a", "--guarantee", 5, user=bob, code=4)   # an admin of a queue: not of its own row
    c.muster("quota", "set", "lab/a/y", "--guarantee", 1, user=bob)
    job = sleeper(c, "-Q", "lab/a", "-g", 1, user=ada)
    c.wait_state(job, "RUNNING")
    c.muster("cancel", job, user="nobody", code=4)
    c.muster("cancel", job, user=bob)
    equal(c.wait_final(job)["state"], "CANCELLED", "state")
    outside = sleeper(c, "-Q", "default", "-g", 1, user=ada)
    c.muster("cancel", outside, user=eve, code=4)
    many = [sleeper(c, "-Q", "lab/a", "-g", 1, user=ada) for _ in range(2)]
    c.muster("cancel", "-u", ada, user=eve)
    for job in many:
        equal(c.wait_final(job)["state"], "CANCELLED", "state")
    check(c.state_of(outside) != "CANCELLED", "only those in the queues that eve administers")


def the_history_tells_who_and_what(c):
    fresh(c)
    c.admin("quota", "set", "hist", "--limit", 4)
    c.admin("quota", "set", "hist", "--limit", 6, "--weight", 2)
    c.admin("quota", "rename", "hist", "history")
    c.kill("musterd")
    c.restart("musterd")
    rows = c.json("quota", "history", "history")["changes"]
    equal([(r["user"] != "", r["queue"], r["action"]) for r in rows],
          [(True, "hist", "create"), (True, "hist", "change"), (True, "hist", "rename")], "rows")
    equal(rows[1]["changes"], [{"setting": "limit", "gpu_type": None, "before": "4", "after": "6"},
                               {"setting": "weight", "gpu_type": None, "before": "none", "after": "2"}], "before and after")
    check(re.search(r"change: limit 4 -> 6, weight none -> 2", c.muster("quota", "history").out), "text")
    equal(c.muster("quota", "history", "never-was", code=None).code, 3, "exit code for no such queue")


def many_queues_fit(c):
    """More than one message holds, of long lists too: pages for whoever looks, one event for whoever sets."""
    fresh(c)
    names = ",".join(f"user{i:03}" for i in range(100))
    tree = "".join(f"  team{i:03}: {{weight: {i % 9 + 1}, users: [{names}]}}\n" for i in range(600))
    path = c.write("many.yaml", "queues:\n" + tree)
    contains(c.admin("quota", "apply", "-f", path, "--dry-run").out, "more queues", "what one answer does not hold is counted")
    c.admin("quota", "apply", "-f", path)
    equal(len(queues(c)), 601, "queues")
    contains(c.admin("quota", "apply", "-f", c.write("again.yaml", c.muster("quota", "export").out)).err, "nothing changes", "all of them")
    check(len(c.json("quota", "history")["changes"]) > 100, "the history tells what one answer holds")
    c.kill("musterd")
    c.restart("musterd")
    equal(queues(c)["team599"]["settings"], {"weight": str(599 % 9 + 1), "users": names}, "after kill -9")
    c.admin("quota", "apply", "-f", c.write("empty.yaml", "queues: {default: }\n"), "--prune")
    equal(len(queues(c)), 1, "queues after pruning")


if __name__ == "__main__":
    main([settings_are_shown_as_they_hold, wrong_words_are_usage, a_file_is_applied_whole_or_not_at_all,
          a_rename_and_a_delete_take_running_jobs_along, a_drained_queue_lets_jobs_end_and_starts_none,
          an_evicted_job_checkpoints_and_goes_on_later, an_elastic_job_goes_on_with_less, limits_by_user_and_by_time, who_may_submit,
          an_admin_of_a_subtree, the_history_tells_who_and_what, many_queues_fit])
