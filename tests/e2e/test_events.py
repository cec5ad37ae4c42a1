"""The event log: followed as it grows, exported, and applied again by the simulator to the very state that the scheduler has."""
# also: asan

import json
import os
import re
import signal
import sqlite3
import subprocess
import time

from cluster import BIN, FINAL, PYTHON, ROOT, check, contains, equal, main, process_runs, wait_for

EXAMPLE = f"{ROOT}/docs/examples/plain_python.py"


def replay(path, *options, code=0):
    done = subprocess.run([f"{BIN}/muster-sim", "replay", *options, path], text=True, capture_output=True, timeout=120)
    said = done.stdout + done.stderr
    check(done.returncode == code, f"replay {options}: expected exit code {code}, found {done.returncode}: {said[-900:]}")
    return said


def export(c, name, *options):
    path = f"{c.folder}/{name}"
    c.admin("events", "--export", path, *options)
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    return path, lines


def agrees(path):
    """What replay says of a log that it must arrive with where the scheduler is, deciding all that the scheduler decided."""
    report = json.loads(replay(path, "--redecide", "--json"))
    check(report["same"] and report["error"] is None, f"{report}")
    equal(report["redecide"]["differences"], [], "decisions that would be others today")
    equal(report["redecide"]["same"], report["redecide"]["asked"], "decisions that are the same")
    return report


def node_states(c):
    return {n["name"]: n["state"] for n in c.json("nodes")["nodes"]}


def stop_musterd(c):
    pid = c.pid("musterd")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not process_runs(pid), 10, "musterd has stopped")


def in_store(c, *statements):
    with sqlite3.connect(f"{c.state}/musterd/muster.db") as db:
        for sql in statements:
            db.execute(sql)
    db.close()


def a_life_of_everything(c):
    c.admin("quota", "set", "prod", "--guarantee", 6)
    c.admin("quota", "set", "research", "--guarantee", 0, "--weight", 2)
    training = c.submit("-Q", "research", "-N", 2, "-g", 8, "-n", 4, "--launcher", "direct", "--grace", "20s", "--", PYTHON, EXAMPLE,
                        "--steps", 60, "--seconds-per-step", 0.05, "--folder", f"{c.work}/events")
    c.wait_state(training, "RUNNING")
    wait_for(lambda: (c.show(training)["progress"] or {}).get("step", 0) > 3, 20, "the training goes on")
    urgent = c.submit("-Q", "prod", "-g", 6, "-N", 2, "--", "sleep", "2")     # the training has to leave
    c.wait_state(urgent, "RUNNING")
    dependent = c.submit("--after", f"ok:{urgent}", "-g", 1, "--", "true")
    held = c.submit("--hold", "-g", 1, "--", "true")
    failing = c.submit("-g", 1, "--retries", 1, "--", "sh", "-c", "exit 3")
    c.kill("musterd")
    c.restart("musterd")
    c.wait_final(urgent)
    c.muster("release", held)
    cancelled = c.submit("-g", 2, "--", "sleep", "60")
    c.muster("cancel", cancelled)
    for job in (training, dependent, held, failing, cancelled):
        c.wait_final(job, 60)
    equal(c.show(training)["attempt"], 2, "attempts of the training")
    lost = c.submit("-N", 2, "-g", 2, "--", "sleep", "60")
    c.wait_state(lost, "RUNNING")
    c.kill("worker1", signal.SIGSTOP)
    wait_for(lambda: node_states(c)["worker1"] == "LOST", 20, "a node is lost")
    c.admin("drain", "worker0", "--reason", "a look")
    c.kill("worker1", signal.SIGCONT)
    wait_for(lambda: node_states(c)["worker1"] != "LOST", 20, "the node is back")
    c.admin("resume", "worker0")
    c.kill("musterd")
    c.restart("musterd")
    c.muster("cancel", lost)
    c.wait_final(lost)
    c.submit("-g", 4, "-N", 1, "--", "sleep", "300")                           # something is live when the log is taken
    waiting = c.submit("-g", 8, "-N", 2, "--", "true")
    wait_for(lambda: c.show(waiting)["reason"], 10, "one waits")


