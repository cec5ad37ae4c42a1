"""History is bounded: with a bound of some seconds, what is older goes, what runs stays, and the log still leads to the same state."""

import json
import os
import signal
import sqlite3
import subprocess
import time

from cluster import BIN, check, equal, main, process_runs, wait_for

BOUND_S = 5
DAYS = str(BOUND_S / 86400)


def ask(c, sql):
    db = sqlite3.connect(f"file:{c.state}/musterd/muster.db?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchone()[0]
    finally:
        db.close()


def agrees(c):
    path = f"{c.folder}/log"
    c.admin("events", "--export", path)
    done = subprocess.run([f"{BIN}/muster-sim", "replay", "--redecide", "--json", path], text=True, capture_output=True)
    check(done.returncode == 0, f"replay: {done.stdout[-600:]} {done.stderr}")
    with open(path) as f:
        return json.loads(f.readline())["snapshot"], json.loads(done.stdout)


def wave(c, count):
    jobs = [c.submit("-g", 0, "--", "sh", "-c", f"exit {i % 2}") for i in range(count)]
    for job in jobs:
        c.wait_final(job)
    return jobs


def what_is_old_goes(c):
    staying = c.submit("-g", 2, "--", "sleep", "600")
    c.wait_state(staying, "RUNNING")
    waiting = c.submit("-g", 8, "-N", 2, "--", "true")
    first = wave(c, 20)
    wait_for(lambda: ask(c, "SELECT min(turn) FROM turns") > 10, 6 * BOUND_S, "the oldest turns are gone")
    # Not those that ended in the last turn, which stays, and may be that of several.
    wait_for(lambda: c.muster("show", first[9], code=None).code == 3, 6 * BOUND_S, "finished jobs are gone")
    equal(c.state_of(staying), "RUNNING", "what runs stays")
    equal(c.state_of(waiting), "PENDING", "what waits stays")
    equal(c.show(staying)["command"][0], "sleep", "with all that is known of it")
    for table in ("specs", "attempts", "log_tails", "series"):
        equal(ask(c, f"SELECT count(*) FROM {table} WHERE job NOT IN (SELECT id FROM jobs)"), 0, f"{table} of jobs that are gone")
    snapshot, report = agrees(c)
    check(snapshot and snapshot["turn"] > 10 and "dropped" in snapshot["reason"], f"the log begins with a snapshot: {snapshot}")
    check(report["first_turn"] in (0, snapshot["turn"] + 1), f"and goes on from there: {report}")
    check(c.submit("-g", 0, "--", "true") > first[-1], "numbers are not given again")


def a_kill_in_the_middle_harms_nothing(c):
    for _ in range(3):
        wave(c, 5)
        time.sleep(BOUND_S / 3)
        c.kill("musterd")
        c.restart("musterd")
    wait_for(lambda: ask(c, "SELECT count(*) FROM snapshots") == 1, 6 * BOUND_S, "one snapshot is left")
    agrees(c)


def the_file_stops_growing(c):
    sizes = []
    for _ in range(4):
        wave(c, 40)
        last = ask(c, "SELECT max(turn) FROM turns")
        wait_for(lambda: ask(c, "SELECT min(turn) FROM turns") >= last - 1, 6 * BOUND_S, "this wave is gone")
        sizes.append(sum(os.path.getsize(f"{c.state}/musterd/muster.db{part}") for part in ("", "-wal")))
    check(sizes[3] <= max(sizes[0], sizes[1]) + 5 * 1024 * 1024, f"bytes after each wave: {sizes}")
    wait_for(lambda: ask(c, "SELECT count(*) FROM snapshots") == 1, 6 * BOUND_S, "one snapshot is left")
    agrees(c)


def a_store_that_was_cut_is_whole(c):
    pid = c.pid("musterd")
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not process_runs(pid), 10, "musterd has stopped")
    done = subprocess.run([f"{BIN}/musterd", "--check", "--state", f"{c.state}/musterd"], text=True, capture_output=True)
    equal(done.returncode, 0, f"musterd --check: {done.stdout} {done.stderr}")
    c.restart("musterd")


if __name__ == "__main__":
    main([what_is_old_goes, a_kill_in_the_middle_harms_nothing, the_file_stops_growing, a_store_that_was_cut_is_whole],
         2, "4", "--history-days", DAYS)
