"""Commands in flight while musterd is killed and started again: nothing is lost, doubled or cut off. And what `run` does at Ctrl-C."""

import signal
import subprocess
import time

from cluster import check, contains, equal, main, wait_for


def finish(process, seconds=40):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def spawn(c, *words):
    return c.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def a_submission_waits_for_the_restart(c):
    before = {j["id"] for j in c.json("jobs", "-a")["jobs"]}
    c.kill("musterd")
    process = spawn(c, "submit", "-q", "--hold", "--", "true")
    time.sleep(1)
    c.restart("musterd")
    code, out, err = finish(process)
    equal(code, 0, f"exit code ({err})")
    contains(err, "trying again", "it says what it does")
    after = {j["id"] for j in c.json("jobs", "-a")["jobs"]}
    equal(after - before, {int(out)}, "one new job")
    c.muster("cancel", int(out))


def waiting_rides_through_a_restart(c):
    job = c.submit("--", "sh", "-c", "sleep 4; exit 3")
    c.wait_state(job, "RUNNING")
    process = spawn(c, "wait", "--progress", job)
    time.sleep(0.5)
    c.kill("musterd")
    time.sleep(0.5)
    c.restart("musterd")
    code, _, err = finish(process)
    equal(code, 3, f"the job's code ({err})")
    contains(err, "FAILED", "the last line of the progress")


def a_follower_misses_nothing(c):
    job = c.submit("--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done")
    c.wait_state(job, "RUNNING")
    process = spawn(c, "logs", "-f", job)
    time.sleep(1)
    c.kill("musterd")
    time.sleep(0.5)
    c.restart("musterd")
    code, out, err = finish(process)
    equal((code, out), (0, "".join(f"line {i}\n" for i in range(1, 9))), f"each line once ({err})")


def logs_follow_over_attempts(c):
    job = c.submit("--grace", "1s", "--", "sh", "-c", "echo attempt $MUSTER_ATTEMPT; [ $MUSTER_ATTEMPT = 2 ] || sleep 60")
    wait_for(lambda: "attempt 1" in c.output(job), 10, "the first attempt prints")
    process = spawn(c, "logs", "-f", job)
    time.sleep(0.5)
    c.muster("requeue", job)
    code, out, err = finish(process, 90)
    equal((code, out), (0, "attempt 1\nattempt 2\n"), f"both attempts ({err})")
    equal(c.muster("logs", job).out, "attempt 1\nattempt 2\n", "replayed: both attempts wrote into one file")


def logs_join_attempts_with_files_of_their_own(c):
    job = c.submit("--grace", "1s", "--output", "own-%J.txt", "--", "sh", "-c",
                   "echo attempt $MUSTER_ATTEMPT; [ $MUSTER_ATTEMPT = 2 ] || sleep 60")
    c.wait_state(job, "RUNNING")
    process = spawn(c, "logs", "-f", job)
    time.sleep(0.5)
    c.muster("requeue", job)
    code, out, err = finish(process, 90)
    equal((code, out), (0, "attempt 1\nattempt 2\n"), f"both attempts ({err})")
    equal(c.muster("logs", "--attempt", 2, job).out, "attempt 2\n", "one of them")


def control_c_cancels_what_run_started(c):
    process = spawn(c, "run", "--grace", "1s", "--", "sh", "-c", "echo begun; sleep 60")
    equal(process.stdout.readline(), "begun\n", "its output")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    contains(err, "cancelling job", "it says so")
    check(code in (143, 137, 130), f"exit code {code}")
    equal([j["state"] for j in c.json("jobs")["jobs"]], [], "nothing is left active")


if __name__ == "__main__":
    main([a_submission_waits_for_the_restart, waiting_rides_through_a_restart, a_follower_misses_nothing, logs_follow_over_attempts,
          logs_join_attempts_with_files_of_their_own, control_c_cancels_what_run_started], 1, "2")