def a_replay_arrives_where_the_scheduler_is(c):
    a_life_of_everything(c)
    path, lines = export(c, "whole")
    equal(lines[0], {"snapshot": None}, "a log from its beginning")
    names = {e["name"] for line in lines for e in line.get("events", [])}
    wanted = {"NODE_UP", "NODE_LOST", "NODE_DRAINED", "NODE_RESUMED", "QUOTA_SET", "JOB_SUBMITTED", "JOB_CANCELLED", "JOB_RELEASED",
              "TASK_STARTED", "TASK_EXITED", "CHECKPOINTED", "JOB_START", "JOB_STOP", "RESERVE"}
    equal(sorted(wanted - names), [], "events that this life should have had")
    report = agrees(path)
    equal(report["digest"], lines[-1]["end"]["digest"], "digest")
    check(sum("musterd" in line for line in lines) == 3, "three starts are in the log")
    # The digest is the scheduler's own: of memory that was just loaded it is the same.
    before = lines[-1]["end"]
    stop_musterd(c)
    c.restart("musterd")
    _, lines = export(c, "again")
    if lines[-1]["end"]["turn"] == before["turn"]:   # no node spoke up meanwhile
        equal(lines[-1]["end"], before, "the end of the log after a restart")
    agrees(f"{c.folder}/again")


