"""F11: the agent is killed with SIGKILL again and again while jobs run. They live on, end with the right exit codes in their first attempt,
and their logs have neither a gap nor a line twice.

FAULT_KILLS says how often (default 5; 100 with FAULT_LONG), FAULT_SEED where the moments begin.
"""

import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from cluster import check, equal, main, process_runs, wait_for  # noqa: E402

KILLS = int(os.environ.get("FAULT_KILLS", "100" if os.environ.get("FAULT_LONG") else "5"))
SEED = int(os.environ.get("FAULT_SEED", str(random.SystemRandom().randrange(1 << 32))))
JOBS = 4
chance = random.Random(SEED)

# Numbered lines until the stop file is there; then two hundred more, so that the last ones are written while an agent comes back.
TALKER = ("n=0; left=200; while [ $left -gt 0 ]; do echo line $n; n=$((n+1)); [ -e {stop} ] && left=$((left-1)); sleep 0.005; done; "
          "exit {code}")


def lines_of(text, job):
    numbers = [int(line.split()[1]) for line in text.splitlines() if line.startswith("line ")]
    equal(numbers, list(range(len(numbers))), f"job {job}: the numbers of its lines")
    return len(numbers)


def short_job(c, number):
    """One that begins and ends between kills: its end is reported by the agent that comes after."""
    code = number % 5
    return c.submit("--name", f"short{number}", "--", "sh", "-c", f"echo line 0; sleep 0.{chance.randrange(1, 9)}; exit {code}"), code


def kill_the_agent(c):
    c.kill("worker0", signal.SIGKILL)
    time.sleep(chance.random() * 0.8)
    c.restart("worker0")
    time.sleep(chance.random() * 0.3)


def jobs_outlive_their_agent(c):
    stop = f"{c.work}/stop"
    jobs = {c.submit("--name", f"talker{i}", "--", "sh", "-c", TALKER.format(stop=stop, code=i)): i for i in range(JOBS)}
    for job in jobs:
        c.wait_state(job, "RUNNING")
    for number in range(KILLS):
        job, code = short_job(c, number)
        jobs[job] = code
        kill_the_agent(c)
    c.write("stop", "", 0o644)
    for job, code in jobs.items():
        row = c.wait_final(job, 60)
        equal((row["state"], row["exit_code"]), ("COMPLETED" if code == 0 else "FAILED", code), f"the end of job {job}")
        equal(row["attempt"], 1, f"the attempts of job {job}")
        count = lines_of(c.output(job), job)
        check(count > (200 if row["name"].startswith("talker") else 0), f"job {job} wrote {count} lines")
        equal(lines_of(c.muster("logs", job).out, job), count, f"the lines of job {job} in muster logs")
    launcher = c.pid("worker0.launcher")
    check(process_runs(launcher), "the launcher is the same that began")
    wait_for(lambda: c.json("nodes")["nodes"][0]["gpus_used"] == 0, 10, "all GPUs are free")


if __name__ == "__main__":
    print(f"# FAULT_SEED={SEED} FAULT_KILLS={KILLS}")
    main([jobs_outlive_their_agent], 1, "8", "--cpus", "16")
