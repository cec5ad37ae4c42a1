"""The command line's promises: exit codes, clear errors, JSON that holds what the text shows."""

import subprocess

from cluster import BIN, check, contains, equal, main

ROW = {"id", "element", "name", "user", "queue", "state", "reason", "gpus", "nodes", "attempt", "exit_code", "signal",
       "submit_ms", "start_ms", "end_ms", "progress"}


def an_unknown_option_is_usage(c):
    answer = c.muster("submit", "--gpu", "2", "--", "true", code=2)
    contains(answer.err, "--gpus", "the nearest option is named")
    equal(answer.out, "", "nothing on stdout")


def an_unknown_command_is_usage(c):
    contains(c.muster("sbumit", code=2).err, "submit", "the nearest command is named")


def a_bad_value_is_usage(c):
    contains(c.muster("submit", "--gpus", "four", "--", "true", code=2).err, "four", "the value is named")
    c.muster("submit", "--time", "soon", "--", "true", code=2)
    c.muster("submit", code=2)
    c.muster("show", "x1", code=2)


def an_unknown_job_is_not_found(c):
    for command in ("show", "why", "cancel", "logs", "wait", "hold", "release", "requeue"):
        contains(c.muster(command, "424242", code=3).err, "424242", f"{command} names the job")


def an_unknown_node_is_not_found(c):
    contains(c.admin("drain", "node77", "--reason", "test", code=3).err, "node77", "the node is named")


def what_never_fits_is_refused_with_numbers(c):
    contains(c.muster("submit", "-g", 999, "--", "true", code=4).err, "8", "the GPUs that there are")
    contains(c.muster("submit", "-N", 9, "-g", 8, "--", "true", code=None).err, "9", "the nodes asked for")
    contains(c.muster("submit", "-N", 3, "-n", 3, "--", "true", code=4).err, "2", "the nodes that there are")


def an_unknown_queue_is_refused(c):
    answer = c.muster("submit", "-Q", "nowhere", "--", "true", code=None)
    check(answer.code in (2, 3, 4), f"exit code of an unknown queue: {answer!r}")
    contains(answer.err, "nowhere", "the queue is named")


def a_malformed_job_file_names_line_and_column(c):
    c.write("bad.yaml", "name: x\ngpus: four\ncommand: [true]\n")
    contains(c.muster("submit", "bad.yaml", code=2).err, "bad.yaml:2:7", "file, line and column")
    c.write("unknown.yaml", "name: x\ngpu_count: 4\ncommand: [true]\n")
    answer = c.muster("submit", "unknown.yaml", code=2)
    contains(answer.err, "unknown.yaml:2", "file and line")
    contains(answer.err, "gpu_count", "the unknown key")
    c.write("broken.yaml", "name: [x\n  y: {\n")
    contains(c.muster("submit", "broken.yaml", code=2).err, "broken.yaml:", "not YAML at all")
    c.write("empty.yaml", "")
    c.muster("submit", "empty.yaml", code=2)
    contains(c.muster("submit", "missing.yaml", code=None).err, "missing.yaml", "a file that isn't there")


def quota_needs_an_admin(c):
    if c.user:
        contains(c.muster("quota", "set", "mine", "--guarantee", 1, code=4).err, "admin", "the reason")
        c.muster("drain", "worker0", "--reason", "mine", code=4)
    c.admin("quota", "set", "mine", "--guarantee", 1)
    c.admin("quota", "delete", "mine")


def other_users_jobs_are_theirs(c):
    job = c.submit("--", "sleep", "60", root=True)
    if c.user:
        c.muster("cancel", job, code=4)
    c.admin("cancel", job)
    c.wait_final(job)


def a_dead_daemon_is_exit_6(c):
    for words in (("jobs",), ("submit", "--", "true"), ("nodes", "--json"), ("wait", "1")):
        answer = c.muster(*words, code=6, MUSTER_ENDPOINT="ipc:///tmp/no-such-muster.sock")
        contains(answer.err, "no-such-muster.sock", f"{words} names the endpoint")


