"""What programs read: --json of commands that otherwise print a job's own text, --jsonl and --format of those that list."""

import json

import os
import re

from cluster import FINAL, ROOT, check, contains, equal, main, wait_for


def rows_of(text):
    rows = [json.loads(line) for line in text.splitlines()]
    equal({row["schema_version"] for row in rows}, {1} if rows else set(), "schema_version of every line")
    return rows


def logs_are_json_lines(c):
    job = c.submit("--", "sh", "-c", "echo one; echo; printf 'two \\377\\001'")
    c.muster("wait", job)
    expected = [(job, 1, None, 0, "one\n"), (job, 1, None, 4, "\n"), (job, 1, None, 5, "two \ufffd\x01")]
    for words in (["--json"], ["--jsonl"], ["-f", "--json"]):
        rows = rows_of(c.muster("logs", job, *words).out)
        equal([(r["job"], r["attempt"], r["rank"], r["offset"], r["text"]) for r in rows], expected, f"lines by {words}")


def logs_of_a_rank_name_it(c):
    job = c.submit("-n", 2, "--launcher", "direct", "--", "sh", "-c", "echo rank $RANK")
    c.muster("wait", job)
    rows = rows_of(c.muster("logs", "--json", "--rank", 1, job).out)
    equal([(r["rank"], r["text"]) for r in rows], [(1, "rank 1\n")], "lines of rank 1")


def logs_follow_in_json_over_attempts(c):
    script = "echo attempt $MUSTER_ATTEMPT; [ $MUSTER_ATTEMPT = 2 ] || sleep 60"
    job = c.submit("--grace", "1s", "--output", "%J.txt", "--", "sh", "-c", script)
    wait_for(lambda: c.muster("logs", job).out == "attempt 1\n", 10, "the first attempt prints")
    following = c.spawn("logs", "-f", "--json", job, stdout=-1)
    c.muster("requeue", job)
    out, _ = following.communicate(timeout=60)
    equal(following.returncode, 0, "exit code of logs")
    equal([(r["attempt"], r["text"]) for r in rows_of(out)], [(1, "attempt 1\n"), (2, "attempt 2\n")], "lines of both attempts")


def logs_show_a_line_that_is_not_whole_yet(c):
    job = c.submit("--", "sh", "-c", "printf 'name? '; sleep 60")
    following = c.spawn("logs", "-f", "--json", job, stdout=-1)
    try:
        equal(json.loads(following.stdout.readline())["text"], "name? ", "the piece that is there")
    finally:
        c.muster("cancel", job)
        following.communicate(timeout=30)


def logs_fail_without_a_line(c):
    answer = c.muster("logs", "--json", 424242, code=3)
    equal(answer.out, "", "stdout")
    contains(answer.err, "424242", "the job is named")


def run_gives_the_row_and_the_code(c):
    answer = c.muster("run", "--json", "--name", "row", "--", "sh", "-c", "echo hello; exit 7", code=7)
    document = json.loads(answer.out)
    equal(document["schema_version"], 1, "schema_version")
    row = document["jobs"][0]
    equal((row["name"], row["state"], row["exit_code"]), ("row", "FAILED", 7), "the job's row")
    equal(row, c.json("jobs", row["id"])["jobs"][0], "the same row as `jobs --json` has")
    contains(answer.err, "hello\n", "its output, on standard error")
    answer = c.muster("run", "--json", "-q", "--", "echo", "hello")
    equal((json.loads(answer.out)["jobs"][0]["state"], answer.err), ("COMPLETED", "hello\n"), "with -q nothing else is there")


def run_gives_no_row_of_a_job_that_is_none(c):
    answer = c.muster("run", "--json", "-g", 999, "--", "true", code=4)
    equal(answer.out, "", "stdout")


