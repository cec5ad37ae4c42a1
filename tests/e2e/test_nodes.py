"""Nodes: drain and resume, a node that falls silent, telemetry."""

import os
import signal
import subprocess
import time

from cluster import BIN, DEPLOY, check, contains, equal, free_port, main, wait_for


def node(c, name):
    return [n for n in c.json("nodes")["nodes"] if n["name"] == name][0]


def drain_lets_jobs_end_and_starts_none(c):
    job = c.submit("-g", 1, "--", "sleep", "2")
    where = c.wait_state(job, "RUNNING")["nodes"][0]
    other = "worker1" if where == "worker0" else "worker0"
    c.admin("drain", where, "--reason", "a fan is loud")
    row = node(c, where)
    check(row["state"] in ("DRAINING", "DRAINED"), f"state {row['state']}")
    contains(row["reason"], "a fan is loud", "reason")
    c.muster("wait", job)
    wait_for(lambda: node(c, where)["state"] == "DRAINED", 5, "drained when its last job ended")
    for _ in range(3):
        next_job = c.submit("-g", 1, "--", "true")
        c.muster("wait", next_job)
        equal(c.show(next_job)["nodes"], [other], "where the next one ran")
    wide = c.submit("-N", 2, "-g", 2, "--", "true")
    reason = wait_for(lambda: c.show(wide)["reason"], 5, "a reason")
    check(reason["code"] in ("NODE_HEALTH", "NO_FIT"), f"reason {reason}")
    c.admin("resume", where)
    c.muster("wait", wide)
    equal(node(c, where)["state"], "UP", "state after resume")


def a_drain_survives_a_restart(c):
    c.admin("drain", "worker1", "--reason", "kept")
    c.kill("musterd")
    c.restart("musterd")
    wait_for(lambda: node(c, "worker1")["state"] in ("DRAINED", "DRAINING"), 10, "still drained")
    contains(node(c, "worker1")["reason"], "kept", "reason")
    c.admin("resume", "worker1")


def a_silent_node_is_lost_and_its_job_requeued(c):
    job = c.submit("-g", 1, "--", "sh", "-c", "[ $MUSTER_ATTEMPT -gt 1 ] || sleep 1000")
    where = c.wait_state(job, "RUNNING")["nodes"][0]
    c.kill(where)
    wait_for(lambda: node(c, where)["state"] == "LOST", 10, "the node is shown LOST")
    # Nobody renews the lease, and its launcher ends the task or the lease runs out: in both cases the job runs elsewhere.
    row = c.wait_final(job, 60)
    equal((row["state"], row["attempt"]), ("COMPLETED", 2), "state and attempt")
    c.restart(where)
    wait_for(lambda: node(c, where)["state"] == "UP", 15, "the node is back")
    wait_for(lambda: node(c, where)["gpus_used"] == 0, 15, "its GPU is free")


def a_short_outage_of_an_agent_touches_no_job(c):
    job = c.submit("-g", 1, "--", "sh", "-c", "sleep 2.5; echo attempt $MUSTER_ATTEMPT; exit 5")
    where = c.wait_state(job, "RUNNING")["nodes"][0]
    c.kill(where)
    time.sleep(0.5)
    c.restart(where)
    c.muster("wait", job, code=5)
    equal(c.output(job), "attempt 1\n", "output")


def a_worker_without_the_keys_says_that_nobody_answers(c):
    folder, port = f"{c.folder}/stranger", c.arguments[c.arguments.index("--port") + 1]
    log = f"{c.folder}/stranger.log"
    with open(log, "w") as f:
        worker = subprocess.Popen([f"{BIN}/muster-worker", "--name", "stranger", "--state", folder, "--connect",
                                   f"tcp://127.0.0.1:{port}", "--gpus", "fake:4"], stdout=f, stderr=f)
    try:
        with open(log) as f:
            seen = []
            wait_for(lambda: seen.append(f.read()) or "no_answer" in "".join(seen), 15, "it says that nobody answers")
        contains("".join(seen), "--keys", "what may be wrong")
        equal([n["name"] for n in c.json("nodes")["nodes"]], ["worker0", "worker1"], "nodes")
    finally:
        worker.terminate()
        worker.wait()
        subprocess.call([f"{BIN}/muster-worker", "--state", folder, "--shutdown"])


def processes_of(folder):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(folder.encode()) for word in words):
            found.append(int(pid))
    return found


def an_interrupted_start_leaves_nothing(c):
    half = f"{c.folder}/half"
    for pause in (0.06, 0.12, 0.18):
        words = ["sh", f"{DEPLOY}/local-cluster", "start", "--state", half, "--workers", "8", "--port", str(free_port())]
        start = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "BIN": BIN},
                                 start_new_session=True)
        time.sleep(pause)
        os.killpg(start.pid, signal.SIGTERM)
        if start.wait(60) == 0:
            subprocess.check_call(["sh", f"{DEPLOY}/local-cluster", "stop", "--state", half])
        wait_for(lambda: not processes_of(half), 5, f"nothing is left of a start that was ended after {pause} s")


def top_shows_use(c):
    job = c.submit("-g", 2, "--", "sleep", "30")
    where = c.wait_state(job, "RUNNING")["nodes"][0]

    def measured():
        rows = [n for n in c.json("top")["nodes"] if n["name"] == where]
        return rows and rows[0]["mem_total_mib"] > 0 and [g for g in rows[0]["gpus"] if g["job"] == job]
    gpus = wait_for(measured, 10, "top shows the job's GPUs")
    equal(len(gpus), 2, "GPUs of the job")
    for gpu in gpus:
        check({"utilisation_pct", "memory_used_mib", "power_w", "temperature_c"} <= set(gpu), f"telemetry: {gpu}")
    c.muster("cancel", job)
    c.wait_final(job)


if __name__ == "__main__":
    main([drain_lets_jobs_end_and_starts_none, a_drain_survives_a_restart, a_short_outage_of_an_agent_touches_no_job,
          a_silent_node_is_lost_and_its_job_requeued, a_worker_without_the_keys_says_that_nobody_answers,
          an_interrupted_start_leaves_nothing, top_shows_use])