def a_log_may_begin_at_any_turn(c):
    _, whole = export(c, "whole")
    last = whole[-1]["end"]["turn"]
    for first in (2, last // 2, last, last + 1):
        path, lines = export(c, f"from{first}", "--from", first)
        equal(lines[0]["snapshot"]["turn"], first - 1, "the snapshot is of the turn before")
        turns = [line["turn"] for line in lines if "turn" in line]
        equal(turns, list(range(first, lines[-1]["end"]["turn"] + 1)), "the turns that follow")
        agrees(path)
    _, lines = export(c, "from1", "--from", 1)
    equal(lines[0], {"snapshot": None}, "from the first turn on there is nothing before")
    contains(c.admin("events", "--export", f"{c.folder}/x", "--from", last + 1000, code=3).err, f"the last turn is ", "a turn to come")
    check(not os.path.exists(f"{c.folder}/x") and not os.path.exists(f"{c.folder}/x.part"), "nothing is left of it")


def an_altered_line_is_found(c):
    path, lines = export(c, "honest")
    index, line = next((i, line) for i, line in enumerate(lines) if "turn" in line and any(e["name"] == "JOB_SUBMITTED"
                                                                                          for e in line["events"]))
    for event in line["events"]:
        if event["name"] == "JOB_SUBMITTED":
            event["submission"]["grace_ms"] = event["submission"].get("grace_ms", 0) + 1
    altered = f"{c.folder}/altered"
    with open(altered, "w") as f:
        f.writelines(json.dumps(x) + "\n" for x in lines)
    told = replay(altered, code=1)
    found = int(re.search(r"altered:(\d+): turn (\d+): the digest is", told).group(1))
    check(index + 1 <= found <= index + 400, f"altered in line {index + 1}, found in line {found}: {told}")
    with open(path) as f:
        text = f.read()
    with open(altered, "w") as f:
        f.write(text[:len(text) // 2])
    contains(replay(altered, code=2), "altered:", "a log that is cut off")


def the_log_goes_on_where_memory_was_not_what_it_leads_to(c):
    victim = c.submit("--hold", "-g", 8, "-N", 2, "--", "true")
    stop_musterd(c)
    in_store(c, "UPDATE starts SET version = 'another'", f"UPDATE jobs SET record = x'c1' WHERE id = {victim}")
    c.restart("musterd")
    equal(c.state_of(victim), "FAILED", "a row that can't be read closes its job")
    job = c.submit("-g", 0, "--", "true")
    c.wait_final(job)
    path, lines = export(c, "broken")
    breaks = [line["snapshot"] for line in lines[1:] if "snapshot" in line]
    check(breaks and "could not be read" in breaks[-1]["reason"], f"the break says why: {breaks}")
    report = agrees(path)
    equal(report["breaks"], 1, "places where the log leads elsewhere")
    contains(replay(path), "rows that could not be read", "replay says so")


def events_are_followed_as_they_happen(c):
    follower = c.spawn("events", "-f", "--jsonl", "-n", 1, stdout=subprocess.PIPE)
    try:
        follower.stdout.readline()
        job = c.submit("-g", 0, "--", "sh", "-c", "sleep 1; exit 7")
        of_job = c.spawn("events", "-f", "--job", job, "-n", 1000, stdout=subprocess.PIPE)
        first = of_job.stdout.readline()       # it has reached a scheduler, and from then on is patient
        c.kill("musterd")
        c.restart("musterd")
        c.wait_final(job)
        text = first + of_job.communicate(timeout=20)[0]       # it ends with the job
        equal(of_job.returncode, 0, "exit code of a follower of one job")
        names = [line.split()[2 if line.split()[2] != "->" else 3] for line in text.splitlines()]
        equal((names[0], names[-1]), ("JOB_SUBMITTED", "TASK_EXITED"), f"first and last event in\n{text}")
        contains(text, "exit code 7", "what the last one says")
        seen = []

        def turn_of_end():
            seen.append(json.loads(follower.stdout.readline()))
            return [e for e in seen[-1]["events"] if e.get("job") == job and e["name"] == "TASK_EXITED"]
        wait_for(turn_of_end, 20, "the end of the job is in the stream")
        turns = [t["turn"] for t in seen]
        equal(turns, list(range(turns[0], turns[0] + len(turns))), "turns, each in one line")
    finally:
        follower.kill()
        follower.wait()


def events_are_listed(c):
    rows = c.json("events", "-n", 5)["events"]
    equal(len(rows), 5, "the last five events")
    check(all(k in row for row in rows for k in ("seq", "turn", "now_ms", "wall_ms", "name")), f"{rows[0]}")
    rows = c.json("events", "--from", 1)["events"]
    equal((rows[0]["turn"], rows[0]["name"]), (1, "NODE_UP"), "from the first turn")
    equal([r["seq"] for r in rows], sorted(r["seq"] for r in rows), "in order")
    contains(c.muster("events", "--job", 99999, code=3).err, "no such job", "an unknown job")
    contains(c.muster("events", "-f", "--json", code=2).err, "--jsonl", "a document without an end")


def an_export_is_for_admins(c):
    answer = c.muster("events", "--export", "-", code=None)
    equal(answer.code, 4 if c.user else 0, "exit code")
    if c.user:
        contains(answer.err, "admin", "who may")


def an_export_stands_in_nobodys_way(c):
    in_pieces = c.spawn("events", "--export", "-", root=True, stdout=subprocess.PIPE)
    in_pieces.stdout.read(1)
    os.kill(in_pieces.pid, signal.SIGSTOP)             # a client that takes nothing any more
    began = time.monotonic()
    for _ in range(20):
        c.muster("jobs", "-a")
        c.submit("-g", 0, "--", "true")
    spent = time.monotonic() - began
    os.kill(in_pieces.pid, signal.SIGCONT)
    in_pieces.stdout.read()
    equal(in_pieces.wait(), 0, "exit code of the export that was stopped")
    check(spent < 20, f"40 commands beside a stopped export took {spent:.1f} s")
    wait_for(lambda: all(row["state"] in FINAL for row in c.json("jobs", "-a")["jobs"] if row["gpus"] == 0), 60, "all have ended")


def a_stopped_store_is_whole_and_so_is_a_copy(c):
    refused = subprocess.run([f"{BIN}/musterd", "--check", "--state", f"{c.state}/musterd"], text=True, capture_output=True)
    equal(refused.returncode, 5, "exit code beside a running musterd")
    contains(refused.stderr, "stop it first, or check a copy", "what to do")
    copy = f"{c.folder}/copy"
    os.mkdir(copy)
    with sqlite3.connect(f"file:{c.state}/musterd/muster.db?mode=ro", uri=True) as live, sqlite3.connect(f"{copy}/muster.db") as into:
        live.backup(into)
    stop_musterd(c)
    # The job whose row was spoiled above is told, and nothing else.
    for folder in (copy, f"{c.state}/musterd"):
        done = subprocess.run([f"{BIN}/musterd", "--check", "--json", "--state", folder], text=True, capture_output=True)
        report = json.loads(done.stdout)
        problems = [p for part in report["checks"] for p in part["problems"]]
        equal((done.returncode, len(problems)), (1, 1), f"problems of {folder}: {problems}")
        contains(problems[0], "stored_job", "the row that was spoiled")
        check(all(part["ok"] for part in report["checks"] if part["name"] != "rows"), f"{report}")
    in_store(c, "DELETE FROM jobs WHERE record = x'c1'", "DELETE FROM specs WHERE job NOT IN (SELECT id FROM jobs)",
             "DELETE FROM attempts WHERE job NOT IN (SELECT id FROM jobs)")
    done = subprocess.run([f"{BIN}/musterd", "--check", "--state", f"{c.state}/musterd"], text=True, capture_output=True)
    equal(done.returncode, 0, f"without that row: {done.stdout}")
    c.restart("musterd")


if __name__ == "__main__":
    main([a_replay_arrives_where_the_scheduler_is, a_log_may_begin_at_any_turn, an_altered_line_is_found,
          the_log_goes_on_where_memory_was_not_what_it_leads_to, events_are_followed_as_they_happen, events_are_listed,
          an_export_is_for_admins, an_export_stands_in_nobodys_way, a_stopped_store_is_whole_and_so_is_a_copy])