def report_acknowledges(c):
    script = """muster report --json --step 3 --total 9 --value mfu=0.5
                muster report --json --step 4 --checkpointed 4
                muster report --json --wait-checkpoint
                muster report --yielding 4"""
    job = c.submit("--", "sh", "-c", script)
    wait_for(lambda: (c.show(job)["progress"] or {}).get("step") == 4, 10, "its progress is shown")
    c.muster("requeue", job)
    wait_for(lambda: c.output(job).count('"request"') == 3, 20, "the request came")
    decoder, text, documents = json.JSONDecoder(), c.output(job), []
    while len(documents) < 3:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].lstrip()
    c.muster("cancel", job, code=None)
    check(c.wait_final(job)["state"] in FINAL, "it is over")
    equal([d["schema_version"] for d in documents], [1, 1, 1], "schema_version")
    equal(documents[0]["sent"], [{"type": "progress", "step": 3, "total": 9, "mfu": 0.5}], "what was sent first")
    equal([s["type"] for s in documents[1]["sent"]], ["progress", "checkpointed"], "what was sent then")
    equal((documents[2]["sent"], documents[0]["request"]), ([], None), "nothing sent, no request")
    check(isinstance(documents[2]["request"], int) and documents[2]["request"] >= 0, f"a request: {documents[2]}")


def nodes_as_lines(c):
    nodes = c.json("nodes")["nodes"]
    lines = [f"{n['name']} {n['state']} {n['gpus_used']}/{n['gpus_total']}" for n in nodes]
    equal(c.muster("nodes", "--format", "{name} {state} {gpus_used}/{gpus_total}").out.splitlines(), lines, "by --format")
    equal(c.muster("nodes", "-q").out.split(), [n["name"] for n in nodes], "bare names")
    jsonl = [json.loads(line) for line in c.muster("nodes", "--jsonl").out.splitlines()]
    equal([(n["name"], set(n)) for n in jsonl], [(n["name"], set(n)) for n in nodes], "the rows of --json")
    equal(c.muster("nodes", "-o", "{name}", "worker1").out, "worker1\n", "one node")
    c.muster("nodes", "-o", "{name}", "worker77", code=3)


def jobs_as_lines(c):
    job = c.submit("--name", "lines", "-g", 1, "--", "true")
    c.muster("wait", job)
    equal(c.muster("jobs", "--format", "{id} {state} {name}", job).out, f"{job} COMPLETED lines\n", "by --format")
    row = c.json("jobs", job)["jobs"][0]
    equal(json.loads(c.muster("jobs", "--jsonl", job).out), row, "the row of --json")
    equal(c.muster("jobs", "-q", job).out, f"{job}\n", "the bare number")
    equal(c.muster("show", "--format", "{id} {requested.gpus} {launcher}", job).out, f"{job} 1 none\n", "show by --format")
    shown = json.loads(c.muster("show", "--jsonl", job).out)
    equal((shown["id"], shown["requested"]["gpus"]), (job, 1), "show by --jsonl")
    held = c.submit("--hold", "--", "true")
    equal(c.muster("why", "--format", "{id} {reason.code}", held).out, f"{held} HELD\n", "why by --format")
    equal(json.loads(c.muster("why", "--jsonl", held).out)["reason"]["code"], "HELD", "why by --jsonl")
    c.muster("cancel", held)


def wait_tells_of_each_job_when_it_is_over(c):
    long = c.submit("--", "sh", "-c", "while [ ! -e over ]; do sleep 0.1; done")
    short = c.submit("--", "sh", "-c", "exit 3")
    waiting = c.spawn("wait", "--jsonl", long, short, stdout=-1)
    first = json.loads(waiting.stdout.readline())
    equal((first["id"], first["state"], first["exit_code"]), (short, "FAILED", 3), "the first that is over")
    c.write("over", "")
    out, _ = waiting.communicate(timeout=30)
    equal((json.loads(out)["id"], waiting.returncode), (long, 3), "the other, and the code")


def top_as_lines(c):
    top = c.spawn("top", "-w", "--jsonl", stdout=-1)
    try:
        for _ in range(2):
            document = json.loads(top.stdout.readline())
            equal((document["schema_version"], len(document["nodes"])), (1, 2), "a document a line")
    finally:
        top.terminate()
        top.communicate(timeout=10)
    equal(len(c.json("top")["nodes"]), 2, "once")


MAPS = ("settings", "values", "counts", "effective")   # whose members are names that somebody chose


def objects_of(value, path=""):
    """Each object of a document with its path: ("jobs[].reason", {"code": ...})."""
    if isinstance(value, list):
        for item in value:
            yield from objects_of(item, path + "[]")
    elif isinstance(value, dict):
        is_map = path.rpartition(".")[2] in MAPS
        if path and not is_map:
            yield path, value
        for name, item in value.items():
            yield from objects_of(item, path + "{}" if is_map else f"{path}.{name}".lstrip("."))