def wait_has_a_timeout(c):
    job = c.submit("--", "sleep", "60")
    c.muster("wait", "--timeout", "1s", job, code=7)
    c.muster("cancel", job)
    c.wait_final(job)


def json_rows_are_whole(c):
    job = c.submit("-g", 1, "--name", "row", "--", "sleep", "0.2")
    c.muster("wait", job)
    row = [j for j in c.json("jobs", "-a")["jobs"] if j["id"] == job][0]
    check(ROW <= set(row), f"members missing in a row: {ROW - set(row)}")
    equal((row["id"], row["element"], row["name"], row["gpus"], row["state"], row["exit_code"], row["attempt"]),
          (job, None, "row", 1, "COMPLETED", 0, 1), "the row")
    check(row["submit_ms"] <= row["start_ms"] <= row["end_ms"], f"times in order: {row}")
    shown = c.show(job)
    check(shown["timeline"] and all(e["text"] for e in shown["timeline"]), "a timeline with sentences")


def actions_answer_in_json_too(c):
    job = c.submit("--hold", "--", "true")
    for words in (["quota", "set", "j", "-g", 1], ["quota", "delete", "j"], ["drain", "worker1", "--reason", "x"], ["resume", "worker1"],
                  ["release", job]):
        done = c.json(*words, root=True)
        equal((done["count"], len(done["rows"])), (1, 1), f"what {words} did")
    c.muster("wait", job)


def jobs_shows_mine_and_active_only(c):
    done = c.submit("--", "true")
    c.muster("wait", done)
    active = c.submit("--", "sleep", "60")
    ids = [j["id"] for j in c.json("jobs")["jobs"]]
    check(active in ids and done not in ids, f"jobs: {ids}, active {active}, done {done}")
    check(done in [j["id"] for j in c.json("jobs", "-a")["jobs"]], "-a shows those that ended")
    c.muster("cancel", active)
    c.wait_final(active)


def nodes_say_what_they_are(c):
    nodes = c.json("nodes")["nodes"]
    equal([n["name"] for n in nodes], ["worker0", "worker1"], "names")
    equal([n["rack"] for n in nodes], ["rack0", "rack1"], "racks")
    for n in nodes:
        equal((n["state"], n["fake"], n["gpus_total"], len(n["gpus"])), ("UP", True, 4, 4), n["name"])
        check(n["cgroup"] is not None, "what the node enforces is said")
    check("worker0" in c.muster("nodes").out, "the text has them too")


def text_holds_no_colour_when_piped(c):
    check("\033" not in c.muster("nodes").out + c.muster("jobs", "-a").out, "no escape sequences into a pipe")


def help_lists_every_command(c):
    text = c.muster("help").out
    for command in ("submit", "run", "jobs", "show", "why", "logs", "cancel", "hold", "release", "requeue", "wait", "nodes",
                    "drain", "resume", "top", "quota", "report", "version"):
        contains(text, command, "help")
        contains(c.muster(command, "--help").out, "usage: muster", f"help of {command}")


def version_answers_without_a_daemon(c):
    check(c.muster("version", MUSTER_ENDPOINT="ipc:///tmp/no-such-muster.sock", code=None).out, "version prints something")


def a_full_pipe_reader_may_leave(c):
    shell = f"{BIN}/muster jobs -a --json | head -c 1 >/dev/null; exit 0"
    done = subprocess.run(["sh", "-c", shell], cwd=c.work, env=c.environment(), capture_output=True, text=True, timeout=20)
    equal((done.returncode, done.stderr), (0, ""), "a reader that leaves early")


def dry_run_submits_nothing(c):
    before = len(c.json("jobs", "-a")["jobs"])
    c.muster("submit", "--dry-run", "-g", 1, "--", "true")
    equal(len(c.json("jobs", "-a")["jobs"]), before, "jobs after --dry-run")


if __name__ == "__main__":
    main([f for f in list(globals().values()) if callable(f) and getattr(f, "__module__", "") == "__main__"])