def page_of_members():
    """(command, object) -> the members that it must have, and those that it may have."""
    page = {}
    with open(os.path.join(ROOT, "docs/json.md")) as f:
        for commands, name, members in re.findall(r"^\| ([^|]*) \| `([^`]*)` \| `([^`]*)`[^|]*\|$", f.read(), re.M):
            for command in re.findall("`([^`]*)`", commands) or ["all"]:
                must, may = page.setdefault((command, name), (set(), set()))
                for member in members.split(", "):
                    (may if member.endswith("?") else must).add(member.rstrip("?"))
    return page


def sample(c):
    """Documents that have all there is: arrays, progress, curves, evictions, resizes, what would be."""
    c.admin("quota", "set", "prod", "--guarantee", 6)
    script = """muster report --step 1 --total 9 --loss 2 --value mfu=0.5; muster report --step 2 --loss 1 --checkpointed 2
                exec sleep 600"""
    asked = ["submit", "--json", "--test-only"]
    elastic = c.submit("-g", "2..4", "--grace", "1s", "--", "sh", "-c", script)
    yield "submit", json.loads(c.muster(*asked, "-g", 8, "--", "true").out)
    evicted = c.submit("-g", 4, "--grace", "1s", "--", "sh", "-c", script)
    for job in (elastic, evicted):
        wait_for(lambda: c.show(job)["checkpoint"], 20, "it has saved its work")
    yield "submit", json.loads(c.muster(*asked, "-Q", "prod", "-g", 6, "--", "true").out)
    array = c.submit("--array", "0-2%1", "-Q", "prod", "-g", 6, "--grace", "1s", "--", "sleep", "600")
    c.wait_state(f"{array}[0]", "RUNNING")
    after = c.submit("-g", 1, "--after", f"any:{array}", "--", "true")
    yield "jobs", c.json("jobs", "-A")
    yield "show", c.json("show", array, f"{array}[0]", after, evicted, elastic)
    yield "why", c.json("why", array, f"{array}[0]", after, evicted, elastic)
    for words in (["nodes"], ["top"], ["quota", "show"], ["version"]):
        yield " ".join(words), c.json(*words)
    yield "submit", json.loads(c.muster(*asked, "-g", 0, "--", "true").out)
    yield "quota set", json.loads(c.admin("quota", "set", "prod", "--limit", 2, "--guarantee", 0, "--evict", "--dry-run", "--json").out)
    c.muster("cancel", array, evicted, elastic, after)
    for job in (array, evicted, elastic):
        c.wait_final(job)
    c.admin("quota", "delete", "prod")


def the_page_tells_the_members(c):
    page, unseen = page_of_members(), {}
    for key, (must, may) in page.items():
        unseen.setdefault(key[1], set()).update(must | may)
    for command, document in sample(c):
        for path, found in objects_of(document):
            keys = [key for key in page if key[0] in (command, "all") and (path == key[1] or path.endswith("." + key[1]))]
            longest = max((len(key[1]) for key in keys), default=0)
            keys = [key for key in keys if len(key[1]) == longest]
            check(keys, f"docs/json.md tells nothing of {path} of `{command}`")
            must, may = (set().union(*(page[key][i] for key in keys)) for i in (0, 1))
            equal((sorted(set(found) - must - may), sorted(must - set(found))), ([], []),
                  f"{path} of `{command}`: members that docs/json.md does not tell, and that it has not")
            for key in keys:
                unseen[key[1]] -= set(found)
    equal({name: members for name, members in unseen.items() if members}, {}, "members that nobody has")


if __name__ == "__main__":
    main([the_page_tells_the_members, logs_are_json_lines, logs_of_a_rank_name_it, logs_follow_in_json_over_attempts,
          logs_show_a_line_that_is_not_whole_yet, logs_fail_without_a_line, run_gives_the_row_and_the_code,
          run_gives_no_row_of_a_job_that_is_none, report_acknowledges, nodes_as_lines, jobs_as_lines,
          wait_tells_of_each_job_when_it_is_over, top_as_lines])
